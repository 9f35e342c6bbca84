//! Confinement: once a machine is set up, its monitor gives up what it does not need any more. It
//! opens no files but those that the machine's description names, and makes no system calls but
//! those that a running machine makes. docs/THREAT-MODEL.md says what that is worth.

mod calls;
mod files;
mod needs;
mod violation;

pub use files::Enforced;
pub use needs::Needs;

/// Why a monitor cannot be confined.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel refuses to restrict files.
    #[error("cannot restrict access to files: {0}; --no-sandbox runs without")]
    Files(#[from] landlock::RulesetError),
    /// The kernel refuses to restrict system calls.
    #[error("cannot restrict system calls: {0}; --no-sandbox runs without")]
    Calls(String),
    /// Threads that run already would stay free.
    #[error(
        "{0} threads run before the sandbox is closed; this is a mistake in Ringer, and --no-sandbox runs without"
    )]
    Threads(usize),
}

/// Whether the kernel can restrict files.
pub fn restricts_files() -> bool {
    files::is_possible()
}

/// Restricts files, for this thread and all that it starts from now on.
pub fn restrict_files(needs: &Needs) -> Result<Enforced, SandboxError> {
    files::restrict(needs)
}

/// Restricts system calls, for all threads.
pub fn restrict_calls(needs: &Needs) -> Result<(), SandboxError> {
    violation::explain()?;
    calls::restrict(needs)
}

/// Checks that this thread is the only one, so that no other stays free.
pub fn check_alone() -> Result<(), SandboxError> {
    match std::fs::read_dir("/proc/self/task").map(Iterator::count) {
        Ok(threads @ 2..) => Err(SandboxError::Threads(threads)),
        // Without /proc nobody can tell.
        Ok(_) | Err(_) => Ok(()),
    }
}
