//! The definition as an engine: `Hart::step` in a loop, with interrupts sampled when the
//! run loops of all engines sample them.

use ringer_hart::hart::Effects;
use ringer_hart::translate::Access;
use ringer_hart::{Bus, Exit, GuestVirt, Hart, Interpreter};

use crate::coverage::{Before, Coverage};
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
    coverage: Coverage,
}

impl Reference {
    /// The definition, about to run on `machine`.
    pub fn new(machine: &Machine) -> Self {
        Self {
            fenced: machine.ram_bytes(),
            stale: false,
            coverage: Coverage::default(),
        }
    }

    /// What was executed.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Whether the program has run unfenced code.
    pub fn ran_stale_code(&self) -> bool {
        self.stale
    }

    /// The 16 bits of code at `va`, and what they were at the last fence. `None` if they cannot
    /// be fetched, or not from RAM: then they cannot be stale.
    fn parcel(&self, hart: &Hart, machine: &Machine, va: u64) -> Option<(u16, u16)> {
        let context = hart.fetch_context();
        let place = hart.inspect(machine, GuestVirt(va), Access::Fetch, &context, |_| {});
        let phys = place.ok()?.phys;
        let now = machine.ram().load::<u16>(phys)?;
        let offset = phys.0.wrapping_sub(machine.ram().base().0) as usize;
        let fenced = self.fenced.get(offset..offset.checked_add(2)?)?;
        Some((now, u16::from_le_bytes([fenced[0], fenced[1]])))
    }

    /// Looks at the instruction that is about to be executed: false if it is stale.
    fn look_at(&mut self, hart: &Hart, machine: &Machine) -> (bool, Option<Before>) {
        let low = self.parcel(hart, machine, hart.pc);
        let high = self.parcel(hart, machine, hart.pc.wrapping_add(2));
        let fresh = [low, high].iter().flatten().all(|(now, then)| now == then);
        let bits = match (low, high) {
            (Some((low, _)), _) if ringer_isa::length(low) == 2 => Some(low.into()),
            (Some((low, _)), Some((high, _))) => Some(u32::from(low) | u32::from(high) << 16),
            _ => None,
        };
        let insn = bits.and_then(ringer_isa::decode);
        (fresh, insn.map(|insn| Before::new(hart, insn)))
    }
}

impl Engine for Reference {
    fn run(&mut self, hart: &mut Hart, machine: &Machine, budget: u64) -> Exit {
        let mut left = budget;
        hart.effects |= Effects::INTERRUPTS;
        loop {
            if machine.lines(hart.id).has_requests() && hart.attend(machine) {
                return Exit::Yield;
            }
            let effects = hart.take_effects();
            if effects.contains(Effects::FENCE_I) {
                self.fenced = machine.ram_bytes();
            }
            if effects.intersects(Effects::INTERRUPTS | Effects::DEVICE) {
                if hart.take_interrupt(machine) {
                    self.coverage.interrupted();
                }
                hart.effects = Effects::empty();
            }
            if left == 0 {
                return Exit::Budget;
            }
            left -= 1;
            let (fresh, before) = self.look_at(hart, machine);
            if !fresh {
                self.stale = true;
                return Exit::Budget;
            }
            if let Some(exit) = hart.step(machine) {
                return exit;
            }
            if let Some(before) = before {
                self.coverage.note(before, hart);
            }
        }
    }
}
