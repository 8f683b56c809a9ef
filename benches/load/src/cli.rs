//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, value_parser};

use crate::{machine::Cpus, wire::MIN_BODY_BYTES};

/// Puts load on a Parlor server and checks that nothing is lost, repeated or reordered.
///
/// Exits 0 if the check is clean, 1 if it is not, 2 if the run could not be made.
#[derive(Debug, Parser)]
#[command(name = "parlor-bench", version)]
pub(crate) struct Cli {
    /// Which server.
    #[command(flatten)]
    pub(crate) target: Target,
    /// Also write the result as JSON into this file (`-`: to standard output, the table then to standard error).
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// How long to wait at the end for messages that are still on their way.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain: u64,
    /// What to do.
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

/// The server under test.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// A server that runs already; its limits on registrations and messages apply. Several, with commas between: the nodes
    /// of a cluster, over which connections are spread in turn. Users are registered at the last.
    #[arg(
        long,
        global = true,
        value_name = "URL,…",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:8080",
        conflicts_with = "spawn"
    )]
    pub(crate) url: Vec<String>,
    /// Start this `parlor` for the run, on a temporary folder and without limits.
    #[arg(long, global = true, value_name = "PROGRAM")]
    pub(crate) spawn: Option<PathBuf>,
    /// Processors for the started server, as in `0` or `0,2-3`; the generator takes the others.
    #[arg(long, global = true, value_name = "LIST", requires = "spawn")]
    pub(crate) server_cpus: Option<Cpus>,
    /// Worker threads of the started server.
    #[arg(long, global = true, value_name = "N", requires = "spawn")]
    pub(crate) workers: Option<usize>,
    /// Where the started server's temporary folder is made: its disk is part of what is measured.
    #[arg(long, global = true, value_name = "DIR", requires = "spawn")]
    pub(crate) data: Option<PathBuf>,
    /// The processes of local servers that run already, in the order of their addresses, to measure their memory and
    /// processor time together.
    #[arg(long, global = true, value_name = "PID,…", value_delimiter = ',', conflicts_with = "spawn")]
    pub(crate) server_pid: Vec<u32>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Users in pairs write to each other.
    Pairs(Pairs),
    /// Each sender writes to all recipients.
    Groups(Groups),
    /// Connections that do nothing: memory for each.
    Idle(Idle),
    /// All connections break at once and come back, while messages are sent to them.
    Storm(Storm),
    /// Pairs at a steady rate for long: does memory stay flat?
    Soak(Soak),
    /// The first node of a cluster is told to stop, with all listeners on it: how long is each without a server?
    Drain(Handover),
    /// The first node of a cluster is killed, with all listeners on it: how long until each is served again?
    Death(Handover),
}

/// How fast, how large, how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct Load {
    /// Size of a message body.
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u32).range(MIN_BODY_BYTES as i64..))]
    pub(crate) bytes: u32,
    /// Closed loop: messages of a sender on their way at once; one is until every recipient has it.
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u32).range(1..), conflicts_with = "rate")]
    pub(crate) in_flight: u32,
    /// Open loop: so many messages a second by all senders together, whatever the server does.
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    pub(crate) rate: Option<u64>,
    /// How long to measure.
    #[arg(long, default_value_t = 20, value_parser = value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Load before that, checked but not measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    pub(crate) warm_up: u64,
}

/// Scripts that every user of the run uploads and activates before the load begins. What they make of a body must begin
/// as it did, or the check has losses.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct Scripts {
    /// Sees what comes in.
    #[arg(long, value_name = "FILE")]
    pub(crate) incoming: Option<PathBuf>,
    /// Sees what goes out.
    #[arg(long, value_name = "FILE")]
    pub(crate) outgoing: Option<PathBuf>,
}

/// Arguments of `pairs`.
#[derive(Debug, Args)]
pub(crate) struct Pairs {
    /// Users, an even number.
    #[arg(long, default_value_t = 200, value_parser = even)]
    pub(crate) users: usize,
    /// Scripts that every user has.
    #[command(flatten)]
    pub(crate) scripts: Scripts,
    /// How fast, how large, how long.
    #[command(flatten)]
    pub(crate) load: Load,
}

/// Arguments of `groups`.
#[derive(Debug, Args)]
pub(crate) struct Groups {
    /// Users that get every message.
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    pub(crate) recipients: usize,
    /// Users that send.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub(crate) senders: usize,
    /// How fast, how large, how long.
    #[command(flatten)]
    pub(crate) load: Load,
}

