//! The machine in which the packages install themselves: its initial RAM disk, its disks, and
//! what it says while it works.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use indicatif::ProgressBar;
use ringer_debian::{Archive, Modules};

use super::packages::Package;
use super::tools::{self, failed_to, tool};
use crate::disk::create::check_size;
use crate::exit::Failure;

/// Drivers for the two disks.
const MODULES: &[&str] = &["virtio_mmio", "virtio_blk", "crc32c_generic", "ext4"];
/// How the guest's lines to us start.
const MARK: &str = "ringer-install: ";
/// What runs commands for `ringer test` in the image.
const AGENT: &str = include_str!("../../../../../guests/agent/ringer-agent");
/// What the image does when a saved machine goes on.
const GENERATION: &str = include_str!("../../../../../guests/agent/ringer-generation");
/// Room on the packages' disk beside the packages themselves.
const SLACK: u64 = 64 << 20;

/// The files of the machine.
pub struct Installer {
    /// Where they are.
    folder: PathBuf,
    kernel: PathBuf,
    /// The kernel's version.
    pub version: String,
}

/// What the guest is told.
pub struct Scripts {
    /// Installs the packages.
    pub install: String,
    /// Makes a guest of it.
    pub configure: String,
    /// The keys that root may log in with.
    pub authorized_keys: String,
}

