//! The harness of the bare tests: entry, trap capture, running code in lower modes, and the verdict.
//!
//! A test is a function that gets a [`Checks`]; `bare_test!` makes it a program that prints one
//! PASS or FAIL line and ends the machine with the matching exit code.
#![no_std]

pub mod paging;
pub mod smp;
pub mod storm;
pub mod trap;
pub mod wild;

use bare::{power, println};

core::arch::global_asm!(
    include_str!("../../bare/src/trap.s"),
    include_str!("start.s"),
    include_str!("wild.s")
);

/// Counts checks, and prints those that fail.
pub struct Checks {
    name: &'static str,
    done: u32,
    failed: u32,
}

impl Checks {
    /// Starts a verdict under a name.
    pub const fn new(name: &'static str) -> Checks {
        Checks {
            name,
            done: 0,
            failed: 0,
        }
    }

    /// Checks that two numbers are equal; prints both in hexadecimal if not.
    pub fn eq(&mut self, what: &str, got: usize, want: usize) {
        self.done += 1;
        if got != want {
            self.failed += 1;
            println!("  {}: {what}: got {got:#x}, want {want:#x}", self.name);
        }
    }

    /// Checks that something holds.
    pub fn ok(&mut self, what: &str, holds: bool) {
        self.done += 1;
        if !holds {
            self.failed += 1;
            println!("  {}: {what}: does not hold", self.name);
        }
    }

    /// Checks that an access trapped with `cause` and `tval`.
    pub fn traps(&mut self, what: &str, got: Option<trap::Trap>, cause: usize, tval: usize) {
        self.done += 1;
        match got {
            Some(t) if t.cause == cause && t.tval == tval => {}
            Some(t) => {
                self.failed += 1;
                println!(
                    "  {}: {what}: got cause {:#x} tval {:#x} (epc {:#x}), want cause {cause:#x} tval {tval:#x}",
                    self.name, t.cause, t.tval, t.epc
                );
            }
            None => {
                self.failed += 1;
                println!(
                    "  {}: {what}: did not trap, want cause {cause:#x}",
                    self.name
                );
            }
        }
    }

    /// Checks that an access did not trap.
    pub fn passes(&mut self, what: &str, got: Option<trap::Trap>) {
        self.done += 1;
        if let Some(t) = got {
            self.failed += 1;
            println!(
                "  {}: {what}: trapped with cause {:#x} tval {:#x} epc {:#x}",
                self.name, t.cause, t.tval, t.epc
            );
        }
    }

    /// Prints the verdict; true if all checks held.
    pub fn verdict(&self) -> bool {
        if self.failed == 0 {
            println!("PASS {}: {} checks", self.name, self.done);
        } else {
            println!(
                "FAIL {}: {} of {} checks failed",
                self.name, self.failed, self.done
            );
        }
        self.failed == 0
    }

    /// Prints the verdict and powers off by the test device.
    pub fn finish(&self) -> ! {
        if self.verdict() {
            power::pass()
        } else {
            power::fail(1)
        }
    }
}

/// Makes a program of a test function.
#[macro_export]
macro_rules! bare_test {
    ($name:literal, $run:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn first_hart() -> ! {
            let mut checks = $crate::Checks::new($name);
            $run(&mut checks);
            checks.finish()
        }
    };
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    bare::uart::break_lock();
    println!("FAIL {info}");
    power::fail(2)
}
