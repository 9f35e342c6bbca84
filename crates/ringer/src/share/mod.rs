//! Shared folders: a folder of the host that the guest mounts, served by 9P2000.L
//! (docs/SHARE.md). `folder` is the host's side, `message` the guest's, `server` stands between.
//!
//! The crate `p9` was looked at: it has no `openat2`, no read-only shares, no limits and no state
//! that can be saved, so this is our own.

pub mod fids;
pub mod folder;
pub mod message;
mod saved;
pub mod server;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ringer_machine::virtio::share::MAX_TAG;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::exit::Failure;
use crate::sandbox::Needs;
use crate::snapshot::SavedShare;

pub use folder::{Folder, ShareError};
pub use server::Server;

/// Descriptors that the rest of the monitor may need.
const RESERVE: u64 = 256;
/// Descriptors of one share at most; more fids than that are parked.
const MAX_HELD: u64 = 16 << 10;

/// A shared folder as described by `--share`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShareSpec {
    /// The folder.
    pub path: PathBuf,
    /// The name by which the guest mounts it.
    pub tag: String,
    /// Refuse changes.
    pub read_only: bool,
}

impl ShareSpec {
    /// Reads all that are given; no two may have the same tag.
    pub fn parse_all(texts: &[String]) -> Result<Vec<Self>, Failure> {
        let specs = (texts.iter().map(|text| Self::parse(text))).collect::<Result<Vec<_>, _>>()?;
        for (number, spec) in specs.iter().enumerate() {
            if specs
                .iter()
                .skip(number + 1)
                .any(|other| other.tag == spec.tag)
            {
                return Err(Failure::usage(format_args!(
                    "two shares have the tag {}; give each its own",
                    spec.tag
                )));
            }
        }
        Ok(specs)
    }
    /// Reads `DIR:TAG[,ro]`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let (text, read_only) = match text.strip_suffix(",ro") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let Some((path, tag)) = text.rsplit_once(':').filter(|(path, _)| !path.is_empty()) else {
            return Err(Failure::usage(format_args!(
                "--share {text} lacks a folder or a tag; write DIR:TAG, as in --share .:work"
            )));
        };
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if tag.is_empty() || tag.len() > MAX_TAG || !tag.bytes().all(fits) {
            return Err(Failure::usage(format_args!(
                "'{tag}' cannot be a share's tag: it has letters, digits, - _ . and at most {MAX_TAG} of them; behind it can only come ,ro"
            )));
        }
        Ok(Self {
            path: path.into(),
            tag: tag.into(),
            read_only,
        })
    }
}

/// A share as a saved machine remembers it.
pub fn describe(spec: &ShareSpec) -> SavedShare {
    SavedShare {
        path: std::path::absolute(&spec.path).unwrap_or_else(|_| spec.path.clone()),
        tag: spec.tag.clone(),
        read_only: spec.read_only,
    }
}

/// The shares of a resumed machine: those it had, from other folders where others are given.
pub fn adopt(given: &[ShareSpec], saved: &[SavedShare]) -> Result<Vec<ShareSpec>, Failure> {
    if let Some(new) = (given.iter()).find(|spec| saved.iter().all(|had| had.tag != spec.tag)) {
        return Err(Failure::usage(format_args!(
            "the saved machine has no share with the tag {}; a share cannot be added when it goes on",
            new.tag
        )));
    }
    let adopted = saved.iter().map(|had| {
        let other = given.iter().find(|spec| spec.tag == had.tag);
        other.cloned().unwrap_or_else(|| ShareSpec {
            path: had.path.clone(),
            tag: had.tag.clone(),
            read_only: had.read_only,
        })
    });
    Ok(adopted.collect())
}

/// What serving takes while the guest runs.
pub fn needs(specs: &[ShareSpec], needs: &mut Needs) {
    for spec in specs {
        match spec.read_only {
            true => needs.read(&spec.path).attributes(),
            false => needs.change(&spec.path).attributes(),
        };
    }
}

/// Opens the folders to share.
pub fn open(specs: &[ShareSpec]) -> Result<Vec<Server>, ShareError> {
    let mut servers = Vec::new();
    if specs.is_empty() {
        return Ok(servers);
    }
    let budget = descriptors() / specs.len() as u64;
    survive_large_files();
    for spec in specs {
        let folder = Folder::open(&spec.path, spec.read_only)?;
        servers.push(Server::new(folder, budget.min(MAX_HELD) as usize));
    }
    Ok(servers)
}

/// How many descriptors all shares may have together: as many as the system lets this process
/// have, less some.
fn descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    limit.unwrap_or(u64::MAX).saturating_sub(RESERVE)
}

/// A write beyond the limit of file sizes (`ulimit -f`) is an error to the guest; without a
/// handler for its signal it would be the end of the monitor.
fn survive_large_files() {
    // It can fail for no signal of this number; then there is nothing to survive.
    let _ = signal_hook::flag::register(
        signal_hook::consts::SIGXFSZ,
        Arc::new(AtomicBool::new(false)),
    );
}
