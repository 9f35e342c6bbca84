//! The command line's grammar, which is also the grammar of `--config` files.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::client::ClientCommand;
use crate::config::DiskSpec;
use crate::exit;
use crate::image::{self, args::ImageCommand};
use crate::kernel_symbols::SymbolsArgs;
use crate::size::Size;
use crate::test_run::TestArgs;
use crate::trace::Kind;

const EXAMPLES: &str = "\
Examples:
  ringer                                     the demo: a small guest that shows the machine
  ringer run --kernel Image --initrd initramfs.cpio.gz
                                             Linux, console on this terminal
  ringer run --kernel Image --append \"root=/dev/vda rw\" --disk root.img --harts 4
                                             Linux on a disk image, four harts
  ringer run --bios fw_jump.bin --kernel Image
                                             the same through OpenSBI as firmware
  ringer run --bios rv64ui-p-add             an RISC-V test program: its result is the exit status
  ringer run debian                          Debian, after `ringer image debian`
  ringer run debian --name web --detach      in the background; `ringer console web` attaches
  ringer ps                                  what runs; see also monitor, stats, wait, stop
  ringer test --share . -- make check        a command in Debian, with this folder, and its result
  ringer save web; ringer clone web -n 8     a machine's state, and copies of it; see `snapshot`
  ringer bundle web.toml mail.toml -o machine.bundle
                                             several guests for the bare-metal monitor
  ringer metal run machine.bundle            the bare-metal monitor with these guests
  ringer doctor                              what this computer offers, what is missing

On the guest's console, Ctrl-A x quits, Ctrl-A c opens the monitor prompt, Ctrl-A h helps.";

const RUN_EXAMPLES: &str = "\
Examples:
  ringer run --kernel Image --initrd initramfs.cpio.gz --append \"console=ttyS0 quiet\"
  ringer run --kernel Image --append root=/dev/vda --disk root.img,overlay --memory 4G
  ringer run --kernel Image --disk data.img,ro,serial=DATA --net tap:tap0
  ringer run debian --share .:work           and in the guest
      mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 work /mnt
  ringer run --kernel Image --disk root.img --publish 2222:22
                                             then `ssh -p 2222 localhost` reaches the guest
  ringer run --bios opensbi.bin --kernel u-boot.bin
  ringer run --bios test.elf --signature out.sig --timeout 60
  ringer run --kernel Image --gdb --gdb-wait  for gdb: target remote :1234
  ringer run --config vm.toml --harts 8      command-line options win over the file's

