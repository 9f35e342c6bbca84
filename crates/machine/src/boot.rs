//! How a guest is started: where firmware, kernel, initial RAM disk and device tree go in RAM,
//! and where the harts begin.

use core::fmt;

use ringer_hart::{Bus, GuestPhys};

use crate::board::Board;
use crate::device_tree::{DeviceTreeError, Guest, device_tree};
use crate::memory_map::{self, Span};
use crate::rom::Handover;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Kernels are placed at a multiple of this, so that they can map themselves with large pages;
/// the first such part of RAM is left to firmware.
const KERNEL_ALIGN: u64 = 2 * MIB;
/// Firmware and 32-bit loaders reach the device tree only below this address, as on QEMU.
const DEVICE_TREE_LIMIT: GuestPhys = GuestPhys(3 << 30);
/// Room behind the device tree: firmware adds to it in place.
const DEVICE_TREE_GROWTH: u64 = 64 * KIB;
/// The initial RAM disk goes no further into RAM than this, so that kernels which map only the
/// first part of RAM early find it.
const INITRD_OFFSET: u64 = 128 * MIB;

/// Which of the things that go into RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The M-mode firmware.
    Firmware,
    /// The kernel.
    Kernel,
    /// The initial RAM disk.
    Initrd,
    /// The device tree.
    DeviceTree,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Firmware => "firmware",
            Part::Kernel => "kernel",
            Part::Initrd => "initial RAM disk",
            Part::DeviceTree => "device tree",
        })
    }
}

/// A number of bytes, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..KIB => write!(f, "{} bytes", self.0),
            KIB..MIB => write!(f, "{} KiB", self.0.div_ceil(KIB)),
            _ => write!(f, "{} MiB", self.0.div_ceil(MIB)),
        }
    }
}

/// Why a guest cannot be started.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BootError {
    /// There is neither firmware nor kernel.
    #[error("there is nothing to start: neither firmware nor a kernel")]
    Nothing,
    /// A part is larger than the room for it.
    #[error(
        "the {part} ({size}) does not fit into {ram} of RAM beside the rest; give the machine more memory"
    )]
    NoRoom {
        /// Which part.
        part: Part,
        /// What it needs.
        size: Bytes,
        /// All RAM.
        ram: Bytes,
    },
    /// A part names its own address, and that is not in RAM.
    #[error(
        "the {part} wants {size} at {base}, and RAM is {ram} at {}",
        memory_map::RAM_BASE
    )]
    OutsideRam {
        /// Which part.
        part: Part,
        /// Its address.
        base: GuestPhys,
        /// What it needs.
        size: Bytes,
        /// All RAM.
        ram: Bytes,
    },
    /// Two parts name addresses that overlap.
    #[error("the {first} and the {second} overlap at {at}")]
    Overlap {
        /// One part.
        first: Part,
        /// The other.
        second: Part,
        /// The first address in both.
        at: GuestPhys,
    },
    /// The device tree cannot be written.
    #[error(transparent)]
    DeviceTree(#[from] DeviceTreeError),
}

/// A program to be put into RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Image {
    /// Goes anywhere and starts at its first byte; needs this many bytes, those it clears when
    /// it starts included.
    Movable(u64),
    /// Is linked to fixed addresses.
    Fixed {
        /// All it occupies.
        span: Span,
        /// Where it starts.
        entry: GuestPhys,
    },
}

/// What goes into RAM.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Images {
    /// Firmware, which the harts start in M-mode. A kernel that wants M-mode counts as this.
    pub firmware: Option<Image>,
    /// The kernel, started in S-mode by the firmware, or by us if there is none.
    pub kernel: Option<Image>,
    /// Bytes of the initial RAM disk.
    pub initrd: Option<u64>,
}

/// A program with its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// All it occupies.
    pub span: Span,
    /// Where it starts.
    pub entry: GuestPhys,
}

/// Where everything goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The firmware.
    pub firmware: Option<Placed>,
    /// The kernel.
    pub kernel: Option<Placed>,
    /// The initial RAM disk.
    pub initrd: Option<Span>,
    /// The device tree.
    pub device_tree: Span,
}

