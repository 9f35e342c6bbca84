//! The monitor: all guests, all real harts, the schedule between them, and what is done for
//! guests that no hart of theirs asks for.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use ringer_machine::power::Shutdown;
use ringer_metal::schedule::{Kick, Schedule};
use spin::{Mutex, Once};

use crate::bridge::Bridge;
use crate::console::{Console, TYPED_AHEAD};
use crate::cpu::{Cpu, CpuPort};
use crate::exits::Exits;
use crate::guest::{Guest, Life, Order};
use crate::hardware::platform::Platform;
use crate::hardware::{csr, stack};
use crate::prompt::Prompt;
use crate::virtual_hart::Slice;

/// Milliseconds between two looks at what no interrupt tells of.
const HOUSEKEEPING: u64 = 20;
/// What the end of a guest that cannot be started again is reported as.
const NOT_STARTED: u16 = 1;

/// Everything.
pub struct Monitor {
    /// The real machine.
    pub platform: Platform,
    /// The terminal.
    pub console: Arc<Console>,
    /// The guests.
    pub guests: Vec<Guest>,
    /// Who runs when.
    pub schedule: Mutex<Schedule>,
    /// Which guest and which of its harts a virtual hart is, by number.
    pub seats: Vec<(usize, usize)>,
    /// The real harts, as others see them.
    pub ports: Vec<CpuPort>,
    /// Who reads what is typed.
    pub prompt: Mutex<Prompt>,
    /// What was typed and not read.
    pub typed: Mutex<VecDeque<u8>>,
    /// The switches' connections to the world.
    pub bridges: Vec<Bridge>,
    /// When the housekeeping is due; 0 for at once.
    pub due: AtomicU64,
    /// Whether frames wait for somebody.
    pub mail: AtomicBool,
    /// Real harts that have come to work.
    pub at_work: AtomicUsize,
}

static MONITOR: Once<Monitor> = Once::new();

/// The monitor, once it is set up: the harts are released after that.
pub fn monitor() -> &'static Monitor {
    MONITOR.wait()
}

/// Makes `monitor` the one.
pub fn set_up(monitor: Monitor) -> &'static Monitor {
    MONITOR.call_once(|| monitor)
}

/// There is news for a virtual hart.
pub fn wake(hart: usize) {
    if let Some(monitor) = MONITOR.get() {
        let kick = monitor.schedule.lock().wake(hart, here(monitor));
        monitor.kick(kick);
    }
}

/// Who can be at a port of a switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receiver {
    /// A guest.
    Guest(usize),
    /// A bridge.
    Bridge(usize),
}

/// A frame waits for `receiver`. Whoever sent it may hold its device's lock still, so nothing is
/// delivered here: the slice ends, and [`Monitor::deliver`] does it.
pub fn frame_for(receiver: Receiver) {
    let Some(monitor) = MONITOR.get() else {
        return;
    };
    match receiver {
        Receiver::Guest(guest) => {
            if let Some(guest) = monitor.guests.get(guest) {
                guest.mail.store(true, Ordering::Release);
            }
        }
        Receiver::Bridge(bridge) => {
            if let Some(bridge) = monitor.bridges.get(bridge) {
                bridge.leave_mail();
            }
        }
    }
    monitor.mail.store(true, Ordering::Release);
    let port = monitor.port(here(monitor));
    port.interrupted.store(true, Ordering::Relaxed);
}

/// The place of the hart that this code runs on.
fn here(monitor: &Monitor) -> usize {
    let hart = csr::read!("mhartid") as usize;
    let place = monitor.platform.harts().iter().position(|id| *id == hart);
    place.unwrap_or(0)
}

impl Monitor {
    /// What others see of real hart `cpu`.
    pub fn port(&self, cpu: usize) -> &CpuPort {
        // There is one for each hart that works.
        &self.ports[cpu]
    }

    fn interrupt(&self, cpu: usize) {
        if let Some(timer) = self.platform.timer(cpu) {
            timer.kick();
        }
    }

    /// Interrupts whom the schedule names.
    pub fn kick(&self, kick: Kick) {
        match kick {
            Kick::None => {}
            Kick::Cpu(cpu) => self.interrupt(cpu),
            Kick::Preempt(cpu) => {
                self.port(cpu).interrupted.store(true, Ordering::Relaxed);
                self.interrupt(cpu);
            }
        }
    }