A configuration file has the same names:
  kernel = \"Image\"
  append = \"root=/dev/vda\"
  disk = [\"root.img,overlay\"]
  memory = \"2G\"
  harts = 4

The same run again:
  ringer run debian --harts 2 --record FILE  what is typed, and when, goes to the file
  ringer run --replay FILE                   the same run to the instruction; --gdb may step back

A saved machine:
  ringer run --kernel Image … --save DIR     Ctrl-A c, then `save`; or SIGTERM, or --timeout
  ringer run --restore DIR                   goes on where it was";

const BUNDLE_EXAMPLE: &str = "\
Example:
  ringer bundle web.toml mail.toml -o machine.bundle
  ringer bundle --show machine.bundle
  ringer metal run machine.bundle

A guest is described like this; of all this only `kernel` or `bios` is needed. Paths are
relative to the file.

  name = \"web\"                   # as the operator knows it; default: the file's name
  console = \"web\"                # the name of its console; default: the guest's
  kernel = \"Image\"               # starts in S-mode: Linux Image or ELF, also compressed
  initrd = \"initrd.cpio.gz\"
  append = \"console=ttyS0 quiet\" # the kernel's command line
  #bios = \"opensbi.bin\"          # starts in M-mode: firmware or a bare program
  memory = \"256M\"                # this is the default
  harts = 2                      # default: 1
  share = 200                    # of CPU time, compared with other guests; default: 100

  [[disk]]                       # goes into the bundle; in memory when the guest runs,
  path = \"root.img\"              #   so what it writes is lost at the end
  writable = true                # default: false

  [[disk]]                       # a range of the real machine's first disk
  host = { disk = 0, offset = \"1G\", size = \"512M\" }
  writable = true

  [[network]]                    # a network card at a switch between the guests
  switch = 0                     # this is the default
  mac = \"02:00:00:00:00:01\"      # default: made from the guest's name
  bridged = false                # true: the switch leads to the real machine's card, too";

const TRACE_EXAMPLES: &str = "\
Examples:
  ringer run debian --trace boot.trace --trace-events sbi,sched,mmio
  ringer trace show boot.trace --events sbi --hart 0 | less
  ringer trace show boot.trace --from 0.5 --until 0.6
  ringer trace timeline boot.trace -o boot.json    for https://ui.perfetto.dev

docs/DEBUGGING.md says what the events are and what tracing costs.";

const METAL_EXAMPLES: &str = "\
Examples:
  ringer bundle web.toml mail.toml -o machine.bundle
  ringer metal run machine.bundle            on a machine of ours
  ringer metal run machine.bundle --on qemu  on QEMU's virt board
  ringer metal run machine.bundle --harts 4 --disk real.img,overlay -- --timeout 60

The monitor itself is built by `cargo xtask metal`. Ctrl-A is the key of the machine below it,
so for the monitor it is typed twice: Ctrl-A Ctrl-A h is its help. Ctrl-A x quits all.";

/// What the whole command understands.
#[derive(Debug, Parser)]
#[command(
    name = "ringer",
    version,
    about = "A virtual machine monitor for RISC-V: runs unmodified operating systems on this computer.",
    after_help = EXAMPLES,
    disable_help_subcommand = true
)]
pub struct Args {
    /// What to do; without it, the demo runs.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a guest
    #[command(after_help = RUN_EXAMPLES, after_long_help = long_help(RUN_EXAMPLES))]
    Run(Box<RunArgs>),
    /// Run a command in a guest that is there in an instant, and take its exit status
    Test(Box<TestArgs>),
    /// Go on with a saved machine, given by its name or directory
    Restore(Box<RestoreArgs>),
    /// Run the small guest that comes with Ringer, and watch the machine from inside
    Demo(Box<RunOptions>),
    /// Pack guests into one file for the bare-metal monitor
    #[command(after_help = BUNDLE_EXAMPLE)]
    Bundle(BundleArgs),
    /// Start the bare-metal monitor
    #[command(subcommand, arg_required_else_help = false)]
    Metal(MetalCommand),
    /// Show, make and change disk images
    #[command(subcommand, arg_required_else_help = false, after_help = image::args::EXAMPLES)]
    Image(ImageCommand),
    /// Commands for machines that run already.
    #[command(flatten)]
    Client(ClientCommand),
    /// Show what `ringer run --trace FILE` has written
    #[command(subcommand, after_help = TRACE_EXAMPLES)]
    Trace(TraceCommand),
    /// Make symbols for gdb of a Linux kernel's own list of them
    Symbols(SymbolsArgs),
    /// Say what this computer offers, what is missing and how to get it
    Doctor,
}

fn long_help(examples: &str) -> String {
    format!("{examples}\n\n{}", exit::HELP)
}

/// Arguments of `ringer run`.
#[derive(Debug, Default, clap::Args)]
pub struct RunArgs {
    /// A guest known by name: one that `ringer image debian` has made, or debian-busybox, a small
    /// one made by `cargo xtask debian`
    pub guest: Option<String>,
    /// Read options from this TOML file; options given here win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The machine's description.
    #[command(flatten)]
    pub options: RunOptions,
}

