//! The assembler: constants, labels, and what it says about mistakes.

use proptest::prelude::*;
use ringer_isa::asm::register::{A0, A1, FA0, FA1, RA, T0, X, ZERO};
use ringer_isa::asm::{AsmError, Assembler, Ordering};
use ringer_isa::{Insn, Op, csr, decode};

fn listing(code: &[u8], base: u64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let mut bytes = [0; 4];
        let rest = &code[at..];
        let available = rest.len().min(4);
        bytes[..available].copy_from_slice(&rest[..available]);
        let insn = decode(u32::from_le_bytes(bytes)).expect("code decodes");
        lines.push(insn.disassemble(base + at as u64).to_string());
        at += usize::from(insn.len);
    }
    lines
}

/// What a register holds after instructions of the kind that `li` emits.
fn constant(code: &[u8]) -> u64 {
    code.chunks(4).fold(0_i64, |x, bytes| {
        let insn = decode(u32::from_le_bytes(bytes.try_into().unwrap())).unwrap();
        assert_eq!(insn.rd, A0.0);
        let x = if insn.rs1 == 0 { 0 } else { x };
        let imm = i64::from(insn.imm);
        match insn.op {
            Op::Lui => imm,
            Op::Addi => x.wrapping_add(imm),
            Op::Addiw => i64::from(x.wrapping_add(imm) as i32),
            Op::Slli => x << imm,
            other => panic!("{other:?} in a constant"),
        }
    }) as u64
}

fn loaded(value: u64) -> (u64, usize) {
    let mut asm = Assembler::new(0);
    asm.li(A0, value);
    let code = asm.finish().unwrap();
    (constant(&code), code.len() / 4)
}

#[test]
fn constants_at_the_edges() {
    for bit in 0..64 {
        for offset in [-2049, -2048, -1, 0, 1, 2047, 2048] {
            let value = (1_u64 << bit).wrapping_add_signed(offset);
            for value in [value, !value] {
                let (result, count) = loaded(value);
                assert_eq!(result, value);
                assert!(count <= 8, "{value:#x} takes {count}");
            }
        }
    }
    assert_eq!(loaded(5).1, 1);
    assert_eq!(loaded(0x8000_0000).1, 2);
    assert_eq!(loaded(0x7fff_ffff), (0x7fff_ffff, 2));
}

proptest! {
    #[test]
    fn constants(value: u64, shift in 0..64) {
        prop_assert_eq!(loaded(value >> shift).0, value >> shift);
        prop_assert_eq!(loaded(value << shift).0, value << shift);
    }
}

#[test]
fn labels_forwards_and_backwards() {
    let mut asm = Assembler::new(0x8000_0000);
    let (end, data) = (asm.label(), asm.label());
    let start = asm.label_here();
    asm.la(A0, data)
        .ld(A1, 8, A0)
        .beqz(A1, end)
        .call(start)
        .j(end);
    asm.bind(end)
        .csrw(csr::SATP, ZERO)
        .sfence_vma(ZERO, ZERO)
        .ret();
    asm.align(16).bind(data).double(1).address_data(start);
    assert_eq!(asm.address_of(data), Some(0x8000_0030));
    let code = asm.finish().unwrap();
    assert_eq!(
        listing(&code[..0x24], 0x8000_0000),
        [
            "auipc a0, 0x0",
            "addi a0, a0, 48",
            "ld a1, 8(a0)",
            "beqz a1, 0x80000018",
            "jal 0x80000000",
            "j 0x80000018",
            "csrw satp, zero",
            "sfence.vma",
            "ret",
        ]
    );
    assert_eq!(
        code[0x30..],
        [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0]
    );
}

#[test]
fn labels_in_other_code() {
    let mut asm = Assembler::new(0x1000);
    let (before, after) = (asm.label_at(0x800), asm.label_at(0x2000));
    asm.pad_to(0x1004).bnez(A0, before).j(after);
    assert_eq!((asm.base(), asm.here()), (0x1000, 0x100c));
    let code = asm.finish().unwrap();
    assert_eq!(code[..4], [0; 4]);
    assert_eq!(listing(&code[4..], 0x1004), ["bnez a0, 0x800", "j 0x2000"]);
}

