//! From options to a machine that can be built: files read, defaults filled in, sizes checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::agent::Task;
use crate::args::{ConsoleKind, EngineKind, RunArgs, RunOptions};
use crate::disk::format::ImageFormat;
use crate::exit::Failure;
use crate::gdb;
use crate::net::NetSpec;
use crate::net::spec;
use crate::net::user::Publish;
use crate::share::ShareSpec;
use crate::size::Size;
use crate::trace::{Kind, TraceSpec};

/// The most harts a machine can have: the interrupt controller has contexts for eight.
pub const MAX_HARTS: u64 = 8;
/// The least RAM: a bare test program fits.
const MIN_MEMORY: u64 = 1 << 20;
/// Virtio slots on the board.
const VIRTIO_SLOTS: usize = 8;
/// Slots that every machine uses: console, entropy, balloon.
const VIRTIO_FIXED: usize = 3;

/// Million instructions in a second of virtual time, if nobody says otherwise.
pub const DEFAULT_MIPS: u64 = 100;

/// What a guest writes when it is ready, if nobody says otherwise: most systems end their start
/// with this.
pub const READY: &str = "login:";

/// What a trace's file may grow to, if nobody says otherwise.
const TRACE_LIMIT: u64 = 256 << 20;

/// A machine's complete description.
#[derive(Clone, PartialEq, Debug)]
pub struct VmConfig {
    /// How it is to be called; nothing for a name made from the guest's.
    pub name: Option<String>,
    /// The name of a guest that is known by one.
    pub known_as: Option<String>,
    /// Others can find and control it.
    pub control: bool,
    /// The monitor gives up what a running machine does not need.
    pub sandbox: bool,
    /// To be started in a process in the background.
    pub detach: bool,
    /// This is the process in the background.
    pub detached: bool,
    /// The guest is ready when it has written this.
    pub ready: String,
    /// What starts in S-mode, or is handed over by the firmware.
    pub kernel: Option<PathBuf>,
    /// The initial RAM disk of what starts.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub append: String,
    /// What starts in M-mode.
    pub bios: Option<PathBuf>,
    /// Disks, in the order in which the guest sees them.
    pub disks: Vec<DiskSpec>,
    /// Network cards.
    pub nets: Vec<NetSpec>,
    /// Ports of the host that lead to the first card on the stack in this process.
    pub publish: Vec<Publish>,
    /// Folders that the guest can mount.
    pub shares: Vec<ShareSpec>,
    /// Number of harts.
    pub harts: usize,
    /// Bytes of RAM, a multiple of the page size.
    pub memory: u64,
    /// How instructions are executed; `None` for the best way that this host has.
    pub engine: Option<EngineKind>,
    /// Where the guest's console is.
    pub console: ConsoleKind,
    /// Where to save.
    pub save: Option<PathBuf>,
    /// What to resume.
    pub restore: Option<PathBuf>,
    /// It is another machine than the one that was saved.
    pub as_clone: bool,
    /// One thread, virtual time.
    pub deterministic: bool,
    /// Million instructions in a second of virtual time.
    pub mips: u64,
    /// Where gdb finds the guest.
    pub gdb: Option<gdb::Address>,
    /// The guest waits for gdb.
    pub gdb_wait: bool,
    /// Where to write what comes from outside.
    pub record: Option<PathBuf>,
    /// What to run again.
    pub replay: Option<PathBuf>,
    /// What is written down of the run.
    pub trace: Option<TraceSpec>,
    /// Print counters at the end.
    pub stats: bool,
    /// Where to write the signature.
    pub signature: Option<PathBuf>,
    /// Answer semihosting calls.
    pub semihosting: bool,
    /// How many resets are allowed; `None` for any number.
    pub resets: Option<u64>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// It has a generation id. Machines that older versions have saved do not.
    pub generation: bool,
    /// It has a power button, if there is a slot for it. Machines that older versions have saved do
    /// not, nor those that are deterministic: the button would be pressed at no certain time.
    pub button: bool,
    /// It has channels to an agent in the guest, and this is what for.
    pub agent: Option<Task>,
}

