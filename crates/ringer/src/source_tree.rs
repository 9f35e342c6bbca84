//! Finds what `cargo xtask` has put into the source tree.

use std::path::PathBuf;

/// The file at `place`, a path from the top of the source tree: looked for from here upwards, and
/// from this program's own build directory.
pub fn find(place: &str) -> Option<PathBuf> {
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    [here, program]
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .map(|folder| folder.join(place))
        .find(|file| file.is_file())
}
