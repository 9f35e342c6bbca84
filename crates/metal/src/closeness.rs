//! Where privileged instructions stand close together, as around a kernel's locks, one trap can
//! serve several of them. How close they stand is learnt, by the place of the one before.

use alloc::boxed::Box;
use alloc::vec;

/// Places that are remembered, a power of two.
const PLACES: usize = 4096;
/// The next one is close if it comes within so many instructions.
pub const CLOSE: u16 = 200;
/// From here on the next one is waited for, until it is worth less than [`LITTLE`]. Twice as much
/// is needed each time that this has happened.
const ENOUGH: u16 = 8;
const LITTLE: u16 = 3;
/// So often at most.
const DISAPPOINTED: u8 = 9;
/// A place that is waited for is worth so much at most.
const MOST: u16 = 15;
/// What it costs to have waited in vain, measured by what it brings to have waited.
const VAIN: u16 = 3;
/// Instructions that are waited for beyond what was usual.
const SLACK: u16 = 12;

/// A place, and what was found out about it.
#[derive(Clone, Copy)]
struct Place {
    pc: u64,
    /// How much more often the next was close than not.
    worth: u16,
    /// Whether it is waited for.
    waits: bool,
    /// How often it was, until it was worth it no more.
    disappointed: u8,
    /// How far it was then, about as far as ever.
    distance: u16,
}

/// What is known of places.
pub struct Closeness(Box<[Place]>);

impl Default for Closeness {
    fn default() -> Self {
        let nothing = Place {
            pc: u64::MAX,
            worth: 0,
            waits: false,
            disappointed: 0,
            distance: 0,
        };
        Self(vec![nothing; PLACES].into_boxed_slice())
    }
}

impl Closeness {
    fn index(pc: u64) -> usize {
        (pc >> 1 ^ pc >> 13) as usize & (PLACES - 1)
    }

    /// In how many instructions at most a privileged one is expected behind the one at `pc`;
    /// none if it is not expected soon.
    pub fn expects(&self, pc: u64) -> Option<u16> {
        let place = self.0.get(Self::index(pc))?;
        (place.pc == pc && place.waits).then_some(place.distance + SLACK)
    }

    /// It came after so many instructions, or did not come soon.
    pub fn learn(&mut self, pc: u64, distance: Option<u64>) {
        let Some(place) = self.0.get_mut(Self::index(pc)) else {
            return;
        };
        if place.pc != pc {
            *place = Place {
                pc,
                worth: 0,
                waits: false,
                disappointed: 0,
                distance: 0,
            };
        }
        let close = |distance: u64| u16::try_from(distance).ok().filter(|near| *near <= CLOSE);
        match distance.and_then(close) {
            Some(distance) => {
                place.worth += 1;
                let less = place.distance.saturating_sub(distance) / 8;
                place.distance = (place.distance - less).max(distance);
            }
            None => place.worth = place.worth.saturating_sub(VAIN),
        }
        if place.waits {
            place.worth = place.worth.min(MOST);
            if place.worth < LITTLE {
                place.waits = false;
                place.disappointed = (place.disappointed + 1).min(DISAPPOINTED);
            }
        } else {
            place.waits = place.worth >= ENOUGH << place.disappointed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PC: u64 = 0x8000_1234;

    fn learn(closeness: &mut Closeness, times: usize, distance: Option<u64>) {
        (0..times).for_each(|_| closeness.learn(PC, distance));
    }

    #[test]
    fn what_was_mostly_close_is_waited_for() {
        let mut closeness = Closeness::default();
        assert_eq!(closeness.expects(PC), None);
        learn(&mut closeness, 20, Some(30));
        assert_eq!(closeness.expects(PC), Some(30 + SLACK));
        learn(&mut closeness, 2, None);
        assert!(closeness.expects(PC).is_some(), "not given up at once");
        learn(&mut closeness, 3, None);
        assert_eq!(closeness.expects(PC), None);
        // The second time it takes twice as much.
        learn(&mut closeness, 2 * usize::from(ENOUGH) - 3, Some(30));
        assert_eq!(closeness.expects(PC), None);
        learn(&mut closeness, 3, Some(30));
        assert!(closeness.expects(PC).is_some());
        learn(&mut closeness, 5, None);
        // Half and half is not enough.
        for _ in 0..50 {
            learn(&mut closeness, 1, Some(30));
            learn(&mut closeness, 1, None);
        }
        assert_eq!(closeness.expects(PC), None);
        learn(&mut closeness, 50, Some(u64::from(CLOSE) + 1));
        assert_eq!(closeness.expects(PC), None);
    }

    #[test]
    fn the_distance_follows_what_was_seen() {
        let mut closeness = Closeness::default();
        learn(&mut closeness, 9, Some(10));
        learn(&mut closeness, 1, Some(100));
        assert_eq!(closeness.expects(PC), Some(100 + SLACK));
        learn(&mut closeness, 40, Some(10));
        assert!(closeness.expects(PC) < Some(30 + SLACK));
        learn(&mut closeness, 1, Some(CLOSE.into()));
        assert_eq!(closeness.expects(PC), Some(CLOSE + SLACK));
    }

    #[test]
    fn places_do_not_answer_for_others() {
        let mut closeness = Closeness::default();
        learn(&mut closeness, 9, Some(3));
        assert_eq!(closeness.expects(PC + 2), None);
        // In the same slot, a later one takes the place.
        let slot = Closeness::index(PC);
        let other = (PC + 2..PC + (1 << 20)).find(|pc| Closeness::index(*pc) == slot);
        closeness.learn(other.unwrap(), Some(3));
        assert_eq!(closeness.expects(PC), None);
    }
}
