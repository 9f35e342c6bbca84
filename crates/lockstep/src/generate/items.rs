//! What programs are made of: single instructions and short sequences, in whole words.

use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::{A0, A7, RA, S0, S1, S2, T0, T1, T2, X, ZERO};
use ringer_isa::csr as number;
use ringer_isa::table::{Class, Format};
use ringer_isa::{Insn, Op, decode, encode};

use super::setup::{self, OPEN_ENTRY};
use super::tables::{self, Spaces};
use super::{FUNCTIONS, MACHINE_HANDLER, SUPERVISOR_HANDLER, USED, handlers, system};
use crate::assembled;
use crate::random::Random;

/// One or more words that belong together.
pub(super) type Item = Vec<u32>;

/// `addi x0, x0, 0`.
pub(super) const NOP: u32 = 0x13;
/// `c.nop`.
const NOP_HALF: u16 = 1;

/// Registers that hold addresses of data; nothing else is written to them.
pub(super) const POINTERS: [u8; 8] = [8, 9, 18, 19, 20, 21, 22, 23];
/// Registers that hold anything.
pub(super) const RESULTS: [u8; 22] = [
    0, 2, 3, 4, 6, 7, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 28, 29, 30, 31, 10,
];

/// CSRs that any value can go to without the program losing its way.
const HARMLESS_CSRS: [u16; 30] = [
    number::FFLAGS,
    number::FRM,
    number::FCSR,
    number::SSCRATCH,
    number::SCAUSE,
    number::STVAL,
    number::SIE,
    number::SIP,
    number::SCOUNTEREN,
    number::SENVCFG,
    number::STIMECMP,
    number::MISA,
    number::MSCRATCH,
    number::MCAUSE,
    number::MTVAL,
    number::MIE,
    number::MIP,
    number::MIDELEG,
    number::MCOUNTEREN,
    number::MCOUNTINHIBIT,
    number::MCYCLE,
    number::MINSTRET,
    number::MHPMCOUNTER3,
    number::MHPMCOUNTER3 + 1,
    number::MHPMCOUNTER3 + 2,
    number::MHPMCOUNTER3 + 3,
    number::CYCLE,
    number::TIME,
    number::TSELECT,
    number::TDATA1,
];

/// CSRs to read.
const READABLE_CSRS: [u16; 20] = [
    number::SSTATUS,
    number::STVEC,
    number::SEPC,
    number::SATP,
    number::MSTATUS,
    number::MTVEC,
    number::MEPC,
    number::MEDELEG,
    number::MENVCFG,
    number::PMPCFG0,
    number::PMPCFG0 + 2,
    number::PMPADDR0,
    number::MHARTID,
    number::MVENDORID,
    number::INSTRET,
    number::HPMCOUNTER3,
    number::HPMCOUNTER3 + 2,
    number::MHPMEVENT3,
    number::STIMECMP,
    number::TIME,
];

/// One item.
pub(super) fn any(r: &mut Random, spaces: &Spaces) -> Item {
    match r.below(100) {
        0..=12 => vec![one(r)],
        13..=15 => system::status_writes(r),
        16 | 17 => system::calls(r),
        18 | 19 => system::sret(r),
        20 | 21 => system::float_flags(r),
        22 => system::interrupt_enable(r),
        23 | 24 => system::plain_csrs(r),
        25..=38 => vec![of_class(r, &[Class::Load, Class::Store])],
        39..=41 => crossing_access(r, spaces),
        42..=45 => vec![of_class(r, &[Class::Atomic])],
        46 => system::cache_blocks(r),
        47..=50 => reservation(r),
        51..=57 => vec![u32::from(half(r)) | u32::from(half(r)) << 16],
        58..=62 => vec![branch(r)],
        63 | 64 => vec![jump(r)],
        65 | 66 => indirect_jump(r),
        67..=73 => csr_any(r),
        74..=77 => csr_deliberate(r, spaces),
        78 | 79 => self_modification(r),
        80..=82 => service(r),
        83..=85 => edited_access(r, spaces),
        86 | 87 => fence(r, spaces),
        88 | 89 => pointer_step(r),
        90 | 91 => new_pointer(r, spaces),
        92 => service(r),
        93 => vec![r.bits() as u32],
        94 => semihosting(r),
        95 | 96 => trap_return(r),
        97 => vec![word(r.pick(&[Op::Wfi, Op::Wfi, Op::WrsNto, Op::WrsSto]))],
        _ => vec![word(r.pick(&[Op::Ecall, Op::Ebreak, Op::Mret, Op::Sret]))],
    }
}

