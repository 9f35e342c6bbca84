//! Generated code as it is shown: every byte of a block belongs to something.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use ringer_hart::{Bus, Exit, Hart, Privilege};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::*;
use ringer_lockstep::{Machine, assembled};
use ringer_translate::cache::Key;
use ringer_translate::show::{self, Purpose, ShowError};
use ringer_translate::{SharedCode, Translator};

const RAM: u64 = 0x8000_0000;
/// Where the program begins: so near the end of its page that its last instruction crosses it.
const START: u64 = 0xfe6;

/// A machine that has run the program, and its translator.
fn ran() -> (Machine, Translator<Machine>) {
    let machine = Machine::new(RAM, 0x1_0000, 1);
    let mut code = Assembler::new(RAM + START);
    let over = code.label();
    code.li(T0, 5).j(over).li(T0, 6).bind(over);
    code.ld(T1, 0, A0).add(T1, T1, T0).half(0x0001);
    assert_eq!(code.here(), RAM + 0xffc);
    code.half(0x0001).addi(T2, T1, 1).wfi();
    machine.write(RAM + START, &assembled(code));
    let shared = SharedCode::new(1).expect("memory for code");
    let mut translator = Translator::new(shared).expect("memory for tables");
    let mut hart = Hart::new(0, RAM + START);
    hart.csrs.pmp.open();
    hart.x[usize::from(A0.0)] = RAM;
    assert_eq!(translator.run(&mut hart, &machine, 1000), Exit::Wait);
    assert!(hart.x[usize::from(T2.0)] > 5);
    (machine, translator)
}

fn key(offset: u64) -> Key {
    Key::new(offset, Privilege::Machine)
}

#[test]
fn each_instruction_has_its_code_and_nothing_is_left_out() {
    let (machine, translator) = ran();
    let block = show::block(translator.shared(), machine.ram(), key(START)).unwrap();
    let mut end = 0;
    for part in &block.parts {
        assert_eq!(part.bytes.start, end, "{:?}", block.parts);
        end = part.bytes.end;
    }
    assert_eq!(end, block.code.len());
    let instructions: Vec<u16> = block
        .parts
        .iter()
        .filter_map(|part| match part.purpose {
            Purpose::Instruction(at) => Some(at),
            _ => None,
        })
        .collect();
    // The jump is followed; what it leads over is not part of the block.
    assert_eq!(
        instructions,
        [0xfe6, 0xfea, 0xff2, 0xff6, 0xffa, 0xffc, 0xffe]
    );
    assert_eq!(block.instructions as usize, instructions.len());
    let bytes = |purpose| {
        let part = block.parts.iter().find(|part| part.purpose == purpose);
        part.unwrap().bytes.len()
    };
    assert_eq!(bytes(Purpose::Instruction(0xfea)), 0);
    for purpose in [
        Purpose::Entry,
        Purpose::Instruction(0xff2),
        Purpose::Instruction(0xffe),
        Purpose::Budget,
        Purpose::Asides,
    ] {
        assert!(bytes(purpose) > 0, "{purpose:?}");
    }
}

#[test]
fn a_block_is_found_by_any_of_its_instructions() {
    let (machine, translator) = ran();
    let at = |offset| {
        let block = show::block(translator.shared(), machine.ram(), key(offset));
        block.map(|block| block.address)
    };
    let begin = at(START).unwrap();
    for inside in [0xff2, 0xffe] {
        assert_eq!(at(inside), Ok(begin));
    }
    for outside in [0xfee, 0xff4, 0x800, 0xf_fffe] {
        assert_eq!(at(outside), Err(ShowError::NoBlock), "{outside:#x}");
    }
    let user = Key::new(START, Privilege::User);
    let shown = show::block(translator.shared(), machine.ram(), user);
    assert_eq!(shown.unwrap_err(), ShowError::NoBlock);
}

#[test]
fn code_that_has_changed_is_not_shown_with_the_old_codes_host_code() {
    let (machine, translator) = ran();
    let shown = || show::block(translator.shared(), machine.ram(), key(START)).map(|_| ());
    assert_eq!(shown(), Ok(()));
    // `addi t0, x0, 7`; what is no instruction at all; and what was there before.
    for (bits, expected) in [
        (0x0070_0293_u32, Err(ShowError::Changed)),
        (0, Err(ShowError::Changed)),
        (0x0050_0293, Ok(())),
    ] {
        machine.write(RAM + START, &bits.to_le_bytes());
        assert_eq!(shown(), expected, "{bits:#x}");
    }
}
