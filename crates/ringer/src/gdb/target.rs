//! What gdb can do with a machine: the harts as threads, their registers and memory, where they
//! stop and how they go on.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use gdbstub::common::{Signal, Tid};
use gdbstub::outputln;
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::reverse_exec::{
    ReplayLogPosition, ReverseCont, ReverseContOps, ReverseStep, ReverseStepOps,
};
use gdbstub::target::ext::base::single_register_access::{
    SingleRegisterAccess, SingleRegisterAccessOps,
};
use gdbstub::target::ext::breakpoints::{self as points, Breakpoints, BreakpointsOps};
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps};
use gdbstub::target::ext::target_description_xml_override::{
    TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{Target, TargetError, TargetResult};
use ringer_hart::HartId;

use super::architecture::{Core, Register, Riscv64, describe};
use super::memory::View;
use super::registers;
use crate::control::answer::HartActivity;
use crate::control::{Action, Request};
use crate::machine::MachineClock;
use crate::reverse::{self, Backwards, Found};
use crate::run::Event;
use crate::runner::{Activity, Order, Points, Reason, Stop, Vm, WatchKind, Watchpoint, sit};

/// Nothing that gdb asks for ends its session.
pub type Never = std::convert::Infallible;

/// What `monitor help` says beside the monitor prompt's help.
const HELP: &str = "\
phys on|off         show gdb physical memory, or what the harts' page tables make of it";

/// A machine in gdb's hands.
pub struct Debugger {
    pub(super) vm: Arc<Vm>,
    description: String,
    software: BTreeSet<u64>,
    hardware: BTreeSet<u64>,
    watchpoints: Vec<Watchpoint>,
    /// What each hart is to do next, if anything was said of it.
    actions: Vec<Option<Order>>,
    /// Harts of which nothing was said stand still.
    locked: bool,
    /// Addresses are physical.
    physical: bool,
    /// What going back has come to; gdb hears it when it listens.
    came_to: Option<MultiThreadStopReason<u64>>,
}

/// gdb's number of a hart.
pub fn thread(hart: HartId) -> Tid {
    NonZeroUsize::MIN.saturating_add(hart)
}

fn hart(thread: Tid) -> HartId {
    thread.get() - 1
}

impl Debugger {
    /// Stops the machine. `None` if a hart does not stop.
    pub fn take(vm: Arc<Vm>) -> Option<Self> {
        vm.debugged.begin();
        if !vm.hold() {
            vm.release();
            vm.debugged.leave();
            return None;
        }
        let board = &*vm.machine.board;
        let description = describe(&sit(vm.seats.first()?).hart, board);
        Some(Self {
            description,
            software: BTreeSet::new(),
            hardware: BTreeSet::new(),
            watchpoints: Vec::new(),
            actions: vec![None; vm.seats.len()],
            locked: false,
            physical: false,
            came_to: None,
            vm,
        })
    }
    /// A hart that does something, or the first.
    pub fn busy_hart(&self) -> HartId {
        let mut seats = self.vm.seats.iter();
        seats
            .position(|seat| sit(seat).activity == Activity::Running)
            .unwrap_or(0)
    }
    /// Why the machine has stopped, if it does so in time. All of it stands still then.
    pub fn next_stop(&mut self, patience: Duration) -> Option<MultiThreadStopReason<u64>> {
        if let Some(status) = self.vm.debugged.ended() {
            return Some(MultiThreadStopReason::Exited(status));
        }
        if let Some(reason) = self.came_to.take() {
            return Some(reason);
        }
        let stop = self.vm.stops.wait(patience)?;
        // The hart that has stopped holds the gate already; others may still be on their way.
        self.vm.hold();
        Some(self.report(stop))
    }
    fn report(&self, stop: Stop) -> MultiThreadStopReason<u64> {
        let tid = thread(stop.hart);
        match stop.reason {
            Reason::Breakpoint => {
                let seat = self.vm.seats.get(stop.hart);
                let pc = seat.map(|seat| sit(seat).hart.pc);
                // gdb takes no interest in a kind of breakpoint that it did not set there.
                if pc.is_some_and(|pc| self.hardware.contains(&pc)) {
                    MultiThreadStopReason::HwBreak(tid)
                } else {
                    MultiThreadStopReason::SwBreak(tid)
                }
            }
            Reason::Watchpoint(hit) => MultiThreadStopReason::Watch {
                tid,
                kind: match hit.kind {
                    WatchKind::Read => points::WatchKind::Read,
                    WatchKind::Write => points::WatchKind::Write,
                    WatchKind::Access => points::WatchKind::ReadWrite,
                },
                addr: hit.address,
            },
            Reason::End => MultiThreadStopReason::ReplayLog {
                tid: Some(tid),
                pos: ReplayLogPosition::End,
            },
            Reason::Step => MultiThreadStopReason::SignalWithThread {
                tid,
                signal: Signal::SIGTRAP,
            },
        }
    }
    fn points(&self) -> Arc<Points> {
        let breakpoints = self.software.union(&self.hardware).copied();
        Arc::new(Points::new(breakpoints, self.watchpoints.clone()))
    }
    /// Takes the machine back in time.
    fn go_back(&mut self, backwards: &Backwards) {
        let reason = match reverse::go_back(&self.vm, backwards) {
            Ok(Found::Stop(hart, reason)) => match backwards {
                Backwards::Step(_) => self.report(Stop {
                    hart,
                    reason: Reason::Step,
                }),
                Backwards::Continue(_) => self.report(Stop { hart, reason }),
            },
            Ok(Found::Beginning) => MultiThreadStopReason::ReplayLog {
                tid: None,
                pos: ReplayLogPosition::Begin,
            },
            Err(why) => {
                eprint!("\r\nringer: going back failed: {why}\r\n");
                MultiThreadStopReason::SignalWithThread {
                    tid: thread(0),
                    signal: Signal::SIGABRT,
                }
            }
        };
        self.came_to = Some(reason);
    }
    /// Whether gdb may change the machine. What was recorded could not be replayed then.
    fn may_write(&self) -> TargetResult<(), Self> {
        if self.vm.inputs.is_on_file() {
            return Err(TargetError::NonFatal);
        }
        // Going this way again would not bring it back.
        if let Some(history) = &mut *self.vm.history() {
            history.forget();
        }
        Ok(())
    }
    /// Lets the harts run, each as it was told.
    fn go(&mut self) {
        let points = self.points();
        // A deterministic machine has a schedule of its own.
        let locked = self.locked && matches!(self.vm.machine.clock, MachineClock::Host(_));
        for (seat, action) in self.vm.seats.iter().zip(&self.actions) {
            let mut seat = sit(seat);
            let otherwise = if locked { Order::Stay } else { Order::Run };
            seat.watch.order = action.unwrap_or(otherwise);
            seat.watch.points = Arc::clone(&points);
        }
        self.vm.stops.clear();
        self.vm.release();
    }
    /// The session is over: the machine runs on as if there had been none.
    pub fn let_go(&mut self) {
        self.software.clear();
        self.hardware.clear();
        self.watchpoints.clear();
        self.actions.fill(None);
        self.locked = false;
        self.vm.hold();
        self.go();
        self.vm.debugged.leave();
    }
    fn with_memory<T>(&self, tid: Tid, work: impl FnOnce(&View<'_>) -> T) -> TargetResult<T, Self> {
        let seat = self.vm.seats.get(hart(tid)).ok_or(TargetError::NonFatal)?;
        let seat = sit(seat);
        Ok(work(&View {
            board: &self.vm.machine.board,
            hart: (!self.physical).then_some(&seat.hart),
        }))
    }
    /// Asks the conductor, as the monitor prompt does.
    fn ask(&self, line: &str) -> String {
        let (sender, answer) = mpsc::channel();
        let request = Request {
            action: Action::Prompt { line: line.into() },
            reply_to: Box::new(move |reply| drop(sender.send(reply))),
        };
        let asked = self.vm.events.send(Event::Asked(request));
        match asked.ok().and_then(|()| answer.recv().ok()) {
            Some(Ok(answer)) => answer.to_string(),
            Some(Err(refused)) => refused.to_string(),
            None => "the machine has ended".to_string(),
        }
    }
}

impl Target for Debugger {
    type Arch = Riscv64;
    type Error = Never;

    fn base_ops(&mut self) -> BaseOps<'_, Self::Arch, Self::Error> {
        BaseOps::MultiThread(self)
    }
    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }
    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }
    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }
}

