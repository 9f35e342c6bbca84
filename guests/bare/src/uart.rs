//! The 16550 UART of the virt board, polled, and `print!`/`println!` on it.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Where the UART sits on the virt board.
pub const VIRT_UART: usize = 0x1000_0000;
/// The UART's interrupt number at the PLIC.
pub const VIRT_UART_IRQ: usize = 10;

const DATA: usize = 0;
const INTERRUPT_ENABLE: usize = 1;
const FIFO_CONTROL: usize = 2;
const LINE_CONTROL: usize = 3;
const LINE_STATUS: usize = 5;
const DATA_READY: u8 = 1;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

static BASE: AtomicUsize = AtomicUsize::new(VIRT_UART);
static LOCK: AtomicBool = AtomicBool::new(false);

fn register(offset: usize) -> *mut u8 {
    (BASE.load(Ordering::Relaxed) + offset) as *mut u8
}

fn read(offset: usize) -> u8 {
    // SAFETY: a device register, not memory.
    unsafe { register(offset).read_volatile() }
}

fn write(offset: usize, value: u8) {
    // SAFETY: a device register, not memory.
    unsafe { register(offset).write_volatile(value) }
}

/// Uses the UART at `base` from now on.
pub fn set_base(base: usize) {
    BASE.store(base, Ordering::Relaxed);
}

/// Sets 8N1 at full speed with FIFOs, and the receive interrupt if asked for.
pub fn init(receive_interrupt: bool) {
    write(INTERRUPT_ENABLE, 0);
    write(LINE_CONTROL, 0x80);
    write(DATA, 3);
    write(INTERRUPT_ENABLE, 0);
    write(LINE_CONTROL, 3);
    write(FIFO_CONTROL, 7);
    write(INTERRUPT_ENABLE, u8::from(receive_interrupt));
}

/// Sends one byte, waiting for room.
pub fn put(byte: u8) {
    while read(LINE_STATUS) & TRANSMITTER_EMPTY == 0 {
        core::hint::spin_loop();
    }
    write(DATA, byte);
}

/// Takes one received byte, if there is one.
pub fn get() -> Option<u8> {
    (read(LINE_STATUS) & DATA_READY != 0).then(|| read(DATA))
}

/// The console as a `core::fmt::Write`; sends CR before LF.
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            if byte == b'\n' {
                put(b'\r');
            }
            put(byte);
        }
        Ok(())
    }
}

/// Prints under a lock, so that lines of several harts do not mix. Use `print!`.
#[doc(hidden)]
pub fn print(args: fmt::Arguments) {
    while LOCK.swap(true, Ordering::Acquire) {
        core::hint::spin_loop();
    }
    // The console's write_str never fails.
    let _ = Console.write_fmt(args);
    LOCK.store(false, Ordering::Release);
}

/// Forgets the print lock: for panic messages, whose hart may hold it already.
pub fn break_lock() {
    LOCK.store(false, Ordering::Release);
}

/// Prints on the UART.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::uart::print(format_args!($($arg)*)) };
}

/// Prints on the UART, with a line end.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($arg:tt)*) => { $crate::uart::print(format_args!("{}\n", format_args!($($arg)*))) };
}
