//! What a run of a script costs: in the engine alone, and through a confined worker process.
//!
//! `cargo bench --bench scripts`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement for a person to read"
)]

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use parlor::ids::UserId;
use parlor::script::call::{Direction, Input, Language, SourceHash};
use parlor::script::engine::{Call, Engine as _};
use parlor::script::luau::Luau;
use parlor::script::protocol::{self, FromWorker, RunLimits, ToWorker};

use self::input::input;

#[path = "shared/input.rs"]
mod input;

const DURATION: Duration = Duration::from_secs(2);
const SOURCE: &str = r#"
local blocked = { [13] = true, [99] = true }

function incoming(message)
	if blocked[message.senderId] or message.messageBody:lower():find("unsubscribe", 1, true) then
		return { action = "DROP" }
	end
	return { action = "FORWARD", reply = { { to = message.senderId, message = "Got it." } } }
end
"#;

fn limits() -> RunLimits {
    RunLimits {
        heap_bytes: 8 << 20,
        cpu_micros: 50_000,
        message_bytes: 64 * 1024,
        replies: 8,
        print_lines: 50,
        print_bytes: 8 * 1024,
        states_bytes: 2 << 30,
    }
}

fn main() {
    for owners in [1, 1000] {
        engine_alone(owners);
    }
    for (owners, waiting) in [(1, 1), (1, 16), (1, 256), (1000, 256)] {
        through_a_worker(owners, waiting);
    }
}

fn engine_alone(owners: i64) {
    let mut luau = Luau::new(limits()).unwrap();
    let inputs: Vec<Input> = (1..=owners).map(|owner| input(UserId(owner))).collect();
    let hash = SourceHash::of(SOURCE);
    let mut run = |input: &Input, source| {
        let (owner, direction) = (input.own_id, Direction::Incoming);
        let ran = luau.run(Call { owner, hash, source, direction, input, seed: 7 });
        assert!(ran.expect("the source is there").outcome.is_ok());
    };
    let before = resident_bytes("self");
    let begin = Instant::now();
    inputs.iter().for_each(|input| run(input, Some(SOURCE)));
    let cold = begin.elapsed().as_secs_f64() * 1e6 / owners as f64;
    let begin = Instant::now();
    let mut runs = 0_u64;
    while begin.elapsed() < DURATION {
        inputs.iter().for_each(|input| run(input, None));
        runs += inputs.len() as u64;
    }
    let rate = runs as f64 / begin.elapsed().as_secs_f64();
    let kib = (resident_bytes("self").saturating_sub(before)) / 1024 / owners as u64;
    println!("engine alone, {owners} owners: {rate:.0} runs/s; first run {cold:.0} µs; {kib} KiB resident a state");
}

fn through_a_worker(owners: i64, waiting: u64) {
    let mut worker = Worker::start();
    let run = |number: u64, source: Option<String>, out: &mut Vec<u8>| {
        let owner = UserId(i64::try_from(number).unwrap() % owners + 1);
        let (language, hash, direction) = (Language::Luau, SourceHash::of(SOURCE), Direction::Incoming);
        let input = input(owner);
        protocol::encode(&ToWorker::Run { number, owner, language, hash, source, direction, input, seed: 7 }, out)
            .unwrap();
    };
    let mut out = Vec::new();
    for number in 0..u64::try_from(owners).unwrap() {
        run(number, Some(SOURCE.to_owned()), &mut out);
        worker.socket.write_all(&out).unwrap();
        out.clear();
        worker.receive();
    }
    let begin = Instant::now();
    let (mut sent, mut received) = (0, 0);
    while begin.elapsed() < DURATION {
        while sent < received + waiting {
            run(sent, None, &mut out);
            sent += 1;
        }
        worker.socket.write_all(&out).unwrap();
        out.clear();
        received += worker.receive();
    }
    let rate = received as f64 / begin.elapsed().as_secs_f64();
    let kib = resident_bytes(&worker.child.id().to_string()) / 1024;
    println!("worker, {owners} owners, {waiting} waiting: {rate:.0} runs/s; {kib} KiB resident in all");
}

struct Worker {
    child: Child,
    socket: UnixStream,
    read: Vec<u8>,
}

impl Worker {
    fn start() -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        let theirs = OwnedFd::from(theirs);
        let second = theirs.try_clone().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
        command.arg("worker").env_clear().stdin(Stdio::from(theirs)).stdout(Stdio::from(second));
        let child = command.spawn().unwrap();
        let mut worker = Self { child, socket, read: Vec::new() };
        let mut begin = Vec::new();
        protocol::encode(&ToWorker::Begin(limits()), &mut begin).unwrap();
        worker.socket.write_all(&begin).unwrap();
        worker.receive();
        worker
    }

    /// Takes what is there, at least one frame; how many.
    fn receive(&mut self) -> u64 {
        let mut frames = 0;
        loop {
            let mut taken = 0;
            while let Some((frame, bytes)) = protocol::decode::<FromWorker>(&self.read[taken..]).unwrap() {
                if let FromWorker::Missing { .. } = frame {
                    panic!("a state was lost");
                }
                (taken, frames) = (taken + bytes, frames + 1);
            }
            self.read.drain(..taken);
            if frames > 0 {
                return frames;
            }
            let mut more = [0; 65536];
            let read = self.socket.read(&mut more).unwrap();
            assert!(read > 0, "the worker is gone");
            self.read.extend_from_slice(&more[..read]);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resident_bytes(process: &str) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}
