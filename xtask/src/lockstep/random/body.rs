//! The random part of a program: small groups of instructions, each of which leaves the program
//! able to go on.

use ringer_isa::csr::{self, menvcfg, mstatus};
use ringer_isa::table::Class;
use ringer_isa::{Format, Insn, Op, decode};

use super::code::{Code, insn, register as r};
use super::dice::Dice;
use super::{DELEGATED, layout, tables};

/// Groups in one program.
const GROUPS: u64 = 160;

/// MPP, both bits; SPP.
const MPP: u64 = 3 << 11;
const SPP: u64 = 1 << 8;

/// Software, timer and external interrupts of S-mode.
pub const SUPERVISOR_INTERRUPTS: u64 = 0x222;

/// The random code of one program.
pub fn generate(dice: &mut Dice) -> Vec<u8> {
    let mut body = Body {
        protects: dice.chance(40),
        locks: dice.chance(10),
        dice,
        code: Code::new(layout::BODY),
    };
    for _ in 0..GROUPS {
        body.group();
        if body.code.here() > layout::CALLED - 0x200 {
            break;
        }
    }
    // The end is asked for from whatever mode this is.
    body.code.op(Op::Addi, r::RECOVERY, 0, 0, 0);
    body.code.op(Op::Ecall, 0, 0, 0, 0);
    body.code.into_bytes()
}

struct Body<'a> {
    /// Whether PMP entries are used. If so, there are no atomics: where a page may only be read
    /// and the PMP denies it too, QEMU reports the PMP, the manual says the page (3.7.2).
    protects: bool,
    /// Whether PMP entries may be locked, which in QEMU outlasts a reset.
    locks: bool,
    dice: &'a mut Dice,
    code: Code,
}

