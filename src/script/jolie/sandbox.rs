//! What a Java process is confined by, done by this program before it becomes that process: a view of files with Java
//! and the interpreter and nothing else, no network, no other process, bounded memory, and a list of system calls.
//!
//! Java needs threads and executable memory, so its list is longer than that of a Luau worker. It has no call that makes
//! a process or a socket, and every other one fails. Namespaces are made by [`isolate`] in the process before, because a
//! namespace of processes begins with a child.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use landlock::{AccessFs, PathBeneath, PathFd, RulesetCreatedAttr as _, Scope};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, chdir, getgid, getuid, pivot_root};
use rustix::process::{Resource, Signal, set_parent_process_death_signal};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use super::home::Home;
use crate::script::confine::{Steps, become_nobody, close_inherited, enforce, lower, nothing_allowed, words};
use crate::script::protocol::Confinement;

/// Where the folder of the interpreter is in a view of its own.
const SEEN_AT: &str = "/jolie";
/// What it sees of `/dev`.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/random", "/dev/urandom"];
/// Address space that Java reserves and does not use: its archives of classes, and ranges it may grow into.
const RESERVED_BYTES: u64 = 256 * 1024 * 1024;
/// Descriptors: jars, the two pipes, and a few for itself.
const DESCRIPTORS: u64 = 64;
/// Threads, those of Java itself among them, which are some twenty. One more cannot be made.
const THREADS: u64 = 64;
/// The stack of the first thread; all others have what Java is told.
const STACK_BYTES: u64 = 8 * 1024 * 1024;
/// Seconds of processor time of one process in its life. Each run has its own limit; this is for what a script might
/// leave running in between.
const LIFETIME_SECONDS: u64 = 3600;

/// The system calls of Java; every other one fails with EPERM.
pub const ALLOWED_CALLS: &[i64] = &[
    // Files that are open, and opening: what there is to open is bounded by the view and by Landlock.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_poll,
    libc::SYS_ppoll,
    // Memory. `mmap` not of memory that is shared and has no file, see the filter.
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads, their locks and their turns. `clone` only for threads, see the filter.
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_getpriority,
    libc::SYS_arch_prctl,
    // Clocks and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Signals to itself, which is how Java stops its threads.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Questions.
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrusage,
    // Becoming Java. Whatever else it becomes stays confined as it is.
    libc::SYS_execve,
    // Ways out.
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Takes this process, and those that it starts, out of the namespaces of everybody else: files, network, processes,
/// names. Without root by a namespace of users too.
///
/// # Errors
/// In words: the system does not allow it. Nothing has changed.
pub fn isolate() -> Result<(), String> {
    let spaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if Uid::effective().is_root() {
        return unshare(spaces).map_err(words);
    }
    let (user, group) = (getuid(), getgid());
    unshare(spaces | CloneFlags::CLONE_NEWUSER).map_err(words)?;
    let write = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(|error| format!("{file}: {error}"))
    };
    // Its root, who may mount something in it.
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {user} 1"))?;
    write("gid_map", format!("0 {group} 1"))
}

/// Confines this process, in namespaces that were made by [`isolate`] where that could be done. Says by what, and where
/// the folder of the interpreter is from now on.
///
/// Its last step away from root is a namespace of users that knows none: there it is nobody, and has no capabilities
/// from the next program on.
#[must_use]
pub fn enter(home: &Home, isolated: bool, as_root: bool, memory: u64) -> (Confinement, PathBuf) {
    let mut confinement = Confinement::default();
    let mut steps = Steps::default();
    steps.done("inherited descriptors", close_inherited(&[]));
    confinement.view = isolated && steps.done("a view of files of its own", narrow_view(home));
    let seen_at = if confinement.view { PathBuf::from(SEEN_AT) } else { home.path.clone() };
    let became_nobody = as_root && steps.done("nobody", become_nobody());
    let alone = steps.done("users of its own", unshare(CloneFlags::CLONE_NEWUSER).map_err(words));
    confinement.nobody = became_nobody || alone;
    // After the change of user, which undoes it.
    steps.done("death with the worker", set_parent_process_death_signal(Some(Signal::KILL)).map_err(words));
    steps.done("no new privileges", rustix::thread::set_no_new_privs(true).map_err(words));
    confinement.landlock = steps.landlock(landlock(&seen_at, &home.libraries));
    steps.done("the folder to work in", chdir(&seen_at).map_err(words));
    confinement.rlimits = steps.done("resource limits", limit_resources(memory));
    // Threads are counted by user, and users by namespace: elsewhere others would be counted with it.
    confinement.rlimits &= !alone || steps.done("a number of threads", lower(&[(Resource::Nproc, THREADS)]));
    // Last: it forbids most of the above.
    confinement.seccomp = steps.done("seccomp", filter());
    confinement.missing = steps.missing;
    (confinement, seen_at)
}