fn word(op: Op) -> u32 {
    bits(Insn::new(op))
}

pub(super) fn bits(insn: Insn) -> u32 {
    encode(&insn).expect("generated operands fit")
}

/// The words of what `write` writes.
pub(super) fn sequence(write: impl FnOnce(&mut Assembler)) -> Item {
    let mut code = Assembler::new(0);
    write(&mut code);
    assembled(code)
        .chunks_exact(4)
        .map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]))
        .collect()
}

/// An instruction that only computes.
pub(super) fn one(r: &mut Random) -> u32 {
    loop {
        let op = r.pick(Op::ALL);
        let computes = matches!(op.class(), Class::Integer | Class::Float) || op == Op::Fence;
        if computes && let Some(bits) = encode(&operands(op, r)) {
            return bits;
        }
    }
}

pub(super) fn of_class(r: &mut Random, classes: &[Class]) -> u32 {
    loop {
        let op = r.pick(Op::ALL);
        if classes.contains(&op.class())
            && let Some(bits) = encode(&operands(op, r))
        {
            return bits;
        }
    }
}

/// Random operands for `op`. Addresses come from registers that hold addresses.
fn operands(op: Op, r: &mut Random) -> Insn {
    let mut insn = Insn::new(op);
    let format = op.format();
    let any = |r: &mut Random| r.below(32) as u8;
    insn.rd = if format.writes_float() {
        any(r)
    } else {
        r.pick(&RESULTS)
    };
    insn.rs1 = match op.class() {
        Class::Load | Class::Store | Class::Atomic | Class::CacheBlock => r.pick(&POINTERS),
        _ => any(r),
    };
    insn.rs2 = any(r);
    match format {
        Format::I => insn.imm = r.bits() as i32 >> 20,
        Format::Load | Format::Store | Format::FloatLoad | Format::FloatStore => {
            insn.imm = match r.below(4) {
                0 => r.bits() as i32 >> 20,
                1 => (r.bits() as i32 >> 26) * 8,
                2 => r.bits() as i32 >> 28,
                _ => 0,
            };
        }
        Format::Shift64 => insn.imm = r.below(64) as i32,
        Format::Shift32 => insn.imm = r.below(32) as i32,
        Format::Upper => insn.imm = r.bits() as i32 & !0xfff,
        Format::Fence => insn.imm = r.below(4096) as i32,
        Format::MayBeUnary => insn.imm = r.below(32) as i32,
        Format::MayBeBinary => insn.imm = r.below(8) as i32,
        Format::FloatFused => insn.rs3 = any(r),
        Format::Atomic | Format::AtomicPair | Format::LoadReserved => insn.rm = r.below(4) as u8,
        _ => {}
    }
    if format.has_rounding_mode() {
        insn.rm = r.pick(&[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 7, 7, 7]);
    }
    // What the format has no place for.
    let one_source = matches!(
        format,
        Format::RUnary
            | Format::I
            | Format::Shift64
            | Format::Shift32
            | Format::Load
            | Format::FloatLoad
            | Format::LoadReserved
            | Format::CacheBlock
            | Format::GuestLoad
            | Format::MayBeUnary
            | Format::FloatUnaryRounded
            | Format::FloatToInteger
            | Format::FloatToIntegerRounded
            | Format::IntegerToFloat
            | Format::IntegerToFloatRounded
            | Format::FloatConstant
    );
    if one_source {
        insn.rs2 = 0;
    }
    match format {
        Format::Store | Format::FloatStore | Format::CacheBlock | Format::GuestStore => insn.rd = 0,
        Format::Upper => (insn.rs1, insn.rs2) = (0, 0),
        Format::Fence => (insn.rd, insn.rs1, insn.rs2) = (0, 0, 0),
        _ => {}
    }
    insn
}

