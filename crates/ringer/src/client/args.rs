//! Arguments of the commands for machines that run already.

use clap::Subcommand;

/// What `--help` says about exit statuses.
const STATUS: &str = "\
Exit status:
  0        it was done
  2        the command line makes no sense
  100      there is no such machine, or it does not answer";

const STOP_STATUS: &str = "\
Exit status:
  0        the guest powered off
  2        the command line makes no sense
  100      there is no such machine, it does not answer, or its guest did not power off in time
  104      the machine was ended by force";

const WAIT_STATUS: &str = "\
Exit status:
  0        the guest is ready
  2        the command line makes no sense
  100      there is no such machine, or it ended
  124      --timeout ran out";

const PS_EXAMPLES: &str = "\
Examples:
  ringer ps
  ringer ps --json | jq -r '.[] | select(.ready) | .name'

States: running, paused, stopping (the guest was asked to power off), silent (does not answer).";

const CONSOLE_EXAMPLES: &str = "\
Examples:
  ringer run debian --detach --name web      prints `web`
  ringer console web                         Ctrl-A d leaves; the machine runs on
  ringer console web < /dev/null             what the guest writes, until it ends

What the guest wrote last is shown first. Several can look and type at once. Machines started with
--deterministic take no keys from here: what is typed when would change the run.";

const STOP_EXAMPLES: &str = "\
Examples:
  ringer stop web
  ringer stop web || ringer stop --force web

The guest is asked as by SysRq on its serial console: sync, remount read-only, power off. Linux
obeys unless it was built or told not to.";

const WAIT_EXAMPLES: &str = "\
Example:
  ringer run debian -d --name web && ringer wait web --timeout 60 && ringer stats web

A guest is ready once it has written a text to its console: `login:`, or what --ready says when it
is started. The same is answered by GET /healthz on its control socket.";

const SAVE_EXAMPLES: &str = "\
Examples:
  ringer save web                            as `web`
  ringer save web before-upgrade             under another name
  ringer save web /backup/web                to a directory; the machine needs --no-sandbox for it,
                                             or --save in the same folder

The machine stands still meanwhile. Saving it again writes only what has changed since.
`ringer restore NAME` goes on with it; docs/SNAPSHOTS.md says what is saved and what is not.";

const CLONE_EXAMPLES: &str = "\
Examples:
  ringer clone web -n 8                      starts web-1 to web-8 in the background
  ringer clone before-upgrade -n 2 --name old -- --timeout 600

Copies share the memory that none of them writes to. Their disks must be overlays or read-only. Their
network cards get addresses of their own, and published ports are others: see `ringer ps`.";

const MONITOR_KEYS: &str = "\
Keys: q quits; arrow up and down, or j and k, scroll the counters; p pauses and resumes the machine.";

fn with_status(text: &str, status: &str) -> String {
    format!("{text}\n\n{status}")
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// List the machines that run
    #[command(after_help = with_status(PS_EXAMPLES, STATUS))]
    Ps(PsArgs),
    /// Attach to the console of a machine that runs
    #[command(after_help = with_status(CONSOLE_EXAMPLES, STATUS))]
    Console(ConsoleArgs),
    /// Ask a machine's guest to power off, or end it
    #[command(after_help = with_status(STOP_EXAMPLES, STOP_STATUS))]
    Stop(StopArgs),
    /// Print a machine's counters
    #[command(after_help = STATUS)]
    Stats(StatsArgs),
    /// Wait until a machine's guest is ready
    #[command(after_help = with_status(WAIT_EXAMPLES, WAIT_STATUS))]
    Wait(WaitArgs),
    /// Watch a machine: harts, exits by cause, memory, input and output
    #[command(after_help = with_status(MONITOR_KEYS, STATUS))]
    Monitor(MonitorArgs),
    /// Save a machine that runs; it runs on
    #[command(after_help = with_status(SAVE_EXAMPLES, STATUS))]
    Save(SaveArgs),
    /// Start copies of a machine that runs or is saved
    #[command(after_help = with_status(CLONE_EXAMPLES, STATUS))]
    Clone(CloneArgs),
    /// List, show, check and remove saved machines
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
}

/// Arguments of `ringer save`.
#[derive(Debug, clap::Args)]
pub struct SaveArgs {
    /// The machine
    pub machine: String,
    /// The name to save it under, or a directory's path with a '/' [default: the machine's name]
    pub name: Option<String>,
}

/// Arguments of `ringer clone`.
#[derive(Debug, clap::Args)]
pub struct CloneArgs {
    /// The machine that runs, or else the name or directory of a saved one
    pub machine: String,
    /// How many copies
    #[arg(short, long, default_value_t = 1)]
    pub number: u32,
    /// What the copies are called, with a number behind it [default: the machine's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Further options of `ringer run` for the copies
    #[arg(last = true, value_name = "OPTIONS")]
    pub further: Vec<String>,
}

/// What `ringer snapshot` does.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// List the saved machines that have names
    List,
    /// Say what a saved machine is
    Show {
        /// Its name or directory
        name: String,
    },
    /// Read all of saved machines, and compare it with their checksums
    Verify {
        /// Their names or directories
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove saved machines; those that go on from them run on
    Remove {
        /// Their names or directories
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Arguments of `ringer ps`.
#[derive(Debug, clap::Args)]
pub struct PsArgs {
    /// As JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `ringer console`.
#[derive(Debug, clap::Args)]
pub struct ConsoleArgs {
    /// The machine; not needed if only one runs
    pub name: Option<String>,
}

/// Arguments of `ringer stop`.
#[derive(Debug, clap::Args)]
pub struct StopArgs {
    /// The machines
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// End it at once, without asking the guest
    #[arg(short, long)]
    pub force: bool,
}

/// Arguments of `ringer stats`.
#[derive(Debug, clap::Args)]
pub struct StatsArgs {
    /// The machine; not needed if only one runs
    pub name: Option<String>,
    /// As JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `ringer wait`.
#[derive(Debug, clap::Args)]
pub struct WaitArgs {
    /// The machine; not needed if only one runs
    pub name: Option<String>,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
}

/// Arguments of `ringer monitor`.
#[derive(Debug, clap::Args)]
pub struct MonitorArgs {
    /// The machine; not needed if only one runs
    pub name: Option<String>,
}