#[test]
fn addresses_whose_low_part_is_negative() {
    for distance in [0x7fc_u64, 0x800, 0xffc, 0x1800] {
        let mut asm = Assembler::new(0x1000);
        let label = asm.label();
        asm.la(T0, label)
            .bytes(&vec![0; distance as usize - 8])
            .bind(label);
        let code = asm.finish().unwrap();
        let high = decode(u32::from_le_bytes(code[..4].try_into().unwrap())).unwrap();
        let low = decode(u32::from_le_bytes(code[4..8].try_into().unwrap())).unwrap();
        assert_eq!(i64::from(high.imm) + i64::from(low.imm), distance as i64);
    }
}

#[test]
fn all_kinds_of_operands() {
    let mut asm = Assembler::new(0);
    asm.r(Op::FaddD, FA0, FA1, FA0)
        .r(Op::FeqS, A0, FA0, FA1)
        .unary(Op::FcvtWD, A0, FA1)
        .unary(Op::FmvDX, FA0, A1)
        .fused(Op::FmaddS, FA0, FA0, FA1, FA0)
        .load(Op::Fld, FA0, -8, A0)
        .store(Op::Fsw, FA1, 4, A0)
        .atomic(Op::AmoaddW, A0, A1, T0, Ordering::AcquireRelease)
        .atomic(Op::LrD, A0, ZERO, T0, Ordering::Acquire)
        .csrrwi(A0, csr::FRM, 1)
        .cbo_zero(A0)
        .lui(RA, -4096)
        .pause()
        .insn(Insn {
            rd: 8,
            rs1: 8,
            imm: 1,
            len: 2,
            ..Insn::new(Op::Addi)
        });
    assert_eq!(
        listing(&asm.finish().unwrap(), 0),
        [
            "fadd.d fa0, fa1, fa0",
            "feq.s a0, fa0, fa1",
            "fcvt.w.d a0, fa1",
            "fmv.d.x fa0, a1",
            "fmadd.s fa0, fa0, fa1, fa0",
            "fld fa0, -8(a0)",
            "fsw fa1, 4(a0)",
            "amoadd.w.aqrl a0, a1, (t0)",
            "lr.d.aq a0, (t0)",
            "fsrmi a0, 1",
            "cbo.zero (a0)",
            "lui ra, 0xfffff",
            "pause",
            "addi s0, s0, 1",
        ]
    );
}

#[test]
fn the_first_mistake_is_reported() {
    let mut asm = Assembler::new(0x100);
    asm.nop().addi(A0, A0, 5000).addi(A0, A0, 6000);
    let error = asm.finish().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the operands of `addi` at 0x104 do not fit"
    );

    let mut asm = Assembler::new(0);
    asm.r(Op::Add, FA0, A0, A1);
    assert!(matches!(asm.finish(), Err(AsmError::Operands { .. })));

    let mut asm = Assembler::new(0);
    asm.mv(X(32), A0);
    assert!(matches!(asm.finish(), Err(AsmError::Operands { .. })));

    let mut asm = Assembler::new(0);
    let label = asm.label();
    asm.j(label);
    assert_eq!(asm.finish(), Err(AsmError::Unbound { label }));

    let mut asm = Assembler::new(0);
    let label = asm.label_here();
    asm.nop().bind(label);
    assert_eq!(asm.finish(), Err(AsmError::BoundTwice { label, at: 4 }));

    let mut asm = Assembler::new(0);
    let label = asm.label();
    asm.beqz(A0, label).bytes(&[0; 4096]).bind(label);
    assert_eq!(
        asm.finish(),
        Err(AsmError::TooFar {
            at: 0,
            target: 4100
        })
    );

    let mut asm = Assembler::new(0);
    asm.align(0);
    assert_eq!(
        asm.finish(),
        Err(AsmError::Alignment {
            at: 0,
            alignment: 0
        })
    );

    let mut asm = Assembler::new(0x100);
    asm.nop().pad_to(0x102);
    assert_eq!(
        asm.finish(),
        Err(AsmError::Past {
            at: 0x104,
            address: 0x102
        })
    );

    let mut asm = Assembler::new(0x1000);
    let far = asm.label_at(0x1000_0000);
    asm.j(far);
    assert_eq!(
        asm.finish(),
        Err(AsmError::TooFar {
            at: 0x1000,
            target: 0x1000_0000
        })
    );
}
