//! The forms of encodings: every address, in instructions of both kinds, and lengths.

use ringer_translate::assembler::{
    Alu, Assembler, Cell, Cond, FloatOp, Mem, Precision, Reg, Scale, Width, Xmm,
};

use crate::{Checker, address, all_places, place};

#[test]
fn every_address_in_the_legacy_form() {
    let mut checker = Checker::new();
    for (n, mem) in all_places().into_iter().enumerate() {
        let register = Reg::ALL[n % 16];
        let expected = format!(
            "mov {}, {}",
            crate::part(Cell::D, register),
            place(Cell::D, mem)
        );
        checker.is(&expected, |a| a.mov_rm(Width::W64, register, mem));
    }
}

#[test]
fn every_address_before_an_immediate() {
    let mut checker = Checker::new();
    for mem in all_places() {
        let expected = format!("mov {}, 305419896", place(Cell::W, mem));
        checker.is(&expected, |a| a.mov_mi(Width::W32, mem, 0x1234_5678));
    }
}

#[test]
fn lea_of_every_address() {
    let mut checker = Checker::new();
    for mem in all_places() {
        checker.is(&format!("lea r9d, {}", address(mem)), |a| {
            a.lea(Width::W32, Reg::R9, mem);
        });
    }
}

fn code(write: impl FnOnce(&mut Assembler)) -> Vec<u8> {
    let mut assembler = Assembler::new(0);
    write(&mut assembler);
    assembler.finish().unwrap();
    assembler.code().to_vec()
}

/// What the GNU assembler writes for the same.
#[test]
fn the_shortest_form_is_taken() {
    let load = |mem| code(|a| a.mov_rm(Width::W32, Reg::Rax, mem));
    assert_eq!(load(Mem::at(Reg::Rcx, 0)), [0x8b, 0x01]);
    assert_eq!(load(Mem::at(Reg::Rcx, -128)), [0x8b, 0x41, 0x80]);
    assert_eq!(load(Mem::at(Reg::Rcx, 128)), [0x8b, 0x81, 0x80, 0, 0, 0]);
    assert_eq!(load(Mem::at(Reg::Rbp, 0)), [0x8b, 0x45, 0]);
    assert_eq!(load(Mem::at(Reg::R13, 0)), [0x41, 0x8b, 0x45, 0]);
    assert_eq!(load(Mem::at(Reg::Rsp, 0)), [0x8b, 0x04, 0x24]);
    assert_eq!(load(Mem::at(Reg::R12, 8)), [0x41, 0x8b, 0x44, 0x24, 8]);
    assert_eq!(
        load(Mem::indexed(Reg::Rbx, Reg::R12, Scale::X8, 0)),
        [0x42, 0x8b, 0x04, 0xe3]
    );

    let add = |d, value| code(|a| a.alu_ri(Alu::Add, Width::W64, d, value));
    assert_eq!(add(Reg::Rax, 127), [0x48, 0x83, 0xc0, 127]);
    assert_eq!(add(Reg::Rax, 128), [0x48, 0x05, 128, 0, 0, 0]);
    assert_eq!(add(Reg::R8, 128), [0x49, 0x81, 0xc0, 128, 0, 0, 0]);

    let vadd = |a, b| {
        code(|assembler| {
            assembler.vfloat_rrr(FloatOp::Add, Precision::Double, Xmm(1), Xmm(a), Xmm(b));
        })
    };
    assert_eq!(vadd(9, 2), [0xc5, 0xb3, 0x58, 0xca]);
    assert_eq!(vadd(2, 9), [0xc4, 0xc1, 0x6b, 0x58, 0xc9]);
}

#[test]
fn constants_take_the_shortest_move() {
    let mov = |d, value| code(|a| a.mov_ri(d, value)).len();
    assert_eq!(mov(Reg::Rax, 0), 5);
    assert_eq!(mov(Reg::Rdi, u32::MAX.into()), 5);
    assert_eq!(mov(Reg::R8, 1), 6);
    assert_eq!(mov(Reg::Rax, u64::MAX), 7);
    assert_eq!(mov(Reg::Rax, 0xffff_ffff_8000_0000), 7);
    assert_eq!(mov(Reg::Rax, 0xffff_ffff_7fff_ffff), 10);
    assert_eq!(mov(Reg::R15, 1 << 32), 10);
}

#[test]
fn inverted_conditions() {
    for (cond, opposite) in [
        (Cond::O, Cond::No),
        (Cond::B, Cond::Ae),
        (Cond::E, Cond::Ne),
        (Cond::Be, Cond::A),
        (Cond::S, Cond::Ns),
        (Cond::P, Cond::Np),
        (Cond::L, Cond::Ge),
        (Cond::Le, Cond::G),
    ] {
        assert_eq!(cond.inverted(), opposite);
        assert_eq!(opposite.inverted(), cond);
    }
}
