//! What is compared: the registers of a hart, and the one list of differences that are none.

use std::fmt::Write;

use ringer_isa::csr;

/// A CSR that is compared, the bits that count, and why the others do not.
pub struct Compared {
    /// Its number.
    pub csr: u16,
    /// The bits that must agree.
    pub mask: u64,
    /// Why not all of them.
    pub reason: &'static str,
}

const fn whole(csr: u16) -> Compared {
    Compared {
        csr,
        mask: u64::MAX,
        reason: "",
    }
}

const fn pmp_address(index: u16) -> Compared {
    Compared {
        csr: csr::PMPADDR0 + index,
        mask: (1 << 54) - 1,
        reason: "QEMU keeps bits above an address's 56, which read as zero by the manual (3.7.1)",
    }
}

/// Bits of `medeleg` that QEMU lets be set and that are no exceptions of this hart, or none that
/// can be delegated (3.1.8): calls from VS- and M-mode, software checks, those of H.
pub const QEMU_DELEGATES: u64 = 1 << 10 | 1 << 11 | 1 << 18 | 0xf << 20;

/// All CSRs that are compared. Counters and the time are not: they count different things on
/// the two sides, and nothing in the manual makes them agree.
pub const COMPARED: &[Compared] = &[
    whole(csr::MSTATUS),
    whole(csr::MISA),
    Compared {
        csr: csr::MEDELEG,
        mask: !QEMU_DELEGATES,
        reason: "QEMU lets exceptions be delegated that cannot happen below M-mode here",
    },
    Compared {
        csr: csr::MIDELEG,
        mask: !(1 << 2 | 1 << 6 | 1 << 10 | 1 << 12 | 1 << 13),
        reason: "without H and Sscofpmf QEMU still has their interrupts here",
    },
    whole(csr::MIE),
    Compared {
        csr: csr::MIP,
        mask: !(1 << 7 | 1 << 5),
        reason: "timer interrupts rise by two different clocks",
    },
    whole(csr::MTVEC),
    whole(csr::MCOUNTEREN),
    whole(csr::MSCRATCH),
    whole(csr::MEPC),
    whole(csr::MCAUSE),
    whole(csr::MTVAL),
    Compared {
        csr: csr::MENVCFG,
        mask: !(1 << 60),
        reason: "without Smcdeleg QEMU still has CDE",
    },
    whole(csr::STVEC),
    whole(csr::SCOUNTEREN),
    whole(csr::SENVCFG),
    whole(csr::SSCRATCH),
    whole(csr::SEPC),
    whole(csr::SCAUSE),
    whole(csr::STVAL),
    whole(csr::SATP),
    whole(csr::FCSR),
    whole(csr::PMPCFG0),
    whole(csr::PMPCFG0 + 2),
    pmp_address(0),
    pmp_address(1),
    pmp_address(2),
    pmp_address(3),
    pmp_address(4),
    pmp_address(5),
    pmp_address(6),
    pmp_address(7),
    pmp_address(15),
];

const ILLEGAL_INSTRUCTION: u64 = 2;

/// The registers of one hart at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The address of the next instruction.
    pub pc: u64,
    /// The privilege, by its number.
    pub privilege: u64,
    /// Integer registers.
    pub x: [u64; 32],
    /// Floating-point registers.
    pub f: [u64; 32],
    /// The CSRs of [`COMPARED`], in that order.
    pub csrs: Vec<u64>,
}

impl Snapshot {
    /// Whether a PMP entry is locked: QEMU keeps locks over a reset, where the manual clears
    /// them (3.7.1).
    pub fn has_locks(&self) -> bool {
        let configs = [csr::PMPCFG0, csr::PMPCFG0 + 2];
        let mut values = COMPARED.iter().zip(&self.csrs);
        values
            .any(|(rule, value)| configs.contains(&rule.csr) && value & 0x8080_8080_8080_8080 != 0)
    }

    /// The differences as lines for the reader, none if the two agree.
    pub fn differences(&self, qemu: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut compare = |name: &str, ringer: u64, qemu: u64, mask: u64, reason: &str| {
            if (ringer ^ qemu) & mask != 0 {
                let mut line = format!("{name:10} ringer {ringer:#018x}  qemu {qemu:#018x}");
                if !reason.is_empty() {
                    let _ = write!(line, "  (only {mask:#x} counts: {reason})");
                }
                lines.push(line);
            }
        };
        compare("pc", self.pc, qemu.pc, u64::MAX, "");
        compare("priv", self.privilege, qemu.privilege, u64::MAX, "");
        for (index, (ringer, qemu)) in self.x.iter().zip(&qemu.x).enumerate() {
            compare(&format!("x{index}"), *ringer, *qemu, u64::MAX, "");
        }
        for (index, (ringer, qemu)) in self.f.iter().zip(&qemu.f).enumerate() {
            compare(&format!("f{index}"), *ringer, *qemu, u64::MAX, "");
        }
        for ((rule, ringer), qemu) in COMPARED.iter().zip(&self.csrs).zip(&qemu.csrs) {
            let name = csr::name(rule.csr).unwrap_or("csr");
            let value_of = |number: u16| {
                let index = COMPARED.iter().position(|rule| rule.csr == number);
                index.and_then(|index| self.csrs.get(index)).copied()
            };
            // QEMU gives the encoding of an earlier instruction for an `mret` out of place.
            let unsure = match rule.csr {
                csr::MTVAL => value_of(csr::MCAUSE) == Some(ILLEGAL_INSTRUCTION),
                csr::STVAL => value_of(csr::SCAUSE) == Some(ILLEGAL_INSTRUCTION),
                _ => false,
            };
            let mask = if unsure { 0 } else { rule.mask };
            compare(name, *ringer, *qemu, mask, rule.reason);
        }
        lines
    }
}
