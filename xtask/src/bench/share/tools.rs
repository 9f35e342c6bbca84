//! Programs for the guest beside busybox: Debian's git and make, as a second initial RAM disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ringer_debian::Archive;
use xshell::Shell;

use crate::debian;
use crate::toolchain::root;

const PACKAGES: &str = "git,make";
const PROGRAMS: &[&str] = &["git", "make"];
/// What those are linked with, and what links them.
const LIBRARIES: &[&str] = &[
    "ld-linux-riscv64-lp64d.so.1",
    "libc.so.6",
    "libpcre2-8.so.0",
    "libz.so.1",
];

/// Makes an initial RAM disk of `initrd` and the programs, and says where it is.
pub fn add_to(sh: &Shell, initrd: &Path) -> Result<PathBuf> {
    let packages = root().join("build/bench/packages");
    if !packages.join("usr/bin/make").exists() {
        debian::fetch(sh, PACKAGES, &packages)?;
    }
    let read = |path: PathBuf| {
        fs::read(&path).with_context(|| {
            format!(
                "cannot read {}; remove {} to fetch it again",
                path.display(),
                packages.display()
            )
        })
    };
    let mut archive = Archive::default();
    archive.folder("bin");
    archive.folder("lib");
    for name in PROGRAMS {
        let program = read(packages.join("usr/bin").join(name))?;
        archive.file(&format!("bin/{name}"), &program, true);
    }
    for name in LIBRARIES {
        let library = read(packages.join("usr/lib/riscv64-linux-gnu").join(name))?;
        archive.file(&format!("lib/{name}"), &library, true);
    }
    // The kernel unpacks archives one behind the other, each compressed or not.
    let mut both = archive.finish();
    both.extend(read(initrd.to_path_buf())?);
    let to = root().join("build/bench/initrd-share.cpio");
    fs::write(&to, both).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(to)
}
