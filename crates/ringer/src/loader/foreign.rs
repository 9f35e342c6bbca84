//! Names for files that people give as kernels by mistake.

use super::word32;

/// What this file is, and what to do instead, if it is something well known.
pub fn name(bytes: &[u8]) -> Option<&'static str> {
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| {
        bytes
            .get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    if at(0x202, b"HdrS") && at(0x1fe, &[0x55, 0xaa]) {
        return Some("a kernel for x86 (bzImage); Ringer runs riscv64 kernels");
    }
    if at(0x38, b"ARM\x64") {
        return Some("a kernel for 64-bit ARM; Ringer runs riscv64 kernels");
    }
    if word32(bytes, 0x24) == Some(0x016f_2818) {
        return Some("a kernel for 32-bit ARM (zImage); Ringer runs riscv64 kernels");
    }
    if begins(b"MZ") {
        return Some("an EFI program without a RISC-V kernel header; give a Linux Image or ELF");
    }
    if begins(b"QFI\xfb") {
        return Some(
            "a qcow2 disk image; convert it with `qemu-img convert -O raw` and give it with --disk",
        );
    }
    if begins(b"070701") || begins(b"070702") {
        return Some("an initial RAM disk (cpio); give it with --initrd");
    }
    if begins(&[0x27, 0x05, 0x19, 0x56]) {
        return Some("a U-Boot image (uImage); give the kernel inside it");
    }
    if begins(&[0xd0, 0x0d, 0xfe, 0xed]) {
        return Some(
            "a device tree or FIT image; Ringer makes its own device tree, give the kernel itself",
        );
    }
    if begins(b"!<arch>") {
        return Some("a package or library archive; give the kernel inside it");
    }
    if begins(b"#!") {
        return Some("a script; give the kernel it builds or starts");
    }
    None
}
