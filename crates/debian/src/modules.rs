//! A kernel's modules, found in its package's files, and the order to load them in.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a module cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is not there.
    #[error("this kernel has no module {0}")]
    Missing(String),
    /// It is compressed in a way that is not known.
    #[error("the module {} cannot be unpacked; it takes the program xz", .0.display())]
    Packed(PathBuf),
}

/// A kernel's modules by name; `-` and `_` are the same in names.
pub struct Modules {
    files: BTreeMap<String, PathBuf>,
}

impl Modules {
    /// Finds the modules in `folder`, which is named by the kernel's version.
    pub fn find(folder: &Path) -> Result<Self, ModuleError> {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.join("kernel")];
        while let Some(folder) = folders.pop() {
            let unreadable = |error| ModuleError::Unreadable {
                path: folder.clone(),
                error,
            };
            for entry in fs::read_dir(&folder).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Some((name, _)) = path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .and_then(|name| name.split_once(".ko"))
                {
                    files.insert(name.replace('-', "_"), path);
                }
            }
        }
        Ok(Self { files })
    }

    /// These modules and all that they need, each behind those that it needs.
    pub fn in_order(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>, ModuleError> {
        let mut loaded = Vec::new();
        for name in names {
            self.load(name, &mut loaded)?;
        }
        Ok(loaded)
    }

    fn load(&self, name: &str, loaded: &mut Vec<(String, Vec<u8>)>) -> Result<(), ModuleError> {
        let name = name.replace('-', "_");
        if loaded.iter().any(|(other, _)| *other == name) {
            return Ok(());
        }
        let path = self.files.get(&name);
        let path = path.ok_or_else(|| ModuleError::Missing(name.clone()))?;
        let bytes = unpacked(path)?;
        for needed in dependencies(&bytes) {
            self.load(&needed, loaded)?;
        }
        loaded.push((name, bytes));
        Ok(())
    }
}

fn unpacked(path: &Path) -> Result<Vec<u8>, ModuleError> {
    let unreadable = |error| ModuleError::Unreadable {
        path: path.to_path_buf(),
        error,
    };
    if path.extension().is_some_and(|extension| extension == "ko") {
        return fs::read(path).map_err(unreadable);
    }
    let output = Command::new("xz").arg("-dc").arg(path).output();
    match output {
        Ok(output) if output.status.success() => Ok(output.stdout),
        _ => Err(ModuleError::Packed(path.to_path_buf())),
    }
}

/// The modules that a module names in its `depends=` record.
fn dependencies(module: &[u8]) -> Vec<String> {
    let record = b"\0depends=";
    let Some(at) = module.windows(record.len()).position(|w| w == record) else {
        return Vec::new();
    };
    let rest = module.get(at + record.len()..).unwrap_or_default();
    let text = rest.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_before_it() {
        let folder = std::env::temp_dir().join(format!("ringer-modules-{}", std::process::id()));
        let kernel = folder.join("kernel/fs");
        fs::create_dir_all(&kernel).unwrap();
        for (name, needs) in [("a-b", "c,d"), ("c", "d"), ("d", "")] {
            let bytes = format!("x\0depends={needs}\0y");
            fs::write(kernel.join(format!("{name}.ko")), bytes).unwrap();
        }
        let modules = Modules::find(&folder).unwrap();
        let order = modules.in_order(&["c", "a_b"]).unwrap();
        let names: Vec<&str> = order.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["d", "c", "a_b"]);
        assert!(matches!(
            modules.in_order(&["e"]),
            Err(ModuleError::Missing(_))
        ));
        fs::remove_dir_all(&folder).unwrap();
    }
}
