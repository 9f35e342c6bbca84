//! A described guest with the contents of the files that it names.

use std::path::{Path, PathBuf};

use ringer_bundle::{Disk, Guest, NetworkPort, SECTOR};

use super::description::{DiskDescription, GuestDescription, HostRange};
use crate::boot::{firmware_program, kernel_program};
use crate::config::read_toml;
use crate::disk::layers::{self, Opening};
use crate::exit::Failure;
use crate::loader::{self, Payload};
use crate::size::Size;

/// A guest, ready to be packed.
pub struct GuestFiles {
    /// The file that describes it, for messages.
    path: PathBuf,
    name: String,
    description: GuestDescription,
    firmware: Option<Payload>,
    kernel: Option<Payload>,
    initrd: Option<Vec<u8>>,
    disks: Vec<DiskContent>,
}

/// What is behind a disk.
enum DiskContent {
    Image(Vec<u8>),
    Range(HostRange),
}

impl GuestFiles {
    /// Reads the description at `path`, and all that it names.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let description: GuestDescription = read_toml(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let here = |why: &dyn std::fmt::Display| {
            Failure::monitor(format_args!("{}: {why}", path.display()))
        };
        let limit = description.memory.0;
        let payload = |file: &Option<PathBuf>, read: Loader| {
            let file = file.as_ref().map(|file| folder.join(file));
            let payload = file.map(|file| read(&file, limit)).transpose();
            payload.map_err(|error| here(&error))
        };
        let firmware = payload(&description.bios, loader::firmware)?;
        // What a firmware starts may be a boot loader, which is a raw binary.
        let kernel = match firmware {
            Some(_) => payload(&description.kernel, loader::firmware)?,
            None => payload(&description.kernel, loader::kernel)?,
        };
        let initrd = description.initrd.as_ref();
        let initrd = initrd
            .map(|file| loader::read(&folder.join(file), limit))
            .transpose()
            .map_err(|error| here(&error))?;
        let disks = description.disk.iter().enumerate().map(|(number, disk)| {
            read_disk(disk, folder).map_err(|why| here(&format_args!("disk {number}: {why}")))
        });
        let disks = disks.collect::<Result<_, _>>()?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = description.name.clone();
        Ok(Self {
            path: path.to_path_buf(),
            name: name.unwrap_or_else(|| stem.into_owned()),
            description,
            firmware,
            kernel,
            initrd,
            disks,
        })
    }

    /// The guest as a bundle holds it.
    pub fn guest(&self) -> Result<Guest<'_>, Failure> {
        let description = &self.description;
        let disks = description.disk.iter().zip(&self.disks);
        let disks = disks.map(|(described, content)| match content {
            DiskContent::Image(content) => Disk::Ram {
                content,
                writable: described.writable,
            },
            DiskContent::Range(range) => Disk::Host {
                disk: range.disk,
                offset: range.offset.0,
                size: range.size.0,
                writable: described.writable,
            },
        });
        let ports = description.network.iter().map(|card| NetworkPort {
            switch: card.switch,
            mac: card.mac.map(|mac| mac.0),
            bridged: card.bridged,
        });
        let guest = Guest {
            name: &self.name,
            console: description.console.as_deref().unwrap_or(&self.name),
            memory: description.memory.0,
            harts: description.harts,
            share: description.share,
            command_line: &description.append,
            firmware: self.firmware.as_ref().map(firmware_program),
            kernel: self.kernel.as_ref().map(kernel_program),
            initrd: self.initrd.as_deref(),
            disks: disks.collect(),
            ports: ports.collect(),
        };
        guest
            .check()
            .map_err(|why| Failure::usage(format_args!("{}: {why}", self.path.display())))?;
        Ok(guest)
    }
}

/// How a program is read from a file, for a guest with so many bytes of memory.
type Loader = fn(&Path, u64) -> Result<Payload, loader::LoadError>;

fn read_disk(disk: &DiskDescription, folder: &Path) -> Result<DiskContent, String> {
    match (&disk.path, disk.host) {
        (Some(path), None) => read_image(&folder.join(path)).map(DiskContent::Image),
        (None, Some(range)) => Ok(DiskContent::Range(range)),
        _ => Err(
            "give either `path`, an image for the bundle, or `host`, a range of the real \
             machine's disk"
                .to_string(),
        ),
    }
}

/// Reads a disk image, filled up to whole sectors.
fn read_image(path: &Path) -> Result<Vec<u8>, String> {
    let opening = Opening {
        read_only: true,
        ..Opening::default()
    };
    let image = layers::open(path, opening).map_err(|error| error.to_string())?;
    let mut disk = image.into_backend();
    let len = disk.len();
    let memory = crate::memory::host_total();
    if len > memory {
        return Err(format!(
            "{} has {}, more than this computer's memory; put it onto a disk of the real machine \
             and give that range as `host`",
            path.display(),
            Size(len)
        ));
    }
    let mut content = vec![0; len.next_multiple_of(SECTOR) as usize];
    let filled = content.get_mut(..len as usize).unwrap_or_default();
    disk.read(0, filled)
        .map_err(|_| format!("cannot read {}", path.display()))?;
    Ok(content)
}
