//! Hosts without a translator: asking for one is refused, so nothing else is ever called.

use std::time::Duration;

use ringer_hart::{Exit, Hart};
use ringer_machine::board::Board;

use crate::args::EngineKind;
use crate::stats::Group;

/// The engine that runs guests unless one is named.
pub const DEFAULT_ENGINE: EngineKind = EngineKind::Interpret;

/// There is no translator.
#[derive(Debug, thiserror::Error)]
#[error("--engine translate needs an x86-64 Linux host; `--engine interpret` works on this one")]
pub struct Unavailable;

/// No value.
#[derive(Clone)]
pub enum SharedCode {}

/// No value.
pub enum Translator {}

/// Nothing.
#[derive(Clone, Debug)]
pub struct TranslatorStats;

/// Refuses.
pub fn share_code(_: usize) -> Result<SharedCode, Unavailable> {
    Err(Unavailable)
}

/// Never called.
pub fn engine(code: &SharedCode) -> Result<Box<Translator>, Unavailable> {
    match *code {}
}

/// Never called.
pub fn stats<'a>(
    code: &SharedCode,
    _: impl Iterator<Item = &'a Translator>,
    _: Duration,
) -> TranslatorStats {
    match *code {}
}

/// Never called.
pub fn listing(code: &SharedCode, _: &Board, _: &Hart, _: u64) -> String {
    match *code {}
}

/// Nothing to say.
pub fn processor_features() -> String {
    String::new()
}

impl Translator {
    /// Never called.
    pub fn run(&mut self, _: &mut Hart, _: &Board, _: u64) -> Exit {
        match *self {}
    }
}

impl TranslatorStats {
    /// None.
    pub fn address_translation(&self, _: &mut Group) {}
    /// None.
    pub fn code(&self, _: &mut Group) {}
}
