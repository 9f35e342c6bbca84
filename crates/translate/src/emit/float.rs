//! Floating point: F and D by the host's scalar instructions, whose results, flags and rounding
//! are RISC-V's but for a few cases that are told apart here: NaNs are made canonical, and what
//! the host does otherwise (unboxed singles, conversions out of range, minima of NaNs, rounding
//! away from zero at ties) is left to the definition.
//!
//! Flags gather in the host's own flags; `float_unit.rs` passes them on.

use ringer_isa::{Class, Insn, Op};

use super::Emitter;
use super::aside::Aside;
use super::block::Step;
use super::float_registers::{LoopRegisters, SCRATCH};
use super::memory::Kind;
use super::rounding::Rounding;
use crate::assembler::{
    Alu, Bitwise, Cell, Cond, FloatOp, Fused, Label, Mem, Precision, Reg, Width, Xmm,
};
use crate::core_state::{FLOAT_ON, FLOAT_READY, f};
use crate::features::Features;
use crate::float_unit::host_rounding;

/// The `rm` field for truncation, and for whatever `frm` says.
const TOWARDS_ZERO: u8 = 1;
const DYNAMIC: u8 = 7;
/// The last valid rounding mode.
const LAST_MODE: u8 = 4;

/// The canonical NaN.
pub(super) fn nan(precision: Precision) -> u64 {
    match precision {
        Precision::Single => 0x7fc0_0000,
        Precision::Double => 0x7ff8_0000_0000_0000,
    }
}

/// What is done inline.
#[derive(Clone, Copy)]
enum Do {
    Binary(FloatOp),
    Sqrt,
    Fused(Fused),
    Sign(Sign),
    Compare(Comparison),
    Least { greatest: bool },
    FromInteger { width: Width, signed: bool },
    ToInteger(Width),
    ToUnsigned(Width),
    Classify,
    Widen,
    Narrow,
    BitsToInteger,
    BitsFromInteger,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Same,
    Opposite,
    Product,
}

#[derive(Clone, Copy)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
}

