//! Amounts of memory as people write them: `512M`, `2G`, `1073741824`.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size(pub u64);

const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

/// Why a text is not a size.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{0}' is not a size; write a number with K, M, G or T, such as 512M or 2G")]
pub struct NotASize(String);

impl FromStr for Size {
    type Err = NotASize;
    fn from_str(text: &str) -> Result<Self, NotASize> {
        let not_a_size = || NotASize(text.to_string());
        let upper = text.trim().to_ascii_uppercase();
        let number = upper
            .strip_suffix("IB")
            .or_else(|| upper.strip_suffix('B'))
            .unwrap_or(&upper);
        let (digits, shift) = UNITS
            .iter()
            .find_map(|&(unit, shift)| number.strip_suffix(unit).map(|rest| (rest, shift)))
            .unwrap_or((number, 0));
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(not_a_size());
        }
        let count: u64 = digits.parse().map_err(|_| not_a_size())?;
        count
            .checked_mul(1 << shift)
            .map(Self)
            .ok_or_else(not_a_size)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS
            .iter()
            .rev()
            .find(|&&(_, shift)| self.0 >> shift != 0 && self.0 & ((1 << shift) - 1) == 0);
        if let Some(&(unit, shift)) = exact {
            return write!(f, "{} {unit}iB", self.0 >> shift);
        }
        match UNITS.iter().rev().find(|&&(_, shift)| self.0 >> shift != 0) {
            Some(&(unit, shift)) => {
                let tenths = (self.0 >> (shift - 10)) * 10 / 1024;
                write!(f, "{}.{} {unit}iB", tenths / 10, tenths % 10)
            }
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"2G\", or a number of bytes")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes)
                    .map(Size)
                    .map_err(|_| E::custom("a size cannot be negative"))
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("2G", 2 << 30),
            ("512m", 512 << 20),
            ("64KiB", 64 << 10),
            ("1T", 1 << 40),
            ("4096", 4096),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in [
            "",
            "G",
            "-1",
            "1.5G",
            "2X",
            "99999999999999999999",
            "99999999T",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn shows_the_largest_fitting_unit() {
        assert_eq!(Size(2 << 30).to_string(), "2 GiB");
        assert_eq!(Size(1536 << 20).to_string(), "1536 MiB");
        assert_eq!(Size((3 << 30) + 1).to_string(), "3.0 GiB");
        assert_eq!(Size(17).to_string(), "17 bytes");
    }
}
