//! Where the bare-metal monitor is.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::source_tree;

/// The variable that names it.
const VARIABLE: &str = "RINGER_METAL";
/// Its file's name.
const NAME: &str = "ringer-metal";
/// Where `cargo xtask metal` puts it.
const PLACE: &str = "build/metal/ringer-metal";
/// The number of RISC-V in an ELF header.
const RISCV: [u8; 2] = 243_u16.to_le_bytes();

/// The monitor: the one that is given, or the first that is found.
pub fn monitor(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = given {
        return Ok(path.to_path_buf());
    }
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    beside_this_program()
        .or_else(|| source_tree::find(PLACE))
        .ok_or_else(|| {
            Failure::monitor(format_args!(
                "there is no bare-metal monitor yet: run `cargo xtask metal` in Ringer's source \
                 tree, which puts it into {PLACE}; or name it with --monitor or ${VARIABLE}"
            ))
        })
}

/// Cargo puts a program of the same name there that is built for this computer.
fn beside_this_program() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name(NAME);
    is_for_riscv(&path).then_some(path)
}

fn is_for_riscv(path: &Path) -> bool {
    let mut head = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head.starts_with(b"\x7fELF") && head.ends_with(&RISCV)
}
