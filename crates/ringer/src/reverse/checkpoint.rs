//! A deterministic machine at the start of a round, to be put back: all but its RAM.

use std::sync::MutexGuard;

use ringer_hart::Hart;
use ringer_hart::hart::Effects;
use ringer_hart::persist::{Persist, PersistError};
use ringer_machine::clock::{Clock, VirtualClock};

use crate::console;
use crate::disk::Blocks;
use crate::runner::{Activity, Schedule, Seat, Vm};

/// Everything around RAM.
pub struct Checkpoint {
    /// Where the machine was in its schedule.
    pub schedule: Schedule,
    /// What all harts had retired.
    pub instructions: u64,
    ticks: u64,
    harts: Vec<(Hart, Activity)>,
    /// For each hart, wires and requests.
    wires: Vec<(u64, u32)>,
    board: Vec<u8>,
    sbi: Option<Vec<u8>>,
    /// Where the random sequence was.
    random: u64,
    console: console::Place,
    tape: usize,
    /// What was written to disks with overlays.
    overlays: Vec<Blocks>,
}

/// What all harts have retired.
pub fn instructions(seats: &[MutexGuard<'_, Seat>]) -> u64 {
    let retired = seats.iter().map(|seat| seat.hart.counts.retired);
    retired.fold(0, u64::wrapping_add)
}

impl Checkpoint {
    /// Of the machine as it is; with the checkpoint before it shares what is the same. `None` if a
    /// disk does not say what was written to it.
    pub fn of(
        vm: &Vm,
        clock: &VirtualClock,
        schedule: &Schedule,
        seats: &[MutexGuard<'_, Seat>],
        before: Option<&Self>,
    ) -> Option<Self> {
        let board = &vm.machine.board;
        let overlays = vm.machine.disks.iter();
        let overlays = overlays.filter_map(|disk| disk.overlay.as_ref());
        let overlays = overlays.enumerate().map(|(number, overlay)| {
            let before = before.and_then(|before| before.overlays.get(number));
            overlay.written(before).ok()
        });
        Some(Self {
            schedule: schedule.clone(),
            instructions: instructions(seats),
            ticks: clock.ticks(),
            harts: seats
                .iter()
                .map(|seat| (seat.hart.clone(), seat.activity))
                .collect(),
            wires: board
                .all_lines()
                .iter()
                .map(|lines| (lines.pending(), lines.requests()))
                .collect(),
            board: board.save(),
            sbi: vm.sbi.as_ref().map(Persist::save),
            random: vm.machine.random.place(),
            console: vm.machine.console.place(),
            tape: vm.inputs.place(),
            overlays: overlays.collect::<Option<_>>()?,
        })
    }
    /// Puts it all back.
    pub fn restore(
        &self,
        vm: &Vm,
        clock: &VirtualClock,
        schedule: &mut Schedule,
        seats: &mut [MutexGuard<'_, Seat>],
    ) -> Result<(), PersistError> {
        let board = &vm.machine.board;
        board.restore(&self.board)?;
        if let (Some(sbi), Some(saved)) = (&vm.sbi, &self.sbi) {
            sbi.restore(saved)?;
        }
        // What has asked for an end asks again.
        board.take_shutdown();
        for (seat, (hart, activity)) in seats.iter_mut().zip(&self.harts) {
            seat.hart = hart.clone();
            seat.hart.effects |= Effects::FENCE_I | Effects::FLUSH_TLB | Effects::CONTEXT;
            seat.activity = *activity;
            seat.watch.drop_turn();
        }
        for (lines, (pending, requests)) in board.all_lines().iter().zip(&self.wires) {
            lines.lower(!pending);
            lines.raise(*pending);
            lines.take_requests();
            lines.request(*requests);
        }
        vm.machine.random.go_to(self.random);
        vm.machine.console.go_to(&self.console);
        vm.inputs.rewind(self.tape);
        let overlays = vm.machine.disks.iter();
        let overlays = overlays.filter_map(|disk| disk.overlay.as_ref());
        for (overlay, blocks) in overlays.zip(&self.overlays) {
            overlay.go_back(blocks).map_err(|_| PersistError::Damaged {
                part: "an overlay",
                reason: "it cannot be written".to_string(),
            })?;
        }
        clock.set_ticks(self.ticks);
        *schedule = self.schedule.clone();
        Ok(())
    }
}
