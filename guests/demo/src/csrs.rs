//! The `csr` command: the supervisor CSRs and what is in them.

use bare::{csr, println};

const STATUS_BITS: &[(usize, &str)] = &[
    (1, "SIE"),
    (5, "SPIE"),
    (6, "UBE"),
    (8, "SPP"),
    (18, "SUM"),
    (19, "MXR"),
    (63, "SD"),
];
const INTERRUPTS: &[(usize, &str)] = &[
    (1, "software"),
    (5, "timer"),
    (9, "external"),
    (13, "counter overflow"),
];

fn show(name: &str, value: usize, bits: &[(usize, &str)], more: &str) {
    bare::print!("  {name:<11}{value:#018x}  {more}");
    for (bit, meaning) in bits.iter().filter(|(bit, _)| value >> bit & 1 == 1) {
        let _ = bit;
        bare::print!(" {meaning}");
    }
    println!();
}

/// The `csr` command.
pub fn command() {
    let status = csr::read!(sstatus);
    let extension = |at: usize| ["off", "initial", "clean", "dirty"][status >> at & 3];
    show("sstatus", status, STATUS_BITS, "");
    println!(
        "             floating point {}, vector {}, XLEN of U-mode {}",
        extension(13),
        extension(9),
        16 << (status >> 32 & 3)
    );
    show("sie", csr::read!(sie), INTERRUPTS, "enabled:");
    show("sip", csr::read!(sip), INTERRUPTS, "pending:");
    let stvec = csr::read!(stvec);
    show(
        "stvec",
        stvec,
        &[],
        if stvec & 1 == 0 {
            "traps go to this address"
        } else {
            "interrupts are vectored"
        },
    );
    show(
        "satp",
        csr::read!(satp),
        &[],
        "MODE, ASID and root page table (see `walk`)",
    );
    show(
        "scounteren",
        csr::read!(scounteren),
        &[(0, "cycle"), (1, "time"), (2, "instret")],
        "U-mode may read:",
    );
    show("senvcfg", csr::read!(senvcfg), &[], "settings of U-mode");
    show(
        "scause",
        csr::read!(scause),
        &[],
        crate::trap::name(csr::read!(scause)),
    );
    show(
        "sepc",
        csr::read!(sepc),
        &[],
        "where the last trap came from",
    );
    show(
        "stval",
        csr::read!(stval),
        &[],
        "its address or instruction",
    );
    show("time", csr::read!(time), &[], "the clock");
    show("cycle", csr::read!(cycle), &[], "cycles of this hart");
    show(
        "instret",
        csr::read!(instret),
        &[],
        "instructions this hart has finished",
    );
}
