//! Putting a guest into RAM, and the harts at its start.

use ringer_bundle::{Placement, Program, Segment};
use ringer_hart::{Bus, GuestPhys, Hart};
use ringer_machine::board::Board;
use ringer_machine::boot::{Images, Start, prepare};
use ringer_machine::device_tree::Guest;
use ringer_machine::memory_map::{RAM_BASE, ROM};

use crate::config::VmConfig;
use crate::exit::Failure;
use crate::loader::{self, Payload, Symbols};
use crate::machine::boot_seed;
use crate::snapshot::{Reader, SnapshotError, Writer};

/// Kernels with fixed places are put here when they may be moved: behind the room for firmware.
const KERNEL_BASE: GuestPhys = GuestPhys(RAM_BASE.0 + (2 << 20));

/// Names of the parts of a saved machine that hold what it was booted from.
mod part {
    pub const FIRMWARE: &str = "boot-firmware";
    pub const KERNEL: &str = "boot-kernel";
    pub const INITRD: &str = "boot-initrd";
}

/// What a saved payload takes beside its bytes: addresses and sizes of its segments.
const PAYLOAD_OVERHEAD: u64 = 64 << 10;

/// Everything that is put into RAM, kept for the guest's resets.
pub struct BootFiles {
    firmware: Option<Payload>,
    kernel: Option<Payload>,
    initrd: Option<Vec<u8>>,
    command_line: String,
    deterministic: bool,
    semihosting: bool,
}

/// A guest in RAM.
pub struct Booted {
    /// The harts, all at the reset vector.
    pub harts: Vec<Hart>,
    /// Where and how they begin: a kernel without firmware is started by the SBI.
    pub start: Start,
}

