//! The decoder: what it takes, the encoder gives back, and the disassembler prints.

use ringer_isa::{decode, encode};

/// Decodes every four bytes.
pub fn run(data: &[u8]) {
    for bytes in data.chunks_exact(4) {
        let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let Some(insn) = decode(bits) else { continue };
        assert!(!insn.to_string().is_empty());
        assert!(
            !insn
                .disassemble(u64::from(bits) << 32)
                .to_string()
                .is_empty()
        );
        if insn.len == 4 {
            assert_eq!(encode(&insn), Some(bits), "{insn}");
        }
    }
}
