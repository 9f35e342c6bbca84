//! Where everything is: addresses and interrupt numbers as on QEMU's `virt` board, so that
//! existing kernels and firmware find what they expect.

use ringer_hart::GuestPhys;

/// A range of guest-physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first address.
    pub base: GuestPhys,
    /// How many bytes.
    pub len: u64,
}

impl Span {
    /// `len` bytes from `base`.
    pub const fn new(base: u64, len: u64) -> Self {
        Self {
            base: GuestPhys(base),
            len,
        }
    }
    /// The first address behind it.
    pub const fn end(self) -> GuestPhys {
        GuestPhys(self.base.0.saturating_add(self.len))
    }
    /// Whether the two share an address.
    pub const fn overlaps(self, other: Self) -> bool {
        self.len != 0
            && other.len != 0
            && self.base.0 < other.end().0
            && other.base.0 < self.end().0
    }
}

/// The boot ROM with the reset vector.
pub const ROM: Span = Span::new(0x1000, 0xf000);
/// The test device, by which guests power off and reset.
pub const SYSCON: Span = Span::new(0x10_0000, 0x1000);
/// The real-time clock.
pub const RTC: Span = Span::new(0x10_1000, 0x1000);
/// The generation id, which QEMU's board does not have.
pub const GENERATION: Span = Span::new(0x10_3000, 0x1000);
/// The ACLINT: software interrupts and timers of all harts.
pub const ACLINT: Span = Span::new(0x200_0000, 0x1_0000);
/// The PLIC. The size leaves room for two contexts of each of [`MAX_HARTS`].
pub const PLIC: Span = Span::new(0xc00_0000, 0x60_0000);
/// The serial port.
pub const UART: Span = Span::new(0x1000_0000, 0x100);
/// The first virtio slot; the others follow without gaps.
pub const VIRTIO: Span = Span::new(0x1000_1000, 0x1000);
/// Where RAM starts.
pub const RAM_BASE: GuestPhys = GuestPhys(0x8000_0000);

/// How many virtio slots there are.
pub const VIRTIO_SLOTS: usize = 8;
/// The most harts that the maps of ACLINT and PLIC have room for.
pub const MAX_HARTS: usize = 512;

/// PLIC input of the first virtio slot; the others follow.
pub const VIRTIO_IRQ: u32 = 1;
/// PLIC input of the serial port.
pub const UART_IRQ: u32 = 10;
/// PLIC input of the real-time clock.
pub const RTC_IRQ: u32 = 11;

/// PLIC input of the generation id.
pub const GENERATION_IRQ: u32 = 12;

/// The registers of virtio slot `slot`.
pub const fn virtio_slot(slot: usize) -> Span {
    Span::new(VIRTIO.base.0 + VIRTIO.len * slot as u64, VIRTIO.len)
}