/// A machine's description, by command-line options or by a file's keys of the same names.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// Name of the machine, for `ringer ps`, `console`, `stop` … [default: made from the guest's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The name of a guest that is known by one.
    #[arg(skip)]
    #[serde(skip)]
    pub known_as: Option<String>,
    /// Kernel or program: Linux Image or ELF, also gzip- or zstd-compressed; starts in S-mode
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Initial RAM disk for the kernel, or for a bare program given by --bios
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Kernel command line
    #[arg(long, value_name = "TEXT")]
    pub append: Option<String>,
    /// Firmware or bare program, ELF or raw; starts in M-mode at the start of RAM
    #[arg(long, value_name = "FILE")]
    pub bios: Option<PathBuf>,
    /// Disk image (raw or qcow2, by its content or `format`): `ro` read-only, `overlay` forget
    /// writes at the end, `overlay=FILE` keep them in FILE; repeatable
    #[arg(
        long,
        value_name = "FILE[,ro][,format=raw|qcow2][,overlay[=FILE]][,serial=TEXT]"
    )]
    pub disk: Vec<String>,
    /// Forget at the end what is written to disks: as with `overlay` on each
    #[arg(long)]
    pub temporary: bool,
    /// Network card: `user` reaches what this computer reaches, without rights or set-up, and with
    /// `isolated` nothing; `host-loopback` also reaches this computer's own services, as 10.0.2.2;
    /// `tap` is an interface of this computer; `echo` sends UDP datagrams back, and goes with
    /// --deterministic; repeatable [default: user for a kernel, else none]
    #[arg(
        long,
        value_name = "user[,isolated][,host-loopback]|tap[:NAME]|echo|none[,mac=ADDRESS]"
    )]
    pub net: Vec<String>,
    /// Folder that the guest mounts: `mount -t 9p -o trans=virtio,version=9p2000.L TAG /mnt`;
    /// `ro` lets it only read; repeatable
    #[arg(long, value_name = "DIR:TAG[,ro]")]
    pub share: Vec<String>,
    /// Lead a port of this computer to one of the guest's on `--net user`, for this computer only
    /// (127.0.0.1) unless ADDRESS says otherwise; HOSTPORT 0 takes a free one; repeatable
    #[arg(long, value_name = "[ADDRESS:]HOSTPORT:GUESTPORT[/udp]")]
    pub publish: Vec<String>,
    /// Number of harts (CPUs), 1 to 8 [default: 1]
    #[arg(long, value_name = "N")]
    pub harts: Option<u64>,
    /// RAM of the guest [default: 1G]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// How instructions are executed [default: translate on x86-64 Linux, else interpret]
    #[arg(long, value_enum)]
    pub engine: Option<EngineKind>,
    /// Where the guest's console is [default: stdio]
    #[arg(long, value_enum)]
    pub console: Option<ConsoleKind>,
    /// Save the machine here when stopped (SIGTERM, --timeout) or on the monitor's `save`
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Go on with a machine saved before: a directory, or a name
    #[arg(long, value_name = "SAVED")]
    pub restore: Option<PathBuf>,
    /// With --restore: go on as another machine than the one that was saved, as `ringer clone` does:
    /// network cards get new addresses, and published ports others of this computer
    #[arg(long)]
    #[serde(skip)]
    pub as_clone: bool,
    /// One thread and virtual time: two runs with the same input are the same
    #[arg(long)]
    pub deterministic: bool,
    /// With --deterministic: how many million instructions make a second (10 to 100000, a
    /// multiple of 10) [default: 100]
    #[arg(long, value_name = "MILLIONS")]
    pub mips: Option<u64>,
    /// Let gdb look into the guest and stop it [default address: tcp:127.0.0.1:1234]
    #[arg(
        long,
        value_name = "tcp:HOST:PORT|unix:PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "tcp:127.0.0.1:1234"
    )]
    pub gdb: Option<String>,
    /// With --gdb: the guest does not start before gdb lets it run
    #[arg(long)]
    pub gdb_wait: bool,
    /// Write to this file what comes from outside, so that the run can be replayed; makes the run
    /// deterministic
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Run again exactly what was recorded in this file, which also says what machine it was
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Write what happens in the machine to this file, for `ringer trace`
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// With --trace: kinds of events; mmio, sbi and sched alone leave the guest its speed
    /// [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,…")]
    pub trace_events: Vec<Kind>,
    /// With --trace: what the file may grow to; later events are counted only [default: 256M]
    #[arg(long, value_name = "SIZE")]
    pub trace_limit: Option<Size>,
    /// Print counts of instructions, traps, exits and interrupts at the end
    #[arg(long)]
    pub stats: bool,
    /// Write a conformance test's signature (begin_signature to end_signature) to this file
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// Answer semihosting calls (slli/ebreak/srai)
    #[arg(long)]
    pub semihosting: bool,
    /// Resets allowed before Ringer ends [default: no limit]
    #[arg(long, value_name = "N")]
    pub resets: Option<u64>,
    /// The guest is ready when it has written this to its console [default: login:]
    #[arg(long, value_name = "TEXT")]
    pub ready: Option<String>,
    /// Make no control socket: `ringer ps` does not know of this machine
    #[arg(long)]
    pub no_control: bool,
    /// Run in the background and print the machine's name; `ringer console NAME` attaches
    #[arg(short, long)]
    #[serde(skip)]
    pub detach: bool,
    /// This process is the one in the background.
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub detached: bool,
    /// Let the monitor open any file and make any system call while the guest runs
    #[arg(long)]
    pub no_sandbox: bool,
    /// Stop after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
}

