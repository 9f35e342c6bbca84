//! Engines: what executes the harts' instructions. Each hart has its own; those of one machine
//! are of one kind, and translators share the code they make.

use std::time::Instant;

use ringer_hart::{Exit, Hart, Interpreter};
use ringer_machine::board::Board;

use crate::args::EngineKind;
use crate::exit::Failure;
use crate::stats::{EngineStats, InterpreterStats};
use crate::translator::{self, SharedCode, Translator, Unavailable};

/// The engine of one hart. It holds nothing but caches: the hart can go on with another one.
pub enum Engine {
    /// The reference interpreter.
    Interpret(Box<Interpreter>),
    /// The translator.
    Translate(Box<Translator>),
}

impl Engine {
    /// Executes up to `budget` instructions, or until the hart has to leave.
    pub fn run(&mut self, hart: &mut Hart, board: &Board, budget: u64) -> Exit {
        match self {
            Self::Interpret(interpreter) => interpreter.run(hart, board, budget),
            Self::Translate(translator) => translator.run(hart, board, budget),
        }
    }
}

/// What the engines of a machine have in common.
enum Common {
    Interpret,
    Translate(SharedCode),
}

/// Where the engines of a machine come from.
pub struct Engines {
    common: Common,
    /// When they were made.
    since: Instant,
}

impl Engines {
    /// Engines of this kind for a machine with so many harts, one for each. They are all made at
    /// once: a host that has no memory for one of them has none for this kind.
    pub fn new(kind: EngineKind, harts: usize) -> Result<(Self, Vec<Engine>), Unavailable> {
        let (common, engines) = match kind {
            EngineKind::Interpret => {
                let engine = || Engine::Interpret(Box::default());
                (Common::Interpret, (0..harts).map(|_| engine()).collect())
            }
            EngineKind::Translate => {
                let code = translator::share_code(harts)?;
                let engine = || translator::engine(&code).map(Engine::Translate);
                let engines = (0..harts).map(|_| engine()).collect::<Result<_, _>>()?;
                (Common::Translate(code), engines)
            }
        };
        let since = Instant::now();
        Ok((Self { common, since }, engines))
    }

    /// Engines of the kind that was asked for; if none was, the best that this host has.
    pub fn choose(asked: Option<EngineKind>, harts: usize) -> Result<(Self, Vec<Engine>), Failure> {
        let kind = asked.unwrap_or(translator::DEFAULT_ENGINE);
        match Self::new(kind, harts) {
            Err(error) if asked.is_none() => {
                eprintln!("ringer: the guest runs on the interpreter, more slowly: {error}");
                Self::new(EngineKind::Interpret, harts)
            }
            result => result,
        }
        .map_err(Failure::monitor)
    }

    /// Their kind.
    pub fn kind(&self) -> EngineKind {
        match self.common {
            Common::Interpret => EngineKind::Interpret,
            Common::Translate(_) => EngineKind::Translate,
        }
    }

    /// The code that translators share.
    pub fn code(&self) -> Option<&SharedCode> {
        match &self.common {
            Common::Interpret => None,
            Common::Translate(code) => Some(code),
        }
    }

    /// What `engines`, which are the harts', have done.
    pub fn stats<'a>(&self, engines: impl Iterator<Item = &'a Engine>) -> EngineStats {
        match &self.common {
            Common::Interpret => EngineStats::Interpret(
                engines
                    .filter_map(|engine| match engine {
                        Engine::Interpret(interpreter) => Some(interpreter.counts()),
                        Engine::Translate(_) => None,
                    })
                    .map(|(tlb, blocks)| InterpreterStats { tlb, blocks })
                    .collect(),
            ),
            Common::Translate(code) => {
                let translators = engines.filter_map(|engine| match engine {
                    Engine::Interpret(_) => None,
                    Engine::Translate(translator) => Some(&**translator),
                });
                EngineStats::Translate(translator::stats(code, translators, self.since.elapsed()))
            }
        }
    }
}
