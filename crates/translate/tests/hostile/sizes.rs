//! How large blocks can get: the cache asks for room before it knows.

use ringer_hart::{Exit, Mode};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::T2;
use ringer_isa::{Class, Insn, Op, csr as number, encode};
use ringer_lockstep::Random;
use ringer_translate::cache::Key;
use ringer_translate::{Features, Options, SharedCode, Translator};

use crate::rig::{self, CODE, RAM};

/// Where loads and stores go.
const DATA: u64 = RAM + 0x8000;

/// A block of these instructions, over and over, as a loop or not, and what bytes of host code it
/// takes in this mode.
fn block_bytes(insns: &[u32], features: Features, is_loop: bool, mode: Mode) -> usize {
    let machine = rig::machine(0x1_0000, 1);
    let mut code = Assembler::new(CODE);
    let again = code.label_here();
    for bits in insns.iter().cycle().take(62) {
        code.word(*bits);
    }
    if is_loop {
        code.bnez(T2, again);
    }
    code.wfi();
    rig::place(&machine, code);
    let options = Options {
        features,
        ..Options::default()
    };
    let shared = SharedCode::with_options(1, options).expect("memory for code");
    let mut translator = Translator::new(shared).expect("memory for tables");
    let mut hart = rig::hart(0);
    hart.mode = mode;
    for register in hart.x.iter_mut().skip(1) {
        *register = DATA + 0x800;
    }
    let exit = translator.run(&mut hart, &machine, 1000);
    assert!(
        matches!(exit, Exit::Wait | Exit::Budget | Exit::Pause),
        "{exit:?}"
    );
    let key = Key::new(CODE - RAM, mode.privilege);
    let store = translator.shared().store();
    store.cache.place(key).map_or(0, |(place, _)| place.len())
}

/// An encoding of `op` that works on `register` and memory at `t2`.
fn encoding(op: Op, register: u8, imm: i32) -> Option<u32> {
    let memory = matches!(op.class(), Class::Load | Class::Store | Class::Atomic);
    let full = Insn {
        rd: register,
        rs1: if memory || op.class() == Class::CacheBlock {
            7
        } else {
            register
        },
        rs2: register,
        rs3: register,
        rm: 1,
        imm,
        ..Insn::new(op)
    };
    // What the format has no place for goes, one after the other.
    (0..32).find_map(|without: u8| {
        let keeps = |bit: u8| without >> bit & 1 == 0;
        encode(&Insn {
            rs3: if keeps(0) { full.rs3 } else { 0 },
            imm: if keeps(1) { full.imm } else { 0 },
            rm: if keeps(2) { full.rm } else { 0 },
            rs2: if keeps(3) { full.rs2 } else { 0 },
            rd: if keeps(4) { full.rd } else { 0 },
            ..full
        })
    })
}

#[test]
fn no_block_is_larger_than_the_room_it_gets() {
    const ROOM: usize = 48 << 10;
    let jumps = [Class::Jump, Class::Branch, Class::System, Class::Csr];
    let ops = || Op::ALL.iter().filter(|op| !jumps.contains(&op.class()));
    let mut random = Random::new(1);
    let mut largest = (0, Vec::new());
    let mut measure_in = |mode: Mode, insns: Vec<u32>| {
        for features in [Features::of_host(), Features::baseline()] {
            let parallel = Features {
                parallel: true,
                ..features
            };
            for is_loop in [false, true] {
                let bytes = block_bytes(&insns, parallel, is_loop, mode);
                if bytes > largest.0 {
                    largest = (bytes, insns.clone());
                }
            }
        }
    };
    // Inline in S-mode only.
    for op in [Op::Csrrw, Op::Csrrs, Op::Csrrc] {
        let write = [3, 10].map(|register| encoding(op, register, number::SSTATUS.into()));
        measure_in(Mode::S, write.into_iter().flatten().collect());
    }
    let mut measure = |insns| measure_in(Mode::M, insns);
    for op in ops() {
        for register in [3, 10, 28] {
            measure(encoding(*op, register, 16).into_iter().collect::<Vec<_>>());
        }
    }
    let csrs = [
        number::FCSR,
        number::FFLAGS,
        number::SSTATUS,
        number::SSCRATCH,
        number::TIME,
    ];
    for csr in csrs {
        for op in [
            Op::Csrrw,
            Op::Csrrs,
            Op::Csrrc,
            Op::Csrrwi,
            Op::Csrrsi,
            Op::Csrrci,
        ] {
            let all_homes = [3, 10].map(|register| encoding(op, register, csr.into()));
            measure(all_homes.into_iter().flatten().collect());
        }
    }
    // Every floating-point register is busy, and many results are not in their places.
    for _ in 0..300 {
        let registers = random.pick(&[14, 32]);
        let insns = (0..62).filter_map(|_| {
            let op = random.pick(&[
                Op::FaddD,
                Op::FmulD,
                Op::FmulS,
                Op::FminD,
                Op::Fld,
                Op::Fsd,
                Op::Ld,
                Op::FcvtLD,
                Op::FcvtLuD,
                Op::FcvtDLu,
                Op::FclassD,
            ]);
            let bits = encoding(
                op,
                8 + random.below(registers) as u8 % 24,
                8 * random.below(16) as i32,
            )?;
            // As `frm` says, or else in a mode that has to be set first.
            let rounding = if op.format().has_rounding_mode() && random.one_in(2) {
                7 << 12
            } else {
                0
            };
            Some(bits | rounding)
        });
        measure(insns.collect());
    }
    let all: Vec<u32> = ops().filter_map(|op| encoding(*op, 3, 8)).collect();
    let accesses = [Op::Fsd, Op::Fld, Op::Sd, Op::Fsw, Op::Flw, Op::Flh, Op::Fsh];
    for _ in 0..300 {
        let access = encoding(random.pick(&accesses), 3, 8 * random.below(16) as i32);
        let mut insns: Vec<u32> = access.into_iter().collect();
        insns.extend((0..random.below(4)).map(|_| random.pick(&all)));
        measure(insns);
    }
    let names: Vec<_> = largest
        .1
        .iter()
        .map(|bits| ringer_isa::decode(*bits))
        .collect();
    println!("the largest has {} bytes: {names:?}", largest.0);
    assert!(largest.0 < ROOM * 3 / 4, "{} bytes: {names:?}", largest.0);
}
