//! A small assembler for tests and generators: instructions, data and labels.

mod constant;
mod error;
mod mnemonics;
pub mod register;

use alloc::vec::Vec;

pub use error::AsmError;
pub use register::{F, Register, X};

use crate::disassemble::Operands;
use crate::encode::encode;
use crate::insn::Insn;
use crate::table::Op;

/// A place in the code, bound now or later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label(usize);

/// The `aq` and `rl` bits of atomics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ordering {
    /// Neither.
    #[default]
    Relaxed,
    /// `rl`
    Release,
    /// `aq`
    Acquire,
    /// `aqrl`
    AcquireRelease,
}

/// Something to be completed when the labels are known.
#[derive(Clone, Copy, Debug)]
struct Fixup {
    /// Where in the code.
    at: usize,
    label: Label,
    kind: FixupKind,
}

#[derive(Clone, Copy, Debug)]
enum FixupKind {
    /// The immediate is the distance from the instruction.
    Distance(Insn),
    /// The immediate is the upper part of the distance.
    DistanceHigh(Insn),
    /// The immediate is the lower part of the distance from the instruction before.
    DistanceLow(Insn),
    /// The eight bytes are the address.
    Address,
}

/// Assembles code for a known address.
///
/// Mistakes (operands that do not fit, labels too far away or never bound) are remembered, and
/// [`Assembler::finish`] reports the first one, so that code can be written down in one go.
#[derive(Clone, Debug)]
pub struct Assembler {
    base: u64,
    code: Vec<u8>,
    /// Addresses, once bound.
    labels: Vec<Option<u64>>,
    fixups: Vec<Fixup>,
    error: Option<AsmError>,
}

impl Assembler {
    /// An empty piece of code that will lie at `base`.
    pub const fn new(base: u64) -> Self {
        Self {
            base,
            code: Vec::new(),
            labels: Vec::new(),
            fixups: Vec::new(),
            error: None,
        }
    }

    /// The same, with memory for `bytes` from the start.
    pub fn with_room(base: u64, bytes: usize) -> Self {
        Self {
            code: Vec::with_capacity(bytes),
            ..Self::new(base)
        }
    }

    /// Where it lies.
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// The address of what comes next.
    pub fn here(&self) -> u64 {
        self.address(self.code.len())
    }

    fn address(&self, offset: usize) -> u64 {
        self.base.wrapping_add(offset as u64)
    }

    fn fail(&mut self, error: AsmError) {
        self.error.get_or_insert(error);
    }

    /// A new label, to be bound later.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// A new label for the present place.
    pub fn label_here(&mut self) -> Label {
        self.label_at(self.here())
    }

    /// A new label for any address, for instance in other code.
    pub fn label_at(&mut self, address: u64) -> Label {
        self.labels.push(Some(address));
        Label(self.labels.len() - 1)
    }

    /// Says that `label` is here.
    pub fn bind(&mut self, label: Label) -> &mut Self {
        let here = self.here();
        match self.labels.get_mut(label.0) {
            Some(place @ None) => *place = Some(here),
            Some(Some(_)) => self.fail(AsmError::BoundTwice { label, at: here }),
            None => self.fail(AsmError::Unbound { label }),
        }
        self
    }

    /// The address of a label that is bound already.
    pub fn address_of(&self, label: Label) -> Option<u64> {
        *self.labels.get(label.0)?
    }

    /// Any instruction; its `bits` do not matter.
    pub fn insn(&mut self, insn: Insn) -> &mut Self {
        match encode(&insn) {
            Some(bits) => {
                let bytes = bits.to_le_bytes();
                self.code
                    .extend_from_slice(&bytes[..usize::from(insn.len.min(4))]);
            }
            None => self.fail(AsmError::Operands {
                at: self.here(),
                insn,
            }),
        }
        self
    }

    /// An instruction whose immediate depends on a label.
    fn insn_with_label(&mut self, label: Label, kind: FixupKind) -> &mut Self {
        self.fixups.push(Fixup {
            at: self.code.len(),
            label,
            kind,
        });
        self.code.extend_from_slice(&[0; 4]);
        self
    }

