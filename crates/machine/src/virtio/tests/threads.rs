//! A driver on one thread, the device's backend on another: no wake-up is lost.

extern crate std;

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{RING, VERSION_1};
use crate::backend::{SeededEntropy, Switch};
use crate::device::Device;
use crate::virtio::testing::{BUFFERS, Rig, writable};
use crate::virtio::{Net, Rng};

const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for an interrupt and acknowledges it.
fn wait_for_interrupt(rig: &Rig) {
    let start = Instant::now();
    while !rig.interrupt() {
        assert!(start.elapsed() < PATIENCE, "an interrupt was lost");
        thread::yield_now();
    }
    rig.acknowledge();
}

#[test]
fn requests_race_with_a_polling_thread() {
    for features in [VERSION_1, RING] {
        let rig = Rig::new(Box::new(Rng::new(Box::new(SeededEntropy::new(3)))));
        let mut queues = rig.start(features, 1, 8).unwrap();
        let queue = &mut queues[0];
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    rig.device().poll();
                }
            });
            for round in 0..4000_u32 {
                let count = 1 + round % 7;
                // Asked for before the requests, so that the answer cannot come too early.
                queue.want_interrupt_after(rig.ram(), count as u16);
                for _ in 0..count {
                    queue.add(rig.ram(), &[writable(BUFFERS, 8)]);
                    rig.kick(queue);
                }
                let mut done = 0;
                while done < count {
                    match queue.take_used(rig.ram()) {
                        Some(_) => done += 1,
                        None => wait_for_interrupt(&rig),
                    }
                }
                rig.acknowledge();
            }
            over.store(true, Ordering::Release);
        });
    }
}

/// On a failure, tells the other thread that all is taken.
struct Release<'a>(&'a AtomicU32);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.store(u32::MAX, Ordering::Release);
    }
}

#[test]
fn frames_race_with_the_buffers_for_them() {
    let switch = Switch::new();
    let rig = Rig::new(Box::new(Net::new(
        Box::new(switch.port()),
        [2, 0, 0, 0, 0, 1],
    )));
    let mut queues = rig.start(rig.offered(), 3, 8).unwrap();
    let mut peer = switch.port();
    const FRAMES: u32 = 20_000;
    let taken = AtomicU32::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..FRAMES {
                let mut frame = [0xff; 64];
                frame[6] = 2;
                frame[60..].copy_from_slice(&n.to_le_bytes());
                crate::backend::NetBackend::send(&mut peer, &frame);
                rig.device().poll();
                // Not so fast that the switch has to drop.
                while n > taken.load(Ordering::Acquire).saturating_add(1000) {
                    thread::yield_now();
                }
            }
        });
        // Lets the sender end if this thread fails.
        let _release = Release(&taken);
        let queue = &mut queues[0];
        let mut wanted = 0;
        let start = Instant::now();
        while wanted < FRAMES {
            assert!(start.elapsed() < PATIENCE, "frame {wanted} never came");
            queue.want_interrupt_after(rig.ram(), 1);
            let head = u64::from(queue.add(rig.ram(), &[writable(BUFFERS, 128)]));
            assert!(head < 8);
            rig.kick(queue);
            let used = loop {
                match queue.take_used(rig.ram()) {
                    Some(used) => break used,
                    None => wait_for_interrupt(&rig),
                }
            };
            assert_eq!(used.1, 76);
            let number = rig.bytes(BUFFERS + 12 + 60, 4);
            let number = u32::from_le_bytes([number[0], number[1], number[2], number[3]]);
            assert!(number >= wanted, "frames out of order");
            wanted = number + 1;
            taken.store(wanted, Ordering::Release);
        }
    });
}
