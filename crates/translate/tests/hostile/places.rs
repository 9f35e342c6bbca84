//! Jumps, loads and stores to every odd place, with and without translation.

use ringer_hart::hart::Effects;
use ringer_hart::{Hart, Mode};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::{A0, A1, A2, FA0, RA, T0, ZERO};
use ringer_isa::pte::Pte;
use ringer_isa::{Op, csr as number};
use ringer_lockstep::machine::{DEVICE, ROM};
use ringer_lockstep::{Machine, Random};

use crate::rig::{self, CODE, HANDLER, LEAF, Pair, RAM};

const RAM_LEN: u64 = 0xc000;
const END: u64 = RAM + RAM_LEN;
/// Page tables of Sv39: root, and the two below for the first 2 MiB of some places.
const TABLES: u64 = RAM + 0x8000;
/// A page full of `c.addi a1, 1`, with an instruction of four bytes across both its ends.
const FILLED: u64 = RAM + 0x4000;
/// Where pages with all kinds of permissions are mapped one after the other, most of them to
/// [`FILLED`].
const MIXED: u64 = 0x4000_0000;
const MIXED_PAGES: u64 = 24;

const SV39: u64 = 8 << 60 | TABLES >> 12;

fn machine() -> Machine {
    let mut machine = rig::machine(RAM_LEN, 1);
    // In ROM: `addi a1, a1, 1` twice, then a jump to itself; the rest does not answer.
    machine.rom = vec![0x8593, 0x0015, 0x8593, 0x0015, 0xa001];
    for at in (FILLED..FILLED + 0x1000).step_by(2) {
        machine.write(at, &0x0585u16.to_le_bytes());
    }
    // Halves of `addi a1, a1, 1` at both ends of the filled page, and at the end of RAM.
    machine.write(FILLED, &0x0015u16.to_le_bytes());
    for end in [FILLED + 0x1000, END, FILLED] {
        machine.write(end - 2, &0x8593u16.to_le_bytes());
    }
    let table = |index: u64| TABLES + 0x1000 * index;
    let pointer = |index| Pte::new(table(index) >> 12, Pte::V).0;
    let leaf = |addr: u64, flags| Pte::new(addr >> 12, flags).0;
    // The tables are reached from the root at MIXED, and RAM is one gigapage without U.
    machine.write_u64(table(0) + 8, pointer(1));
    machine.write_u64(table(0) + 16, leaf(RAM, LEAF));
    machine.write_u64(table(0) + 8 * 3, leaf(RAM, LEAF | Pte::U));
    machine.write_u64(table(0) + 8 * 511, pointer(1));
    machine.write_u64(table(1), pointer(2));
    machine.write_u64(table(1) + 8 * 511, pointer(2));
    let mut random = Random::new(7);
    for page in 0..MIXED_PAGES {
        let mut flags = LEAF | if page % 2 == 0 { Pte::U } else { 0 };
        flags &= !random.pick(&[
            0,
            0,
            Pte::X,
            Pte::W,
            Pte::R | Pte::W,
            Pte::V,
            Pte::D,
            Pte::A,
        ]);
        let target = match page % 8 {
            5 => random.pick(&[DEVICE, ROM, END, END - 0x1000, 1 << 50]),
            _ => FILLED,
        };
        machine.write_u64(table(2) + 8 * page, leaf(target, flags));
        // The last page of the address space, too.
        machine.write_u64(table(2) + 8 * (511 - page), leaf(target, flags));
    }
    machine
}

/// Addresses at which things begin, end, or are not.
fn places() -> Vec<u64> {
    let mut places = vec![
        0,
        DEVICE,
        DEVICE + 0x78,
        DEVICE + 0x1000,
        ROM,
        ROM + 10,
        ROM + 0x1000,
    ];
    places.extend([
        RAM,
        END,
        FILLED,
        FILLED + 0x1000,
        HANDLER,
        0x2000_0000,
        1 << 32,
        1 << 56,
    ]);
    for page in 0..MIXED_PAGES {
        places.extend([MIXED + 0x1000 * page, (0x1000 * page).wrapping_neg()]);
    }
    places.extend([0xc000_4000, 0xc000_5000, 0xc000_c000]);
    // As tags of empty table entries, and past what any translation takes.
    for bit in [30, 31, 32, 33, 37, 38, 39, 47, 48, 55, 56, 61, 62, 63] {
        places.extend([1 << bit, u64::MAX << bit, RAM | 1 << bit, FILLED ^ 1 << bit]);
    }
    for page in [1 << 10, 1 << 16, 1 << 20, (1 << 20) + 1] {
        places.extend([page << 12, RAM.wrapping_add(page << 12)]);
    }
    places.sort_unstable();
    places.dedup();
    places
}

/// Each of them, and around it.
fn around() -> impl Iterator<Item = u64> {
    let distances = [-17i64, -8, -7, -4, -3, -2, -1, 0, 1, 2, 4, 8];
    places()
        .into_iter()
        .flat_map(move |place| distances.map(|distance| place.wrapping_add_signed(distance)))
}

/// The conditions to run under: mode, `satp`, and bits of `mstatus`.
fn conditions() -> Vec<(Mode, u64, u64)> {
    const SUM: u64 = 1 << 18;
    const MXR: u64 = 1 << 19;
    vec![
        (Mode::M, 0, 0),
        (Mode::U, 0, 0),
        (Mode::S, SV39, 0),
        (Mode::S, SV39, SUM | MXR),
        (Mode::U, SV39, 0),
        // Loads and stores as U-mode.
        (Mode::M, SV39, 1 << 17),
    ]
}

