//! Where the fields of CSRs are. A field is a mask; one of several bits has a `_SHIFT` too, and
//! the values it can take are given as they are after shifting down.

/// `mstatus` (Privileged 3.1.6). What `sstatus` shows of it has the same places.
pub mod mstatus {
    /// Interrupts enabled in S-mode.
    pub const SIE: u64 = 1 << 1;
    /// Interrupts enabled in M-mode.
    pub const MIE: u64 = 1 << 3;
    /// SIE before the trap.
    pub const SPIE: u64 = 1 << 5;
    /// U-mode data is big-endian.
    pub const UBE: u64 = 1 << 6;
    /// MIE before the trap.
    pub const MPIE: u64 = 1 << 7;
    /// Mode before the trap into S-mode: S or U.
    pub const SPP: u64 = 1 << 8;
    /// State of the vector unit.
    pub const VS: u64 = 3 << VS_SHIFT;
    /// Where VS begins.
    pub const VS_SHIFT: u32 = 9;
    /// Mode before the trap into M-mode.
    pub const MPP: u64 = 3 << MPP_SHIFT;
    /// Where MPP begins.
    pub const MPP_SHIFT: u32 = 11;
    /// State of the floating-point unit, with values as [`EXT_OFF`] to [`EXT_DIRTY`].
    pub const FS: u64 = 3 << FS_SHIFT;
    /// Where FS begins.
    pub const FS_SHIFT: u32 = 13;
    /// State of further units.
    pub const XS: u64 = 3 << XS_SHIFT;
    /// Where XS begins.
    pub const XS_SHIFT: u32 = 15;
    /// Loads and stores happen as in the mode of MPP.
    pub const MPRV: u64 = 1 << 17;
    /// S-mode may reach user pages.
    pub const SUM: u64 = 1 << 18;
    /// Loads may read executable pages.
    pub const MXR: u64 = 1 << 19;
    /// `satp` and `sfence.vma` trap in S-mode.
    pub const TVM: u64 = 1 << 20;
    /// `wfi` traps below M-mode.
    pub const TW: u64 = 1 << 21;
    /// `sret` traps in S-mode.
    pub const TSR: u64 = 1 << 22;
    /// Landing pad expected before the trap into S-mode.
    pub const SPELP: u64 = 1 << 23;
    /// Trap handling in S-mode: a trap now is a double trap.
    pub const SDT: u64 = 1 << 24;
    /// Width of U-mode.
    pub const UXL: u64 = 3 << UXL_SHIFT;
    /// Where UXL begins.
    pub const UXL_SHIFT: u32 = 32;
    /// 64 bits, of UXL, SXL and VSXL.
    pub const XL_64: u64 = 2;
    /// Width of S-mode.
    pub const SXL: u64 = 3 << SXL_SHIFT;
    /// Where SXL begins.
    pub const SXL_SHIFT: u32 = 34;
    /// S-mode data is big-endian.
    pub const SBE: u64 = 1 << 36;
    /// M-mode data is big-endian.
    pub const MBE: u64 = 1 << 37;
    /// `mtval` holds a guest's virtual address.
    pub const GVA: u64 = 1 << 38;
    /// Virtualised before the trap into M-mode.
    pub const MPV: u64 = 1 << 39;
    /// Landing pad expected before the trap into M-mode.
    pub const MPELP: u64 = 1 << 41;
    /// Trap handling in M-mode: a trap now is a double trap.
    pub const MDT: u64 = 1 << 42;
    /// One of FS, VS and XS is dirty.
    pub const SD: u64 = 1 << 63;
    /// Instructions of the unit trap.
    pub const EXT_OFF: u64 = 0;
    /// As after reset.
    pub const EXT_INITIAL: u64 = 1;
    /// Unchanged since it was saved.
    pub const EXT_CLEAN: u64 = 2;
    /// Changed.
    pub const EXT_DIRTY: u64 = 3;
}

