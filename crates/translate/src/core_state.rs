//! What generated code works on: the hart itself, and beside it the words by which Rust and
//! generated code talk. Reached by one register, at fixed distances.

use std::mem::offset_of;
use std::sync::atomic::AtomicU64;

use ringer_hart::{Bus, Exit, Hart};

use crate::assembler::{Mem, Reg};
use crate::float_unit;
use crate::spaces::{NearSpaces, Spaces};
use crate::tables::Tables;

/// Points into [`Core`], at [`BIAS`], while generated code runs.
pub const CORE: Reg = Reg::Rbp;
/// Points to the [`Tables`] of the space in force.
pub const SPACE: Reg = Reg::R14;
/// Counts the instructions that may still be executed.
pub const LEFT: Reg = Reg::R15;

/// How many places there are in [`Core::last_pages`].
pub const LAST_PAGES: usize = 64;

/// A hart that is being run.
#[repr(C)]
pub struct Core {
    /// The hart. Its integer registers with a home are stale while generated code runs.
    pub hart: Hart,
    /// The tables of the space in force.
    pub space: *mut Tables,
    /// Those of the spaces that a system call, its return or SUM lead to.
    pub near: NearSpaces,
    /// Virtual address of the page that the running block lies in.
    pub page: u64,
    /// The stack pointer on entry: where return addresses are remembered from.
    pub stack: u64,
    /// How many instructions may still be executed, as of the last exit or call to Rust.
    pub left: u64,
    /// `retired + left` on entry: neither changes the sum, unless an instruction traps.
    pub horizon: u64,
    /// Nonzero if floating-point instructions may be executed in generated code: the unit is
    /// on and its state dirty, and the rounding mode is one that the host has.
    pub float_ready: u8,
    /// Nonzero if the unit is on, whatever its state: enough to store its registers.
    pub float_on: u8,
    /// Nonzero if the host's unit is set to the guest's rounding mode and gathers its flags,
    /// whether or not the guest may use it now.
    pub float_taken: u8,
    /// A guest-physical address in RAM is the host's plus this.
    pub ram_distance: u64,
    /// The host's name of the rounding mode that it is set to then.
    pub float_rounding: u32,
    /// Where generated code puts the host's floating-point control word to look at it.
    pub mxcsr: u32,
    /// The guest's flags for each set of the host's.
    pub guest_flags: [u8; 64],
    /// For loads that follow pointers: where in the tables the page lay that was last reached.
    pub last_pages: [u32; LAST_PAGES],
    /// The hart's wires.
    pub wires: *const AtomicU64,
    /// The time by which its timers are sampled; [`NEVER_EARLY`] if only Rust can tell.
    pub clock: *const AtomicU64,
    /// The time at which the machine timer rises.
    pub timer: *const AtomicU64,
    /// Why generated code was left, if for a single instruction's sake.
    pub exit: Option<Exit>,
    /// The engine and the bus, for the helpers.
    pub engine: *mut (),
    /// As above.
    pub bus: *const (),
}

/// A time that no timer is behind.
static NEVER_EARLY: AtomicU64 = AtomicU64::new(u64::MAX);

/// [`CORE`] points so far into the struct that the integer registers are all in reach of an
/// 8-bit distance.
pub const BIAS: usize = offset_of!(Core, hart) + offset_of!(Hart, x) + 128;

const fn field(offset: usize) -> Mem {
    Mem::at(CORE, offset as i32 - BIAS as i32)
}

/// A field of the hart.
pub const fn hart_field(offset: usize) -> Mem {
    field(offset_of!(Core, hart) + offset)
}

/// Integer register `x`.
pub const fn x(register: u8) -> Mem {
    hart_field(offset_of!(Hart, x) + 8 * register as usize)
}

/// Floating-point register `f`.
pub const fn f(register: u8) -> Mem {
    hart_field(offset_of!(Hart, f) + 8 * register as usize)
}

