//! What programs did that is easy to get wrong: to be sure that they do it.

use ringer_hart::csr::mstatus;
use ringer_hart::{Hart, PAGE_SIZE, Privilege};
use ringer_isa::csr as number;
use ringer_isa::{Class, Insn, Op};

/// Places of an instruction since the last jump that are told apart.
const POSITIONS: usize = 16;

/// Counts of such things.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Instructions by their rounding mode; with the floating-point unit on.
    rounding: [u64; 8],
    /// The same of those with the dynamic mode, by what that was.
    dynamic_rounding: [u64; 8],
    /// Misaligned loads inside a page, by the logarithm of their size; loads across pages;
    /// stores.
    misaligned: [[[u64; 4]; 2]; 2],
    /// Traps, by how many instructions were executed since the last jump.
    traps: [u64; POSITIONS],
    /// So many, now.
    position: usize,
    /// Calls from U-mode to S-mode, by SIE and SUM, and whether FS is dirty.
    calls: [u64; 8],
    /// `sret` to U-mode and to S-mode, by SPIE and SIE; those that TSR forbids.
    returns: [[u64; 4]; 2],
    forbidden_returns: u64,
    /// Writes of `sstatus` in S-mode, by [`FORMS`]: of SUM and of FS, and those behind which an
    /// interrupt was taken. Behind `sret`, too.
    writes: [Writes; FORMS.len()],
    interrupted_returns: u64,
    /// The last instruction.
    last: Option<Before>,
}

/// What writes of `sstatus` by one instruction did.
#[derive(Clone, Copy, Debug, Default)]
struct Writes {
    of_sum: u64,
    of_fs: u64,
    interrupted: u64,
}

/// The instructions that write CSRs.
const FORMS: [Op; 6] = [
    Op::Csrrw,
    Op::Csrrs,
    Op::Csrrc,
    Op::Csrrwi,
    Op::Csrrsi,
    Op::Csrrci,
];

/// What was known before an instruction was executed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    insn: Insn,
    pc: u64,
    address: u64,
    retired: u64,
    status: u64,
    mode: Privilege,
}

impl Before {
    pub fn new(hart: &Hart, insn: Insn) -> Self {
        let base = hart.x.get(usize::from(insn.rs1)).copied().unwrap_or(0);
        Self {
            insn,
            pc: hart.pc,
            address: base.wrapping_add_signed(insn.imm.into()),
            retired: hart.counts.retired,
            status: hart.csrs.mstatus,
            mode: hart.mode.privilege,
        }
    }

    /// Which of [`FORMS`] this is, if it accesses `sstatus` in S-mode.
    fn status_form(&self) -> Option<usize> {
        let status = self.insn.imm as u16 == number::SSTATUS;
        let form = FORMS.iter().position(|op| *op == self.insn.op)?;
        (status && self.mode == Privilege::Supervisor).then_some(form)
    }
}

/// The bits of `status` under each of `masks`, as a number.
fn gathered(status: u64, masks: &[u64]) -> usize {
    let bits = masks.iter().enumerate();
    bits.map(|(at, mask)| usize::from(status & mask == *mask) << at)
        .sum()
}

/// The logarithm of the size of a plain load or store.
fn size(op: Op) -> Option<usize> {
    Some(match op {
        Op::Lh | Op::Lhu | Op::Sh | Op::Flh | Op::Fsh => 1,
        Op::Lw | Op::Lwu | Op::Sw | Op::Flw | Op::Fsw => 2,
        Op::Ld | Op::Sd | Op::Fld | Op::Fsd => 3,
        _ => return None,
    })
}

impl Coverage {
    fn note_system(&mut self, before: &Before, hart: &Hart, done: bool) {
        let (status, to) = (before.status, hart.mode.privilege);
        match (before.insn.op, before.mode) {
            (Op::Ecall, Privilege::User) if to == Privilege::Supervisor => {
                let by = gathered(status, &[mstatus::SIE, mstatus::SUM, mstatus::FS]);
                self.calls[by] += 1;
            }
            (Op::Sret, Privilege::Supervisor) if done => {
                let by = gathered(status, &[mstatus::SPIE, mstatus::SIE]);
                self.returns[usize::from(to == Privilege::Supervisor)][by] += 1;
            }
            (Op::Sret, Privilege::Supervisor) => self.forbidden_returns += 1,
            _ => {}
        }
        if let Some(form) = before.status_form() {
            let changed = status ^ hart.csrs.mstatus;
            let writes = &mut self.writes[form];
            writes.of_sum += u64::from(changed & mstatus::SUM != 0);
            writes.of_fs += u64::from(changed & mstatus::FS != 0);
        }
    }