impl TargetDescriptionXmlOverride for Debugger {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(TargetError::NonFatal);
        }
        let text = self.description.as_bytes();
        let rest = usize::try_from(offset).ok().and_then(|at| text.get(at..));
        let rest = rest.unwrap_or_default();
        let len = rest.len().min(length).min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }
}

impl MultiThreadBase for Debugger {
    fn read_registers(&mut self, regs: &mut Core, tid: Tid) -> TargetResult<(), Self> {
        let seat = self.vm.seats.get(hart(tid)).ok_or(TargetError::NonFatal)?;
        *regs = registers::core(&sit(seat).hart);
        Ok(())
    }
    fn write_registers(&mut self, regs: &Core, tid: Tid) -> TargetResult<(), Self> {
        self.may_write()?;
        let seat = self.vm.seats.get(hart(tid)).ok_or(TargetError::NonFatal)?;
        registers::set_core(&mut sit(seat), regs);
        Ok(())
    }
    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }
    fn read_addrs(&mut self, start: u64, data: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        match self.with_memory(tid, |memory| memory.read(start, data))? {
            0 if !data.is_empty() => Err(TargetError::NonFatal),
            read => Ok(read),
        }
    }
    fn write_addrs(&mut self, start: u64, data: &[u8], tid: Tid) -> TargetResult<(), Self> {
        self.may_write()?;
        let written = self.with_memory(tid, |memory| memory.write(start, data))?;
        written.ok_or(TargetError::NonFatal)?;
        // It may have been code or a page table, of any hart.
        for seat in &self.vm.seats {
            registers::changed(&mut sit(seat));
        }
        Ok(())
    }
    fn list_active_threads(&mut self, found: &mut dyn FnMut(Tid)) -> Result<(), Never> {
        (0..self.vm.seats.len()).for_each(|hart| found(thread(hart)));
        Ok(())
    }
    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }
    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl SingleRegisterAccess<Tid> for Debugger {
    fn read_register(
        &mut self,
        tid: Tid,
        register: Register,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let seat = self.vm.seats.get(hart(tid)).ok_or(TargetError::NonFatal)?;
        let board = &*self.vm.machine.board;
        let value = registers::read(&mut sit(seat).hart, board, register);
        let bytes = value.ok_or(TargetError::NonFatal)?.to_le_bytes();
        let to = buf.get_mut(..bytes.len()).ok_or(TargetError::NonFatal)?;
        to.copy_from_slice(&bytes);
        Ok(bytes.len())
    }
    fn write_register(
        &mut self,
        tid: Tid,
        register: Register,
        value: &[u8],
    ) -> TargetResult<(), Self> {
        self.may_write()?;
        let seat = self.vm.seats.get(hart(tid)).ok_or(TargetError::NonFatal)?;
        let value = value.try_into().map_err(|_| TargetError::NonFatal)?;
        let board = &*self.vm.machine.board;
        registers::write(&mut sit(seat), board, register, u64::from_le_bytes(value))
            .ok_or(TargetError::NonFatal)
    }
}

