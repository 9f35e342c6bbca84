//! The grammar of `ringer image debian`.

use std::path::PathBuf;

use crate::size::Size;

/// What `ringer image debian --help` shows below the options.
pub const HELP: &str = "\
The image is a folder with the disk root.img, the kernel, its initial RAM disk and vm.toml, which
says how they belong together. `ringer run debian` starts it, and keeps what is written;
`ringer run debian --temporary` forgets it at the end. Another --name makes another machine.

Root is logged in on the console. By ssh root is let in by key: by --ssh-key, or by the public
keys in ~/.ssh, if there are any.

Examples:
  ringer image debian
  ringer image debian --name build --size 20G --include build-essential,git
  ringer run build --harts 4 --memory 4G

It takes apt-get, dpkg-deb, xz, mke2fs and debugfs of this computer, but not root: packages are
downloaded and checked here, and installed by their own scripts in a machine of Ringer's.";

/// Arguments of `ringer image debian`.
#[derive(Debug, clap::Args)]
pub struct DebianArgs {
    /// The name by which `ringer run` knows it
    #[arg(long, default_value = "debian", conflicts_with = "out")]
    pub name: String,
    /// The folder to make, if it shall not be among the images that `ringer run` knows
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Size of its disk; what is unused takes no room on this computer
    #[arg(long, default_value = "4G", value_name = "SIZE")]
    pub size: Size,
    /// Further packages
    #[arg(long, value_delimiter = ',', value_name = "PACKAGES")]
    pub include: Vec<String>,
    /// Where Debian's packages are [default: as this computer's apt has it]
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Debian's release
    #[arg(long, default_value = "trixie")]
    pub suite: String,
    /// Its host name [default: its name]
    #[arg(long)]
    pub hostname: Option<String>,
    /// A public key that root may log in with by ssh [default: those in ~/.ssh]
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Option<PathBuf>,
    /// A password for root; without it there is none, and only the console and keys let in
    #[arg(long)]
    pub password: Option<String>,
    /// Replace the image if it is there: what its disk holds is lost
    #[arg(long)]
    pub force: bool,
}
