//! The CSR table and the fields of CSRs.

use ringer_isa::csr::{self, mcause, menvcfg, misa, mstatus, satp};

#[test]
fn numbers_and_names_are_unique() {
    for (index, &(number, name)) in csr::ALL.iter().enumerate() {
        assert!(number < 0x1000, "{name}");
        assert_eq!(csr::name(number), Some(name));
        assert_eq!(csr::number(name), Some(number));
        assert!(
            csr::ALL[..index].iter().all(|&(other, _)| other != number),
            "{name}"
        );
    }
    assert_eq!(csr::name(0x3a1), None); // pmpcfg1 is for RV32
    assert_eq!(csr::number("pmpcfg1"), None);
}

#[test]
fn names_tell_the_privilege() {
    // Bits 9:8 of a number are the lowest privilege that may use it (Privileged 2.1).
    for &(number, name) in csr::ALL {
        let unprivileged_or_debug = number >> 8 & 3 == 0 || (0x7a0..0x7c0).contains(&number);
        let letter = match number >> 8 & 3 {
            _ if unprivileged_or_debug => continue,
            1 => "s",
            2 if name.starts_with("vs") => "vs",
            2 => "h",
            _ if name.starts_with("pmp") => "pmp",
            _ => "m",
        };
        assert!(name.starts_with(letter), "{name} is {number:#x}");
    }
}

#[test]
fn runs_of_registers() {
    assert_eq!(csr::HPMCOUNTER31, csr::HPMCOUNTER3 + 28);
    assert_eq!(csr::MHPMCOUNTER31, csr::MHPMCOUNTER3 + 28);
    assert_eq!(csr::MHPMEVENT31, csr::MHPMEVENT3 + 28);
    assert_eq!(csr::PMPADDR63, csr::PMPADDR0 + 63);
    assert_eq!(csr::PMPCFG14, csr::PMPCFG0 + 14);
}

#[test]
fn fields_have_their_places() {
    assert_eq!(mstatus::MPP, 0x1800);
    assert_eq!(mstatus::FS, 0x6000);
    assert_eq!(mstatus::SD, 1 << 63);
    assert_eq!(mstatus::XL_64 << mstatus::UXL_SHIFT, 0x2_0000_0000);
    assert_eq!(menvcfg::CBIE, 0x30);
    assert_eq!(satp::PPN, 0xfff_ffff_ffff);
    assert_eq!(satp::ASID, 0xffff << 44);
    assert_eq!(satp::MODE_SV39 << satp::MODE_SHIFT, 0x8000_0000_0000_0000);
    assert_eq!(mcause::CODE ^ mcause::INTERRUPT, u64::MAX);
    assert_eq!(misa::extension('C') | misa::extension('z'), 4);
}