/// Arguments of `ringer restore`.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// Its name (see `ringer snapshot list`), or its directory
    pub saved: PathBuf,
    /// The rest of the machine's description.
    #[command(flatten)]
    pub options: RunOptions,
}

/// What `ringer trace` does.
#[derive(Debug, Subcommand)]
pub enum TraceCommand {
    /// As text, a row for each event
    Show {
        /// The trace
        file: PathBuf,
        /// Which events.
        #[command(flatten)]
        filter: TraceFilter,
    },
    /// As JSON that Perfetto and chrome://tracing show
    Timeline {
        /// The trace
        file: PathBuf,
        /// The file to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Which events.
        #[command(flatten)]
        filter: TraceFilter,
    },
}

/// Which events are shown.
#[derive(Debug, Default, clap::Args)]
pub struct TraceFilter {
    /// Only these kinds
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,…")]
    pub events: Vec<Kind>,
    /// Only this hart's
    #[arg(long, value_name = "N")]
    pub hart: Option<usize>,
    /// Only those from this second of guest time on
    #[arg(long, value_name = "SECONDS")]
    pub from: Option<f64>,
    /// Only those up to this second of guest time
    #[arg(long, value_name = "SECONDS")]
    pub until: Option<f64>,
}

/// Arguments of `ringer bundle`.
#[derive(Debug, clap::Args)]
pub struct BundleArgs {
    /// Each describes a guest
    #[arg(value_name = "GUEST.toml")]
    pub guests: Vec<PathBuf>,
    /// The file to write
    #[arg(short, long, value_name = "FILE", conflicts_with = "show")]
    pub output: Option<PathBuf>,
    /// Say what is in a bundle instead
    #[arg(long, value_name = "FILE", conflicts_with = "guests")]
    pub show: Option<PathBuf>,
}

/// What `ringer metal` does.
#[derive(Debug, Subcommand)]
pub enum MetalCommand {
    /// Run a bundle's guests on the bare-metal monitor, on a machine of ours or QEMU's
    #[command(after_help = METAL_EXAMPLES, after_long_help = long_help(METAL_EXAMPLES))]
    Run(Box<MetalRunArgs>),
}

/// Arguments of `ringer metal run`.
#[derive(Debug, clap::Args)]
pub struct MetalRunArgs {
    /// The guests, made by `ringer bundle`
    pub bundle: PathBuf,
    /// On whose machine the monitor runs
    #[arg(long, value_enum, default_value_t, value_name = "MACHINE")]
    pub on: MetalHost,
    /// Harts of the machine [default: as many as the guests have together, at most as many as
    /// this computer has CPUs, and at most 8; with --deterministic 1]
    #[arg(long, value_name = "N")]
    pub harts: Option<u64>,
    /// RAM of the machine [default: enough for the guests, the bundle and the monitor]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// The monitor [default: $RINGER_METAL, or ringer-metal beside this program, or
    /// build/metal/ringer-metal in the source tree]
    #[arg(long, value_name = "FILE")]
    pub monitor: Option<PathBuf>,
    /// How our machine executes instructions [default: as in `ringer run`]
    #[arg(long, value_enum)]
    pub engine: Option<EngineKind>,
    /// Disk image of the machine, as in `ringer run`, of which guests can have parts; repeatable
    #[arg(long, value_name = "FILE[,ro][,overlay][,serial=TEXT]")]
    pub disk: Vec<String>,
    /// Time by counting instructions: two runs with the same input are the same
    #[arg(long)]
    pub deterministic: bool,
    /// Print our machine's counts of instructions, traps, exits and interrupts at the end
    #[arg(long)]
    pub stats: bool,
    /// Start the monitor even if the bundle is damaged, or none
    #[arg(long)]
    pub no_check: bool,
    /// Further options of `ringer run`, or of QEMU with --on qemu
    #[arg(last = true, value_name = "OPTIONS")]
    pub further: Vec<String>,
}

