//! Traps: causes and xtval, delegation, vectored mode, the mstatus stack, ecall from every mode.
#![no_std]
#![no_main]

use bare::csr;
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use tests::trap::{self, Mode, attempt, cause, run_in};
use tests::{Checks, bare_test, paging};

bare_test!("traps", run);

const SIE: usize = 1 << 1;
const MIE: usize = 1 << 3;
const SPIE: usize = 1 << 5;
const MPIE: usize = 1 << 7;
const SPP: usize = 1 << 8;
const MPP: usize = 3 << 11;
const SSI: usize = 1 << 1;

fn run(t: &mut Checks) {
    causes(t);
    status_stack(t);
    below(t);
    delegation(t);
    interrupts(t);
    vectored(t);
}

fn illegal() {
    // SAFETY: a probe; the trap is captured.
    unsafe {
        asm!(
            ".option push",
            ".option norvc",
            "csrw cycle, zero",
            ".option pop"
        )
    };
}

fn ecall() {
    // SAFETY: a probe; a7 is not the harness's.
    unsafe { asm!("ecall", in("a7") 0) };
}

fn causes(t: &mut Checks) {
    let got = attempt(illegal);
    // xtval of an illegal instruction is the instruction or zero; we and QEMU give the instruction.
    t.traps("write to a read-only CSR", got, cause::ILLEGAL, 0xc000_1073);
    // SAFETY: probes.
    t.traps(
        "zero halfword",
        attempt(|| unsafe { asm!(".2byte 0") }),
        cause::ILLEGAL,
        0,
    );
    // SAFETY: as above.
    let got = attempt(|| unsafe { asm!(".4byte 0xffffffff") });
    t.traps("all ones", got, cause::ILLEGAL, 0xffff_ffff);
    t.traps("ecall from M", attempt(ecall), cause::ECALL_M, 0);
    // SAFETY: as above.
    let got = attempt(|| unsafe { asm!(".option push", ".option norvc", "ebreak", ".option pop") });
    let epc = got.map_or(0, |g| g.epc);
    t.ok(
        "ebreak is a breakpoint",
        got.is_some_and(|g| g.cause == cause::BREAKPOINT),
    );
    t.ok(
        "ebreak's tval is 0 or its address",
        got.is_some_and(|g| g.tval == 0 || g.tval == epc),
    );
    t.traps(
        "load from nowhere",
        attempt(|| {
            trap::load(0x1800_0008);
        }),
        cause::LOAD_ACCESS,
        0x1800_0008,
    );
    t.traps(
        "store to nowhere",
        attempt(|| trap::store(0x1800_0010, 1)),
        cause::STORE_ACCESS,
        0x1800_0010,
    );
    t.traps(
        "fetch from nowhere",
        attempt(|| trap::fetch(0x1800_0000)),
        cause::FETCH_ACCESS,
        0x1800_0000,
    );
    csr::write!(mtvec, trap::machine_vector_address() | 2);
    t.ok("mtvec.MODE 2 is not kept", csr::read!(mtvec) & 3 < 2);
    csr::write!(mtvec, trap::machine_vector_address());
    csr::write!(mcause, cause::INTERRUPT | 3);
    t.eq(
        "mcause is readable and writable",
        csr::read!(mcause),
        cause::INTERRUPT | 3,
    );
}

fn status_stack(t: &mut Checks) {
    csr::set!(mstatus, MIE);
    let got = attempt(ecall);
    csr::clear!(mstatus, MIE);
    let status = got.map_or(0, |g| g.status);
    t.eq(
        "trap stacks MIE and M",
        status & (MIE | MPIE | MPP),
        MPIE | MPP,
    );
    let got = attempt(ecall);
    t.eq(
        "trap stacks a clear MIE",
        got.map_or(MPIE, |g| g.status) & (MIE | MPIE),
        0,
    );
    t.eq(
        "mret leaves MPP = U and MPIE = 1",
        csr::read!(mstatus) & (MPP | MPIE),
        MPIE,
    );
    csr::set!(mstatus, MPP);
    csr::clear!(mstatus, 1 << 11);
    t.ok("MPP never reads 2", csr::read!(mstatus) & MPP != 2 << 11);
    csr::clear!(mstatus, MPP);
}

extern "C" fn ecall_there(_: usize) -> usize {
    ecall();
    0
}

extern "C" fn read_machine_csr(_: usize) -> usize {
    csr::read!(mscratch)
}

extern "C" fn read_supervisor_csr(_: usize) -> usize {
    csr::read!(sscratch)
}

extern "C" fn do_sret(_: usize) -> usize {
    // SAFETY: used from U-mode, where it traps.
    unsafe { asm!("sret") };
    0
}

fn below(t: &mut Checks) {
    paging::open_pmp();
    let mut from = |what, mode, f, want, tval| {
        trap::take();
        run_in(mode, f, 0);
        t.traps(what, trap::take(), want, tval);
    };
    from(
        "ecall from S",
        Mode::S,
        ecall_there as extern "C" fn(usize) -> usize,
        cause::ECALL_S,
        0,
    );
    from("ecall from U", Mode::U, ecall_there, cause::ECALL_U, 0);
    from(
        "M CSR from S",
        Mode::S,
        read_machine_csr,
        cause::ILLEGAL,
        0x3400_2573,
    );
    from(
        "S CSR from U",
        Mode::U,
        read_supervisor_csr,
        cause::ILLEGAL,
        0x1400_2573,
    );
    from("sret from U", Mode::U, do_sret, cause::ILLEGAL, 0x1020_0073);
    trap::take();
    csr::write!(sscratch, 77);
    t.eq("S CSR from S", run_in(Mode::S, read_supervisor_csr, 0), 77);
    t.passes("S CSR from S", trap::take());
}

