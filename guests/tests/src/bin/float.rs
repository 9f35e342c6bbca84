//! Floating point at its corners: NaN boxes, flags, rounding modes, conversions, classes.
#![no_std]
#![no_main]

use bare::csr;
use core::arch::asm;
use tests::trap::{attempt, cause};
use tests::{Checks, bare_test};

bare_test!("float", run);

const NX: usize = 1;
const UF: usize = 2;
const OF: usize = 4;
const DZ: usize = 8;
const NV: usize = 16;

const RTZ: usize = 1;
const RDN: usize = 2;
const RUP: usize = 3;
const RMM: usize = 4;

const ONE: u64 = 0x3ff0_0000_0000_0000;
const TWO: u64 = 0x4000_0000_0000_0000;
const THREE: u64 = 0x4008_0000_0000_0000;
const INFINITY: u64 = 0x7ff0_0000_0000_0000;
const NAN: u64 = 0x7ff8_0000_0000_0000;
const QUIET: u64 = 0xfff8_0000_0000_1234;
const SIGNALING: u64 = 0x7ff0_0000_0000_0001;
const MAX: u64 = 0x7fef_ffff_ffff_ffff;
const MIN_NORMAL: u64 = 0x0010_0000_0000_0000;
const NEGATIVE: u64 = 1 << 63;

/// A single-precision value in its NaN box.
const fn boxed(bits: u32) -> u64 {
    0xffff_ffff_0000_0000 | bits as u64
}

const ONE_S: u64 = boxed(0x3f80_0000);
const NAN_S: u64 = boxed(0x7fc0_0000);

/// One instruction of up to three float operands with a float result; gives result and flags.
macro_rules! float {
    ($rm:expr, $instruction:literal, $a:expr, $b:expr, $c:expr) => {{
        csr::write!(fcsr, $rm << 5);
        let result: u64;
        // SAFETY: arithmetic on registers.
        unsafe {
            asm!("fmv.d.x {a}, {x}", "fmv.d.x {b}, {y}", "fmv.d.x {c}, {z}", $instruction, "fmv.x.d {r}, {d}",
                x = in(reg) $a, y = in(reg) $b, z = in(reg) $c, r = lateout(reg) result,
                a = out(freg) _, b = out(freg) _, c = out(freg) _, d = out(freg) _)
        };
        (result as usize, csr::read!(fflags))
    }};
    ($rm:expr, $instruction:literal, $a:expr, $b:expr) => {
        float!($rm, $instruction, $a, $b, 0u64)
    };
    ($rm:expr, $instruction:literal, $a:expr) => {
        float!($rm, $instruction, $a, 0u64, 0u64)
    };
}

/// The same with an integer result.
macro_rules! to_integer {
    ($rm:expr, $instruction:literal, $a:expr, $b:expr) => {{
        csr::write!(fcsr, $rm << 5);
        let result: u64;
        // SAFETY: arithmetic on registers.
        unsafe {
            asm!("fmv.d.x {a}, {x}", "fmv.d.x {b}, {y}", $instruction,
                x = in(reg) $a, y = in(reg) $b, d = lateout(reg) result, a = out(freg) _, b = out(freg) _)
        };
        (result as usize, csr::read!(fflags))
    }};
    ($rm:expr, $instruction:literal, $a:expr) => {
        to_integer!($rm, $instruction, $a, 0u64)
    };
}

fn run(t: &mut Checks) {
    arithmetic(t);
    rounding(t);
    selection(t);
    comparison(t);
    to_integers(t);
    from_integers(t);
    boxes(t);
    classes(t);
    modes(t);
}

fn same(t: &mut Checks, what: &str, got: (usize, usize), result: u64, flags: usize) {
    t.eq(what, got.0, result as usize);
    t.eq(what, got.1, flags);
}