impl BootFiles {
    /// Reads the files that `config` names.
    pub fn read(config: &VmConfig) -> Result<Self, Failure> {
        let limit = config.memory;
        let firmware = config
            .bios
            .as_ref()
            .map(|path| loader::firmware(path, limit))
            .transpose()
            .map_err(Failure::monitor)?;
        // What a firmware starts may be a boot loader, which is a raw binary.
        let read_kernel = if firmware.is_some() {
            loader::firmware
        } else {
            loader::kernel
        };
        let kernel = config
            .kernel
            .as_ref()
            .map(|path| read_kernel(path, limit))
            .transpose()
            .map_err(Failure::monitor)?;
        let initrd = config
            .initrd
            .as_ref()
            .map(|path| loader::read(path, limit))
            .transpose()
            .map_err(Failure::monitor)?;
        Ok(Self {
            firmware,
            kernel,
            initrd,
            command_line: config.append.clone(),
            deterministic: config.deterministic,
            semihosting: config.semihosting,
        })
    }
    /// A kernel that comes with Ringer.
    pub fn embedded(kernel: Payload, config: &VmConfig) -> Self {
        Self {
            firmware: None,
            kernel: Some(kernel),
            initrd: None,
            command_line: config.append.clone(),
            deterministic: config.deterministic,
            semihosting: config.semihosting,
        }
    }
    /// Writes them into a saved machine, which then can be reset without the files.
    pub fn save(&self, writer: &mut Writer) -> Result<(), SnapshotError> {
        for (name, payload) in [
            (part::FIRMWARE, &self.firmware),
            (part::KERNEL, &self.kernel),
        ] {
            if let Some(payload) = payload {
                writer.part(name, &ringer_hart::persist::encode(payload))?;
            }
        }
        self.initrd
            .iter()
            .try_for_each(|bytes| writer.part(part::INITRD, bytes))
    }
    /// Has a machine that is being saved again hand on what it was once booted from.
    pub fn pass_on(from: &Reader, writer: &mut Writer) -> Result<(), SnapshotError> {
        [part::FIRMWARE, part::KERNEL, part::INITRD]
            .iter()
            .try_for_each(|name| writer.same_part(name, from))
    }
    /// Reads them from a saved machine whose description `config` has adopted. There are none
    /// in machines that older versions of Ringer saved.
    pub fn restore(reader: &Reader, config: &VmConfig) -> Result<Option<Self>, SnapshotError> {
        let payload = |name| -> Result<Option<Payload>, SnapshotError> {
            let limit = config.memory.saturating_add(PAYLOAD_OVERHEAD);
            let bytes = reader.optional_part(name, limit)?;
            let Some(bytes) = bytes else {
                return Ok(None);
            };
            let payload = ringer_hart::persist::decode("a boot file", &bytes)
                .map_err(|error| reader.damaged(format_args!("{name}: {error}")))?;
            match payload {
                Payload::Elf(elf) if !elf.fits(config.memory) => {
                    Err(reader.damaged(format_args!("{name} does not fit into RAM")))
                }
                payload => Ok(Some(payload)),
            }
        };
        let files = Self {
            firmware: payload(part::FIRMWARE)?,
            kernel: payload(part::KERNEL)?,
            initrd: reader.optional_part(part::INITRD, config.memory)?,
            command_line: config.append.clone(),
            deterministic: config.deterministic,
            semihosting: config.semihosting,
        };
        if files.firmware.is_none() && files.kernel.is_none() {
            return Ok(None);
        }
        if files.needs_sbi() != reader.machine().sbi {
            return Err(reader.damaged("its boot files are not those of its description"));
        }
        Ok(Some(files))
    }
    /// The symbols by which a test program talks to its host.
    pub fn symbols(&self) -> Symbols {
        let of = |payload: &Option<Payload>| match payload {
            Some(Payload::Elf(elf)) => Some(elf.symbols),
            _ => None,
        };
        of(&self.firmware)
            .or_else(|| of(&self.kernel))
            .unwrap_or_default()
    }
    /// Puts everything into RAM and makes the harts.
    pub fn boot(&self, board: &Board) -> Result<Booted, Failure> {
        let firmware = self.firmware.as_ref().map(firmware_program);
        let kernel = self.kernel.as_ref().map(kernel_program);
        let images = Images {
            firmware: firmware.as_ref().map(Program::image),
            kernel: kernel.as_ref().map(Program::image),
            initrd: self.initrd.as_ref().map(|bytes| bytes.len() as u64),
        };
        let seed = boot_seed(self.deterministic)?;
        let guest = Guest {
            command_line: &self.command_line,
            initrd: None,
            seed: &seed,
        };
        let (layout, start) = prepare(board, &images, &guest).map_err(Failure::monitor)?;
        let ram = board.ram();
        for (program, placed) in [(firmware, layout.firmware), (kernel, layout.kernel)] {
            if let (Some(program), Some(placed)) = (program, placed) {
                program.put(ram, placed).ok_or_else(misplaced)?;
            }
        }
        if let (Some(bytes), Some(span)) = (&self.initrd, layout.initrd) {
            ram.write(span.base, bytes).ok_or_else(misplaced)?;
        }
        let harts = (0..board.harts()).map(|id| {
            let mut hart = Hart::new(id, ROM.base.0);
            hart.services.semihosting = self.semihosting;
            hart
        });
        Ok(Booted {
            harts: harts.collect(),
            start,
        })
    }
    /// Whether the monitor is the guest's SBI: there is no firmware that would be.
    pub fn needs_sbi(&self) -> bool {
        self.firmware.is_none()
    }
}

/// The layout and the images disagree, which their making excludes.
fn misplaced() -> Failure {
    Failure::monitor("the guest's files do not fit into its RAM; give more with --memory")
}

/// Firmware as it lies in memory.
pub fn firmware_program(payload: &Payload) -> Program<'_> {
    flatten(payload, RAM_BASE)
}

/// A kernel as it lies in memory.
pub fn kernel_program(payload: &Payload) -> Program<'_> {
    flatten(payload, KERNEL_BASE)
}

/// An ELF goes where it says. One that may be moved and is linked below RAM goes to `base`.
fn flatten(payload: &Payload, base: GuestPhys) -> Program<'_> {
    let elf = match payload {
        Payload::Raw(bytes) => return Program::movable(bytes, 0),
        Payload::Image(image) => return Program::movable(&image.bytes, image.size),
        Payload::Elf(elf) => elf,
    };
    let start = elf.segments.iter().map(|s| s.address).min().unwrap_or(0);
    let bias = if elf.relocatable && start < RAM_BASE.0 {
        base.0.wrapping_sub(start & !(ringer_hart::PAGE_SIZE - 1))
    } else {
        0
    };
    let segments = elf.segments.iter().map(|segment| Segment {
        address: segment.address.wrapping_add(bias),
        bytes: &segment.bytes,
        size: segment.size,
    });
    Program {
        placement: Placement::Fixed {
            entry: elf.entry.wrapping_add(bias),
        },
        segments: segments.collect(),
    }
}