/// Whose machine the bare-metal monitor runs on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub enum MetalHost {
    /// Ours, in this process.
    #[default]
    Ringer,
    /// QEMU's virt board.
    Qemu,
}

/// Further options of `ringer run`, by themselves.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
pub struct FurtherOptions {
    /// The options.
    #[command(flatten)]
    pub options: RunOptions,
}

/// How instructions are executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// The reference interpreter, on any host.
    Interpret,
    /// The translator: guest code becomes host code; on x86-64 Linux.
    Translate,
}

impl EngineKind {
    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interpret => "interpret",
            Self::Translate => "translate",
        }
    }
}

/// Where the guest's console is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsoleKind {
    /// The serial port on this terminal.
    Stdio,
    /// The virtio console (`hvc0`) on this terminal; the serial port leads nowhere.
    Virtio,
    /// Nowhere: output is dropped, no input comes.
    None,
}

impl RunOptions {
    /// `self` where it says something, else `file`.
    pub fn over(self, file: Self) -> Self {
        fn list<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
            if first.is_empty() { second } else { first }
        }
        Self {
            name: self.name.or(file.name),
            known_as: self.known_as.or(file.known_as),
            kernel: self.kernel.or(file.kernel),
            initrd: self.initrd.or(file.initrd),
            append: self.append.or(file.append),
            bios: self.bios.or(file.bios),
            disk: list(self.disk, file.disk),
            temporary: self.temporary || file.temporary,
            net: list(self.net, file.net),
            share: list(self.share, file.share),
            publish: list(self.publish, file.publish),
            harts: self.harts.or(file.harts),
            memory: self.memory.or(file.memory),
            engine: self.engine.or(file.engine),
            console: self.console.or(file.console),
            save: self.save.or(file.save),
            restore: self.restore.or(file.restore),
            as_clone: self.as_clone || file.as_clone,
            deterministic: self.deterministic || file.deterministic,
            mips: self.mips.or(file.mips),
            gdb: self.gdb.or(file.gdb),
            gdb_wait: self.gdb_wait || file.gdb_wait,
            record: self.record.or(file.record),
            replay: self.replay.or(file.replay),
            trace: self.trace.or(file.trace),
            trace_events: list(self.trace_events, file.trace_events),
            trace_limit: self.trace_limit.or(file.trace_limit),
            stats: self.stats || file.stats,
            signature: self.signature.or(file.signature),
            semihosting: self.semihosting || file.semihosting,
            resets: self.resets.or(file.resets),
            ready: self.ready.or(file.ready),
            no_control: self.no_control || file.no_control,
            detach: self.detach || file.detach,
            no_sandbox: self.no_sandbox || file.no_sandbox,
            detached: self.detached || file.detached,
            timeout: self.timeout.or(file.timeout),
        }
    }
    /// Takes relative paths to start from `folder`: a file's paths are relative to the file.
    pub fn relative_to(mut self, folder: &Path) -> Self {
        for path in [
            &mut self.kernel,
            &mut self.initrd,
            &mut self.bios,
            &mut self.save,
            &mut self.restore,
            &mut self.signature,
            &mut self.record,
            &mut self.replay,
            &mut self.trace,
        ]
        .into_iter()
        .flatten()
        {
            *path = folder.join(&*path);
        }
        for disk in &mut self.disk {
            *disk = DiskSpec::relative_to(folder, disk);
        }
        for share in &mut self.share {
            *share = folder.join(&*share).to_string_lossy().into_owned();
        }
        self
    }
}