fn arithmetic(t: &mut Checks) {
    same(
        t,
        "1/0",
        float!(0, "fdiv.d {d}, {a}, {b}", ONE, 0u64),
        INFINITY,
        DZ,
    );
    same(
        t,
        "1/-0",
        float!(0, "fdiv.d {d}, {a}, {b}", ONE, NEGATIVE),
        INFINITY | NEGATIVE,
        DZ,
    );
    same(
        t,
        "0/0",
        float!(0, "fdiv.d {d}, {a}, {b}", 0u64, 0u64),
        NAN,
        NV,
    );
    same(
        t,
        "inf/0",
        float!(0, "fdiv.d {d}, {a}, {b}", INFINITY, 0u64),
        INFINITY,
        0,
    );
    same(
        t,
        "inf-inf",
        float!(0, "fsub.d {d}, {a}, {b}", INFINITY, INFINITY),
        NAN,
        NV,
    );
    same(
        t,
        "0*inf",
        float!(0, "fmul.d {d}, {a}, {b}", 0u64, INFINITY),
        NAN,
        NV,
    );
    same(
        t,
        "sqrt(-1)",
        float!(0, "fsqrt.d {d}, {a}", ONE | NEGATIVE),
        NAN,
        NV,
    );
    same(
        t,
        "sqrt(-0)",
        float!(0, "fsqrt.d {d}, {a}", NEGATIVE),
        NEGATIVE,
        0,
    );
    same(
        t,
        "sqrt(2)",
        float!(0, "fsqrt.d {d}, {a}", TWO),
        0x3ff6_a09e_667f_3bcd,
        NX,
    );
    same(
        t,
        "a quiet NaN becomes canonical",
        float!(0, "fadd.d {d}, {a}, {b}", QUIET, ONE),
        NAN,
        0,
    );
    same(
        t,
        "a signaling NaN is invalid",
        float!(0, "fadd.d {d}, {a}, {b}", SIGNALING, ONE),
        NAN,
        NV,
    );
    same(t, "1-1", float!(0, "fsub.d {d}, {a}, {b}", ONE, ONE), 0, 0);
    same(
        t,
        "1-1 downwards",
        float!(RDN, "fsub.d {d}, {a}, {b}", ONE, ONE),
        NEGATIVE,
        0,
    );
    same(
        t,
        "inf*0+NaN is invalid",
        float!(0, "fmadd.d {d}, {a}, {b}, {c}", INFINITY, 0u64, QUIET),
        NAN,
        NV,
    );
    same(
        t,
        "2*3-1",
        float!(0, "fmsub.d {d}, {a}, {b}, {c}", TWO, THREE, ONE),
        0x4014_0000_0000_0000,
        0,
    );
    same(
        t,
        "-(2*3)+1",
        float!(0, "fnmsub.d {d}, {a}, {b}, {c}", TWO, THREE, ONE),
        0xc014_0000_0000_0000,
        0,
    );
    same(
        t,
        "-(2*3)-1",
        float!(0, "fnmadd.d {d}, {a}, {b}, {c}", TWO, THREE, ONE),
        0xc01c_0000_0000_0000,
        0,
    );
    // (1+e)^2 - 1 - 2e = e^2 only if the product is not rounded.
    let (above, e2) = (ONE + 1, 0xbff0_0000_0000_0002u64);
    same(
        t,
        "one rounding",
        float!(0, "fmadd.d {d}, {a}, {b}, {c}", above, above, e2),
        0x3970_0000_0000_0000,
        0,
    );
    same(
        t,
        "1/3 single",
        float!(0, "fdiv.s {d}, {a}, {b}", ONE_S, boxed(0x4040_0000)),
        boxed(0x3eaa_aaab),
        NX,
    );
}

