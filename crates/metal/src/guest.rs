//! A guest: its board with what stands behind the devices, its virtual harts, and how it starts.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::sync::atomic::AtomicBool;

use ringer_bundle::Guest as Description;
use ringer_hart::extensions::{Paging, Profile};
use ringer_hart::{Bus, GuestPhys, Hart, Lines};
use ringer_machine::activity::Activity;
use ringer_machine::backend::EntropyBackend;
use ringer_machine::board::{Board, BoardBuilder};
use ringer_machine::boot::{Images, Start, prepare};
use ringer_machine::device_tree;
use ringer_machine::sbi::Sbi;
use ringer_machine::virtio::{Blk, Net, Rng, in_slot};
use ringer_metal::randomness::{RandomStream, Randomness};
use ringer_shadow::{HostPhys, Shadow, ShadowError};
use spin::Mutex;

use crate::clock::GuestClock;
use crate::console::{Console, GuestConsole};
use crate::grounds::Grounds;
use crate::hardware::platform::Platform;
use crate::hardware::protection::Estate;
use crate::monitor::{self, Receiver};
use crate::virtual_hart::{ROOTS, VirtualHart};

/// What a guest is doing, as seen from the prompt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// Its harts run when they can.
    Running,
    /// Somebody has paused it.
    Paused,
    /// It has switched itself off, with this code, or was stopped.
    Off(u16),
}

/// What is to be done with a guest once none of its harts runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Start it from the beginning.
    Reset,
    /// Switch it off.
    Off(u16),
}

/// A guest.
pub struct Guest {
    /// Its number at the prompt.
    pub number: usize,
    /// As the bundle describes it.
    pub description: Description<'static>,
    /// Everything around its harts.
    pub board: Arc<Board>,
    /// Its firmware interface, if it starts as a kernel.
    pub sbi: Option<Sbi>,
    /// Its clock.
    pub clock: Arc<GuestClock>,
    /// Its memory on the real machine.
    pub estate: Estate,
    /// Its harts.
    pub harts: Vec<Mutex<VirtualHart>>,
    /// What it is doing. Changed by whoever holds `order`, too.
    pub life: Mutex<Life>,
    /// What is to be done with it. Held while that is done.
    pub order: Mutex<Option<Order>>,
    /// Random bytes for its start.
    random: Mutex<RandomStream>,
    /// Whether frames wait for it.
    pub mail: AtomicBool,
}

/// Wakes the CPU, or the schedule, when a wire of a virtual hart moves.
struct Bell {
    hart: usize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        monitor::wake(self.hart);
    }
}

/// What guests are built with.
pub struct Surroundings<'a> {
    /// The real machine.
    pub platform: &'a Platform,
    /// The terminal.
    pub console: &'a Arc<Console>,
    /// Page tables of the real harts.
    pub paging: Paging,
    /// What guests are told that their harts have.
    pub profile: Profile,
    /// The networks between guests.
    pub switches: &'a mut crate::network::Switches,
    /// Nanoseconds since 1970 when the real clock stood at 0.
    pub epoch: u64,
    /// Random bytes for guests.
    pub randomness: &'a Randomness,
}