    /// Runs virtual hart `number` on `cpu` until `until`.
    pub fn run(&self, cpu: &mut Cpu, number: usize, until: u64) -> Slice {
        let Some((guest, hart)) = self.seats.get(number).copied() else {
            return Slice::Sleeps(None);
        };
        let Some(guest) = self.guests.get(guest) else {
            return Slice::Sleeps(None);
        };
        let Some(hart) = guest.harts.get(hart) else {
            return Slice::Sleeps(None);
        };
        // Somebody looks at it, and shows it on a slow terminal: others may run meanwhile.
        let Some(mut hart) = hart.try_lock() else {
            return Slice::More;
        };
        let slice = hart.slice(self, guest, cpu, until);
        drop(hart);
        if let Some(shutdown) = guest.board.take_shutdown() {
            self.order(
                guest,
                match shutdown {
                    Shutdown::PowerOff => Order::Off(0),
                    Shutdown::Fail(code) => Order::Off(code),
                    Shutdown::Reset => Order::Reset,
                },
            );
        }
        // In the time of the guest that sent them.
        self.deliver();
        slice
    }

    /// Lets those take up their frames for whom some wait. One round: what they answer at once
    /// waits for the next.
    fn deliver(&self) {
        if !self.has_mail() || !self.mail.swap(false, Ordering::AcqRel) {
            return;
        }
        self.carry();
        for guest in &self.guests {
            if guest.mail.swap(false, Ordering::AcqRel) {
                guest.board.poll();
            }
        }
    }

    fn carry(&self) {
        for bridge in &self.bridges {
            if bridge.carry() {
                self.mail.store(true, Ordering::Release);
            }
        }
    }

    /// Whether frames wait for somebody.
    pub fn has_mail(&self) -> bool {
        self.mail.load(Ordering::Relaxed)
    }

    /// Has `order` carried out when no hart of `guest` runs any more. The latest order counts.
    pub fn order(&self, guest: &Guest, order: Order) {
        *guest.order.lock() = Some(order);
        self.hold(guest);
        self.look_soon();
    }

    /// The housekeeping is due at once.
    pub fn look_soon(&self) {
        self.due.store(0, Ordering::SeqCst);
    }

    /// Whether it is.
    pub fn is_due_at_once(&self) -> bool {
        self.due.load(Ordering::SeqCst) == 0
    }

    /// Stops the harts of `guest` where they are.
    pub fn hold(&self, guest: &Guest) {
        let running = self.schedule.lock().hold(guest.number);
        for cpu in running {
            self.kick(Kick::Preempt(cpu));
        }
    }

    /// Lets them go on.
    pub fn release(&self, guest: &Guest) {
        *guest.life.lock() = Life::Running;
        let kick = self.schedule.lock().release(guest.number, here(self));
        self.kick(kick);
    }

    /// What is done between slices: orders, lines that were begun, devices that have news.
    pub fn housekeeping(&self) {
        self.deliver();
        let now = self.platform.time.now();
        let due = self.due.load(Ordering::SeqCst);
        let next = now.saturating_add(self.platform.ticks(HOUSEKEEPING));
        let exchange =
            || (self.due).compare_exchange(due, next, Ordering::SeqCst, Ordering::SeqCst);
        if now < due || exchange().is_err() {
            return;
        }
        self.read_what_was_typed();
        self.carry_out_orders();
        if due != 0 {
            self.console.show_prompts();
        }
        self.bridges.iter().for_each(Bridge::leave_mail);
        self.carry();
        for guest in &self.guests {
            guest.board.poll();
        }
    }

    fn read_what_was_typed(&self) {
        let Some(mut prompt) = self.prompt.try_lock() else {
            // Who reads may have seen the end already.
            self.look_soon();
            return;
        };
        loop {
            let byte = self.typed.lock().pop_front();
            match byte {
                Some(byte) => prompt.typed(self, byte),
                None => return,
            }
        }
    }

