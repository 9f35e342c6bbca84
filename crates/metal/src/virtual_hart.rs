//! The engine `shadow`: a virtual hart whose code runs directly on the real one, in U-mode
//! whatever mode it believes to be in, on shadow page tables. Every trap comes back here and is
//! a matter for the definition: `Hart::translate` by way of the shadow, `Hart::step`, or
//! `Hart::take_interrupt`. No privileged rule is written here.

use core::sync::atomic::Ordering;

use ringer_hart::csr::mstatus;
use ringer_hart::hart::Effects;
use ringer_hart::memory::TranslationCache;
use ringer_hart::translate::Access;
use ringer_hart::{Bus, Exit, GuestVirt, Hart, PAGE_SIZE, Privilege, Ram};
use ringer_machine::activity::Activity;
use ringer_machine::board::Board;
use ringer_shadow::{Outcome, Shadow};

use crate::cpu::Cpu;
use crate::decoder::{Decoded, Decoder, Kind};
use crate::exits::{Exits, Why};
use crate::guest::Guest;
use crate::hardware::passage::Trap;
use crate::hardware::{csr, float};
use crate::monitor::Monitor;
use crate::pages::Pages;
use crate::stay::{Back, Stay};

/// Roots of shadow tables that a virtual hart keeps.
pub const ROOTS: usize = 32;
/// Instructions in a row that the definition executes before the clock is looked at again.
const STEPS: u32 = 256;

/// What a slice of CPU time came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slice {
    /// There is more to do.
    More,
    /// Nothing to do before this time, or a call.
    Sleeps(Option<u64>),
}

/// Traps of the real hart (`mcause`).
mod cause {
    use ringer_hart::cause::Cause;
    pub use ringer_hart::csr::mcause::INTERRUPT;

    pub const FETCH_ACCESS: u64 = Cause::FetchAccess.code();
    pub const ILLEGAL: u64 = Cause::IllegalInstruction.code();
    pub const LOAD_ACCESS: u64 = Cause::LoadAccess.code();
    pub const STORE_ACCESS: u64 = Cause::StoreAccess.code();
    pub const ECALL: u64 = Cause::EcallFromU.code();
    pub const FETCH_PAGE: u64 = Cause::FetchPage.code();
    pub const LOAD_PAGE: u64 = Cause::LoadPage.code();
    pub const STORE_PAGE: u64 = Cause::StorePage.code();
}

/// A virtual hart with all that the monitor keeps for it.
pub struct VirtualHart {
    /// Its number among all virtual harts: in the schedule, and for ASIDs.
    pub number: usize,
    /// Its state, as in every engine.
    pub hart: Hart,
    /// What it is doing.
    pub activity: Activity,
    /// Its shadow page tables.
    pub shadow: Shadow,
    /// What brought it back here.
    pub exits: Exits,
    /// How long its privileged code stays in the monitor.
    pub stay: Stay,
    /// The real hart that ran it last.
    cpu: Option<usize>,
    /// Whether the floating-point registers are in the real hart.
    float_loaded: bool,
    /// Whether they have changed there.
    float_dirty: bool,
    /// When its code left the real hart last in this slice, by `minstret`.
    left: Option<u64>,
    /// How its code can run now.
    root: Mapping,
    /// What that was found out for; `None` if it may have changed since.
    mapped: Option<Conditions>,
    /// Pages that the definition has used, while the mapping stays.
    pages: Pages,
    /// Instructions emulated lately, by their encodings.
    decoded: Decoder,
}

/// What decides, beside the tables themselves, by which root a virtual hart's code runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Conditions {
    privilege: Privilege,
    satp: u64,
    status: u64,
}

impl Conditions {
    fn of(hart: &Hart) -> Self {
        const STATUS: u64 = mstatus::SUM | mstatus::MXR | mstatus::MPRV;
        let status = hart.csrs.mstatus;
        let mpp = if status & mstatus::MPRV != 0 {
            mstatus::MPP
        } else {
            0
        };
        Self {
            privilege: hart.mode.privilege,
            satp: hart.csrs.satp,
            status: status & (STATUS | mpp),
        }
    }
}

