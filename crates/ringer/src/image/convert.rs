//! `ringer image convert`: a disk's content in a new image.

use std::io;

use indicatif::{ProgressBar, ProgressStyle};
use ringer_machine::backend::BlockBackend;

use super::args::ConvertArgs;
use super::interrupt::Interrupt;
use super::{bytes, failed, format_for};
use crate::disk::create;
use crate::disk::layers::{self, Opening};
use crate::exit::Failure;

/// Bytes read at a time.
const STEP: usize = 1 << 20;
/// What is all zero in this unit is not written.
const GRAIN: usize = 64 << 10;

/// Does it.
pub fn run(args: &ConvertArgs) -> Result<String, Failure> {
    let opening = Opening {
        format: args.from_format,
        read_only: true,
        base: args.base.as_deref(),
    };
    let image = layers::open(&args.from, opening).map_err(Failure::monitor)?;
    let mut from = image.into_backend();
    let format = args.format.unwrap_or_else(|| format_for(&args.to));
    let size = from.len().next_multiple_of(crate::disk::SECTOR);
    let fill = |to: &mut dyn BlockBackend| copy(&mut *from, to);
    create::filled(&args.to, format, size, args.force, fill).map_err(Failure::monitor)?;
    let made = std::fs::metadata(&args.to).map_err(|error| failed(&args.to, error))?;
    Ok(format!(
        "{}: {format}, {} of disk in {}\n",
        args.to.display(),
        bytes(size),
        bytes(super::show::allocated(&made))
    ))
}

/// A bar for work on so many bytes; nothing where nobody looks.
pub fn progress(len: u64, what: &'static str) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg} {bar:30} {bytes} of {total_bytes}, {eta} to go");
    let bar = ProgressBar::new(len).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn copy(from: &mut dyn BlockBackend, to: &mut dyn BlockBackend) -> io::Result<()> {
    let interrupt = Interrupt::watch().map_err(io::Error::other)?;
    let len = from.len();
    let bar = progress(len, "converting");
    let mut buffer = vec![0; STEP];
    let mut at = 0;
    while at < len {
        if interrupt.is_wanted() {
            return Err(io::Error::other("interrupted"));
        }
        let count = (len - at).min(STEP as u64);
        let part = buffer.get_mut(..count as usize).unwrap_or_default();
        from.read(at, part).map_err(io::Error::other)?;
        let mut place = at;
        for grain in part.chunks(GRAIN) {
            if grain.iter().any(|&byte| byte != 0) {
                to.write(place, grain).map_err(io::Error::other)?;
            }
            place += grain.len() as u64;
        }
        at += count;
        bar.set_position(at);
    }
    bar.finish_and_clear();
    Ok(())
}