impl ThreadExtraInfo for Debugger {
    fn thread_extra_info(&self, tid: Tid, buf: &mut [u8]) -> Result<usize, Never> {
        let Some(seat) = self.vm.seats.get(hart(tid)) else {
            return Ok(0);
        };
        let seat = sit(seat);
        let mode = seat.hart.mode.name();
        let activity = HartActivity::from(seat.activity);
        let text = format!("hart {} in {mode}, {activity}", hart(tid));
        let len = text.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), text.as_bytes().get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }
}

impl MultiThreadResume for Debugger {
    fn resume(&mut self) -> Result<(), Never> {
        self.go();
        Ok(())
    }
    fn clear_resume_actions(&mut self) -> Result<(), Never> {
        self.actions.fill(None);
        self.locked = false;
        Ok(())
    }
    fn set_resume_action_continue(&mut self, tid: Tid, _: Option<Signal>) -> Result<(), Never> {
        self.set_action(tid, Order::Run);
        Ok(())
    }
    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }
    fn support_reverse_step(&mut self) -> Option<ReverseStepOps<'_, Tid, Self>> {
        self.remembers().then_some(self)
    }
    fn support_reverse_cont(&mut self) -> Option<ReverseContOps<'_, Tid, Self>> {
        self.remembers().then_some(self)
    }
    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl ReverseStep<Tid> for Debugger {
    fn reverse_step(&mut self, tid: Tid) -> Result<(), Never> {
        self.go_back(&Backwards::Step(hart(tid)));
        Ok(())
    }
}

