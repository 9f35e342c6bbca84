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
/// From this loss on, no stay begins at a place for a while: so many times, and twice as many
/// each time that this has happened, so often at most.
const LOSS: u8 = 12;
const REST: u16 = 16;
const RESTS: u8 = 6;
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
    /// How much more often a stay that began here was not worth it.
    loss: u8,
    /// How often there was too much of that lately, and for how many times none begins now.
    rests: u8,
    rest: u16,
}

impl Place {
    const fn new(pc: u64) -> Self {
        Self {
            pc,
            worth: 0,
            waits: false,
            disappointed: 0,
            distance: 0,
            loss: 0,
            rests: 0,
            rest: 0,
        }
    }
}

/// What came of a stay that began at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It took less than the traps would have.
    Worth,
    /// It took more.
    Vain,
    /// It took more, but it will take less once more code is rewritten.
    Unready,
}

/// What is known of places.
pub struct Closeness(Box<[Place]>);

impl Default for Closeness {
    fn default() -> Self {
        Self(vec![Place::new(u64::MAX); PLACES].into_boxed_slice())
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

    /// It came after so many instructions, or did not come soon. Gives whether that changes if it
    /// is expected.
    pub fn learn(&mut self, pc: u64, distance: Option<u64>) -> bool {
        let Some(place) = self.0.get_mut(Self::index(pc)) else {
            return false;
        };
        if place.pc != pc {
            *place = Place::new(pc);
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
        let before = place.waits;
        if place.waits {
            place.worth = place.worth.min(MOST);
            if place.worth < LITTLE {
                place.waits = false;
                place.disappointed = (place.disappointed + 1).min(DISAPPOINTED);
            }
        } else {
            place.waits = place.worth >= ENOUGH << place.disappointed;
        }
        place.waits != before
    }

    /// As [`Closeness::expects`], if a stay is to begin at `pc`.
    pub fn begins(&mut self, pc: u64) -> Option<u16> {
        let patience = self.expects(pc)?;
        let place = self.0.get_mut(Self::index(pc))?;
        if place.rest > 0 {
            place.rest -= 1;
            return None;
        }
        Some(patience)
    }

    /// A stay that began at `pc` came to this.
    pub fn judge(&mut self, pc: u64, verdict: Verdict) {
        let Some(place) = self
            .0
            .get_mut(Self::index(pc))
            .filter(|place| place.pc == pc)
        else {
            return;
        };
        place.loss = match verdict {
            Verdict::Worth => place.loss.saturating_sub(1),
            Verdict::Unready => place.loss + 1,
            Verdict::Vain => place.loss + VAIN as u8,
        };
        if place.loss == 0 {
            place.rests = 0;
        }
        if place.loss >= LOSS {
            place.loss = LOSS / 2;
            place.rest = REST << place.rests;
            place.rests = (place.rests + 1).min(RESTS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PC: u64 = 0x8000_1234;

    fn learn(closeness: &mut Closeness, times: usize, distance: Option<u64>) {
        (0..times).for_each(|_| _ = closeness.learn(PC, distance));
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

    /// How many of so many tries begin a stay, if each comes to this.
    fn begun(closeness: &mut Closeness, tries: usize, verdict: Verdict) -> usize {
        let tries = (0..tries).filter(|_| {
            let begins = closeness.begins(PC).is_some();
            if begins {
                closeness.judge(PC, verdict);
            }
            begins
        });
        tries.count()
    }

    #[test]
    fn where_stays_are_not_worth_it_few_begin() {
        let mut closeness = Closeness::default();
        assert_eq!(closeness.begins(PC), None, "nothing is expected there yet");
        learn(&mut closeness, 9, Some(30));
        assert_eq!(begun(&mut closeness, 1000, Verdict::Worth), 1000);
        // A place rests for longer each time, but is tried again; and it is still waited at.
        let vain = begun(&mut closeness, 10_000, Verdict::Vain);
        assert!((10..60).contains(&vain), "{vain}");
        assert!(closeness.expects(PC).is_some());
        // Once it is worth it, it soon is as if nothing had been.
        begun(&mut closeness, 2000, Verdict::Worth);
        assert_eq!(begun(&mut closeness, 1000, Verdict::Worth), 1000);
        // While code is still to be made, more patience.
        let unready = begun(&mut closeness, 10_000, Verdict::Unready);
        assert!((2 * vain..200).contains(&unready), "{unready}");
        // Now and then in vain does not matter.
        begun(&mut closeness, 2000, Verdict::Worth);
        for _ in 0..1000 {
            assert_eq!(begun(&mut closeness, 3, Verdict::Worth), 3);
            assert_eq!(begun(&mut closeness, 1, Verdict::Vain), 1);
        }
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
        assert_eq!(closeness.begins(PC), None);
        closeness.judge(PC, Verdict::Vain);
    }
}