impl Body<'_> {
    fn group(&mut self) {
        match self.dice.below(100) {
            0..35 => self.several(6),
            35..55 => self.memory_access(),
            55..66 => self.csr_access(),
            66..72 => self.control_csr(),
            72..77 if self.protects => self.protection(),
            72..77 => self.several(2),
            77..84 => self.change_mode(),
            84..90 => self.jump(),
            90..93 => self.repeat(),
            93..96 => self.compressed(),
            96..98 => self.anything(),
            _ => self.privileged(),
        }
    }

    fn several(&mut self, most: u64) {
        for _ in 0..=self.dice.below(most) {
            self.computation();
        }
    }

    /// A register to write: not those that handlers use.
    fn destination(&mut self) -> u8 {
        self.dice.below(u64::from(r::LAST_RANDOM) + 1) as u8
    }

    fn source(&mut self) -> u8 {
        self.dice.below(32) as u8
    }

    /// Emits `op` with random operands; the base of a memory access is `base`.
    fn random_operands(&mut self, op: Op, base: Option<u8>) -> bool {
        let format = op.format();
        let to_float = matches!(
            format,
            Format::Float
                | Format::FloatRounded
                | Format::FloatUnaryRounded
                | Format::FloatFused
                | Format::FloatLoad
                | Format::FloatConstant
                | Format::IntegerToFloat
                | Format::IntegerToFloatRounded
        );
        let rd = if to_float {
            self.source()
        } else {
            self.destination()
        };
        let rs1 = base.unwrap_or_else(|| self.source());
        let (rs2, rs3) = (self.source(), self.source());
        let rounding = match self.dice.below(8) {
            0 => 5,
            1..5 => 7,
            _ => self.dice.below(5) as u8,
        };
        let imm = match format {
            Format::Upper => (self.dice.bits() as i32) & !0xfff,
            Format::Shift64 => self.dice.below(64) as i32,
            Format::Shift32 => self.dice.below(32) as i32,
            Format::MayBeUnary => self.dice.below(32) as i32,
            Format::MayBeBinary => self.dice.below(8) as i32,
            Format::Fence => self.dice.below(0x1000) as i32,
            Format::Load | Format::Store | Format::FloatLoad | Format::FloatStore => {
                let offset = self.dice.below(64) as i32 - 32;
                if self.protects { offset & !7 } else { offset }
            }
            _ => self.dice.below(0x1000) as i32 - 0x800,
        };
        let mut insn = insn(op, rd, rs1, rs2, imm);
        insn.rs3 = rs3;
        let keep = |kept: bool, field: &mut u8| {
            if !kept {
                *field = 0;
            }
        };
        use Format as F;
        let has_rs2 = matches!(
            format,
            F::R | F::Float
                | F::FloatCompare
                | F::FloatRounded
                | F::FloatFused
                | F::Store
                | F::FloatStore
                | F::Atomic
                | F::AtomicPair
                | F::AddressFence
                | F::MayBeBinary
        );
        let has_rd = !matches!(
            format,
            F::Store | F::FloatStore | F::AddressFence | F::CacheBlock | F::Fence
        );
        let has_imm = matches!(
            format,
            F::I | F::Shift64
                | F::Shift32
                | F::Load
                | F::Store
                | F::FloatLoad
                | F::FloatStore
                | F::Upper
                | F::Fence
                | F::MayBeUnary
                | F::MayBeBinary
        );
        keep(has_rs2, &mut insn.rs2);
        keep(has_rd, &mut insn.rd);
        keep(!matches!(format, F::Upper | F::Fence), &mut insn.rs1);
        keep(matches!(format, F::FloatFused), &mut insn.rs3);
        if !has_imm {
            insn.imm = 0;
        }
        if format.has_rounding_mode() {
            insn.rm = rounding;
        } else if op.class() == Class::Atomic {
            insn.rm = self.dice.below(4) as u8;
        }
        self.code.push(&insn)
    }

    /// One instruction that computes.
    fn computation(&mut self) {
        loop {
            let op = self.dice.pick(Op::ALL);
            let wanted = matches!(op.class(), Class::Integer | Class::Float | Class::Fence);
            if wanted && self.random_operands(op, None) {
                return;
            }
        }
    }

    /// Puts an address where something may be into SCRATCH.
    fn place(&mut self) {
        let offset = match self.dice.below(4) {
            0 => self.dice.below(0x1000),
            1 => self.dice.below(0x40),
            2 => 0x1000 - self.dice.below(0x10),
            _ => self.dice.below(0x200) * 8,
        };
        let target = match self.dice.below(10) {
            0..4 => {
                let page = self.dice.below(layout::DATA_PAGES);
                self.code.address(r::SCRATCH, layout::DATA + page * 0x1000);
                self.code
                    .op(Op::Addi, r::OTHER, 0, 0, (offset & 0x7ff) as i32);
                self.code.op(Op::Add, r::SCRATCH, r::SCRATCH, r::OTHER, 0);
                return;
            }
            4..8 => layout::SMALL_PAGES + self.dice.below(layout::SMALL_COUNT) * 0x1000 + offset,
            8 => {
                let page = self.dice.below(layout::MIDDLE_COUNT);
                layout::MIDDLE_PAGES + page * 0x20_0000 + self.dice.below(4) * 0x1000 + offset
            }
            _ => {
                let page = self.dice.below(layout::LARGE_COUNT);
                let inside = (layout::FAR - layout::BASE) + offset;
                match self.dice.below(4) {
                    0 => (511 << 30 | u64::MAX << 39) + inside,
                    1 => 1 << (36 + self.dice.below(28)),
                    _ => layout::LARGE_PAGES + (page << 30) + inside,
                }
            }
        };
        self.code.constant(r::SCRATCH, target);
    }

    /// A load, store, atomic or cache-block operation.
    fn memory_access(&mut self) {
        if self.dice.chance(5) {
            return self.reservation();
        }
        self.plain_access();
    }

    fn plain_access(&mut self) {
        self.place();
        loop {
            let op = self.dice.pick(Op::ALL);
            let class = op.class();
            let wanted = op.accesses_memory() || class == Class::CacheBlock;
            let hypervisor = matches!(op.format(), Format::GuestLoad | Format::GuestStore);
            if !wanted || hypervisor || matches!(op, Op::ScW | Op::ScD) {
                continue;
            }
            // Nor cache blocks: QEMU asks the PMP about their first byte only.
            if matches!(class, Class::Atomic | Class::CacheBlock) && self.protects {
                continue;
            }
            self.align(op);
            if self.random_operands(op, Some(r::SCRATCH)) {
                return;
            }
        }
    }

    /// Rounds the address in SCRATCH where QEMU has its own way with misaligned ones.
    fn align(&mut self, op: Op) {
        let mut round = |to: i32| self.code.op(Op::Andi, r::SCRATCH, r::SCRATCH, 0, -to);
        match op.class() {
            // A fault names the address in the register (CMO 2.5); QEMU names the block's.
            Class::CacheBlock => round(64),
            // Of a store of which the second page faults, QEMU does the first part, as it may,
            // and Ringer none: so stay inside 128 bytes.
            Class::Store => {
                round(128);
                self.code.op(Op::Ori, r::SCRATCH, r::SCRATCH, 0, 64);
            }
            // QEMU calls a misaligned one a load (cause 4), the manual a store (6).
            Class::Atomic if op.format() != Format::LoadReserved => round(8),
            // Where the PMP ends inside a misaligned access, QEMU asks about its start only.
            _ if self.protects => round(8),
            _ if self.dice.chance(30) => round(1 << self.dice.below(4)),
            _ => {}
        }
    }

    /// `lr` and `sc`, in most cases a pair that fits. In RAM that is always there: where `sc`
    /// fails for want of a reservation, QEMU does not look at the address, Ringer does.
    fn reservation(&mut self) {
        let ops = [(Op::LrW, Op::ScW), (Op::LrD, Op::ScD)];
        let (load, store) = self.dice.pick(&ops);
        let place = layout::FAR + self.dice.below(16) * 8;
        self.code.address(r::LOOP, place);
        let (rd, rs) = (self.destination(), self.source());
        self.code.op(load, rd, r::LOOP, 0, 0);
        match self.dice.below(6) {
            0 => self.code.op(Op::Addi, r::LOOP, r::LOOP, 0, 8),
            1 => self.code.op(Op::Sw, 0, r::LOOP, rs, 0),
            _ => {}
        }
        let rd = self.destination();
        self.code.op(store, rd, r::LOOP, rs, 0);
        if self.dice.chance(30) {
            self.code.op(store, rd, r::LOOP, rs, 0);
        }
    }

    /// Any CSR number, any instruction, any value, where that does no harm.
    fn csr_access(&mut self) {
        let number = if self.dice.chance(75) {
            self.dice.pick(csr::ALL).0
        } else {
            self.dice.below(0x1000) as u16
        };
        if matches!(
            number,
            csr::MTVEC
                | csr::STVEC
                | csr::SATP
                | csr::MEDELEG
                | csr::STIMECMP
                | csr::MENVCFG
                | csr::SENVCFG
                | csr::MIDELEG
                | csr::MIE
                | csr::SIE
                | csr::MIP
        ) || (csr::PMPCFG0..csr::PMPADDR0 + 64).contains(&number)
        {
            let rd = self.destination();
            return self.code.read_csr(rd, number);
        }
        if (csr::TSELECT..csr::TSELECT + 16).contains(&number) {
            return; // triggers: here there are none, which QEMU says by an exception
        }
        if matches!(number, csr::MEPC | csr::SEPC) {
            // QEMU keeps bit 0, which is always 0 by the manual (3.1.14).
            let value = self.dice.interesting() & !1;
            self.code.constant(r::SCRATCH, value);
            self.code.write_csr(number, r::SCRATCH);
            let rd = self.destination();
            return self.code.read_csr(rd, number);
        }
        if matches!(number, csr::MSTATUS | csr::SSTATUS) {
            return self.status_access(number);
        }
        let op = self.dice.pick(&[
            Op::Csrrw,
            Op::Csrrs,
            Op::Csrrc,
            Op::Csrrwi,
            Op::Csrrsi,
            Op::Csrrci,
        ]);
        let rd = self.destination();
        let rs1 = self.source();
        self.code.op(op, rd, rs1, 0, number.into());
        if !repeatable(number) {
            self.code.op(Op::Addi, rd, 0, 0, 0);
        }
    }

    /// Changes the status in any way but two. UXL is fixed here, and QEMU sets it to any value.
    /// FS is off or dirty, since QEMU does not see it get dirty by accrued flags alone.
    fn status_access(&mut self, number: u16) {
        let op = self.dice.pick(&[Op::Csrrw, Op::Csrrs, Op::Csrrc]);
        let uxl = if op == Op::Csrrw { 2 << 32 } else { 0 };
        let mut value = self.dice.interesting() & !(3 << 32) | uxl;
        if value & mstatus::FS != 0 {
            value |= mstatus::FS;
        }
        self.code.constant(r::SCRATCH, value);
        let rd = self.destination();
        self.code.op(op, rd, r::SCRATCH, 0, number.into());
    }

    /// CSRs on which the program itself depends: a random value is written and read back, then a
    /// good one is put in.
    fn control_csr(&mut self) {
        let (number, good) = match self.dice.below(8) {
            0 => (csr::MTVEC, layout::MACHINE_HANDLER | self.dice.below(2)),
            1 => (csr::STVEC, layout::SUPERVISOR_HANDLER | self.dice.below(2)),
            2 => (csr::MEDELEG, self.dice.bits() & DELEGATED),
            3 => (csr::STIMECMP, u64::MAX),
            4 => {
                // Interrupts that software can raise. One is enabled at a time, since of several
                // QEMU takes the one with the lowest number, not the most urgent (3.1.9).
                self.code
                    .constant(r::SCRATCH, self.dice.bits() & SUPERVISOR_INTERRUPTS);
                let rd = self.destination();
                self.code
                    .op(Op::Csrrw, rd, r::SCRATCH, 0, csr::MIDELEG.into());
                let enable = self.dice.pick(&[csr::MIE, csr::SIE]);
                self.code
                    .constant(r::SCRATCH, self.dice.pick(&[0x2, 0x20, 0x200]));
                self.code.write_csr(enable, r::SCRATCH);
                self.code
                    .constant(r::SCRATCH, self.dice.bits() & SUPERVISOR_INTERRUPTS);
                self.code.write_csr(csr::MIP, r::SCRATCH);
                return;
            }
            5 | 6 => {
                let number = self.dice.pick(&[csr::MENVCFG, csr::SENVCFG]);
                // QEMU does not look at the time again when STCE gets set.
                let value = super::environment(self.dice) | menvcfg::STCE;
                self.code.constant(r::SCRATCH, value);
                let rd = self.destination();
                self.code.op(Op::Csrrw, rd, r::SCRATCH, 0, number.into());
                return self.code.op(Op::SfenceVma, 0, 0, 0, 0);
            }
            _ => {
                let root = tables::root(self.dice);
                self.code.constant(r::SCRATCH, root);
                let rd = self.destination();
                self.code.op(Op::Csrrw, rd, r::SCRATCH, 0, csr::SATP.into());
                if self.dice.chance(50) {
                    self.code.op(Op::SfenceVma, 0, 0, 0, 0);
                }
                return;
            }
        };
        let rd = self.destination();
        let random = match number {
            csr::STIMECMP => self.dice.interesting() | 1 << 62,
            csr::MEDELEG => self.dice.interesting() & !super::state::QEMU_DELEGATES,
            // Mode 2 and 3 are reserved; QEMU then drops the write, Ringer only the mode.
            csr::MTVEC | csr::STVEC => self.dice.interesting() & !2,
            _ => self.dice.interesting(),
        };
        self.code.constant(r::SCRATCH, random);
        self.code.write_csr(number, r::SCRATCH);
        self.code.read_csr(rd, number);
        self.code.constant(r::SCRATCH, good);
        self.code.write_csr(number, r::SCRATCH);
    }

    /// PMP entries over the data, and locks that bind M-mode too.
    fn protection(&mut self) {
        let first = self.dice.below(15) as u16;
        let base = layout::DATA + self.dice.below(layout::DATA_PAGES) * 0x1000;
        for index in first..(first + 2).min(15) {
            let address = (base + self.dice.below(0x800)) >> 2;
            let ones = (1 << self.dice.below(12)) - 1;
            self.code.constant(r::SCRATCH, address | ones);
            self.code.write_csr(csr::PMPADDR0 + index, r::SCRATCH);
        }
        let register = csr::PMPCFG0 + first / 8 * 2;
        let shift = 8 * (first % 8);
        // Without bits 5 and 6, which QEMU keeps; by the manual they read as zero.
        let mut config = self.dice.bits() & 0x1f;
        // Nor with W alone, which is reserved, and which QEMU keeps.
        if config & 3 == 2 {
            config &= !2;
        }
        if self.locks && self.dice.chance(30) {
            config |= 0x80;
        }
        // The entry before is left alone, or TOR could reach over the code.
        let kind = self.dice.pick(&[0, 2, 3, 3]);
        config = config & !0x18 | kind << 3;
        self.code.constant(r::SCRATCH, 0xff << shift);
        self.code.op(Op::Csrrc, 0, r::SCRATCH, 0, register.into());
        self.code.constant(r::SCRATCH, config << shift);
        let rd = self.destination();
        self.code.op(Op::Csrrs, rd, r::SCRATCH, 0, register.into());
        if first > 0 && !first.is_multiple_of(8) && self.dice.chance(20) {
            // A range between the two addresses: both are in the data.
            self.code.constant(r::SCRATCH, 0xff << shift);
            self.code.op(Op::Csrrc, 0, r::SCRATCH, 0, register.into());
            let below = base >> 2;
            self.code.constant(r::SCRATCH, below);
            self.code.write_csr(csr::PMPADDR0 + first - 1, r::SCRATCH);
            self.code
                .constant(r::SCRATCH, below + self.dice.below(0x200));
            self.code.write_csr(csr::PMPADDR0 + first, r::SCRATCH);
            let config = 8 | self.dice.pick(&[0, 1, 3, 4, 5, 7]);
            self.code.constant(r::SCRATCH, config << shift);
            self.code.op(Op::Csrrs, 0, r::SCRATCH, 0, register.into());
        }
    }

    /// Sets RECOVERY to the place after the group; filled in by the caller.
    fn recovery(&mut self) -> super::code::Hole {
        self.code.address_later(r::RECOVERY)
    }

    /// Down by `mret` or `sret`, or up by `ecall`.
    fn change_mode(&mut self) {
        if self.dice.chance(30) {
            return self.code.op(Op::Ecall, 0, 0, 0, 0);
        }
        let recovery = self.recovery();
        let by_mret = self.dice.chance(70);
        let (status, pc, field, ret) = if by_mret {
            (csr::MSTATUS, csr::MEPC, MPP, Op::Mret)
        } else {
            (csr::SSTATUS, csr::SEPC, SPP, Op::Sret)
        };
        let target = self.code.address_later(r::OTHER);
        let user = self.dice.chance(40);
        if user && self.dice.chance(80) {
            self.code.constant(r::SCRATCH, layout::USER_ALIAS);
            self.code.op(Op::Or, r::OTHER, r::OTHER, r::SCRATCH, 0);
        }
        self.code.write_csr(pc, r::OTHER);
        self.code.constant(r::SCRATCH, field);
        self.code.op(Op::Csrrc, 0, r::SCRATCH, 0, status.into());
        if !user {
            self.code.constant(r::SCRATCH, field & (1 << 11 | SPP));
            self.code.op(Op::Csrrs, 0, r::SCRATCH, 0, status.into());
        }
        self.code.op(ret, 0, 0, 0, 0);
        let here = self.code.here();
        self.code.fill(target, here);
        self.code.fill(recovery, here);
    }

    /// Jumps and branches forward, to good and to strange places.
    fn jump(&mut self) {
        let recovery = self.recovery();
        let rd = self.destination();
        match self.dice.below(5) {
            0 => {
                let jump = self.code.jump_later(Op::Jal, rd, 0, 0);
                self.several(3);
                let here = self.code.here();
                self.code.fill(jump, here);
            }
            1 | 2 => {
                let branches = [Op::Beq, Op::Bne, Op::Blt, Op::Bge, Op::Bltu, Op::Bgeu];
                let op = self.dice.pick(&branches);
                let (rs1, rs2) = (self.source(), self.source());
                let branch = self.code.jump_later(op, 0, rs1, rs2);
                self.several(3);
                let here = self.code.here();
                self.code.fill(branch, here);
            }
            3 => {
                let page = self.dice.below(layout::SMALL_COUNT);
                let offset = match self.dice.below(3) {
                    0 => 0xffe,
                    1 => 0xffc,
                    _ => self.dice.below(0x1000),
                };
                let target = layout::SMALL_PAGES + page * 0x1000 + offset;
                self.code.constant(r::SCRATCH, target);
                self.code.op(Op::Jalr, rd, r::SCRATCH, 0, 0);
            }
            _ => {
                let target = match self.dice.below(3) {
                    0 => layout::CALLED + self.dice.below(0x800),
                    1 => layout::CALLED + self.dice.below(0x800) + layout::USER_ALIAS,
                    _ => self.dice.interesting() | 1 << 36,
                };
                self.code.constant(r::SCRATCH, target);
                self.code.op(Op::Jalr, rd, r::SCRATCH, 0, 0);
            }
        }
        let here = self.code.here();
        self.code.fill(recovery, here);
    }

    /// A loop that runs a few times.
    fn repeat(&mut self) {
        let rounds = self.dice.below(6) as i32 + 1;
        self.code.op(Op::Addi, r::LOOP, 0, 0, rounds);
        let start = self.code.here();
        self.several(4);
        if self.dice.chance(50) {
            self.plain_access();
        }
        self.code.op(Op::Addi, r::LOOP, r::LOOP, 0, -1);
        let back = self.code.jump_later(Op::Bne, 0, r::LOOP, 0);
        self.code.fill(back, start);
    }

    /// Compressed instructions, legal and not.
    fn compressed(&mut self) {
        for _ in 0..=self.dice.below(4) {
            let bits = self.dice.below(0x1_0000) as u16;
            if bits & 3 == 3 {
                continue;
            }
            let insn = decode(bits.into());
            if let Some(insn) = insn.filter(|insn| insn.op.accesses_memory()) {
                if insn.rs1 > r::LAST_RANDOM || insn.rd > r::LAST_RANDOM {
                    continue;
                }
                self.place();
                self.align(insn.op);
                self.code.op(Op::Addi, insn.rs1, r::SCRATCH, 0, 0);
                self.code.raw(&bits.to_le_bytes());
            } else if insn.is_none_or(|insn| self.harmless(&insn)) {
                self.code.raw(&bits.to_le_bytes());
            }
        }
    }

    /// Any 32 bits, most of them no instruction, or one with odd fields.
    fn anything(&mut self) {
        let bits = if self.dice.chance(50) {
            self.dice.bits() as u32 | 3
        } else {
            // Near a real one.
            let op = self.dice.pick(Op::ALL);
            let flips = self.dice.bits() & self.dice.bits() & self.dice.bits();
            op.row().bits ^ (flips as u32 & !3)
        };
        if bits & 3 == 3 && decode(bits).is_none_or(|insn| self.harmless(&insn)) {
            self.code.raw(&bits.to_le_bytes());
        }
    }

    /// Whether the program can go on after an instruction that nobody prepared for.
    fn harmless(&self, insn: &Insn) -> bool {
        let class = insn.op.class();
        let computes = matches!(class, Class::Integer | Class::Float);
        let to_float = matches!(
            insn.op.format(),
            Format::Float
                | Format::FloatRounded
                | Format::FloatUnaryRounded
                | Format::FloatFused
                | Format::FloatLoad
                | Format::FloatConstant
                | Format::IntegerToFloat
                | Format::IntegerToFloatRounded
        );
        computes && (to_float || insn.rd <= r::LAST_RANDOM)
    }

    /// Instructions of the privileged manual, out of place in most modes. Not sfence.w.inval and
    /// sfence.inval.ir, which in U-mode are illegal by the manual (Svinval) and nothing in QEMU.
    fn privileged(&mut self) {
        let op = self.dice.pick(&[
            Op::SfenceVma,
            Op::SinvalVma,
            Op::HfenceVvma,
            Op::HinvalGvma,
            Op::HlvW,
            Op::HsvD,
            Op::HlvxHu,
            Op::Ebreak,
            Op::FenceI,
            Op::WrsNto,
            Op::WrsSto,
            Op::Mret,
            Op::Sret,
        ]);
        let recovery = self.recovery();
        let (rs1, rs2) = (self.source(), self.source());
        match op.format() {
            Format::AddressFence | Format::GuestStore => self.code.op(op, 0, rs1, rs2, 0),
            Format::GuestLoad => self.code.op(op, 0, rs1, 0, 0),
            _ => self.code.op(op, 0, 0, 0, 0),
        }
        let here = self.code.here();
        self.code.fill(recovery, here);
    }
}

/// Whether two machines must read the same from a CSR: counters and the time differ.
pub fn repeatable(number: u16) -> bool {
    let counters = [
        csr::CYCLE..csr::CYCLE + 32,
        csr::MCYCLE..csr::MCYCLE + 32,
        csr::MHPMEVENT3 - 3..csr::MHPMEVENT3 + 29,
    ];
    !counters.iter().any(|run| run.contains(&number))
}
