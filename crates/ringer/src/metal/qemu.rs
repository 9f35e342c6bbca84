//! The bare-metal monitor on QEMU's virt board.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{MIB, Shape};
use crate::args::MetalRunArgs;
use crate::config::DiskSpec;
use crate::disk::format::ImageFormat;
use crate::exit::Failure;

const PROGRAM: &str = "qemu-system-riscv64";

/// QEMU's command line. Without a BIOS it starts the ELF file that it takes for a kernel in
/// M-mode, and names the initial RAM disk in the device tree.
pub fn command(shape: &Shape<'_>, args: &MetalRunArgs) -> Result<Command, Failure> {
    if args.engine.is_some() || args.stats {
        return Err(Failure::usage(
            "--engine and --stats are of our own machine; leave them out with --on qemu",
        ));
    }
    let mut command = Command::new(PROGRAM);
    command.args(["-M", "virt", "-nographic", "-bios", "none"]);
    // The devices of virtio 1, as our own machine has them.
    command.args(["-global", "virtio-mmio.force-legacy=false"]);
    command.arg("-kernel").arg(&shape.monitor);
    command.arg("-initrd").arg(shape.bundle);
    command.args(["-smp", &shape.harts.to_string()]);
    command.args(["-m", &format!("{}M", shape.memory.div_ceil(MIB))]);
    if args.deterministic {
        command.args(["-icount", "shift=0,sleep=off"]);
    }
    for (number, text) in args.disk.iter().enumerate() {
        let DiskSpec {
            path,
            read_only,
            format,
            overlay,
            kept,
            serial,
        } = DiskSpec::parse(text)?;
        if kept.is_some() {
            return Err(Failure::usage(
                "on QEMU's machine a disk cannot have overlay=FILE; make it by `ringer image create FILE --base …` and give --disk FILE",
            ));
        }
        let format = format.unwrap_or(ImageFormat::Raw);
        // In QEMU's lists a comma is written twice.
        let path = path.display().to_string().replace(',', ",,");
        let mut drive = format!("if=none,format={format},id=disk{number},file={path}");
        for (wanted, option) in [(read_only, ",readonly=on"), (overlay, ",snapshot=on")] {
            if wanted {
                drive.push_str(option);
            }
        }
        // By itself QEMU would fill the slots from the last to the first.
        let mut device =
            format!("virtio-blk-device,drive=disk{number},bus=virtio-mmio-bus.{number}");
        if let Some(serial) = serial {
            device.push_str(&format!(",serial={}", serial.replace(',', ",,")));
        }
        command.args(["-drive", &drive, "-device", &device]);
    }
    command.args(&args.further);
    Ok(command)
}

/// Makes this process QEMU; comes back only if there is none.
pub fn become_qemu(mut command: Command) -> Failure {
    let error = command.exec();
    if error.kind() == std::io::ErrorKind::NotFound {
        return Failure::monitor(format_args!(
            "{PROGRAM} is not installed; Debian has it in the package qemu-system-misc"
        ));
    }
    Failure::monitor(format_args!("cannot start {PROGRAM}: {error}"))
}