impl Installer {
    /// Unpacks the kernel and the program that its initial RAM disk needs into `folder`.
    pub fn new(folder: &Path, archives: &Path, packages: &[Package]) -> Result<Self, Failure> {
        let find = |what: &str, matches: &dyn Fn(&str) -> bool| {
            let found = packages.iter().find(|package| matches(&package.name));
            found.ok_or_else(|| Failure::monitor(format_args!("apt's plan has no {what}")))
        };
        let image = find("kernel", &|name| {
            let version = name.strip_prefix("linux-image-");
            version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        })?;
        let busybox = find("busybox", &|name| name == "busybox-static")?;
        let parts = folder.join("parts");
        for package in [image, busybox] {
            unpack(&archives.join(&package.file), &parts)?;
        }
        let version = image.name.trim_start_matches("linux-image-").to_string();
        let modules = Modules::find(&parts.join("usr/lib/modules").join(&version))
            .and_then(|modules| modules.in_order(MODULES))
            .map_err(Failure::monitor)?;
        let program = parts.join("usr/bin/busybox");
        let program = fs::read(&program).map_err(|error| failed_to("read", &program, error))?;
        let mut archive = Archive::default();
        for name in ["bin", "dev", "proc", "sys"] {
            archive.folder(name);
        }
        archive.device("dev/console", 5, 1);
        archive.device("dev/null", 1, 3);
        archive.file("init", include_bytes!("scripts/init"), true);
        archive.file("bin/busybox", &program, true);
        archive.link("bin/sh", "busybox");
        archive.modules(&modules);
        let initrd = folder.join("install.cpio");
        fs::write(&initrd, archive.finish()).map_err(|error| failed_to("write", &initrd, error))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            kernel: parts.join("boot").join(format!("vmlinux-{version}")),
            version,
        })
    }

    /// Makes the disk that becomes the image, with the files of the base packages on it.
    pub fn make_root(&self, archives: &Path, base: &[Package], size: u64) -> Result<(), Failure> {
        let disk = self.root();
        check_size(&disk, size).map_err(Failure::monitor)?;
        let tree = self.folder.join("tree");
        for package in base {
            unpack(&archives.join(&package.file), &tree)?;
        }
        for place in [
            "dev",
            "packages",
            "proc",
            "run",
            "sys",
            "tmp",
            "var/lib/dpkg",
        ] {
            let place = tree.join(place);
            fs::create_dir_all(&place).map_err(|error| failed_to("make", &place, error))?;
        }
        make_file_system(&tree, &disk, size, "debian")?;
        fs::remove_dir_all(&tree).map_err(|error| failed_to("remove", &tree, error))
    }

    /// Makes the disk that brings the packages.
    pub fn make_packages(
        &self,
        archives: &Path,
        packages: &[Package],
        scripts: &Scripts,
    ) -> Result<(), Failure> {
        let folder = self.folder.join("packages");
        fs::create_dir_all(&folder).map_err(|error| failed_to("make", &folder, error))?;
        let mut size = SLACK;
        for package in packages {
            let (from, to) = (archives.join(&package.file), folder.join(&package.file));
            // No second copy, where the file system can do without.
            fs::hard_link(&from, &to)
                .or_else(|_| fs::copy(&from, &to).map(drop))
                .map_err(|error| failed_to("copy", &from, error))?;
            let len = fs::metadata(&to)
                .map_err(|error| failed_to("read", &to, error))?
                .len();
            size += len.next_multiple_of(4096);
        }
        for (name, text) in [
            ("install", scripts.install.as_str()),
            ("configure", scripts.configure.as_str()),
            ("authorized_keys", scripts.authorized_keys.as_str()),
            ("ringer-agent", AGENT),
            ("ringer-generation", GENERATION),
        ] {
            let path = folder.join(name);
            if !text.is_empty() {
                fs::write(&path, text).map_err(|error| failed_to("write", &path, error))?;
            }
        }
        make_file_system(&folder, &self.folder.join("packages.img"), size, "packages")?;
        fs::remove_dir_all(&folder).map_err(|error| failed_to("remove", &folder, error))
    }

    /// The disk that becomes the image.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root.img")
    }

    /// Runs the machine to its end. All that it says goes into `log`.
    pub fn run(&self, log: &Path, bar: &ProgressBar) -> Result<(), Failure> {
        let unwritable = |error| failed_to("write", log, error);
        let mut record = File::create(log).map_err(unwritable)?;
        let mut child = self.start(record.try_clone().map_err(unwritable)?)?;
        let mut last = String::new();
        let (mut done, mut failure) = (false, None);
        let output = child.stdout.take().into_iter();
        for line in output.flat_map(|output| BufReader::new(output).split(b'\n')) {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line);
            let line = line.trim();
            // The log is for whoever looks for a mistake; the work goes on without it.
            let _ = writeln!(record, "{line}");
            if let Some(told) = line.strip_prefix(MARK) {
                done |= told == "done";
                failure = failure.or(told.strip_prefix("failed: ").map(str::to_string));
                continue;
            }
            if let Some(package) = ["Unpacking ", "Setting up "]
                .iter()
                .find_map(|start| line.strip_prefix(start))
            {
                bar.inc(1);
                let package = package.split_whitespace().next().unwrap_or_default();
                bar.set_message(package.to_string());
            } else if line.starts_with("update-initramfs: Generating") {
                bar.set_message("initial RAM disk");
            }
            if line.contains("error") {
                last = line.to_string();
            }
        }
        let ended = child.wait().map_err(Failure::monitor)?;
        if done && ended.success() {
            return Ok(());
        }
        let reason = failure.unwrap_or_else(|| "the machine ended early".to_string());
        Err(Failure::monitor(format_args!(
            "installing Debian failed at: {reason}{}{last}; all that was said is in {}",
            if last.is_empty() { "" } else { ": " },
            log.display()
        )))
    }

    /// Starts the machine; what it has to say of itself goes into `record` too.
    fn start(&self, record: File) -> Result<std::process::Child, Failure> {
        let program = std::env::current_exe().map_err(Failure::monitor)?;
        let harts = std::thread::available_parallelism().map_or(1, |count| count.get().min(4));
        let file = |name: &str| self.folder.join(name).display().to_string();
        let mut command = Command::new(program);
        command.arg("run").arg("--kernel").arg(&self.kernel);
        command.args(["--initrd", &file("install.cpio")]);
        command.args(["--append", "console=ttyS0 quiet panic=-1"]);
        command.args(["--disk", &format!("{},format=raw", file("root.img"))]);
        command.args(["--disk", &format!("{},format=raw,ro", file("packages.img"))]);
        command.args(["--memory", "1G", "--resets", "0"]);
        command.args(["--harts", &harts.to_string()]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(record);
        command
            .spawn()
            .map_err(|error| tools::no_tool(&command, &error))
    }

    /// Takes the kernel, and the initial RAM disk that was made inside, out into files.
    pub fn take_boot_files(&self, kernel: &Path, initrd: &Path) -> Result<(), Failure> {
        fs::copy(&self.kernel, kernel).map_err(|error| failed_to("write", kernel, error))?;
        let inside = format!("/boot/initrd.img-{}", self.version);
        let mut command = tool("debugfs");
        let to = initrd.display().to_string();
        if to.contains(['"', '\n']) {
            return Err(failed_to(
                "write",
                initrd,
                "debugfs cannot have a quote in a path",
            ));
        }
        command
            .arg("-R")
            .arg(format!("dump {inside} \"{to}\""))
            .arg(self.root());
        tools::output(&mut command, "take the initial RAM disk out of the image")?;
        match fs::metadata(initrd) {
            Ok(metadata) if metadata.len() > 0 => Ok(()),
            _ => Err(Failure::monitor(format_args!(
                "the installed system made no {inside}"
            ))),
        }
    }
}

fn unpack(package: &Path, to: &Path) -> Result<(), Failure> {
    let mut command = tool("dpkg-deb");
    command.arg("-x").arg(package).arg(to);
    tools::output(&mut command, "unpack a package").map(drop)
}

/// Makes a disk with a file system that holds what is in `tree`.
fn make_file_system(tree: &Path, disk: &Path, size: u64, label: &str) -> Result<(), Failure> {
    let mut command = tool("mke2fs");
    command.args(["-q", "-F", "-t", "ext4", "-L", label]);
    // Complete when it is made: a guest that first writes all tables makes a large file of it.
    command.args([
        "-E",
        "root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0",
    ]);
    command
        .arg("-d")
        .arg(tree)
        .arg(disk)
        .arg(format!("{}k", size / 1024));
    tools::output(&mut command, "make a file system").map(drop)
}
