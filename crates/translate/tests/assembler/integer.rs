//! Integer instructions.

use ringer_translate::assembler::{Alu, Assembler, Cell, Cond, Mem, Reg, Shift, Unary, Width};

use crate::{
    CELLS, Checker, IMMEDIATES, WIDTHS, address, cell, name, pairs, part, place, some_places,
};

const ALU: [(Alu, &str); 8] = [
    (Alu::Add, "add"),
    (Alu::Or, "or"),
    (Alu::Adc, "adc"),
    (Alu::Sbb, "sbb"),
    (Alu::And, "and"),
    (Alu::Sub, "sub"),
    (Alu::Xor, "xor"),
    (Alu::Cmp, "cmp"),
];

const SHIFTS: [(Shift, &str); 5] = [
    (Shift::Rol, "rol"),
    (Shift::Ror, "ror"),
    (Shift::Shl, "shl"),
    (Shift::Shr, "shr"),
    (Shift::Sar, "sar"),
];

pub(crate) const CONDS: [(Cond, &str); 16] = [
    (Cond::O, "o"),
    (Cond::No, "no"),
    (Cond::B, "b"),
    (Cond::Ae, "ae"),
    (Cond::E, "e"),
    (Cond::Ne, "ne"),
    (Cond::Be, "be"),
    (Cond::A, "a"),
    (Cond::S, "s"),
    (Cond::Ns, "ns"),
    (Cond::P, "p"),
    (Cond::Np, "np"),
    (Cond::L, "l"),
    (Cond::Ge, "ge"),
    (Cond::Le, "le"),
    (Cond::G, "g"),
];

/// An instruction on two registers, in both widths and with all registers.
fn two_registers(mnemonic: &str, write: impl Fn(&mut Assembler, Width, Reg, Reg)) {
    let mut checker = Checker::new();
    for width in WIDTHS {
        for (d, s) in pairs() {
            let expected = format!("{mnemonic} {}, {}", name(width, d), name(width, s));
            checker.is(&expected, |a| write(a, width, d, s));
        }
    }
}

/// An instruction on a register and memory, in both widths and with all registers.
fn register_and_memory(mnemonic: &str, write: impl Fn(&mut Assembler, Width, Reg, Mem)) {
    let mut checker = Checker::new();
    for width in WIDTHS {
        for mem in some_places() {
            for d in Reg::ALL {
                let operand = place(cell(width), mem);
                let expected = format!("{mnemonic} {}, {operand}", name(width, d));
                checker.is(&expected, |a| write(a, width, d, mem));
            }
        }
    }
}

/// An instruction on memory and a register, in both widths and with all registers.
fn memory_and_register(mnemonic: &str, write: impl Fn(&mut Assembler, Width, Mem, Reg)) {
    let mut checker = Checker::new();
    for width in WIDTHS {
        for mem in some_places() {
            for s in Reg::ALL {
                let operand = place(cell(width), mem);
                let expected = format!("{mnemonic} {operand}, {}", name(width, s));
                checker.is(&expected, |a| write(a, width, mem, s));
            }
        }
    }
}

/// The same for cells of all sizes.
fn cell_and_register(mnemonic: &str, write: impl Fn(&mut Assembler, Cell, Mem, Reg)) {
    let mut checker = Checker::new();
    for cell in CELLS {
        for mem in some_places() {
            for s in Reg::ALL {
                let expected = format!("{mnemonic} {}, {}", place(cell, mem), part(cell, s));
                checker.is(&expected, |a| write(a, cell, mem, s));
            }
        }
    }
}

#[test]
fn moves() {
    two_registers("mov", |a, width, d, s| a.mov_rr(width, d, s));
    register_and_memory("mov", |a, width, d, s| a.mov_rm(width, d, s));
    memory_and_register("mov", |a, width, d, s| a.mov_mr(width, d, s));
    cell_and_register("mov", |a, cell, d, s| a.store(cell, d, s));
}

#[test]
fn constants() {
    let mut checker = Checker::new();
    for d in Reg::ALL {
        for value in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
            let expected = format!("mov {}, {}", part(Cell::W, d), value as u32 as i32);
            checker.is(&expected, |a| a.mov_ri(d, value));
        }
        for value in [
            1 << 32,
            0x1234_5678_9abc_def0,
            1 << 63,
            u64::MAX,
            0xffff_ffff_8000_0000,
            0xffff_ffff_7fff_ffff,
        ] {
            let expected = format!("mov {}, {}", part(Cell::D, d), value as i64);
            checker.is(&expected, |a| a.mov_ri(d, value));
        }
    }
}

