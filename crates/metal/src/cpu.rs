//! One real hart: what it has been set to, and the loop in which it runs virtual harts.

use core::sync::atomic::{AtomicBool, Ordering};

use ringer_hart::GuestVirt;
use ringer_hart::bus::irq;
use ringer_hart::csr::{menvcfg, satp};
use ringer_hart::extensions::Paging;
use ringer_metal::schedule::{Next, State};
use ringer_shadow::{HostFence, Root};

use crate::hardware::csr;
use crate::hardware::passage::Passage;
use crate::hardware::{float, protection};
use crate::monitor::{Monitor, monitor};
use crate::virtual_hart::Slice;

/// Milliseconds after which a line that a guest has begun is shown though it is not complete.
const PATIENCE: u64 = 50;

/// What others see of a real hart.
#[derive(Default)]
pub struct CpuPort {
    /// Ends the slice of whoever runs there.
    pub interrupted: AtomicBool,
}

/// What a real hart can do for guests, found out once.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// The largest ASID; 0 if there are none.
    pub asid_mask: u64,
    /// MODE for `satp`, in place.
    pub satp_mode: u64,
    /// Page tables in that mode, if there are any.
    pub paging: Option<Paging>,
    /// Bits of `menvcfg` that let guests use cache-block operations themselves.
    pub cache_blocks: u64,
    /// Whether it has floating-point registers.
    pub float: bool,
    /// Whether physical memory can be protected.
    pub protection: bool,
}

impl Abilities {
    /// Asks the real hart. Translation does not concern M-mode, so `satp` may be tried out.
    pub fn find() -> Self {
        let modes = [satp::MODE_SV57, satp::MODE_SV48, satp::MODE_SV39];
        let best = modes.into_iter().find(|mode| {
            csr::write!("satp", mode << satp::MODE_SHIFT);
            csr::read!("satp") >> satp::MODE_SHIFT == *mode
        });
        let mode = best.unwrap_or(satp::MODE_BARE);
        csr::write!("satp", mode << satp::MODE_SHIFT | 0xffff << 44);
        let asid_mask = csr::read!("satp") >> 44 & 0xffff;
        csr::write!("satp", 0);
        let flush = menvcfg::CBIE_FLUSH << menvcfg::CBIE_SHIFT;
        let wanted = flush | menvcfg::CBCFE | menvcfg::CBZE;
        // Harts from before Privileged 1.12 have none.
        let cache_blocks = csr::try_write!("menvcfg", wanted) & wanted;
        Self {
            asid_mask,
            satp_mode: mode << satp::MODE_SHIFT,
            paging: Paging::of_mode(mode),
            cache_blocks,
            float: float::is_there(),
            protection: protection::is_there(),
        }
    }
}

/// The real hart that this code runs on: what its CSRs hold, so that they are written only when
/// that changes.
pub struct Cpu {
    /// Its place among the monitor's harts.
    pub index: usize,
    /// What it can do.
    pub abilities: Abilities,
    /// The way in and out.
    pub passage: Passage,
    /// Instructions that the passage takes itself.
    pub passage_cost: u64,
    satp: u64,
    counters: u64,
    cache_blocks: u64,
    timer: u64,
    guest: Option<usize>,
}

impl Cpu {
    /// The hart that this runs on, made ready to run guests.
    pub fn new(index: usize) -> Self {
        let passage = Passage::default();
        // Everything traps to the monitor.
        csr::write!("medeleg", 0);
        csr::write!("mideleg", 0);
        let cpu = Self {
            index,
            abilities: Abilities::find(),
            passage_cost: passage.measure(),
            passage,
            satp: 0,
            counters: 0,
            cache_blocks: 0,
            timer: 0,
            guest: None,
        };
        // Guests read no counter before they may.
        csr::write!("mcounteren", 0);
        csr::write!("scounteren", 0);
        csr::try_write!("menvcfg", 0);
        csr::try_write!("senvcfg", 0);
        csr::write!("mie", irq::MSI | irq::MTI | irq::MEI);
        cpu
    }

    /// The ASID of a virtual hart's root; virtual harts have numbers from 0 on.
    fn asid(&self, hart: usize, slot: usize) -> u64 {
        let asid = (hart * crate::virtual_hart::ROOTS + slot + 1) as u64;
        if asid <= self.abilities.asid_mask {
            asid
        } else {
            0
        }
    }

    /// Translates by `root`, of virtual hart `hart`, from now on.
    pub fn set_root(&mut self, hart: usize, root: Root) {
        let asid = self.asid(hart, root.slot);
        let satp = self.abilities.satp_mode | asid << 44 | root.table.0 >> 12;
        if satp != self.satp {
            csr::write!("satp", satp);
            self.satp = satp;
            if asid == 0 {
                csr::fence_translations();
                return;
            }
        }
        self.fence(hart, root.fence);
    }