/// A disk as described by `--disk`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskSpec {
    /// The image.
    pub path: PathBuf,
    /// Refuse writes.
    pub read_only: bool,
    /// What kind of image it is; by its content if nobody says.
    pub format: Option<ImageFormat>,
    /// Keep writes apart and forget them at the end.
    pub overlay: bool,
    /// Keep writes in this overlay.
    pub kept: Option<PathBuf>,
    /// The serial number that the guest reads.
    pub serial: Option<String>,
}

impl VmConfig {
    /// Reads the configuration file, if one is given, and checks everything that can be checked
    /// without opening other files.
    pub fn from_args(args: RunArgs) -> Result<Self, Failure> {
        let options = match &args.config {
            Some(path) => args.options.over(read_options(path)?),
            None => args.options,
        };
        Self::from_options(options)
    }

    /// Fills in defaults and checks values.
    pub fn from_options(options: RunOptions) -> Result<Self, Failure> {
        let harts = options.harts.unwrap_or(1);
        let memory = options.memory.unwrap_or(Size(1 << 30)).0;
        check_shape(harts, memory)?;
        let mut disks = options
            .disk
            .iter()
            .map(|text| DiskSpec::parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        if options.temporary {
            disks.iter_mut().try_for_each(DiskSpec::forget_writes)?;
        }
        let deterministic =
            options.deterministic || options.record.is_some() || options.replay.is_some();
        let shares = ShareSpec::parse_all(&options.share)?;
        let slots = VIRTIO_SLOTS - VIRTIO_FIXED;
        let slots = slots.saturating_sub(disks.len() + shares.len());
        let nets = cards(&options, !deterministic && slots > 0)?;
        let publish = published(&options, &nets)?;
        let devices = disks.len() + nets.len() + shares.len();
        if devices > VIRTIO_SLOTS - VIRTIO_FIXED {
            return Err(Failure::usage(format_args!(
                "{devices} disks, network cards and shares are too many; the board has room for {}",
                VIRTIO_SLOTS - VIRTIO_FIXED
            )));
        }
        if deterministic && !nets.iter().all(NetSpec::is_deterministic) {
            return Err(Failure::usage(
                "--deterministic and --net exclude each other, but for --net echo: no two runs see the same network",
            ));
        }
        // What is under way there is not in checkpoints.
        if (options.record.is_some() || options.replay.is_some()) && !nets.is_empty() {
            return Err(Failure::usage("--record and --net exclude each other"));
        }
        if options.deterministic && !shares.is_empty() {
            return Err(Failure::usage(
                "--deterministic and --share exclude each other: no two runs see the same files",
            ));
        }
        let timeout = options.timeout.map(parse_timeout).transpose()?;
        check_recording(&options)?;
        let append = options.append.unwrap_or_default();
        if append.contains('\0') || append.len() > 4096 {
            return Err(Failure::usage(
                "--append must be at most 4096 bytes, without NUL",
            ));
        }
        let from_elsewhere = options.restore.is_some() || options.replay.is_some();
        if !from_elsewhere && options.kernel.is_none() && options.bios.is_none() {
            return Err(Failure::usage(
                "nothing to run: give --kernel FILE, --bios FILE or --restore DIR (`ringer demo` needs none)",
            ));
        }
        if options.restore.is_some() && (options.kernel.is_some() || options.bios.is_some()) {
            return Err(Failure::usage(
                "--restore goes on with a saved machine, which has its kernel already; leave out --kernel and --bios",
            ));
        }
        if options.as_clone && options.restore.is_none() {
            return Err(Failure::usage(
                "--as-clone is for a saved machine: give --restore, too",
            ));
        }
        if options.detach && options.no_control {
            return Err(Failure::usage(
                "--detach and --no-control exclude each other: nobody could reach the machine",
            ));
        }
        let mips = check_mips(options.mips)?;
        let gdb = options.gdb.as_deref().map(gdb::Address::parse);
        let gdb = gdb.transpose()?;
        if options.gdb_wait && gdb.is_none() {
            return Err(Failure::usage("--gdb-wait waits for gdb: give --gdb, too"));
        }
        let trace = options.trace.map(|path| TraceSpec {
            path,
            kinds: if options.trace_events.is_empty() {
                Kind::ALL.to_vec()
            } else {
                options.trace_events
            },
            limit: options.trace_limit.map_or(TRACE_LIMIT, |size| size.0),
        });
        // A bare program may use one as well: the bare-metal monitor finds its guests there.
        if options.initrd.is_some() && options.restore.is_some() {
            return Err(Failure::usage(
                "--restore goes on with a saved machine, which has its RAM already; leave out --initrd",
            ));
        }
        Ok(Self {
            name: options.name,
            known_as: options.known_as,
            control: !options.no_control,
            sandbox: !options.no_sandbox,
            detach: options.detach && !options.detached,
            detached: options.detached,
            ready: options.ready.unwrap_or_else(|| READY.to_string()),
            kernel: options.kernel,
            initrd: options.initrd,
            append,
            bios: options.bios,
            disks,
            nets,
            publish,
            shares,
            harts: harts as usize,
            memory,
            engine: options.engine,
            console: options.console.unwrap_or(ConsoleKind::Stdio),
            save: options.save,
            restore: options.restore,
            as_clone: options.as_clone,
            deterministic,
            mips,
            gdb,
            record: options.record,
            replay: options.replay,
            trace,
            gdb_wait: options.gdb_wait,
            stats: options.stats,
            signature: options.signature,
            semihosting: options.semihosting,
            resets: options.resets,
            timeout,
            generation: true,
            button: !deterministic,
            agent: None,
        })
    }
}

impl VmConfig {
    /// What is run, in a few words.
    pub fn guest(&self) -> String {
        let program = self.program().map(|path| path.display().to_string());
        match (&self.known_as, program) {
            (Some(name), _) => name.clone(),
            (None, Some(path)) => path,
            (None, None) => "guest".to_string(),
        }
    }
    /// The name of a machine that was given none.
    pub fn default_name(&self) -> String {
        let stem = || Some(self.program()?.file_stem()?.to_string_lossy().into_owned());
        self.known_as.clone().or_else(stem).unwrap_or_default()
    }
    /// Where its first program comes from.
    fn program(&self) -> Option<&Path> {
        let program = self.bios.as_ref().or(self.kernel.as_ref());
        program.or(self.restore.as_ref()).map(PathBuf::as_path)
    }
}

/// Checks that a recording, or a replay, is of one machine from its start.
fn check_recording(options: &RunOptions) -> Result<(), Failure> {
    if options.record.is_some() && options.restore.is_some() {
        return Err(Failure::usage(
            "--record begins when a machine starts; leave out --restore",
        ));
    }
    if options.record.is_some() && !options.share.is_empty() {
        return Err(Failure::usage(
            "--record cannot record a shared folder, which others may change; leave out --share",
        ));
    }
    let described = options.kernel.is_some()
        || options.bios.is_some()
        || options.restore.is_some()
        || options.record.is_some()
        || options.save.is_some()
        || !options.disk.is_empty()
        || !options.share.is_empty();
    if options.replay.is_some() && described {
        return Err(Failure::usage(
            "--replay makes the machine that was recorded; leave out --kernel, --bios, --disk, --restore, --record, --save and the guest's name",
        ));
    }
    Ok(())
}

/// The speed of deterministic machines: what was asked for, if it is possible.
pub fn check_mips(asked: Option<u64>) -> Result<u64, Failure> {
    let mips = asked.unwrap_or(DEFAULT_MIPS);
    if (10..=100_000).contains(&mips) && mips.is_multiple_of(10) {
        Ok(mips)
    } else {
        Err(Failure::usage(format_args!(
            "--mips is 10 to 100000 and a multiple of 10, not {mips}"
        )))
    }
}

/// Checks the numbers that a machine is made of.
pub fn check_shape(harts: u64, memory: u64) -> Result<(), Failure> {
    if !(1..=MAX_HARTS).contains(&harts) {
        return Err(Failure::usage(format_args!(
            "a machine has 1 to {MAX_HARTS} harts, not {harts}; change --harts"
        )));
    }
    if memory < MIN_MEMORY {
        return Err(Failure::usage(format_args!(
            "--memory {} is too little; the least is {}",
            Size(memory),
            Size(MIN_MEMORY)
        )));
    }
    if !memory.is_multiple_of(ringer_hart::PAGE_SIZE) {
        return Err(Failure::usage(format_args!(
            "--memory must be a multiple of 4 KiB, and {memory} bytes is not"
        )));
    }
    let host = crate::memory::host_total();
    if memory > host {
        return Err(Failure::usage(format_args!(
            "--memory {} is more than this computer has ({})",
            Size(memory),
            Size(host)
        )));
    }
    Ok(())
}

fn parse_timeout(seconds: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|timeout| !timeout.is_zero())
        .ok_or_else(|| {
            Failure::usage(format_args!(
                "--timeout must be a number of seconds above zero, not {seconds}"
            ))
        })
}

