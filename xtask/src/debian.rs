//! `cargo xtask debian`: a real Linux guest from Debian's riscv64 packages, and Debian's firmware.
//!
//! Nothing of the guest runs here: packages are only unpacked, and the initramfs is written by
//! [`Archive`], so that no emulator is needed.

use crate::toolchain::{Tool, ensure_tools, root, say};
use anyhow::{Context, Result, ensure};
use ringer_debian::{Archive, Modules, mirror};
use std::fs;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Options of `cargo xtask debian`.
#[derive(clap::Args, Default)]
pub struct Arguments {
    /// Fetch the packages again, even if they are there.
    #[arg(long)]
    fresh: bool,
}

const SUITE: &str = "trixie";
const PACKAGES: &str = "linux-image-riscv64,busybox-static,opensbi,u-boot-qemu";
/// Drivers that this kernel has as modules. Those they need are found out.
const MODULES: &[&str] = &[
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio-rng",
    "virtio_balloon",
    "crc32c_generic",
    "ext4",
    "9pnet_virtio",
    "9p",
];
/// Further ones, which tests load: with the drivers of the power button, the guest would be waited
/// for when it is pressed.
const SPARE_MODULES: &[&str] = &["evdev", "virtio_input"];
const DISK_SIZE: &str = "64M";

const TOOLS: &[Tool] = &[
    ("mmdebstrap", "mmdebstrap"),
    (
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "debian-archive-keyring",
    ),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("mke2fs", "e2fsprogs"),
    ("riscv64-linux-gnu-gcc", "gcc-riscv64-linux-gnu"),
    (
        "/usr/riscv64-linux-gnu/lib/libc.a",
        "libc6-dev-riscv64-cross",
    ),
];

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let sh = Shell::new()?;
    ensure_tools(&sh, TOOLS)?;
    let build = root().join("build");
    let (debian, firmware) = (build.join("debian"), build.join("firmware"));
    let packages = debian.join("packages");
    if arguments.fresh || !packages.join("usr/bin/busybox").exists() {
        fetch(&sh, PACKAGES, &packages)?;
    } else {
        say(&format!(
            "using the packages in {} (--fresh fetches them again)",
            packages.display()
        ));
    }

    let kernel = only_entry(&packages.join("boot"), "vmlinux-")?;
    fs::copy(&kernel, debian.join("Image"))?;
    let version = kernel
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default()
        .replace("vmlinux-", "");
    say(&format!("Image: Linux {version}"));

    let bench = debian.join("bench");
    compile(&sh, "guests/bench", &bench)?;
    let echo_server = debian.join("echo-server");
    compile(&sh, "guests/echo", &echo_server)?;
    let programs = [
        ("bench/bench", bench.as_path()),
        ("bin/echo-server", &echo_server),
        ("bin/busybox", &packages.join("usr/bin/busybox")),
    ];
    let archive = initramfs(&packages, &version, &programs)?;
    let plain = debian.join("initrd.cpio");
    fs::write(&plain, &archive)?;
    let compressed = debian.join("initrd.cpio.zst");
    cmd!(sh, "zstd -q -f --rm -19 {plain} -o {compressed}")
        .quiet()
        .run()?;
    say(&format!(
        "initrd.cpio.zst: {} KiB, {} KiB unpacked",
        fs::metadata(&compressed)?.len() / 1024,
        archive.len() / 1024
    ));

    disk(&sh, &debian.join("disk.ext4"))?;
    copy_firmware(&packages, &firmware)?;
    say(&format!(
        "done: {} and {}",
        debian.display(),
        firmware.display()
    ));
    Ok(())
}

/// Downloads packages with all they depend on, and unpacks them into `to`.
pub fn fetch(sh: &Shell, packages: &str, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    fs::create_dir_all(to)?;
    say(&format!(
        "fetching Debian {SUITE} for riscv64: {packages} (some 100 MB, a minute or so)"
    ));
    // One suite of this machine's own mirror; without one, mmdebstrap knows Debian's.
    let sources = mirror::archive().map(|mirror| format!("deb {mirror} {SUITE} main"));
    cmd!(
        sh,
        "mmdebstrap --quiet --architectures=riscv64 --variant=extract --include={packages} {SUITE} {to} {sources...}"
    )
    .quiet()
    .run()
    .context("mmdebstrap failed; as an ordinary user it needs user namespaces, so try it as root")
}

