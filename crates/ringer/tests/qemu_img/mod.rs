//! QEMU's tool for images, as a second opinion.

use std::process::Command;

/// Runs `qemu-img`, which must succeed. Where it is not installed, says so and does nothing.
pub fn qemu_img(args: &[&str]) -> bool {
    match Command::new("qemu-img").args(args).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "qemu-img {args:?}: {said}{told}");
            true
        }
        Err(_) => {
            eprintln!("SKIPPED: qemu-img {args:?}; it is in Debian's package qemu-utils");
            false
        }
    }
}