/// The cards that `--net` describes. Without it, a kernel gets one: bare programs look for no
/// network, and what comes from outside is different in each run.
fn cards(options: &RunOptions, possible: bool) -> Result<Vec<NetSpec>, Failure> {
    if options.net.is_empty() {
        let expected = possible && options.kernel.is_some();
        return Ok(expected.then(NetSpec::user).into_iter().collect());
    }
    let mut cards = Vec::new();
    for text in &options.net {
        cards.extend(NetSpec::parse(text)?);
    }
    Ok(cards)
}

/// The ports that `--publish` describes.
fn published(options: &RunOptions, nets: &[NetSpec]) -> Result<Vec<Publish>, Failure> {
    // A saved machine may have a card for them.
    let possible = options.restore.is_some() || nets.iter().any(NetSpec::is_user);
    if !options.publish.is_empty() && !possible {
        return Err(Failure::usage("--publish needs a card on --net user"));
    }
    let ports = options.publish.iter().map(|text| spec::parse_publish(text));
    ports.collect()
}

impl DiskSpec {
    /// Reads `file[,ro][,format=FORMAT][,overlay[=FILE]][,serial=TEXT]`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let mut parts = text.split(',');
        let path = parts.next().unwrap_or_default();
        if path.is_empty() {
            return Err(Failure::usage(
                "--disk needs a file, as in --disk root.img,overlay",
            ));
        }
        let mut spec = Self {
            path: path.into(),
            read_only: false,
            format: None,
            overlay: false,
            kept: None,
            serial: None,
        };
        for part in parts {
            match part.split_once('=') {
                None if part == "ro" => spec.read_only = true,
                None if part == "overlay" => spec.overlay = true,
                Some(("overlay", file)) if !file.is_empty() => spec.kept = Some(file.into()),
                Some(("format", format)) => spec.format = Some(format.parse()?),
                // The virtio block device's serial number has room for 20 bytes.
                Some(("serial", serial)) if serial.len() <= 20 && serial.is_ascii() => {
                    spec.serial = Some(serial.to_string());
                }
                Some(("serial", _)) => {
                    return Err(Failure::usage(
                        "a disk's serial number has at most 20 ASCII characters",
                    ));
                }
                _ => {
                    return Err(Failure::usage(format_args!(
                        "--disk does not know '{part}'; after the file come ro, format=raw|qcow2, overlay, overlay=FILE or serial=TEXT"
                    )));
                }
            }
        }
        if spec.overlay && spec.kept.is_some() {
            return Err(Failure::usage(
                "a disk has one overlay: overlay forgets what is written, overlay=FILE keeps it",
            ));
        }
        Ok(spec)
    }
    /// What is written shall be forgotten at the end.
    fn forget_writes(&mut self) -> Result<(), Failure> {
        if let Some(kept) = &self.kept {
            return Err(Failure::usage(format_args!(
                "--temporary forgets what is written, and overlay={0} keeps it; give --disk {0} for an overlay on the overlay",
                kept.display()
            )));
        }
        self.overlay |= !self.read_only;
        Ok(())
    }
    /// The same description with its files looked for from `folder`.
    pub fn relative_to(folder: &Path, text: &str) -> String {
        let mut parts = text.split(',');
        let mut whole = folder
            .join(parts.next().unwrap_or_default())
            .to_string_lossy()
            .into_owned();
        for part in parts {
            whole.push(',');
            match part.strip_prefix("overlay=") {
                Some(file) => {
                    whole.push_str("overlay=");
                    whole.push_str(&folder.join(file).to_string_lossy());
                }
                None => whole.push_str(part),
            }
        }
        whole
    }
}

