//! `ringer image debian`: a bootable disk with Debian for riscv64, made of Debian's packages.
//!
//! This computer's apt downloads and checks the packages, mke2fs makes a disk of the files of the
//! first ones, and a machine of ours boots from them and lets dpkg install all of it. So nothing
//! takes root, an emulator of another project, or a container.

pub mod args;
mod installer;
mod packages;
mod script;
mod tools;

use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use ringer_debian::mirror;

use super::interrupt::Interrupt;
use crate::disk::DiskError;
use crate::disk::image_file::ImageFile;
use crate::exit::Failure;
use crate::named_guest;
use args::DebianArgs;
use installer::{Installer, Scripts};
use packages::{Apt, Package};
use tools::failed_to;

/// What the image has beside what every Debian has.
const PACKAGES: &[&str] = &[
    "apt",
    "busybox-static",
    "ca-certificates",
    "dbus",
    "debian-archive-keyring",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "linux-image-riscv64",
    "login",
    "netbase",
    "openssh-server",
    "systemd-resolved",
    "systemd-sysv",
    "tzdata",
    "udev",
    "vim-tiny",
    "zstd",
];

/// Does it.
pub fn run(args: &DebianArgs) -> Result<String, Failure> {
    tools::check_all()?;
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => named_guest::folder_for_new(&args.name)?,
    };
    if folder.exists() && !args.force {
        return Err(Failure::monitor(format_args!(
            "{} exists already, and its disk may hold somebody's work; choose another --name, or --force to replace it",
            folder.display()
        )));
    }
    check_unused(&folder)?;
    let hostname = args.hostname.as_deref().unwrap_or(&args.name);
    let mirror = args
        .mirror
        .clone()
        .or_else(mirror::archive)
        .ok_or_else(|| {
            Failure::monitor(
                "/etc/apt names no mirror of Debian's to take packages from; give --mirror URL",
            )
        })?;
    let security = args.mirror.is_none().then(mirror::security).flatten();
    let scripts = Scripts {
        install: String::new(),
        configure: script::configure(args, hostname, &mirror, security.as_deref())?,
        authorized_keys: authorized_keys(args.ssh_key.as_deref())?,
    };
    let interrupt = Interrupt::watch()?;
    // Beside its place, so that it gets there in one step.
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let work = folder.with_file_name(format!(".{name}.{}.new", std::process::id()));
    fs::create_dir_all(&work).map_err(|error| failed_to("make", &work, error))?;
    let built = build(args, &mirror, scripts, &work).and_then(|()| put_in_place(&work, &folder));
    let _ = fs::remove_dir_all(&work);
    if interrupt.is_wanted() && built.is_err() {
        return Err(Failure::monitor(
            "interrupted; what was downloaded is kept for the next time",
        ));
    }
    built?;
    let start = match args.out {
        Some(_) => format!("ringer run --config {}", folder.join("vm.toml").display()),
        None => format!("ringer run {}", args.name),
    };
    Ok(format!("{}: start it by `{start}`\n", folder.display()))
}

/// An image that is to be replaced must not be in use.
fn check_unused(folder: &Path) -> Result<(), Failure> {
    match ImageFile::open(&folder.join("root.img"), false) {
        Err(busy @ DiskError::Busy(_)) => Err(Failure::monitor(busy)),
        _ => Ok(()),
    }
}

fn build(
    args: &DebianArgs,
    mirror: &str,
    mut scripts: Scripts,
    work: &Path,
) -> Result<(), Failure> {
    let cache = cache_folder()?.join(&args.suite);
    let apt = Apt::new(&cache, mirror, &args.suite)?;
    let bar = spinner("getting the lists of packages");
    apt.update()?;
    let wanted: Vec<String> = PACKAGES
        .iter()
        .map(|name| (*name).to_string())
        .chain(args.include.iter().filter(|name| !name.is_empty()).cloned())
        .collect();
    announce("finding out what is needed");
    bar.set_message("finding out what is needed");
    let base = script::base(&apt.plan(&[])?);
    let steps = apt.plan(&wanted)?;
    let packages: Vec<Package> = script::base(&steps);
    bar.finish_and_clear();

    let bar = counted(100, "downloading");
    apt.download(&wanted, |percent| bar.set_position(percent as u64))?;
    bar.finish_and_clear();

    let bar = spinner("unpacking what dpkg itself needs");
    let archives = apt.archives();
    let installer = Installer::new(work, &archives, &packages)?;
    installer.make_root(&archives, &base, args.size.0)?;
    scripts.install = script::install(&base, &steps);
    installer.make_packages(&archives, &packages, &scripts)?;
    bar.finish_and_clear();

    let bar = counted(steps.len() as u64, "installing");
    installer.run(&cache.join("install.log"), &bar)?;
    bar.finish_and_clear();
    installer.take_boot_files(&work.join("Image"), &work.join("initrd.img"))?;
    describe(work)
}

/// Writes what `ringer run` is to do with the image.
fn describe(work: &Path) -> Result<(), Failure> {
    let text = "\
# A machine of `ringer run`; see `ringer run --help`. Options given there win over these.
kernel = \"Image\"
initrd = \"initrd.img\"
append = \"root=/dev/vda rw console=ttyS0 quiet\"
disk = [\"root.img,format=raw\"]
memory = \"1G\"
harts = 2
";
    let path = work.join("vm.toml");
    fs::write(&path, text).map_err(|error| failed_to("write", &path, error))
}

/// Moves the finished files to where they belong.
fn put_in_place(work: &Path, folder: &Path) -> Result<(), Failure> {
    let finished = work.join("finished");
    fs::create_dir(&finished).map_err(|error| failed_to("make", &finished, error))?;
    for name in ["Image", "initrd.img", "root.img", "vm.toml"] {
        let from = work.join(name);
        fs::rename(&from, finished.join(name)).map_err(|error| failed_to("move", &from, error))?;
    }
    check_unused(folder)?;
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| failed_to("replace", folder, error))?;
    }
    fs::rename(&finished, folder).map_err(|error| failed_to("make", folder, error))
}

/// Where downloads are kept.
fn cache_folder() -> Result<PathBuf, Failure> {
    let cache = named_guest::base_folder("XDG_CACHE_HOME", ".cache");
    cache
        .map(|folder| folder.join("ringer/debian"))
        .ok_or_else(|| Failure::monitor("there is no home folder; set XDG_CACHE_HOME"))
}

/// The keys that may log in: the one asked for, or the user's own.
fn authorized_keys(asked: Option<&Path>) -> Result<String, Failure> {
    let read = |path: &Path| {
        let text = fs::read_to_string(path).map_err(|error| failed_to("read", path, error))?;
        if text.contains("PRIVATE KEY") {
            return Err(Failure::usage(format_args!(
                "{0} is a private key, which stays where it is; give {0}.pub",
                path.display()
            )));
        }
        Ok(text.trim().to_string() + "\n")
    };
    if let Some(path) = asked {
        return read(path);
    }
    let folder = std::env::home_dir().map(|home| home.join(".ssh"));
    let entries = folder.and_then(|folder| fs::read_dir(folder).ok());
    let mut paths: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// Where no bar can be drawn, a line for each part of the work.
fn announce(what: &str) {
    if !std::io::stderr().is_terminal() {
        eprintln!("ringer: {what}");
    }
}

fn spinner(what: &'static str) -> ProgressBar {
    announce(what);
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

fn counted(len: u64, what: &'static str) -> ProgressBar {
    announce(what);
    let bar = ProgressBar::new(len).with_prefix(what);
    let template = "{prefix} {bar:30} {percent}% {elapsed} {msg}";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
