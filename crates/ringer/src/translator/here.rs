//! The translator on x86-64 Linux.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use ringer_isa::Op;
use ringer_machine::board::Board;

use super::TranslatorStats;
use crate::args::EngineKind;

/// The engine that runs guests unless one is named.
pub const DEFAULT_ENGINE: EngineKind = EngineKind::Translate;

/// Why there is no translator.
pub type Unavailable = ringer_translate::TranslateError;

/// The generated code of one machine.
pub type SharedCode = Arc<ringer_translate::SharedCode<Board>>;

/// The engine of one hart.
pub type Translator = ringer_translate::Translator<Board>;

/// An empty code cache for a machine with so many harts. Fails if the host gives no memory to
/// run code in.
pub fn share_code(harts: usize) -> Result<SharedCode, Unavailable> {
    ringer_translate::SharedCode::new(harts)
}

/// An engine for one hart of the machine whose code is `code`. Fails if the host gives no memory
/// for its tables.
pub fn engine(code: &SharedCode) -> Result<Box<Translator>, Unavailable> {
    Ok(Box::new(Translator::new(Arc::clone(code))?))
}

/// What the translators of a machine have done in the time that they have existed.
pub fn stats<'a>(
    code: &SharedCode,
    translators: impl Iterator<Item = &'a Translator>,
    elapsed: Duration,
) -> TranslatorStats {
    let mut harts = Vec::new();
    let mut fallbacks = vec![0; Op::ALL.len()];
    for translator in translators {
        harts.push(translator.counts());
        for (op, count) in translator.fallbacks() {
            fallbacks[op as usize] += count;
        }
    }
    let mut fallbacks: Vec<_> = Op::ALL.iter().copied().zip(fallbacks).collect();
    fallbacks.retain(|(_, count)| *count > 0);
    fallbacks.sort_by_key(|(_, count)| Reverse(*count));
    TranslatorStats {
        cache: code.counts(),
        harts,
        fallbacks,
        elapsed,
    }
}

/// What generated code uses of this processor beyond what every x86-64 has.
pub fn processor_features() -> String {
    let features = ringer_translate::Features::of_host();
    let (used, missing): (Vec<_>, Vec<_>) = [
        ("BMI1", features.bmi1),
        ("BMI2", features.bmi2),
        ("LZCNT", features.lzcnt),
        ("POPCNT", features.popcnt),
        ("SSE4.1", features.sse41),
        ("AVX", features.avx),
        ("FMA", features.fma),
    ]
    .into_iter()
    .partition(|(_, there)| *there);
    let names = |list: Vec<(&'static str, bool)>| {
        let names: Vec<_> = list.into_iter().map(|(name, _)| name).collect();
        names.join(", ")
    };
    match (used.is_empty(), missing.is_empty()) {
        (_, true) => format!("uses this processor's {}", names(used)),
        (true, _) => format!("does without {}", names(missing)),
        _ => format!(
            "uses this processor's {}; does without {}",
            names(used),
            names(missing)
        ),
    }
}