    /// Forgets what a shadow says must be forgotten.
    pub fn fence(&self, hart: usize, fence: HostFence) {
        match fence {
            HostFence::None => {}
            HostFence::Address {
                va: GuestVirt(va),
                slot,
            } => csr::fence_address(va, self.asid(hart, slot)),
            HostFence::Slot(slot) => csr::fence_space(self.asid(hart, slot)),
        }
    }

    /// Lets the guest read `time` itself, or not.
    pub fn allow_time(&mut self, allowed: bool) {
        const TIME: u64 = 1 << 1;
        let counters = if allowed { TIME } else { 0 };
        if counters != self.counters {
            self.counters = counters;
            csr::write!("mcounteren", counters);
            csr::write!("scounteren", counters);
        }
    }

    /// Lets the guest use these cache-block operations itself.
    pub fn allow_cache_blocks(&mut self, allowed: u64) {
        let allowed = allowed & self.abilities.cache_blocks;
        if allowed != self.cache_blocks {
            self.cache_blocks = allowed;
            csr::write!("menvcfg", allowed);
            csr::write!("senvcfg", allowed);
        }
    }

    /// Has the timer interrupt at `ticks` of the real clock. False if it was going to.
    pub fn set_timer(&mut self, monitor: &Monitor, ticks: u64) -> bool {
        let new = ticks != self.timer;
        if new {
            self.timer = ticks;
            if let Some(timer) = monitor.platform.timer(self.index) {
                timer.set(ticks);
            }
        }
        new
    }

    /// A virtual hart of guest `guest` is about to run here.
    pub fn admit(&mut self, monitor: &Monitor, guest: usize, stranger: bool) {
        if self.guest != Some(guest) {
            self.guest = Some(guest);
            if let Some(guest) = monitor.guests.get(guest) {
                protection::confine(&guest.estate);
            }
        } else if stranger {
            csr::fence_translations();
        }
        if stranger {
            csr::fence_i();
        }
        csr::drop_reservation();
    }

    /// The real hart's work: runs whoever is due, for ever.
    pub fn work(&mut self) -> ! {
        let monitor = monitor();
        loop {
            // Not only a guest's traps bring them here: one whose instructions are executed by
            // the definition may never trap.
            self.take_interrupts(monitor);
            monitor.housekeeping();
            let now = monitor.platform.time.now();
            // Before the schedule says who runs here: whoever then finds it there and wants
            // its slice ended must not be overlooked.
            let port = monitor.port(self.index);
            port.interrupted.store(false, Ordering::Relaxed);
            let (next, call) = monitor.schedule.lock().next(self.index, now);
            monitor.kick(call);
            match next {
                Next::Run { hart, until } => {
                    let slice = monitor.run(self, hart, until);
                    let ticks = monitor.platform.time.now().saturating_sub(now);
                    let after = match slice {
                        Slice::More => State::Ready,
                        Slice::Sleeps(until) => State::Waiting(until),
                    };
                    monitor.schedule.lock().put_back(hart, ticks, after);
                }
                // An order waits for harts that run elsewhere, or a frame came in meanwhile.
                Next::Idle(_) if monitor.is_due_at_once() => core::hint::spin_loop(),
                Next::Idle(until) => {
                    let patience = monitor.platform.ticks(PATIENCE);
                    let prompts = monitor.console.has_prompts().then_some(now + patience);
                    let until = until.into_iter().chain(prompts).min();
                    self.set_timer(monitor, until.unwrap_or(u64::MAX));
                    if csr::read!("mip") & csr::read!("mie") == 0 && !monitor.has_mail() {
                        csr::wait();
                    }
                }
            }
        }
    }

    /// Whether the real hart has an interrupt for the monitor.
    pub fn is_interrupted(&self) -> bool {
        csr::read!("mip") & (irq::MSI | irq::MTI | irq::MEI) != 0
    }

    /// Does what the real hart's pending interrupts ask for.
    pub fn take_interrupts(&mut self, monitor: &Monitor) {
        let pending = csr::read!("mip");
        if pending & irq::MSI != 0
            && let Some(timer) = monitor.platform.timer(self.index)
        {
            timer.acknowledge();
        }
        if pending & irq::MTI != 0 {
            self.set_timer(monitor, u64::MAX);
        }
        if pending & irq::MEI != 0 {
            monitor.serve_devices();
            // What they brought is looked at between slices.
            let port = monitor.port(self.index);
            port.interrupted.store(true, Ordering::Relaxed);
        }
    }
}