/// How the virtual hart's code can run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mapping {
    /// On the real hart.
    Direct,
    /// An instruction at a time, by the definition.
    Stepped,
}

impl VirtualHart {
    /// A virtual hart that has not run yet.
    pub fn new(number: usize, hart: Hart, shadow: Shadow) -> Self {
        Self {
            number,
            hart,
            activity: Activity::Running,
            shadow,
            exits: Exits::default(),
            stay: Stay::default(),
            cpu: None,
            float_loaded: false,
            float_dirty: false,
            left: None,
            root: Mapping::Stepped,
            mapped: None,
            pages: Pages::default(),
            decoded: Decoder::default(),
        }
    }

    /// Puts it to where it starts from.
    pub fn restart(&mut self, hart: Hart, activity: Activity) {
        let counts = core::mem::take(&mut self.hart.counts);
        self.hart = hart;
        self.hart.counts = counts;
        self.activity = activity;
        self.float_loaded = false;
        self.float_dirty = false;
        // Nothing that was cached holds any more.
        self.hart.effects = Effects::all();
        self.shadow.flush();
    }

    /// Runs on `cpu` until `until` by the real clock, until it sleeps, or until somebody
    /// interrupts.
    pub fn slice(&mut self, monitor: &Monitor, guest: &Guest, cpu: &mut Cpu, until: u64) -> Slice {
        let board = &*guest.board;
        if !self
            .activity
            .wake(&mut self.hart, board, guest.sbi.as_ref())
        {
            return self.sleep(guest);
        }
        let stranger = self.cpu.replace(cpu.index) != Some(cpu.index);
        cpu.admit(monitor, guest.number, stranger);
        let exit = match &guest.sbi {
            Some(sbi) => {
                let id = self.hart.id;
                sbi.while_running(id, || self.run(monitor, guest, cpu, until))
            }
            None => self.run(monitor, guest, cpu, until),
        };
        self.put_float_away();
        match exit {
            Exit::Budget | Exit::Yield | Exit::Pause | Exit::Semihosting => {}
            Exit::Wait => self.activity = Activity::Waiting,
            Exit::Sbi => {
                if let Some(sbi) = &guest.sbi {
                    self.activity = sbi.call(&mut self.hart, board).into();
                }
            }
        }
        match self.activity {
            Activity::Running => Slice::More,
            _ => self.sleep(guest),
        }
    }

    fn sleep(&self, guest: &Guest) -> Slice {
        let alarm = self.activity.alarm(&self.hart, &guest.board);
        Slice::Sleeps(alarm.map(|ticks| guest.clock.real_time_of(ticks)))
    }

    /// The run loop, as every engine has it.
    fn run(&mut self, monitor: &Monitor, guest: &Guest, cpu: &mut Cpu, until: u64) -> Exit {
        let board = &*guest.board;
        let id = self.hart.id;
        board.look_at_clock(id);
        self.left = None;
        self.stay.forget();
        self.hart.effects |= Effects::CONTEXT | Effects::INTERRUPTS;
        // Another virtual hart may have run here meanwhile.
        self.mapped = None;
        loop {
            if board.lines(id).has_requests() {
                let yields = self.hart.attend(board);
                // Another hart may have set the clock.
                self.allow_time(guest, cpu);
                if yields {
                    return Exit::Yield;
                }
            }
            while !self.hart.effects.is_empty() {
                self.act_on_effects(monitor, guest, cpu, until);
            }
            if monitor.port(cpu.index).interrupted.load(Ordering::Relaxed) {
                return Exit::Budget;
            }
            let exit = match self.root {
                Mapping::Direct if self.stay.is_on() => {
                    self.run_rewritten(monitor, guest, cpu, until)
                }
                Mapping::Direct => self.run_directly(monitor, guest, cpu, until),
                Mapping::Stepped => self.run_stepped(monitor, board, until),
            };
            if let Some(exit) = exit {
                return exit;
            }
        }
    }

