//! What a guest in a bundle may be: the same rules for who writes a bundle and who reads it.

use alloc::string::String;
use alloc::vec::Vec;

use ringer_hart::PAGE_SIZE;
use ringer_machine::boot::Part;
use ringer_machine::memory_map::{MAX_HARTS, RAM_BASE, VIRTIO_SLOTS};

use crate::guest::{Disk, Guest, Mac, SECTOR};
use crate::program::ProgramError;
use crate::read::BundleError;

/// The most guests in a bundle.
pub const MAX_GUESTS: usize = 64;
/// The longest name of a guest or a console, in bytes.
pub const MAX_NAME: usize = 32;
/// The least RAM of a guest: a bare test program fits.
pub const MIN_MEMORY: u64 = 1 << 20;
/// The largest share of CPU.
pub const MAX_SHARE: u32 = 10_000;
/// The longest command line, in bytes.
pub const MAX_COMMAND_LINE: usize = 4096;
/// The most disks and network cards of a guest: one virtio slot is for the source of entropy.
pub const MAX_DEVICES: usize = VIRTIO_SLOTS - 1;
/// The most disks of the host that guests can have parts of.
pub const MAX_HOST_DISKS: u32 = 64;
/// The most switches.
pub const MAX_SWITCHES: u32 = 64;

/// What a guest cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GuestError {
    /// A name that cannot be typed at a prompt.
    #[error("a name has 1 to {MAX_NAME} letters, digits, '.', '_' or '-'")]
    Name,
    /// As [`GuestError::Name`], of the console.
    #[error("its console's name must have 1 to {MAX_NAME} letters, digits, '.', '_' or '-'")]
    Console,
    /// Memory of an impossible size.
    #[error("its memory is whole pages of 4 KiB, 1 MiB or more, not {0} bytes")]
    Memory(u64),
    /// No hart, or too many.
    #[error("a guest has 1 to {MAX_HARTS} harts, not {0}")]
    Harts(usize),
    /// No share, or an absurd one.
    #[error("its share of CPU is 1 to {MAX_SHARE}, not {0}")]
    Share(u32),
    /// A command line that does not fit into a device tree.
    #[error("its command line must be at most {MAX_COMMAND_LINE} bytes, without NUL")]
    CommandLine,
    /// Neither firmware nor kernel.
    #[error("there is nothing to start: neither firmware nor a kernel")]
    Nothing,
    /// Firmware or kernel is not a program.
    #[error("its {part} cannot be started: {why}")]
    Program {
        /// Which one.
        part: Part,
        /// What is wrong with it.
        why: ProgramError,
    },
    /// The initial RAM disk is empty or larger than the guest.
    #[error("its initial RAM disk has {size} bytes, and the guest {memory} of memory")]
    Initrd {
        /// The size of it.
        size: u64,
        /// The guest's memory.
        memory: u64,
    },
    /// More devices than slots.
    #[error("{0} disks and network cards are too many; a guest has room for {MAX_DEVICES}")]
    Devices(usize),
    /// A disk that is empty, or not whole sectors.
    #[error("its disk {0} must be whole sectors of {SECTOR} bytes, at least one")]
    DiskSize(usize),
    /// A disk on an absurd disk of the host.
    #[error("its disk {0} is on the host's disk {1}; the last possible one is {last}", last = MAX_HOST_DISKS - 1)]
    HostDisk(usize, u32),
    /// A network card at a switch that cannot be.
    #[error("its network card {0} is at switch {1}; the last possible one is {last}", last = MAX_SWITCHES - 1)]
    Switch(usize, u32),
    /// A network card with an address that no card has.
    #[error("its network card {0} cannot have the address {1}: it is zero or that of a group")]
    Mac(usize, Mac),
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

