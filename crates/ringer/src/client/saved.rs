//! `ringer save`, `clone` and `snapshot`: machines saved under a name, and copies of machines.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::args::{CloneArgs, SaveArgs, SnapshotCommand};
use super::find;
use super::peer::Peer;
use super::simple::{fail, runtime};
use crate::control::place::Folder;
use crate::control::{Action, Answer};
use crate::exit::{Failure, status};
use crate::size::Size;
use crate::snapshot::{self, Reader, Shelf, Trust};

/// Copies made by one command at most.
const MOST_CLONES: u32 = 256;

/// Saves a machine that runs; it runs on.
pub fn save(folder: &Folder, args: &SaveArgs) -> Result<u8, Failure> {
    let found = find(folder, Some(&args.machine))?;
    let name = args.name.as_deref().unwrap_or(&args.machine);
    let (directory, known_as) = match name.contains('/') {
        true => (std::path::absolute(name).map_err(Failure::monitor)?, name),
        false => (Shelf::open()?.place(name)?, name),
    };
    save_to(folder, &found.name, &directory)?;
    println!("{known_as}");
    eprintln!(
        "ringer: saved to {}; `ringer restore {known_as}` goes on with it",
        directory.display()
    );
    Ok(status::SUCCESS)
}

fn save_to(folder: &Folder, machine: &str, directory: &Path) -> Result<(), Failure> {
    let peer = Peer::new(folder.socket(machine));
    let action = Action::Save {
        directory: Some(directory.to_path_buf()),
    };
    // A large machine and a slow disk: it takes as long as it takes.
    let answer = runtime()?
        .block_on(peer.act(&action))
        .map_err(|error| fail(machine, error))?;
    match answer {
        Answer::Saved { .. } => Ok(()),
        other => Err(Failure::monitor(format_args!("{machine}: {other}"))),
    }
}

/// Starts copies of a machine, which runs or is saved.
pub fn clone(folder: &Folder, args: &CloneArgs) -> Result<u8, Failure> {
    if !(1..=MOST_CLONES).contains(&args.number) {
        return Err(Failure::usage(format_args!(
            "-n is 1 to {MOST_CLONES}, not {}",
            args.number
        )));
    }
    if !folder.is_running(&args.machine).map_err(Failure::monitor)? {
        let saved = snapshot::find(Path::new(&args.machine)).map_err(|_| {
            Failure::monitor(format_args!(
                "no machine called '{0}' runs, and none is saved under that name",
                args.machine
            ))
        })?;
        return start_clones(folder, args, &saved);
    }
    // The copies need it only to start: what they have mapped stays.
    let passing =
        Passing(Shelf::open()?.place(&format!("clone-{}-{}", args.machine, std::process::id()))?);
    save_to(folder, &args.machine, &passing.0)?;
    start_clones(folder, args, &passing.0)
}

/// A saved machine that goes when this does.
struct Passing(PathBuf);