    /// `insn`, after a check that its registers are of the kinds that its format wants.
    fn with_registers(&mut self, insn: Insn, registers: &[(char, bool)]) -> &mut Self {
        let operands = Operands::of(insn.op.format());
        for &(field, is_float) in registers {
            let wanted = if is_float {
                field.to_ascii_uppercase()
            } else {
                field
            };
            if !operands.contains(wanted) {
                self.fail(AsmError::Operands {
                    at: self.here(),
                    insn,
                });
            }
        }
        self.insn(insn)
    }

    /// Rounding is dynamic unless said otherwise.
    fn rounding(op: Op) -> u8 {
        if op.format().has_rounding_mode() {
            7
        } else {
            0
        }
    }

    /// `op rd, rs1, rs2`. Where there is a rounding mode, it is the dynamic one.
    pub fn r<D: Register, S: Register, T: Register>(
        &mut self,
        op: Op,
        rd: D,
        rs1: S,
        rs2: T,
    ) -> &mut Self {
        let (rd, rs1, rs2) = (rd.number(), rs1.number(), rs2.number());
        let insn = Insn {
            rd,
            rs1,
            rs2,
            rm: Self::rounding(op),
            ..Insn::new(op)
        };
        self.with_registers(insn, &[('d', D::FLOAT), ('s', S::FLOAT), ('t', T::FLOAT)])
    }

    /// `op rd, rs1`. Where there is a rounding mode, it is the dynamic one.
    pub fn unary<D: Register, S: Register>(&mut self, op: Op, rd: D, rs1: S) -> &mut Self {
        let (rd, rs1) = (rd.number(), rs1.number());
        let insn = Insn {
            rd,
            rs1,
            rm: Self::rounding(op),
            ..Insn::new(op)
        };
        self.with_registers(insn, &[('d', D::FLOAT), ('s', S::FLOAT)])
    }

    /// `op rd, rs1, rs2, rs3`, a fused multiply-add with dynamic rounding.
    pub fn fused(&mut self, op: Op, rd: F, rs1: F, rs2: F, rs3: F) -> &mut Self {
        let (rd, rs1, rs2, rs3) = (rd.number(), rs1.number(), rs2.number(), rs3.number());
        self.insn(Insn {
            rd,
            rs1,
            rs2,
            rs3,
            rm: Self::rounding(op),
            ..Insn::new(op)
        })
    }

    /// `op rd, rs1, imm`.
    pub fn i(&mut self, op: Op, rd: X, rs1: X, imm: i32) -> &mut Self {
        self.insn(Insn {
            rd: rd.number(),
            rs1: rs1.number(),
            imm,
            ..Insn::new(op)
        })
    }

    /// `op rd, imm(rs1)`.
    pub fn load<D: Register>(&mut self, op: Op, rd: D, imm: i32, rs1: X) -> &mut Self {
        let insn = Insn {
            rd: rd.number(),
            rs1: rs1.number(),
            imm,
            ..Insn::new(op)
        };
        self.with_registers(insn, &[('d', D::FLOAT)])
    }

    /// `op rs2, imm(rs1)`.
    pub fn store<T: Register>(&mut self, op: Op, rs2: T, imm: i32, rs1: X) -> &mut Self {
        let insn = Insn {
            rs2: rs2.number(),
            rs1: rs1.number(),
            imm,
            ..Insn::new(op)
        };
        self.with_registers(insn, &[('t', T::FLOAT)])
    }

    /// `op rd, rs2, (rs1)`; `lr` ignores `rs2`.
    pub fn atomic(&mut self, op: Op, rd: X, rs2: X, rs1: X, ordering: Ordering) -> &mut Self {
        let rs2 = if matches!(op, Op::LrW | Op::LrD) {
            0
        } else {
            rs2.number()
        };
        let (rd, rs1) = (rd.number(), rs1.number());
        self.insn(Insn {
            rd,
            rs1,
            rs2,
            rm: ordering as u8,
            ..Insn::new(op)
        })
    }

    /// `op rd, csr, rs1`.
    pub fn csr(&mut self, op: Op, rd: X, csr: u16, rs1: X) -> &mut Self {
        let imm = i32::from(csr);
        self.insn(Insn {
            rd: rd.number(),
            rs1: rs1.number(),
            imm,
            ..Insn::new(op)
        })
    }

    /// `op rd, csr, value`.
    pub fn csr_immediate(&mut self, op: Op, rd: X, csr: u16, value: u8) -> &mut Self {
        self.insn(Insn {
            rd: rd.number(),
            rs1: value,
            imm: i32::from(csr),
            ..Insn::new(op)
        })
    }

