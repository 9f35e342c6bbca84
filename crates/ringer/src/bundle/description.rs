//! The TOML file that describes a guest of a bundle.

use std::path::PathBuf;
use std::str::FromStr;

use ringer_bundle::Mac;
use serde::Deserialize;

use crate::size::Size;

/// A guest. Keys that `ringer run` has too mean the same.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestDescription {
    /// The guest's name; without it that of the file.
    pub name: Option<String>,
    /// The console's name; without it that of the guest.
    pub console: Option<String>,
    /// What starts in S-mode, or is handed over by the firmware.
    pub kernel: Option<PathBuf>,
    /// What starts in M-mode.
    pub bios: Option<PathBuf>,
    /// The initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    #[serde(default)]
    pub append: String,
    /// Bytes of RAM.
    #[serde(default = "default_memory")]
    pub memory: Size,
    /// Number of harts.
    #[serde(default = "default_harts")]
    pub harts: usize,
    /// Share of CPU.
    #[serde(default = "default_share")]
    pub share: u32,
    /// Disks, in the order in which the guest sees them.
    #[serde(default)]
    pub disk: Vec<DiskDescription>,
    /// Network cards.
    #[serde(default)]
    pub network: Vec<NetworkDescription>,
}

fn default_memory() -> Size {
    Size(256 << 20)
}

fn default_harts() -> usize {
    1
}

fn default_share() -> u32 {
    ringer_bundle::DEFAULT_SHARE
}

/// A disk: either an image or a range of the real machine's disk.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskDescription {
    /// The image.
    pub path: Option<PathBuf>,
    /// The range.
    pub host: Option<HostRange>,
    /// Whether the guest may write.
    #[serde(default)]
    pub writable: bool,
}

/// A range of one of the real machine's disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostRange {
    /// Which disk.
    #[serde(default)]
    pub disk: u32,
    /// Where it starts.
    pub offset: Size,
    /// How long it is.
    pub size: Size,
}

/// A network card.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkDescription {
    /// The number of the switch.
    #[serde(default)]
    pub switch: u32,
    /// The card's address.
    pub mac: Option<MacText>,
    /// Whether the switch leads to the real machine's card.
    #[serde(default)]
    pub bridged: bool,
}

/// A hardware address as people write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct MacText(pub Mac);

/// Why a text is not a hardware address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{0}' is not a hardware address; write it as 02:00:00:00:00:01")]
pub struct NotAMac(String);

impl FromStr for MacText {
    type Err = NotAMac;
    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let not_a_mac = || NotAMac(text.to_string());
        let parts = text.split(':').map(|part| match part.len() {
            2 if part.bytes().all(|b| b.is_ascii_hexdigit()) => u8::from_str_radix(part, 16).ok(),
            _ => None,
        });
        let bytes: Option<Vec<u8>> = parts.collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(|bytes| Self(Mac(bytes))).ok_or_else(not_a_mac)
    }
}

impl TryFrom<String> for MacText {
    type Error = NotAMac;
    fn try_from(text: String) -> Result<Self, NotAMac> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        toml::from_str::<GuestDescription>(text)
            .unwrap_err()
            .message()
            .to_string()
    }

    #[test]
    fn all_keys() {
        let guest: GuestDescription = toml::from_str(
            "name = 'web'\nconsole = 'tty'\nkernel = 'Image'\nbios = 'fw'\ninitrd = 'i'\n\
             append = 'quiet'\nmemory = '64M'\nharts = 2\nshare = 50\n\
             [[disk]]\npath = 'a.img'\nwritable = true\n\
             [[disk]]\nhost = { disk = 1, offset = '1M', size = 4096 }\n\
             [[network]]\nswitch = 3\nmac = '02:00:00:00:0a:FF'\nbridged = true\n",
        )
        .unwrap();
        assert_eq!(
            (guest.memory, guest.harts, guest.share),
            (Size(64 << 20), 2, 50)
        );
        assert!(guest.disk[0].writable && !guest.disk[1].writable);
        let range = HostRange {
            disk: 1,
            offset: Size(1 << 20),
            size: Size(4096),
        };
        assert_eq!(guest.disk[1].host, Some(range));
        assert_eq!(
            guest.network[0].mac,
            Some(MacText(Mac([2, 0, 0, 0, 10, 255])))
        );
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let guest: GuestDescription = toml::from_str("kernel = 'Image'\n[[network]]\n").unwrap();
        assert_eq!(
            (guest.memory, guest.harts, guest.share),
            (Size(256 << 20), 1, 100)
        );
        assert_eq!((guest.network[0].switch, guest.network[0].mac), (0, None));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, needle) in [
            (
                "kernal = 'x'",
                "unknown field `kernal`, expected one of `name`",
            ),
            ("[[disk]]\npath = 'x'\nro = true", "`writable`"),
            ("[[disk]]\nhost = { offset = 0 }", "size"),
            ("memory = 'much'", "'much' is not a size"),
            ("harts = -1", "-1"),
            (
                "[[network]]\nmac = '02:00'",
                "'02:00' is not a hardware address",
            ),
            (
                "[[network]]\nmac = '+2:00:00:00:00:01'",
                "not a hardware address",
            ),
            (
                "[[network]]\nmac = '02:00:00:00:00:01:02'",
                "not a hardware address",
            ),
        ] {
            let refusal = refusal(text);
            assert!(refusal.contains(needle), "{text}: {refusal}");
        }
    }
}
