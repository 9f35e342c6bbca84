//! The console: a line editor with a history. Sleeps in `wfi` until the UART interrupts.

use crate::machine::Machine;
use bare::{csr, print, uart};

const WIDTH: usize = 78;
const HISTORY: usize = 8;
const SEIE: usize = 1 << 9;

const CTRL_C: u8 = 3;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const ESCAPE: u8 = 27;
const DELETE: u8 = 127;

#[derive(Clone, Copy)]
struct Line {
    bytes: [u8; WIDTH],
    length: usize,
}

impl Line {
    const EMPTY: Line = Line {
        bytes: [0; WIDTH],
        length: 0,
    };

    fn text(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }
}

/// The PLIC as far as it takes to wake up for the UART.
struct Interrupts {
    claim: *mut u32,
}

impl Interrupts {
    /// Routes the UART's interrupt to this hart's S-mode.
    fn new(machine: &Machine, irq: usize) -> Option<Interrupts> {
        let plic = machine
            .tree
            .compatible("riscv,plic0")
            .next()
            .or(machine.tree.compatible("sifive,plic-1.0.0").next())?;
        let base = plic.reg()?.0;
        // On this board a hart has two contexts, for M and S.
        let context = 2 * machine.boot_hart + 1;
        let register = |offset: usize| (base + offset) as *mut u32;
        // SAFETY: PLIC registers: priority, enable, threshold.
        unsafe {
            register(4 * irq).write_volatile(1);
            register(0x2000 + 0x80 * context + irq / 32 * 4).write_volatile(1 << (irq % 32));
            register(0x20_0000 + 0x1000 * context).write_volatile(0);
        }
        Some(Interrupts {
            claim: register(0x20_0004 + 0x1000 * context),
        })
    }

    /// Sleeps until the UART has something, and acknowledges.
    fn wait(&self) {
        csr::set!(sie, SEIE);
        // SAFETY: sstatus.SIE is clear, so wfi wakes without a trap; then a claim and completion.
        unsafe {
            core::arch::asm!("wfi");
            let irq = self.claim.read_volatile();
            if irq != 0 {
                self.claim.write_volatile(irq);
            }
        }
        csr::clear!(sie, SEIE);
    }
}

/// The console with its history.
pub struct Console {
    interrupts: Option<Interrupts>,
    history: [Line; HISTORY],
    used: usize,
}

impl Console {
    /// Opens the UART that the device tree names.
    pub fn new(machine: &Machine) -> Console {
        let node = machine.tree.compatible("ns16550a").next();
        if let Some((base, _)) = node.and_then(|n| n.reg()) {
            uart::set_base(base);
        }
        uart::init(true);
        let irq = node
            .and_then(|n| n.cell("interrupts"))
            .unwrap_or(uart::VIRT_UART_IRQ);
        Console {
            interrupts: Interrupts::new(machine, irq),
            history: [Line::EMPTY; HISTORY],
            used: 0,
        }
    }

    fn key(&self) -> u8 {
        loop {
            if let Some(byte) = uart::get() {
                return byte;
            }
            match &self.interrupts {
                Some(interrupts) => interrupts.wait(),
                None => core::hint::spin_loop(),
            }
        }
    }

    /// Reads a line, echoing and editing, and hands it to `run`.
    pub fn line(&mut self, prompt: &str, run: impl FnOnce(&str)) {
        print!("{prompt}");
        let mut line = Line::EMPTY;
        let mut back = 0;
        loop {
            match self.key() {
                b'\r' | b'\n' => break,
                CTRL_C => {
                    print!("^C\n{prompt}");
                    line = Line::EMPTY;
                }
                BACKSPACE | DELETE if line.length > 0 => {
                    line.length -= 1;
                    print!("\x08 \x08");
                }
                CTRL_U => {
                    line = Line::EMPTY;
                    print!("\r\x1b[K{prompt}");
                }
                ESCAPE => {
                    // Arrow up and down: ESC [ A and ESC [ B.
                    let arrow = (self.key(), self.key());
                    match arrow {
                        (b'[', b'A') if back < self.used.min(HISTORY) => back += 1,
                        (b'[', b'B') if back > 0 => back -= 1,
                        _ => continue,
                    }
                    line = if back == 0 {
                        Line::EMPTY
                    } else {
                        self.history[(self.used - back) % HISTORY]
                    };
                    print!("\r\x1b[K{prompt}{}", line.text());
                }
                byte @ b' '..=b'~' if line.length < WIDTH => {
                    line.bytes[line.length] = byte;
                    line.length += 1;
                    print!("{}", byte as char);
                }
                _ => {}
            }
        }
        print!("\n");
        if line.length > 0 {
            self.history[self.used % HISTORY] = line;
            self.used += 1;
        }
        run(line.text());
    }
}