fn rounding(t: &mut Checks) {
    for (mode, huge, third) in [
        (0, INFINITY, 0x3fd5_5555_5555_5555u64),
        (RTZ, MAX, 0x3fd5_5555_5555_5555),
        (RDN, MAX, 0x3fd5_5555_5555_5555),
        (RUP, INFINITY, 0x3fd5_5555_5555_5556),
        (RMM, INFINITY, 0x3fd5_5555_5555_5555),
    ] {
        same(
            t,
            "overflow",
            float!(mode, "fadd.d {d}, {a}, {b}", MAX, MAX),
            huge,
            OF | NX,
        );
        same(
            t,
            "1/3",
            float!(mode, "fdiv.d {d}, {a}, {b}", ONE, THREE),
            third,
            NX,
        );
    }
    // 1 + 2^-53 lies in the middle of two values.
    let half = 0x3ca0_0000_0000_0000u64;
    for (mode, want) in [
        (0, ONE),
        (RTZ, ONE),
        (RDN, ONE),
        (RUP, ONE + 1),
        (RMM, ONE + 1),
    ] {
        same(
            t,
            "a tie",
            float!(mode, "fadd.d {d}, {a}, {b}", ONE, half),
            want,
            NX,
        );
    }
    same(
        t,
        "underflow",
        float!(
            0,
            "fmul.d {d}, {a}, {b}",
            MIN_NORMAL,
            0x3fd5_5555_5555_5555u64
        ),
        0x0005_5555_5555_5555,
        UF | NX,
    );
    same(
        t,
        "an exact subnormal",
        float!(0, "fdiv.d {d}, {a}, {b}", MIN_NORMAL, TWO),
        MIN_NORMAL / 2,
        0,
    );
    // Tininess is detected after rounding: this rounds up to the least normal number.
    same(
        t,
        "not tiny after rounding",
        float!(0, "fmul.d {d}, {a}, {b}", MIN_NORMAL + 1, ONE - 1),
        MIN_NORMAL,
        NX,
    );
    same(
        t,
        "static rounding",
        float!(RUP, "fadd.d {d}, {a}, {b}, rtz", ONE, half),
        ONE,
        NX,
    );
}

fn selection(t: &mut Checks) {
    same(
        t,
        "min(-0, 0)",
        float!(0, "fmin.d {d}, {a}, {b}", 0u64, NEGATIVE),
        NEGATIVE,
        0,
    );
    same(
        t,
        "max(-0, 0)",
        float!(0, "fmax.d {d}, {a}, {b}", NEGATIVE, 0u64),
        0,
        0,
    );
    same(
        t,
        "min(NaN, 1)",
        float!(0, "fmin.d {d}, {a}, {b}", QUIET, ONE),
        ONE,
        0,
    );
    same(
        t,
        "max(1, sNaN)",
        float!(0, "fmax.d {d}, {a}, {b}", ONE, SIGNALING),
        ONE,
        NV,
    );
    same(
        t,
        "max(NaN, NaN)",
        float!(0, "fmax.d {d}, {a}, {b}", QUIET, QUIET),
        NAN,
        0,
    );
    same(
        t,
        "fsgnj keeps a NaN's payload",
        float!(0, "fsgnj.d {d}, {a}, {b}", SIGNALING, ONE | NEGATIVE),
        SIGNALING | NEGATIVE,
        0,
    );
    same(
        t,
        "fsgnjx",
        float!(0, "fsgnjx.d {d}, {a}, {b}", ONE | NEGATIVE, TWO | NEGATIVE),
        ONE,
        0,
    );
}

fn comparison(t: &mut Checks) {
    same(
        t,
        "feq NaN",
        to_integer!(0, "feq.d {d}, {a}, {b}", QUIET, ONE),
        0,
        0,
    );
    same(
        t,
        "feq sNaN",
        to_integer!(0, "feq.d {d}, {a}, {b}", SIGNALING, ONE),
        0,
        NV,
    );
    same(
        t,
        "flt NaN",
        to_integer!(0, "flt.d {d}, {a}, {b}", QUIET, ONE),
        0,
        NV,
    );
    same(
        t,
        "fle NaN",
        to_integer!(0, "fle.d {d}, {a}, {b}", ONE, QUIET),
        0,
        NV,
    );
    same(
        t,
        "-0 = 0",
        to_integer!(0, "feq.d {d}, {a}, {b}", NEGATIVE, 0u64),
        1,
        0,
    );
    same(
        t,
        "-0 < 0",
        to_integer!(0, "flt.d {d}, {a}, {b}", NEGATIVE, 0u64),
        0,
        0,
    );
    same(
        t,
        "-inf < 1",
        to_integer!(0, "flt.d {d}, {a}, {b}", INFINITY | NEGATIVE, ONE),
        1,
        0,
    );
}

