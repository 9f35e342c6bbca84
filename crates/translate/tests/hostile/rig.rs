//! One program on two machines: the definition runs it on one, a translator on the other.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Barrier};

use ringer_hart::csr::mstatus;
use ringer_hart::{Exit, Hart};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::S11;
use ringer_isa::pte::Pte;
use ringer_lockstep::compare::{compare_harts, compare_machines};
use ringer_lockstep::reference::{Engine, Reference};
use ringer_lockstep::{Machine, assembled};
use ringer_translate::{Options, SharedCode, Translator};

/// Where RAM starts.
pub const RAM: u64 = 0x8000_0000;
/// Where M-mode's trap handler is, which only waits.
pub const HANDLER: u64 = RAM + 0x1000;
/// Where programs go.
pub const CODE: u64 = RAM + 0x2000;

/// Usual flags of a leaf.
pub const LEAF: u64 = Pte::V | Pte::R | Pte::W | Pte::X | Pte::A | Pte::D;

/// `wfi`
const WAIT: u32 = 0x1050_0073;
/// `jal x0, 0`
const LOOP: u32 = 0x6f;

/// A machine with the handler in place.
pub fn machine(len: u64, harts: usize) -> Machine {
    let machine = Machine::new(RAM, len, harts);
    machine.write(HANDLER, &WAIT.to_le_bytes());
    machine.write(HANDLER + 4, &LOOP.to_le_bytes());
    machine
}

/// A hart in M-mode at [`CODE`], with all memory open and its floating-point unit on.
pub fn hart(id: usize) -> Hart {
    let mut hart = Hart::new(id, CODE);
    hart.csrs.pmp.open();
    hart.csrs.mtvec = HANDLER;
    hart.csrs.mstatus |= mstatus::FS;
    hart
}

/// Code for one hart, shared with nobody.
pub fn code() -> Arc<SharedCode<Machine>> {
    SharedCode::new(1).expect("memory for code")
}

/// Code for some harts, with no more room than this, or the least that works.
pub fn small_code(harts: usize, code_bytes: usize) -> Arc<SharedCode<Machine>> {
    let options = Options {
        code_bytes,
        ..Options::default()
    };
    SharedCode::with_options(harts, options).expect("memory for code")
}

/// Puts a program where it belongs.
pub fn place(machine: &Machine, code: Assembler) {
    machine.write(code.base(), &assembled(code));
}

/// The two machines, each with a hart.
pub struct Pair {
    pub defined: (Machine, Hart),
    pub translated: (Machine, Hart),
    pub translator: Translator<Machine>,
    reference: Reference,
}

impl Pair {
    /// What `start` makes, twice.
    pub fn new(code: Arc<SharedCode<Machine>>, start: impl Fn() -> (Machine, Hart)) -> Self {
        let defined = start();
        Self {
            reference: Reference::new(&defined.0),
            defined,
            translated: start(),
            translator: Translator::new(code).expect("memory for tables"),
        }
    }

    /// Changes both harts.
    pub fn harts(&mut self, change: impl Fn(&mut Hart)) {
        change(&mut self.defined.1);
        change(&mut self.translated.1);
    }

    /// Changes both machines.
    pub fn machines(&self, change: impl Fn(&Machine)) {
        change(&self.defined.0);
        change(&self.translated.0);
    }

    /// Runs both for up to `budget` instructions. What the harts then are must be the same;
    /// `None` if the program has run code that it changed without a fence.
    pub fn run(&mut self, budget: u64, what: &dyn Fn() -> String) -> Option<Exit> {
        let (machine, hart) = &mut self.defined;
        let exit = self.reference.run(hart, machine, budget);
        let stale = self.reference.ran_stale_code();
        let (machine, hart) = &mut self.translated;
        let other = self.translator.run(hart, machine, budget);
        if stale {
            self.reference = Reference::new(&self.defined.0);
            return None;
        }
        let mut differences = String::new();
        compare_harts(&self.defined.1, &self.translated.1, &mut differences);
        if exit != other || !differences.is_empty() {
            panic!("{}: {exit:?} and {other:?}\n{differences}", what());
        }
        Some(exit)
    }

    /// What the machines hold must be the same.
    pub fn compare_machines(&self, what: &dyn Fn() -> String) {
        let mut differences = String::new();
        compare_machines(&self.defined.0, &self.translated.0, &mut differences);
        assert!(differences.is_empty(), "{}:\n{differences}", what());
    }
}

/// Runs each hart on a thread of its own, all on one code cache, until they wait. Returns them
/// as they are then. A hart that waits with something in `s11` has failed, and ends the others.
pub fn run_all_on(
    code: &Arc<SharedCode<Machine>>,
    machine: &Machine,
    harts: Vec<Hart>,
) -> Vec<Hart> {
    let (begin, failed) = (Barrier::new(harts.len()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let run = |mut hart: Hart| {
            let (code, begin, failed) = (Arc::clone(code), &begin, &failed);
            scope.spawn(move || {
                let mut translator = Translator::new(code).expect("memory for tables");
                begin.wait();
                while translator.run(&mut hart, machine, 5_000) != Exit::Wait
                    && !failed.load(Relaxed)
                {
                    std::thread::yield_now();
                }
                if hart.x[usize::from(S11.0)] != 0 {
                    failed.store(true, Relaxed);
                }
                hart
            })
        };
        let threads: Vec<_> = harts.into_iter().map(run).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("the hart ends"))
            .collect()
    })
}
