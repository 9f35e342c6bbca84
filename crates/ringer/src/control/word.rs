//! Addresses and registers in JSON: text such as "0x80200000", since JSON's own numbers are exact
//! only up to 2^53.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// 64 bits. Written as hexadecimal text; read from that or from a plain number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ToSchema)]
#[schema(value_type = String, example = "0x80200000")]
pub struct Word(pub u64);

impl Word {
    /// Reads `123` or `0x7b`; underscores may group hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(&hex.replace('_', ""), 16),
            None => text.parse(),
        }
        .ok()
        .map(Self)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:#x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Word;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number such as \"0x80200000\"")
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Word, E> {
                Ok(Word(value))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
                Word::parse(text)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        from.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_64_bits_survive_json() {
        let word = Word(u64::MAX - 1);
        let text = serde_json::to_string(&word).unwrap();
        assert_eq!(text, "\"0xfffffffffffffffe\"");
        assert_eq!(serde_json::from_str::<Word>(&text).unwrap(), word);
        assert_eq!(serde_json::from_str::<Word>("4096").unwrap(), Word(4096));
        for bad in [
            "\"\"",
            "\"0x\"",
            "\"0xg\"",
            "-1",
            "1.5",
            "\"0x1ffffffffffffffff\"",
            "null",
        ] {
            assert!(serde_json::from_str::<Word>(bad).is_err(), "{bad}");
        }
    }
}
