//! `ringer test`: a command in a guest that is there in an instant, from a saved machine, and is
//! thrown away afterwards. The saved machine is made at the first use.

mod args;
mod packages;

use std::fs;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use args::TestArgs;

use crate::agent::{Task, quote};
use crate::args::{ConsoleKind, RunOptions};
use crate::config::VmConfig;
use crate::exit::{Failure, Outcome};
use crate::named_guest;
use crate::run;
use crate::size::Size;
use crate::snapshot::{self, Shelf};

/// How long a guest may take to its agent.
const BOOT: Duration = Duration::from_secs(600);
/// The folder's tag, and where the guest has it.
const TAG: &str = "ringer.work";
const WORK: &str = "/work";

/// Runs the command.
pub fn run(args: &TestArgs) -> Result<Outcome, Failure> {
    if let Some(place) = &args.make {
        return make(args, place);
    }
    let saved = match &args.snapshot {
        Some(name) => snapshot::find(Path::new(name))?,
        None => prepared(args)?,
    };
    let share = args.share.as_deref().map(folder).transpose()?;
    let mut config = VmConfig::from_options(RunOptions {
        restore: Some(saved),
        share: share.into_iter().collect(),
        console: Some(ConsoleKind::None),
        engine: args.engine,
        timeout: args.timeout,
        no_control: true,
        ..RunOptions::default()
    })?;
    config.agent = Some(Task::Run(script(args)));
    run::run(config)
}

/// What the guest's shell is to do.
fn script(args: &TestArgs) -> String {
    let mut script = String::new();
    // The guest's clock stands where it was when the machine was saved.
    if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) {
        script += &format!("date -s @{} >/dev/null 2>&1\n", now.as_secs());
    }
    if args.share.is_some() {
        script += &format!(
            "mkdir -p {WORK} && mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 {TAG} {WORK} && cd {WORK} || exit 125\n"
        );
    }
    script += &packages::hint(args);
    match args.command.as_slice() {
        [line] => script += line,
        words => script += &format!("exec {}", quote(words)),
    }
    script
}

/// `--share`'s folder as `ringer run` has it.
fn folder(text: &str) -> Result<String, Failure> {
    let (path, read_only) = match text.strip_suffix(",ro") {
        Some(path) => (path, ",ro"),
        None => (text, ""),
    };
    if !Path::new(path).is_dir() {
        return Err(Failure::usage(format_args!(
            "--share {path}: there is no such folder"
        )));
    }
    Ok(format!("{path}:{TAG}{read_only}"))
}

/// The image as `ringer run` has it.
fn options(args: &TestArgs) -> Result<RunOptions, Failure> {
    let options = RunOptions {
        harts: args.harts,
        memory: args.memory,
        // The image is for all that come.
        temporary: true,
        ..RunOptions::default()
    };
    let image = args.image.as_str();
    if !named_guest::is_image(image) && !matches!(image, "debian" | named_guest::BUSYBOX) {
        return Err(Failure::usage(format_args!(
            "there is no image called '{image}'; `ringer image debian --name {image}` makes it{}",
            named_guest::known()
        )));
    }
    named_guest::options(image, options)
}

/// The saved machine of an image, made if there is none that fits.
fn prepared(args: &TestArgs) -> Result<PathBuf, Failure> {
    let options = options(args)?;
    let shelf = Shelf::open()?;
    // Of the same machine there is one; it is made again when what it was made of has changed.
    let memory = options.memory.unwrap_or(Size(0)).0 >> 20;
    let kind = format!(
        "test-{}-{}-{memory}-{}",
        args.image,
        options.harts.unwrap_or(1),
        packages::name(&args.packages)?,
    );
    let name = format!("{kind}{:08x}", fingerprint(&options));
    let place = shelf.place(&name)?;
    if place.exists() && !args.fresh {
        return Ok(place);
    }
    have_made(args, &place)?;
    for other in shelf.names() {
        if other.starts_with(&kind) && other != name {
            let _ = fs::remove_dir_all(shelf.place(&other)?);
        }
    }
    Ok(place)
}

/// A number that is another one when the machine would be another one.
fn fingerprint(options: &RunOptions) -> u32 {
    let mut text = format!(
        "{} {options:?}",
        concat!("ringer ", env!("CARGO_PKG_VERSION"))
    );
    let disks = options
        .disk
        .iter()
        .filter_map(|disk| disk.split(',').next());
    let files = [&options.kernel, &options.initrd].into_iter().flatten();
    for path in files.map(PathBuf::as_path).chain(disks.map(Path::new)) {
        if let Ok(there) = path.metadata() {
            let (seconds, nanos) = (there.mtime(), there.mtime_nsec());
            text += &format!("{} {seconds} {nanos}", there.len());
        }
    }
    crc32fast::hash(text.as_bytes())
}

