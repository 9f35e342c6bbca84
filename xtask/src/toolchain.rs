//! Makes this machine able to build for bare RISC-V, and finds or installs other tools.
//!
//! rustup's own components are tried first. Where rustup cannot download, Debian's package of the
//! standard library's source serves as well; the compiler is ours in any case.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// The target of everything that runs on bare RISC-V.
pub const BARE_TARGET: &str = "riscv64gc-unknown-none-elf";

/// The target of the bare-metal monitor: its own code must leave the floating-point registers
/// alone, which hold a guest's.
pub const MONITOR_TARGET: &str = "riscv64imac-unknown-none-elf";

/// The Debian suite whose rust-src is as new as rustup's stable.
const RUST_SOURCE_SUITE: &str = "trixie-backports";

/// The crates that must build without std.
const NO_STD_CRATES: &[&str] = &[
    "ringer-isa",
    "ringer-hart",
    "ringer-machine",
    "ringer-bundle",
    "ringer-shadow",
];

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Says what is being done, apart from what the tools print.
pub fn say(what: &str) {
    eprintln!("xtask: {what}");
}

/// The folder of the running toolchain.
pub fn sysroot(sh: &Shell) -> Result<PathBuf> {
    Ok(cmd!(sh, "rustc --print sysroot")
        .quiet()
        .read()
        .context("rustc does not run")?
        .into())
}

/// Where the standard library's source is, in `sysroot`.
pub fn library_source(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib/src/rust/library")
}

/// How code for bare RISC-V is compiled here.
pub enum BareToolchain {
    /// With rustup's precompiled core and alloc.
    Precompiled,
    /// With core and alloc compiled from source along with ours.
    FromSource,
}

impl BareToolchain {
    /// The quickest toolchain for `target` this machine can have, installed if need be.
    pub fn ensure(sh: &Shell, target: &str) -> Result<BareToolchain> {
        let installed = sysroot(sh)?.join("lib/rustlib").join(target).join("lib");
        if installed.exists() {
            return Ok(BareToolchain::Precompiled);
        }
        if cmd!(sh, "rustup target add {target}")
            .quiet()
            .ignore_stderr()
            .run()
            .is_ok()
        {
            say(&format!("installed the target {target} by rustup"));
            return Ok(BareToolchain::Precompiled);
        }
        say(&format!(
            "rustup cannot install {target} here; core and alloc are built from source"
        ));
        BareToolchain::ensure_source(sh)
    }

    /// The toolchain that compiles core and alloc from source: slower, but the result does not
    /// depend on how somebody else compiled them.
    pub fn ensure_source(sh: &Shell) -> Result<BareToolchain> {
        let library = library_source(&sysroot(sh)?);
        if !library.join("core/Cargo.toml").exists() {
            if cmd!(sh, "rustup component add rust-src")
                .quiet()
                .ignore_stderr()
                .run()
                .is_ok()
            {
                say("installed the standard library's source by rustup");
            } else {
                source_from_debian(sh, &library)?;
                say(&format!(
                    "installed the standard library's source from Debian's {RUST_SOURCE_SUITE}"
                ));
            }
        }
        Ok(BareToolchain::FromSource)
    }

    /// The arguments that cargo needs for this way and this target.
    pub fn cargo_arguments(&self, target: &str) -> Vec<String> {
        let mut arguments = vec![format!("--target={target}")];
        if let BareToolchain::FromSource = self {
            arguments.push("-Zbuild-std=core,alloc,compiler_builtins".into());
            arguments.push("-Zbuild-std-features=compiler-builtins-mem".into());
        }
        arguments
    }

    /// The environment that cargo needs for this way: -Zbuild-std is an unstable option.
    pub fn environment(&self) -> Option<(&'static str, &'static str)> {
        matches!(self, BareToolchain::FromSource).then_some(("RUSTC_BOOTSTRAP", "1"))
    }

    fn name(&self) -> &'static str {
        match self {
            BareToolchain::Precompiled => "rustup's target",
            BareToolchain::FromSource => "core and alloc from source",
        }
    }
}

