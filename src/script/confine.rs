//! What a worker does to itself before it reads its first frame: from then on it can compute, read from its socket and
//! write to it, and nothing else. What the kernel does not have is left out and said.

pub mod attempt;

use std::collections::BTreeMap;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetStatus, Scope,
};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use super::protocol::Confinement;

/// The user and group `nobody`, everywhere on Linux.
const NOBODY: u32 = 65_534;
/// Standard input, output and error.
const DESCRIPTORS: u64 = 3;
/// The stack of the one thread. The interpreter and its parser count their own depth.
const STACK_BYTES: u64 = 16 * 1024 * 1024;
/// The newest Landlock that this was written for; an older kernel enforces what it knows of it.
const LANDLOCK: ABI = ABI::V7;

/// The system calls of a worker; every other one kills it.
pub const ALLOWED_CALLS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    // Memory. `mmap` and `mprotect` are here only without the right to execute, see `EXECUTABLE_CALLS`.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Locks that nobody holds, the clocks, and the seed of hash tables.
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Ways out.
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Calls whose third argument must not ask for executable memory.
pub const EXECUTABLE_CALLS: &[i64] = &[libc::SYS_mmap, libc::SYS_mprotect];

/// What a worker that looks after a Java process needs besides: to wait for it, and to see what became of it.
pub const CALLS_BESIDE_JAVA: &[i64] = &[libc::SYS_poll, libc::SYS_ppoll, libc::SYS_wait4, libc::SYS_waitid];

/// What a worker keeps besides its standard streams.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keeping<'a> {
    /// Descriptors.
    pub descriptors: &'a [i32],
    /// System calls.
    pub calls: &'a [i64],
    /// Whether it may signal others, as far as a system call for it is there. The kernel asks for that right when it kills
    /// the children of who ends, too.
    pub signals: bool,
}

/// A confined process.
#[derive(Debug)]
pub struct Confined {
    /// By what.
    pub confinement: Confinement,
    /// Address space that was in use already.
    address_space: u64,
}

impl Confined {
    /// Bounds the address space by what may be used from now on. Later than everything else, because the server says
    /// how much only when this process is confined.
    pub fn bound_memory(&self, more: u64) {
        let most = Some(self.address_space.saturating_add(more));
        // Not being able to lower one's own limit is no reason to run nothing: the heap limits hold regardless.
        let _ = setrlimit(Resource::As, Rlimit { current: most, maximum: most });
    }
}

/// Confines this process, as far as the kernel can. It is `root`'s that becomes nobody: others stay who they are.
#[must_use]
pub fn confine(root: bool, keeping: Keeping<'_>) -> Confined {
    let mut confinement = Confinement::default();
    let mut steps = Steps::default();
    let address_space = address_space();
    steps.done("inherited descriptors", close_inherited(keeping.descriptors));
    if root {
        confinement.nobody = steps.done("nobody", become_nobody());
    }
    // After the change of user, which undoes both.
    steps.done("death with the server", set_parent_process_death_signal(Some(Signal::KILL)).map_err(words));
    steps.done("no dumps", set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(words));
    steps.done("no new privileges", rustix::thread::set_no_new_privs(true).map_err(words));
    confinement.landlock = steps.landlock(landlock(keeping.signals));
    confinement.rlimits = steps.done("resource limits", limit_resources());
    // Last: it forbids everything above.
    let filtered = filter(keeping.calls).and_then(|filter| apply_filter(&filter).map_err(words));
    confinement.seccomp = steps.done("seccomp", filtered);
    confinement.missing = steps.missing;
    Confined { confinement, address_space }
}

/// Steps of a confinement, and what could not be done of them.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// In words.
    pub(super) missing: Vec<String>,
}

impl Steps {
    /// Whether it was done.
    pub(super) fn done(&mut self, what: &str, done: Result<(), String>) -> bool {
        done.map_err(|why| self.missing.push(format!("{what}: {why}"))).is_ok()
    }

    /// The version of Landlock in force; 0: none.
    pub(super) fn landlock(&mut self, done: Result<u32, String>) -> u32 {
        done.unwrap_or_else(|why| {
            self.missing.push(format!("landlock: {why}"));
            0
        })
    }
}

pub(super) fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Bytes of address space, from the first number of `statm`, in pages. 0 when there is no `/proc`: then a little less
/// may be used later.
fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

