//! The definition as an engine: `Hart::step` in a loop, with interrupts sampled when the
//! run loops of all engines sample them.

use ringer_hart::bus::request;
use ringer_hart::hart::Effects;
use ringer_hart::translate::Access;
use ringer_hart::{Bus, Exit, GuestPhys, GuestVirt, Hart, Interpreter};

use crate::machine::Machine;

/// Something that runs a hart.
pub trait Engine {
    /// Executes up to `budget` instructions, as `Interpreter::run` does.
    fn run(&mut self, hart: &mut Hart, machine: &Machine, budget: u64) -> Exit;
}

impl Engine for Interpreter {
    fn run(&mut self, hart: &mut Hart, machine: &Machine, budget: u64) -> Exit {
        Interpreter::run(self, hart, machine, budget)
    }
}

/// The definition. It also watches for code that runs although it was changed since the last
/// fence: what happens then is left open by the architecture, so engines may differ from there.
#[derive(Debug)]
pub struct Reference {
    fenced: Vec<u8>,
    stale: bool,
}

impl Reference {
    /// The definition, about to run on `machine`.
    pub fn new(machine: &Machine) -> Self {
        Self {
            fenced: machine.ram_bytes(),
            stale: false,
        }
    }

    /// Whether the program has run unfenced code.
    pub fn ran_stale_code(&self) -> bool {
        self.stale
    }

    /// Whether the 16 bits of code at `va` are what they were at the last fence. What cannot
    /// be fetched cannot be stale.
    fn is_fenced(&self, hart: &Hart, machine: &Machine, va: u64) -> bool {
        let context = hart.fetch_context();
        let access = Access::Fetch;
        let place = hart.inspect(machine, GuestVirt(va), access, &context, |_| {});
        let Ok(place) = place else { return true };
        let offset = place.phys.0.wrapping_sub(machine.ram().base().0);
        let now = machine.ram().load::<u16>(GuestPhys(place.phys.0));
        let fenced = (offset as usize)
            .checked_add(2)
            .and_then(|end| self.fenced.get(offset as usize..end))
            .map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
        now == fenced
    }
}

impl Engine for Reference {
    fn run(&mut self, hart: &mut Hart, machine: &Machine, budget: u64) -> Exit {
        let mut left = budget;
        hart.effects |= Effects::INTERRUPTS;
        loop {
            let lines = machine.lines(hart.id);
            if lines.has_requests() {
                let requests = lines.take_requests();
                if requests & request::FENCE_I != 0 {
                    hart.counts.fences_i += 1;
                    hart.effects |= Effects::FENCE_I;
                }
                if requests & request::FENCE_VMA != 0 {
                    hart.counts.fences_vma += 1;
                }
                hart.effects |= Effects::INTERRUPTS;
                if requests & request::YIELD != 0 {
                    return Exit::Yield;
                }
            }
            let effects = hart.take_effects();
            if effects.contains(Effects::FENCE_I) {
                self.fenced = machine.ram_bytes();
            }
            if effects.intersects(Effects::INTERRUPTS | Effects::DEVICE) {
                hart.take_interrupt(machine);
                hart.effects = Effects::empty();
            }
            if left == 0 {
                return Exit::Budget;
            }
            left -= 1;
            let pc = hart.pc;
            if !self.is_fenced(hart, machine, pc)
                || !self.is_fenced(hart, machine, pc.wrapping_add(2))
            {
                self.stale = true;
                return Exit::Budget;
            }
            if let Some(exit) = hart.step(machine) {
                return exit;
            }
        }
    }
}