/// Reads options from a configuration file.
pub fn read_options(path: &Path) -> Result<RunOptions, Failure> {
    let options: RunOptions = read_toml(path)?;
    Ok(options.relative_to(path.parent().unwrap_or(Path::new(""))))
}

/// Reads a TOML file; a mistake in it is named with its line.
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = crate::loader::read_text(path).map_err(Failure::monitor)?;
    toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |before| 1 + before.matches('\n').count());
        Failure::usage(format_args!(
            "{}, line {line}: {}",
            path.display(),
            error.message().replace('\n', " ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_kernel() -> RunOptions {
        RunOptions {
            kernel: Some("Image".into()),
            ..RunOptions::default()
        }
    }

    #[test]
    fn disks_are_described_in_one_word() {
        let spec = DiskSpec::parse("a.img,ro,serial=X1").unwrap();
        assert_eq!(spec.path, Path::new("a.img"));
        assert!(spec.read_only && !spec.overlay);
        assert_eq!(spec.serial.as_deref(), Some("X1"));
        let spec = DiskSpec::parse("a.img,overlay=b.qcow2,format=raw").unwrap();
        assert_eq!(spec.kept.as_deref(), Some(Path::new("b.qcow2")));
        assert_eq!(spec.format, Some(ImageFormat::Raw));
        for bad in [
            "",
            ",ro",
            "a.img,rw",
            "a.img,serial=123456789012345678901",
            "a.img,overlay=",
            "a.img,overlay,overlay=b",
            "a.img,format=vmdk",
        ] {
            assert!(DiskSpec::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_temporary_machine_writes_to_no_image() {
        let mut options = with_kernel();
        options.temporary = true;
        options.disk = vec!["a".into(), "b,ro".into(), "c,overlay".into()];
        let config = VmConfig::from_options(options.clone()).unwrap();
        let overlays: Vec<bool> = config.disks.iter().map(|disk| disk.overlay).collect();
        assert_eq!(overlays, [true, false, true]);
        options.disk = vec!["a,overlay=b".into()];
        assert!(VmConfig::from_options(options).is_err());
    }

    #[test]
    fn impossible_machines_are_refused() {
        type Change = fn(&mut RunOptions);
        let changes: [Change; 11] = [
            |o| o.harts = Some(0),
            |o| o.harts = Some(99),
            |o| o.memory = Some(Size(0)),
            |o| o.memory = Some(Size((1 << 30) + 5)),
            |o| o.memory = Some(Size(1 << 60)),
            |o| o.timeout = Some(f64::NAN),
            |o| o.net = vec!["bridge".into()],
            |o| o.disk = vec!["a".into(); 9],
            |o| o.share = vec!["folder".into()],
            |o| o.share = vec!["a:tag".into(), "b:tag".into()],
            |o| (o.share, o.deterministic) = (vec!["a:tag".into()], true),
        ];
        assert!(VmConfig::from_options(with_kernel()).is_ok());
        for change in changes {
            let mut options = with_kernel();
            change(&mut options);
            let failure = VmConfig::from_options(options).unwrap_err();
            assert_eq!(failure.status(), 2);
            assert!(!failure.to_string().contains('\n'));
        }
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file: RunOptions = toml::from_str(
            "kernel = 'file'\nharts = 2\ndisk = ['d.img,overlay=e,ro']\nmemory = '64M'\nengine = 'interpret'",
        )
        .unwrap();
        let line = RunOptions {
            harts: Some(4),
            ..RunOptions::default()
        };
        let merged = line.over(file.relative_to(Path::new("/vm")));
        assert_eq!(merged.harts, Some(4));
        assert_eq!(merged.kernel.as_deref(), Some(Path::new("/vm/file")));
        assert_eq!(merged.disk, ["/vm/d.img,overlay=/vm/e,ro"]);
        assert_eq!(merged.memory, Some(Size(64 << 20)));
        assert_eq!(merged.engine, Some(EngineKind::Interpret));
    }
}
