//! The project's own commands, run as `cargo xtask NAME`.

mod bench;
mod debian;
mod fuzz;
mod guests;
mod lockstep;
mod metal;
mod test;
mod toolchain;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the guests in guests/ and keep their images in guests/images.
    Guests(guests::Arguments),
    /// Build a Debian guest (kernel, initramfs, disk) in build/debian, and fetch firmware.
    Debian(debian::Arguments),
    /// Build the bare-metal monitor, build/metal/ringer-metal.
    Metal,
    /// Check that isa, hart, machine and bundle build for bare RISC-V, without std.
    CheckNostd,
    /// Run programs on Ringer and on QEMU side by side and name the first difference.
    Lockstep(lockstep::Arguments),
    /// Measure Ringer against QEMU and the host, in one run; writes docs/BENCH.md.
    Bench(bench::Arguments),
    /// Fuzz one target or all of them.
    Fuzz(fuzz::Arguments),
    /// Everything that has to pass: style, builds, unit tests, and guests run by Ringer.
    Test(test::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line with the causes; a backtrace would say nothing to who runs this.
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Guests(arguments) => guests::run(&arguments),
        Command::Debian(arguments) => debian::run(&arguments),
        Command::Metal => metal::run(),
        Command::CheckNostd => toolchain::check_nostd(),
        Command::Lockstep(arguments) => lockstep::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
    }
}
