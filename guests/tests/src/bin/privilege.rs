//! What S-mode may do: TW, TVM, TSR, FS, and instructions of higher modes.
#![no_std]
#![no_main]

use bare::csr;
use core::arch::asm;
use tests::trap::{self, Mode, Trap, attempt, cause, run_in};
use tests::{Checks, bare_test, paging};

bare_test!("privilege", run);

const TVM: usize = 1 << 20;
const TW: usize = 1 << 21;
const TSR: usize = 1 << 22;
const FS: usize = 3 << 13;
const SD: usize = 1 << 63;
const SSIP: usize = 1 << 1;

type Code = extern "C" fn(usize) -> usize;

macro_rules! code {
    ($name:ident, $($instruction:literal),+) => {
        extern "C" fn $name(_: usize) -> usize {
            // SAFETY: a probe; what traps is captured.
            unsafe { asm!($($instruction),+, out("t0") _, out("ft0") _) };
            0
        }
    };
}

code!(wait, "wfi");
code!(read_satp, "csrr t0, satp");
code!(write_satp, "csrw satp, zero");
code!(fence_all, "sfence.vma");
code!(
    return_from_s,
    "la t0, 1f",
    "csrw sepc, t0",
    "li t0, 0x100",
    "csrs sstatus, t0",
    "sret",
    "1: nop"
);
code!(return_from_m, "mret");
code!(float_move, "fmv.d.x ft0, zero");
code!(float_status, "csrr t0, fcsr");
code!(float_load, "fld ft0, 0(sp)");

fn try_in(mode: Mode, code: Code) -> Option<Trap> {
    trap::take();
    run_in(mode, code, 0);
    trap::take()
}

fn run(t: &mut Checks) {
    paging::open_pmp();
    let illegal = |t: &mut Checks, what, got: Option<Trap>| {
        t.eq(what, got.map_or(0, |g| g.cause), cause::ILLEGAL);
    };
    // A pending interrupt, enabled but not taken, makes wfi return at once.
    csr::write!(mideleg, SSIP);
    csr::write!(mie, SSIP);
    csr::set!(mip, SSIP);
    t.passes("wfi in S", try_in(Mode::S, wait));
    csr::set!(mstatus, TW);
    t.passes(
        "wfi in M with TW",
        attempt(|| {
            wait(0);
        }),
    );
    csr::write!(mie, 0);
    csr::clear!(mip, SSIP);
    illegal(
        t,
        "wfi in S with TW, nothing pending",
        try_in(Mode::S, wait),
    );
    illegal(
        t,
        "wfi in U with TW, nothing pending",
        try_in(Mode::U, wait),
    );
    csr::clear!(mstatus, TW);

    t.passes("satp in S", try_in(Mode::S, read_satp));
    t.passes("sfence.vma in S", try_in(Mode::S, fence_all));
    csr::set!(mstatus, TVM);
    illegal(t, "reading satp with TVM", try_in(Mode::S, read_satp));
    illegal(t, "writing satp with TVM", try_in(Mode::S, write_satp));
    illegal(t, "sfence.vma with TVM", try_in(Mode::S, fence_all));
    t.passes(
        "satp in M with TVM",
        attempt(|| {
            read_satp(0);
        }),
    );
    csr::clear!(mstatus, TVM);
    illegal(t, "sfence.vma in U", try_in(Mode::U, fence_all));
    illegal(t, "satp in U", try_in(Mode::U, read_satp));

    t.passes("sret in S", try_in(Mode::S, return_from_s));
    csr::set!(mstatus, TSR);
    illegal(t, "sret with TSR", try_in(Mode::S, return_from_s));
    csr::clear!(mstatus, TSR);
    illegal(t, "mret in S", try_in(Mode::S, return_from_m));

    csr::clear!(mstatus, FS);
    t.eq("SD is clear with FS off", csr::read!(mstatus) & SD, 0);
    let float: [(&str, Code); 3] = [
        ("fmv.d.x", float_move),
        ("fcsr", float_status),
        ("fld", float_load),
    ];
    for (what, code) in float {
        illegal(t, what, try_in(Mode::S, code));
        illegal(
            t,
            what,
            attempt(|| {
                code(0);
            }),
        );
    }
    csr::set!(mstatus, 1 << 13);
    t.passes("fmv.d.x with FS initial", try_in(Mode::S, float_move));
    t.eq("a write makes FS dirty", csr::read!(mstatus) & FS, FS);
    t.eq("which SD shows", csr::read!(mstatus) & SD, SD);
    t.eq("also in sstatus", csr::read!(sstatus) & (SD | FS), SD | FS);
    t.eq("UXL is 64 bit", csr::read!(sstatus) >> 32 & 3, 2);
}