pub(super) fn close_inherited(keep: &[i32]) -> Result<(), String> {
    let listed = std::fs::read_dir("/proc/self/fd").map(|entries| {
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        entries.filter_map(name).collect::<Vec<i32>>()
    });
    let most = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(65_536).min(65_536);
    let open = listed.unwrap_or_else(|_| (0..i32::try_from(most).unwrap_or(65_536)).collect());
    for descriptor in open.into_iter().filter(|open| *open > 2 && !keep.contains(open)) {
        match nix::unistd::close(descriptor) {
            // The listing's own is in it, and closed by now.
            Ok(()) | Err(nix::errno::Errno::EBADF) => {}
            Err(error) => return Err(format!("{descriptor}: {error}")),
        }
    }
    Ok(())
}

pub(super) fn become_nobody() -> Result<(), String> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[]).map_err(words)?;
    setresgid(group, group, group).map_err(words)?;
    setresuid(user, user, user).map_err(words)
}

/// Allows nothing, except perhaps signals.
fn landlock(signals: bool) -> Result<u32, String> {
    let others: BitFlags<Scope> = Scope::AbstractUnixSocket.into();
    enforce(nothing_allowed(if signals { others } else { others | Scope::Signal })?)
}

/// Rules that handle every right that Landlock knows of and grant none, and keep this process from others in `scope`.
pub(super) fn nothing_allowed(scope: BitFlags<Scope>) -> Result<RulesetCreated, String> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(LANDLOCK)))
        .and_then(|rules| rules.scope(scope))
        .and_then(Ruleset::create)
        .map_err(words)
}

/// Puts these rules in force; says by which version of the kernel's.
pub(super) fn enforce(rules: RulesetCreated) -> Result<u32, String> {
    let status = rules.restrict_self().map_err(words)?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Err("the kernel has none".to_owned()),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok((effective_abi as u32).min(LANDLOCK as u32)),
        _ => Err("the kernel has none".to_owned()),
    }
}

fn limit_resources() -> Result<(), String> {
    // No file may grow: a standard error that is a regular file kills a worker that writes to it.
    lower(&[
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        (Resource::Nofile, DESCRIPTORS),
        (Resource::Stack, STACK_BYTES),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
    ])
}

/// Lowers limits of resources, for good.
pub(super) fn lower(limits: &[(Resource, u64)]) -> Result<(), String> {
    for &(resource, most) in limits {
        // An inherited limit may be lower, and only root may raise it.
        let held = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let most = Some(most.min(held));
        setrlimit(resource, Rlimit { current: most, maximum: most }).map_err(|why| format!("{resource:?}: {why}"))?;
    }
    Ok(())
}

fn filter(more: &[i64]) -> Result<BpfProgram, String> {
    let condition = |argument, operator, value| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value);
        condition.and_then(|condition| SeccompRule::new(vec![condition])).map(|rule| vec![rule]).map_err(words)
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED_CALLS.iter().chain(more).map(|call| (*call, Vec::new())).collect();
    let executable = u64::try_from(libc::PROT_EXEC).unwrap_or(4);
    for call in EXECUTABLE_CALLS {
        rules.insert(*call, condition(2, SeccompCmpOp::MaskedEq(executable), 0)?);
    }
    // One's own limits, to lower them: they are at their hard limits.
    rules.insert(libc::SYS_prlimit64, condition(0, SeccompCmpOp::Eq, 0)?);
    let machine = std::env::consts::ARCH.try_into().map_err(words)?;
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, machine).map_err(words)?;
    filter.try_into().map_err(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_reach_out_of_the_process_are_not_on_the_list() {
        let list = [ALLOWED_CALLS, EXECUTABLE_CALLS, CALLS_BESIDE_JAVA, &[libc::SYS_prlimit64]].concat();
        for call in [
            libc::SYS_openat,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_tgkill,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_memfd_create,
            libc::SYS_pkey_mprotect,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_prctl,
            libc::SYS_seccomp,
            libc::SYS_ioctl,
            libc::SYS_fcntl,
            libc::SYS_dup,
            libc::SYS_sendmsg,
            libc::SYS_recvmsg,
            libc::SYS_keyctl,
            libc::SYS_personality,
            libc::SYS_shmat,
        ] {
            assert!(!list.contains(&call), "call {call} is allowed");
        }
    }

    #[test]
    fn the_filter_can_be_made_for_this_machine() {
        let longest = 4096; // instructions, the kernel's bound
        assert!((ALLOWED_CALLS.len()..longest).contains(&filter(CALLS_BESIDE_JAVA).unwrap().len()));
    }
}