impl Guest<'_> {
    /// Checks everything that does not depend on the machine or on other guests.
    pub fn check(&self) -> Result<(), GuestError> {
        if !is_name(self.name) {
            return Err(GuestError::Name);
        }
        if !is_name(self.console) {
            return Err(GuestError::Console);
        }
        let memory = self.memory;
        if !(MIN_MEMORY..=(1 << 56) - RAM_BASE.0).contains(&memory)
            || !memory.is_multiple_of(PAGE_SIZE)
        {
            return Err(GuestError::Memory(memory));
        }
        if !(1..=MAX_HARTS).contains(&self.harts) {
            return Err(GuestError::Harts(self.harts));
        }
        if !(1..=MAX_SHARE).contains(&self.share) {
            return Err(GuestError::Share(self.share));
        }
        if self.command_line.len() > MAX_COMMAND_LINE || self.command_line.contains('\0') {
            return Err(GuestError::CommandLine);
        }
        if self.firmware.is_none() && self.kernel.is_none() {
            return Err(GuestError::Nothing);
        }
        for (part, program) in [
            (Part::Firmware, &self.firmware),
            (Part::Kernel, &self.kernel),
        ] {
            if let Some(program) = program {
                let checked = program.check(memory);
                checked.map_err(|why| GuestError::Program { part, why })?;
            }
        }
        let size = self.initrd.map(|bytes| bytes.len() as u64);
        if let Some(size) = size.filter(|size| !(1..=memory).contains(size)) {
            return Err(GuestError::Initrd { size, memory });
        }
        self.check_devices()
    }

    fn check_devices(&self) -> Result<(), GuestError> {
        let devices = self.disks.len().saturating_add(self.ports.len());
        if devices > MAX_DEVICES {
            return Err(GuestError::Devices(devices));
        }
        for (number, disk) in self.disks.iter().enumerate() {
            let (start, size) = match *disk {
                Disk::Ram { content, .. } => (0, content.len() as u64),
                Disk::Host { disk, .. } if disk >= MAX_HOST_DISKS => {
                    return Err(GuestError::HostDisk(number, disk));
                }
                Disk::Host { offset, size, .. } => (offset, size),
            };
            let whole = start.is_multiple_of(SECTOR) && size.is_multiple_of(SECTOR);
            if !whole || size == 0 || start.checked_add(size).is_none() {
                return Err(GuestError::DiskSize(number));
            }
        }
        for (number, port) in self.ports.iter().enumerate() {
            if port.switch >= MAX_SWITCHES {
                return Err(GuestError::Switch(number, port.switch));
            }
            if let Some(mac) = port.mac.filter(|mac| !mac.is_usable()) {
                return Err(GuestError::Mac(number, mac));
            }
        }
        Ok(())
    }
}

/// Checks each guest, and what must differ between them.
pub fn check_all(guests: &[Guest<'_>]) -> Result<(), BundleError> {
    if !(1..=MAX_GUESTS).contains(&guests.len()) {
        return Err(BundleError::Guests(guests.len()));
    }
    let mut names = Vec::new();
    let mut consoles = Vec::new();
    let mut addresses = Vec::new();
    for (number, guest) in guests.iter().enumerate() {
        guest.check().map_err(|why| BundleError::Guest {
            number,
            name: if is_name(guest.name) {
                String::from(guest.name)
            } else {
                String::new()
            },
            why,
        })?;
        names.push(guest.name);
        consoles.push(guest.console);
        addresses.extend((0..guest.ports.len()).filter_map(|port| guest.mac(port)));
    }
    if let Some(name) = twice(&mut names) {
        return Err(BundleError::SameName(String::from(name)));
    }
    if let Some(name) = twice(&mut consoles) {
        return Err(BundleError::SameConsole(String::from(name)));
    }
    match twice(&mut addresses) {
        Some(mac) => Err(BundleError::SameMac(mac)),
        None => Ok(()),
    }
}

/// A value that is there more than once.
fn twice<T: Ord + Copy>(values: &mut [T]) -> Option<T> {
    values.sort_unstable();
    let pair = values.windows(2).find(|pair| pair.first() == pair.last());
    pair.and_then(|pair| pair.first()).copied()
}