/// A compressed instruction that leaves the pointers alone and jumps nowhere.
fn half(r: &mut Random) -> u16 {
    loop {
        let parcel = r.bits() as u16;
        if parcel & 3 == 3 {
            continue;
        }
        let Some(insn) = decode(parcel.into()) else {
            continue;
        };
        let class = insn.op.class();
        let address = matches!(class, Class::Load | Class::Store);
        let writes_pointer = !insn.op.is_float() && POINTERS.contains(&insn.rd);
        let fits = !matches!(class, Class::Branch | Class::Jump)
            && !writes_pointer
            && ![RA, T0, A7].contains(&X(insn.rd))
            && (!address || POINTERS.contains(&insn.rs1));
        if fits {
            return parcel;
        }
    }
}

/// A distance to jump: a few words, not to the jump itself.
fn distance(r: &mut Random) -> i32 {
    let words = 1 + r.below(10) as i32;
    4 * if r.one_in(3) { -words } else { words }
}

fn branch(r: &mut Random) -> u32 {
    let op = r.pick(&[Op::Beq, Op::Bne, Op::Blt, Op::Bge, Op::Bltu, Op::Bgeu]);
    bits(Insn {
        rs1: r.below(32) as u8,
        rs2: r.below(32) as u8,
        imm: distance(r),
        ..Insn::new(op)
    })
}

fn jump(r: &mut Random) -> u32 {
    bits(Insn {
        rd: r.pick(&[ZERO, RA, T0, A0]).0,
        imm: distance(r),
        ..Insn::new(Op::Jal)
    })
}

fn indirect_jump(r: &mut Random) -> Item {
    let rd = r.pick(&[ZERO, RA, T0]);
    let rs1 = r.pick(&[RA, T0, RA, T0, RA, T0, A0]);
    let imm = r.pick(&[0, 0, 4, 8, 1, 2]);
    let target = tables::code_address(r);
    let load = r.one_in(2);
    sequence(|code| {
        if load {
            code.li(rs1, target);
        }
        code.jalr(rd, imm, rs1);
    })
}

/// `lr`, perhaps something, and an `sc` that may succeed.
fn reservation(r: &mut Random) -> Item {
    let wide = r.one_in(2);
    let (lr, sc) = if wide {
        (Op::LrD, Op::ScD)
    } else {
        (Op::LrW, Op::ScW)
    };
    let (pointer, result, done) = (r.pick(&POINTERS), r.pick(&RESULTS), r.pick(&RESULTS));
    let order = r.below(4) as u8;
    let mut between = (0..r.below(3)).map(|_| one(r)).collect::<Vec<_>>();
    if r.one_in(3) {
        between.push(through(r, pointer));
    }
    let new = r.below(32) as u8;
    // Sometimes another place that holds the same, or the same place in another width.
    let place = if r.one_in(5) {
        r.pick(&POINTERS)
    } else {
        pointer
    };
    let sc = if r.one_in(8) {
        r.pick(&[Op::ScW, Op::ScD])
    } else {
        sc
    };
    sequence(|code| {
        if place != pointer {
            code.sd(ZERO, 0, X(pointer)).sd(ZERO, 0, X(place));
        }
        code.insn(Insn {
            rd: result,
            rs1: pointer,
            rm: order,
            ..Insn::new(lr)
        });
        for word in between {
            code.word(word);
        }
        code.insn(Insn {
            rd: done,
            rs1: place,
            rs2: new,
            rm: order,
            ..Insn::new(sc)
        });
    })
}

pub(super) const CSR_OPS: [Op; 6] = [
    Op::Csrrw,
    Op::Csrrs,
    Op::Csrrc,
    Op::Csrrwi,
    Op::Csrrsi,
    Op::Csrrci,
];

