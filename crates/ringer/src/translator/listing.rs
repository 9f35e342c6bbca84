//! A block of guest code beside the host code made from it, for the monitor prompt.

use std::fmt::Write;
use std::ops::Range;

use iced_x86::{
    Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, SymbolResolver, SymbolResult,
};
use ringer_hart::translate::Access;
use ringer_hart::{Bus, GuestVirt, Hart, PAGE_SIZE};
use ringer_isa::{Op, decode, length};
use ringer_machine::board::Board;
use ringer_translate::cache::{Cache, Key};

use super::SharedCode;
use crate::inspect;

/// How far before an address a block is looked for that it may be inside of: as many bytes as
/// the instructions of a block at most have.
const REACH: u64 = 256;

/// The block for `address`, or the nearest one before it that the address is inside of.
pub fn listing(code: &SharedCode, board: &Board, hart: &Hart, address: u64) -> String {
    let guest = GuestCode { board, hart };
    let Some(offset) = guest.offset(address) else {
        return format!("{address:#x} is no place in RAM that this hart may execute now");
    };
    let store = code.store();
    let Some(block) = guest.find_block(&store.cache, address, offset) else {
        return format!("no host code was made from {address:#x} for this hart's mode yet");
    };
    let mut out = format!("guest block of {} instructions\n", block.instructions.len());
    for (at, bits) in &block.instructions {
        let _ = writeln!(out, " {}", inspect::instruction(*at, *bits));
    }
    let _ = writeln!(out, "host code, {} bytes", block.host.len());
    let bytes = code.memory.read(block.host.start, block.host.len());
    let start = code.memory.address(block.host.start);
    host_lines(&mut out, WaysOut::of(code), start, &bytes);
    out
}

/// A block: its guest instructions with their addresses, and where its host code is.
struct Block {
    instructions: Vec<(u64, u32)>,
    host: Range<usize>,
}

/// Code as the hart would fetch it.
struct GuestCode<'a> {
    board: &'a Board,
    hart: &'a Hart,
}

impl GuestCode<'_> {
    /// Where in RAM the code at an address lies.
    fn offset(&self, address: u64) -> Option<u64> {
        let context = self.hart.fetch_context();
        let va = GuestVirt(address);
        let found = self
            .hart
            .inspect(self.board, va, Access::Fetch, &context, |_| {});
        self.board.ram().offset(found.ok()?.phys, 2)
    }

    /// The instruction at an address.
    fn fetch(&self, address: u64) -> Option<u32> {
        let parcel = |at| self.board.ram().load_at::<u16>(self.offset(at)?);
        let low = parcel(address)?;
        if length(low) != 4 {
            return Some(low.into());
        }
        let high = parcel(address.wrapping_add(2))?;
        Some(u32::from(low) | u32::from(high) << 16)
    }

    fn find_block(&self, cache: &Cache, address: u64, offset: u64) -> Option<Block> {
        let in_page = offset % PAGE_SIZE;
        (0..=in_page.min(REACH)).step_by(2).find_map(|back| {
            let key = Key::new(offset - back, self.hart.mode.privilege);
            let (host, count) = cache.place(key)?;
            let instructions = self.instructions(address.wrapping_sub(back), count);
            let inside = instructions.iter().any(|(at, _)| *at == address);
            inside.then_some(Block { instructions, host })
        })
    }

    /// The `count` instructions of the block that begins at `start`: what lies there in a row,
    /// but for jumps forward, which a block follows.
    fn instructions(&self, start: u64, count: u32) -> Vec<(u64, u32)> {
        let mut at = start;
        let mut found = Vec::new();
        while found.len() < count as usize {
            let Some(bits) = self.fetch(at) else { break };
            found.push((at, bits));
            at = match decode(bits) {
                Some(insn) if insn.op == Op::Jal && insn.rd == 0 && insn.imm > 0 => {
                    at.wrapping_add_signed(insn.imm.into())
                }
                _ => at.wrapping_add(if length(bits as u16) == 4 { 4 } else { 2 }),
            };
        }
        found
    }
}

/// Names for the ways out of a block.
struct WaysOut(Vec<(u64, &'static str)>);

impl WaysOut {
    fn of(code: &SharedCode) -> Self {
        let thunks = &code.thunks;
        Self(vec![
            (thunks.exit_link, "exit_link"),
            (thunks.exit_jump, "exit_jump"),
            (thunks.exit_budget, "exit_budget"),
            (thunks.fallback, "fallback"),
        ])
    }
}

impl SymbolResolver for WaysOut {
    fn symbol(
        &mut self,
        _: &Instruction,
        _: u32,
        _: Option<u32>,
        address: u64,
        _: u32,
    ) -> Option<SymbolResult<'_>> {
        let (at, name) = self.0.iter().find(|(at, _)| *at == address)?;
        Some(SymbolResult::with_str(*at, name))
    }
}

fn host_lines(out: &mut String, ways_out: WaysOut, address: u64, bytes: &[u8]) {
    let mut formatter = IntelFormatter::with_options(Some(Box::new(ways_out)), None);
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    options.set_space_after_operand_separator(true);
    let mut text = String::new();
    for instruction in Decoder::with_ip(64, bytes, address, DecoderOptions::NONE) {
        text.clear();
        formatter.format(&instruction, &mut text);
        let _ = writeln!(out, "  {:#014x}:  {text}", instruction.ip());
    }
}
