//! What a recorded machine was made of, so that the same can be made again: its description, and
//! checksums of its files.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use minicbor::{Decode, Encode};

use crate::args::ConsoleKind;
use crate::config::{DiskSpec, VmConfig};
use crate::disk::format::ImageFormat;
use crate::exit::Failure;

/// How much of a large file is looked at: pieces of this size…
const PIECE: u64 = 64 << 10;
/// …so many of them, spread over it.
const PIECES: u64 = 256;

/// A file that a machine was made of.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
struct Source {
    #[n(0)]
    path: String,
    #[n(1)]
    len: u64,
    /// Of the whole, or of pieces of it if it is large.
    #[n(2)]
    sum: u32,
}

impl Source {
    fn of(path: &Path) -> Result<Self, Failure> {
        let look = || -> io::Result<Self> {
            let mut file = File::open(path)?;
            let len = file.seek(SeekFrom::End(0))?;
            let mut sum = crc32fast::Hasher::new();
            let mut piece = Vec::new();
            let step = (len / PIECES).max(PIECE);
            for at in (0..len).step_by(step as usize) {
                file.seek(SeekFrom::Start(at))?;
                piece.clear();
                (&mut file).take(PIECE).read_to_end(&mut piece)?;
                sum.update(&piece);
            }
            Ok(Self {
                path: std::path::absolute(path)?.to_string_lossy().into_owned(),
                len,
                sum: sum.finalize(),
            })
        };
        look().map_err(|error| {
            Failure::monitor(format_args!("cannot read {}: {error}", path.display()))
        })
    }
    /// The path, if it is still the same file there.
    fn find(&self) -> Result<PathBuf, Failure> {
        let path = Path::new(&self.path);
        if Self::of(path)? == *self {
            return Ok(path.into());
        }
        Err(Failure::monitor(format_args!(
            "{} is not what it was when the run was recorded; put the old file back to replay it",
            path.display()
        )))
    }
}

/// A disk.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
struct Disk {
    #[n(0)]
    source: Source,
    #[n(1)]
    read_only: bool,
    #[n(2)]
    overlay: bool,
    #[n(3)]
    serial: Option<String>,
    /// If it was said what kind of image it is: 0 raw, 1 qcow2.
    #[n(4)]
    format: Option<u8>,
}

/// A recorded machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Origin {
    #[n(0)]
    harts: u64,
    #[n(1)]
    memory: u64,
    #[n(2)]
    mips: u64,
    #[n(3)]
    append: String,
    #[n(4)]
    kernel: Option<Source>,
    #[n(5)]
    initrd: Option<Source>,
    #[n(6)]
    bios: Option<Source>,
    #[n(7)]
    disks: Vec<Disk>,
    #[n(8)]
    semihosting: bool,
    /// 0 the serial port, 1 the virtio console, 2 none.
    #[n(9)]
    console: u8,
    #[n(10)]
    resets: Option<u64>,
}

impl Origin {
    /// What `config` describes.
    pub fn of(config: &VmConfig) -> Result<Self, Failure> {
        let source = |path: &Option<PathBuf>| path.as_deref().map(Source::of).transpose();
        let disk = |disk: &DiskSpec| {
            if disk.kept.is_some() || !disk.read_only && !disk.overlay {
                return Err(Failure::usage(format_args!(
                    "--record: the guest may change the disk {}, and a replay would find it changed; add ,overlay or ,ro to it",
                    disk.path.display()
                )));
            }
            Ok(Disk {
                source: Source::of(&disk.path)?,
                read_only: disk.read_only,
                overlay: disk.overlay,
                serial: disk.serial.clone(),
                format: disk
                    .format
                    .map(|format| u8::from(format == ImageFormat::Qcow2)),
            })
        };
        Ok(Self {
            harts: config.harts as u64,
            memory: config.memory,
            mips: config.mips,
            append: config.append.clone(),
            kernel: source(&config.kernel)?,
            initrd: source(&config.initrd)?,
            bios: source(&config.bios)?,
            disks: config.disks.iter().map(disk).collect::<Result<_, _>>()?,
            semihosting: config.semihosting,
            console: match config.console {
                ConsoleKind::Stdio => 0,
                ConsoleKind::Virtio => 1,
                ConsoleKind::None => 2,
            },
            resets: config.resets,
        })
    }
    /// Makes `config` describe the recorded machine. Its files must be what they were.
    pub fn adopt(&self, config: &mut VmConfig) -> Result<(), Failure> {
        crate::config::check_shape(self.harts, self.memory)?;
        config.harts = self.harts as usize;
        config.memory = self.memory;
        config.mips = crate::config::check_mips(Some(self.mips))?;
        config.append.clone_from(&self.append);
        let find = |source: &Option<Source>| source.as_ref().map(Source::find).transpose();
        config.kernel = find(&self.kernel)?;
        config.initrd = find(&self.initrd)?;
        config.bios = find(&self.bios)?;
        config.disks = Vec::new();
        for disk in &self.disks {
            config.disks.push(DiskSpec {
                path: disk.source.find()?,
                // Whatever the recording says, a replay changes no disk.
                read_only: disk.read_only || !disk.overlay,
                format: disk.format.map(|format| match format {
                    0 => ImageFormat::Raw,
                    _ => ImageFormat::Qcow2,
                }),
                overlay: disk.overlay,
                kept: None,
                serial: disk.serial.clone(),
            });
        }
        config.semihosting = self.semihosting;
        config.console = match self.console {
            0 => ConsoleKind::Stdio,
            1 => ConsoleKind::Virtio,
            _ => ConsoleKind::None,
        };
        config.resets = self.resets;
        Ok(())
    }
}
