//! The manifest: what machine was saved, and which files hold it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{OLDEST, VERSION};
use crate::disk::format::ImageFormat;

/// The machine that was saved, as far as it must be built again.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Number of harts.
    pub harts: usize,
    /// Bytes of RAM.
    pub memory: u64,
    /// The kernel command line.
    pub append: String,
    /// One thread and virtual time.
    pub deterministic: bool,
    /// Million instructions in a second of virtual time; 100 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mips: Option<u64>,
    /// Semihosting calls are answered.
    pub semihosting: bool,
    /// The monitor answers SBI calls: the machine was booted without firmware.
    pub sbi: bool,
    /// There is a generation id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generation: bool,
    /// There is a power button.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub button: bool,
    /// There are channels to an agent in the guest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agent: bool,
    /// How many network cards there are.
    pub nets: usize,
    /// What they are connected to, as behind `--net`; older versions did not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<String>,
    /// Published ports, as behind `--publish`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<String>,
    /// HTIF's `tohost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tohost: Option<u64>,
    /// HTIF's `fromhost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fromhost: Option<u64>,
    /// Start of the conformance signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin_signature: Option<u64>,
    /// End of the conformance signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_signature: Option<u64>,
    /// The guest had said that it was ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ready: bool,
    /// The disks, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<SavedDisk>,
    /// The shared folders, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<SavedShare>,
}

/// A shared folder of a saved machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedShare {
    /// The folder.
    pub path: PathBuf,
    /// The tag.
    pub tag: String,
    /// Changes are refused.
    pub read_only: bool,
}

/// A disk of a saved machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedDisk {
    /// The image.
    pub path: PathBuf,
    /// Its size in bytes.
    pub len: u64,
    /// Writes are refused.
    pub read_only: bool,
    /// Writes are in the saved machine, not in the image.
    pub overlay: bool,
    /// What kind of image it was said to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ImageFormat>,
    /// The overlay that keeps its writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<PathBuf>,
    /// The serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
}

/// One file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its size.
    pub bytes: u64,
    /// CRC-32 of its content.
    pub crc32: u32,
}

/// All of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format's number.
    pub version: u32,
    /// The Ringer that wrote it.
    pub written_by: String,
    /// The machine.
    pub machine: Description,
    /// When, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_at: Option<u64>,
    /// The files that are read as a whole, by name.
    pub parts: BTreeMap<String, Part>,
    /// The memory, from the bottom up; format 1 has it in a part instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerFiles>,
}

/// The files of one layer of memory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerFiles {
    /// The pages, each at its place.
    pub data: String,
    /// The part that says which.
    pub table: String,
}

const CHECKSUM: &str = "# crc32 of the lines above: ";

impl Manifest {
    /// A manifest of this version.
    pub fn new(
        machine: Description,
        parts: BTreeMap<String, Part>,
        layers: Vec<LayerFiles>,
    ) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            version: VERSION,
            written_by: concat!("ringer ", env!("CARGO_PKG_VERSION")).to_string(),
            saved_at: now.ok().map(|since| since.as_secs()),
            machine,
            parts,
            layers,
        }
    }
    /// As text, with its own checksum in the last line.
    pub fn to_text(&self) -> Result<String, String> {
        let body = toml::to_string(self).map_err(|error| error.to_string())?;
        let checksum = crc32fast::hash(body.as_bytes());
        Ok(format!("{body}{CHECKSUM}{checksum:08x}\n"))
    }
    /// Reads a text, whatever it holds.
    pub fn from_text(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct VersionOnly {
            version: u32,
        }
        let (body, checksum) = text
            .rsplit_once(CHECKSUM)
            .ok_or("the manifest has no checksum")?;
        if checksum != format!("{:08x}\n", crc32fast::hash(body.as_bytes())) {
            return Err("the manifest was changed".to_string());
        }
        let version = toml::from_str::<VersionOnly>(body).map_err(|e| one_line(&e))?;
        if !(OLDEST..=VERSION).contains(&version.version) {
            return Err(format!(
                "it has format {}, and this Ringer reads formats {OLDEST} to {VERSION}",
                version.version
            ));
        }
        toml::from_str(body).map_err(|e| one_line(&e))
    }
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}
