//! Instructions that generated code leaves to the definition, decoded once: generated code names
//! them by their number here.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use ringer_isa::Insn;

/// How many there can be. Programs use few different ones; what comes after is decoded every
/// time.
const MOST: usize = 4096;

/// The instructions of one machine's code.
#[derive(Debug)]
pub struct KnownInstructions {
    decoded: Box<[OnceLock<Insn>]>,
    numbers: Mutex<HashMap<u32, u32>>,
}

impl KnownInstructions {
    /// None yet.
    pub fn new() -> Self {
        Self {
            decoded: (0..MOST).map(|_| OnceLock::new()).collect(),
            numbers: Mutex::default(),
        }
    }

    /// The instruction of this number.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&Insn> {
        self.decoded.get(number as usize)?.get()
    }

    /// The number of `insn`, if there is room for one more.
    pub fn number(&self, insn: &Insn) -> Option<u32> {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = numbers.get(&insn.bits) {
            return Some(*number);
        }
        let number = numbers.len() as u32;
        self.decoded.get(number as usize)?.set(*insn).ok()?;
        numbers.insert(insn.bits, number);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_has_one_number_until_there_is_no_room() {
        let known = KnownInstructions::new();
        let insn = |bits| Insn {
            bits,
            ..Insn::new(ringer_isa::Op::Csrrw)
        };
        for round in 0..2 {
            for bits in 0..MOST as u32 {
                assert_eq!(known.number(&insn(bits)), Some(bits), "round {round}");
            }
        }
        assert_eq!(known.number(&insn(u32::MAX)), None);
        assert_eq!(known.get(7).map(|insn| insn.bits), Some(7));
        assert!(known.get(MOST as u32).is_none());
    }
}