    fn act_on_effects(&mut self, monitor: &Monitor, guest: &Guest, cpu: &mut Cpu, until: u64) {
        let effects = self.hart.take_effects();
        if effects.contains(Effects::FENCE_I) {
            csr::fence_i();
            self.stay.doubt();
        }
        if effects.contains(Effects::FLUSH_TLB) {
            self.shadow.flush();
            self.mapped = None;
        } else if effects.contains(Effects::FENCE_VMA) {
            self.shadow.fence(self.hart.fence);
            self.mapped = None;
        }
        if effects.intersects(Effects::INTERRUPTS | Effects::DEVICE) {
            self.sample_interrupts(monitor, guest, cpu, until);
        }
        if effects.contains(Effects::DEVICE) {
            // The device may have been the clock.
            self.allow_time(guest, cpu);
        }
        let conditions = Conditions::of(&self.hart);
        if self.mapped != Some(conditions) {
            self.mapped = Some(conditions);
            self.map(guest, cpu);
        }
    }

    /// Takes an interrupt that can be taken, and sets the real timer for the next one.
    fn sample_interrupts(&mut self, monitor: &Monitor, guest: &Guest, cpu: &mut Cpu, until: u64) {
        let board = &*guest.board;
        let hart = &mut self.hart;
        // The real timer stands for the virtual ones. A virtual one that has risen needs no
        // real one: it is taken as soon as the guest allows it, and that traps.
        let ahead = hart.next_timer_after(board, board.recent_time(hart.id));
        let deadline = ahead.map_or(until, |ticks| until.min(guest.clock.real_time_of(ticks)));
        if cpu.set_timer(monitor, deadline) {
            board.look_at_clock(hart.id);
        }
        if hart.take_interrupt(board) {
            self.stay.begin(hart.pc, hart.mode.privilege);
        }
        // Its change of context is heeded behind this.
        hart.effects.remove(Effects::CONTEXT);
    }

    /// Lets the real hart translate, and allow, as the virtual one does now.
    fn map(&mut self, guest: &Guest, cpu: &mut Cpu) {
        let hart = &self.hart;
        self.root = match self.shadow.enter(hart, &*guest.board) {
            Some(root) => {
                self.pages.heed(root.fence);
                self.pages.select(root.slot);
                cpu.set_root(self.number, root);
                Mapping::Direct
            }
            None => Mapping::Stepped,
        };
        cpu.allow_cache_blocks(allowed_cache_blocks(hart));
        self.allow_time(guest, cpu);
    }

    /// Lets the guest read `time` itself if it may, and if its clock shows the real time.
    fn allow_time(&self, guest: &Guest, cpu: &mut Cpu) {
        cpu.allow_time(guest.clock.is_real() && self.hart.counter_enabled(1));
    }

    /// Lets the real hart execute until it traps, and handles that.
    fn run_directly(
        &mut self,
        monitor: &Monitor,
        guest: &Guest,
        cpu: &mut Cpu,
        until: u64,
    ) -> Option<Exit> {
        let enabled = self.hart.csrs.mstatus & mstatus::FS;
        let unit = if self.float_loaded && enabled != 0 {
            float::CLEAN
        } else {
            0
        };
        let trap = cpu.passage.enter(&mut self.hart, unit);
        if let Some(left) = self.left.replace(trap.left) {
            self.exits.charge(trap.entered.wrapping_sub(left));
        }
        let counted = trap.left.wrapping_sub(trap.entered);
        let retired = counted.saturating_sub(cpu.passage_cost);
        let privileged = matches!(trap.cause, cause::ILLEGAL | cause::ECALL);
        self.stay.trapped(retired, privileged);
        self.hart.counts.retired = self.hart.counts.retired.wrapping_add(retired);
        if trap.status & mstatus::FS == mstatus::FS {
            // The guest has written a register: its own status says so too.
            self.hart.csrs.mstatus |= mstatus::FS;
            self.float_dirty = true;
        }
        self.handle(monitor, guest, cpu, until, trap)
    }