fn operation(insn: &Insn) -> Option<(Do, Precision)> {
    use Precision::{Double, Single};
    Some(match insn.op {
        Op::FaddS => (Do::Binary(FloatOp::Add), Single),
        Op::FaddD => (Do::Binary(FloatOp::Add), Double),
        Op::FsubS => (Do::Binary(FloatOp::Sub), Single),
        Op::FsubD => (Do::Binary(FloatOp::Sub), Double),
        Op::FmulS => (Do::Binary(FloatOp::Mul), Single),
        Op::FmulD => (Do::Binary(FloatOp::Mul), Double),
        Op::FdivS => (Do::Binary(FloatOp::Div), Single),
        Op::FdivD => (Do::Binary(FloatOp::Div), Double),
        Op::FsqrtS => (Do::Sqrt, Single),
        Op::FsqrtD => (Do::Sqrt, Double),
        Op::FmaddS => (Do::Fused(Fused::Madd213), Single),
        Op::FmaddD => (Do::Fused(Fused::Madd213), Double),
        Op::FmsubS => (Do::Fused(Fused::Msub213), Single),
        Op::FmsubD => (Do::Fused(Fused::Msub213), Double),
        // RISC-V's `n` negates the product, x86's names mean the same by other letters.
        Op::FnmsubS => (Do::Fused(Fused::Nmadd213), Single),
        Op::FnmsubD => (Do::Fused(Fused::Nmadd213), Double),
        Op::FnmaddS => (Do::Fused(Fused::Nmsub213), Single),
        Op::FnmaddD => (Do::Fused(Fused::Nmsub213), Double),
        Op::FsgnjS => (Do::Sign(Sign::Same), Single),
        Op::FsgnjD => (Do::Sign(Sign::Same), Double),
        Op::FsgnjnS => (Do::Sign(Sign::Opposite), Single),
        Op::FsgnjnD => (Do::Sign(Sign::Opposite), Double),
        Op::FsgnjxS => (Do::Sign(Sign::Product), Single),
        Op::FsgnjxD => (Do::Sign(Sign::Product), Double),
        Op::FeqS => (Do::Compare(Comparison::Equal), Single),
        Op::FeqD => (Do::Compare(Comparison::Equal), Double),
        Op::FltS => (Do::Compare(Comparison::Less), Single),
        Op::FltD => (Do::Compare(Comparison::Less), Double),
        Op::FleS => (Do::Compare(Comparison::LessOrEqual), Single),
        Op::FleD => (Do::Compare(Comparison::LessOrEqual), Double),
        Op::FminS => (Do::Least { greatest: false }, Single),
        Op::FminD => (Do::Least { greatest: false }, Double),
        Op::FmaxS => (Do::Least { greatest: true }, Single),
        Op::FmaxD => (Do::Least { greatest: true }, Double),
        Op::FcvtDW => (from_integer(Width::W32, true), Double),
        Op::FcvtDWu => (from_integer(Width::W32, false), Double),
        Op::FcvtDL => (from_integer(Width::W64, true), Double),
        Op::FcvtSW => (from_integer(Width::W32, true), Single),
        Op::FcvtSWu => (from_integer(Width::W32, false), Single),
        Op::FcvtSL => (from_integer(Width::W64, true), Single),
        Op::FcvtDLu => (from_integer(Width::W64, false), Double),
        Op::FcvtSLu => (from_integer(Width::W64, false), Single),
        Op::FcvtWS => (Do::ToInteger(Width::W32), Single),
        Op::FcvtWD => (Do::ToInteger(Width::W32), Double),
        Op::FcvtLS => (Do::ToInteger(Width::W64), Single),
        Op::FcvtLD => (Do::ToInteger(Width::W64), Double),
        Op::FcvtWuS => (Do::ToUnsigned(Width::W32), Single),
        Op::FcvtWuD => (Do::ToUnsigned(Width::W32), Double),
        Op::FcvtLuS => (Do::ToUnsigned(Width::W64), Single),
        Op::FcvtLuD => (Do::ToUnsigned(Width::W64), Double),
        Op::FclassS => (Do::Classify, Single),
        Op::FclassD => (Do::Classify, Double),
        Op::FcvtDS => (Do::Widen, Double),
        Op::FcvtSD => (Do::Narrow, Single),
        Op::FmvXD => (Do::BitsToInteger, Double),
        Op::FmvXW => (Do::BitsToInteger, Single),
        Op::FmvDX => (Do::BitsFromInteger, Double),
        Op::FmvWX => (Do::BitsFromInteger, Single),
        _ => return None,
    })
}

/// Whether the instruction computes a double from doubles, inline and without any way aside on
/// which somebody might look at registers.
pub(super) fn is_computation_of_doubles(insn: &Insn) -> bool {
    let computes = |(operation, precision)| {
        matches!(operation, Do::Binary(_) | Do::Sqrt)
            && precision == Precision::Double
            && insn.rm == DYNAMIC
    };
    operation(insn).is_some_and(computes)
}

/// What an instruction reads: floating-point registers, each with what it must hold.
fn operands(insn: &Insn, operation: Do, of: Precision) -> [Option<(u8, Precision)>; 3] {
    let (rs1, rs2) = (Some((insn.rs1, of)), Some((insn.rs2, of)));
    match operation {
        Do::Binary(_) | Do::Sign(_) | Do::Least { .. } | Do::Compare(_) => [rs1, rs2, None],
        Do::Sqrt | Do::ToInteger(_) | Do::ToUnsigned(_) | Do::Classify => [rs1, None, None],
        Do::Fused(_) => [rs1, rs2, Some((insn.rs3, of))],
        Do::Widen => [Some((insn.rs1, Precision::Single)), None, None],
        Do::Narrow => [Some((insn.rs1, Precision::Double)), None, None],
        Do::FromInteger { .. } | Do::BitsFromInteger | Do::BitsToInteger => [None; 3],
    }
}