fn to_integers(t: &mut Checks) {
    let max32 = i32::MAX as u64;
    let min32 = i32::MIN as i64 as u64;
    same(
        t,
        "fcvt.w.d NaN",
        to_integer!(0, "fcvt.w.d {d}, {a}", NAN),
        max32,
        NV,
    );
    same(
        t,
        "fcvt.w.d -inf",
        to_integer!(0, "fcvt.w.d {d}, {a}", INFINITY | NEGATIVE),
        min32,
        NV,
    );
    same(
        t,
        "fcvt.wu.d NaN extends the sign",
        to_integer!(0, "fcvt.wu.d {d}, {a}", NAN),
        u64::MAX,
        NV,
    );
    same(
        t,
        "fcvt.wu.d -1",
        to_integer!(0, "fcvt.wu.d {d}, {a}", ONE | NEGATIVE),
        0,
        NV,
    );
    let half = 0x3fe0_0000_0000_0000u64;
    same(
        t,
        "fcvt.wu.d -0.5",
        to_integer!(0, "fcvt.wu.d {d}, {a}", half | NEGATIVE),
        0,
        NX,
    );
    same(
        t,
        "fcvt.w.d 0.5 even",
        to_integer!(0, "fcvt.w.d {d}, {a}", half),
        0,
        NX,
    );
    same(
        t,
        "fcvt.w.d 0.5 rmm",
        to_integer!(RMM, "fcvt.w.d {d}, {a}", half),
        1,
        NX,
    );
    same(
        t,
        "fcvt.w.d -0.5 down",
        to_integer!(RDN, "fcvt.w.d {d}, {a}", half | NEGATIVE),
        u64::MAX,
        NX,
    );
    same(
        t,
        "fcvt.l.d 2^63",
        to_integer!(0, "fcvt.l.d {d}, {a}", 0x43e0_0000_0000_0000u64),
        i64::MAX as u64,
        NV,
    );
    same(
        t,
        "fcvt.l.d -2^63",
        to_integer!(0, "fcvt.l.d {d}, {a}", 0xc3e0_0000_0000_0000u64),
        1 << 63,
        0,
    );
    same(
        t,
        "fcvt.lu.d 2^63",
        to_integer!(0, "fcvt.lu.d {d}, {a}", 0x43e0_0000_0000_0000u64),
        1 << 63,
        0,
    );
    same(
        t,
        "fcvt.lu.d 2^64",
        to_integer!(0, "fcvt.lu.d {d}, {a}", 0x43f0_0000_0000_0000u64),
        u64::MAX,
        NV,
    );
    same(
        t,
        "fcvt.wu.d 2^32-1",
        to_integer!(0, "fcvt.wu.d {d}, {a}", 0x41ef_ffff_ffe0_0000u64),
        u64::MAX,
        0,
    );
}

fn from_integers(t: &mut Checks) {
    let convert = |value: u64, mode: usize| {
        csr::write!(fcsr, mode << 5);
        let (long, unsigned): (u64, u64);
        // SAFETY: arithmetic on registers.
        unsafe {
            asm!("fcvt.s.l {f}, {x}", "fmv.x.d {l}, {f}", "fcvt.d.lu {f}, {x}", "fmv.x.d {u}, {f}",
                x = in(reg) value, l = out(reg) long, u = out(reg) unsigned, f = out(freg) _)
        };
        (long, unsigned, csr::read!(fflags))
    };
    let (long, unsigned, flags) = convert(u64::MAX, 0);
    t.eq("fcvt.s.l -1", long as usize, boxed(0xbf80_0000) as usize);
    t.eq("fcvt.d.lu 2^64-1", unsigned as usize, 0x43f0_0000_0000_0000);
    t.eq("which is inexact", flags, NX);
    t.eq(
        "and down",
        convert(u64::MAX, RDN).1 as usize,
        0x43ef_ffff_ffff_ffff,
    );
    t.eq(
        "2^24+1 ties to even",
        convert((1 << 24) + 1, 0).0 as usize,
        boxed(0x4b80_0000) as usize,
    );
}

