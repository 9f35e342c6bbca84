//! The engine `shadow`: a virtual hart whose code runs directly on the real one, in U-mode
//! whatever mode it believes to be in, on shadow page tables. Every trap comes back here and is
//! a matter for the definition: `Hart::translate` by way of the shadow, `Hart::step`, or
//! `Hart::take_interrupt`. No privileged rule is written here.

use core::sync::atomic::Ordering;

use ringer_hart::csr::mstatus;
use ringer_hart::hart::Effects;
use ringer_hart::memory::TranslationCache;
use ringer_hart::translate::Access;
use ringer_hart::{Bus, Exit, GuestVirt, Hart, PAGE_SIZE, Privilege};
use ringer_isa::{Insn, Op, decode};
use ringer_machine::activity::Activity;
use ringer_machine::board::Board;
use ringer_shadow::{Outcome, Shadow};

use crate::cpu::Cpu;
use crate::exits::{Exits, Why};
use crate::guest::Guest;
use crate::hardware::passage::Trap;
use crate::hardware::{csr, float};
use crate::monitor::Monitor;
use crate::run_ahead::RunAhead;

/// Roots of shadow tables that a virtual hart keeps.
pub const ROOTS: usize = 32;
/// Decoded instructions that are remembered; a power of two.
const DECODED: usize = 64;
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
    pub const INTERRUPT: u64 = 1 << 63;
    pub const FETCH_ACCESS: u64 = 1;
    pub const ILLEGAL: u64 = 2;
    pub const LOAD_ACCESS: u64 = 5;
    pub const STORE_ACCESS: u64 = 7;
    pub const ECALL: u64 = 8;
    pub const FETCH_PAGE: u64 = 12;
    pub const LOAD_PAGE: u64 = 13;
    pub const STORE_PAGE: u64 = 15;
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
    /// Where traps are close together.
    pub ahead: RunAhead,
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
    /// The page that the last emulated instruction came from, and its offset in RAM, while the
    /// mapping stays.
    code: Option<(u64, u64)>,
    /// Instructions emulated lately, by their encodings.
    decoded: [Insn; DECODED],
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
            ahead: RunAhead::default(),
            cpu: None,
            float_loaded: false,
            float_dirty: false,
            left: None,
            root: Mapping::Stepped,
            mapped: None,
            code: None,
            decoded: [Insn::new(Op::Addi); DECODED],
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
        self.hart.effects |= Effects::CONTEXT | Effects::INTERRUPTS;
        // Another virtual hart may have run here meanwhile.
        self.mapped = None;
        loop {
            if board.lines(id).has_requests() && self.hart.attend(board) {
                return Exit::Yield;
            }
            while !self.hart.effects.is_empty() {
                self.act_on_effects(monitor, guest, cpu, until);
            }
            if monitor.port(cpu.index).interrupted.load(Ordering::Relaxed) {
                return Exit::Budget;
            }
            let exit = match self.root {
                Mapping::Direct if self.ahead.goes_on() => self.run_ahead(board),
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
        let alarm = hart.next_timer(board);
        let ahead = alarm.filter(|ticks| *ticks > board.recent_time(hart.id));
        let deadline = ahead.map_or(until, |ticks| until.min(guest.clock.real_time_of(ticks)));
        if cpu.set_timer(monitor, deadline) {
            board.look_at_clock(hart.id);
        }
        hart.take_interrupt(board);
        // Its change of context is heeded behind this.
        hart.effects.remove(Effects::CONTEXT);
    }

    /// Lets the real hart translate, and allow, as the virtual one does now.
    fn map(&mut self, guest: &Guest, cpu: &mut Cpu) {
        let hart = &self.hart;
        self.code = None;
        self.root = match self.shadow.enter(hart, &*guest.board) {
            Some(root) => {
                cpu.set_root(self.number, root);
                Mapping::Direct
            }
            None => Mapping::Stepped,
        };
        cpu.allow_time(guest.clock.is_real() && hart.counter_enabled(1));
        cpu.allow_cache_blocks(allowed_cache_blocks(hart));
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
        self.ahead.trapped(self.hart.pc, retired);
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
            cause::ILLEGAL => self.instruction(board),
            cause::ECALL => {
                self.exits.count(Why::Ecall);
                (self.hart).step_with(board, &mut self.shadow.live_root())
            }
            other if other & cause::INTERRUPT != 0 => {
                let why = match other & 0xff {
                    3 => Why::Call,
                    7 => Why::Timer,
                    _ => Why::Device,
                };
                self.exits.count(why);
                self.ahead.forget();
                cpu.take_interrupts(monitor);
                if why == Why::Timer {
                    board.look_at_clock(self.hart.id);
                    self.hart.effects |= Effects::INTERRUPTS;
                    if monitor.platform.timer.now() >= until {
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
                self.exits.count(Why::Fill);
                cpu.fence(self.number, fence);
                None
            }
            Outcome::Emulate => {
                let (faults, accesses) = (self.hart.counts.exceptions_total(), device(&self.hart));
                let exit = self.step(board);
                let why = if self.hart.counts.exceptions_total() != faults {
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
    fn instruction(&mut self, board: &Board) -> Option<Exit> {
        let Some(insn) = self.fetch(board) else {
            self.exits.count(Why::Instruction);
            return self.step(board);
        };
        let floats = uses_float(&insn);
        if floats && !self.float_loaded && self.hart.csrs.mstatus & mstatus::FS != 0 {
            self.exits.count(Why::Float);
            float::load(&self.hart);
            self.float_loaded = true;
            return None;
        }
        self.exits.count(why(&insn));
        if floats {
            self.put_float_away();
        }
        let mut cache = self.shadow.live_root();
        self.hart.execute_at_pc(board, &mut cache, &insn)
    }

    /// The instruction at `pc`, if it lies where the real hart has just executed it.
    fn fetch(&mut self, board: &Board) -> Option<Insn> {
        let pc = self.hart.pc;
        let low = self.parcel(board, pc)?;
        let bits = match ringer_isa::length(low as u16) {
            2 => low,
            _ => low | self.parcel(board, pc.wrapping_add(2))? << 16,
        };
        let known = &mut self.decoded[bits as usize >> 7 & (DECODED - 1)];
        if known.bits != bits {
            *known = decode(bits)?;
        }
        Some(*known)
    }

    fn parcel(&mut self, board: &Board, va: u64) -> Option<u32> {
        let page = va & !(PAGE_SIZE - 1);
        let offset = match self.code {
            Some((known, offset)) if known == page => offset,
            _ => {
                let offset = self.shadow.live_root().find(Access::Fetch, page, 1)?;
                self.code = Some((page, offset));
                offset
            }
        };
        let parcel = board.ram().load_at::<u16>(offset + (va - page));
        parcel.map(u32::from)
    }

    /// One instruction, by the definition.
    fn step(&mut self, board: &Board) -> Option<Exit> {
        self.put_float_away();
        self.hart.step_with(board, &mut self.shadow.live_root())
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
        (monitor.platform.timer.now() >= until).then_some(Exit::Budget)
    }

    /// One instruction on the way to the next trap, which is close.
    fn run_ahead(&mut self, board: &Board) -> Option<Exit> {
        let pc = self.hart.pc;
        match self.fetch(board) {
            Some(insn) if !uses_float(&insn) => {
                if traps(&insn) {
                    self.ahead.met(pc);
                }
                let mut cache = self.shadow.live_root();
                self.hart.execute_at_pc(board, &mut cache, &insn)
            }
            _ => {
                self.ahead.forget();
                None
            }
        }
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

/// Whether an instruction needs the floating-point unit's state.
fn uses_float(insn: &Insn) -> bool {
    const FFLAGS: i32 = 1;
    const FCSR: i32 = 3;
    match insn.op {
        Op::Csrrw | Op::Csrrs | Op::Csrrc | Op::Csrrwi | Op::Csrrsi | Op::Csrrci => {
            (FFLAGS..=FCSR).contains(&insn.imm)
        }
        // Loads, stores, fused multiply-adds and all others, by their major opcodes; compressed
        // loads and stores have an encoding of their own.
        _ if insn.len == 4 => {
            matches!(
                insn.bits & 0x7f,
                0x07 | 0x27 | 0x43 | 0x47 | 0x4b | 0x4f | 0x53
            )
        }
        _ => insn.bits & 3 != 1 && matches!(insn.bits >> 13 & 7, 1 | 5),
    }
}

/// Whether the real hart does not execute this in U-mode.
fn traps(insn: &Insn) -> bool {
    matches!(insn.op, Op::Ecall | Op::Ebreak) || why(insn) != Why::Instruction
}

/// What an emulated instruction counts as.
fn why(insn: &Insn) -> Why {
    match insn.op {
        Op::Csrrw | Op::Csrrs | Op::Csrrc | Op::Csrrwi | Op::Csrrsi | Op::Csrrci => {
            Why::Csr(insn.imm as u16 & 0xfff)
        }
        Op::Mret | Op::Sret => Why::Return,
        Op::SfenceVma | Op::SinvalVma | Op::SfenceWInval | Op::SfenceInvalIr => Why::Fence,
        Op::Wfi => Why::Wait,
        _ => Why::Instruction,
    }
}
