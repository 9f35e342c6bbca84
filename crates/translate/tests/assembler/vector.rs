//! Floating-point instructions.

use ringer_translate::assembler::{
    Assembler, Bitwise, Cell, FloatOp, Fused, Mem, Precision, Reg, Xmm,
};

use crate::{Checker, WIDTHS, name, part, place, some_places, xmm, xmm_pairs, xmms};

const PRECISIONS: [(Precision, &str, Cell); 2] = [
    (Precision::Single, "s", Cell::W),
    (Precision::Double, "d", Cell::D),
];

const OPERATIONS: [(FloatOp, &str); 7] = [
    (FloatOp::Sqrt, "sqrt"),
    (FloatOp::Add, "add"),
    (FloatOp::Mul, "mul"),
    (FloatOp::Sub, "sub"),
    (FloatOp::Min, "min"),
    (FloatOp::Div, "div"),
    (FloatOp::Max, "max"),
];

const FUSED: [(Fused, &str); 12] = [
    (Fused::Madd132, "madd132"),
    (Fused::Madd213, "madd213"),
    (Fused::Madd231, "madd231"),
    (Fused::Msub132, "msub132"),
    (Fused::Msub213, "msub213"),
    (Fused::Msub231, "msub231"),
    (Fused::Nmadd132, "nmadd132"),
    (Fused::Nmadd213, "nmadd213"),
    (Fused::Nmadd231, "nmadd231"),
    (Fused::Nmsub132, "nmsub132"),
    (Fused::Nmsub213, "nmsub213"),
    (Fused::Nmsub231, "nmsub231"),
];

/// An instruction on two vector registers.
fn two_registers(mnemonic: &str, write: impl Fn(&mut Assembler, Xmm, Xmm)) {
    let mut checker = Checker::new();
    for (d, s) in xmm_pairs() {
        let expected = format!("{mnemonic} {}, {}", xmm(d), xmm(s));
        checker.is(&expected, |a| write(a, d, s));
    }
}

/// An instruction on a vector register and memory, whose operand reads as `operand` says.
fn register_and_memory(
    mnemonic: &str,
    operand: impl Fn(Mem) -> String,
    write: impl Fn(&mut Assembler, Xmm, Mem),
) {
    let mut checker = Checker::new();
    for mem in some_places() {
        for d in xmms() {
            let expected = format!("{mnemonic} {}, {}", xmm(d), operand(mem));
            checker.is(&expected, |a| write(a, d, mem));
        }
    }
}

#[test]
fn moves() {
    two_registers("movaps", Assembler::mova_rr);
    let mut checker = Checker::new();
    for (precision, letter, cell) in PRECISIONS {
        let mnemonic = format!("movs{letter}");
        let operand = |mem| place(cell, mem);
        register_and_memory(&mnemonic, operand, |a, d, s| a.movs_load(precision, d, s));
        for mem in some_places() {
            for s in xmms() {
                let expected = format!("{mnemonic} {}, {}", operand(mem), xmm(s));
                checker.is(&expected, |a| a.movs_store(precision, mem, s));
            }
        }
    }
    for mem in some_places() {
        let operand = place(Cell::B, mem).replace("byte", "xmmword");
        for s in xmms() {
            let expected = format!("movaps {operand}, {}", xmm(s));
            checker.is(&expected, |a| a.mova_store(mem, s));
        }
    }
}

#[test]
fn moves_between_the_files() {
    let mut checker = Checker::new();
    for x in xmms() {
        for r in Reg::ALL {
            let (vector, low, all) = (xmm(x), part(Cell::W, r), part(Cell::D, r));
            checker.is(&format!("movq {vector}, {all}"), |a| a.movq_xr(x, r));
            checker.is(&format!("movq {all}, {vector}"), |a| a.movq_rx(r, x));
            checker.is(&format!("movd {vector}, {low}"), |a| a.movd_xr(x, r));
            checker.is(&format!("movd {low}, {vector}"), |a| a.movd_rx(r, x));
        }
    }
}