/// Stubs that each do one thing with the address in `t0`, in a row, and where each begins.
fn stubs() -> (Assembler, Vec<u64>) {
    let mut code = Assembler::new(CODE);
    let mut starts = Vec::new();
    let mut stub = |code: &mut Assembler, write: &dyn Fn(&mut Assembler)| {
        code.align(8);
        starts.push(code.here());
        write(code);
        code.wfi();
    };
    let loads = [Op::Lb, Op::Lbu, Op::Lh, Op::Lhu, Op::Lw, Op::Lwu, Op::Ld];
    for op in loads {
        stub(&mut code, &|code| {
            code.load(op, A0, 0, T0);
        });
    }
    for op in [Op::Flh, Op::Flw, Op::Fld] {
        stub(&mut code, &|code| {
            code.load(op, FA0, 0, T0);
        });
    }
    for op in [Op::Sb, Op::Sh, Op::Sw, Op::Sd] {
        stub(&mut code, &|code| {
            code.store(op, A2, 0, T0);
        });
        // By way of x0 and immediates, too.
        stub(&mut code, &|code| {
            code.store(op, ZERO, -3, T0);
        });
    }
    for op in [Op::Fsh, Op::Fsw, Op::Fsd] {
        stub(&mut code, &|code| {
            code.store(op, FA0, 1, T0);
        });
    }
    // Several at once.
    stub(&mut code, &|code| {
        code.ld(A0, -8, T0).ld(A1, 8, T0).lb(A2, 3, T0);
    });
    stub(&mut code, &|code| {
        code.lw(A0, 4, T0)
            .sd(A2, 0, T0)
            .sb(A2, 13, T0)
            .lhu(A1, 12, T0);
    });
    let relaxed = ringer_isa::asm::Ordering::Relaxed;
    for op in [
        Op::AmoaddW,
        Op::AmoswapD,
        Op::AmomaxuD,
        Op::AmoandW,
        Op::LrD,
        Op::LrW,
    ] {
        stub(&mut code, &|code| {
            code.atomic(op, A0, A2, T0, relaxed);
        });
    }
    stub(&mut code, &|code| {
        code.atomic(Op::LrW, A0, ZERO, T0, relaxed);
        code.atomic(Op::ScW, A1, A2, T0, relaxed);
    });
    stub(&mut code, &|code| {
        code.cbo_zero(T0);
    });
    // Jumps: plain, as a call, as a return, in a loop.
    stub(&mut code, &|code| {
        code.jr(T0);
    });
    stub(&mut code, &|code| {
        code.jalr(RA, 0, T0);
    });
    stub(&mut code, &|code| {
        code.jalr(A0, -2, T0);
    });
    stub(&mut code, &|code| {
        code.mv(RA, T0).ret();
    });
    stub(&mut code, &|code| {
        code.csrw(number::MEPC, T0).mret();
    });
    (code, starts)
}

fn prepare(hart: &mut Hart, start: u64, address: u64, condition: (Mode, u64, u64)) {
    let (mode, satp, status) = condition;
    *hart = rig::hart(0);
    hart.pc = start;
    // The stubs are where the gigapage maps them for the mode.
    if satp != 0 && mode == Mode::U {
        hart.pc = start - RAM + 0xc000_0000;
    }
    hart.mode = mode;
    hart.csrs.satp = satp;
    hart.csrs.mstatus |= status;
    hart.csrs.menvcfg = u64::MAX;
    hart.csrs.senvcfg = 0xf1;
    hart.x[usize::from(T0.0)] = address;
    hart.x[usize::from(A2.0)] = 0x0585_0585_0585_0585;
    hart.f[usize::from(FA0.0)] = 0x3ff0_0000_0585_0585;
}

/// Everything at every place. With `warm`, the caches live on from place to place; else they are
/// emptied before each.
fn everything_everywhere(warm: bool) {
    let (code, starts) = stubs();
    let bytes = &ringer_lockstep::assembled(code);
    let starts = &starts;
    let everything = |condition| {
        let start = || {
            let machine = machine();
            machine.write(CODE, bytes);
            (machine, rig::hart(0))
        };
        let mut pair = Pair::new(rig::code(), start);
        let fresh = pair.defined.0.ram_bytes();
        // Empty caches are slow.
        let every = if warm { 1 } else { 5 };
        for (number, address) in around().step_by(every).enumerate() {
            for (turn, &stub) in starts.iter().enumerate() {
                pair.harts(|hart| {
                    prepare(hart, stub, address, condition);
                    // What the last one stored may be code, and before the first one all of
                    // memory was written.
                    let void = turn == 0 || !warm;
                    hart.effects = if void {
                        Effects::all()
                    } else {
                        Effects::FENCE_I
                    };
                });
                let what = || format!("stub {stub:#x}, address {address:#x}, {condition:?}");
                pair.run(12, &what);
            }
            // Stores have hit code, tables and handlers by now.
            if number % 16 == 15 {
                pair.compare_machines(&|| format!("up to {address:#x}, {condition:?}"));
            }
            pair.machines(|machine| machine.write(RAM, &fresh));
        }
    };
    std::thread::scope(|scope| {
        for condition in conditions() {
            scope.spawn(move || everything(condition));
        }
    });
}

#[test]
fn everything_everywhere_with_warm_caches() {
    everything_everywhere(true);
}

#[test]
fn everything_everywhere_with_cold_caches() {
    everything_everywhere(false);
}