fn boxes(t: &mut Checks) {
    same(
        t,
        "an operand outside its box is NaN",
        float!(0, "fadd.s {d}, {a}, {b}", 0x3f80_0000u64, ONE_S),
        NAN_S,
        0,
    );
    same(
        t,
        "fsgnj.s too",
        float!(0, "fsgnj.s {d}, {a}, {b}", 0x3f80_0000u64, ONE_S),
        NAN_S,
        0,
    );
    same(
        t,
        "but fmv.x.w takes the bits",
        to_integer!(0, "fmv.x.w {d}, {a}", 0x8000_0001u64),
        0xffff_ffff_8000_0001,
        0,
    );
    same(
        t,
        "fcvt.s.d boxes",
        float!(0, "fcvt.s.d {d}, {a}", ONE),
        ONE_S,
        0,
    );
    same(
        t,
        "fcvt.s.d of a NaN",
        float!(0, "fcvt.s.d {d}, {a}", QUIET),
        NAN_S,
        0,
    );
    same(
        t,
        "fcvt.s.d overflows",
        float!(0, "fcvt.s.d {d}, {a}", MAX),
        boxed(0x7f80_0000),
        OF | NX,
    );
    same(
        t,
        "fcvt.d.s",
        float!(0, "fcvt.d.s {d}, {a}", boxed(0x8000_0001)),
        0xb6a0_0000_0000_0000,
        0,
    );
    same(
        t,
        "fcvt.d.s outside a box",
        float!(0, "fcvt.d.s {d}, {a}", ONE),
        NAN,
        0,
    );
}

fn classes(t: &mut Checks) {
    let values = [
        INFINITY | NEGATIVE,
        ONE | NEGATIVE,
        1 | NEGATIVE,
        NEGATIVE,
        0,
        1,
        ONE,
        INFINITY,
        SIGNALING,
        QUIET,
    ];
    for (bit, value) in values.into_iter().enumerate() {
        same(
            t,
            "fclass.d",
            to_integer!(0, "fclass.d {d}, {a}", value),
            1 << bit,
            0,
        );
    }
    same(
        t,
        "fclass.s outside a box",
        to_integer!(0, "fclass.s {d}, {a}", 0u64),
        1 << 9,
        0,
    );
}

fn modes(t: &mut Checks) {
    for mode in [5, 6, 7] {
        csr::write!(frm, mode);
        t.eq("frm keeps a reserved mode", csr::read!(frm), mode);
        // SAFETY: traps; ft0 is ours.
        let got = attempt(|| unsafe { asm!("fadd.d ft0, ft0, ft0, dyn", out("ft0") _) });
        t.eq(
            "which traps when used",
            got.map_or(0, |g| g.cause),
            cause::ILLEGAL,
        );
        // SAFETY: as above.
        let got = attempt(|| unsafe { asm!("fsgnj.d ft0, ft0, ft0", out("ft0") _) });
        t.passes("but only where rounding is", got);
    }
    csr::write!(frm, 0);
    // SAFETY: traps. fadd.d ft0, ft0, ft0 with rm = 5.
    let got = attempt(|| unsafe { asm!(".4byte 0x02005053", out("ft0") _) });
    t.eq(
        "a static reserved mode traps",
        got.map_or(0, |g| g.cause),
        cause::ILLEGAL,
    );
    csr::write!(fcsr, usize::MAX);
    t.eq("fcsr has 8 bits", csr::read!(fcsr), 0xff);
    csr::write!(fflags, 0);
    t.eq("fflags is its lower part", csr::read!(fcsr), 0xe0);
    csr::write!(fcsr, 0);
}
