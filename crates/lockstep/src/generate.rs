//! Programs from seeds. A program is code in four pages, data, two address spaces, handlers in
//! M-mode and S-mode that keep it going, and a schedule by which time passes.
//!
//! Programs keep the rules by which software may rely on an outcome: translations are changed
//! only by M-mode's services, which fence, and by pokes, which fence remotely. Code changes are
//! followed by `fence.i`, or else noticed by the reference. So engines may cache as they like,
//! and must agree all the same.

mod handlers;
mod items;
mod setup;
mod system;
mod tables;

use ringer_hart::{Bus, Hart};
use ringer_isa::asm::Assembler;
use ringer_isa::asm::register::A0;

use crate::assembled;
use crate::machine::{Machine, Poke};
use crate::random::Random;
use items::{Item, NOP};

/// Where RAM starts.
const RAM: u64 = 0x801e_0000;
/// How long it is.
const RAM_LEN: u64 = 0x3_0000;
/// M-mode's handler and services.
const MACHINE_HANDLER: u64 = RAM;
/// S-mode's handler.
const SUPERVISOR_HANDLER: u64 = RAM + 0x1000;
/// Page tables from here to [`USED`].
const TABLES: u64 = RAM + 0x2000;
/// Code and data: 16 pages, aligned to 2 MiB so that a superpage can map them.
const USED: u64 = 0x8020_0000;
/// Pages of code and data.
const USED_PAGES: u64 = 16;
/// Pages of code, the first ones.
const CODE_PAGES: u64 = 4;
/// Functions of two instructions that return their page's number, as an offset from [`USED`].
const FUNCTIONS: u64 = 0x5000;
/// Pages of functions.
const FUNCTION_PAGES: u64 = 3;
/// Where data starts, as an offset from [`USED`].
const DATA: u64 = 0x8000;
/// Where in its page a run of code starts; before it ends the one that crosses into the page.
const HEAD: u64 = 0x10;
/// Where in its page the code starts that crosses into the next page.
const TAIL: u64 = 0xff0;

/// A stretch of a program's run.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// How many instructions.
    pub budget: u64,
    /// How much the clock moves on before it.
    pub ticks: u64,
    /// Interrupt wires raised before it.
    pub raise: u64,
}

/// A program.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it was made from.
    pub seed: u64,
    /// The schedule.
    pub turns: Vec<Turn>,
    hart: Hart,
    /// When the machine timer first rises.
    timer: u64,
    /// Parts that stay as they are: handlers, tables, data.
    fixed: Vec<(u64, Vec<u8>)>,
    /// The code, by page: what runs from [`HEAD`], and what crosses into the next page.
    heads: Vec<Vec<Item>>,
    tails: Vec<Vec<u16>>,
    pokes: Vec<Poke>,
    /// See [`Machine::restless`].
    restless: bool,
}

impl Program {
    /// The program of this seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let r = &mut random;
        let spaces = tables::Spaces::new(r);
        let mut fixed = vec![
            (MACHINE_HANDLER, handlers::machine(r, &spaces)),
            (SUPERVISOR_HANDLER, handlers::supervisor()),
        ];
        fixed.extend(tables::build(r));
        fixed.push((USED + DATA, data(r)));
        for page in 0..FUNCTION_PAGES {
            let mut function = Assembler::new(USED + FUNCTIONS + page * 0x1000);
            function.li(A0, page).ret();
            fixed.push((function.base(), assembled(function)));
        }
        let pokes = (0..8).map(|_| tables::poke(r, &spaces)).collect();
        let heads = (0..CODE_PAGES)
            .map(|_| {
                (0..20 + r.below(24))
                    .map(|_| items::any(r, &spaces))
                    .collect()
            })
            .collect();
        let tails = (0..CODE_PAGES).map(|_| items::crossing(r)).collect();
        let turns = (0..20)
            .map(|_| Turn {
                budget: match r.below(4) {
                    0 => 1 + r.below(4),
                    1 => 1 + r.below(16),
                    _ => 16 + r.below(64),
                },
                ticks: r.below(40),
                raise: if r.one_in(6) { r.bits() & 0xa0a } else { 0 },
            })
            .collect();
        let hart = setup::hart(r, &spaces);
        Self {
            seed,
            turns,
            hart,
            timer: r.below(800),
            fixed,
            heads,
            tails,
            pokes,
            restless: r.one_in(3),
        }
    }

    /// The machine and the hart, before the first turn.
    pub fn start(&self) -> (Machine, Hart) {
        let mut machine = Machine::new(RAM, RAM_LEN, 1);
        for (addr, bytes) in &self.fixed {
            machine.write(*addr, bytes);
        }
        for (page, (head, tail)) in (0..).zip(self.heads.iter().zip(&self.tails)) {
            let page_start = USED + page * 0x1000;
            let mut code = Assembler::new(page_start + HEAD);
            for word in head.iter().flatten() {
                code.word(*word);
            }
            let end = code.label_at(page_start + TAIL);
            code.j(end);
            machine.write(code.base(), &assembled(code));
            let mut code = Assembler::new(page_start + TAIL);
            for half in tail {
                code.half(*half);
            }
            if page + 1 == CODE_PAGES {
                let start = code.label_at(USED + HEAD);
                code.j(start);
            } else {
                code.word(NOP);
            }
            machine.write(code.base(), &assembled(code));
        }
        machine.restless = self.restless;
        machine.pokes = self.pokes.clone();
        machine.lines(0).set_mtimecmp(self.timer);
        (machine, self.hart.clone())
    }

    /// The same program with one item turned into nothing, for each that can be: to find out
    /// what a difference needs.
    pub fn simpler(&self) -> impl Iterator<Item = Self> + '_ {
        let places = (0..self.heads.len())
            .flat_map(|page| (0..self.heads[page].len()).map(move |item| (page, item)));
        places.filter_map(|(page, item)| {
            let words = &self.heads[page][item];
            if words.iter().all(|word| *word == NOP) {
                return None;
            }
            let mut simpler = self.clone();
            simpler.heads[page][item] = vec![NOP; words.len()];
            Some(simpler)
        })
    }

    /// The code that is more than nothing: where it lies, and its words.
    pub fn listing(&self) -> Vec<(u64, Vec<u32>)> {
        let mut listing = Vec::new();
        for (page, head) in (0..).zip(&self.heads) {
            let mut at = USED + page * 0x1000 + HEAD;
            for item in head {
                if item.iter().any(|word| *word != NOP) {
                    listing.push((at, item.clone()));
                }
                at += 4 * item.len() as u64;
            }
        }
        listing
    }

    /// The hart before the first turn.
    pub fn hart(&self) -> &Hart {
        &self.hart
    }
}

fn data(r: &mut Random) -> Vec<u8> {
    let len = (USED_PAGES * 0x1000 - DATA) / 8;
    let numbers = (0..len).flat_map(|_| r.number().to_le_bytes());
    numbers.collect()
}