/// Makes a root of its own, of memory, with the interpreter, the libraries that Java needs and three devices, all to
/// read only, and lets go of the old one.
fn narrow_view(home: &Home) -> Result<(), String> {
    let none = None::<&str>;
    let at = |what: &str| {
        let what = what.to_owned();
        move |error: nix::errno::Errno| format!("{what}: {error}")
    };
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(at("private mounts"))?;
    let root = home.path.join("root");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("parlor"), &root, Some("tmpfs"), flags, Some("size=64k,mode=755")).map_err(at("a root of memory"))?;
    show(&home.path, &root.join(SEEN_AT.trim_start_matches('/')), MsFlags::MS_NODEV)?;
    for library in &home.libraries {
        show(library, &below(&root, library), MsFlags::MS_NODEV)?;
    }
    for device in DEVICES {
        show(Path::new(device), &below(&root, Path::new(device)), MsFlags::MS_NOEXEC)?;
    }
    let old = root.join("old");
    std::fs::create_dir(&old).map_err(words)?;
    pivot_root(&root, &old).map_err(at("pivot_root"))?;
    chdir("/").map_err(at("/"))?;
    umount2("/old", MntFlags::MNT_DETACH).map_err(at("the old root"))?;
    std::fs::remove_dir("/old").map_err(words)?;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | flags;
    mount(none, "/", none, read_only, none).map_err(at("a root to read only"))
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Shows a file or a folder at another place, to read only.
fn show(what: &Path, place: &Path, more: MsFlags) -> Result<(), String> {
    let none = None::<&str>;
    let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", what.display());
    let parent = place.parent().unwrap_or(place);
    std::fs::create_dir_all(parent).map_err(|error| fail(&error))?;
    if what.is_dir() {
        std::fs::create_dir_all(place).map_err(|error| fail(&error))?;
    } else {
        File::create(place).map_err(|error| fail(&error))?;
    }
    mount(Some(what), place, none, MsFlags::MS_BIND, none).map_err(|error| fail(&error))?;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | more;
    mount(none, place, none, read_only, none).map_err(|error| fail(&error))
}

/// Grants reading of the interpreter, of the libraries and of the devices, and nothing else.
fn landlock(home: &Path, libraries: &[PathBuf]) -> Result<u32, String> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let execute = AccessFs::ReadFile | AccessFs::Execute;
    let mut rules = nothing_allowed(Scope::AbstractUnixSocket | Scope::Signal)?;
    let granted = [(home.to_owned(), read), (home.join("runtime/bin/java"), execute)]
        .into_iter()
        .chain(libraries.iter().map(|library| (library.clone(), execute)))
        .chain(DEVICES.iter().map(|device| (PathBuf::from(device), AccessFs::ReadFile.into())));
    for (path, access) in granted {
        let beneath = PathBeneath::new(PathFd::new(&path).map_err(words)?, access);
        rules = rules.add_rule(beneath).map_err(words)?;
    }
    enforce(rules)
}

fn limit_resources(memory: u64) -> Result<(), String> {
    lower(&[
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, DESCRIPTORS),
        (Resource::Stack, STACK_BYTES),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Data, memory),
        (Resource::As, memory.saturating_add(RESERVED_BYTES)),
        (Resource::Cpu, LIFETIME_SECONDS),
    ])
}