/// Arguments of `idle`.
#[derive(Debug, Args)]
pub(crate) struct Idle {
    /// Connections to open.
    #[arg(long, default_value_t = 10_000, value_parser = at_least_one)]
    pub(crate) connections: usize,
    /// Users they are spread over, as devices.
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    pub(crate) accounts: usize,
    /// Connections opened a second.
    #[arg(long, default_value_t = 500, value_parser = value_parser!(u64).range(1..))]
    pub(crate) connect_rate: u64,
    /// Seconds to hold them before memory is read.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) hold: u64,
}

/// Arguments of `storm`.
#[derive(Debug, Args)]
pub(crate) struct Storm {
    /// Connections that break.
    #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
    pub(crate) connections: usize,
    /// Users they are spread over, as devices.
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    pub(crate) accounts: usize,
    /// How often they break.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Messages a second that are sent to them in turn by connections that stay.
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u64).range(1..))]
    pub(crate) rate: u64,
    /// Connections that send.
    #[arg(long, default_value_t = 2, value_parser = at_least_one)]
    pub(crate) senders: usize,
    /// Size of a message body.
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u32).range(MIN_BODY_BYTES as i64..))]
    pub(crate) bytes: u32,
    /// Seconds of quiet between rounds.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    pub(crate) pause: u64,
}

/// Arguments of `soak`.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// Users, an even number.
    #[arg(long, default_value_t = 200, value_parser = even)]
    pub(crate) users: usize,
    /// Messages a second by all senders together.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    pub(crate) rate: u64,
    /// How long to measure.
    #[arg(long, default_value_t = 600, value_parser = value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Load before that: caches fill, memory grows and is not held against the server.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) warm_up: u64,
    /// Size of a message body.
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u32).range(MIN_BODY_BYTES as i64..))]
    pub(crate) bytes: u32,
}

/// Arguments of `drain` and `death`. Needs two addresses or more, and the process of the first.
#[derive(Debug, Args)]
pub(crate) struct Handover {
    /// Connections on the first node.
    #[arg(long, default_value_t = 500, value_parser = at_least_one)]
    pub(crate) connections: usize,
    /// Users they are spread over, as devices.
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    pub(crate) accounts: usize,
    /// Messages a second that are sent to them in turn by connections on the other nodes.
    #[arg(long, default_value_t = 500, value_parser = value_parser!(u64).range(1..))]
    pub(crate) rate: u64,
    /// Connections that send.
    #[arg(long, default_value_t = 10, value_parser = at_least_one)]
    pub(crate) senders: usize,
    /// Size of a message body.
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u32).range(MIN_BODY_BYTES as i64..))]
    pub(crate) bytes: u32,
    /// Seconds of quiet before the node goes, and after the last has come back.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub(crate) pause: u64,
}

fn even(text: &str) -> Result<usize, String> {
    let number = at_least_one(text)?;
    if number % 2 == 0 { Ok(number) } else { Err("pairs need an even number".into()) }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().map_err(|error| error.to_string())?;
    if number > 0 { Ok(number) } else { Err("at least 1".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("parlor-bench").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn general_options_may_stand_before_and_behind_the_scenario() {
        for line in
            ["--spawn ./parlor --server-cpus 0 pairs --users 4", "pairs --users 4 --spawn ./parlor --server-cpus 0"]
        {
            let cli = parse(line).unwrap();
            assert_eq!(cli.target.server_cpus, Some("0".parse().unwrap()), "{line}");
            assert!(matches!(cli.scenario, Scenario::Pairs(Pairs { users: 4, .. })), "{line}");
        }
    }

    #[test]
    fn every_scenario_has_defaults() {
        for line in ["pairs", "groups", "idle", "storm", "soak", "drain", "death"] {
            assert_eq!(parse(line).unwrap().target.url, ["http://127.0.0.1:8080"], "{line}");
        }
    }

    #[test]
    fn several_addresses_and_processes_have_commas_between() {
        let cli = parse("--url http://a,http://b --server-pid 1,2 drain").unwrap();
        assert_eq!((cli.target.url, cli.target.server_pid), (vec!["http://a".into(), "http://b".into()], vec![1, 2]));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let lines = [
            "",
            "pairs --users 3",
            "pairs --users 0",
            "pairs --bytes 10",
            "pairs --rate 0",
            "pairs --rate 5 --in-flight 2",
            "--server-cpus 0 pairs",
            "--spawn p --url http://h pairs",
            "--server-cpus x --spawn p pairs",
        ];
        for line in lines {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
