//! What a running machine is allowed, from what its parts need.

use std::path::Path;

use crate::config::VmConfig;
use crate::control::Place;
use crate::control::answer::Refused;
use crate::exit::Failure;
use crate::net;
use crate::sandbox::{self, Enforced, Needs};
use crate::share;
use crate::state;

/// The limits of a run; none with `--no-sandbox`.
pub struct Confinement {
    needs: Option<Needs>,
}

impl Confinement {
    /// For this machine.
    pub fn of(config: &VmConfig, place: Option<&Place>) -> Self {
        let needs = config.sandbox.then(|| {
            let mut needs = Needs::new();
            if let Some(place) = place {
                place.needs(&mut needs);
            }
            state::needs(config, &mut needs);
            share::needs(&config.shares, &mut needs);
            net::needs(&config.nets, &mut needs);
            needs
        });
        Self { needs }
    }
    /// From here on files that are not needed cannot be opened.
    pub fn of_files(&self) -> Result<(), Failure> {
        let Some(needs) = &self.needs else {
            return Ok(());
        };
        sandbox::check_alone().map_err(Failure::monitor)?;
        if sandbox::restrict_files(needs).map_err(Failure::monitor)? == Enforced::No {
            eprintln!(
                "ringer: this kernel has no Landlock, so the sandbox restricts system calls only, not files"
            );
        }
        Ok(())
    }
    /// From here on system calls that are not needed end the process.
    pub fn of_calls(&self) -> Result<(), Failure> {
        match &self.needs {
            Some(needs) => sandbox::restrict_calls(needs).map_err(Failure::monitor),
            None => Ok(()),
        }
    }
    /// Whether the machine can be saved there.
    pub fn allows_saving(&self, directory: &Path) -> Result<(), Refused> {
        match &self.needs {
            Some(needs) if !needs.may_make(directory) => Err(Refused::because(format_args!(
                "the sandbox keeps this machine from writing to {}; start it with --save DIR to save there and beside it, or with --no-sandbox",
                directory.display()
            ))),
            _ => Ok(()),
        }
    }
}
