//! Why a trap is taken (Privileged 3.1.15).

use crate::bus::irq;

/// A synchronous cause, by its `mcause` code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Cause {
    /// Instruction address misaligned.
    FetchMisaligned = 0,
    /// Instruction access fault.
    FetchAccess = 1,
    /// Illegal instruction.
    IllegalInstruction = 2,
    /// Breakpoint.
    Breakpoint = 3,
    /// Load address misaligned.
    LoadMisaligned = 4,
    /// Load access fault.
    LoadAccess = 5,
    /// Store/AMO address misaligned.
    StoreMisaligned = 6,
    /// Store/AMO access fault.
    StoreAccess = 7,
    /// Environment call from U-mode.
    EcallFromU = 8,
    /// Environment call from S-mode.
    EcallFromS = 9,
    /// Environment call from M-mode.
    EcallFromM = 11,
    /// Instruction page fault.
    FetchPage = 12,
    /// Load page fault.
    LoadPage = 13,
    /// Store/AMO page fault.
    StorePage = 15,
}

impl Cause {
    /// How many codes there can be: the size of tables indexed by [`Cause::code`].
    pub const CODES: usize = 24;

    /// The `mcause` code.
    pub const fn code(self) -> u64 {
        self as u64
    }

    /// The manual's name for a code.
    pub const fn name(code: u64) -> &'static str {
        match code {
            0 => "instruction address misaligned",
            1 => "instruction access fault",
            2 => "illegal instruction",
            3 => "breakpoint",
            4 => "load address misaligned",
            5 => "load access fault",
            6 => "store/AMO address misaligned",
            7 => "store/AMO access fault",
            8 => "environment call from U-mode",
            9 => "environment call from S-mode",
            10 => "environment call from VS-mode",
            11 => "environment call from M-mode",
            12 => "instruction page fault",
            13 => "load page fault",
            15 => "store/AMO page fault",
            20 => "instruction guest-page fault",
            21 => "load guest-page fault",
            22 => "virtual instruction",
            23 => "store/AMO guest-page fault",
            _ => "reserved",
        }
    }
}

/// A synchronous exception about to be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exception {
    /// Why.
    pub cause: Cause,
    /// What goes into `mtval` or `stval`.
    pub tval: u64,
}

impl Exception {
    /// An exception with its trap value.
    #[cold]
    pub const fn new(cause: Cause, tval: u64) -> Self {
        Self { cause, tval }
    }
    /// An illegal instruction; the trap value is its encoding.
    #[cold]
    pub const fn illegal(bits: u32) -> Self {
        Self {
            cause: Cause::IllegalInstruction,
            tval: bits as u64,
        }
    }
}

/// Interrupts from the most to the least urgent (Privileged 3.1.9), as `mip` bits.
pub const INTERRUPT_PRIORITY: [u64; 7] = [
    irq::MEI,
    irq::MSI,
    irq::MTI,
    irq::SEI,
    irq::SSI,
    irq::STI,
    irq::LCOFI,
];

/// How many interrupt codes there can be.
pub const INTERRUPT_CODES: usize = 16;

/// The manual's name for an interrupt code.
pub const fn interrupt_name(code: u64) -> &'static str {
    match code {
        1 => "supervisor software interrupt",
        2 => "virtual supervisor software interrupt",
        3 => "machine software interrupt",
        5 => "supervisor timer interrupt",
        6 => "virtual supervisor timer interrupt",
        7 => "machine timer interrupt",
        9 => "supervisor external interrupt",
        10 => "virtual supervisor external interrupt",
        11 => "machine external interrupt",
        12 => "supervisor guest external interrupt",
        13 => "counter overflow interrupt",
        _ => "reserved",
    }
}
