//! Registers of real devices, read and written as the hardware wants it.

/// A device's registers. They are where the device tree says; the monitor runs untranslated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registers {
    base: usize,
    len: usize,
}

impl Registers {
    /// The registers at `base`, as the device tree names them.
    ///
    /// # Safety
    /// There really is a device of `len` bytes at `base`: no memory that Rust knows of.
    pub unsafe fn new(base: usize, len: usize) -> Self {
        Self { base, len }
    }
    /// Where they are, and how many bytes.
    pub fn range(self) -> (usize, usize) {
        (self.base, self.len)
    }
    /// Those from `offset` on.
    pub fn part(self, offset: usize) -> Self {
        assert!(offset < self.len, "beyond the device");
        Self {
            base: self.base + offset,
            len: self.len - offset,
        }
    }
    fn at<T>(self, offset: usize) -> *mut T {
        assert!(
            offset.is_multiple_of(size_of::<T>()) && offset + size_of::<T>() <= self.len,
            "beyond the device"
        );
        (self.base + offset) as *mut T
    }
    /// Reads a byte.
    pub fn read8(self, offset: usize) -> u8 {
        // SAFETY: `at` keeps to the device, which `new` was promised to be one.
        unsafe { self.at::<u8>(offset).read_volatile() }
    }
    /// Writes a byte.
    pub fn write8(self, offset: usize, value: u8) {
        // SAFETY: as in `read8`.
        unsafe { self.at::<u8>(offset).write_volatile(value) }
    }
    /// Reads 32 bits.
    pub fn read32(self, offset: usize) -> u32 {
        // SAFETY: as in `read8`.
        unsafe { self.at::<u32>(offset).read_volatile() }
    }
    /// Writes 32 bits.
    pub fn write32(self, offset: usize, value: u32) {
        // SAFETY: as in `read8`.
        unsafe { self.at::<u32>(offset).write_volatile(value) }
    }
    /// Reads 64 bits.
    pub fn read64(self, offset: usize) -> u64 {
        // SAFETY: as in `read8`.
        unsafe { self.at::<u64>(offset).read_volatile() }
    }
    /// Writes 64 bits.
    pub fn write64(self, offset: usize, value: u64) {
        // SAFETY: as in `read8`.
        unsafe { self.at::<u64>(offset).write_volatile(value) }
    }
}
