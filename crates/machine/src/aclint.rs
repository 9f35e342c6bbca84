//! The ACLINT at the CLINT's addresses: software interrupts (MSWI) and timers (MTIMER) of all
//! harts. The registers themselves live in the harts' [`Lines`], where the harts sample them.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ringer_hart::bus::{irq, request};
use ringer_hart::persist::{Persist, PersistError, decode, encode};
use ringer_hart::{BusFault, Lines, Width};

use crate::clock::Clock;
use crate::device::Device;

/// Where `mtimecmp` of hart 0 is; `msip` of hart 0 is at 0.
const MTIMECMP: u64 = 0x4000;
const MTIME: u64 = 0xbff8;
const END: u64 = 0xc000;

/// The ACLINT.
pub struct Aclint {
    lines: Arc<[Lines]>,
    clock: Arc<dyn Clock>,
}

#[derive(minicbor::Encode, minicbor::Decode)]
struct State {
    #[n(0)]
    mtime: u64,
    #[n(1)]
    mtimecmp: Vec<u64>,
    #[n(2)]
    msip: Vec<bool>,
    /// SSIP, which CSR writes and IPIs share and which is nobody's register, is kept here with
    /// the other wires.
    #[n(3)]
    ssip: Vec<bool>,
}

enum Register<'a> {
    Msip(&'a Lines),
    /// The compare register, or the half of it at this bit.
    Mtimecmp(&'a Lines, u32),
    Mtime(u32),
    /// Reads as zero, ignores writes: a hart that does not exist.
    Nothing,
}

/// `old` with `width` bytes from bit `shift` replaced by `new`.
fn with_part(old: u64, shift: u32, width: Width, new: u64) -> u64 {
    let mask = width.mask() << shift;
    old & !mask | new << shift & mask
}

impl Aclint {
    /// The ACLINT of the harts with these lines.
    pub fn new(lines: Arc<[Lines]>, clock: Arc<dyn Clock>) -> Self {
        Self { lines, clock }
    }

    fn register(&self, offset: u64, width: Width) -> Result<Register<'_>, BusFault> {
        let hart = |index: u64| usize::try_from(index).ok().and_then(|i| self.lines.get(i));
        let shift = if offset & 4 != 0 { 32 } else { 0 };
        match (offset, width) {
            (_, Width::Byte | Width::Half) => Err(BusFault),
            (0..MTIMECMP, Width::Word) => {
                Ok(hart(offset / 4).map_or(Register::Nothing, Register::Msip))
            }
            (0..MTIMECMP, Width::Double) => Err(BusFault),
            (MTIMECMP..MTIME, _) => Ok(hart((offset - MTIMECMP) / 8)
                .map_or(Register::Nothing, |lines| Register::Mtimecmp(lines, shift))),
            (MTIME..END, _) => Ok(Register::Mtime(shift)),
            _ => Ok(Register::Nothing),
        }
    }

    /// Makes `ticks` the present time; every hart compares anew.
    fn set_time(&self, ticks: u64) {
        self.clock.set_ticks(ticks);
        for lines in self.lines.iter() {
            lines.request(request::INTERRUPT);
        }
    }
}

impl Device for Aclint {
    fn name(&self) -> &str {
        "aclint"
    }
    fn load(&self, offset: u64, width: Width) -> Result<u64, BusFault> {
        Ok(match self.register(offset, width)? {
            Register::Msip(lines) => u64::from(lines.pending() & irq::MSI != 0),
            Register::Mtimecmp(lines, shift) => lines.mtimecmp() >> shift & width.mask(),
            Register::Mtime(shift) => self.clock.ticks() >> shift & width.mask(),
            Register::Nothing => 0,
        })
    }
    fn store(&self, offset: u64, width: Width, value: u64) -> Result<(), BusFault> {
        match self.register(offset, width)? {
            Register::Msip(lines) => lines.set(irq::MSI, value & 1 != 0),
            Register::Mtimecmp(lines, shift) => {
                lines.set_mtimecmp(with_part(lines.mtimecmp(), shift, width, value))
            }
            Register::Mtime(shift) => {
                self.set_time(with_part(self.clock.ticks(), shift, width, value))
            }
            Register::Nothing => {}
        }
        Ok(())
    }
    fn reset(&self) {
        for lines in self.lines.iter() {
            lines.lower(irq::MSI | irq::SSI);
            lines.set_mtimecmp(u64::MAX);
        }
        self.set_time(0);
    }
}