    /// `op rs1, rs2, label`.
    pub fn branch(&mut self, op: Op, rs1: X, rs2: X, label: Label) -> &mut Self {
        let insn = Insn {
            rs1: rs1.number(),
            rs2: rs2.number(),
            ..Insn::new(op)
        };
        self.insn_with_label(label, FixupKind::Distance(insn))
    }

    /// `jal rd, label`.
    pub fn jal(&mut self, rd: X, label: Label) -> &mut Self {
        let insn = Insn {
            rd: rd.number(),
            ..Insn::new(Op::Jal)
        };
        self.insn_with_label(label, FixupKind::Distance(insn))
    }

    /// Loads the address of `label`, within 2 GiB: `auipc` and `addi`.
    pub fn la(&mut self, rd: X, label: Label) -> &mut Self {
        let rd = rd.number();
        let high = Insn {
            rd,
            ..Insn::new(Op::Auipc)
        };
        let low = Insn {
            rd,
            rs1: rd,
            ..Insn::new(Op::Addi)
        };
        self.insn_with_label(label, FixupKind::DistanceHigh(high));
        self.insn_with_label(label, FixupKind::DistanceLow(low))
    }

    /// Loads any constant, in as few instructions as a simple scheme finds.
    pub fn li(&mut self, rd: X, value: u64) -> &mut Self {
        constant::load(self, rd, value as i64);
        self
    }

    /// Bytes of data.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.code.extend_from_slice(bytes);
        self
    }

    /// Two bytes of data, for instance a compressed instruction.
    pub fn half(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Four bytes of data.
    pub fn word(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Eight bytes of data.
    pub fn double(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// The address of `label`, as eight bytes of data.
    pub fn address_data(&mut self, label: Label) -> &mut Self {
        self.fixups.push(Fixup {
            at: self.code.len(),
            label,
            kind: FixupKind::Address,
        });
        self.double(0)
    }

    /// Zeroes up to the next address that is a multiple of `alignment`.
    pub fn align(&mut self, alignment: u64) -> &mut Self {
        match self.here().checked_next_multiple_of(alignment) {
            Some(aligned) if alignment != 0 => {
                let padding = (aligned - self.here()) as usize;
                self.code.resize(self.code.len() + padding, 0);
            }
            _ => self.fail(AsmError::Alignment {
                at: self.here(),
                alignment,
            }),
        }
        self
    }

    /// Zeroes up to `address`.
    pub fn pad_to(&mut self, address: u64) -> &mut Self {
        match address.checked_sub(self.here()) {
            Some(padding) => self.code.resize(self.code.len() + padding as usize, 0),
            None => self.fail(AsmError::Past {
                at: self.here(),
                address,
            }),
        }
        self
    }

    /// The code, complete, or the first mistake in it.
    pub fn finish(mut self) -> Result<Vec<u8>, AsmError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        for fixup in core::mem::take(&mut self.fixups) {
            self.fix(fixup)?;
        }
        Ok(self.code)
    }

    fn fix(&mut self, Fixup { at, label, kind }: Fixup) -> Result<(), AsmError> {
        let target = self.address_of(label).ok_or(AsmError::Unbound { label })?;
        let pc = self.address(at);
        let too_far = AsmError::TooFar { at: pc, target };
        let distance_from = |pc: u64| {
            let distance = target.wrapping_sub(pc) as i64;
            // 0x800 is kept in reserve, since the low part is signed.
            i32::try_from(distance.wrapping_add(0x800))
                .map(|_| distance as i32)
                .map_err(|_| too_far)
        };
        let insn = match kind {
            FixupKind::Distance(insn) => Insn {
                imm: distance_from(pc)?,
                ..insn
            },
            FixupKind::DistanceHigh(insn) => Insn {
                imm: distance_from(pc)?.wrapping_add(0x800) & !0xfff,
                ..insn
            },
            FixupKind::DistanceLow(insn) => Insn {
                imm: distance_from(pc.wrapping_sub(4))? << 20 >> 20,
                ..insn
            },
            FixupKind::Address => {
                self.patch(at, &target.to_le_bytes());
                return Ok(());
            }
        };
        let bits = encode(&insn).ok_or(too_far)?;
        self.patch(at, &bits.to_le_bytes());
        Ok(())
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        self.code[at..at + bytes.len()].copy_from_slice(bytes);
    }
}
