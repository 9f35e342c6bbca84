//! A virtio-mmio device (version 2) as its driver sees it: registers, status bits, descriptors.

/// "virt".
pub const MAGIC: usize = 0x000;
/// 2 in all but legacy devices.
pub const VERSION: usize = 0x004;
/// What it is.
pub const DEVICE_ID: usize = 0x008;
/// 32 of the features offered.
pub const DEVICE_FEATURES: usize = 0x010;
/// Which 32.
pub const DEVICE_FEATURES_SELECT: usize = 0x014;
/// 32 of the features taken.
pub const DRIVER_FEATURES: usize = 0x020;
/// Which 32.
pub const DRIVER_FEATURES_SELECT: usize = 0x024;
/// The queue that the queue registers are about.
pub const QUEUE_SELECT: usize = 0x030;
/// The most descriptors it can have.
pub const QUEUE_SIZE_MAX: usize = 0x034;
/// How many it has.
pub const QUEUE_SIZE: usize = 0x038;
/// Whether it is in use.
pub const QUEUE_READY: usize = 0x044;
/// Says that a queue has something new.
pub const QUEUE_NOTIFY: usize = 0x050;
/// Why the device interrupts.
pub const INTERRUPT_STATUS: usize = 0x060;
/// Reasons that were dealt with.
pub const INTERRUPT_ACKNOWLEDGE: usize = 0x064;
/// How far the driver has got; 0 resets the device.
pub const STATUS: usize = 0x070;
/// The address of the queue's descriptors.
pub const QUEUE_DESCRIPTORS: usize = 0x080;
/// The address of its available ring.
pub const QUEUE_AVAILABLE: usize = 0x090;
/// The address of its used ring.
pub const QUEUE_USED: usize = 0x0a0;
/// Of a block device: its size in sectors, 64 bits.
pub const CAPACITY: usize = 0x100;

/// Status: the guest has seen the device.
pub const ACKNOWLEDGE: u32 = 1;
/// Status: it has a driver.
pub const DRIVER: u32 = 2;
/// Status: the driver is ready.
pub const DRIVER_OK: u32 = 4;
/// Status: the features are settled.
pub const FEATURES_OK: u32 = 8;

/// Of a descriptor: another follows.
pub const NEXT: u16 = 1;
/// Of a descriptor: the device writes to it.
pub const WRITABLE: u16 = 2;

const BLOCK_DEVICE: u32 = 2;

/// A piece of memory for the device.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Descriptor {
    /// Where.
    pub address: u64,
    /// How many bytes.
    pub length: u32,
    /// [`NEXT`] and [`WRITABLE`].
    pub flags: u16,
    /// Which follows.
    pub next: u16,
}

/// A device, by the address of its registers.
#[derive(Clone, Copy)]
pub struct Device(pub usize);

impl Device {
    /// Whether there is a block device here, of any version.
    pub fn is_disk(self) -> bool {
        self.read(MAGIC) == u32::from_le_bytes(*b"virt") && self.read(DEVICE_ID) == BLOCK_DEVICE
    }

    /// Reads a register.
    pub fn read(self, register: usize) -> u32 {
        // SAFETY: a device register, not memory.
        unsafe { ((self.0 + register) as *const u32).read_volatile() }
    }

    /// Writes a register.
    pub fn write(self, register: usize, value: u32) {
        // SAFETY: a device register, not memory.
        unsafe { ((self.0 + register) as *mut u32).write_volatile(value) }
    }

    /// Writes a pair of registers that hold an address.
    pub fn write_address(self, register: usize, address: usize) {
        self.write(register, address as u32);
        self.write(register + 4, (address >> 32) as u32);
    }
}