/// Where and how the harts begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// All harts in M-mode at the reset vector.
    Firmware {
        /// The reset vector.
        entry: GuestPhys,
    },
    /// Hart 0 in S-mode, with its number in a0 and the device tree in a1; the others stopped.
    Kernel {
        /// The kernel's first instruction.
        entry: GuestPhys,
        /// Goes into a1.
        device_tree: GuestPhys,
    },
}

const fn align_down(addr: u64, to: u64) -> u64 {
    addr & !(to - 1)
}
const fn align_up(addr: u64, to: u64) -> u64 {
    align_down(addr.saturating_add(to - 1), to)
}

/// Finds places in RAM, one part after the other.
struct Placer {
    ram: Span,
    taken: [Option<(Part, Span)>; 4],
}

impl Placer {
    fn holds(&self, span: Span) -> bool {
        span.base >= self.ram.base
            && (span.base.0)
                .checked_sub(self.ram.base.0)
                .and_then(|offset| self.ram.len.checked_sub(offset))
                .is_some_and(|rest| span.len <= rest)
    }
    fn obstacle(&self, span: Span) -> Option<(Part, Span)> {
        let mut taken = self.taken.iter().flatten();
        taken.find(|(_, other)| other.overlaps(span)).copied()
    }
    fn take(&mut self, part: Part, span: Span) {
        if let Some(free) = self.taken.iter_mut().find(|slot| slot.is_none()) {
            *free = Some((part, span));
        }
    }
    fn fixed(&mut self, part: Part, span: Span) -> Result<Span, BootError> {
        if !self.holds(span) {
            return Err(BootError::OutsideRam {
                part,
                base: span.base,
                size: Bytes(span.len),
                ram: Bytes(self.ram.len),
            });
        }
        if let Some((first, other)) = self.obstacle(span) {
            return Err(BootError::Overlap {
                first,
                second: part,
                at: span.base.max(other.base),
            });
        }
        self.take(part, span);
        Ok(span)
    }
    /// The first of `candidates` where `len` bytes and then `growth` more are free.
    fn movable(
        &mut self,
        part: Part,
        len: u64,
        growth: u64,
        candidates: impl IntoIterator<Item = u64>,
    ) -> Result<Span, BootError> {
        let room = len.saturating_add(growth);
        let found = candidates
            .into_iter()
            .map(|base| Span::new(base, room))
            .find(|span| self.holds(*span) && self.obstacle(*span).is_none())
            .ok_or(BootError::NoRoom {
                part,
                size: Bytes(len),
                ram: Bytes(self.ram.len),
            })?;
        self.take(part, found);
        Ok(Span { len, ..found })
    }
    fn image(
        &mut self,
        part: Part,
        image: Image,
        candidates: impl IntoIterator<Item = u64>,
    ) -> Result<Placed, BootError> {
        Ok(match image {
            Image::Movable(len) => {
                let span = self.movable(part, len, 0, candidates)?;
                let entry = span.base;
                Placed { span, entry }
            }
            Image::Fixed { span, entry } => {
                let span = self.fixed(part, span)?;
                Placed { span, entry }
            }
        })
    }
}

impl Layout {
    /// Finds places in `ram` for `images` and a device tree of `device_tree` bytes.
    pub fn new(ram: Span, images: &Images, device_tree: u64) -> Result<Self, BootError> {
        let base = ram.base.0;
        let mut placer = Placer {
            ram,
            taken: [None; 4],
        };
        let firmware = (images.firmware)
            .map(|image| placer.image(Part::Firmware, image, [base]))
            .transpose()?;
        let behind_firmware = firmware.map_or(base, |f| f.span.end().0);
        let kernel_base = align_up(behind_firmware.max(base.saturating_add(1)), KERNEL_ALIGN);
        let kernel = (images.kernel)
            .map(|image| placer.image(Part::Kernel, image, [kernel_base]))
            .transpose()?;

        let top = ram.end().min(DEVICE_TREE_LIMIT).0;
        let highest = top.saturating_sub(device_tree.saturating_add(DEVICE_TREE_GROWTH));
        let device_tree = placer.movable(
            Part::DeviceTree,
            device_tree,
            DEVICE_TREE_GROWTH,
            // In a small machine page alignment must do.
            [align_down(highest, 2 * MIB), align_down(highest, 4 * KIB)],
        )?;

        let behind = |span: Span, gap| align_up(span.end().0.saturating_add(gap), 4 * KIB);
        let last_program = kernel
            .or(firmware)
            .map_or(ram.base.0, |p| behind(p.span, 0));
        let initrd = (images.initrd)
            .map(|len| {
                let candidates = [
                    base.saturating_add(INITRD_OFFSET.min(align_down(ram.len / 2, 4 * KIB))),
                    last_program,
                    behind(device_tree, DEVICE_TREE_GROWTH),
                ];
                placer.movable(Part::Initrd, len, 0, candidates)
            })
            .transpose()?;
        Ok(Self {
            firmware,
            kernel,
            initrd,
            device_tree,
        })
    }
}

