//! A machine with one hart and a program, for tests.

use ringer_hart::csr::{CsrWrite, mstatus};
use ringer_hart::{Bus, Exit, Hart, Interpreter, Mode};
use ringer_isa::asm::Assembler;
use ringer_isa::csr as number;
use ringer_isa::pte::Pte;
use ringer_lockstep::compare::compare_harts;
use ringer_lockstep::reference::{Engine, Reference};
use ringer_lockstep::{Machine, assembled};

/// Where RAM starts, and the program.
pub const RAM: u64 = 0x8000_0000;
/// How long RAM is.
pub const RAM_LEN: u64 = 0x6_0000;
/// Where M-mode's trap handler loops; 256 bytes further on, S-mode's.
pub const HANDLER: u64 = RAM + 0x1000;
/// See [`HANDLER`].
pub const S_HANDLER: u64 = HANDLER + 0x100;
/// Free for data.
pub const DATA: u64 = RAM + 0x1_0000;
/// Page tables, the root first.
const TABLES: u64 = RAM + 0x4_0000;

/// More than any program here needs; all end in a loop.
const INSTRUCTIONS: u64 = 400;

/// `jal x0, 0`: loops for ever.
const LOOP: u32 = 0x6f;

/// Usual flags of a leaf.
pub const LEAF: u64 = Pte::V | Pte::R | Pte::W | Pte::X | Pte::A | Pte::D;

pub struct Rig {
    pub machine: Machine,
    pub hart: Hart,
    /// The program, which starts in M-mode with all memory open to all modes.
    pub code: Assembler,
    tables: u64,
}

impl Rig {
    fn new() -> Self {
        let machine = Machine::new(RAM, RAM_LEN, 1);
        for loops in (HANDLER..HANDLER + 0x200).step_by(4) {
            machine.write(loops, &LOOP.to_le_bytes());
        }
        let mut hart = Hart::new(0, RAM);
        hart.csrs.pmp.open();
        hart.csrs.mtvec = HANDLER;
        hart.csrs.stvec = S_HANDLER;
        hart.csrs.mstatus |= mstatus::FS;
        Self {
            machine,
            hart,
            code: Assembler::new(RAM),
            tables: 1,
        }
    }

    /// The value of a CSR, as M-mode reads it.
    pub fn csr(&mut self, csr: u16) -> u64 {
        self.hart
            .peek_csr(&self.machine, csr)
            .expect("a CSR that exists")
    }

    /// Writes a CSR as M-mode does.
    pub fn set_csr(&mut self, csr: u16, value: u64) {
        let mode = std::mem::replace(&mut self.hart.mode, Mode::M);
        self.hart
            .csr(&self.machine, csr, Some(CsrWrite::all(value)))
            .expect("a CSR that can be written");
        self.hart.mode = mode;
    }

    /// Starts in this mode.
    pub fn mode(&mut self, mode: Mode) {
        self.hart.mode = mode;
    }

    /// Turns on translation of `levels` levels, with nothing mapped yet.
    pub fn translate(&mut self, levels: u64) {
        self.set_csr(number::SATP, (levels + 5) << 60 | TABLES >> 12);
    }

    /// Where the entry for `va` is at `level` (0 is the last), making the tables above it.
    pub fn entry(&mut self, va: u64, level: u32) -> u64 {
        let levels = (self.hart.csrs.satp >> 60) as u32 - 5;
        let mut table = TABLES;
        let mut at = levels - 1;
        loop {
            let entry = table + (va >> (12 + 9 * at) & 0x1ff) * 8;
            if at == level {
                return entry;
            }
            if self.machine.read_u64(entry) == 0 {
                let next = TABLES + self.tables * 0x1000;
                self.tables += 1;
                self.machine
                    .write_u64(entry, Pte::new(next >> 12, Pte::V).0);
            }
            table = Pte(self.machine.read_u64(entry)).ppn() << 12;
            at -= 1;
        }
    }

