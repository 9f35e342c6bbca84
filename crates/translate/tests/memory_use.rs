//! What a hostile guest can make the translator take of the host's memory. In a process of its
//! own, since it looks at what all of that takes.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use ringer_hart::{Exit, Hart};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::*;
use ringer_isa::csr as number;
use ringer_isa::pte::Pte;
use ringer_lockstep::{Machine, assembled};
use ringer_translate::{SharedCode, Translator};

const RAM: u64 = 0x8000_0000;
const RAM_LEN: u64 = 0x40_0000;
/// One page of data, which is everywhere.
const DATA: u64 = RAM + 0x1_0000;
const TABLES: u64 = RAM + 0x10_0000;
const ROOTS: u64 = 200;

/// Pages of the host's that this process has, in MiB.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number of pages") / 256
}

/// Runs the program at the start of RAM to its end. Returns the translator, and how many MiB all
/// this has taken at most.
fn run(machine: &Machine, mut hart: Hart) -> (Translator<Machine>, u64) {
    let before = resident();
    let mut translator =
        Translator::new(SharedCode::new(1).expect("memory for code")).expect("memory for tables");
    let mut most = 0;
    let mut exit = Exit::Budget;
    while exit == Exit::Budget {
        exit = translator.run(&mut hart, machine, 1_000_000);
        most = most.max(resident().saturating_sub(before));
    }
    assert_eq!(exit, Exit::Wait, "at {:#x}", hart.pc);
    println!("{most} MiB");
    (translator, most)
}

/// One after the other: both look at what the whole process has.
#[test]
fn memory_is_bounded() {
    spaces_that_are_touched_everywhere();
    code_that_begins_everywhere();
}

/// Loads from and stores to every 64th page of 1000 MiB, in many address spaces.
fn spaces_that_are_touched_everywhere() {
    let machine = Machine::new(RAM, RAM_LEN, 1);
    let leaf = |addr: u64, flags| Pte::new(addr >> 12, flags).0;
    let all = Pte::V | Pte::R | Pte::W | Pte::X | Pte::A | Pte::D;
    for entry in 0..512 {
        machine.write_u64(TABLES + 8 * entry, leaf(DATA, all));
        machine.write_u64(TABLES + 0x1000 + 8 * entry, leaf(TABLES, Pte::V));
    }
    for root in 0..ROOTS {
        let table = TABLES + 0x2000 + 0x1000 * root;
        for entry in [0, 1] {
            machine.write_u64(table + 8 * entry, leaf(TABLES + 0x1000, Pte::V));
        }
        machine.write_u64(table + 16, leaf(RAM, all));
    }
    let mut code = Assembler::new(RAM);
    code.li(S0, ROOTS)
        .li(S1, 8 << 60 | (TABLES + 0x2000) >> 12)
        .li(S2, 1 << 44 | 1);
    code.li(S3, 1000 << 20).li(S4, 64 << 12);
    let space = code.label_here();
    code.csrw(number::SATP, S1).li(T0, 0);
    let page = code.label_here();
    code.ld(T1, 0, T0)
        .sd(T1, 8, T0)
        .add(T0, T0, S4)
        .bne(T0, S3, page);
    code.add(S1, S1, S2).addi(S0, S0, -1).bnez(S0, space).wfi();
    machine.write(RAM, &assembled(code));

    let mut hart = Hart::new(0, RAM);
    hart.start_supervisor(RAM, 0);
    let (translator, most) = run(&machine, hart);
    let begun = translator.counts().spaces.begun;
    assert!(begun >= ROOTS, "{begun} spaces");
    // 24 MiB, one space more of 4 MiB, and a little for each.
    assert!(most < 48, "{most} MiB");
}

/// Calls functions that begin at every second byte: more blocks than there is room for.
fn code_that_begins_everywhere() {
    const LEN: u64 = 0x6_0000;
    let machine = Machine::new(RAM, RAM_LEN, 1);
    let mut code = Assembler::new(RAM);
    code.li(S2, TABLES).li(S3, TABLES + LEN);
    let again = code.label_here();
    code.jalr(RA, 0, S2)
        .addi(S2, S2, 2)
        .bne(S2, S3, again)
        .wfi();
    machine.write(RAM, &assembled(code));
    for at in (0..LEN).step_by(2) {
        // `c.ld a0, 0(a1)`, and now and then `c.jr ra`.
        let parcel: u16 = if at % 96 == 94 { 0x8082 } else { 0x6188 };
        machine.write(TABLES + at, &parcel.to_le_bytes());
    }
    let mut hart = Hart::new(0, RAM);
    hart.x[usize::from(A1.0)] = DATA;
    let (translator, most) = run(&machine, hart);
    let counts = translator.shared().counts();
    assert!(counts.evicted > 10_000, "{counts:?}");
    // The code, which is mapped twice and counts twice here, and what is known of the blocks.
    assert!(most < 192, "{most} MiB");
}
