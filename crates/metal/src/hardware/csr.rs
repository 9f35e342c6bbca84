//! The real hart's own CSRs. Named module with `unsafe`: the instructions that reach them.

/// Reads a CSR.
macro_rules! read {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reading a machine-level CSR changes nothing that Rust knows of.
        unsafe {
            core::arch::asm!(concat!("csrr {}, ", $name), out(reg) value, options(nomem, nostack));
        }
        value
    }};
}

/// Writes a CSR. The monitor runs in M-mode, untranslated and with interrupts off, so what these
/// CSRs govern is how guests run, and not what its own instructions do.
macro_rules! write {
    ($name:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: as the macro's comment says. Not `nomem`: what was written to memory before
        // must be there when the CSR takes effect.
        unsafe {
            core::arch::asm!(concat!("csrw ", $name, ", {}"), in(reg) value, options(nostack));
        }
    }};
}

/// Writes a CSR that not every hart has; yields what it holds then, or 0 if there is none.
macro_rules! try_write {
    ($name:literal, $value:expr) => {{
        let value: u64 = $value;
        let found: u64;
        // SAFETY: as for `write`. Where the CSR is missing, the trap goes on at `2`, with the
        // trap CSRs changed, which hold nothing while the monitor runs.
        unsafe {
            core::arch::asm!(
                "la {vector}, 2f",
                "csrrw {vector}, mtvec, {vector}",
                "mv {found}, zero",
                concat!("csrw ", $name, ", {value}"),
                concat!("csrr {found}, ", $name),
                ".balign 4",
                "2: csrw mtvec, {vector}",
                value = in(reg) value,
                vector = out(reg) _,
                found = out(reg) found,
                options(nostack),
            );
        }
        found
    }};
}

pub(crate) use {read, try_write, write};

/// Waits for an interrupt that `mie` enables. The monitor takes none: it looks at `mip`.
pub fn wait() {
    // SAFETY: `wfi` only waits.
    unsafe { core::arch::asm!("wfi", options(nostack)) };
}

/// Lets the hart see code that was written to memory.
pub fn fence_i() {
    // SAFETY: a fence.
    unsafe { core::arch::asm!("fence.i", options(nostack)) };
}

/// Gives up a reservation that a guest has made by `lr`: its stores and the next guest's need
/// not break it (Unprivileged, 13.2), and a virtual hart that comes back must not complete an
/// `sc` over what others have stored meanwhile. Any `sc` ends it.
pub fn drop_reservation() {
    let mut nothing = 0u32;
    let nothing = &raw mut nothing;
    // SAFETY: it stores 0, if at all, to a word that is 0.
    unsafe { core::arch::asm!("sc.w zero, zero, ({})", in(reg) nothing, options(nostack)) };
}

/// Orders everything before, devices included, before everything behind.
pub fn fence_all() {
    // SAFETY: a fence.
    unsafe { core::arch::asm!("fence iorw, iorw", options(nostack)) };
}

/// Forgets all translations.
pub fn fence_translations() {
    // SAFETY: a fence.
    unsafe { core::arch::asm!("sfence.vma", options(nostack)) };
}

/// Forgets the translations of one address space.
pub fn fence_space(asid: u64) {
    // SAFETY: a fence.
    unsafe { core::arch::asm!("sfence.vma x0, {}", in(reg) asid, options(nostack)) };
}

/// Forgets the translation of one address in one address space.
pub fn fence_address(va: u64, asid: u64) {
    // SAFETY: a fence.
    unsafe {
        core::arch::asm!("sfence.vma {}, {}", in(reg) va, in(reg) asid, options(nostack));
    }
}
