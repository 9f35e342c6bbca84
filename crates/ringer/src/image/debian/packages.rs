//! Debian's packages: which are needed, in what order they are installed, and their files. apt
//! finds that out and checks signatures, with lists and settings of its own, so that this
//! computer's are left alone and nothing takes root.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::tools::{self, failed_to};
use crate::exit::Failure;

const ARCHITECTURE: &str = "riscv64";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// What every Debian has, and apt needs not be asked for.
const ESSENTIAL: &str = "?essential";

/// apt for the guest's architecture.
pub struct Apt {
    folder: PathBuf,
}

/// A package to install.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its file, among the downloaded.
    pub file: String,
}

/// A step of the installation, as apt orders them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The package's files get their places.
    Unpack(Package),
    /// The package of this name is set up.
    Configure(String),
}

impl Apt {
    /// Settings and lists in `folder`, which is kept for the next time.
    pub fn new(folder: &Path, mirror: &str, suite: &str) -> Result<Self, Failure> {
        if !Path::new(KEYS).exists() {
            return Err(Failure::monitor(format_args!(
                "{KEYS} is missing, by which packages are checked; it is in Debian's package debian-archive-keyring"
            )));
        }
        let place = folder.display().to_string();
        if place.contains(['"', '\\', '\n']) {
            return Err(Failure::monitor(format_args!(
                "apt cannot work in {place}; set XDG_CACHE_HOME"
            )));
        }
        let apt = Self {
            folder: folder.to_path_buf(),
        };
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| failed_to("write", &path, error))
        };
        for name in ["lists/partial", "archives/partial"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(|error| failed_to("make", &path, error))?;
        }
        write("status", "")?;
        write(
            "sources.list",
            &format!("deb [signed-by={KEYS}] {mirror} {suite} main\n"),
        )?;
        // This computer's own settings hold beside these: it may have a proxy.
        write(
            "apt.conf",
            &format!(
                "APT::Architecture \"{ARCHITECTURE}\";\n\
                 APT::Architectures {{ \"{ARCHITECTURE}\"; }};\n\
                 APT::Install-Recommends \"false\";\n\
                 APT::Sandbox::User \"\";\n\
                 Acquire::Languages \"none\";\n\
                 Dir::Etc::sourcelist \"{place}/sources.list\";\n\
                 Dir::Etc::sourceparts \"-\";\n\
                 Dir::Etc::preferences \"-\";\n\
                 Dir::Etc::preferencesparts \"-\";\n\
                 Dir::State \"{place}\";\n\
                 Dir::State::status \"{place}/status\";\n\
                 Dir::Cache \"{place}\";\n"
            ),
        )?;
        Ok(apt)
    }

    /// The downloaded packages.
    pub fn archives(&self) -> PathBuf {
        self.folder.join("archives")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.env("APT_CONFIG", self.folder.join("apt.conf"));
        command.env("LC_ALL", "C.UTF-8").arg("-q");
        command
    }

    /// Fetches the lists of packages.
    pub fn update(&self) -> Result<(), Failure> {
        tools::output(self.command().arg("update"), "get the lists of packages").map(drop)
    }

    /// The steps that install these packages and all they need; with none, those that every
    /// Debian has.
    pub fn plan(&self, packages: &[String]) -> Result<Vec<Step>, Failure> {
        let mut command = self.command();
        command
            .args(["--simulate", "install", ESSENTIAL])
            .args(packages);
        let text = tools::output(&mut command, "find out which packages are needed")?;
        let steps: Vec<Step> = text.lines().filter_map(read_step).collect();
        if steps.is_empty() {
            return Err(Failure::monitor(
                "apt-get says nothing of what it would install; this is tried with apt 2.6",
            ));
        }
        Ok(steps)
    }

    /// Downloads these packages and all they need; tells `progress` how far it is, in percent.
    pub fn download(
        &self,
        packages: &[String],
        mut progress: impl FnMut(f64),
    ) -> Result<(), Failure> {
        let what = "download the packages";
        let mut command = self.command();
        command
            .args([
                "-q",
                "-y",
                "--download-only",
                "-o",
                "APT::Status-Fd=1",
                "install",
            ])
            .arg(ESSENTIAL)
            .args(packages)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| tools::no_tool(&command, &error))?;
        let output = child.stdout.take().into_iter();
        let lines = output.flat_map(|output| BufReader::new(output).lines());
        for line in lines.map_while(Result::ok) {
            // dlstatus:NUMBER:PERCENT:TEXT
            let mut fields = line.split(':');
            if fields.next() == Some("dlstatus")
                && let Some(percent) = fields.nth(1).and_then(|text| text.parse().ok())
            {
                progress(percent);
            }
        }
        let ended = child.wait_with_output();
        tools::check(what, ended).map(drop)
    }
}

/// Reads a line of what `apt-get --simulate` prints.
fn read_step(line: &str) -> Option<Step> {
    let mut words = line.split_whitespace();
    match (words.next()?, words.next()?) {
        ("Inst", name) => {
            // (VERSION ORIGIN [ARCHITECTURE]), and behind it what is not in order yet.
            let (_, found) = line.split_once('(')?;
            let (found, _) = found.split_once(')')?;
            let (version, _) = found.split_once(' ')?;
            let (_, architecture) = found.strip_suffix(']')?.rsplit_once('[')?;
            let version = version.replace(':', "%3a");
            Some(Step::Unpack(Package {
                name: name.to_string(),
                file: format!("{name}_{version}_{architecture}.deb"),
            }))
        }
        ("Conf", name) => Some(Step::Configure(name.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_of_apt_is_read() {
        let step = read_step("Inst login (1:4.16.0-2+really2.41-5 Debian:13.1/stable [riscv64])");
        let package = Package {
            name: "login".into(),
            file: "login_1%3a4.16.0-2+really2.41-5_riscv64.deb".into(),
        };
        assert_eq!(step, Some(Step::Unpack(package)));
        let step =
            read_step("Inst libc6 (2.41-12 Debian:13.1/stable [riscv64]) [gcc-14-base:riscv64 ]");
        let package = Package {
            name: "libc6".into(),
            file: "libc6_2.41-12_riscv64.deb".into(),
        };
        assert_eq!(step, Some(Step::Unpack(package)));
        let step = read_step("Conf udev (257.8-1~deb13u2 Debian:13.1/stable [riscv64])");
        assert_eq!(step, Some(Step::Configure("udev".into())));
        for other in ["", "Reading package lists...", "Inst x", "Inst x (1)"] {
            assert_eq!(read_step(other), None, "{other}");
        }
    }
}
