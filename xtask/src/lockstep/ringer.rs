//! The Ringer side of lockstep: one hart on a board, and nothing that runs by itself.

use std::sync::Arc;

use anyhow::{Context, Result};
use ringer_hart::translate::Access;
use ringer_hart::{Bus, Exit, GuestPhys, GuestVirt, Hart, Interpreter, Lines, Privilege, Ram};
use ringer_isa::{Insn, csr, decode};
use ringer_machine::backend::ConsoleBackend;
use ringer_machine::board::{Board, BoardBuilder};
use ringer_machine::clock::VirtualClock;
use ringer_machine::memory_map::RAM_BASE;

use super::state::{COMPARED, Snapshot};

/// A serial port that leads nowhere.
struct Silent;

impl ConsoleBackend for Silent {
    fn write(&mut self, _: &[u8]) {}
    fn read(&mut self, _: &mut [u8]) -> usize {
        0
    }
}

/// A machine with one hart, driven one instruction at a time.
pub struct Machine {
    /// The hart.
    pub hart: Hart,
    board: Board,
    interpreter: Interpreter,
}

impl Machine {
    /// A machine that has just been reset, with `ram` bytes of RAM, to start at `entry`.
    pub fn new(ram: u64, entry: u64) -> Result<Self> {
        let ram = Arc::new(Ram::zeroed(RAM_BASE, ram)?);
        let lines: Arc<[Lines]> = Arc::from([Lines::new()]);
        let clock = Arc::new(VirtualClock::default());
        let board = BoardBuilder::new(ram, lines, clock, Box::new(Silent)).build()?;
        Ok(Self {
            hart: Hart::new(0, entry),
            board,
            interpreter: Interpreter::new(),
        })
    }

    /// Back to reset; RAM stays.
    pub fn reset(&mut self, entry: u64) {
        self.board.reset();
        self.hart = Hart::new(0, entry);
        self.interpreter = Interpreter::new();
    }

    /// Writes RAM.
    pub fn write(&self, addr: u64, bytes: &[u8]) -> Result<()> {
        let ram = self.board.ram();
        ram.write(GuestPhys(addr), bytes)
            .with_context(|| format!("{addr:#x} + {:#x} is not in RAM", bytes.len()))
    }

    /// Reads RAM.
    pub fn read(&self, addr: u64, into: &mut [u8]) -> Result<()> {
        let len = into.len();
        let ram = self.board.ram();
        ram.read(GuestPhys(addr), into)
            .with_context(|| format!("{addr:#x} + {len:#x} is not in RAM"))
    }

    /// Takes an interrupt if one is due.
    pub fn take_interrupt(&mut self) -> bool {
        self.board.look_at_clock(self.hart.id);
        self.hart.take_interrupt(&self.board)
    }

    /// Takes an interrupt if one is due, else executes one instruction by the definition.
    pub fn step(&mut self) -> Option<Exit> {
        if self.take_interrupt() {
            return None;
        }
        let exit = self.hart.step(&self.board);
        self.hart.take_effects();
        exit
    }

    /// Runs the reference interpreter for `budget` instructions or until it has to leave.
    pub fn run(&mut self, budget: u64) -> Exit {
        let mut left = budget;
        loop {
            let before = self.executed();
            let exit = self.interpreter.run(&mut self.hart, &self.board, left);
            left = left.saturating_sub(self.executed().wrapping_sub(before));
            // A `pause` ends a run early, and is an instruction like any other here.
            if exit != Exit::Pause || left == 0 {
                return exit;
            }
        }
    }

    /// Instructions begun: those that retired, and those that trapped instead.
    fn executed(&self) -> u64 {
        self.hart.counts.retired + self.hart.counts.exceptions_total()
    }

    /// Where in physical memory the code at `va` is; `None` if fetching it faults.
    pub fn code_at(&self, va: u64) -> Option<GuestPhys> {
        let context = self.hart.fetch_context();
        let there =
            (self.hart).inspect(&self.board, GuestVirt(va), Access::Fetch, &context, |_| {});
        there.ok().map(|translation| translation.phys)
    }

    /// The instruction at `pc`, as the hart would fetch it.
    pub fn next_instruction(&self) -> Option<Insn> {
        let parcel = |at: u64| {
            let phys = self.code_at(at)?;
            let in_ram = self.board.ram().load::<u16>(phys);
            in_ram.or_else(|| self.board.fetch(phys).ok())
        };
        let pc = self.hart.pc;
        let low = parcel(pc)?;
        let bits = match low & 3 {
            3 => u32::from(parcel(pc.wrapping_add(2))?) << 16 | u32::from(low),
            _ => u32::from(low),
        };
        decode(bits)
    }

    /// The registers now.
    pub fn snapshot(&mut self) -> Snapshot {
        let csrs = COMPARED
            .iter()
            .map(|rule| match rule.csr {
                // Out of reach, but still there, while the floating-point unit is off.
                csr::FCSR => self.hart.csrs.fcsr,
                number => self.hart.peek_csr(&self.board, number).unwrap_or(0),
            })
            .collect();
        Snapshot {
            pc: self.hart.pc,
            privilege: self.hart.mode.privilege as u64,
            x: self.hart.x,
            f: self.hart.f,
            csrs,
        }
    }

    /// Whether there is RAM at an address.
    pub fn is_ram(&self, phys: GuestPhys) -> bool {
        self.board.ram().offset(phys, 1).is_some()
    }

    /// Whether the hart is in M-mode.
    pub fn in_machine_mode(&self) -> bool {
        self.hart.mode.privilege == Privilege::Machine
    }
}