    fn carry_out_orders(&self) {
        for guest in &self.guests {
            // The lock is held until the order has been carried out: one at a time.
            let Some(mut order) = guest.order.try_lock() else {
                self.look_soon();
                continue;
            };
            let Some(what) = *order else {
                continue;
            };
            // Before the question: whoever is put back after it looks here again.
            self.look_soon();
            if !self.schedule.lock().is_still(guest.number) {
                continue;
            }
            *order = None;
            match what {
                Order::Reset => {
                    let before = self.platform.time.now();
                    let started = guest.start();
                    match &started {
                        Ok(()) => self.say_of(guest, format_args!("starts again")),
                        Err(error) => self.say_of(guest, format_args!("cannot start: {error}")),
                    }
                    let ticks = self.platform.time.now().saturating_sub(before);
                    self.schedule.lock().charge(guest.number, ticks);
                    match started {
                        Ok(()) => self.release(guest),
                        Err(_) => self.end(guest, NOT_STARTED),
                    }
                }
                Order::Off(code) => {
                    match code {
                        0 => self.say_of(guest, format_args!("is off")),
                        code => self.say_of(guest, format_args!("failed with code {code}")),
                    }
                    self.end(guest, code);
                }
            }
        }
    }

    fn end(&self, guest: &Guest, code: u16) {
        *guest.life.lock() = Life::Off(code);
        self.end_if_all_are_off();
    }

    fn say_of(&self, guest: &Guest, what: fmt::Arguments<'_>) {
        self.console
            .say(format_args!("ringer: {} {what}\n", guest.name()));
    }

    fn end_if_all_are_off(&self) {
        let mut code = 0;
        for guest in &self.guests {
            match *guest.life.lock() {
                Life::Off(own) if code == 0 => code = own,
                Life::Off(_) => {}
                _ => return,
            }
        }
        let mut words = self.platform.arguments.split_ascii_whitespace();
        if words.any(|word| word == "stats") {
            for guest in &self.guests {
                self.show_exits(guest);
            }
            let others = (1..self.at_work.load(Ordering::Relaxed)).map(stack::deepest);
            self.console.say(format_args!(
                "ringer: at most {} bytes of the first stack and {} of the others were used, of {}\n",
                stack::deepest(0),
                others.max().unwrap_or(0),
                stack::USABLE
            ));
        }
        self.console
            .say(format_args!("ringer: all guests are off; switching off\n"));
        self.platform.power.off(code);
    }

    /// Shows what brought a guest into the monitor.
    pub fn show_exits(&self, guest: &Guest) {
        let mut exits = Exits::default();
        let mut retired = 0u64;
        let mut rewritten = 0u64;
        for hart in &guest.harts {
            // A hart that runs is counted up to its last slice: try again, or leave it out.
            if let Some(hart) = hart.try_lock() {
                exits.add(&hart.exits);
                retired = retired.wrapping_add(hart.hart.counts.retired);
                rewritten = rewritten.wrapping_add(hart.stay.instructions);
            }
        }
        self.console.say(format_args!(
            "{}: {retired} instructions, {rewritten} of them in rewritten code\n{exits}",
            guest.name()
        ));
    }

    /// The guest's numbers in the schedule.
    pub fn numbers(&self, guest: &Guest) -> impl Iterator<Item = usize> {
        let number = guest.number;
        let seats = self.seats.iter().enumerate();
        seats.filter_map(move |(seat, (guest, _))| (*guest == number).then_some(seat))
    }

    /// Stops a guest where it is, unless it is about to be stopped or started anyway.
    pub fn pause(&self, guest: &Guest) {
        let order = guest.order.lock();
        let mut life = guest.life.lock();
        if order.is_none() && *life == Life::Running {
            *life = Life::Paused;
            self.hold(guest);
        }
    }

    /// Lets a paused guest go on, unless it is about to be stopped or started anyway.
    pub fn resume(&self, guest: &Guest) {
        let order = guest.order.lock();
        let paused = *guest.life.lock() == Life::Paused;
        if order.is_none() && paused {
            self.release(guest);
        }
    }

    /// Serves the monitor's own devices.
    pub fn serve_devices(&self) {
        let Some(interrupts) = &self.platform.interrupts else {
            return;
        };
        while let Some(source) = interrupts.claim() {
            if matches!(self.platform.serial, Some((_, irq)) if irq == source) {
                while let Some(byte) = self.console.receive() {
                    let mut typed = self.typed.lock();
                    // Dropped, as by a serial port, if the harts are too busy to look.
                    if typed.len() < TYPED_AHEAD {
                        typed.push_back(byte);
                    }
                }
                self.look_soon();
            }
            let bridges = self.bridges.iter();
            for bridge in bridges.filter(|bridge| bridge.interrupt() == Some(source)) {
                bridge.interrupted();
                self.mail.store(true, Ordering::Release);
            }
            interrupts.complete(source);
        }
    }
}
