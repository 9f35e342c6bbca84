//! A small typed assembler for x86-64: what the translator needs, and fast. Operands are named
//! in the order of Intel's syntax, the destination first. [`Assembler::finish`] reports mistakes.

mod encode;
mod flow;
mod integer;
mod operand;
mod vector;

pub use operand::{
    Alu, Bitwise, Cell, Cond, FloatOp, Fused, Mem, Precision, Reg, Scale, Shift, Unary, Width, Xmm,
};

/// A place in the code, bound now or later. Belongs to the assembler that it came from, until
/// that is reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label(usize);

/// What cannot be assembled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AssembleError {
    /// Something refers to a label that is nowhere.
    #[error("the code at offset {at:#x} refers to a label that was never bound")]
    Unbound {
        /// Offset of the reference.
        at: usize,
    },
    /// A label cannot be in two places.
    #[error("a label was bound twice, again at offset {at:#x}")]
    BoundTwice {
        /// Offset of the second place.
        at: usize,
    },
    /// The target is too far away for the instruction.
    #[error("the target of the code at offset {at:#x} is out of reach")]
    OutOfReach {
        /// Offset of the reference.
        at: usize,
    },
    /// `rsp` was given as an index register.
    #[error("rsp cannot be an index")]
    StackPointerAsIndex,
    /// The processor has only `shlx`, `shrx` and `sarx`.
    #[error("there is no rotation by a register that leaves the flags alone")]
    NoSuchShift,
}

/// A distance to be filled in when its label is known. It counts from the end of the field.
#[derive(Clone, Copy, Debug)]
struct Fixup {
    /// Offset of the field.
    at: usize,
    label: Label,
    size: FieldSize,
}

/// How large a distance is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FieldSize {
    Byte,
    Word,
}

/// Assembles code for a known address.
///
/// Mistakes are remembered, and [`Assembler::finish`] reports the first one, so that code can be
/// written down in one go. One assembler is used again and again, and keeps its memory.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Run-time address of the first byte.
    address: u64,
    /// The code; behind `end`, space for more.
    bytes: Vec<u8>,
    end: usize,
    /// Where the labels are.
    places: Vec<Option<usize>>,
    fixups: Vec<Fixup>,
    first_mistake: Option<AssembleError>,
}

impl Assembler {
    /// An assembler for code that will be at `address` when it runs.
    pub fn new(address: u64) -> Self {
        Self {
            address,
            ..Self::default()
        }
    }

    /// Forgets code and labels, and begins anew at `address`.
    pub fn reset(&mut self, address: u64) {
        self.address = address;
        self.end = 0;
        self.places.clear();
        self.fixups.clear();
        self.first_mistake = None;
    }

    /// Run-time address of the next byte.
    #[inline]
    pub fn address(&self) -> u64 {
        self.address.wrapping_add(self.end as u64)
    }

    /// Offset of the next byte.
    #[inline]
    pub fn offset(&self) -> usize {
        self.end
    }

    /// The code. Distances to labels are not in it before [`Assembler::finish`].
    pub fn code(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    /// A new label, to be bound later.
    #[inline]
    pub fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// The label is here.
    #[inline]
    pub fn bind(&mut self, label: Label) {
        let end = self.end;
        match self.places.get_mut(label.0) {
            Some(place @ None) => *place = Some(end),
            Some(Some(_)) => self.mistake(AssembleError::BoundTwice { at: end }),
            None => self.mistake(AssembleError::Unbound { at: end }),
        }
    }

    /// A new label that is here.
    #[inline]
    pub fn bind_here(&mut self) -> Label {
        self.places.push(Some(self.end));
        Label(self.places.len() - 1)
    }

    /// Where the label is, if it is bound.
    #[inline]
    pub fn offset_of(&self, label: Label) -> Option<usize> {
        self.places.get(label.0).copied().flatten()
    }

    /// Fills in the distances to labels. Reports the first mistake, if there was any.
    pub fn finish(&mut self) -> Result<(), AssembleError> {
        for &Fixup { at, label, size } in &self.fixups {
            let done = match self.places.get(label.0).copied().flatten() {
                Some(place) => fill(&mut self.bytes, at, size, place),
                None => Err(AssembleError::Unbound { at }),
            };
            if let Err(mistake) = done {
                self.first_mistake.get_or_insert(mistake);
            }
        }
        self.fixups.clear();
        self.first_mistake.map_or(Ok(()), Err)
    }

    #[cold]
    fn mistake(&mut self, mistake: AssembleError) {
        self.first_mistake.get_or_insert(mistake);
    }
}

/// Writes the distance to `place` into the field at `at`.
fn fill(code: &mut [u8], at: usize, size: FieldSize, place: usize) -> Result<(), AssembleError> {
    let out_of_reach = AssembleError::OutOfReach { at };
    let distance = |len: usize| place as i64 - (at + len) as i64;
    let field = code.get_mut(at..).unwrap_or_default();
    match size {
        FieldSize::Byte => {
            let value = i8::try_from(distance(1)).map_err(|_| out_of_reach)?;
            *field.first_chunk_mut().ok_or(out_of_reach)? = value.to_le_bytes();
        }
        FieldSize::Word => {
            let value = i32::try_from(distance(4)).map_err(|_| out_of_reach)?;
            *field.first_chunk_mut().ok_or(out_of_reach)? = value.to_le_bytes();
        }
    }
    Ok(())
}
