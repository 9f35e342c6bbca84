//! The bare-metal monitor: the first thing that boots on a RISC-V machine, in M-mode, with its
//! guests on top. `cargo xtask metal` builds it; docs/METAL.md explains it.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod bridge;
#[cfg(target_os = "none")]
mod clock;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod cpu;
#[cfg(target_os = "none")]
mod decoder;
#[cfg(target_os = "none")]
mod exits;
#[cfg(target_os = "none")]
mod grounds;
#[cfg(target_os = "none")]
mod guest;
#[cfg(target_os = "none")]
mod hardware;
#[cfg(target_os = "none")]
mod monitor;
#[cfg(target_os = "none")]
mod network;
#[cfg(target_os = "none")]
mod pages;
#[cfg(target_os = "none")]
mod prompt;
#[cfg(target_os = "none")]
mod rewritten;
#[cfg(target_os = "none")]
mod start;
#[cfg(target_os = "none")]
mod stay;
#[cfg(target_os = "none")]
mod virtual_hart;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "ringer-metal runs on bare RISC-V machines: build it by `cargo xtask metal`, and start it \
         with guests by `ringer metal run`"
    );
    std::process::exit(2);
}