/// Downloads rust-src of rustc's exact version as a Debian package, and unpacks its library.
fn source_from_debian(sh: &Shell, library: &Path) -> Result<()> {
    let version = cmd!(sh, "rustc --version").quiet().read()?;
    let version = version
        .split_whitespace()
        .nth(1)
        .context("rustc tells no version")?
        .to_owned();
    let mirror = ringer_debian::mirror::archive().context(
        "rustup cannot download, and there is no Debian mirror in /etc/apt to get rust-src from; \
         install the component rust-src or the target riscv64gc-unknown-none-elf by hand",
    )?;
    let work = sh.create_temp_dir()?;
    let work = work.path();
    let list = work.join("sources.list");
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    sh.write_file(
        &list,
        format!("deb [signed-by={keys}] {mirror} {RUST_SOURCE_SUITE} main\n"),
    )?;
    for folder in ["lists/partial", "archives/partial"] {
        sh.create_dir(work.join(folder))?;
    }
    // An apt state of its own: the machine's package lists stay as they are.
    let options = [
        format!("-oDir::Etc::sourcelist={}", list.display()),
        "-oDir::Etc::sourceparts=-".to_owned(),
        format!("-oDir::State::lists={}", work.join("lists").display()),
        format!("-oDir::Cache={}", work.display()),
        "-oAPT::Sandbox::User=root".to_owned(),
    ];
    let options = &options;
    say(&format!(
        "asking {RUST_SOURCE_SUITE} for rust-src {version}"
    ));
    cmd!(sh, "apt-get {options...} -qq update")
        .quiet()
        .run()
        .context("apt cannot reach the mirror")?;
    let offered = cmd!(sh, "apt-cache {options...} madison rust-src")
        .quiet()
        .read()?;
    let package = offered
        .lines()
        .filter_map(|line| line.split('|').nth(1).map(str::trim))
        .find(|v| v.starts_with(&format!("{version}+")) || v.starts_with(&format!("{version}-")))
        .with_context(|| {
            format!("{RUST_SOURCE_SUITE} has no rust-src {version}; it offers: {offered}")
        })?;
    let _here = sh.push_dir(work);
    cmd!(sh, "apt-get {options...} -qq download rust-src={package}")
        .quiet()
        .run()?;
    let archive = sh
        .read_dir(work)?
        .into_iter()
        .find(|p| p.extension().is_some_and(|e| e == "deb"))
        .context("apt downloaded no package")?;
    cmd!(sh, "dpkg -x {archive} unpacked").quiet().run()?;
    let unpacked = work.join(format!("unpacked/usr/src/rustc-{version}/library"));
    ensure!(
        unpacked.join("core/Cargo.toml").exists(),
        "rust-src {package} has no library/core"
    );
    sh.create_dir(library.parent().context("the library has a parent")?)?;
    cmd!(sh, "cp -r {unpacked} {library}").quiet().run()?;
    Ok(())
}

/// A program and the Debian package it comes in.
pub type Tool = (&'static str, &'static str);

/// Whether a program (or a file, by absolute path) is there.
pub fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Programs for root are not always in a user's PATH.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).exists())
}

/// Whether this process may do what only root may.
pub fn is_root(sh: &Shell) -> bool {
    cmd!(sh, "id -u").quiet().read().is_ok_and(|id| id == "0")
}

/// Installs the packages of those tools that are missing; asks apt only then.
pub fn ensure_tools(sh: &Shell, tools: &[Tool]) -> Result<()> {
    let missing: Vec<&str> = tools
        .iter()
        .filter(|(program, _)| !have(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    if !have("apt-get") {
        bail!(
            "missing: {wanted}; this machine has no apt-get, so install the like by its own package manager"
        );
    }
    if !is_root(sh) {
        bail!(
            "missing: {wanted}; install them by `sudo apt-get install {wanted}`, then run this again"
        );
    }
    say(&format!("installing {wanted} by apt"));
    let install = |sh: &Shell| {
        let missing = &missing;
        cmd!(
            sh,
            "apt-get install -y -qq --no-install-recommends {missing...}"
        )
        .quiet()
        .env("DEBIAN_FRONTEND", "noninteractive")
        .ignore_stdout()
        .ignore_stderr()
        .run()
    };
    // Fresh machines often have no package lists yet.
    if install(sh).is_err() {
        cmd!(sh, "apt-get update -qq")
            .quiet()
            .run()
            .context("apt cannot reach its mirrors")?;
        install(sh).with_context(|| format!("apt cannot install {wanted}"))?;
    }
    Ok(())
}

/// The `check-nostd` command.
pub fn check_nostd() -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(root());
    let bare = BareToolchain::ensure(&sh, BARE_TARGET)?;
    let packages = NO_STD_CRATES.iter().flat_map(|name| ["-p", name]);
    let arguments = bare.cargo_arguments(BARE_TARGET);
    let mut check = cmd!(sh, "cargo check {packages...} {arguments...}").quiet();
    if let Some((name, value)) = bare.environment() {
        check = check.env(name, value);
    }
    check
        .run()
        .context("a crate that must do without std does not build for bare RISC-V")?;
    say(&format!(
        "{} build for {BARE_TARGET} ({})",
        NO_STD_CRATES.join(", "),
        bare.name()
    ));
    Ok(())
}
