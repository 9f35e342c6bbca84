//! Saved state: how every part of a machine is written down and read back.
//!
//! A part has a plain data type, its *state*, encoded as CBOR with numbered fields
//! (`#[n(0)]`, `#[n(1)]` …). A number is never reused. A field added later is an `Option`, so
//! that older files stay readable; unknown numbers are skipped, so that newer ones do too.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Why saved state was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PersistError {
    /// The bytes are not this part's state.
    #[error("the saved state of {part} is damaged: {reason}")]
    Damaged {
        /// Which part.
        part: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// The state is well formed, but belongs to a machine built differently.
    #[error("the saved state of {part} does not fit this machine: {reason}")]
    Mismatch {
        /// Which part.
        part: &'static str,
        /// What differs.
        reason: String,
    },
}

/// Something whose state can be saved and restored.
///
/// It takes `&self` to restore since devices are shared between harts; what is not shared
/// (a hart) is restored by its constructor instead.
pub trait Persist {
    /// The whole state that the guest can notice, encoded.
    fn save(&self) -> Vec<u8>;
    /// Takes on a saved state. On an error nothing has changed.
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError>;
}

/// Encodes a state.
pub fn encode<S: minicbor::Encode<()>>(state: &S) -> Vec<u8> {
    let mut out = Vec::new();
    match minicbor::encode(state, &mut out) {
        Ok(()) => {}
        // Writing to a `Vec` cannot fail, which the type says too.
        Err(error) => match error.into_write() {
            Some(never) => match never {},
            None => out.clear(),
        },
    }
    out
}

/// Decodes the state of `part`; trailing bytes are an error.
pub fn decode<'a, S: minicbor::Decode<'a, ()>>(
    part: &'static str,
    bytes: &'a [u8],
) -> Result<S, PersistError> {
    let damaged = |reason: String| PersistError::Damaged { part, reason };
    let mut decoder = minicbor::Decoder::new(bytes);
    let state = decoder.decode().map_err(|e| damaged(e.to_string()))?;
    if decoder.position() != bytes.len() {
        return Err(damaged("more bytes than expected".to_string()));
    }
    Ok(state)
}
