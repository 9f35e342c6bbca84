//! Bridges: a switch between guests, connected to a network card of the machine.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, Ordering};

use ringer_machine::backend::NetBackend;
use spin::Mutex;

use crate::hardware::virtio::HostCard;
use crate::network::Cable;

/// Frames that are carried in one direction before others get a turn.
const BURST: usize = 64;
/// Room for the largest frame that guests send.
const FRAME: usize = 65535 + 14;

/// A bridge.
pub struct Bridge {
    /// The card's interrupt.
    interrupt: Option<u32>,
    /// Whether there is something to carry.
    mail: AtomicBool,
    inside: Mutex<Inside>,
}

struct Inside {
    card: HostCard,
    cable: Cable,
    frame: Box<[u8]>,
}

impl Bridge {
    /// Connects `card` and the switch that `cable` leads to.
    pub fn new(card: HostCard, cable: Cable) -> Self {
        Self {
            interrupt: card.interrupt(),
            mail: AtomicBool::new(true),
            inside: Mutex::new(Inside {
                card,
                cable,
                frame: alloc::vec![0; FRAME].into(),
            }),
        }
    }
    /// The card's interrupt.
    pub fn interrupt(&self) -> Option<u32> {
        self.interrupt
    }
    /// There is something to carry.
    pub fn leave_mail(&self) {
        self.mail.store(true, Ordering::Release);
    }
    /// The card has interrupted.
    pub fn interrupted(&self) {
        self.inside.lock().card.acknowledge();
        self.leave_mail();
    }
    /// Carries frames both ways. True if there are more.
    pub fn carry(&self) -> bool {
        if !self.mail.swap(false, Ordering::AcqRel) {
            return false;
        }
        let mut inside = self.inside.lock();
        let more = inside.carry();
        if more {
            self.leave_mail();
        }
        more
    }
}

impl Inside {
    fn carry(&mut self) -> bool {
        let Self { card, cable, frame } = self;
        for _ in 0..BURST {
            let Some(len) = card.receive(frame) else {
                break;
            };
            if let Some(frame) = frame.get(..len).filter(|frame| !frame.is_empty()) {
                cable.send(frame);
            }
        }
        let mut left = BURST;
        // What the card has no room for waits at the switch: the card interrupts when it has.
        while left > 0 && card.can_send() {
            let Some(len) = cable.receive(frame) else {
                break;
            };
            card.send(frame.get(..len).unwrap_or_default());
            left -= 1;
        }
        card.tell();
        left == 0 || card.has_frame()
    }
}