impl Guest {
    /// Builds the guest with this description. Its first virtual hart has number `first`.
    pub fn build(
        number: usize,
        first: usize,
        description: Description<'static>,
        grounds: Grounds,
        around: &mut Surroundings<'_>,
    ) -> Result<Self, String> {
        let Grounds {
            ram,
            pools,
            estate,
            disks,
        } = grounds;
        let lines: Arc<[Lines]> = (0..description.harts)
            .map(|hart| {
                let bell = Bell { hart: first + hart };
                Lines::with_waker(Arc::new(bell).into())
            })
            .collect();
        let time = around.platform.time;
        let clock = Arc::new(GuestClock::new(
            time,
            around.platform.timebase,
            around.epoch,
        ));
        let terminal = GuestConsole::new(around.console.clone(), number);
        let mut builder =
            BoardBuilder::new(Arc::new(ram), lines, clock.clone(), Box::new(terminal))
                .profile(around.profile);
        for (index, backend) in disks.into_iter().enumerate() {
            let device = Blk::new(backend, &format!("ringer-disk{index}"));
            builder = builder.virtio(in_slot(format!("disk{index}"), Box::new(device)));
        }
        for (index, port) in description.ports.iter().enumerate() {
            let mac = description.mac(index).ok_or("a port without an address")?;
            let cable = (around.switches).cable(port.switch, Receiver::Guest(number));
            let device = Net::new(Box::new(cable), mac.0);
            builder = builder.virtio(in_slot(format!("net{index}"), Box::new(device)));
        }
        // One stream for the device, one for what the guest is handed when it starts.
        let stream = |which| around.randomness.stream(2 * number as u64 + which);
        let random = stream(0);
        builder = builder.virtio(in_slot(
            "rng".to_string(),
            Box::new(Rng::new(Box::new(random))),
        ));
        let board = builder.build().map_err(|error| error.to_string())?;

        let harts = pools
            .into_iter()
            .enumerate()
            .map(|(id, pool)| {
                let shadow = Shadow::new(pool, around.paging, ROOTS, HostPhys(estate.ram.0))?;
                Ok(Mutex::new(VirtualHart::new(
                    first + id,
                    Hart::new(id, 0),
                    shadow,
                )))
            })
            .collect::<Result<_, ShadowError>>()
            .map_err(|error| error.to_string())?;
        let is_kernel = description.firmware.is_none();
        let guest = Self {
            number,
            sbi: is_kernel.then(|| Sbi::new(description.harts)),
            description,
            board: Arc::new(board),
            clock,
            estate,
            harts,
            life: Mutex::new(Life::Running),
            order: Mutex::new(None),
            random: Mutex::new(stream(1)),
            mail: AtomicBool::new(false),
        };
        guest.start()?;
        Ok(guest)
    }

    /// Puts everything to where it starts from. None of its harts runs.
    pub fn start(&self) -> Result<(), String> {
        let description = &self.description;
        self.board.reset();
        self.clock.reset();
        let images = Images {
            firmware: description.firmware.as_ref().map(|program| program.image()),
            kernel: description.kernel.as_ref().map(|program| program.image()),
            initrd: description.initrd.map(|bytes| bytes.len() as u64),
        };
        let mut random = [0; 32];
        let drawn = self.random.lock().fill(&mut random);
        drawn.map_err(|error| error.to_string())?;
        let words = device_tree::Guest {
            command_line: description.command_line,
            initrd: None,
            seed: &random,
        };
        let (layout, start) =
            prepare(&self.board, &images, &words).map_err(|error| error.to_string())?;
        let ram = self.board.ram();
        let programs = [
            (&description.firmware, layout.firmware),
            (&description.kernel, layout.kernel),
        ];
        for (program, placed) in programs {
            if let (Some(program), Some(placed)) = (program, placed) {
                program.put(ram, placed).ok_or("its memory is too small")?;
            }
        }
        if let (Some(bytes), Some(span)) = (description.initrd, layout.initrd) {
            ram.write(span.base, bytes)
                .ok_or("its memory is too small")?;
        }
        let (entry, activity) = match start {
            Start::Firmware { entry } => (entry, Activity::Running),
            Start::Kernel { .. } => (GuestPhys(0), Activity::Stopped),
        };
        for (id, hart) in self.harts.iter().enumerate() {
            let mut state = Hart::new(id, entry.0);
            state.paging = self.board.profile().paging;
            hart.lock().restart(state, activity);
        }
        if let (Some(sbi), Start::Kernel { entry, device_tree }) = (&self.sbi, start) {
            sbi.reset();
            sbi.boot(0, entry, device_tree.0);
        }
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.description.name
    }
}