/// The one file in a folder whose name starts with `prefix`.
fn only_entry(folder: &Path, prefix: &str) -> Result<PathBuf> {
    fs::read_dir(folder)?
        .flatten()
        .map(|e| e.path())
        .find(|p| {
            p.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n.starts_with(prefix))
        })
        .with_context(|| format!("no {prefix}* in {}", folder.display()))
}

/// Compiles the C files of a folder to a program for the guest, statically.
fn compile(sh: &Shell, folder: &str, to: &Path) -> Result<()> {
    let sources = root().join(folder);
    let files: Vec<PathBuf> = sh
        .read_dir(&sources)?
        .into_iter()
        .filter(|f| f.extension().is_some_and(|e| e == "c"))
        .collect();
    // Without contraction to fused multiply-adds the results are the same on every machine.
    cmd!(
        sh,
        "riscv64-linux-gnu-gcc -O2 -ffp-contract=off -static -s -o {to} {files...} -lm"
    )
    .quiet()
    .run()
    .with_context(|| format!("{folder} does not compile"))
}

/// Puts the root file system in memory together.
fn initramfs(packages: &Path, version: &str, programs: &[(&str, &Path)]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "bench", "dev", "etc", "mnt", "proc", "sys", "tmp"] {
        archive.folder(folder);
    }
    archive.device("dev/console", 5, 1);
    archive.device("dev/null", 1, 3);
    archive.file("init", &fs::read(root().join("guests/debian/init"))?, true);
    for (name, from) in [
        ("bin/dhcp", "guests/debian/dhcp"),
        ("bin/ringer-generation", "guests/agent/ringer-generation"),
        ("bin/ringer-agent", "guests/agent/ringer-agent"),
    ] {
        archive.file(name, &fs::read(root().join(from))?, true);
    }
    for (name, program) in programs {
        archive.file(name, &fs::read(program)?, true);
    }
    archive.link("bin/sh", "busybox");
    let modules = Modules::find(&packages.join("usr/lib/modules").join(version))?;
    let loaded = modules.in_order(MODULES)?;
    archive.modules(&loaded);
    for (name, bytes) in modules.in_order(SPARE_MODULES)? {
        if loaded.iter().all(|(other, _)| *other != name) {
            archive.module(&name, &bytes);
        }
    }
    let names: Vec<&str> = loaded.iter().map(|(name, _)| name.as_str()).collect();
    say(&format!("modules, in order: {}", names.join(" ")));
    Ok(archive.finish())
}

/// An ext4 file system for the guest to mount, with one file in it.
fn disk(sh: &Shell, to: &Path) -> Result<()> {
    let content = sh.create_temp_dir()?;
    sh.write_file(
        content.path().join("hello.txt"),
        "Hello from the disk of a Ringer guest.\n",
    )?;
    if to.exists() {
        fs::remove_file(to)?;
    }
    let folder = content.path();
    cmd!(
        sh,
        "mke2fs -q -t ext4 -L ringer -d {folder} {to} {DISK_SIZE}"
    )
    .quiet()
    .env(
        "PATH",
        format!(
            "{}:/usr/sbin:/sbin",
            std::env::var("PATH").unwrap_or_default()
        ),
    )
    .run()
    .context("mke2fs failed")?;
    say(&format!("disk.ext4: {DISK_SIZE}, labelled `ringer`"));
    Ok(())
}

/// Copies OpenSBI and U-Boot (for M-mode, and for S-mode behind OpenSBI).
fn copy_firmware(packages: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let opensbi = packages.join("usr/lib/riscv64-linux-gnu/opensbi/generic");
    let u_boot = packages.join("usr/lib/u-boot");
    let files = [
        (opensbi.join("fw_jump.bin"), "fw_jump.bin"),
        (opensbi.join("fw_jump.elf"), "fw_jump.elf"),
        (opensbi.join("fw_dynamic.bin"), "fw_dynamic.bin"),
        (opensbi.join("fw_dynamic.elf"), "fw_dynamic.elf"),
        (u_boot.join("qemu-riscv64/u-boot.bin"), "u-boot.bin"),
        (
            u_boot.join("qemu-riscv64_smode/u-boot.bin"),
            "u-boot-smode.bin",
        ),
    ];
    for (from, name) in &files {
        ensure!(from.exists(), "Debian's packages lack {}", from.display());
        fs::copy(from, to.join(name))?;
    }
    say(&format!(
        "firmware: {}",
        files.map(|(_, name)| name).join(" ")
    ));
    Ok(())
}
