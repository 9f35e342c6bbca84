//! A block of guest code beside the host code made from it, for the monitor prompt.

use std::fmt::Write;
use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use ringer_hart::translate::Access;
use ringer_hart::{Bus, GuestVirt, Hart, PAGE_SIZE, Ram};
use ringer_isa::{Op, decode, length};
use ringer_machine::board::Board;
use ringer_translate::cache::{Cache, Key};

use super::SharedCode;
use crate::inspect;

/// How far before an address a block is looked for that it may be inside of: as many bytes as
/// the instructions of a block at most have.
const REACH: u64 = 256;

/// The block for `address`, or the nearest one that the address is inside of.
pub fn listing(code: &SharedCode, board: &Board, hart: &Hart, address: u64) -> String {
    let found = hart.inspect(
        board,
        GuestVirt(address),
        Access::Fetch,
        &hart.fetch_context(),
        |_| {},
    );
    let offset = match found {
        Ok(found) => board.ram().offset(found.phys, 2),
        Err(_) => None,
    };
    let Some(offset) = offset else {
        return format!("{address:#x} is no place in RAM that this hart may execute now");
    };
    let store = code.store();
    let Some(block) = find(&store.cache, board.ram(), offset, hart) else {
        return format!("no host code was made from {address:#x} for this hart's mode yet");
    };
    let mut out = format!("guest block of {} instructions\n", block.guest.len());
    for instruction in &block.guest {
        let at = address.wrapping_add(instruction.at.wrapping_sub(offset));
        let _ = writeln!(out, " {}", inspect::instruction(at, instruction.bits));
    }
    let _ = writeln!(out, "host code, {} bytes", block.host.len());
    let bytes = code.memory.read(block.host.start, block.host.len());
    host_lines(&mut out, code.memory.address(block.host.start), &bytes);
    out
}

/// A block: its guest instructions and where its host code is.
struct Block {
    guest: Vec<GuestInstruction>,
    host: Range<usize>,
}

struct GuestInstruction {
    /// Offset in RAM.
    at: u64,
    bits: u32,
}

fn find(cache: &Cache, ram: &Ram, offset: u64, hart: &Hart) -> Option<Block> {
    let page = offset & !(PAGE_SIZE - 1);
    let first = offset.saturating_sub(REACH).max(page);
    (first..=offset).rev().step_by(2).find_map(|start| {
        let (host, count) = cache.place(Key::new(start, hart.mode.privilege))?;
        let guest = guest_instructions(ram, start, count);
        let inside = guest.iter().any(|instruction| instruction.at == offset);
        inside.then_some(Block { guest, host })
    })
}

/// The `count` instructions of the block that begins at `start`: what lies there in a row, but
/// for jumps forward inside the page, which a block follows.
fn guest_instructions(ram: &Ram, start: u64, count: u32) -> Vec<GuestInstruction> {
    let page = start & !(PAGE_SIZE - 1);
    let mut at = start;
    let mut found = Vec::new();
    while found.len() < count as usize {
        let Some(bits) = read(ram, at) else { break };
        found.push(GuestInstruction { at, bits });
        at = match decode(bits) {
            Some(insn) if insn.op == Op::Jal && insn.rd == 0 && insn.imm > 0 => {
                at.wrapping_add_signed(insn.imm.into())
            }
            _ => at + u64::from(length(bits as u16)),
        };
        if at & !(PAGE_SIZE - 1) != page {
            break;
        }
    }
    found
}

/// The bytes of the instruction at an offset in RAM.
fn read(ram: &Ram, at: u64) -> Option<u32> {
    let low = ram.load_at::<u16>(at)?;
    if length(low) != 4 {
        return Some(low.into());
    }
    let high = ram.load_at::<u16>(at + 2)?;
    Some(u32::from(low) | u32::from(high) << 16)
}

fn host_lines(out: &mut String, address: u64, bytes: &[u8]) {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_branch_leading_zeros(false);
    let mut text = String::new();
    for instruction in Decoder::with_ip(64, bytes, address, DecoderOptions::NONE) {
        text.clear();
        formatter.format(&instruction, &mut text);
        let _ = writeln!(out, "  {:#014x}  {text}", instruction.ip());
    }
}
