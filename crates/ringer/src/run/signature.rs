//! `--signature`: the words of memory that a conformance test leaves for comparison.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use ringer_hart::Ram;

use crate::config::VmConfig;
use crate::exit::Failure;
use crate::htif;
use crate::loader::Symbols;

/// Where a program's signature is, and the file for it.
pub(super) struct Signature {
    begin: u64,
    end: u64,
    path: PathBuf,
}

impl Signature {
    /// What was asked for. It can only be written of a program that says where it is.
    pub(super) fn wanted(config: &VmConfig, symbols: &Symbols) -> Result<Option<Self>, Failure> {
        let Some(path) = config.signature.clone() else {
            return Ok(None);
        };
        let (Some(begin), Some(end)) = (symbols.begin_signature, symbols.end_signature) else {
            return Err(Failure::monitor(
                "--signature needs an ELF program with the symbols begin_signature and end_signature",
            ));
        };
        Ok(Some(Self { begin, end, path }))
    }
    /// Opens the file, while files still can be opened.
    pub(super) fn open(self) -> Result<SignatureFile, Failure> {
        let file = File::create(&self.path).map_err(|error| {
            Failure::monitor(format_args!(
                "cannot write {}: {error}",
                self.path.display()
            ))
        })?;
        Ok(SignatureFile {
            signature: self,
            file,
        })
    }
}

/// A signature whose file is open.
pub(super) struct SignatureFile {
    signature: Signature,
    file: File,
}

impl SignatureFile {
    /// Writes what is in memory now.
    pub(super) fn write(&self, ram: &Ram) -> Result<(), Failure> {
        let Signature { begin, end, .. } = self.signature;
        let text = htif::signature(ram, begin, end).ok_or_else(|| {
            Failure::monitor("begin_signature and end_signature enclose no words of RAM")
        })?;
        (&self.file)
            .write_all(text.as_bytes())
            .map_err(|error| Failure::monitor(format_args!("cannot write the signature: {error}")))
    }
}