/// `hstatus` (Privileged 21.2.1).
pub mod hstatus {
    /// VS-mode data is big-endian.
    pub const VSBE: u64 = 1 << 5;
    /// `stval` holds a guest's virtual address.
    pub const GVA: u64 = 1 << 6;
    /// Virtualised before the trap into HS-mode.
    pub const SPV: u64 = 1 << 7;
    /// VS or VU before the trap, for hypervisor loads and stores.
    pub const SPVP: u64 = 1 << 8;
    /// U-mode may use hypervisor loads and stores.
    pub const HU: u64 = 1 << 9;
    /// Which guest external interrupt VS-mode gets.
    pub const VGEIN: u64 = 0x3f << VGEIN_SHIFT;
    /// Where VGEIN begins.
    pub const VGEIN_SHIFT: u32 = 12;
    /// As TVM, for VS-mode.
    pub const VTVM: u64 = 1 << 20;
    /// As TW, for VS-mode.
    pub const VTW: u64 = 1 << 21;
    /// As TSR, for VS-mode.
    pub const VTSR: u64 = 1 << 22;
    /// Width of VS-mode.
    pub const VSXL: u64 = 3 << VSXL_SHIFT;
    /// Where VSXL begins.
    pub const VSXL_SHIFT: u32 = 32;
    /// Pointer masking of hypervisor loads and stores in U-mode.
    pub const HUPMM: u64 = 3 << HUPMM_SHIFT;
    /// Where HUPMM begins.
    pub const HUPMM_SHIFT: u32 = 48;
}

/// `misa` (Privileged 3.1.1). The bit of an extension is its letter's: see [`extension`].
pub mod misa {
    /// Width of M-mode.
    pub const MXL: u64 = 3 << MXL_SHIFT;
    /// Where MXL begins.
    pub const MXL_SHIFT: u32 = 62;
    /// 64 bits.
    pub const MXL_64: u64 = 2;

    /// The bit of an extension, by its letter in upper case; 0 for other characters.
    pub const fn extension(letter: char) -> u64 {
        if letter.is_ascii_uppercase() {
            1 << (letter as u8 - b'A')
        } else {
            0
        }
    }
}

/// `menvcfg`; `senvcfg` and `henvcfg` have the same places (Privileged 3.1.18).
pub mod menvcfg {
    /// Fences of I/O order memory too.
    pub const FIOM: u64 = 1 << 0;
    /// Landing pads.
    pub const LPE: u64 = 1 << 2;
    /// Shadow stacks.
    pub const SSE: u64 = 1 << 3;
    /// What `cbo.inval` does below.
    pub const CBIE: u64 = 3 << CBIE_SHIFT;
    /// Where CBIE begins.
    pub const CBIE_SHIFT: u32 = 4;
    /// `cbo.inval` traps.
    pub const CBIE_ILLEGAL: u64 = 0;
    /// `cbo.inval` flushes.
    pub const CBIE_FLUSH: u64 = 1;
    /// `cbo.inval` invalidates.
    pub const CBIE_INVAL: u64 = 3;
    /// `cbo.clean` and `cbo.flush` may be used below.
    pub const CBCFE: u64 = 1 << 6;
    /// `cbo.zero` may be used below.
    pub const CBZE: u64 = 1 << 7;
    /// Pointer masking below.
    pub const PMM: u64 = 3 << PMM_SHIFT;
    /// Where PMM begins.
    pub const PMM_SHIFT: u32 = 32;
    /// None.
    pub const PMM_OFF: u64 = 0;
    /// The upper 7 bits.
    pub const PMM_7: u64 = 2;
    /// The upper 16 bits.
    pub const PMM_16: u64 = 3;
    /// Double traps in S-mode.
    pub const DTE: u64 = 1 << 59;
    /// Counter delegation.
    pub const CDE: u64 = 1 << 60;
    /// Hardware sets A and D.
    pub const ADUE: u64 = 1 << 61;
    /// Memory types in page tables.
    pub const PBMTE: u64 = 1 << 62;
    /// `stimecmp`.
    pub const STCE: u64 = 1 << 63;
}

