//! Guests that do anything at all to a whole board: random device accesses, CSRs, SBI calls,
//! page tables and instructions, traps without a handler, `wfi` without end. Nothing may panic,
//! hang or grow.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringer_hart::csr::CsrWrite;
use ringer_hart::{Bus, Exit, GuestPhys, Hart, Interpreter, Lines, Mode, Ram};
use ringer_isa::Op;
use ringer_isa::asm::register::{A0, T0, T1};
use ringer_isa::asm::{Assembler, X};
use ringer_machine::backend::{ConsoleBackend, MemoryBackend, MemoryDisk, SeededEntropy, Switch};
use ringer_machine::board::{Board, BoardBuilder, MakeDevice};
use ringer_machine::clock::VirtualClock;
use ringer_machine::memory_map::RAM_BASE;
use ringer_machine::sbi::Sbi;
use ringer_machine::virtio::{Balloon, Blk, Console, Net, Rng, VirtioDevice, VirtioMmio};

const HARTS: usize = 4;
const RAM_LEN: u64 = 1 << 20;
/// Where the page tables are that guests fill with noise.
const TABLES: u64 = RAM_BASE.0 + RAM_LEN / 2;
/// A trap handler that goes on behind the instruction.
const HANDLER: u64 = RAM_BASE.0;
const PROGRAMS: u64 = RAM_BASE.0 + 0x1000;
const PROGRAM_LEN: u64 = 0x8000;
const BUDGET: u64 = 2_000;

/// Counts the bytes that are in use.
struct Counting;
static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes every call on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Somebody types without end, and nobody reads.
struct Chatter;

impl ConsoleBackend for Chatter {
    fn write(&mut self, _bytes: &[u8]) {}
    fn read(&mut self, into: &mut [u8]) -> usize {
        into.fill(b'x');
        into.len()
    }
}

struct Releases;

impl MemoryBackend for Releases {
    fn release(&mut self, offset: u64, len: u64) {
        assert!(offset + len <= RAM_LEN, "{offset:#x} {len:#x}");
    }
}

fn slot(name: &'static str, device: Box<dyn VirtioDevice>) -> MakeDevice {
    Box::new(move |ram, irq| Arc::new(VirtioMmio::new(name, device, ram, irq)))
}

/// A board with every device.
fn board(clock: Arc<VirtualClock>) -> Board {
    let ram = Ram::zeroed(RAM_BASE, RAM_LEN).unwrap();
    let switch = Switch::new();
    let disk = MemoryDisk::new(vec![0x5a; 64 << 10], false);
    let net = Net::new(Box::new(switch.port()), [2, 0, 0, 0, 0, 1]);
    let peer = Net::new(Box::new(switch.port()), [2, 0, 0, 0, 0, 2]);
    BoardBuilder::new(
        Arc::new(ram),
        (0..HARTS).map(|_| Lines::new()).collect(),
        clock,
        Box::new(Chatter),
    )
    .virtio(slot("disk", Box::new(Blk::new(Box::new(disk), "hostile"))))
    .virtio(slot("net", Box::new(net)))
    .virtio(slot("peer", Box::new(peer)))
    .virtio(slot(
        "rng",
        Box::new(Rng::new(Box::new(SeededEntropy::new(1)))),
    ))
    .virtio(slot("balloon", Box::new(Balloon::new(Box::new(Releases)))))
    .virtio(slot("console", Box::new(Console::new(Box::new(Chatter)))))
    .build()
    .unwrap()
}

/// Random choices (the generator is SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
    /// Numbers of all sizes, and those at which things break.
    fn number(&mut self) -> u64 {
        let any = self.next();
        match self.below(6) {
            0 => any,
            1 => any >> self.below(64),
            2 => RAM_BASE.0 + any % RAM_LEN,
            3 => self.of(&[
                0,
                1,
                u64::MAX,
                u64::MAX >> 1,
                1 << 63,
                RAM_BASE.0 + RAM_LEN - 1,
            ]),
            4 => 1 << self.below(64),
            _ => any & 0xff,
        }
    }
    fn device_address(&mut self) -> u64 {
        let (base, len) = self.of(&[
            (0x1000, 0x100),
            (0x10_0000, 0x10),
            (0x10_1000, 0x30),
            (0x200_0000, 0x40),
            (0x200_4000, 0x40),
            (0x200_bff0, 0x10),
            (0xc00_0000, 0x200),
            (0xc00_1000, 0x10),
            (0xc00_2000, 0x400),
            (0xc20_0000, 0x8000),
            (0x1000_0000, 0x10),
            (0x1000_1000, 0x120),
            (0x1000_2000, 0x120),
            (0x1000_3000, 0x120),
            (0x1000_4000, 0x120),
            (0x1000_5000, 0x120),
            (0x1000_6000, 0x120),
            (0x1000_7000, 0x120),
        ]);
        base + self.below(len)
    }
}