impl ReverseCont<Tid> for Debugger {
    fn reverse_cont(&mut self) -> Result<(), Never> {
        self.go_back(&Backwards::Continue(self.points()));
        Ok(())
    }
}

impl Debugger {
    fn remembers(&self) -> bool {
        self.vm.history().is_some()
    }
    fn set_action(&mut self, tid: Tid, order: Order) {
        if let Some(action) = self.actions.get_mut(hart(tid)) {
            *action = Some(order);
        }
    }
}

impl MultiThreadSingleStep for Debugger {
    fn set_resume_action_step(&mut self, tid: Tid, _: Option<Signal>) -> Result<(), Never> {
        self.set_action(tid, Order::Step);
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Debugger {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Never> {
        self.locked = true;
        Ok(())
    }
}

impl Breakpoints for Debugger {
    fn support_sw_breakpoint(&mut self) -> Option<points::SwBreakpointOps<'_, Self>> {
        Some(self)
    }
    fn support_hw_breakpoint(&mut self) -> Option<points::HwBreakpointOps<'_, Self>> {
        Some(self)
    }
    fn support_hw_watchpoint(&mut self) -> Option<points::HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

// Neither kind changes the guest's memory.
impl points::SwBreakpoint for Debugger {
    fn add_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.software.insert(address);
        Ok(true)
    }
    fn remove_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.software.remove(&address))
    }
}

impl points::HwBreakpoint for Debugger {
    fn add_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.hardware.insert(address);
        Ok(true)
    }
    fn remove_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        Ok(self.hardware.remove(&address))
    }
}

fn watchpoint(start: u64, len: u64, kind: points::WatchKind) -> Watchpoint {
    let kind = match kind {
        points::WatchKind::Read => WatchKind::Read,
        points::WatchKind::Write => WatchKind::Write,
        points::WatchKind::ReadWrite => WatchKind::Access,
    };
    Watchpoint { start, len, kind }
}

impl points::HwWatchpoint for Debugger {
    fn add_hw_watchpoint(
        &mut self,
        start: u64,
        len: u64,
        kind: points::WatchKind,
    ) -> TargetResult<bool, Self> {
        let room = self.watchpoints.len() < MOST_WATCHPOINTS;
        if room {
            self.watchpoints.push(watchpoint(start, len, kind));
        }
        Ok(room)
    }
    fn remove_hw_watchpoint(
        &mut self,
        start: u64,
        len: u64,
        kind: points::WatchKind,
    ) -> TargetResult<bool, Self> {
        let point = watchpoint(start, len, kind);
        let found = self.watchpoints.iter().position(|known| *known == point);
        Ok(found.map(|at| self.watchpoints.remove(at)).is_some())
    }
}

/// Every access is compared with all of them.
const MOST_WATCHPOINTS: usize = 256;

impl MonitorCmd for Debugger {
    fn handle_monitor_cmd(
        &mut self,
        command: &[u8],
        mut out: ConsoleOutput<'_>,
    ) -> Result<(), Never> {
        let command = String::from_utf8_lossy(command);
        let words: Vec<_> = command.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["phys", "on"] => {
                self.physical = true;
                "memory by physical addresses from here on".to_string()
            }
            ["phys", "off"] => {
                self.physical = false;
                "memory by virtual addresses from here on".to_string()
            }
            [] | ["help" | "h" | "?"] => format!("{}\n{HELP}", self.ask("help")),
            _ => self.ask(&command),
        };
        outputln!(out, "{}", answer.trim_end());
        Ok(())
    }
}