#[test]
fn constants_to_memory() {
    let mut checker = Checker::new();
    for mem in some_places() {
        for value in IMMEDIATES {
            for width in WIDTHS {
                let expected = format!("mov {}, {value}", place(cell(width), mem));
                checker.is(&expected, |a| a.mov_mi(width, mem, value));
            }
            for cell in CELLS {
                let cut = match cell {
                    Cell::B => i32::from(value as i8),
                    Cell::H => i32::from(value as i16),
                    _ => value,
                };
                let expected = format!("mov {}, {cut}", place(cell, mem));
                checker.is(&expected, |a| a.store_i(cell, mem, value));
            }
        }
    }
}

#[test]
fn extending_loads() {
    let mut checker = Checker::new();
    for mem in some_places() {
        for d in Reg::ALL {
            let (low, all) = (part(Cell::W, d), part(Cell::D, d));
            for (cell, zero, sign) in [
                (Cell::B, format!("movzx {low}"), format!("movsx {all}")),
                (Cell::H, format!("movzx {low}"), format!("movsx {all}")),
                (Cell::W, format!("mov {low}"), format!("movsxd {all}")),
                (Cell::D, format!("mov {all}"), format!("mov {all}")),
            ] {
                let from = place(cell, mem);
                checker.is(&format!("{zero}, {from}"), |a| a.load_zx(cell, d, mem));
                checker.is(&format!("{sign}, {from}"), |a| a.load_sx(cell, d, mem));
            }
        }
    }
}

#[test]
fn extending_moves() {
    let mut checker = Checker::new();
    for (d, s) in pairs() {
        let (low, all) = (part(Cell::W, d), part(Cell::D, d));
        for (cell, zero, sign) in [
            (Cell::B, format!("movzx {low}"), format!("movsx {all}")),
            (Cell::H, format!("movzx {low}"), format!("movsx {all}")),
            (Cell::W, format!("mov {low}"), format!("movsxd {all}")),
            (Cell::D, format!("mov {all}"), format!("mov {all}")),
        ] {
            let from = part(cell, s);
            checker.is(&format!("{zero}, {from}"), |a| a.zx_rr(cell, d, s));
            checker.is(&format!("{sign}, {from}"), |a| a.sx_rr(cell, d, s));
        }
    }
}

#[test]
fn arithmetic() {
    for (op, mnemonic) in ALU {
        two_registers(mnemonic, |a, width, d, s| a.alu_rr(op, width, d, s));
        register_and_memory(mnemonic, |a, width, d, s| a.alu_rm(op, width, d, s));
        memory_and_register(mnemonic, |a, width, d, s| a.alu_mr(op, width, d, s));
    }
}

#[test]
fn arithmetic_with_constants() {
    let mut checker = Checker::new();
    for (op, mnemonic) in ALU {
        for width in WIDTHS {
            for value in IMMEDIATES {
                for d in Reg::ALL {
                    let expected = format!("{mnemonic} {}, {value}", name(width, d));
                    checker.is(&expected, |a| a.alu_ri(op, width, d, value));
                }
                for mem in some_places() {
                    let expected = format!("{mnemonic} {}, {value}", place(cell(width), mem));
                    checker.is(&expected, |a| a.alu_mi(op, width, mem, value));
                }
            }
        }
    }
}

#[test]
fn bytes_in_memory() {
    let mut checker = Checker::new();
    for mem in some_places() {
        let operand = place(Cell::B, mem);
        for value in [0, 1, 127, 128, 255] {
            let signed = value as i8;
            checker.is(&format!("cmp {operand}, {signed}"), |a| {
                a.cmp_mi8(mem, signed);
            });
            checker.is(&format!("test {operand}, {signed}"), |a| {
                a.test_mi8(mem, value);
            });
        }
    }
}

#[test]
fn tests_of_bits() {
    two_registers("test", |a, width, d, s| a.test_rr(width, d, s));
    let mut checker = Checker::new();
    for width in WIDTHS {
        for r in Reg::ALL {
            for value in IMMEDIATES {
                let expected = format!("test {}, {value}", name(width, r));
                checker.is(&expected, |a| a.test_ri(width, r, value));
            }
        }
    }
}

#[test]
fn addresses() {
    let mut checker = Checker::new();
    for width in WIDTHS {
        for mem in some_places() {
            for d in Reg::ALL {
                let expected = format!("lea {}, {}", name(width, d), address(mem));
                checker.is(&expected, |a| a.lea(width, d, mem));
            }
        }
    }
}

#[test]
fn one_operand() {
    let mut checker = Checker::new();
    for width in WIDTHS {
        for r in Reg::ALL {
            for (op, mnemonic) in [
                (Unary::Not, "not"),
                (Unary::Neg, "neg"),
                (Unary::Mul, "mul"),
                (Unary::Imul, "imul"),
                (Unary::Div, "div"),
                (Unary::Idiv, "idiv"),
            ] {
                let expected = format!("{mnemonic} {}", name(width, r));
                checker.is(&expected, |a| a.unary(op, width, r));
            }
            let expected = format!("bswap {}", name(width, r));
            checker.is(&expected, |a| a.bswap(width, r));
        }
    }
    checker.is("cqo", Assembler::cqo);
    checker.is("cdq", Assembler::cdq);
}