/// `hart.pc`.
pub const PC: Mem = hart_field(offset_of!(Hart, pc));
/// [`Core::space`].
pub const SPACE_FIELD: Mem = field(offset_of!(Core, space));
/// [`Core::near`].
pub const NEAR: Mem = field(offset_of!(Core, near));
/// [`Core::page`].
pub const PAGE: Mem = field(offset_of!(Core, page));
/// [`Core::stack`].
pub const STACK: Mem = field(offset_of!(Core, stack));
/// [`Core::left`].
pub const LEFT_FIELD: Mem = field(offset_of!(Core, left));
/// [`Core::float_ready`].
pub const FLOAT_READY: Mem = field(offset_of!(Core, float_ready));
/// [`Core::float_on`].
pub const FLOAT_ON: Mem = field(offset_of!(Core, float_on));

/// [`Core::float_taken`].
pub const FLOAT_TAKEN: Mem = field(offset_of!(Core, float_taken));
/// [`Core::horizon`].
pub const HORIZON: Mem = field(offset_of!(Core, horizon));
/// [`Core::wires`].
pub const WIRES: Mem = field(offset_of!(Core, wires));
/// [`Core::clock`].
pub const CLOCK: Mem = field(offset_of!(Core, clock));
/// [`Core::timer`].
pub const TIMER: Mem = field(offset_of!(Core, timer));

/// [`Core::ram_distance`].
pub const RAM_DISTANCE: Mem = field(offset_of!(Core, ram_distance));
/// [`Core::float_rounding`].
pub const FLOAT_ROUNDING: Mem = field(offset_of!(Core, float_rounding));
/// [`Core::mxcsr`].
pub const MXCSR: Mem = field(offset_of!(Core, mxcsr));
/// [`Core::guest_flags`].
pub const GUEST_FLAGS: Mem = field(offset_of!(Core, guest_flags));

/// A place in [`Core::last_pages`].
pub const fn last_page(index: usize) -> Mem {
    field(offset_of!(Core, last_pages) + size_of::<u32>() * (index % LAST_PAGES))
}

/// Where an integer register lives while generated code runs: in a register of the host, or
/// (`None`) in [`Core`]. The ones with a home are those that compilers use most.
pub const fn home(register: u8) -> Option<Reg> {
    Some(match register {
        2 => Reg::Rbx,  // sp
        8 => Reg::R12,  // s0
        9 => Reg::R13,  // s1
        10 => Reg::Rdi, // a0
        11 => Reg::Rsi, // a1
        12 => Reg::R8,  // a2
        13 => Reg::R9,  // a3
        14 => Reg::R10, // a4
        15 => Reg::R11, // a5
        _ => return None,
    })
}

/// The registers with a home.
pub const AT_HOME: [u8; 9] = [2, 8, 9, 10, 11, 12, 13, 14, 15];

impl Core {
    /// A core that runs nothing yet.
    pub fn new() -> Self {
        Self {
            hart: Hart::new(0, 0),
            space: std::ptr::null_mut(),
            near: NearSpaces::NONE,
            page: 0,
            stack: 0,
            left: 0,
            horizon: 0,
            float_ready: 0,
            float_on: 0,
            float_taken: 0,
            ram_distance: 0,
            float_rounding: 0,
            mxcsr: 0,
            guest_flags: float_unit::guest_flags_table(),
            last_pages: [0; LAST_PAGES],
            wires: std::ptr::null(),
            clock: &raw const NEVER_EARLY,
            timer: std::ptr::null(),
            exit: None,
            engine: std::ptr::null_mut(),
            bus: std::ptr::null(),
        }
    }

    /// Lets generated code run in the space that is in force.
    pub fn use_space(&mut self, spaces: &mut Spaces) {
        self.space = spaces.current();
        self.near = spaces.near();
    }

    /// Lets generated code see what interrupts of this hart depend on.
    pub fn watch_interrupts(&mut self, bus: &impl Bus) {
        let lines = bus.lines(self.hart.id);
        self.wires = lines.pending_place();
        self.timer = lines.mtimecmp_place();
        self.clock = (bus.recent_time_place(self.hart.id)).unwrap_or(&NEVER_EARLY);
    }
}
