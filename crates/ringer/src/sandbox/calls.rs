//! System calls, by seccomp: those that a running machine makes, and no others.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::{Needs, SandboxError};

/// Allowed with any arguments.
const ALWAYS: &[c_long] = &[
    // Memory. What is mapped and how is limited below.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_msync,
    libc::SYS_memfd_create,
    libc::SYS_membarrier,
    // Files that are open, and those that Landlock lets be opened.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_fallocate,
    libc::SYS_ftruncate,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fadvise64,
    libc::SYS_getcwd,
    libc::SYS_umask,
    // Threads. New ones only: see below.
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getpgid,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time and waiting.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    // Sockets that are open already: peers of the control socket, of the debugger, of the network.
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // What the host is like.
    libc::SYS_getrandom,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getrusage,
    libc::SYS_getcpu,
];

/// As [`ALWAYS`]: older forms that only x86-64 has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_time,
    libc::SYS_getpgrp,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// For the host's network.
const NETWORK: &[c_long] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
];

/// For shared folders. Nothing changes owners or extended attributes, or makes devices.
const ATTRIBUTES: &[c_long] = &[
    libc::SYS_openat2,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_symlinkat,
];

/// What may be asked of a terminal, a socket or a file by `ioctl`.
const REQUESTS: &[u64] = &[
    libc::TCGETS,
    libc::TCSETS,
    libc::TCSETSW,
    libc::TCSETSF,
    libc::TIOCGWINSZ,
    libc::TIOCGPGRP,
    libc::FIONREAD,
    libc::FIONBIO,
    // TCGETS2 and TCSETS2 to TCSETSF2, by which newer libraries do the same.
    0x802c_542a,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d,
];

/// What `prctl` may be used for: names of threads and of memory, and the size of a page.
const OPTIONS: &[u64] = &[
    libc::PR_SET_NAME as u64,
    libc::PR_SET_VMA as u64,
    // PR_GET_AUXV.
    0x4155_5856,
];

/// Memory that could be written and executed at once.
const WRITE_AND_EXECUTE: u64 = (libc::PROT_WRITE | libc::PROT_EXEC) as u64;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn broken(error: impl std::fmt::Display) -> SandboxError {
    SandboxError::Calls(error.to_string())
}

/// An argument is compared.
fn argument(number: u8, compare: SeccompCmpOp, value: u64) -> Result<SeccompRule, SandboxError> {
    let condition = SeccompCondition::new(number, SeccompCmpArgLen::Dword, compare, value);
    SeccompRule::new(vec![condition.map_err(broken)?]).map_err(broken)
}

fn rules(needs: &Needs) -> Result<Rules, SandboxError> {
    let mut rules = Rules::new();
    let mut allow = |calls: &[c_long]| rules.extend(calls.iter().map(|&call| (call, Vec::new())));
    allow(ALWAYS);
    allow(OLDER);
    if needs.network {
        allow(NETWORK);
    }
    if needs.attributes {
        allow(ATTRIBUTES);
    }
    // Memory is writable or executable, not both.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let harmless = [0, libc::PROT_WRITE as u64, libc::PROT_EXEC as u64];
        let protection = SeccompCmpOp::MaskedEq(WRITE_AND_EXECUTE);
        let kinds = harmless.map(|kind| argument(2, protection.clone(), kind));
        rules.insert(call, kinds.into_iter().collect::<Result<_, _>>()?);
    }
    // Threads of this process, no processes.
    let thread = libc::CLONE_THREAD as u64;
    let clone = argument(0, SeccompCmpOp::MaskedEq(thread), thread)?;
    rules.insert(libc::SYS_clone, vec![clone]);
    // Signals to itself: a stop by Ctrl-Z, an abort.
    let own = u64::from(std::process::id());
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![argument(0, SeccompCmpOp::Eq, own)?]);
    }
    let requests = REQUESTS
        .iter()
        .map(|&request| argument(1, SeccompCmpOp::Eq, request));
    rules.insert(libc::SYS_ioctl, requests.collect::<Result<_, _>>()?);
    let options = OPTIONS
        .iter()
        .map(|&option| argument(0, SeccompCmpOp::Eq, option));
    rules.insert(libc::SYS_prctl, options.collect::<Result<_, _>>()?);
    // Limits are read, not changed: the new limit is no address.
    let read_only = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0);
    let read_only = SeccompRule::new(vec![read_only.map_err(broken)?]).map_err(broken)?;
    rules.insert(libc::SYS_prlimit64, vec![read_only]);
    if needs.network {
        let families = [libc::AF_INET as u64, libc::AF_INET6 as u64];
        let families = families.map(|family| argument(0, SeccompCmpOp::Eq, family));
        rules.insert(
            libc::SYS_socket,
            families.into_iter().collect::<Result<_, _>>()?,
        );
    }
    Ok(rules)
}

fn program(
    rules: Rules,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, SandboxError> {
    let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(broken)?;
    let filter = SeccompFilter::new(rules, otherwise, listed, arch).map_err(broken)?;
    filter.try_into().map_err(broken)
}

pub fn restrict(needs: &Needs) -> Result<(), SandboxError> {
    // A filter cannot look into the structure that clone3 is given. Libraries that are told that
    // there is no such call use clone.
    let no_clone3 = program(
        Rules::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
    )?;
    let listed = program(rules(needs)?, SeccompAction::Trap, SeccompAction::Allow)?;
    for filter in [&no_clone3, &listed] {
        seccompiler::apply_filter_all_threads(filter).map_err(broken)?;
    }
    Ok(())
}
