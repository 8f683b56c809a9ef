//! What keeps Java from doing anything to anybody: a Java program in the place of the interpreter tries it, as if a script
//! had broken out.

use std::path::Path;
use std::process::Command;

use parlor::config::jolie::JolieOptions;
use parlor::ids::UserId;
use parlor::script::call::{Direction, Language};

use super::{home, options, workers_at};

/// Each attempt, and what must come of it.
const REFUSED: [&str; 13] = [
    "files",
    "passwd",
    "write",
    "write-here",
    "write-memory",
    "connect",
    "listen",
    "datagram",
    "exec",
    "spawn-helper",
    "parent",
    "kill",
    "memory",
];
/// What is refused where the system allows views of files of one's own.
const UNSEEN: [&str; 2] = ["see-passwd", "processes"];

/// A copy of the interpreter's folder in which the host is another program.
fn with_host(folder: &Path, source: &Path) {
    let run = |command: &mut Command| {
        let done = command.output().expect("started");
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    run(Command::new("cp").arg("-r").arg(home()).arg(folder.join("jolie")));
    let (sources, classes) = (folder.join("source/parlor/jolie"), folder.join("classes"));
    std::fs::create_dir_all(&sources).unwrap();
    std::fs::copy(source, sources.join("Host.java")).unwrap();
    run(Command::new("javac").args(["--release", "17", "-d"]).arg(&classes).arg(sources.join("Host.java")));
    let jar = folder.join("jolie/lib/parlor-jolie.jar");
    run(Command::new("jar").arg("--create").arg("--file").arg(jar).arg("-C").arg(&classes).arg("."));
}

/// Whether this user may make namespaces and mount something in them.
fn can_make_views() -> bool {
    let arguments = ["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"];
    let tried = Command::new("unshare").args(arguments).output();
    rustix::process::geteuid().is_root() || tried.is_ok_and(|tried| tried.status.success())
}

#[tokio::test]
async fn a_java_program_can_compute_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    with_host(folder.path(), &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/jolie/Attempts.java"));
    let options = options(JolieOptions { workers: 1, cpu_ms: 10_000, wall_ms: 20_000, ..Default::default() });
    let workers = workers_at(&folder.path().join("jolie"), &options).await;
    // The report comes as what is wrong with a source.
    let found = workers.check(UserId(1), Language::Jolie, Direction::Incoming, "main {}").await;
    let report = match found {
        Ok(found) => found[0].message.clone(),
        Err(failure) => failure.detail,
    };
    let came = |name: &str| {
        let prefix = format!("{name}: ");
        report
            .lines()
            .find_map(|line| Some(line.strip_prefix(&prefix)?.to_owned()))
            .unwrap_or_else(|| panic!("{name}: {report}"))
    };
    for name in REFUSED {
        assert!(["refused", "nothing", "0 killed"].contains(&came(name).as_str()), "{name}: {report}");
    }
    for name in UNSEEN {
        assert!(came(name) == "nothing" || !can_make_views(), "{name}: {report}");
    }
    let threads: u32 = came("threads").parse().unwrap();
    assert!((16..64).contains(&threads) || !can_make_views(), "{threads} threads: {report}");
    assert_eq!(came("environment"), "[LANG, LD_LIBRARY_PATH, MALLOC_ARENA_MAX]", "{report}");
    assert_eq!(came("delete"), "nothing", "{report}");
    workers.stop().await;
    assert!(folder.path().join("jolie/version").exists());
}