/// Finds places for `images`, writes the device tree for them into RAM, and burns the reset
/// vector. The caller then puts the images where the layout says. `guest.initrd` is not used:
/// the layout decides.
pub fn prepare(
    board: &Board,
    images: &Images,
    guest: &Guest<'_>,
) -> Result<(Layout, Start), BootError> {
    let ram = Span {
        base: board.ram().base(),
        len: board.ram().len(),
    };
    let tree = |initrd| device_tree(board, &Guest { initrd, ..*guest });
    // The addresses in it do not change its size.
    let size = tree(images.initrd.map(|len| Span::new(ram.base.0, len)))?.len() as u64;
    let layout = Layout::new(ram, images, size)?;
    let blob = tree(layout.initrd)?;
    let at = layout.device_tree.base;
    (board.ram().write(at, &blob)).ok_or(BootError::NoRoom {
        part: Part::DeviceTree,
        size: Bytes(size),
        ram: Bytes(ram.len),
    })?;
    let start = match (layout.firmware, layout.kernel) {
        (Some(firmware), kernel) => {
            board.set_handover(Handover {
                firmware: firmware.entry,
                device_tree: at,
                kernel: kernel.map_or(GuestPhys(0), |kernel| kernel.entry),
            });
            Start::Firmware {
                entry: memory_map::ROM.base,
            }
        }
        (None, Some(kernel)) => Start::Kernel {
            entry: kernel.entry,
            device_tree: at,
        },
        (None, None) => return Err(BootError::Nothing),
    };
    Ok((layout, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::test_board;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;
    use ringer_hart::Width;

    const GIB: u64 = 1 << 30;

    fn ram(len: u64) -> Span {
        Span {
            base: memory_map::RAM_BASE,
            len,
        }
    }

    #[test]
    fn a_usual_machine() {
        let images = Images {
            firmware: Some(Image::Movable(300 * KIB)),
            kernel: Some(Image::Movable(30 * MIB)),
            initrd: Some(20 * MIB),
        };
        let layout = Layout::new(ram(2 * GIB), &images, 6000).unwrap();
        assert_eq!(layout.firmware.unwrap().entry, GuestPhys(0x8000_0000));
        assert_eq!(layout.kernel.unwrap().entry, GuestPhys(0x8020_0000));
        assert_eq!(layout.initrd, Some(Span::new(0x8800_0000, 20 * MIB)));
        assert_eq!(layout.device_tree, Span::new(0xbfe0_0000, 6000));
        let layout = Layout::new(ram(128 * MIB), &images, 6000).unwrap();
        assert_eq!(layout.initrd.unwrap().base, GuestPhys(0x8400_0000));
        assert_eq!(layout.device_tree.base, GuestPhys(0x87e0_0000));
    }

    #[test]
    fn a_large_initrd_moves_to_where_it_fits() {
        let images = |initrd| Images {
            kernel: Some(Image::Movable(30 * MIB)),
            initrd: Some(initrd),
            ..Images::default()
        };
        let place = |ram_len, initrd| {
            Layout::new(ram(ram_len), &images(initrd), 6000).map(|l| l.initrd.unwrap().base)
        };
        assert_eq!(place(256 * MIB, 200 * MIB), Ok(GuestPhys(0x8200_0000)));
        assert_eq!(place(4 * GIB, 2 * GIB), Ok(GuestPhys(0xbfe1_2000)));
        let error = place(256 * MIB, 300 * MIB).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the initial RAM disk (300 MiB) does not fit into 256 MiB of RAM beside the rest; \
             give the machine more memory"
        );
    }

    #[test]
    fn fixed_addresses_are_checked() {
        let fixed = |base, len| {
            let span = Span::new(base, len);
            let entry = GuestPhys(base);
            Some(Image::Fixed { span, entry })
        };
        let layout = |firmware, kernel| {
            let images = Images {
                firmware,
                kernel,
                initrd: None,
            };
            Layout::new(ram(64 * MIB), &images, 6000)
        };
        assert!(layout(fixed(0x8000_0000, MIB), fixed(0x8020_0000, MIB)).is_ok());
        assert!(matches!(
            layout(fixed(0x8000_0000, 3 * MIB), fixed(0x8020_0000, MIB)),
            Err(BootError::Overlap {
                at: GuestPhys(0x8020_0000),
                ..
            })
        ));
        for (base, len) in [(0x1000, 16), (0x83ff_f000, MIB), (u64::MAX - 8, u64::MAX)] {
            assert!(matches!(
                layout(None, fixed(base, len)),
                Err(BootError::OutsideRam { .. })
            ));
        }
        // Firmware larger than the usual room moves the kernel up.
        let moved = layout(Some(Image::Movable(3 * MIB)), Some(Image::Movable(MIB))).unwrap();
        assert_eq!(moved.kernel.unwrap().entry, GuestPhys(0x8040_0000));
    }

    #[test]
    fn a_prepared_board_holds_tree_and_reset_vector() {
        let board = test_board(1, |builder| builder);
        let images = Images {
            firmware: Some(Image::Movable(64 * KIB)),
            kernel: None,
            initrd: Some(4096),
        };
        let guest = Guest {
            command_line: "",
            initrd: None,
            seed: &[],
        };
        let (layout, start) = prepare(&board, &images, &guest).unwrap();
        let entry = GuestPhys(0x1000);
        assert_eq!(start, Start::Firmware { entry });
        let mut blob = vec![0; layout.device_tree.len as usize];
        board
            .ram()
            .read(layout.device_tree.base, &mut blob)
            .unwrap();
        let fdt = fdt::Fdt::new(&blob).unwrap();
        let chosen = fdt.find_node("/chosen").unwrap();
        let initrd_start = chosen.property("linux,initrd-start").unwrap().value;
        assert_eq!(initrd_start, layout.initrd.unwrap().base.0.to_be_bytes());
        assert_eq!(
            board.load(0, GuestPhys(0x1020), Width::Double),
            Ok(layout.device_tree.base.0)
        );

        let kernel = Images {
            kernel: Some(Image::Movable(4096)),
            ..Images::default()
        };
        let error = prepare(&board, &kernel, &guest).unwrap_err();
        assert!(matches!(
            error,
            BootError::NoRoom {
                part: Part::Kernel,
                ..
            }
        ));
        assert_eq!(
            prepare(&board, &Images::default(), &guest),
            Err(BootError::Nothing)
        );
    }

    fn image() -> impl Strategy<Value = Option<Image>> {
        let len = prop_oneof![0..64 * MIB, 0..8 * GIB, any::<u64>()];
        let base = prop_oneof![0x8000_0000..0x9000_0000u64, any::<u64>()];
        prop::option::of(prop_oneof![
            len.clone().prop_map(Image::Movable),
            (base, len).prop_map(|(base, len)| Image::Fixed {
                span: Span::new(base, len),
                entry: GuestPhys(base),
            }),
        ])
    }

    proptest! {
        #[test]
        fn nothing_overlaps_and_all_is_in_ram(
            len in prop_oneof![0..8 * MIB, 0..8 * GIB],
            firmware in image(),
            kernel in image(),
            initrd in prop::option::of(prop_oneof![0..512 * MIB, any::<u64>()]),
            tree in 1000..200_000u64,
        ) {
            let images = Images { firmware, kernel, initrd };
            if let Ok(layout) = Layout::new(ram(len), &images, tree) {
                let spans: vec::Vec<Span> = [layout.firmware, layout.kernel]
                    .iter()
                    .flatten()
                    .map(|placed| placed.span)
                    .chain(layout.initrd)
                    .chain([layout.device_tree])
                    .collect();
                for (i, span) in spans.iter().enumerate() {
                    prop_assert!(span.base >= memory_map::RAM_BASE);
                    prop_assert!(span.base.0 - memory_map::RAM_BASE.0 + span.len <= len);
                    prop_assert!(spans[..i].iter().all(|other| !other.overlaps(*span)));
                }
            }
        }
    }
}