impl Drop for Passing {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start_clones(folder: &Folder, args: &CloneArgs, saved: &Path) -> Result<u8, Failure> {
    let base = Path::new(&args.machine)
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let base = args.name.as_deref().unwrap_or(&base);
    let program = std::env::current_exe().map_err(Failure::monitor)?;
    let mut number = 0;
    for _ in 0..args.number {
        let name = loop {
            number += 1;
            let name = format!("{base}-{number}");
            if !folder.is_running(&name).map_err(Failure::monitor)? {
                break name;
            }
        };
        let status = Command::new(&program)
            .args([
                "run",
                "--detach",
                "--as-clone",
                "--name",
                &name,
                "--restore",
            ])
            .arg(saved)
            .args(&args.further)
            .stdin(Stdio::null())
            .status()
            .map_err(Failure::monitor)?;
        if !status.success() {
            return Err(Failure::monitor(format_args!(
                "{name} did not start, nor do further ones; `ringer ps` shows those that did"
            )));
        }
    }
    Ok(status::SUCCESS)
}

/// Does something with saved machines.
pub fn snapshot(command: &SnapshotCommand) -> Result<u8, Failure> {
    match command {
        SnapshotCommand::List => list(&Shelf::open()?),
        SnapshotCommand::Show { name } => {
            let dir = snapshot::find(Path::new(name))?;
            let saved = Reader::open(&dir).map_err(Failure::monitor)?;
            print!("{}", show(&saved));
        }
        SnapshotCommand::Verify { names } => {
            for name in names {
                let dir = snapshot::find(Path::new(name))?;
                Reader::open_trusting(&dir, Trust::Nothing).map_err(Failure::monitor)?;
                println!("{name}: whole");
            }
        }
        SnapshotCommand::Remove { names } => {
            for name in names {
                let dir = snapshot::find(Path::new(name))?;
                snapshot::remove(&dir).map_err(Failure::monitor)?;
            }
        }
    }
    Ok(status::SUCCESS)
}

fn list(shelf: &Shelf) {
    let mut rows = Vec::new();
    for name in shelf.names() {
        let row = shelf.place(&name).and_then(|dir| {
            // Only what it says of itself: to check it all would take a while.
            let manifest = snapshot::manifest(&dir).map_err(Failure::monitor)?;
            Ok([
                Size(manifest.machine.memory).to_string(),
                Size(size_on_disk(&dir)).to_string(),
                age(manifest.saved_at),
            ])
        });
        rows.push((name, row));
    }
    let widest = rows
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0)
        .max(4);
    println!("{:<widest$}  {:>8}  {:>8}  SAVED", "NAME", "MEMORY", "DISK");
    for (name, row) in rows {
        match row {
            Ok([memory, disk, age]) => {
                println!("{name:<widest$}  {memory:>8}  {disk:>8}  {age}");
            }
            Err(failure) => println!("{name:<widest$}  {failure}"),
        }
    }
}

/// What a directory takes on disk; files shared with other saved machines count in each. In
/// whole MiB or KiB, so that it can be read.
fn size_on_disk(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes: u64 = files
        .filter_map(|file| file.metadata().ok())
        .map(|metadata| metadata.blocks().saturating_mul(512))
        .sum();
    match bytes >> 20 {
        0 => bytes,
        mib => mib << 20,
    }
}

fn age(saved_at: Option<u64>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let (Some(then), Ok(now)) = (saved_at, now) else {
        return "long ago".to_string();
    };
    let age = now.saturating_sub(Duration::from_secs(then)).as_secs();
    match age {
        0..120 => format!("{age} s ago"),
        120..7200 => format!("{} min ago", age / 60),
        7200..172_800 => format!("{} h ago", age / 3600),
        _ => format!("{} days ago", age / 86_400),
    }
}

fn show(saved: &Reader) -> String {
    let manifest = saved.manifest();
    let machine = &manifest.machine;
    let mut text = format!(
        "{}\nsaved {} by {}, format {}\n{} harts, {} of RAM, {} of it saved, in {} layers\n",
        saved.dir().display(),
        age(manifest.saved_at),
        manifest.written_by,
        manifest.version,
        machine.harts,
        Size(machine.memory),
        Size(
            saved
                .layers()
                .iter()
                .map(|l| l.table.data_pages())
                .sum::<u64>()
                * 4096
        ),
        saved.layers().len(),
    );
    if machine.agent {
        text += "with channels to an agent, as `ringer test` has\n";
    }
    for disk in &machine.disks {
        let kept = match (disk.overlay, disk.read_only) {
            (true, _) => "what was written is saved with the machine",
            (_, true) => "read-only",
            _ => "what was written is in the image, which must not change",
        };
        text += &format!("disk {}, {}: {kept}\n", disk.path.display(), Size(disk.len));
    }
    for share in &machine.shares {
        text += &format!("share {} from {}\n", share.tag, share.path.display());
    }
    text
}
