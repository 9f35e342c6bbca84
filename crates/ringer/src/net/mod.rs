//! Networks behind network devices, and the threads that drive them.

mod echo;
pub mod spec;
pub mod tap;
pub mod user;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ringer_machine::backend::NetBackend;
use ringer_machine::board::{Board, MakeDevice};
use ringer_machine::virtio::{Net, NetControl, Renewal, in_slot};
use rustix::event::{PollFd, PollFlags};

use crate::exit::Failure;
use crate::io_counts::{Counted, IoCounts};
use crate::sandbox::Needs;
use echo::Echo;

pub use spec::{MacAddress, NetKind, NetSpec};
pub use tap::{Tap, TapError};
use user::{Ends, Publish, SavedPair, Stack};

/// How long frames wait that a guest has no room for.
const BUSY: Duration = Duration::from_millis(1);

/// What a card is connected to.
enum Source {
    Tap(Tap),
    User(Box<Stack>),
}

/// A machine's networks.
#[derive(Default)]
pub struct Networks {
    /// Those that are not driven yet, with their cards' slots.
    sources: Mutex<Vec<(Source, usize)>>,
    /// The published ports, as they were opened.
    published: Vec<Publish>,
    cards: Vec<Card>,
}

/// A card, as far as it can be changed behind its driver's back.
struct Card {
    control: NetControl,
    slot: usize,
    /// The address that was asked for, or a new one.
    mac: MacAddress,
    is_asked_for: bool,
    /// Other machines are on its network.
    is_shared: bool,
    /// Of its connections, where they end in this process.
    ends: Ends,
}

impl Networks {
    /// Opens what `spec` describes, and returns the device for it, called `name`, which comes
    /// into the virtio slot `slot`, with the counts of what it transfers.
    pub fn connect(
        &mut self,
        slot: usize,
        name: &str,
        spec: &NetSpec,
        mac: MacAddress,
        publish: &[Publish],
    ) -> Result<(MakeDevice, Arc<IoCounts>), Failure> {
        let mut ends = Ends::default();
        let (backend, source): (Box<dyn NetBackend>, Option<Source>) = match &spec.kind {
            NetKind::Tap(name) => {
                let tap = Tap::open(name.as_deref()).map_err(Failure::monitor)?;
                (Box::new(tap.clone()), Some(Source::Tap(tap)))
            }
            NetKind::User(policy) => {
                let (card, stack, opened) =
                    user::open(*policy, publish).map_err(Failure::monitor)?;
                self.published.extend(opened);
                ends = stack.ends().clone();
                (Box::new(card), Some(Source::User(Box::new(stack))))
            }
            NetKind::Echo => (Box::new(Echo::default()), None),
        };
        let sources = self.sources.get_mut();
        let sources = sources.unwrap_or_else(PoisonError::into_inner);
        sources.extend(source.map(|source| (source, slot)));
        let (backend, counts) = Counted::new(backend);
        let card = Net::new(Box::new(backend), mac);
        self.cards.push(Card {
            control: card.control(),
            slot,
            mac,
            is_asked_for: spec.mac.is_some(),
            is_shared: !spec.is_user(),
            ends,
        });
        Ok((in_slot(name.to_string(), Box::new(card)), counts))
    }
    /// Behind a restore, before the guest runs: a clone's cards get new addresses, as do those whose
    /// address was asked for. Others keep theirs.
    pub fn renew_addresses(&self, board: &Board, is_clone: bool) {
        for card in &self.cards {
            if is_clone || card.is_asked_for {
                card.control.renew(Renewal {
                    mac: card.mac,
                    cut_off: card.is_shared,
                });
                board.poll_virtio(card.slot);
            }
        }
    }
    /// The ends of all connections, by card.
    pub fn save_ends(&self) -> Vec<Vec<SavedPair>> {
        self.cards.iter().map(|card| card.ends.save()).collect()
    }
    /// Before the networks start: these connections were open when the machine was saved. The guest
    /// is told that they are over.
    pub fn restore_ends(&self, saved: &[Vec<SavedPair>]) {
        for (card, saved) in self.cards.iter().zip(saved) {
            card.ends.restore(saved);
        }
    }
    /// The published ports, as they were opened.
    pub fn published(&self) -> &[Publish] {
        &self.published
    }
    /// Begins to carry frames to and from the cards on `board`.
    pub fn start(&self, board: &Arc<Board>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, slot) in sources.drain(..) {
            let board = board.clone();
            let poll = move || board.poll_virtio(slot);
            thread::spawn(move || match source {
                Source::User(stack) => user::run(*stack, poll),
                Source::Tap(tap) => watch(&tap, poll),
            });
        }
    }
}

/// What machines with these cards need of the host while they run.
pub fn needs(cards: &[NetSpec], needs: &mut Needs) {
    for card in cards {
        // Published ports are open before, so an isolated guest needs nothing.
        if let NetKind::User(policy) = &card.kind
            && (!policy.isolated || policy.host_loopback)
        {
            needs.network().read(user::RESOLV_CONF);
        }
    }
}

/// Lets a card take frames up, by `poll`, when they come in.
fn watch(tap: &Tap, poll: impl Fn()) {
    let ready = |timeout: Option<&rustix::event::Timespec>| {
        let mut fds = [PollFd::new(tap, PollFlags::IN)];
        matches!(rustix::event::poll(&mut fds, timeout), Ok(count) if count > 0)
    };
    let at_once = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    loop {
        if ready(None) {
            poll();
        }
        if ready(Some(&at_once)) {
            thread::sleep(BUSY);
        }
    }
}