/// Has a process of its own make the saved machine: it confines itself to that.
fn have_made(args: &TestArgs, place: &Path) -> Result<(), Failure> {
    let mut command = Command::new(std::env::current_exe().map_err(Failure::monitor)?);
    command.args(["test", "--image", &args.image]);
    if !args.packages.is_empty() {
        command.args(["--packages", &args.packages.join(",")]);
    }
    command.arg("--make");
    command
        .arg(place)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some(harts) = args.harts {
        command.args(["--harts", &harts.to_string()]);
    }
    if let Some(Size(bytes)) = args.memory {
        command.args(["--memory", &bytes.to_string()]);
    }
    if let Some(engine) = args.engine {
        command.args(["--engine", engine.name()]);
    }
    let installing = match args.packages.as_slice() {
        [] => String::new(),
        packages => format!(", installing {} in it", packages.join(", ")),
    };
    let progress = Progress::start(format!(
        "starting {} once{installing}, to save it for all later tests",
        args.image
    ));
    let status = command.status();
    let elapsed = progress.end();
    if !status.map_err(Failure::monitor)?.success() {
        return Err(Failure::monitor(format_args!(
            "{} cannot be used for tests{}; look at it with `ringer run {0}`, and make it again if it is older than this Ringer",
            args.image,
            match args.packages.is_empty() {
                true => "",
                false => " with these packages",
            }
        )));
    }
    eprintln!(
        "ringer: saved after {:.1} s in {}",
        elapsed.as_secs_f64(),
        place.display()
    );
    Ok(())
}

/// Boots the image until its agent is ready, and saves it to `place`.
fn make(args: &TestArgs, place: &Path) -> Result<Outcome, Failure> {
    let script = packages::install(args)?;
    // In place of the folder, which is another one at every run.
    let empty = place.with_file_name(".empty");
    fs::create_dir_all(&empty)
        .map_err(|error| Failure::monitor(format_args!("{}: {error}", empty.display())))?;
    let mut config = VmConfig::from_options(RunOptions {
        console: Some(ConsoleKind::None),
        timeout: Some(BOOT.as_secs_f64()),
        no_control: true,
        share: vec![format!("{}:{TAG}", empty.display())],
        ..options(args)?
    })?;
    config.agent = Some(Task::Prepare {
        script,
        place: place.to_path_buf(),
    });
    match run::run(config)? {
        Outcome::Saved(_) => Ok(Outcome::PoweredOff),
        Outcome::TimedOut => Err(Failure::monitor(format_args!(
            "no agent has answered for {} s",
            BOOT.as_secs()
        ))),
        Outcome::Command(status) => Err(Failure::monitor(format_args!(
            "the packages could not be installed (status {status})"
        ))),
        other => Err(Failure::monitor(other)),
    }
}

/// A line that says what takes so long, and on a terminal for how long.
struct Progress {
    since: Instant,
    over: Arc<AtomicBool>,
}

impl Progress {
    fn start(what: String) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let since = Instant::now();
        eprint!("ringer: {what} …");
        if std::io::stderr().is_terminal() {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                while !over.load(Ordering::Acquire) {
                    eprint!("\rringer: {what} … {} s ", since.elapsed().as_secs());
                    let _ = std::io::stderr().flush();
                    thread::sleep(Duration::from_millis(500));
                }
            });
        }
        Self { since, over }
    }
    fn end(self) -> Duration {
        self.over.store(true, Ordering::Release);
        eprintln!();
        self.since.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(command: &[&str], share: Option<&str>) -> TestArgs {
        TestArgs {
            command: command.iter().map(|word| word.to_string()).collect(),
            share: share.map(str::to_string),
            ..TestArgs::default()
        }
    }

    #[test]
    fn one_word_is_a_line_for_the_shell_and_several_are_a_command() {
        let end = |args: &TestArgs| script(args).lines().last().unwrap().to_string();
        assert_eq!(end(&args(&["a && b"], None)), "a && b");
        assert_eq!(end(&args(&["a", "&&", "b c"], None)), "exec 'a' '&&' 'b c'");
        assert!(script(&args(&["a"], Some("."))).contains("mount -t 9p"));
        assert!(!script(&args(&["a"], None)).contains("mount"));
    }

    #[test]
    fn folders_are_checked_and_other_machines_have_other_names() {
        assert_eq!(folder(".,ro").unwrap(), format!(".:{TAG},ro"));
        assert!(folder("/no/such/folder").is_err());
        let one = RunOptions::default();
        let two = RunOptions {
            harts: Some(2),
            ..RunOptions::default()
        };
        assert_ne!(fingerprint(&one), fingerprint(&two));
        assert_eq!(fingerprint(&one), fingerprint(&one.clone()));
    }
}
