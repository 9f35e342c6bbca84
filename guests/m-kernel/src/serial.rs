//! What processes write: a ring that the UART's transmit interrupt empties.

use crate::lock::Lock;
use crate::process;
use bare::uart::{self, VIRT_UART};
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

const SIZE: usize = 32;
const INTERRUPT_ENABLE: usize = VIRT_UART + 1;
const INTERRUPT_IDENTITY: usize = VIRT_UART + 2;
const LINE_STATUS: usize = VIRT_UART + 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

/// Bytes ever written and ever sent; used under the lock.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);
static SENT: AtomicUsize = AtomicUsize::new(0);
static RING: [AtomicU8; SIZE] = [const { AtomicU8::new(0) }; SIZE];
static LOCK: Lock = Lock::new();

fn waiting() -> usize {
    WRITTEN.load(Relaxed) - SENT.load(Relaxed)
}

/// Those who wait for the ring sleep on this channel.
fn channel() -> usize {
    RING.as_ptr() as usize
}

/// Sets the UART up, with interrupts for both directions.
pub fn start() {
    uart::init(true);
    // SAFETY: a UART register.
    unsafe { (INTERRUPT_ENABLE as *mut u8).write_volatile(3) };
}

/// Sends as much of the ring as the UART takes. Under the lock.
fn send() {
    while waiting() > 0 {
        // SAFETY: a UART register.
        if unsafe { (LINE_STATUS as *const u8).read_volatile() } & TRANSMITTER_EMPTY == 0 {
            return;
        }
        let byte = RING[SENT.fetch_add(1, Relaxed) % SIZE].load(Relaxed);
        process::wake(channel());
        // SAFETY: a UART register.
        unsafe { (VIRT_UART as *mut u8).write_volatile(byte) };
    }
}

/// Puts one byte on its way; sleeps while the ring is full.
pub fn write(byte: u8) {
    LOCK.acquire();
    while waiting() == SIZE {
        process::sleep(channel(), &LOCK);
    }
    RING[WRITTEN.fetch_add(1, Relaxed) % SIZE].store(byte, Relaxed);
    send();
    LOCK.release();
}

/// Waits until the ring is sent.
pub fn flush() {
    LOCK.acquire();
    while waiting() > 0 {
        process::sleep(channel(), &LOCK);
    }
    LOCK.release();
}

/// The UART's interrupt.
pub fn interrupt() {
    // SAFETY: reading the identity acknowledges a transmit interrupt.
    unsafe { (INTERRUPT_IDENTITY as *const u8).read_volatile() };
    while uart::get().is_some() {}
    LOCK.acquire();
    send();
    LOCK.release();
}