/// `mseccfg` (Smepmp and others).
pub mod mseccfg {
    /// Machine-mode lockdown.
    pub const MML: u64 = 1 << 0;
    /// Machine-mode allowlist policy.
    pub const MMWP: u64 = 1 << 1;
    /// Locked entries may be changed.
    pub const RLB: u64 = 1 << 2;
    /// U-mode may read `seed`.
    pub const USEED: u64 = 1 << 8;
    /// S-mode may read `seed`.
    pub const SSEED: u64 = 1 << 9;
    /// Landing pads in M-mode.
    pub const MLPE: u64 = 1 << 10;
    /// Pointer masking in M-mode.
    pub const PMM: u64 = 3 << PMM_SHIFT;
    /// Where PMM begins.
    pub const PMM_SHIFT: u32 = 32;
}

/// `mstateen0`, `hstateen0` and `sstateen0` (Smstateen).
pub mod mstateen0 {
    /// Custom state.
    pub const C: u64 = 1 << 0;
    /// `fcsr` of Zfinx.
    pub const FCSR: u64 = 1 << 1;
    /// `jvt`.
    pub const JVT: u64 = 1 << 2;
    /// Control transfer records.
    pub const CTR: u64 = 1 << 54;
    /// `srmcfg`.
    pub const SRMCFG: u64 = 1 << 55;
    /// `hedelegh`.
    pub const P1P13: u64 = 1 << 56;
    /// `scontext` and `hcontext`.
    pub const CONTEXT: u64 = 1 << 57;
    /// State of the IMSIC.
    pub const IMSIC: u64 = 1 << 58;
    /// State of the AIA but the IMSIC's.
    pub const AIA: u64 = 1 << 59;
    /// Indirect CSRs.
    pub const CSRIND: u64 = 1 << 60;
    /// `senvcfg` and `henvcfg`.
    pub const ENVCFG: u64 = 1 << 62;
    /// `sstateen0` and `hstateen0`.
    pub const SE0: u64 = 1 << 63;
}

/// `satp` and `vsatp` (Privileged 12.1.11).
pub mod satp {
    /// Page number of the root table.
    pub const PPN: u64 = (1 << 44) - 1;
    /// Where PPN begins.
    pub const PPN_SHIFT: u32 = 0;
    /// Address space.
    pub const ASID: u64 = 0xffff << ASID_SHIFT;
    /// Where ASID begins.
    pub const ASID_SHIFT: u32 = 44;
    /// How addresses are translated.
    pub const MODE: u64 = 15 << MODE_SHIFT;
    /// Where MODE begins.
    pub const MODE_SHIFT: u32 = 60;
    /// Not at all.
    pub const MODE_BARE: u64 = 0;
    /// Three levels.
    pub const MODE_SV39: u64 = 8;
    /// Four levels.
    pub const MODE_SV48: u64 = 9;
    /// Five levels.
    pub const MODE_SV57: u64 = 10;
}

/// `hgatp` (Privileged 21.2.10).
pub mod hgatp {
    /// Page number of the root table.
    pub const PPN: u64 = (1 << 44) - 1;
    /// Where PPN begins.
    pub const PPN_SHIFT: u32 = 0;
    /// Virtual machine.
    pub const VMID: u64 = 0x3fff << VMID_SHIFT;
    /// Where VMID begins.
    pub const VMID_SHIFT: u32 = 44;
    /// How guest-physical addresses are translated.
    pub const MODE: u64 = 15 << MODE_SHIFT;
    /// Where MODE begins.
    pub const MODE_SHIFT: u32 = 60;
    /// Not at all.
    pub const MODE_BARE: u64 = 0;
    /// Three levels.
    pub const MODE_SV39X4: u64 = 8;
    /// Four levels.
    pub const MODE_SV48X4: u64 = 9;
    /// Five levels.
    pub const MODE_SV57X4: u64 = 10;
}

/// `mcause`, `scause` and `vscause`.
pub mod mcause {
    /// Which exception or interrupt.
    pub const CODE: u64 = (1 << 63) - 1;
    /// Where CODE begins.
    pub const CODE_SHIFT: u32 = 0;
    /// It is an interrupt.
    pub const INTERRUPT: u64 = 1 << 63;
}