    /// Maps `va` to `pa` by a leaf at `level`.
    pub fn map_at(&mut self, va: u64, pa: u64, flags: u64, level: u32) {
        let entry = self.entry(va, level);
        self.machine.write_u64(entry, Pte::new(pa >> 12, flags).0);
    }

    /// Maps a base page.
    pub fn map(&mut self, va: u64, pa: u64, flags: u64) {
        self.map_at(va, pa, flags, 0);
    }

    /// Maps the program and the handlers one to one, for `flags`' kind of mode.
    pub fn map_program(&mut self, flags: u64) {
        self.map(RAM, RAM, LEAF | flags);
        self.map(HANDLER, HANDLER, LEAF);
    }

    /// That the program has ended in M-mode's handler, with these in its CSRs.
    #[track_caller]
    pub fn trapped(&self, cause: u64, epc: u64, tval: u64) {
        let csrs = &self.hart.csrs;
        let found = (csrs.mcause, csrs.mepc, csrs.mtval);
        assert_eq!(found, (cause, epc, tval), "{:x?}", (found, self.hart.pc));
        assert_eq!(self.hart.pc, HANDLER);
        assert_eq!(self.hart.mode, Mode::M);
    }

    /// That the program has ended in S-mode's handler, with these in its CSRs.
    #[track_caller]
    pub fn trapped_to_supervisor(&self, cause: u64, epc: u64, tval: u64) {
        let csrs = &self.hart.csrs;
        let found = (csrs.scause, csrs.sepc, csrs.stval);
        assert_eq!(found, (cause, epc, tval), "{:x?}", (found, self.hart.pc));
        assert_eq!(self.hart.pc, S_HANDLER);
        assert_eq!(self.hart.mode, Mode::S);
    }

    /// That the program has reached its end without a trap.
    #[track_caller]
    pub fn completed(&self) {
        let (hart, end) = (&self.hart, self.code.here() - 4);
        let cause = (hart.csrs.mcause, hart.csrs.mepc, hart.csrs.mtval);
        assert_eq!(hart.pc, end, "trapped? {cause:x?}");
    }
}

/// The rig that `prepare` makes, about to run. The program is closed by a loop.
pub fn prepared(prepare: impl Fn(&mut Rig)) -> Rig {
    let mut rig = Rig::new();
    prepare(&mut rig);
    rig.code.word(LOOP);
    rig.machine.write(RAM, &assembled(rig.code.clone()));
    rig
}

/// Runs what `prepare` makes, by both engines.
#[track_caller]
pub fn run(prepare: impl Fn(&mut Rig)) -> Rig {
    let (mut rig, mut other) = (prepared(&prepare), prepared(&prepare));
    let mut reference = Reference::new(&rig.machine);
    drive(&mut rig, &mut reference);
    drive(&mut other, &mut Interpreter::new());
    assert!(!reference.ran_stale_code(), "the test must fence");
    let mut what = String::new();
    compare_harts(&rig.hart, &other.hart, &mut what);
    assert_eq!(what, "");
    assert_eq!(rig.machine.ram_bytes(), other.machine.ram_bytes());
    rig
}

/// Runs a rig; waits end at once, with the clock at the timer.
fn drive(rig: &mut Rig, engine: &mut dyn Engine) {
    let end = rig.hart.counts.retired + INSTRUCTIONS;
    let mut traps = 0;
    while rig.hart.counts.retired < end && traps < 50 {
        traps += 1;
        let left = end - rig.hart.counts.retired;
        if engine.run(&mut rig.hart, &rig.machine, left) == Exit::Wait
            && let Some(time) = rig.hart.next_timer(&rig.machine)
        {
            rig.machine.set_time(time.max(rig.machine.time()));
        }
    }
}

/// Runs a program in M-mode.
#[track_caller]
pub fn program(write: impl Fn(&mut Assembler)) -> Rig {
    run(|rig| write(&mut rig.code))
}