/// Two filters, of which the stricter counts: one that has the C library make threads by `clone`, whose arguments can be
/// seen, and the list.
fn filter() -> Result<(), String> {
    let machine = || std::env::consts::ARCH.try_into().map_err(words);
    let compile = |filter: SeccompFilter| -> Result<BpfProgram, String> { filter.try_into().map_err(words) };
    let unseen: BTreeMap<i64, Vec<SeccompRule>> = [(libc::SYS_clone3, Vec::new())].into();
    let no_such_call = SeccompAction::Errno(u32::try_from(libc::ENOSYS).unwrap_or(38));
    let unseen = SeccompFilter::new(unseen, SeccompAction::Allow, no_such_call, machine()?).map_err(words)?;
    let denied = SeccompAction::Errno(u32::try_from(libc::EPERM).unwrap_or(1));
    let list = SeccompFilter::new(rules()?, denied, SeccompAction::Allow, machine()?).map_err(words)?;
    let (unseen, list) = (compile(unseen)?, compile(list)?);
    apply_filter(&unseen).map_err(words)?;
    apply_filter(&list).map_err(words)
}

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, String> {
    let rule = |conditions: &[(u8, SeccompCmpOp, u64)]| {
        let conditions = conditions.iter().map(|(argument, operator, value)| {
            SeccompCondition::new(*argument, SeccompCmpArgLen::Qword, operator.clone(), *value).map_err(words)
        });
        SeccompRule::new(conditions.collect::<Result<Vec<_>, _>>()?).map_err(words)
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED_CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let thread = u64::try_from(libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND).unwrap_or_default();
    rules.insert(libc::SYS_clone, vec![rule(&[(0, SeccompCmpOp::MaskedEq(thread), thread)])?]);
    // Shared memory without a file is what `RLIMIT_DATA` does not count.
    let flag = |flag: i32| u64::try_from(flag).unwrap_or_default();
    let (kinds, private) = (flag(libc::MAP_TYPE), flag(libc::MAP_PRIVATE));
    let of_a_file = rule(&[(3, SeccompCmpOp::MaskedEq(flag(libc::MAP_ANONYMOUS)), 0)])?;
    rules.insert(libc::SYS_mmap, vec![of_a_file, rule(&[(3, SeccompCmpOp::MaskedEq(kinds), private)])?]);
    let itself = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![rule(&[(0, SeccompCmpOp::Eq, itself)])?]);
    // Names of threads.
    let name = u64::try_from(libc::PR_SET_NAME).unwrap_or_default();
    rules.insert(libc::SYS_prctl, vec![rule(&[(0, SeccompCmpOp::Eq, name)])?]);
    // A pair that is connected with itself and with nothing else: Java makes one to have a descriptor that is closed.
    let unix = u64::try_from(libc::AF_UNIX).unwrap_or_default();
    rules.insert(libc::SYS_socketpair, vec![rule(&[(0, SeccompCmpOp::Eq, unix)])?]);
    // Its own limits, which are at their hard limits.
    rules.insert(libc::SYS_prlimit64, vec![rule(&[(0, SeccompCmpOp::Eq, 0)])?]);
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_makes_a_process_or_a_socket_or_changes_a_file() {
        let rules = rules().unwrap();
        for call in [
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_io_uring_setup,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_memfd_create,
            libc::SYS_shmat,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_chroot,
            libc::SYS_unlinkat,
            libc::SYS_renameat2,
            libc::SYS_mkdirat,
            libc::SYS_setuid,
            libc::SYS_keyctl,
            libc::SYS_seccomp,
            libc::SYS_execveat,
        ] {
            assert!(!rules.contains_key(&call), "call {call} is allowed");
        }
        for bounded in [
            libc::SYS_clone,
            libc::SYS_mmap,
            libc::SYS_socketpair,
            libc::SYS_tgkill,
            libc::SYS_prctl,
            libc::SYS_prlimit64,
        ] {
            assert!(rules.get(&bounded).is_some_and(|rules| !rules.is_empty()), "call {bounded} is not bounded");
        }
    }
}
