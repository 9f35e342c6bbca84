//! What every device on the bus is, and the wire by which it interrupts.

use alloc::sync::Arc;

use ringer_hart::persist::Persist;
use ringer_hart::{BusFault, Width};

/// A device in the memory map. Guests may touch any register at any width, from several harts
/// at once; a device answers without panicking, hanging or growing.
pub trait Device: Persist + Send + Sync {
    /// A short name for counters, traces and saved state, such as `uart0`.
    fn name(&self) -> &str;
    /// Reads `width` bytes at `offset` from the device's base.
    fn load(&self, offset: u64, width: Width) -> Result<u64, BusFault>;
    /// Writes the low `width` bytes of `value`; the bits above them are zero.
    fn store(&self, offset: u64, width: Width, value: u64) -> Result<(), BusFault>;
    /// Back to the state at power-on.
    fn reset(&self);
    /// The backend may have news (input arrived, a frame came in): take it up. Called from any
    /// thread; cheap when there is nothing.
    fn poll(&self) {}
}

/// Where interrupt wires end: the PLIC.
pub trait InterruptController: Send + Sync {
    /// Wire `source` is now high or low.
    fn set_level(&self, source: u32, level: bool);
}

/// One interrupt wire from a device to the interrupt controller.
#[derive(Clone)]
pub struct IrqLine {
    controller: Arc<dyn InterruptController>,
    source: u32,
}

impl IrqLine {
    /// The wire into input `source` of `controller`.
    pub fn new(controller: Arc<dyn InterruptController>, source: u32) -> Self {
        Self { controller, source }
    }
    /// Drives the wire.
    pub fn set(&self, level: bool) {
        self.controller.set_level(self.source, level);
    }
    /// The input it leads to.
    pub fn source(&self) -> u32 {
        self.source
    }
}
