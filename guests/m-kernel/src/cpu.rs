//! What the kernel knows of each hart, and switching its interrupts off and on in nests.

use crate::process::{Context, Process};
use bare::csr;
use core::cell::{Cell, UnsafeCell};

/// The most harts that take part.
pub const MOST: usize = 8;

const SIE: usize = 1 << 1;

/// One hart. Only code on this hart, with interrupts off, touches it.
pub struct Cpu {
    /// The process that runs here.
    pub process: Cell<Option<&'static Process>>,
    /// Where the scheduler waits while a process runs.
    pub scheduler: UnsafeCell<Context>,
    /// How many `push_off` are open.
    pub depth: Cell<usize>,
    /// Whether interrupts were on before the first.
    pub were_on: Cell<bool>,
}

struct Cpus([Cpu; MOST]);

// SAFETY: see `Cpu`.
unsafe impl Sync for Cpus {}

static CPUS: Cpus = Cpus(
    [const {
        Cpu {
            process: Cell::new(None),
            scheduler: UnsafeCell::new(Context::EMPTY),
            depth: Cell::new(0),
            were_on: Cell::new(false),
        }
    }; MOST],
);

/// This hart's number, which tp holds in the kernel.
pub fn id() -> usize {
    let id;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mv {0}, tp", out(reg) id) };
    id
}

/// This hart; interrupts must be off.
pub fn this() -> &'static Cpu {
    &CPUS.0[id()]
}

/// The process that runs on this hart.
pub fn process() -> Option<&'static Process> {
    push_off();
    let process = this().process.get();
    pop_off();
    process
}

/// Turns interrupts on.
pub fn interrupts_on() {
    csr::write!(sstatus, csr::read!(sstatus) | SIE);
}

/// Turns interrupts off.
pub fn interrupts_off() {
    csr::write!(sstatus, csr::read!(sstatus) & !SIE);
}

/// Whether interrupts are on.
pub fn interrupts_are_on() -> bool {
    csr::read!(sstatus) & SIE != 0
}

/// Turns interrupts off until the matching `pop_off`.
pub fn push_off() {
    let were_on = interrupts_are_on();
    interrupts_off();
    let cpu = this();
    if cpu.depth.get() == 0 {
        cpu.were_on.set(were_on);
    }
    cpu.depth.set(cpu.depth.get() + 1);
}

/// Ends one `push_off`; the last turns interrupts on if they were.
pub fn pop_off() {
    let cpu = this();
    assert!(
        !interrupts_are_on() && cpu.depth.get() > 0,
        "pop_off without push_off"
    );
    cpu.depth.set(cpu.depth.get() - 1);
    if cpu.depth.get() == 0 && cpu.were_on.get() {
        interrupts_on();
    }
}
