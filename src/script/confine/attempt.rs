//! What a confined worker is made to try by the tests, each of which must kill it.

use clap::ValueEnum;

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "each is the system call of its name")]
pub enum Attempt {
    Open,
    Create,
    Readdir,
    Stat,
    Unlink,
    Rename,
    Chdir,
    Socket,
    UnixSocket,
    Socketpair,
    Exec,
    Thread,
    Kill,
    KillSelf,
    Pipe,
    Dup,
    Eventfd,
    Memfd,
    Epoll,
    Setuid,
    Chroot,
    Sync,
    Prctl,
    Getppid,
    Sleep,
    Ioctl,
    LimitOfAnother,
    /// None: this comes back, and shows that the others do not end for another reason.
    Nothing,
    /// Shows what the kernel says of a confined process, by staying there until standard input ends.
    Wait,
}

impl Attempt {
    /// Tries it. Says what came of it, if the process is still there to say so.
    #[must_use]
    pub fn make(self) -> String {
        use rustix::{event, fs, net, pipe, process, thread};
        let path = "/tmp/parlor-attempt";
        match self {
            Self::Open => said(std::fs::File::open("/etc/passwd")),
            Self::Create => said(std::fs::File::create(path)),
            Self::Readdir => said(std::fs::read_dir("/")),
            Self::Stat => said(std::fs::metadata("/")),
            Self::Unlink => said(std::fs::remove_file(path)),
            Self::Rename => said(std::fs::rename(path, "/tmp/parlor-attempt-2")),
            Self::Chdir => said(std::env::set_current_dir("/")),
            Self::Socket => said(std::net::TcpStream::connect("127.0.0.1:1")),
            Self::UnixSocket => said(std::os::unix::net::UnixDatagram::unbound()),
            Self::Socketpair => {
                let (family, kind) = (net::AddressFamily::UNIX, net::SocketType::STREAM);
                said(net::socketpair(family, kind, net::SocketFlags::empty(), None))
            }
            Self::Exec => said(std::process::Command::new("/bin/true").status()),
            Self::Thread => said(std::thread::Builder::new().spawn(|| ()).map(drop)),
            Self::Kill => said(process::kill_process(process::Pid::INIT, process::Signal::TERM)),
            Self::KillSelf => said(process::kill_process(process::getpid(), process::Signal::TERM)),
            Self::Pipe => said(pipe::pipe()),
            Self::Dup => said(rustix::io::dup(rustix::stdio::stdin())),
            Self::Eventfd => said(event::eventfd(0, event::EventfdFlags::empty())),
            Self::Memfd => said(fs::memfd_create("parlor", fs::MemfdFlags::empty())),
            Self::Epoll => said(event::epoll::create(event::epoll::CreateFlags::empty())),
            Self::Setuid => said(nix::unistd::setuid(nix::unistd::Uid::from_raw(0))),
            Self::Chroot => said(process::chroot("/")),
            Self::Sync => {
                fs::sync();
                "came back".to_owned()
            }
            Self::Prctl => said(process::set_dumpable_behavior(process::DumpableBehavior::Dumpable)),
            Self::Getppid => format!("{:?}", process::getppid()),
            Self::Sleep => {
                let moment = thread::Timespec { tv_sec: 0, tv_nsec: 1 };
                format!("{:?}", thread::nanosleep(&moment))
            }
            Self::Ioctl => said(rustix::termios::tcgetwinsize(rustix::stdio::stdin())),
            Self::LimitOfAnother => {
                let none = process::Rlimit { current: Some(0), maximum: Some(0) };
                said(process::prlimit(Some(process::Pid::INIT), process::Resource::Core, none))
            }
            Self::Nothing => "nothing was tried".to_owned(),
            Self::Wait => said(rustix::io::read(rustix::stdio::stdin(), &mut [0_u8; 1])),
        }
    }
}

fn said<T: std::fmt::Debug, E: std::fmt::Display>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("came back with {value:?}"),
        Err(error) => format!("came back with: {error}"),
    }
}