fn from_integer(width: Width, signed: bool) -> Do {
    Do::FromInteger { width, signed }
}

/// Whether the result is exact, so that the rounding mode only has to be a valid one.
fn is_exact(insn: &Insn) -> bool {
    matches!(insn.op, Op::FcvtDW | Op::FcvtDWu | Op::FcvtDS)
}

/// How the host comes to round as `insn` wants, if it can.
fn rounding(insn: &Insn, operation: Do, features: &Features) -> Option<Rounding> {
    let any = !insn.op.format().has_rounding_mode() || insn.rm == DYNAMIC;
    if any || is_exact(insn) && insn.rm <= LAST_MODE {
        return Some(Rounding::Present);
    }
    let to_integer = matches!(operation, Do::ToInteger(_) | Do::ToUnsigned(_));
    if to_integer && insn.rm != TOWARDS_ZERO && !features.sse41 {
        return None;
    }
    host_rounding(insn.rm.into()).map(Rounding::Named)
}

/// What there is to do for `insn`, and how it is rounded, if it can be done inline on this host.
fn inline(insn: &Insn, features: &Features) -> Option<(Do, Precision, Rounding)> {
    let (operation, precision) = operation(insn)?;
    if matches!(operation, Do::Fused(_)) && !features.fma {
        return None;
    }
    Some((operation, precision, rounding(insn, operation, features)?))
}

/// The floating-point registers of the loop that `steps` are, if all its instructions can be done
/// inline and there are any.
pub(super) fn loop_registers(steps: &[Step], features: &Features) -> Option<LoopRegisters> {
    let mut registers = LoopRegisters::default();
    let mut any = false;
    for Step { insn, .. } in steps {
        let rd = insn.rd;
        let fits = match insn.op {
            Op::Flw => registers.add([None; 3], Some((rd, Precision::Single))),
            Op::Fld => registers.add([None; 3], Some((rd, Precision::Double))),
            Op::Fsw | Op::Fsd => true,
            op if op.class() == Class::Csr => false,
            op if !op.is_float() => continue,
            _ => {
                let (operation, of, _) = inline(insn, features)?;
                let result = insn.op.format().writes_float().then_some((rd, of));
                registers.add(operands(insn, operation, of), result)
            }
        };
        if !fits {
            return None;
        }
        any = true;
    }
    any.then_some(registers)
}

