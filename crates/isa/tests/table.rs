//! The table against itself: rows do not collide, and what is encoded decodes to the same.

use ringer_isa::{Format, Insn, Op, decode, encode};

/// Pairs of rows where the second is a special case of the first and rightly wins.
const SPECIAL_CASES: &[(Op, Op)] = &[(Op::Packw, Op::ZextH)];

#[test]
fn rows_agree_with_their_formats() {
    for (index, &op) in Op::ALL.iter().enumerate() {
        let row = op.row();
        assert_eq!(op as usize, index);
        assert_eq!(row.op, op);
        assert_eq!(
            row.bits & !row.format.mask(),
            0,
            "{op:?} has operand bits set"
        );
        assert_eq!(row.bits & 3 == 3, op != Op::CMop, "{op:?}");
    }
}

#[test]
fn rows_do_not_overlap() {
    for &a in Op::ALL {
        for &b in Op::ALL {
            let (row, other) = (a.row(), b.row());
            let common = row.format.mask() & other.format.mask();
            let overlap = a != b && (row.bits ^ other.bits) & common == 0;
            let intended = SPECIAL_CASES.contains(&(a, b)) || SPECIAL_CASES.contains(&(b, a));
            assert_eq!(overlap, intended, "{a:?} and {b:?}");
        }
    }
    for (general, special) in SPECIAL_CASES {
        let (general, special) = (general.row().format.mask(), special.row().format.mask());
        assert!(general & special == general && special != general);
    }
}

#[test]
fn names_are_the_mnemonics() {
    for &op in Op::ALL {
        let camel: String = op
            .mnemonic()
            .split('.')
            .map(|part| part[..1].to_uppercase() + &part[1..])
            .collect();
        assert_eq!(camel, format!("{op:?}"));
    }
}

/// Every row with many settings of its operand bits: decoding finds the row, and encoding what
/// was found gives the bits back.
#[test]
fn rows_decode_and_encode() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for &op in Op::ALL {
        let row = op.row();
        if row.format == Format::MayBeCompressed {
            continue;
        }
        for _ in 0..500 {
            random = random
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            let mut bits = row.bits | (random >> 32) as u32 & !row.format.mask();
            if row.format == Format::AtomicPair {
                bits &= !(1 << 7 | 1 << 20);
            }
            let insn = decode(bits).unwrap_or_else(|| panic!("{op:?} {bits:#x}"));
            assert_eq!((insn.bits, insn.len), (bits, 4));
            if insn.op != op {
                assert!(
                    SPECIAL_CASES.contains(&(op, insn.op)),
                    "{op:?} is {:?}",
                    insn.op
                );
            }
            assert_eq!(encode(&insn), Some(bits), "{insn:?}");
            assert_eq!(encode(&Insn { op, ..insn }), Some(bits), "{insn:?}");
        }
    }
}

/// Random words, and words one bit away from a valid one, either do not decode or come back.
#[test]
fn arbitrary_words_come_back_or_do_not_decode() {
    let mut random = 1_u64;
    let mut decoded = 0;
    for _ in 0..2_000_000 {
        random = random
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let bits = (random >> 32) as u32 | 3;
        if let Some(insn) = decode(bits) {
            decoded += 1;
            assert_eq!(encode(&insn), Some(bits), "{insn:?}");
        }
    }
    assert!(decoded > 100_000, "{decoded}");
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let insn = decode(0x0000_0013).unwrap();
    assert_eq!(encode(&Insn { imm: 2047, ..insn }), Some(0x7ff0_0013));
    assert_eq!(encode(&Insn { imm: 2048, ..insn }), None);
    assert_eq!(encode(&Insn { imm: -2049, ..insn }), None);
    assert_eq!(encode(&Insn { rd: 32, ..insn }), None);
    assert_eq!(encode(&Insn { rs2: 1, ..insn }), None);
    assert_eq!(encode(&Insn { rm: 1, ..insn }), None);
    assert_eq!(
        encode(&Insn {
            op: Op::Beq,
            imm: 3,
            ..insn
        }),
        None
    );
    assert_eq!(
        encode(&Insn {
            op: Op::Beq,
            imm: 4096,
            ..insn
        }),
        None
    );
    assert_eq!(
        encode(&Insn {
            op: Op::Lui,
            imm: 1,
            ..insn
        }),
        None
    );
    assert_eq!(
        encode(&Insn {
            op: Op::Slli,
            imm: 64,
            ..insn
        }),
        None
    );
    assert_eq!(
        encode(&Insn {
            op: Op::Slliw,
            imm: 32,
            ..insn
        }),
        None
    );
    assert_eq!(
        encode(&Insn {
            op: Op::Csrrw,
            imm: 4096,
            ..insn
        }),
        None
    );
    assert_eq!(
        encode(&Insn {
            op: Op::AmocasQ,
            rd: 1,
            ..insn
        }),
        None
    );
    assert_eq!(
        encode(&Insn {
            op: Op::CMop,
            imm: 1,
            ..insn
        }),
        None
    );
    assert_eq!(
        encode(&Insn {
            op: Op::CMop,
            imm: 1,
            len: 2,
            ..insn
        }),
        Some(0x6081)
    );
    assert_eq!(encode(&Insn { len: 3, ..insn }), None);
}

proptest::proptest! {
    /// Whatever the fields say, what is encoded decodes to just that.
    #[test]
    fn any_fields_encode_to_themselves_or_not_at_all(
        op in proptest::sample::select(Op::ALL),
        registers: [u8; 4],
        narrow: bool,
        rm in 0..9_u8,
        len in proptest::sample::select(&[0_u8, 2, 4, 6][..]),
        imm: i32,
        shift in 0..32,
        bits: u32,
    ) {
        let [rd, rs1, rs2, rs3] = registers.map(|register| register >> if narrow { 3 } else { 0 });
        let insn = Insn { op, rd, rs1, rs2, rs3, rm, len, imm: imm >> shift, bits };
        let _ = insn.to_string();
        // Fields that the format does not use must be zero, so also try without them.
        for insn in [insn, Insn { rs3: 0, rm: 0, ..insn }, Insn { rs2: 0, rs3: 0, rm: 0, ..insn }] {
            if let Some(bits) = encode(&insn) {
                let back = decode(bits).expect("encoded");
                if !SPECIAL_CASES.contains(&(op, back.op)) {
                    proptest::prop_assert_eq!(back, Insn { bits, ..insn });
                }
            }
        }
    }
}
