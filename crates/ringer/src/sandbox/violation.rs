//! What happens when the monitor makes a system call that it should not: a line that names it, and
//! the end of the process.

use std::io::Write;

use signal_hook::low_level::exit;

use super::SandboxError;
use crate::exit::status;
use crate::terminal;

/// Where `siginfo_t` of a SIGSYS has the number of the system call, on 64-bit Linux: behind
/// `si_signo`, `si_errno`, `si_code`, four bytes of padding and the address of the call.
const NUMBER_AT: usize = 24;

macro_rules! names {
    ($($name:ident => $number:ident),* $(,)?) => {
        /// The name of a system call that an intruder would like.
        fn name(number: i64) -> &'static str {
            $(if number == libc::$number { return stringify!($name); })*
            "see the system's list"
        }
    };
}

names! {
    execve => SYS_execve, execveat => SYS_execveat, clone => SYS_clone, ptrace => SYS_ptrace,
    socket => SYS_socket, connect => SYS_connect, bind => SYS_bind, listen => SYS_listen,
    mmap => SYS_mmap, mprotect => SYS_mprotect, kill => SYS_kill, tgkill => SYS_tgkill,
    ioctl => SYS_ioctl, prctl => SYS_prctl, prlimit64 => SYS_prlimit64, mount => SYS_mount,
    umount2 => SYS_umount2, pivot_root => SYS_pivot_root, chroot => SYS_chroot,
    setns => SYS_setns, unshare => SYS_unshare, bpf => SYS_bpf, setuid => SYS_setuid,
    setgid => SYS_setgid, setresuid => SYS_setresuid, setresgid => SYS_setresgid,
    capset => SYS_capset, init_module => SYS_init_module, finit_module => SYS_finit_module,
    kexec_load => SYS_kexec_load, reboot => SYS_reboot, keyctl => SYS_keyctl,
    add_key => SYS_add_key, request_key => SYS_request_key, openat2 => SYS_openat2,
    perf_event_open => SYS_perf_event_open, userfaultfd => SYS_userfaultfd,
    process_vm_readv => SYS_process_vm_readv, process_vm_writev => SYS_process_vm_writev,
    io_uring_setup => SYS_io_uring_setup, pidfd_open => SYS_pidfd_open,
    pidfd_getfd => SYS_pidfd_getfd, fchmod => SYS_fchmod, fchmodat => SYS_fchmodat,
    fchownat => SYS_fchownat, mknodat => SYS_mknodat, linkat => SYS_linkat, symlinkat => SYS_symlinkat,
    setxattr => SYS_setxattr, memfd_create => SYS_memfd_create, dup3 => SYS_dup3,
    shmget => SYS_shmget, personality => SYS_personality, wait4 => SYS_wait4,
}

/// From here on such a call ends the process, and says which it was.
pub fn explain() -> Result<(), SandboxError> {
    let handler = |info: &libc::siginfo_t| {
        // SAFETY: a SIGSYS by seccomp has the number of the call there (see NUMBER_AT), and
        // `siginfo_t` has 128 bytes. Sent by somebody else, it has something, which is printed.
        let number = unsafe {
            std::ptr::from_ref(info)
                .cast::<u8>()
                .add(NUMBER_AT)
                .cast::<i32>()
                .read_unaligned()
        };
        tell(number.into());
        exit(status::MONITOR.into());
    };
    // SAFETY: the handler neither allocates nor waits for a lock, and the signal comes at a system
    // call, never in the middle of other code.
    let registered = unsafe { signal_hook_registry::register_sigaction(libc::SIGSYS, handler) };
    registered
        .map(|_| ())
        .map_err(|error| SandboxError::Calls(error.to_string()))
}

fn tell(number: i64) {
    terminal::restore_if_possible();
    let mut line = [0; 256];
    let mut rest = &mut line[..];
    let _ = write!(
        rest,
        "\r\nringer: the sandbox does not allow system call {number} ({}), which a monitor has no \
         use for; the machine is ended. --no-sandbox runs without\r\n",
        name(number)
    );
    let left = rest.len();
    let len = line.len() - left;
    let _ = rustix::io::write(rustix::stdio::stderr(), line.get(..len).unwrap_or_default());
}
