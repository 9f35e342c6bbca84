//! Encodings by other assemblers (`encodings.txt`), against the decoder, the disassembler and the
//! encoder.

use ringer_isa::{Op, decode, encode};

#[test]
fn as_other_assemblers_say() {
    let mut seen = vec![false; Op::ALL.len()];
    for line in include_str!("encodings.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let mut words = line.splitn(3, ' ');
        let digits = words.next().unwrap();
        let text = words.nth(1).unwrap_or_else(|| panic!("{line}"));
        let bits = u32::from_str_radix(digits, 16).unwrap();

        let insn = decode(bits).unwrap_or_else(|| panic!("{line} does not decode"));
        assert_eq!(insn.to_string(), text, "{digits}");
        assert_eq!(usize::from(insn.len) * 2, digits.len(), "{line}");
        assert_eq!(encode(&insn), Some(bits), "{line}");
        seen[insn.op as usize] = true;
    }
    for (op, seen) in Op::ALL.iter().zip(seen) {
        assert!(seen, "{op:?} is not in encodings.txt");
    }
}