impl Emitter<'_> {
    /// The current instruction, if it is floating-point and can be done inline.
    pub(super) fn float_instruction(&mut self) -> bool {
        let insn = self.current().insn;
        let Some((operation, precision, rounding)) = inline(&insn, self.features) else {
            return false;
        };
        self.expect_float_unit();
        let operands = operands(&insn, operation, precision);
        let operands = operands.into_iter().flatten();
        let mut hosts = [SCRATCH; 3];
        for (count, (register, precision)) in operands.enumerate() {
            if precision == Precision::Single {
                self.expect_boxed(&[register]);
            }
            hosts[count] = self.float(register, precision, &hosts[..count]);
        }
        if insn.op.format().writes_float() {
            self.make_room(insn.rd, &hosts);
        }
        let [a, b, _] = hosts;
        let done = self.a.label();
        let slow = self.definition_aside(done);
        match operation {
            Do::Binary(op) => self.binary(op, (precision, rounding), insn.rd, a, b),
            Do::Sqrt => self.square_root((precision, rounding), insn.rd, a),
            Do::Fused(op) => self.fused(op, (precision, rounding), insn.rd, hosts, slow),
            Do::Sign(sign) => self.sign(sign, precision, &insn),
            Do::Compare(comparison) => self.compare_floats(comparison, precision, insn.rd, a, b),
            Do::Least { greatest } => self.least(greatest, precision, insn.rd, (a, b), slow),
            Do::FromInteger { width, signed } => {
                self.begin_rounding(rounding);
                self.convert_from_integer(width, signed, precision, &insn);
                self.end_rounding(rounding);
            }
            Do::ToInteger(width) => {
                self.convert_to_integer(width, (precision, rounding), &insn, a, slow);
            }
            Do::ToUnsigned(width) => {
                self.convert_to_unsigned(width, (precision, rounding), &insn, a, slow);
            }
            Do::Classify => self.classify(precision, &insn),
            Do::Widen | Do::Narrow => {
                let implied = self.implied_by(&[a]);
                let to = self.float_result(insn.rd, precision);
                self.begin_rounding(rounding);
                match precision {
                    Precision::Double => self.a.cvt_single_to_double(to, a),
                    Precision::Single => self.a.cvt_double_to_single(to, a),
                }
                self.end_rounding(rounding);
                self.set_computed(insn.rd, precision, implied);
            }
            Do::BitsToInteger => {
                let to = self.result(insn.rd);
                self.float_bits(to, insn.rs1, precision);
                if precision == Precision::Single {
                    self.a.sx_rr(Cell::W, to, to);
                }
                self.set(insn.rd, to);
            }
            Do::BitsFromInteger => {
                let from = self.value(insn.rs1, Reg::Rax);
                let to = self.float_result(insn.rd, precision);
                match precision {
                    Precision::Double => self.a.movq_xr(to, from),
                    Precision::Single => self.a.movd_xr(to, from),
                }
                self.set_float(insn.rd, precision);
            }
        }
        self.rejoin(done);
        true
    }

    /// Floating-point loads and stores.
    pub(super) fn float_memory_access(&mut self) -> bool {
        let insn = self.current().insn;
        let (kind, precision) = match insn.op {
            Op::Flw => (Kind::Load, Precision::Single),
            Op::Fld => (Kind::Load, Precision::Double),
            Op::Fsw => (Kind::Store, Precision::Single),
            Op::Fsd => (Kind::Store, Precision::Double),
            _ => return false,
        };
        match kind {
            Kind::Load => self.expect_float_unit(),
            Kind::Store => self.expect_float_on(),
        }
        let done = self.a.label();
        match kind {
            Kind::Load => {
                self.make_room(insn.rd, &[]);
                let at = self.reach(kind, done);
                let to = self.float_result(insn.rd, precision);
                self.a.movs_load(precision, to, at);
                self.set_float(insn.rd, precision);
            }
            Kind::Store => {
                let held = self.settled_float(insn.rs2, precision);
                let at = self.reach(kind, done);
                self.store_float(insn.rs2, held, precision, at);
            }
        }
        self.rejoin(done);
        true
    }

    /// Stores a register at `at`; of a single the low half as it is, boxed or not.
    fn store_float(&mut self, register: u8, held: Option<Xmm>, precision: Precision, at: Mem) {
        if let Some(held) = held {
            return self.a.movs_store(precision, at, held);
        }
        let width = match precision {
            Precision::Single => Width::W32,
            Precision::Double => Width::W64,
        };
        self.a.mov_rm(width, Reg::Rax, f(register));
        self.a.mov_mr(width, at, Reg::Rax);
    }

    /// Once in a block: is the unit on, its state dirty, and the rounding mode one of the
    /// host's? If not, the definition executes the instruction, which mostly makes it so.
    pub(super) fn expect_float_unit(&mut self) {
        if self.float_unit_expected {
            return;
        }
        self.float_unit_expected = true;
        let label = self.leave_aside();
        self.a.cmp_mi8(FLOAT_READY, 0);
        self.a.jcc(Cond::E, label);
    }

    /// Once in a block, if nothing more was asked for: is the unit on? That is all that stores
    /// need; `setjmp` stores all registers of programs that never compute with them.
    pub(super) fn expect_float_on(&mut self) {
        if self.float_unit_expected || self.float_on_expected {
            return;
        }
        self.float_on_expected = true;
        let label = self.leave_aside();
        self.a.cmp_mi8(FLOAT_ON, 0);
        self.a.jcc(Cond::E, label);
    }

    /// A way aside on which the definition executes the current instruction, and which then
    /// leaves.
    pub(super) fn leave_aside(&mut self) -> Label {
        let label = self.a.label();
        self.aside.push(Aside::DefinitionAndLeave {
            label,
            index: self.index,
            unsaved: self.floats.unsaved(),
        });
        label
    }

    fn binary(
        &mut self,
        op: FloatOp,
        (precision, rounding): (Precision, Rounding),
        rd: u8,
        a: Xmm,
        b: Xmm,
    ) {
        let implied = self.implied_by(&[a, b]);
        let to = self.float_result(rd, precision);
        self.begin_rounding(rounding);
        if self.features.avx {
            self.a.vfloat_rrr(op, precision, to, a, b);
        } else {
            // In a loop the result may have the place of an operand.
            self.a.mova_rr(SCRATCH, a);
            self.a.float_rr(op, precision, SCRATCH, b);
            self.a.mova_rr(to, SCRATCH);
        }
        self.end_rounding(rounding);
        self.set_computed(rd, precision, implied);
    }

    fn square_root(&mut self, (precision, rounding): (Precision, Rounding), rd: u8, a: Xmm) {
        let implied = self.implied_by(&[a]);
        let to = self.float_result(rd, precision);
        if to != a {
            self.a.mova_rr(to, a);
        }
        self.begin_rounding(rounding);
        self.a.float_rr(FloatOp::Sqrt, precision, to, a);
        self.end_rounding(rounding);
        self.set_computed(rd, precision, implied);
    }

    /// The host does not say invalid of 0 × ∞ + NaN, so every NaN is for the definition.
    fn fused(
        &mut self,
        op: Fused,
        (precision, rounding): (Precision, Rounding),
        rd: u8,
        of: [Xmm; 3],
        slow: Label,
    ) {
        let [a, b, c] = of;
        let implied = self.implied_by(&of);
        self.a.mova_rr(SCRATCH, a);
        self.begin_rounding(rounding);
        self.a.fused_rrr(op, precision, SCRATCH, b, c);
        self.end_rounding(rounding);
        self.a.ucomis(precision, SCRATCH, SCRATCH);
        self.a.jcc(Cond::P, slow);
        self.operands_are_numbers(implied);
        let to = self.float_result(rd, precision);
        self.a.mova_rr(to, SCRATCH);
        self.set_float(rd, precision);
    }

    /// The bits of a floating-point register; of a single, the low half.
    pub(super) fn float_bits(&mut self, to: Reg, register: u8, precision: Precision) {
        let held = self.settled_float(register, precision);
        match (held, precision) {
            (Some(held), Precision::Double) => self.a.movq_rx(to, held),
            (Some(held), Precision::Single) => self.a.movd_rx(to, held),
            (None, Precision::Double) => self.a.mov_rm(Width::W64, to, f(register)),
            (None, Precision::Single) => self.a.mov_rm(Width::W32, to, f(register)),
        }
    }

    fn sign(&mut self, sign: Sign, precision: Precision, insn: &Insn) {
        let (width, top) = match precision {
            Precision::Single => (Width::W32, 31),
            Precision::Double => (Width::W64, 63),
        };
        if insn.rs1 == insn.rs2 && sign == Sign::Same {
            let a = self.float(insn.rs1, precision, &[]);
            let implied = self.implied_by(&[a]);
            let to = self.float_result(insn.rd, precision);
            if to != a {
                self.a.mova_rr(to, a);
            }
            // A copy is a NaN if the original is.
            return match implied {
                0 => self.set_float(insn.rd, precision),
                _ => self.set_computed(insn.rd, precision, implied),
            };
        }
        // Both before any is in `rax`: to settle one may change that.
        self.check_float(insn.rs1);
        self.check_float(insn.rs2);
        self.float_bits(Reg::Rax, insn.rs1, precision);
        if insn.rs1 == insn.rs2 {
            match sign {
                Sign::Opposite => self.a.btc_ri(width, Reg::Rax, top),
                _ => self.a.btr_ri(width, Reg::Rax, top),
            }
        } else {
            self.float_bits(Reg::Rdx, insn.rs2, precision);
            if sign == Sign::Opposite {
                self.a.btc_ri(width, Reg::Rdx, top);
            }
            if sign != Sign::Product {
                self.a.btr_ri(width, Reg::Rax, top);
            }
            self.a
                .shift_ri(crate::assembler::Shift::Shr, width, Reg::Rdx, top);
            self.a
                .shift_ri(crate::assembler::Shift::Shl, width, Reg::Rdx, top);
            self.a.alu_rr(Alu::Xor, width, Reg::Rax, Reg::Rdx);
        }
        let to = self.float_result(insn.rd, precision);
        match precision {
            Precision::Single => self.a.movd_xr(to, Reg::Rax),
            Precision::Double => self.a.movq_xr(to, Reg::Rax),
        }
        self.set_float(insn.rd, precision);
    }

    /// The current instruction, if it is a comparison. Where that is of a NaN, generated code is
    /// left behind it.
    pub(super) fn ordered_comparison(&mut self, insn: &Insn) -> bool {
        let Some((Do::Compare(comparison), precision)) = operation(insn) else {
            return false;
        };
        if precision == Precision::Single {
            self.expect_boxed(&[insn.rs1, insn.rs2]);
        }
        let a = self.float(insn.rs1, precision, &[]);
        let b = self.float(insn.rs2, precision, &[a]);
        let of_nan = self.leave_aside();
        let cond = match comparison {
            Comparison::Equal => {
                self.a.ucomis(precision, b, a);
                Cond::E
            }
            Comparison::Less => {
                self.a.comis(precision, b, a);
                Cond::A
            }
            Comparison::LessOrEqual => {
                self.a.comis(precision, b, a);
                Cond::Ae
            }
        };
        self.a.jcc(Cond::P, of_nan);
        self.flag(insn.rd, cond);
        let implied = self.implied_by(&[a, b]);
        self.operands_are_numbers(implied);
        true
    }

    fn compare_floats(
        &mut self,
        comparison: Comparison,
        precision: Precision,
        rd: u8,
        a: Xmm,
        b: Xmm,
    ) {
        match comparison {
            // Quiet; equal and not unordered.
            Comparison::Equal => {
                self.a.ucomis(precision, a, b);
                self.a.mov_ri(Reg::Rax, 0);
                self.a.mov_ri(Reg::Rdx, 0);
                self.a.setcc(Cond::Np, Reg::Rax);
                self.a.cmov(Cond::Ne, Width::W64, Reg::Rax, Reg::Rdx);
                self.set(rd, Reg::Rax);
            }
            // Signalling. The other way round, since unordered looks like below.
            Comparison::Less => {
                self.a.comis(precision, b, a);
                self.flag(rd, Cond::A);
            }
            Comparison::LessOrEqual => {
                self.a.comis(precision, b, a);
                self.flag(rd, Cond::Ae);
            }
        }
    }

    fn least(
        &mut self,
        greatest: bool,
        precision: Precision,
        rd: u8,
        (a, b): (Xmm, Xmm),
        slow: Label,
    ) {
        self.a.ucomis(precision, a, b);
        self.a.jcc(Cond::P, slow);
        let implied = self.implied_by(&[a, b]);
        self.operands_are_numbers(implied);
        let (differ, done) = (self.a.label(), self.a.label());
        self.a.mova_rr(SCRATCH, a);
        self.a.jcc_short(Cond::Ne, differ);
        // Equal: only the signs of two zeros can differ.
        let bits = if greatest { Bitwise::And } else { Bitwise::Or };
        self.a.bitwise_rr(bits, SCRATCH, b);
        self.a.jmp_short(done);
        self.a.bind(differ);
        let op = if greatest { FloatOp::Max } else { FloatOp::Min };
        self.a.float_rr(op, precision, SCRATCH, b);
        self.a.bind(done);
        let to = self.float_result(rd, precision);
        self.a.mova_rr(to, SCRATCH);
        self.set_float(rd, precision);
    }
}
