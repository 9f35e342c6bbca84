//! What the real hart must forget before it runs on a changed shadow.

use ringer_hart::GuestVirt;

use crate::tables::Dropped;

/// A fence for the real hart, of the translations that it may hold of one root. Executed before
/// the guest runs again. Slots stand for address spaces: where the real hart has ASIDs, one each;
/// where not, entering another slot than before takes a fence of everything anyway.
#[must_use = "the real hart may hold translations that are void, of tables that are used anew"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostFence {
    /// None.
    None,
    /// `sfence.vma va, asid`.
    Address {
        /// The address.
        va: GuestVirt,
        /// Of the root in this slot.
        slot: usize,
    },
    /// `sfence.vma x0, asid`: of the root in this slot.
    Slot(usize),
}

/// The fence that a slot waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Due {
    #[default]
    Nothing,
    Address(GuestVirt),
    Whole,
}

impl Due {
    pub fn add(&mut self, more: Self) {
        *self = match (*self, more) {
            (Self::Nothing, other) | (other, Self::Nothing) => other,
            (one, other) if one == other => one,
            _ => Self::Whole,
        };
    }

    /// For what was taken away at `va`. A fence with an address is enough for a leaf; that
    /// hardware forgets pointers is promised of the one without only (Privileged 4.2.1).
    pub fn after(dropped: Dropped, va: GuestVirt) -> Self {
        match dropped {
            Dropped {
                leaves: 0,
                tables: 0,
            } => Self::Nothing,
            Dropped {
                leaves: 1,
                tables: 0,
            } => Self::Address(va),
            _ => Self::Whole,
        }
    }

    /// For what was taken away at places not named.
    pub fn after_many(dropped: Dropped) -> Self {
        match dropped {
            Dropped {
                leaves: 0,
                tables: 0,
            } => Self::Nothing,
            _ => Self::Whole,
        }
    }

    pub fn in_slot(self, slot: usize) -> HostFence {
        match self {
            Self::Nothing => HostFence::None,
            Self::Address(va) => HostFence::Address { va, slot },
            Self::Whole => HostFence::Slot(slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_addresses_make_a_whole() {
        let (one, other) = (GuestVirt(0x1000), GuestVirt(0x2000));
        let mut due = Due::default();
        assert_eq!(due.in_slot(3), HostFence::None);
        due.add(Due::Address(one));
        due.add(Due::Nothing);
        due.add(Due::Address(one));
        assert_eq!(due.in_slot(3), HostFence::Address { va: one, slot: 3 });
        due.add(Due::Address(other));
        assert_eq!(due.in_slot(3), HostFence::Slot(3));
        due.add(Due::Address(one));
        assert_eq!(due, Due::Whole);
    }
}