/// `mtvec`, `stvec` and `vstvec`.
pub mod tvec {
    /// Where interrupts go.
    pub const MODE: u64 = 3;
    /// Where MODE begins.
    pub const MODE_SHIFT: u32 = 0;
    /// All traps to the base.
    pub const MODE_DIRECT: u64 = 0;
    /// Interrupts to the base and four times their number.
    pub const MODE_VECTORED: u64 = 1;
}

/// `mcounteren`, `scounteren` and `hcounteren`; further bits are those of `hpmcounter3` and up.
pub mod mcounteren {
    /// `cycle`.
    pub const CY: u64 = 1 << 0;
    /// `time`, `stimecmp` too.
    pub const TM: u64 = 1 << 1;
    /// `instret`.
    pub const IR: u64 = 1 << 2;
}

/// `mhpmevent3` and up (Sscofpmf); the event itself is the platform's.
pub mod mhpmevent {
    /// Does not count in VU-mode.
    pub const VUINH: u64 = 1 << 58;
    /// Does not count in VS-mode.
    pub const VSINH: u64 = 1 << 59;
    /// Does not count in U-mode.
    pub const UINH: u64 = 1 << 60;
    /// Does not count in S-mode.
    pub const SINH: u64 = 1 << 61;
    /// Does not count in M-mode.
    pub const MINH: u64 = 1 << 62;
    /// Has overflown.
    pub const OF: u64 = 1 << 63;
}

/// `fcsr` (Unprivileged 20.2).
pub mod fcsr {
    /// Inexact.
    pub const NX: u64 = 1 << 0;
    /// Underflow.
    pub const UF: u64 = 1 << 1;
    /// Overflow.
    pub const OF: u64 = 1 << 2;
    /// Division by zero.
    pub const DZ: u64 = 1 << 3;
    /// Invalid.
    pub const NV: u64 = 1 << 4;
    /// All of them: `fflags`.
    pub const FLAGS: u64 = 0x1f;
    /// Where FLAGS begins.
    pub const FLAGS_SHIFT: u32 = 0;
    /// Rounding mode: `frm`.
    pub const FRM: u64 = 7 << FRM_SHIFT;
    /// Where FRM begins.
    pub const FRM_SHIFT: u32 = 5;
    /// To nearest, ties to even.
    pub const FRM_RNE: u64 = 0;
    /// Towards zero.
    pub const FRM_RTZ: u64 = 1;
    /// Down.
    pub const FRM_RDN: u64 = 2;
    /// Up.
    pub const FRM_RUP: u64 = 3;
    /// To nearest, ties away from zero.
    pub const FRM_RMM: u64 = 4;
}

/// One byte of `pmpcfg0` and up (Privileged 3.7.1).
pub mod pmpcfg {
    /// Readable.
    pub const R: u64 = 1 << 0;
    /// Writable.
    pub const W: u64 = 1 << 1;
    /// Executable.
    pub const X: u64 = 1 << 2;
    /// How the address matches.
    pub const A: u64 = 3 << A_SHIFT;
    /// Where A begins.
    pub const A_SHIFT: u32 = 3;
    /// Not at all.
    pub const A_OFF: u64 = 0;
    /// From the entry before up to this one.
    pub const A_TOR: u64 = 1;
    /// Four bytes.
    pub const A_NA4: u64 = 2;
    /// A power of two, naturally aligned.
    pub const A_NAPOT: u64 = 3;
    /// Locked, and binding for M-mode too.
    pub const L: u64 = 1 << 7;
}

/// `vtype` (Unprivileged 30.3.4).
pub mod vtype {
    /// Registers in a group.
    pub const VLMUL: u64 = 7;
    /// Where VLMUL begins.
    pub const VLMUL_SHIFT: u32 = 0;
    /// Width of an element.
    pub const VSEW: u64 = 7 << VSEW_SHIFT;
    /// Where VSEW begins.
    pub const VSEW_SHIFT: u32 = 3;
    /// Tail is agnostic.
    pub const VTA: u64 = 1 << 6;
    /// Masked-off elements are agnostic.
    pub const VMA: u64 = 1 << 7;
    /// Not a supported type.
    pub const VILL: u64 = 1 << 63;
}
