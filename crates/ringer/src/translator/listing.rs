//! A block of guest code beside the host code made from it, for the monitor prompt.

use std::fmt::Write;

use iced_x86::{
    Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, SymbolResolver, SymbolResult,
};
use ringer_hart::translate::Access;
use ringer_hart::{Bus, GuestVirt, Hart, PAGE_SIZE};
use ringer_isa::length;
use ringer_machine::board::Board;
use ringer_translate::cache::Key;
use ringer_translate::show::{self, Part, Purpose, ShownBlock};

use super::SharedCode;
use crate::inspect;

/// The block that has the instruction at `address`.
pub fn listing(code: &SharedCode, board: &Board, hart: &Hart, address: u64) -> String {
    let guest = GuestCode { board, hart };
    let Some(offset) = guest.offset(address) else {
        return format!("{address:#x} is no place in RAM that this hart may execute now");
    };
    let place = Key::new(offset, hart.mode.privilege);
    match show::block(code, board.ram(), place) {
        Ok(block) => lines(code, &guest, address & !(PAGE_SIZE - 1), &block),
        Err(error) => format!("{address:#x}: {error}"),
    }
}

/// The block, whose guest code is in the page at `page`.
fn lines(code: &SharedCode, guest: &GuestCode<'_>, page: u64, block: &ShownBlock) -> String {
    let mut out = format!(
        "guest block of {} instructions, host code of {} bytes\n",
        block.instructions,
        block.code.len()
    );
    for Part { purpose, bytes } in &block.parts {
        let host = block.code.get(bytes.clone()).unwrap_or_default();
        let heading = match purpose {
            Purpose::Instruction(at) => {
                let at = page + u64::from(*at);
                guest.fetch(at).map(|bits| inspect::instruction(at, bits))
            }
            _ if host.is_empty() => continue,
            Purpose::Entry => Some("entry from other pages, entry from this page, budget".into()),
            Purpose::Onward => Some("on to the next block".into()),
            Purpose::Budget => Some("the budget is used up".into()),
            Purpose::Asides => Some("seldom run".into()),
        };
        let _ = writeln!(out, " {}", heading.unwrap_or_else(|| "not there".into()));
        let address = block.address + bytes.start as u64;
        host_lines(&mut out, WaysOut::of(code), address, host);
    }
    out
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
        let _ = writeln!(out, "      {:#014x}:  {text}", instruction.ip());
    }
}