#[test]
fn products() {
    two_registers("imul", |a, width, d, s| a.imul_rr(width, d, s));
    register_and_memory("imul", |a, width, d, s| a.imul_rm(width, d, s));
}

#[test]
fn shifts() {
    let mut checker = Checker::new();
    for width in WIDTHS {
        for (op, mnemonic) in SHIFTS {
            for d in Reg::ALL {
                let shift = format!("{mnemonic} {}", name(width, d));
                for count in 0..64 {
                    checker.is(&format!("{shift}, {count}"), |a| {
                        a.shift_ri(op, width, d, count);
                    });
                }
                checker.is(&format!("{shift}, cl"), |a| a.shift_rcl(op, width, d));
            }
        }
    }
}

#[test]
fn shifts_that_keep_the_flags() {
    let mut checker = Checker::new();
    for width in WIDTHS {
        for (d, s) in pairs() {
            let operands = format!("{}, {}", name(width, d), name(width, s));
            for (op, mnemonic) in [
                (Shift::Shl, "shlx"),
                (Shift::Shr, "shrx"),
                (Shift::Sar, "sarx"),
            ] {
                for count in Reg::ALL {
                    let expected = format!("{mnemonic} {operands}, {}", name(width, count));
                    checker.is(&expected, |a| a.shiftx(op, width, d, s, count));
                }
            }
            for count in [0, 1, 8, 63] {
                checker.is(&format!("rorx {operands}, {count}"), |a| {
                    a.rorx(width, d, s, count);
                });
            }
        }
    }
}

#[test]
fn single_bits() {
    two_registers("bt", |a, width, r, bit| a.bt_rr(width, r, bit));
    two_registers("bts", |a, width, r, bit| a.bts_rr(width, r, bit));
    two_registers("btr", |a, width, r, bit| a.btr_rr(width, r, bit));
    two_registers("btc", |a, width, r, bit| a.btc_rr(width, r, bit));
    let mut checker = Checker::new();
    for width in WIDTHS {
        for r in Reg::ALL {
            for bit in 0..64 {
                let operands = format!("{}, {bit}", name(width, r));
                checker.is(&format!("bt {operands}"), |a| a.bt_ri(width, r, bit));
                checker.is(&format!("bts {operands}"), |a| a.bts_ri(width, r, bit));
                checker.is(&format!("btr {operands}"), |a| a.btr_ri(width, r, bit));
                checker.is(&format!("btc {operands}"), |a| a.btc_ri(width, r, bit));
            }
        }
    }
}

#[test]
fn counts_of_bits() {
    two_registers("lzcnt", |a, width, d, s| a.lzcnt(width, d, s));
    two_registers("tzcnt", |a, width, d, s| a.tzcnt(width, d, s));
    two_registers("popcnt", |a, width, d, s| a.popcnt(width, d, s));
}

#[test]
fn conjunction_with_an_inverted_operand() {
    let mut checker = Checker::new();
    for width in WIDTHS {
        for (d, s) in pairs() {
            for b in Reg::ALL {
                let names = [d, s, b].map(|register| name(width, register)).join(", ");
                checker.is(&format!("andn {names}"), |a| a.andn(width, d, s, b));
            }
        }
    }
}

#[test]
fn conditional_moves_and_sets() {
    for (cond, suffix) in CONDS {
        let mnemonic = format!("cmov{suffix}");
        two_registers(&mnemonic, |a, width, d, s| a.cmov(cond, width, d, s));
        register_and_memory(&mnemonic, |a, width, d, s| a.cmov_m(cond, width, d, s));
        let mut checker = Checker::new();
        for d in Reg::ALL {
            let expected = format!("set{suffix} {}", part(Cell::B, d));
            checker.is(&expected, |a| a.setcc(cond, d));
        }
    }
}

#[test]
fn atomic_memory() {
    cell_and_register("xchg", |a, cell, d, s| a.xchg_mr(cell, d, s));
    cell_and_register("xadd", |a, cell, d, s| a.xadd_mr(false, cell, d, s));
    cell_and_register("lock xadd", |a, cell, d, s| a.xadd_mr(true, cell, d, s));
    cell_and_register("cmpxchg", |a, cell, d, s| a.cmpxchg_mr(false, cell, d, s));
    cell_and_register("lock cmpxchg", |a, cell, d, s| {
        a.cmpxchg_mr(true, cell, d, s);
    });
    let mut checker = Checker::new();
    for width in WIDTHS {
        for mem in some_places() {
            for value in IMMEDIATES {
                let expected = format!("lock or {}, {value}", place(cell(width), mem));
                checker.is(&expected, |a| a.lock_or_mi(width, mem, value));
            }
        }
    }
}