    /// An interrupt is taken behind the last instruction.
    pub(crate) fn interrupted(&mut self) {
        let Some(last) = self.last else { return };
        if let Some(form) = last.status_form() {
            self.writes[form].interrupted += 1;
        }
        let returned = last.insn.op == Op::Sret && last.mode == Privilege::Supervisor;
        self.interrupted_returns += u64::from(returned);
    }

    /// Notes the instruction that `hart` has just executed, or tried to.
    pub(crate) fn note(&mut self, before: Before, hart: &Hart) {
        let Before {
            insn, pc, address, ..
        } = before;
        let done = hart.counts.retired != before.retired;
        self.note_system(&before, hart, done);
        self.last = Some(before);
        if insn.op.format().has_rounding_mode() && hart.csrs.mstatus & mstatus::FS != 0 {
            let count = |counts: &mut [u64; 8], mode: u64| counts[mode as usize & 7] += 1;
            count(&mut self.rounding, insn.rm.into());
            if insn.rm == 7 {
                count(&mut self.dynamic_rounding, hart.csrs.fcsr >> 5);
            }
        }
        if done
            && let Some(log) = size(insn.op)
            && address & ((1 << log) - 1) != 0
        {
            let crosses = address % PAGE_SIZE + (1 << log) > PAGE_SIZE;
            let stores = insn.op.class() == Class::Store;
            self.misaligned[usize::from(stores)][usize::from(crosses)][log] += 1;
        }
        if !done && let Some(count) = self.traps.get_mut(self.position) {
            *count += 1;
        }
        let falls_through = hart.pc == pc.wrapping_add(insn.len.into());
        self.position = if falls_through { self.position + 1 } else { 0 };
    }

    /// Adds what another run did.
    pub fn add(&mut self, other: &Self) {
        let add = |to: &mut [u64], from: &[u64]| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        };
        add(&mut self.rounding, &other.rounding);
        add(&mut self.dynamic_rounding, &other.dynamic_rounding);
        add(&mut self.traps, &other.traps);
        for (to, from) in
            (self.misaligned.as_flattened_mut().iter_mut()).zip(other.misaligned.as_flattened())
        {
            add(to, from);
        }
        add(&mut self.calls, &other.calls);
        for (to, from) in self.returns.iter_mut().zip(&other.returns) {
            add(to, from);
        }
        self.forbidden_returns += other.forbidden_returns;
        self.interrupted_returns += other.interrupted_returns;
        for (to, from) in self.writes.iter_mut().zip(&other.writes) {
            to.of_sum += from.of_sum;
            to.of_fs += from.of_fs;
            to.interrupted += from.interrupted;
        }
    }

    /// Panics unless each of these things was done more than `times` times.
    pub fn expect_all(&self, times: u64) {
        println!("{self:?}");
        for mode in 0..8 {
            assert!(self.rounding[mode] > times, "rounding mode {mode}");
            assert!(self.dynamic_rounding[mode] > times, "frm {mode}");
        }
        for (what, by_crossing) in ["loads", "stores"].iter().zip(&self.misaligned) {
            for (how, by_size) in ["in a page", "across pages"].iter().zip(by_crossing) {
                for (log, count) in by_size.iter().enumerate().skip(1) {
                    let bytes = 1 << log;
                    assert!(*count > times, "misaligned {what} of {bytes} bytes {how}");
                }
            }
        }
        for (position, count) in self.traps.iter().enumerate() {
            assert!(
                *count > times,
                "traps {position} instructions behind a jump"
            );
        }
        self.expect_system(times);
    }

    fn expect_system(&self, times: u64) {
        for (status, count) in self.calls.iter().enumerate() {
            assert!(*count > times, "calls with status {status}");
        }
        for (status, count) in self.returns.as_flattened().iter().enumerate() {
            assert!(*count > times, "returns with status {status}");
        }
        assert!(self.forbidden_returns > times, "returns under TSR");
        assert!(self.interrupted_returns > times, "interrupts at returns");
        for (op, writes) in FORMS.iter().zip(&self.writes) {
            // An immediate reaches neither SUM nor FS, but to clear them with all the rest.
            if !matches!(op, Op::Csrrsi | Op::Csrrci) {
                assert!(writes.of_sum > times, "SUM changed by {op:?}");
                assert!(writes.of_fs > times, "FS changed by {op:?}");
            }
            // One that was pending before is taken only once it is enabled.
            if !matches!(op, Op::Csrrc | Op::Csrrci) {
                assert!(writes.interrupted > times, "interrupts behind {op:?}");
            }
        }
    }
}