fn item(chance: &mut Chance, code: &mut Assembler) {
    match chance.below(10) {
        0..=2 => {
            let aligned = chance.of(&[!0, !3, !7]);
            code.li(T0, chance.device_address() & aligned);
            code.li(T1, chance.number());
            let op = chance.of(&[Op::Sb, Op::Sh, Op::Sw, Op::Sw, Op::Sd]);
            code.store(op, T1, 0, T0);
        }
        3 => {
            code.li(T0, chance.device_address());
            let op = chance.of(&[Op::Lb, Op::Lhu, Op::Lw, Op::Ld]);
            code.load(op, T1, 0, T0);
        }
        4 => {
            code.li(T0, chance.number());
            let known = [
                0x300, 0x302, 0x303, 0x304, 0x305, 0x306, 0x30a, 0x320, 0x340, 0x341, 0x343, 0x344,
                0x3a0, 0x3b0, 0x3b1, 0x100, 0x104, 0x105, 0x106, 0x140, 0x141, 0x144, 0x14d, 0x180,
                0xb00, 0xb02, 0xb03, 0x323, 0x001, 0x003, 0x7a0, 0xf14,
            ];
            let any = chance.below(0x1000) as u16;
            let known = chance.of(&known);
            let number = chance.of(&[any, known]);
            let op = chance.of(&[Op::Csrrw, Op::Csrrs, Op::Csrrc]);
            code.csr(op, T1, number, T0);
        }
        5 => {
            for register in 10..16 {
                code.li(X(register), chance.number());
            }
            let function = chance.below(10);
            code.li(X(16), function);
            let known = [
                0, 1, 2, 3, 4, 5, 6, 7, 8, 0x10, 0x54494d45, 0x735049, 0x52464e43, 0x48534d,
                0x53525354, 0x4442434e, 0x504d55,
            ];
            let (other, known) = (chance.number(), chance.of(&known));
            code.li(X(17), chance.of(&[other, known, known]));
            code.op(Op::Ecall);
        }
        6 => {
            // A page-table entry, most often one that points at the tables again.
            let pointer = (TABLES + (chance.below(8) << 12)) >> 2;
            let noise = chance.number();
            let entry = chance.of(&[pointer | 1, pointer | 0xcf, noise]);
            code.li(T0, TABLES + 8 * chance.below(4096));
            code.li(T1, entry).store(Op::Sd, T1, 0, T0);
            let mode = chance.of(&[0, 8, 9, 10, 15]);
            let satp = mode << 60 | chance.below(4) << 44 | TABLES >> 12;
            code.li(T0, satp).csr(Op::Csrrw, T1, 0x180, T0);
            code.word(0x1200_0073); // sfence.vma
        }
        7 => {
            for _ in 0..4 {
                code.word(chance.number() as u32 | 3);
            }
        }
        8 => {
            for _ in 0..4 {
                code.half((chance.number() as u16) << 2 | chance.below(3) as u16);
            }
        }
        _ => {
            let op = chance.of(&[Op::Wfi, Op::Mret, Op::Sret, Op::Ebreak, Op::FenceI]);
            code.op(op);
        }
    }
    code.align(4);
}

fn program(chance: &mut Chance, at: u64) -> Vec<u8> {
    let mut code = Assembler::new(at);
    for _ in 0..300 {
        item(chance, &mut code);
    }
    let mut bytes = code.finish().unwrap();
    bytes.truncate(PROGRAM_LEN as usize);
    bytes
}

fn handler() -> Vec<u8> {
    let mut code = Assembler::new(HANDLER);
    code.csrr(A0, 0x341).addi(A0, A0, 4).csrw(0x341, A0);
    code.op(Op::Mret);
    code.finish().unwrap()
}

/// One hart's share: `rounds` turns, each with a fresh program or in the ruins of the last.
fn torment(board: &Board, sbi: &Sbi, clock: &VirtualClock, id: usize, seed: u64, rounds: u64) {
    let mut chance = Chance(seed << 32);
    let mut engine = Interpreter::new();
    let mut hart = Hart::new(id, PROGRAMS);
    let at = PROGRAMS + id as u64 * PROGRAM_LEN;
    for round in 0..rounds {
        if round % 4 == 0 {
            board.ram().write(GuestPhys(HANDLER), &handler()).unwrap();
            let code = program(&mut chance, at);
            board.ram().write(GuestPhys(at), &code).unwrap();
            hart = Hart::new(id, at);
            hart.services.sbi = chance.below(2) == 0;
            hart.services.semihosting = chance.below(4) == 0;
            // A quarter without a handler: one trap after the other.
            if chance.below(4) != 0 {
                let _ = hart.csr(board, 0x305, Some(CsrWrite::all(HANDLER)));
            }
            if chance.below(2) == 0 {
                hart.start_supervisor(at, 0);
            }
            engine = Interpreter::new();
        } else {
            hart.pc = at + (chance.below(PROGRAM_LEN) & !1);
            if chance.below(3) == 0 {
                hart.mode = chance.of(&[Mode::M, Mode::S, Mode::U]);
            }
        }
        let before = hart.counts.retired;
        for _ in 0..8 {
            clock.advance(chance.below(50));
            let exit = sbi.while_running(id, || engine.run(&mut hart, board, BUDGET));
            if exit == Exit::Sbi {
                sbi.call(&mut hart, board);
            } else if exit == Exit::Semihosting {
                hart.return_from_call();
            }
            board.take_shutdown();
            board.poll();
        }
        let ran = hart.counts.retired - before;
        assert!(ran <= 8 * (BUDGET + 64), "{ran} instructions in a turn");
    }
}

#[test]
fn four_hostile_harts_break_nothing() {
    let clock = Arc::new(VirtualClock::default());
    let board = board(clock.clone());
    let sbi = Sbi::new(HARTS);
    let all = |seed: u64, rounds| {
        std::thread::scope(|scope| {
            for id in 0..HARTS {
                let (board, sbi, clock) = (&board, &sbi, &*clock);
                scope.spawn(move || torment(board, sbi, clock, id, seed + id as u64, rounds));
            }
        });
        board.reset();
        IN_USE.load(Ordering::Relaxed)
    };
    let warm = all(0, 200);
    let end = all(100, 600);
    assert!(end < warm + (1 << 20), "memory grew from {warm} to {end}");
}