fn delegation(t: &mut Checks) {
    csr::write!(medeleg, 1 << cause::ILLEGAL);
    csr::write!(stvec, trap::supervisor_vector_address());
    trap::take();
    run_in(Mode::U, read_supervisor_csr, 0);
    let got = trap::take();
    t.traps("delegated from U", got, cause::ILLEGAL, 0x1400_2573);
    t.ok("taken in S", got.is_some_and(|g| g.taken_in == Mode::S));
    t.eq("SPP = U", got.map_or(SPP, |g| g.status) & SPP, 0);
    run_in(Mode::S, read_machine_csr, 0);
    let got = trap::take();
    t.ok(
        "delegated from S",
        got.is_some_and(|g| g.taken_in == Mode::S && g.status & SPP != 0),
    );
    let got = attempt(illegal);
    t.ok(
        "M traps stay in M",
        got.is_some_and(|g| g.taken_in == Mode::M),
    );
    csr::write!(medeleg, 0);
    run_in(Mode::U, read_supervisor_csr, 0);
    t.ok(
        "no longer delegated",
        trap::take().is_some_and(|g| g.taken_in == Mode::M),
    );
}

static SEEN: AtomicUsize = AtomicUsize::new(0);

fn note(cause: usize) {
    SEEN.store(cause, Ordering::SeqCst);
    csr::clear!(sip, SSI);
    csr::clear!(mip, SSI);
}

extern "C" fn raise_in_supervisor(_: usize) -> usize {
    csr::set!(sie, SSI);
    csr::set!(sip, SSI);
    let before = SEEN.swap(0, Ordering::SeqCst);
    csr::set!(sstatus, SIE);
    csr::clear!(sstatus, SIE);
    before
}

extern "C" fn nothing(_: usize) -> usize {
    0
}

fn interrupts(t: &mut Checks) {
    trap::on_interrupt(note);
    csr::write!(mideleg, 0);
    csr::write!(mie, SSI);
    csr::set!(mip, SSI);
    csr::set!(mstatus, MIE);
    csr::clear!(mstatus, MIE);
    t.eq(
        "SSI taken in M",
        SEEN.swap(0, Ordering::SeqCst),
        cause::INTERRUPT | 1,
    );
    t.eq(
        "sip hides what is not delegated",
        {
            csr::set!(mip, SSI);
            csr::read!(sip)
        },
        0,
    );
    csr::clear!(mip, SSI);

    csr::write!(mideleg, SSI);
    csr::set!(mip, SSI);
    csr::set!(mstatus, MIE);
    t.eq(
        "a delegated interrupt does not interrupt M",
        SEEN.swap(0, Ordering::SeqCst),
        0,
    );
    csr::clear!(mstatus, MIE | SIE);
    run_in(Mode::U, nothing, 0);
    t.eq(
        "it interrupts U though SIE is clear",
        SEEN.swap(0, Ordering::SeqCst),
        cause::INTERRUPT | 1,
    );
    t.eq(
        "it waits in S while SIE is clear",
        run_in(Mode::S, raise_in_supervisor, 0),
        0,
    );
    t.eq(
        "it is taken when SIE is set",
        SEEN.swap(0, Ordering::SeqCst),
        cause::INTERRUPT | 1,
    );

    csr::write!(sstatus, SPIE | SPP);
    t.eq(
        "sstatus shows mstatus",
        csr::read!(mstatus) & (SPIE | SPP),
        SPIE | SPP,
    );
    csr::write!(sstatus, 0x6000);
    csr::write!(mideleg, 0);
    csr::write!(mie, 0);
}

core::arch::global_asm!(
    ".balign 256",
    ".global vectors",
    "vectors:",
    ".option push",
    ".option norvc",
    "j machine_vector", // exceptions, and interrupt 0
    "j vector_1",
    "j vector_other",
    "j vector_3",
    "j vector_other; j vector_other; j vector_other; j vector_other",
    "j vector_other; j vector_other; j vector_other; j vector_other",
    ".option pop",
    "vector_1: csrw mscratch, t0; li t0, 2; csrc mip, t0; csrr t0, sscratch; slli t0, t0, 8; addi t0, t0, 1; csrw sscratch, t0; csrr t0, mscratch; mret",
    "vector_3: csrw mscratch, t0; li t0, 0x2000000; sw zero, 0(t0); csrr t0, sscratch; slli t0, t0, 8; addi t0, t0, 3; csrw sscratch, t0; csrr t0, mscratch; mret",
    "vector_other: csrw mie, zero; csrw sscratch, zero; mret",
);

unsafe extern "C" {
    fn vectors();
}

fn vectored(t: &mut Checks) {
    csr::write!(mtvec, vectors as *const () as usize | 1);
    t.eq(
        "mtvec keeps vectored mode",
        csr::read!(mtvec),
        vectors as *const () as usize | 1,
    );
    t.traps(
        "exceptions use the base",
        attempt(illegal),
        cause::ILLEGAL,
        0xc000_1073,
    );
    csr::write!(sscratch, 0);
    csr::write!(mie, SSI);
    csr::set!(mip, SSI);
    csr::set!(mstatus, MIE);
    csr::clear!(mstatus, MIE);
    t.eq("SSI uses base + 4", csr::swap!(sscratch, 0), 1);
    csr::write!(mie, 1 << 3);
    tests::smp::set_software_interrupt(0, true);
    while csr::read!(mip) & 1 << 3 == 0 {}
    csr::set!(mstatus, MIE);
    csr::clear!(mstatus, MIE);
    t.eq("MSI uses base + 12", csr::read!(sscratch), 3);
    csr::write!(mie, 0);
    csr::write!(mtvec, trap::machine_vector_address());
}
