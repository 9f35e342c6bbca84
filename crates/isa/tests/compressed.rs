//! Compressed instructions: all 65,536 parcels.

use ringer_isa::{Insn, decode, encode, length};

fn parcels() -> impl Iterator<Item = u16> {
    (0..=u16::MAX).filter(|&parcel| length(parcel) == 2)
}

/// Parcels whose expansion another one has too, and which encoding therefore does not give.
fn has_alias(parcel: u16, expansion: &Insn) -> bool {
    let rd = parcel >> 7 & 31;
    match parcel & 0xe003 {
        0x4001 => rd == 0,                                       // c.li x0 is c.nop
        0x6001 => rd == 2 && (-32..32).contains(&expansion.imm), // c.addi16sp is c.addi sp
        0x8002 => rd == 0 && parcel & 0x107c > 0x1000,           // c.add x0 is c.mv x0
        _ => false,
    }
}

#[test]
fn parcels_come_back() {
    for parcel in parcels() {
        let Some(insn) = decode(u32::from(parcel) | 0xabcd_0000) else {
            continue;
        };
        assert_eq!((insn.bits, insn.len), (u32::from(parcel), 2));
        let back = encode(&insn).unwrap_or_else(|| panic!("{parcel:#x} {insn:?}"));
        let again = decode(back).unwrap();
        assert_eq!(
            Insn {
                bits: insn.bits,
                ..again
            },
            insn
        );
        assert_eq!(
            back != u32::from(parcel),
            has_alias(parcel, &insn),
            "{parcel:#x} {insn:?}"
        );
    }
}

#[test]
fn reserved_parcels_do_not_decode() {
    let reserved = |parcel: u16| {
        let rd = parcel >> 7 & 31;
        let imm6_zero = parcel & 0x107c == 0;
        match parcel & 0xe003 {
            0x0000 => parcel & 0x1fe0 == 0, // c.addi4spn 0
            0x8000 => match parcel >> 10 & 7 {
                0..=2 => false,          // c.lbu, c.lhu, c.lh, c.sb
                3 => parcel & 0x40 != 0, // c.sh
                _ => true,
            },
            0x2001 | 0x4002 | 0x6002 => rd == 0, // c.addiw, c.lwsp, c.ldsp
            0x6001 => imm6_zero && !(rd < 16 && rd & 1 == 1), // c.lui 0; c.mop is not
            0x8001 => parcel & 0x1c78 == 0x1c78, // after c.not
            0x8002 => parcel == 0x8002,          // c.jr x0
            _ => false,
        }
    };
    for parcel in parcels() {
        assert_eq!(
            decode(u32::from(parcel)).is_none(),
            reserved(parcel),
            "{parcel:#x}"
        );
    }
}