    /// What a trap asks for.
    fn handle(
        &mut self,
        monitor: &Monitor,
        guest: &Guest,
        cpu: &mut Cpu,
        until: u64,
        trap: Trap,
    ) -> Option<Exit> {
        let board = &*guest.board;
        match trap.cause {
            cause::FETCH_PAGE | cause::FETCH_ACCESS => {
                self.page_fault(board, cpu, trap.value, Access::Fetch)
            }
            cause::LOAD_PAGE | cause::LOAD_ACCESS => {
                self.page_fault(board, cpu, trap.value, Access::Load)
            }
            cause::STORE_PAGE | cause::STORE_ACCESS => {
                self.page_fault(board, cpu, trap.value, Access::Store)
            }
            cause::ILLEGAL => self.instruction(board, cpu),
            cause::ECALL => {
                self.exits.count(Why::Ecall);
                let pc = self.hart.pc;
                let exit = (self.hart).step_with(board, &mut self.pages.before(&self.shadow));
                self.stay.begin(pc, self.hart.mode.privilege);
                exit
            }
            other if other & cause::INTERRUPT != 0 => {
                let why = match other & 0xff {
                    3 => Why::Call,
                    7 => Why::Timer,
                    _ => Why::Device,
                };
                self.exits.count(why);
                cpu.take_interrupts(monitor);
                if why == Why::Timer {
                    board.look_at_clock(self.hart.id);
                    self.hart.effects |= Effects::INTERRUPTS;
                    if monitor.platform.time.now() >= until {
                        return Some(Exit::Budget);
                    }
                }
                None
            }
            // Breakpoints and misaligned accesses.
            _ => {
                self.exits.count(Why::Instruction);
                self.step(board)
            }
        }
    }

    fn page_fault(
        &mut self,
        board: &Board,
        cpu: &mut Cpu,
        va: u64,
        access: Access,
    ) -> Option<Exit> {
        match self.shadow.fault(&self.hart, board, GuestVirt(va), access) {
            Outcome::Filled(fence) => {
                self.pages.heed(fence);
                self.exits.count(Why::Fill);
                cpu.fence(self.number, fence);
                None
            }
            Outcome::Emulate => {
                let (faults, accesses) = (self.hart.counts.exceptions_total(), device(&self.hart));
                let exit = self.step(board);
                let why = if self.hart.counts.exceptions_total() != faults {
                    self.stay.begin(self.hart.pc, self.hart.mode.privilege);
                    Why::Fault
                } else if device(&self.hart) != accesses {
                    Why::Access
                } else {
                    Why::Instruction
                };
                self.exits.count(why);
                exit
            }
        }
    }

    /// An instruction that the real hart does not execute in U-mode. It is read from memory:
    /// `mtval` need not hold it (Privileged 3.1.16), and on QEMU 10 may hold another one.
    fn instruction(&mut self, board: &Board, cpu: &Cpu) -> Option<Exit> {
        let near = self.pages.before(&self.shadow);
        let Some(Decoded { insn, kind }) =
            fetch(self.hart.pc, board, &near, &mut self.decoded).copied()
        else {
            self.exits.count(Why::Instruction);
            return self.step(board);
        };
        let floats = kind == Kind::Float;
        let enabled = cpu.abilities.float && self.hart.csrs.mstatus & mstatus::FS != 0;
        if floats && enabled && !self.float_loaded {
            self.exits.count(Why::Float);
            float::load(&self.hart);
            self.float_loaded = true;
            return None;
        }
        self.exits.count(Why::emulating(&insn));
        if floats {
            self.put_float_away();
        }
        let pc = self.hart.pc;
        let mut cache = self.pages.before(&self.shadow);
        let exit = self.hart.execute_at_pc(board, &mut cache, &insn);
        if kind == Kind::Traps {
            self.stay.begin(pc, self.hart.mode.privilege);
        }
        exit
    }

