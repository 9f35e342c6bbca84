//! The grammar of `ringer image`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;

use super::debian::{self, args::DebianArgs};
use crate::disk::format::ImageFormat;
use crate::size::{NotASize, Size};

/// What `ringer image --help` shows below the commands.
pub const EXAMPLES: &str = "\
Examples:
  ringer image create disk.qcow2 20G             an empty disk that grows as it is written
  ringer image create work.qcow2 --base root.img an overlay: reads as root.img, writes stay in it
  ringer image show work.qcow2                   what it is, how large, and what it stands on
  ringer image resize disk.qcow2 +5G             five GiB more
  ringer image commit work.qcow2                 its writes go into root.img, and it is removed
  ringer image convert old.qcow2 new.img --format raw
  ringer image debian                            a bootable Debian for `ringer run debian`

Machines use images by --disk: see `ringer run --help`, and docs/IMAGES.md.";

/// What `ringer image` does.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Say what an image is, how large, and what it stands on
    Show(ShowArgs),
    /// Make an empty disk, or an overlay that stands on a base
    Create(CreateArgs),
    /// Change the size of a disk
    Resize(ResizeArgs),
    /// Write an overlay into its base, and remove it
    Commit(CommitArgs),
    /// Say where an overlay's base is now, and that its content is unchanged
    Rebase(RebaseArgs),
    /// Copy a disk into a new image, without its base, its snapshots and its unused space
    Convert(ConvertArgs),
    /// Build a bootable Debian for riscv64 from Debian's packages
    #[command(after_help = debian::args::HELP)]
    Debian(DebianArgs),
}

/// Arguments of `ringer image show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The image
    pub file: PathBuf,
    /// As JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `ringer image create`.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// The file to make
    pub file: PathBuf,
    /// Its size, such as 20G; an overlay has its base's if nothing is said
    #[arg(required_unless_present = "base")]
    pub size: Option<Size>,
    /// raw: as large as the disk, but sparse; qcow2: grows, and other programs see how full it is
    /// [default: qcow2, or raw if the file's name ends in .img or .raw]
    #[arg(long, value_enum, conflicts_with = "base")]
    pub format: Option<ImageFormat>,
    /// Make an overlay on this image, which is then only read
    #[arg(long, value_name = "IMAGE")]
    pub base: Option<PathBuf>,
    /// What the base is [default: by its content]
    #[arg(long, value_enum, requires = "base")]
    pub base_format: Option<ImageFormat>,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `ringer image resize`.
#[derive(Debug, clap::Args)]
pub struct ResizeArgs {
    /// The image
    pub file: PathBuf,
    /// Its new size, such as 20G, or how much more, such as +5G
    pub size: NewSize,
    /// Allow making it smaller: what is behind the new end is lost
    #[arg(long)]
    pub shrink: bool,
    /// What the image is [default: by its content]
    #[arg(long, value_enum)]
    pub format: Option<ImageFormat>,
    /// The overlay's base, if it is not in the overlay's folder
    #[arg(long, value_name = "IMAGE")]
    pub base: Option<PathBuf>,
}

/// Arguments of `ringer image commit`.
#[derive(Debug, clap::Args)]
pub struct CommitArgs {
    /// The overlay
    pub overlay: PathBuf,
    /// Its base, if that is not in the overlay's folder
    #[arg(long, value_name = "IMAGE")]
    pub base: Option<PathBuf>,
}

/// Arguments of `ringer image rebase`.
#[derive(Debug, clap::Args)]
pub struct RebaseArgs {
    /// The overlay
    pub overlay: PathBuf,
    /// Its base; the content must be as it was when the overlay was made, and is not checked
    #[arg(long, value_name = "IMAGE")]
    pub base: PathBuf,
    /// What the base is [default: by its content]
    #[arg(long, value_enum)]
    pub base_format: Option<ImageFormat>,
}

/// Arguments of `ringer image convert`.
#[derive(Debug, clap::Args)]
pub struct ConvertArgs {
    /// The image to copy
    pub from: PathBuf,
    /// The file to make
    pub to: PathBuf,
    /// What to make [default: qcow2, or raw if the new file's name ends in .img or .raw]
    #[arg(long, value_enum)]
    pub format: Option<ImageFormat>,
    /// What the image to copy is [default: by its content]
    #[arg(long, value_enum)]
    pub from_format: Option<ImageFormat>,
    /// The base of the image to copy, if that is not in the same folder
    #[arg(long, value_name = "IMAGE")]
    pub base: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
}

/// A size, or how much more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewSize {
    /// So large.
    To(Size),
    /// So much larger.
    By(Size),
}

impl FromStr for NewSize {
    type Err = NotASize;
    fn from_str(text: &str) -> Result<Self, NotASize> {
        match text.strip_prefix('+') {
            Some(more) => more.parse().map(Self::By),
            None => text.parse().map(Self::To),
        }
    }
}
