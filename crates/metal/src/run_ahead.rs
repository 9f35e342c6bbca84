//! Where privileged instructions stand close together, as around a kernel's locks, it takes less
//! to execute the few ordinary ones between them by the definition than to let the real hart do
//! that and trap again. How close they stand is learnt from how far it was the last time.

use alloc::boxed::Box;
use alloc::vec;

/// The next trap is close if it comes within so many instructions.
const CLOSE: u64 = 6;
/// As [`CLOSE`], once one has come so: there more will follow, as in a system call of a kernel
/// like xv6.
const CLOSE_AMONG_MANY: u64 = 24;
/// Instructions executed in a row at most: then the real hart has its turn, and with it the real
/// interrupts.
const MOST: u64 = 200;
/// Places of traps that are remembered, a power of two.
const PLACES: usize = 512;

/// How far it was from one trap to the next.
#[derive(Clone, Copy, Default)]
struct Distance {
    pc: u64,
    instructions: u64,
    /// It is more than that: nobody has gone farther.
    beyond: bool,
}

/// What is known of the distances between traps.
pub struct RunAhead {
    distances: Box<[Distance]>,
    /// Where the last trap was, if the next one follows from it.
    from: Option<u64>,
    /// Instructions executed by the definition since then.
    since: u64,
    /// Instructions that it may execute further.
    left: u64,
    /// Instructions that it may execute before the real hart has its turn.
    turn: u64,
    /// Whether the definition has met one since the real hart's last trap.
    among_many: bool,
    /// Instructions executed by the definition in all.
    pub instructions: u64,
}

impl Default for RunAhead {
    fn default() -> Self {
        Self {
            distances: vec![Distance::default(); PLACES].into_boxed_slice(),
            from: None,
            since: 0,
            left: 0,
            turn: 0,
            among_many: false,
            instructions: 0,
        }
    }
}

impl RunAhead {
    fn place(&mut self, pc: u64) -> &mut Distance {
        let index = (pc >> 1 ^ pc >> 10) as usize & (PLACES - 1);
        &mut self.distances[index]
    }

    fn learn(&mut self, instructions: u64, beyond: bool) {
        if let Some(pc) = self.from {
            *self.place(pc) = Distance {
                pc,
                instructions,
                beyond,
            };
        }
    }

    /// The real hart trapped at `pc`.
    pub fn trapped(&mut self, pc: u64) {
        self.turn = MOST;
        self.among_many = false;
        self.expect(pc);
    }

    /// The instruction just executed, at `pc`, would have trapped.
    pub fn met(&mut self, pc: u64) {
        self.learn(self.since, false);
        self.among_many = true;
        self.expect(pc);
    }

    /// Looks up how far the next one is.
    fn expect(&mut self, pc: u64) {
        self.from = Some(pc);
        self.since = 0;
        let close = if self.among_many {
            CLOSE_AMONG_MANY
        } else {
            CLOSE
        };
        let known = *self.place(pc);
        let go = match known {
            // A new place is tried out.
            _ if known.pc != pc => close,
            Distance {
                instructions,
                beyond: true,
                ..
            } if instructions < close => close,
            Distance {
                instructions,
                beyond: false,
                ..
            } if instructions <= close => instructions,
            _ => {
                self.left = 0;
                return;
            }
        };
        // One more: the one that traps.
        self.left = (go + 1).min(self.turn);
    }

    /// What comes next has nothing to do with the last trap.
    pub fn forget(&mut self) {
        self.from = None;
        self.left = 0;
    }

    /// Whether the definition executes the next instruction; counts it.
    pub fn goes_on(&mut self) -> bool {
        if self.left == 0 {
            if self.since > 0 {
                // The next trap did not come as far as this.
                self.learn(self.since, true);
                self.forget();
                self.since = 0;
            }
            return false;
        }
        self.left -= 1;
        self.turn -= 1;
        self.since += 1;
        self.instructions += 1;
        true
    }
}