#[test]
fn arithmetic() {
    for (precision, letter, _) in PRECISIONS {
        for (op, mnemonic) in OPERATIONS {
            let mnemonic = format!("{mnemonic}s{letter}");
            two_registers(&mnemonic, |a, d, s| a.float_rr(op, precision, d, s));
        }
    }
}

/// Instructions of three operands.
fn three_operands(mnemonic: &str, registers: impl Fn(&mut Assembler, Xmm, Xmm, Xmm)) {
    let mut checker = Checker::new();
    for (d, s) in xmm_pairs() {
        let start = format!("{mnemonic} {}, {}", xmm(d), xmm(s));
        for b in xmms() {
            checker.is(&format!("{start}, {}", xmm(b)), |a| registers(a, d, s, b));
        }
    }
}

#[test]
fn arithmetic_of_three_operands() {
    for (precision, letter, _) in PRECISIONS {
        for (op, mnemonic) in OPERATIONS {
            three_operands(&format!("v{mnemonic}s{letter}"), |a, d, s, b| {
                a.vfloat_rrr(op, precision, d, s, b)
            });
        }
    }
}

#[test]
fn fused_arithmetic() {
    for (precision, letter, _) in PRECISIONS {
        for (op, mnemonic) in FUSED {
            three_operands(&format!("vf{mnemonic}s{letter}"), |a, d, s, b| {
                a.fused_rrr(op, precision, d, s, b)
            });
        }
    }
}

#[test]
fn comparisons() {
    for (precision, letter, _) in PRECISIONS {
        let quiet = format!("ucomis{letter}");
        two_registers(&quiet, |a, d, s| a.ucomis(precision, d, s));
        let signalling = format!("comis{letter}");
        two_registers(&signalling, |a, d, s| a.comis(precision, d, s));
    }
}

#[test]
fn conversions_of_integers() {
    let mut checker = Checker::new();
    for (precision, letter, _) in PRECISIONS {
        for width in WIDTHS {
            for r in Reg::ALL {
                for x in xmms() {
                    let (vector, general) = (xmm(x), name(width, r));
                    checker.is(&format!("cvtsi2s{letter} {vector}, {general}"), |a| {
                        a.cvt_int_to_float(width, precision, x, r);
                    });
                    checker.is(&format!("cvts{letter}2si {general}, {vector}"), |a| {
                        a.cvt_float_to_int(width, precision, r, x);
                    });
                    checker.is(&format!("cvtts{letter}2si {general}, {vector}"), |a| {
                        a.cvtt_float_to_int(width, precision, r, x);
                    });
                }
            }
        }
    }
}

#[test]
fn conversions_of_precision() {
    two_registers("cvtsd2ss", Assembler::cvt_double_to_single);
    two_registers("cvtss2sd", Assembler::cvt_single_to_double);
}

#[test]
fn rounding() {
    let mut checker = Checker::new();
    for (precision, letter, _) in PRECISIONS {
        for (d, s) in xmm_pairs() {
            for mode in 0..16 {
                let expected = format!("rounds{letter} {}, {}, {mode}", xmm(d), xmm(s));
                checker.is(&expected, |a| a.round(precision, d, s, mode));
            }
        }
    }
}

#[test]
fn logic_on_whole_registers() {
    for (op, mnemonic) in [
        (Bitwise::And, "andps"),
        (Bitwise::Andn, "andnps"),
        (Bitwise::Or, "orps"),
        (Bitwise::Xor, "xorps"),
    ] {
        two_registers(mnemonic, |a, d, s| a.bitwise_rr(op, d, s));
    }
    two_registers("pcmpeqb", Assembler::pcmpeqb);
}

#[test]
fn control_and_status() {
    let mut checker = Checker::new();
    for mem in some_places() {
        let operand = place(Cell::W, mem);
        checker.is(&format!("stmxcsr {operand}"), |a| a.stmxcsr(mem));
        checker.is(&format!("ldmxcsr {operand}"), |a| a.ldmxcsr(mem));
    }
}