    /// One instruction, by the definition.
    fn step(&mut self, board: &Board) -> Option<Exit> {
        self.put_float_away();
        (self.hart).step_with(board, &mut self.pages.before(&self.shadow))
    }

    /// The guest's privileged code, in rewritten form and by the definition, as long as that is
    /// better than to let the real hart have it.
    fn run_rewritten(
        &mut self,
        monitor: &Monitor,
        guest: &Guest,
        cpu: &mut Cpu,
        until: u64,
    ) -> Option<Exit> {
        let Self {
            hart,
            stay,
            pages,
            shadow,
            decoded,
            ..
        } = self;
        let board = &*guest.board;
        let state = pages.state();
        let mut near = pages.before(shadow);
        let before = csr::read!("minstret");
        let back = stay.go_on(hart, board, cpu, state, &mut near, decoded);
        let took = csr::read!("minstret").wrapping_sub(before);
        stay.settle(took, cpu.passage.frame().sites);
        match back {
            Back::Exit(exit) => exit,
            Back::Trap(trap) => self.handle(monitor, guest, cpu, until, trap),
        }
    }

    /// Single instructions, while loads and fetches go different ways.
    fn run_stepped(&mut self, monitor: &Monitor, board: &Board, until: u64) -> Option<Exit> {
        self.put_float_away();
        for _ in 0..STEPS {
            self.exits.count(Why::Stepped);
            let exit = self.hart.step(board);
            if exit.is_some() || !self.hart.effects.is_empty() {
                return exit;
            }
        }
        board.look_at_clock(self.hart.id);
        self.hart.effects |= Effects::INTERRUPTS;
        (monitor.platform.time.now() >= until).then_some(Exit::Budget)
    }

    /// Takes the floating-point registers out of the real hart.
    fn put_float_away(&mut self) {
        if core::mem::take(&mut self.float_dirty) {
            float::save(&mut self.hart);
        }
        self.float_loaded = false;
    }
}

fn device(hart: &Hart) -> u64 {
    hart.counts
        .device_loads
        .wrapping_add(hart.counts.device_stores)
}

/// The cache-block operations that the guest may use now, as bits of `menvcfg`.
fn allowed_cache_blocks(hart: &Hart) -> u64 {
    use ringer_hart::csr::menvcfg::{CBCFE, CBIE, CBZE};
    if hart.mode.privilege == Privilege::Machine {
        return CBZE | CBCFE | CBIE;
    }
    [CBZE, CBCFE, CBIE]
        .into_iter()
        .filter(|field| hart.cache_blocks_enabled(*field))
        .sum()
}

/// The instruction at `pc`, if it lies where the real hart executes it.
pub fn fetch<'a>(
    pc: u64,
    board: &Board,
    near: &impl TranslationCache,
    decoded: &'a mut Decoder,
) -> Option<&'a Decoded> {
    let bits = bits_at(pc, board.ram(), |va| near.find(Access::Fetch, va, 2))?;
    decoded.get(bits)
}

/// The encoding of the instruction at `pc`, where `find` says for each page.
#[inline(always)]
pub fn bits_at(pc: u64, ram: &Ram, mut find: impl FnMut(u64) -> Option<u64>) -> Option<u32> {
    let offset = find(pc)?;
    let low = ram.load_at::<u16>(offset)?;
    if ringer_isa::length(low) == 2 {
        return Some(low.into());
    }
    let behind = pc.wrapping_add(2);
    let offset = if behind.is_multiple_of(PAGE_SIZE) {
        find(behind)?
    } else {
        offset.wrapping_add(2)
    };
    Some(u32::from(low) | u32::from(ram.load_at::<u16>(offset)?) << 16)
}
