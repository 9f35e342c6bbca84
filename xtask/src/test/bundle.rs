//! Bundles for the bare-metal monitor, made of the guests that a row of the table describes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use toml::{Table, Value};

use crate::toolchain::root;

/// Makes a bundle of these guests in `folder`. A guest with guests of its own is the monitor with
/// a bundle of these; all others have `harts` harts if they name no number.
pub fn make_bundle(
    guests: &[Table],
    harts: usize,
    folder: &Path,
    fill: &dyn Fn(&str) -> String,
) -> Result<PathBuf> {
    let mut descriptions = Vec::new();
    for guest in guests {
        let mut guest = guest.clone();
        let name = guest.get("name").and_then(Value::as_str);
        let name = name.context("a guest has a name")?.to_owned();
        guest
            .entry("harts")
            .or_insert(Value::Integer(harts.try_into()?));
        if let Some(inner) = guest.remove("guests") {
            let inner = inner.try_into::<Vec<Table>>()?;
            let within = folder.join(&name);
            fs::create_dir(&within)?;
            let bundle = make_bundle(&inner, harts, &within, fill)?;
            let bundle = bundle.to_string_lossy().into_owned();
            guest.insert("bios".to_owned(), Value::String("{monitor}".to_owned()));
            guest.insert("initrd".to_owned(), Value::String(bundle));
        }
        let path = folder.join(format!("{name}.toml"));
        fs::write(&path, fill(&toml::to_string(&guest)?))?;
        descriptions.push(path);
    }
    let bundle = folder.join("machine.bundle");
    let output = Command::new(root().join("target/release/ringer"))
        .arg("bundle")
        .args(&descriptions)
        .arg("-o")
        .arg(&bundle)
        .output()
        .context("cannot start ringer")?;
    ensure!(
        output.status.success(),
        "no bundle: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(bundle)
}
