//! The random part of a program: small groups of instructions, each of which leaves the program
//! able to go on.

use ringer_isa::asm::Ordering::Relaxed;
use ringer_isa::asm::register::{X, ZERO};
use ringer_isa::asm::{Assembler, Label};
use ringer_isa::csr::{self, menvcfg, mstatus};
use ringer_isa::table::Class;
use ringer_isa::{Format, Insn, Op, decode, encode};

use super::dice::Dice;
use super::handlers::finish;
use super::register as r;
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
        code: Assembler::new(layout::BODY),
    };
    for _ in 0..GROUPS {
        body.group();
        if body.code.here() > layout::CALLED - 0x200 {
            break;
        }
    }
    // The end is asked for from whatever mode this is.
    body.code.addi(r::RECOVERY, ZERO, 0);
    body.code.ecall();
    finish(body.code)
}

struct Body<'a> {
    /// Whether PMP entries are used. If so, there are no atomics: where a page may only be read
    /// and the PMP denies it too, QEMU reports the PMP, the manual says the page (3.7.2).
    protects: bool,
    /// Whether PMP entries may be locked, which in QEMU outlasts a reset.
    locks: bool,
    dice: &'a mut Dice,
    code: Assembler,
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
    fn destination(&mut self) -> X {
        X(self.dice.below(u64::from(r::LAST_RANDOM) + 1) as u8)
    }

    fn source(&mut self) -> X {
        X(self.dice.below(32) as u8)
    }

    /// Emits `op` with random operands; the base of a memory access is `base`.
    fn random_operands(&mut self, op: Op, base: Option<X>) -> bool {
        let format = op.format();
        let rd = if format.writes_float() {
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
        let mut insn = Insn {
            rd: rd.0,
            rs1: rs1.0,
            rs2: rs2.0,
            rs3: rs3.0,
            imm,
            ..Insn::new(op)
        };
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
        let fits = encode(&insn).is_some();
        if fits {
            self.code.insn(insn);
        }
        fits
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
                let data = self.code.label_at(layout::DATA + page * 0x1000);
                self.code.la(r::SCRATCH, data);
                self.code.addi(r::OTHER, ZERO, (offset & 0x7ff) as i32);
                self.code.add(r::SCRATCH, r::SCRATCH, r::OTHER);
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
        self.code.li(r::SCRATCH, target);
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
            // Where there is no memory these fault; in QEMU they do not look.
            if matches!(op, Op::CboClean | Op::CboFlush | Op::CboInval) {
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
        let mut round = |to: i32| {
            self.code.andi(r::SCRATCH, r::SCRATCH, -to);
        };
        match op.class() {
            // A fault names the address in the register (CMO 2.5); QEMU names the block's.
            Class::CacheBlock => round(64),
            // Of a store of which the second page faults, QEMU does the first part, as it may,
            // and Ringer none: so stay inside 128 bytes.
            Class::Store => {
                round(128);
                self.code.ori(r::SCRATCH, r::SCRATCH, 64);
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
        let place = self.code.label_at(place);
        self.code.la(r::LOOP, place);
        let (rd, rs) = (self.destination(), self.source());
        self.code.atomic(load, rd, ZERO, r::LOOP, Relaxed);
        match self.dice.below(6) {
            0 => {
                self.code.addi(r::LOOP, r::LOOP, 8);
            }
            1 => {
                self.code.sw(rs, 0, r::LOOP);
            }
            _ => {}
        }
        let rd = self.destination();
        self.code.atomic(store, rd, rs, r::LOOP, Relaxed);
        if self.dice.chance(30) {
            self.code.atomic(store, rd, rs, r::LOOP, Relaxed);
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
            self.code.csrr(rd, number);
            return;
        }
        if (csr::TSELECT..csr::TSELECT + 16).contains(&number) {
            return; // triggers: here there are none, which QEMU says by an exception
        }
        if matches!(number, csr::MEPC | csr::SEPC) {
            // QEMU keeps bit 0, which is always 0 by the manual (3.1.14).
            let value = self.dice.interesting() & !1;
            self.code.li(r::SCRATCH, value);
            self.code.csrw(number, r::SCRATCH);
            let rd = self.destination();
            self.code.csrr(rd, number);
            return;
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
        self.code.insn(Insn {
            rd: rd.0,
            rs1: rs1.0,
            imm: number.into(),
            ..Insn::new(op)
        });
        if !repeatable(number) {
            self.code.addi(rd, ZERO, 0);
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
        self.code.li(r::SCRATCH, value);
        let rd = self.destination();
        self.code.csr(op, rd, number, r::SCRATCH);
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
                    .li(r::SCRATCH, self.dice.bits() & SUPERVISOR_INTERRUPTS);
                let rd = self.destination();
                self.code.csrrw(rd, csr::MIDELEG, r::SCRATCH);
                let enable = self.dice.pick(&[csr::MIE, csr::SIE]);
                self.code
                    .li(r::SCRATCH, self.dice.pick(&[0x2, 0x20, 0x200]));
                self.code.csrw(enable, r::SCRATCH);
                self.code
                    .li(r::SCRATCH, self.dice.bits() & SUPERVISOR_INTERRUPTS);
                self.code.csrw(csr::MIP, r::SCRATCH);
                return;
            }
            5 | 6 => {
                let number = self.dice.pick(&[csr::MENVCFG, csr::SENVCFG]);
                // QEMU does not look at the time again when STCE gets set.
                let value = super::environment(self.dice) | menvcfg::STCE;
                self.code.li(r::SCRATCH, value);
                let rd = self.destination();
                self.code.csrrw(rd, number, r::SCRATCH);
                self.code.sfence_vma(ZERO, ZERO);
                return;
            }
            _ => {
                let root = tables::root(self.dice);
                self.code.li(r::SCRATCH, root);
                let rd = self.destination();
                self.code.csrrw(rd, csr::SATP, r::SCRATCH);
                if self.dice.chance(50) {
                    self.code.sfence_vma(ZERO, ZERO);
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
        self.code.li(r::SCRATCH, random);
        self.code.csrw(number, r::SCRATCH);
        self.code.csrr(rd, number);
        self.code.li(r::SCRATCH, good);
        self.code.csrw(number, r::SCRATCH);
    }

    /// PMP entries over the data, and locks that bind M-mode too.
    fn protection(&mut self) {
        let first = self.dice.below(15) as u16;
        let base = layout::DATA + self.dice.below(layout::DATA_PAGES) * 0x1000;
        for index in first..(first + 2).min(15) {
            let address = (base + self.dice.below(0x800)) >> 2;
            let ones = (1 << self.dice.below(12)) - 1;
            self.code.li(r::SCRATCH, address | ones);
            self.code.csrw(csr::PMPADDR0 + index, r::SCRATCH);
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
        self.code.li(r::SCRATCH, 0xff << shift);
        self.code.csrc(register, r::SCRATCH);
        self.code.li(r::SCRATCH, config << shift);
        let rd = self.destination();
        self.code.csrrs(rd, register, r::SCRATCH);
        if first > 0 && !first.is_multiple_of(8) && self.dice.chance(20) {
            // A range between the two addresses: both are in the data.
            self.code.li(r::SCRATCH, 0xff << shift);
            self.code.csrc(register, r::SCRATCH);
            let below = base >> 2;
            self.code.li(r::SCRATCH, below);
            self.code.csrw(csr::PMPADDR0 + first - 1, r::SCRATCH);
            self.code.li(r::SCRATCH, below + self.dice.below(0x200));
            self.code.csrw(csr::PMPADDR0 + first, r::SCRATCH);
            let config = 8 | self.dice.pick(&[0, 1, 3, 4, 5, 7]);
            self.code.li(r::SCRATCH, config << shift);
            self.code.csrs(register, r::SCRATCH);
        }
    }

    /// Sets RECOVERY to the place after the group; bound by the caller.
    fn recovery(&mut self) -> Label {
        let after = self.code.label();
        self.code.la(r::RECOVERY, after);
        after
    }

    /// Down by `mret` or `sret`, or up by `ecall`.
    fn change_mode(&mut self) {
        if self.dice.chance(30) {
            self.code.ecall();
            return;
        }
        let recovery = self.recovery();
        let by_mret = self.dice.chance(70);
        let (status, pc, field, ret) = if by_mret {
            (csr::MSTATUS, csr::MEPC, MPP, Op::Mret)
        } else {
            (csr::SSTATUS, csr::SEPC, SPP, Op::Sret)
        };
        let target = self.code.label();
        self.code.la(r::OTHER, target);
        let user = self.dice.chance(40);
        if user && self.dice.chance(80) {
            self.code.li(r::SCRATCH, layout::USER_ALIAS);
            self.code.or(r::OTHER, r::OTHER, r::SCRATCH);
        }
        self.code.csrw(pc, r::OTHER);
        self.code.li(r::SCRATCH, field);
        self.code.csrc(status, r::SCRATCH);
        if !user {
            self.code.li(r::SCRATCH, field & (1 << 11 | SPP));
            self.code.csrs(status, r::SCRATCH);
        }
        self.code.op(ret);
        self.code.bind(target).bind(recovery);
    }

    /// Jumps and branches forward, to good and to strange places.
    fn jump(&mut self) {
        let recovery = self.recovery();
        let rd = self.destination();
        match self.dice.below(5) {
            0 => {
                let target = self.code.label();
                self.code.jal(rd, target);
                self.several(3);
                self.code.bind(target);
            }
            1 | 2 => {
                let branches = [Op::Beq, Op::Bne, Op::Blt, Op::Bge, Op::Bltu, Op::Bgeu];
                let op = self.dice.pick(&branches);
                let (rs1, rs2) = (self.source(), self.source());
                let target = self.code.label();
                self.code.branch(op, rs1, rs2, target);
                self.several(3);
                self.code.bind(target);
            }
            3 => {
                let page = self.dice.below(layout::SMALL_COUNT);
                let offset = match self.dice.below(3) {
                    0 => 0xffe,
                    1 => 0xffc,
                    _ => self.dice.below(0x1000),
                };
                let target = layout::SMALL_PAGES + page * 0x1000 + offset;
                self.code.li(r::SCRATCH, target);
                self.code.jalr(rd, 0, r::SCRATCH);
            }
            _ => {
                let target = match self.dice.below(3) {
                    0 => layout::CALLED + self.dice.below(0x800),
                    1 => layout::CALLED + self.dice.below(0x800) + layout::USER_ALIAS,
                    _ => self.dice.interesting() | 1 << 36,
                };
                self.code.li(r::SCRATCH, target);
                self.code.jalr(rd, 0, r::SCRATCH);
            }
        }
        self.code.bind(recovery);
    }

    /// A loop that runs a few times.
    fn repeat(&mut self) {
        let rounds = self.dice.below(6) as i32 + 1;
        self.code.addi(r::LOOP, ZERO, rounds);
        let start = self.code.label_here();
        self.several(4);
        if self.dice.chance(50) {
            self.plain_access();
        }
        self.code.addi(r::LOOP, r::LOOP, -1).bnez(r::LOOP, start);
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
                self.code.mv(X(insn.rs1), r::SCRATCH).half(bits);
            } else if insn.is_none_or(|insn| self.harmless(&insn)) {
                self.code.half(bits);
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
            self.code.word(bits);
        }
    }

    /// Whether the program can go on after an instruction that nobody prepared for.
    fn harmless(&self, insn: &Insn) -> bool {
        let class = insn.op.class();
        let computes = matches!(class, Class::Integer | Class::Float);
        computes && (insn.op.format().writes_float() || insn.rd <= r::LAST_RANDOM)
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
            Format::AddressFence => self.code.address_fence(op, rs1, rs2),
            Format::GuestStore => self.code.store(op, rs2, 0, rs1),
            Format::GuestLoad => self.code.unary(op, ZERO, rs1),
            _ => self.code.op(op),
        };
        self.code.bind(recovery);
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
