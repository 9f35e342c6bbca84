//! `ringer doctor`: what this computer offers, what is missing, and how to get it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::control::place::Folder;
use crate::disk;
use crate::memory::{HostMemory, host_total, meminfo};
use crate::net::Tap;
use crate::size::Size;
use crate::translator;

/// What a check found.
enum Finding {
    Good(String),
    /// Works, with a remark.
    Note(String),
    /// Missing: what, and how to get it.
    Missing(String, String),
}
use Finding::{Good, Missing, Note};

/// The whole report.
pub fn report() -> String {
    let checks: [(&str, Finding); 10] = [
        ("engine interpret", engine_interpret()),
        ("engine translate", engine_translate()),
        ("processors", processors()),
        ("memory", memory()),
        ("huge pages", huge_pages()),
        ("network (TAP)", tap()),
        ("disk overlays", overlays()),
        ("sandbox", sandbox()),
        ("control sockets", control()),
        ("/dev/kvm", kvm()),
    ];
    let mut out = String::new();
    for (name, finding) in checks {
        let (mark, text) = match &finding {
            Good(text) => ("ok     ", text),
            Note(text) => ("note   ", text),
            Missing(text, _) => ("missing", text),
        };
        let _ = writeln!(out, "{mark}  {name:<17} {text}");
        if let Missing(_, advice) = finding {
            let _ = writeln!(out, "         {:<17} -> {advice}", "");
        }
    }
    out
}

fn sandbox() -> Finding {
    if crate::sandbox::restricts_files() {
        return Good("the kernel can restrict a machine's monitor to its files".to_string());
    }
    Note("no Landlock in this kernel: a machine's monitor has its system calls restricted, not its files".to_string())
}

fn control() -> Finding {
    match Folder::open() {
        Ok(folder) => Good(format!("machines keep them in {}", folder.path().display())),
        Err(error) => Missing(
            error.to_string(),
            "set XDG_RUNTIME_DIR to a directory that is yours alone".to_string(),
        ),
    }
}

fn engine_interpret() -> Finding {
    match HostMemory::new(1 << 20) {
        Ok(_) => Good("works everywhere".to_string()),
        Err(error) => Missing(
            error.to_string(),
            "raise the limit on memory (`ulimit -v unlimited`)".to_string(),
        ),
    }
}

fn engine_translate() -> Finding {
    match translator::share_code(1) {
        Ok(_) => Good(translator::processor_features()),
        Err(error) => Missing(
            error.to_string(),
            "guests run on the interpreter, more slowly".to_string(),
        ),
    }
}

fn processors() -> Finding {
    match std::thread::available_parallelism() {
        Ok(count) => Good(format!(
            "{count}; a guest's harts run in parallel on as many"
        )),
        Err(error) => Note(error.to_string()),
    }
}

fn memory() -> Finding {
    let total = host_total();
    match meminfo("MemAvailable:") {
        Some(free) if free < 1 << 30 => Missing(
            format!("{} free of {}", Size(free), Size(total)),
            "end other programs, or give guests less with --memory".to_string(),
        ),
        Some(free) => Good(format!(
            "{} free of {}; guests take what they touch",
            Size(free),
            Size(total)
        )),
        None => Note("/proc/meminfo cannot be read".to_string()),
    }
}

fn huge_pages() -> Finding {
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    let Ok(text) = fs::read_to_string(path) else {
        return Note("this kernel has no transparent huge pages; guests run without".to_string());
    };
    if text.contains("[never]") {
        return Missing(
            "switched off; guests run a little slower".to_string(),
            format!("echo madvise | sudo tee {path}"),
        );
    }
    Good("transparent huge pages are used for guests' RAM".to_string())
}

fn tap() -> Finding {
    match Tap::open(None) {
        Ok(_) => Good("may be made by this user: --net tap".to_string()),
        Err(error) => {
            let text = error.to_string();
            match text.split_once("; ") {
                Some((what, advice)) => Missing(what.to_string(), advice.to_string()),
                None => Note(text),
            }
        }
    }
}

fn overlays() -> Finding {
    let dir = std::env::temp_dir();
    if disk::works_in(&dir) {
        Good(format!("kept in {} while a guest runs", dir.display()))
    } else {
        Missing(
            format!("{} cannot hold unnamed files", dir.display()),
            "set TMPDIR to a directory on a local disk".to_string(),
        )
    }
}

fn kvm() -> Finding {
    if Path::new("/dev/kvm").exists() {
        Note("present, and of no use here: it runs guests of this computer's own kind".to_string())
    } else {
        Note("absent, and not needed".to_string())
    }
}