fn csr_any(r: &mut Random) -> Item {
    let rd = r.pick(&RESULTS);
    let rs1 = r.below(32) as u8;
    sequence(|code| match r.below(8) {
        0..=4 => {
            let op = r.pick(&CSR_OPS);
            code.insn(Insn {
                rd,
                rs1,
                imm: r.pick(&HARMLESS_CSRS).into(),
                ..Insn::new(op)
            });
        }
        5 | 6 => {
            code.csrr(X(rd), r.pick(&READABLE_CSRS));
        }
        _ => {
            code.csrr(X(rd), r.below(4096) as u16);
        }
    })
}

/// A write to a CSR that takes thought, with a value that makes sense.
fn csr_deliberate(r: &mut Random, spaces: &Spaces) -> Item {
    let (csr, value) = match r.below(17) {
        0 | 1 => (number::SATP, spaces.satp(r)),
        2 => (number::MSTATUS, setup::status(r)),
        3 => (number::SSTATUS, setup::status(r)),
        4 => (number::MEPC, tables::code_address(r)),
        5 => (number::SEPC, tables::code_address(r)),
        6 => (number::MEDELEG, setup::delegation(r)),
        7 => (number::MENVCFG, setup::environment(r)),
        8 | 15 => (number::PMPCFG0, setup::protection(r)),
        9 => {
            let entry = r.below(OPEN_ENTRY) as u16;
            (
                number::PMPADDR0 + entry,
                setup::protected_address(r, spaces),
            )
        }
        10 => (number::MTVEC, MACHINE_HANDLER | r.below(4)),
        11 => (number::STVEC, SUPERVISOR_HANDLER | r.below(4)),
        12 => (number::MHPMEVENT3 + r.below(4) as u16, setup::event(r)),
        13 => (number::STIMECMP, r.below(400)),
        14 => (number::MIE, 0xaaa),
        _ => (number::MIDELEG, 0x222),
    };
    let bits_of_status = r.one_in(2);
    // What a write forbids or allows is used before and after it.
    let pointer = r.pick(&POINTERS);
    let (before, after) = (through(r, pointer), through(r, pointer));
    sequence(|code| {
        code.word(before).li(T1, value);
        if bits_of_status && matches!(csr, number::MSTATUS | number::SSTATUS) {
            code.csr(r.pick(&[Op::Csrrs, Op::Csrrc]), T2, csr, T1);
        } else {
            code.csrrw(T2, csr, T1);
        }
        code.word(after);
    })
}

/// New code in place of old, and the fence for it.
fn self_modification(r: &mut Random) -> Item {
    let target = tables::code_slot(r);
    let new = one(r);
    sequence(|code| {
        code.li(T1, target)
            .li(T2, new as i32 as u64)
            .sw(T2, 0, T1)
            .fence_i();
    })
}

fn service(r: &mut Random) -> Item {
    // Mostly those that change translations.
    let any = r.below(handlers::SERVICE_COUNT);
    let number = r.pick(&[0, 1, 2, 3, any]);
    sequence(|code| {
        code.li(A7, number).ecall();
    })
}

/// Uses a translation, has it changed, and uses it again.
fn edited_access(r: &mut Random, spaces: &Spaces) -> Item {
    let number = r.below(spaces.edits.len() as u64);
    let edit = &spaces.edits[number as usize];
    if edit.page == USED + FUNCTIONS {
        return sequence(|code| {
            code.li(T2, edit.page)
                .jalr(RA, 0, T2)
                .li(A7, number)
                .ecall()
                .jalr(RA, 0, T2);
        });
    }
    // Service 7 takes a page of data away from lower modes, or gives it back.
    let (number, page) = if r.one_in(3) {
        (7, spaces.protected_page())
    } else {
        (number, edit.page)
    };
    let address = page + 8 * r.below(512);
    let (before, after) = (through(r, T1.0), through(r, T1.0));
    sequence(|code| {
        code.li(T1, address)
            .word(before)
            .li(A7, number)
            .ecall()
            .word(after);
    })
}

