//! Immediates whose bits are scattered over an encoding, described once for both directions.

/// A run of bits that sits at `from` in the encoding and belongs at `to` in the immediate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Move {
    from: u8,
    width: u8,
    to: u8,
}

impl Move {
    pub(crate) const fn new(from: u8, width: u8, to: u8) -> Self {
        Self { from, width, to }
    }

    const fn mask(self) -> u32 {
        (1 << self.width) - 1
    }
}

/// The immediate in `encoding`.
#[inline]
pub(crate) const fn gather(encoding: u32, moves: &[Move]) -> u32 {
    let mut value = 0;
    let mut i = 0;
    while i < moves.len() {
        let m = moves[i];
        value |= (encoding >> m.from & m.mask()) << m.to;
        i += 1;
    }
    value
}

/// The encoding of the immediate `value`; bits that have no place are lost.
pub(crate) const fn scatter(value: u32, moves: &[Move]) -> u32 {
    let mut encoding = 0;
    let mut i = 0;
    while i < moves.len() {
        let m = moves[i];
        encoding |= (value >> m.to & m.mask()) << m.from;
        i += 1;
    }
    encoding
}