impl Persist for Aclint {
    fn save(&self) -> Vec<u8> {
        let wires = |bit| {
            let pending = self.lines.iter().map(Lines::pending);
            pending.map(|pending| pending & bit != 0).collect()
        };
        encode(&State {
            mtime: self.clock.ticks(),
            mtimecmp: self.lines.iter().map(Lines::mtimecmp).collect(),
            msip: wires(irq::MSI),
            ssip: wires(irq::SSI),
        })
    }
    fn restore(&self, bytes: &[u8]) -> Result<(), PersistError> {
        let saved: State = decode("aclint", bytes)?;
        let sizes = [saved.mtimecmp.len(), saved.msip.len(), saved.ssip.len()];
        if sizes.iter().any(|size| *size != self.lines.len()) {
            return Err(PersistError::Mismatch {
                part: "aclint",
                reason: "another number of harts".to_string(),
            });
        }
        let wires = saved.msip.into_iter().zip(saved.ssip);
        for ((lines, mtimecmp), (msip, ssip)) in self.lines.iter().zip(saved.mtimecmp).zip(wires) {
            lines.set(irq::MSI, msip);
            lines.set(irq::SSI, ssip);
            lines.set_mtimecmp(mtimecmp);
        }
        self.set_time(saved.mtime);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;
    use crate::conformance;

    fn aclint() -> (Aclint, Arc<[Lines]>, Arc<VirtualClock>) {
        let lines: Arc<[Lines]> = Arc::new([Lines::new(), Lines::new()]);
        let clock = Arc::new(VirtualClock::default());
        (Aclint::new(lines.clone(), clock.clone()), lines, clock)
    }

    #[test]
    fn software_interrupts_reach_their_hart() {
        let (aclint, lines, _) = aclint();
        aclint.store(4, Width::Word, u64::from(u32::MAX)).unwrap();
        assert_eq!(lines[0].pending(), 0);
        assert_eq!(lines[1].pending(), irq::MSI);
        assert_ne!(lines[1].take_requests() & request::INTERRUPT, 0);
        assert_eq!(aclint.load(4, Width::Word), Ok(1));
        aclint.store(4, Width::Word, 0).unwrap();
        assert_eq!(lines[1].pending(), 0);
    }

    #[test]
    fn compare_registers_by_halves_and_whole() {
        let (aclint, lines, _) = aclint();
        aclint.store(0x4008, Width::Double, 0x1_2345_6789).unwrap();
        assert_eq!(lines[1].mtimecmp(), 0x1_2345_6789);
        assert_eq!(lines[0].mtimecmp(), u64::MAX);
        aclint.store(0x400c, Width::Word, 0xabcd).unwrap();
        assert_eq!(lines[1].mtimecmp(), 0xabcd_2345_6789);
        aclint.store(0x4008, Width::Word, 7).unwrap();
        assert_eq!(aclint.load(0x4008, Width::Double), Ok(0xabcd_0000_0007));
        assert_eq!(aclint.load(0x400c, Width::Word), Ok(0xabcd));
    }

    #[test]
    fn time_reads_and_sets_and_harts_look_again() {
        let (aclint, lines, clock) = aclint();
        clock.advance(0x1_0000_0002);
        assert_eq!(aclint.load(MTIME, Width::Word), Ok(2));
        assert_eq!(aclint.load(MTIME + 4, Width::Word), Ok(1));
        aclint.store(MTIME + 4, Width::Word, 5).unwrap();
        assert_eq!(clock.ticks(), 0x5_0000_0002);
        assert!(lines.iter().all(|l| l.requests() & request::INTERRUPT != 0));
        aclint.store(MTIME, Width::Double, 9).unwrap();
        assert_eq!(clock.ticks(), 9);
    }

    #[test]
    fn absent_harts_and_odd_widths() {
        let (aclint, _, _) = aclint();
        assert_eq!(aclint.load(8, Width::Word), Ok(0));
        assert_eq!(aclint.store(0x4010, Width::Double, 1), Ok(()));
        assert_eq!(aclint.load(0x4010, Width::Double), Ok(0));
        assert_eq!(aclint.load(0, Width::Double), Err(BusFault));
        assert_eq!(aclint.load(0x4000, Width::Half), Err(BusFault));
    }

    #[test]
    fn wires_survive_saving_and_fall_at_reset() {
        let (one, lines, _) = aclint();
        lines[0].raise(irq::SSI);
        lines[1].raise(irq::MSI);
        let (two, restored, _) = aclint();
        two.restore(&one.save()).unwrap();
        assert_eq!(restored[0].pending(), irq::SSI);
        assert_eq!(restored[1].pending(), irq::MSI);
        two.reset();
        assert!(restored.iter().all(|lines| lines.pending() == 0));
    }

    #[test]
    fn state_of_another_machine_is_refused() {
        let one: Arc<[Lines]> = Arc::new([Lines::new()]);
        let saved = Aclint::new(one, Arc::new(VirtualClock::default())).save();
        assert!(matches!(
            aclint().0.restore(&saved),
            Err(PersistError::Mismatch { .. })
        ));
    }

    #[test]
    fn conforms() {
        conformance::check(|| Arc::new(aclint().0), crate::memory_map::ACLINT.len);
    }
}