/// A load or a store through `pointer`.
pub(super) fn through(r: &mut Random, pointer: u8) -> u32 {
    let (rd, rs2) = (r.pick(&RESULTS[5..]), r.below(32) as u8);
    if r.one_in(2) {
        bits(Insn {
            rd,
            rs1: pointer,
            ..Insn::new(Op::Ld)
        })
    } else {
        bits(Insn {
            rs1: pointer,
            rs2,
            ..Insn::new(Op::Sd)
        })
    }
}

fn fence(r: &mut Random, spaces: &Spaces) -> Item {
    let op = r.pick(&[Op::SfenceVma, Op::SfenceVma, Op::SinvalVma]);
    let address = r.pick(&[ZERO, S0, S1, S2, T2]);
    let asid = r.pick(&[ZERO, ZERO, T1]);
    let value = r.pick(&spaces.asids);
    let other = r.pick(&[
        Op::FenceI,
        Op::FenceI,
        Op::Fence,
        Op::SfenceWInval,
        Op::SfenceInvalIr,
        Op::HfenceVvma,
    ]);
    if r.one_in(3) {
        return vec![word(other)];
    }
    sequence(|code| {
        code.li(T1, value).address_fence(op, address, asid);
    })
}

/// Moves a pointer by a little.
fn pointer_step(r: &mut Random) -> Item {
    let pointer = r.pick(&POINTERS);
    let step = r.pick(&[8, -8, 4, 1, -1, 64, 0x7f8, -0x800]);
    vec![bits(Insn {
        rd: pointer,
        rs1: pointer,
        imm: step,
        ..Insn::new(Op::Addi)
    })]
}

fn new_pointer(r: &mut Random, spaces: &Spaces) -> Item {
    let pointer = r.pick(&POINTERS);
    let address = tables::data_address(r, spaces);
    sequence(|code| {
        code.li(X(pointer), address);
    })
}

/// Loads and stores by their size.
const HALVES: [Op; 5] = [Op::Lh, Op::Lhu, Op::Sh, Op::Flh, Op::Fsh];
const WORDS: [Op; 5] = [Op::Lw, Op::Lwu, Op::Sw, Op::Flw, Op::Fsw];
const DOUBLES: [Op; 4] = [Op::Ld, Op::Sd, Op::Fld, Op::Fsd];

/// A load or a store that begins in one page and ends in the next.
fn crossing_access(r: &mut Random, spaces: &Spaces) -> Item {
    let next = (tables::data_address(r, spaces) | 0xfff).wrapping_add(1);
    let (op, size) = match r.below(3) {
        0 => (r.pick(&HALVES), 2),
        1 => (r.pick(&WORDS), 4),
        _ => (r.pick(&DOUBLES), 8),
    };
    let access = Insn {
        rs1: T1.0,
        imm: -1 - r.below(size - 1) as i32,
        ..operands(op, r)
    };
    sequence(|code| {
        code.li(T1, next).insn(access);
    })
}

fn semihosting(r: &mut Random) -> Item {
    let before = r.pick(&[0x01f0_1013, 0x01f0_1013, NOP]);
    vec![before, word(Op::Ebreak), 0x4070_5013]
}

/// A return to code, by way of the epc.
fn trap_return(r: &mut Random) -> Item {
    let target = tables::code_address(r);
    let (csr, op) = r.pick(&[(number::MEPC, Op::Mret), (number::SEPC, Op::Sret)]);
    sequence(|code| {
        code.li(T1, target).csrw(csr, T1).op(op);
    })
}

/// 16 bytes before the end of a page and 16 in the next, as halves: sometimes with an
/// instruction across the boundary.
pub(super) fn crossing(r: &mut Random) -> Vec<u16> {
    let shifted = r.one_in(2);
    let mut halves = Vec::new();
    if shifted {
        halves.push(NOP_HALF);
    }
    while halves.len() + 2 <= 14 {
        let word = match r.below(3) {
            0 => of_class(r, &[Class::Load, Class::Store]),
            _ => one(r),
        };
        halves.extend([word as u16, (word >> 16) as u16]);
    }
    halves.resize(14, NOP_HALF);
    halves
}
