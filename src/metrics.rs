//! Every metric, declared once: the doc comment of its function is its help text.

use std::sync::OnceLock;

use metrics::{Histogram, SharedString};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub mod process;

/// Bounds of the histograms of seconds.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0];
/// The same for scripts, most of which run in microseconds.
const SCRIPT_SECONDS: [f64; 18] = [
    0.000_005, 0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1,
    0.2, 0.5, 1.0, 5.0,
];

/// What a metric is, for whoever writes queries.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// As it is scraped; a histogram has `_bucket`, `_sum` and `_count` behind it.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

macro_rules! declare {
    ($($kind:ident $function:ident($($label:ident),*) $name:literal #[doc = $help:literal];)*) => {
        $(declare!(@ $kind $function($($label),*) $name $help);)*

        fn describe() {
            $(declare!(@describe $kind $name $help);)*
        }

        /// All metrics, for the tests that hold documents, rules and dashboards to them.
        pub const ALL: &[Declared] = &[$(Declared {
            name: $name, kind: declare!(@kind $kind), labels: &[$(stringify!($label)),*],
        }),*];
    };
    (@ counter $function:ident($($label:ident),*) $name:literal $help:literal) => {
        #[doc = $help]
        pub fn $function($($label: &'static str),*) { metrics::counter!($name $(, stringify!($label) => $label)*).increment(1); }
    };
    (@ counts $function:ident($($label:ident),*) $name:literal $help:literal) => {
        #[doc = $help]
        pub fn $function(n: u64 $(, $label: &'static str)*) { metrics::counter!($name $(, stringify!($label) => $label)*).increment(n); }
    };
    (@ total $function:ident($($label:ident),*) $name:literal $help:literal) => {
        #[doc = $help]
        pub fn $function(n: u64 $(, $label: &'static str)*) { metrics::counter!($name $(, stringify!($label) => $label)*).absolute(n); }
    };
    (@ gauge $function:ident($($label:ident),*) $name:literal $help:literal) => {
        #[doc = $help]
        pub fn $function(value: f64 $(, $label: impl Into<SharedString>)*) { metrics::gauge!($name $(, stringify!($label) => $label.into())*).set(value); }
    };
    (@ timer $function:ident() $name:literal $help:literal) => {
        #[doc = $help]
        pub fn $function() -> &'static Histogram {
            static KEPT: OnceLock<Histogram> = OnceLock::new();
            KEPT.get_or_init(|| metrics::histogram!($name))
        }
    };
    (@ timer $function:ident($label:ident) $name:literal $help:literal) => {
        #[doc = $help]
        pub fn $function($label: String) -> Histogram { metrics::histogram!($name, stringify!($label) => $label) }
    };
    (@ seconds $function:ident($($label:ident),*) $name:literal $help:literal) => {
        #[doc = $help]
        pub fn $function(seconds: f64 $(, $label: &'static str)*) { metrics::histogram!($name $(, stringify!($label) => $label)*).record(seconds); }
    };
    (@kind counter) => { "counter" };
    (@kind counts) => { "counter" };
    (@kind total) => { "counter" };
    (@kind gauge) => { "gauge" };
    (@kind seconds) => { "histogram" };
    (@kind timer) => { "histogram" };
    (@describe timer $name:literal $help:literal) => { metrics::describe_histogram!($name, $help.trim()); };
    (@describe counter $name:literal $help:literal) => { metrics::describe_counter!($name, $help.trim()); };
    (@describe counts $name:literal $help:literal) => { metrics::describe_counter!($name, $help.trim()); };
    (@describe total $name:literal $help:literal) => { metrics::describe_counter!($name, $help.trim()); };
    (@describe gauge $name:literal $help:literal) => { metrics::describe_gauge!($name, $help.trim()); };
    (@describe seconds $name:literal $help:literal) => { metrics::describe_histogram!($name, $help.trim()); };
}

declare! {
    counter accepted() "parlor_messages_accepted_total"
        /// Messages that were made durable and acknowledged to their sender.
        ;
    counter rejected(code) "parlor_messages_rejected_total"
        /// Messages that were not taken, by the code that their sender was told.
        ;
    timer accept() "parlor_accept_seconds"
        /// Time from a draft at the door until it is durable, in seconds.
        ;
    counts placed() "parlor_messages_placed_total"
        /// Messages that the router wrote into inboxes.
        ;
    counts repeated() "parlor_messages_repeated_total"
        /// Messages that stood in the inboxes already when the router came to write them.
        ;
    counts deliveries() "parlor_deliveries_total"
        /// Places given in inboxes.
        ;
    seconds route() "parlor_route_seconds"
        /// Time of one transaction of the router, in seconds.
        ;
    seconds delay() "parlor_delivery_delay_seconds"
        /// Time from a message's sentAt until it was handed to the sessions of this node, in seconds.
        ;
    timer end_to_end() "parlor_end_to_end_seconds"
        /// Time from a message's sentAt until it was written to a client's socket, in seconds; of pushed messages, not of those read after a resume.
        ;
    timer stage(stage) "parlor_stage_seconds"
        /// Time that a message spent at a stage of this node, waiting included, in seconds.
        ;
    gauge queue_length(queue) "parlor_queue_length"
        /// What waits or is in work: records_in_work, passwords (to hash), bus_bytes (that no stage has finished; with Kafka, that the brokers have yet to acknowledge).
        ;
    gauge queue_limit(queue) "parlor_queue_limit"
        /// The bound of the same queue.
        ;
    counter route_failed() "parlor_route_failed_total"
        /// Transactions of the router that failed and are tried again.
        ;
    counter dead_letter(reason) "parlor_dead_letters_total"
        /// Records put aside, by reason: unreadable, wrong_topic, too_many_hops, no_destination, too_large, crashes, impossible.
        ;
    counter abandoned(stage) "parlor_stage_abandoned_total"
        /// Records whose stage ended without finishing them; they are done again.
        ;
    counter actor_restarted(actor) "parlor_actor_restarts_total"
        /// Actors that died and were started anew.
        ;
    counter mailbox_overflow(actor) "parlor_mailbox_overflow_total"
        /// Messages that found an actor's mailbox full.
        ;
    counter script_run(direction, verdict) "parlor_script_runs_total"
        /// Runs of users' scripts, by what they came to: forward, drop, edited, failed.
        ;
    counter script_failed(direction, kind) "parlor_script_failures_total"
        /// Runs that came to nothing, by kind: compile, error, cpu_limit, heap_limit, bad_result, worker_killed, overloaded, unavailable.
        ;
    counts script_replies() "parlor_script_replies_total"
        /// Messages that scripts made.
        ;
    counts script_replies_refused() "parlor_script_replies_refused_total"
        /// Messages that scripts wanted to send beyond what their owner may send.
        ;
    seconds script_wait() "parlor_script_wait_seconds"
        /// Time that a message waited for its script, behind others of the same sender or for the same user, in seconds.
        ;
    counter script_switched_off(reason) "parlor_scripts_switched_off_total"
        /// Scripts that the server switched off: over_budget, failing, kills_workers.
        ;
    counter automation_log_left_out(reason) "parlor_automation_log_left_out_total"
        /// Entries of owners' logs that were not written: owner (too many of one), owners, queue (too many of all), store.
        ;
    counter auto_reply(decision) "parlor_auto_replies_total"
        /// Messages to users who have an auto-reply switched on: answered, or why not: answered_before, automatic, own_message, text_too_long.
        ;
    gauge runners() "parlor_script_runners"
        /// Users whose scripts' runner is awake on this node.
        ;
    gauge sessions() "parlor_sessions"
        /// Live websockets on this node.
        ;
    counter session_opened() "parlor_sessions_opened_total"
        /// Websockets opened.
        ;
    counter session_resumed() "parlor_sessions_resumed_total"
        /// Websockets that were opened with a place to go on from: clients that came back.
        ;
    counter session_closed(reason) "parlor_sessions_closed_total"
        /// Websockets closed, by reason.
        ;
    counts handed_over(reason) "parlor_sessions_handed_over_total"
        /// Websockets that were sent to other nodes: `drain`, or `shed` because this one had more than its share.
        ;
    counter gap_healed() "parlor_gaps_healed_total"
        /// Pages of an inbox that sessions read because pushed messages were missing.
        ;
    counter shed(kind) "parlor_shed_total"
        /// Ephemeral frames (typing, presence, read) that were not sent because a client reads slowly.
        ;
    gauge bus_unfinished_records() "parlor_bus_unfinished_records"
        /// Records on the bus that no stage has finished yet; with Kafka, to be acknowledged or in work on this node.
        ;
    gauge bus_segments() "parlor_bus_segments"
        /// Files of the embedded bus.
        ;
    total bus_records() "parlor_bus_records_total"
        /// Records that were made durable.
        ;
    total bus_batches() "parlor_bus_batches_total"
        /// Group commits of the embedded bus.
        ;
    total bus_write_errors() "parlor_bus_write_errors_total"
        /// Group commits of the embedded bus that failed; with Kafka, records that the brokers did not take.
        ;
    gauge bus_up() "parlor_bus_up"
        /// 1 while the Kafka brokers answer and take records, else 0.
        ;
    gauge bus_brokers() "parlor_bus_brokers"
        /// Kafka brokers that the cluster itself counts as alive, as of some seconds ago.
        ;
    gauge bus_partitions() "parlor_bus_partitions"
        /// Partitions that this node consumes, of all topics.
        ;
    gauge bus_lag_records(topic) "parlor_bus_lag_records"
        /// Records in those partitions that are not finished, as of some seconds ago, by topic.
        ;
    counter bus_rebalance(kind) "parlor_bus_rebalances_total"
        /// Changes of this node's partitions: assigned, handed_over, handed_over_unfinished (some is done again elsewhere), lost.
        ;
    total bus_producers_renewed() "parlor_bus_producers_renewed_total"
        /// Times that the Kafka producer came to an end and a new one took its place.
        ;
    counter auth_failed(code) "parlor_auth_failed_total"
        /// Tokens, logins and registrations refused, by code.
        ;
    gauge script_workers(lane) "parlor_script_workers"
        /// Live workers, by lane: shared, trial, alone.
        ;
    counter script_worker_start(lane) "parlor_script_worker_starts_total"
        /// Workers started, or tried to, by lane.
        ;
    counter script_worker_death(reason) "parlor_script_worker_deaths_total"
        /// Workers that were killed or died, by reason: hung, ended, protocol, start.
        ;
    counter script_rerun() "parlor_script_reruns_total"
        /// Runs made again, alone, because the worker ended while they were there.
        ;
    seconds script_queue_wait(lane) "parlor_script_queue_wait_seconds"
        /// Time that runs waited for a worker, by lane, in seconds.
        ;
    seconds script_wall(direction) "parlor_script_wall_seconds"
        /// Time from handing a run to a worker to its answer, in seconds.
        ;
    seconds script_cpu(direction) "parlor_script_cpu_seconds"
        /// Processor time of runs, in seconds.
        ;
    counts spans_exported() "parlor_spans_exported_total"
        /// Spans of messages that the OpenTelemetry collector took.
        ;
    counts spans_dropped(reason) "parlor_spans_dropped_total"
        /// Spans that were left out: queue (more waited than there is room for), collector (it refused them, or was not there).
        ;
    gauge build_info(version, commit) "parlor_build_info"
        /// Always 1: which version and commit this node is.
        ;
    gauge ready() "parlor_ready"
        /// 1 while this node is ready to serve, as /readyz says.
        ;
    gauge check_ok(check) "parlor_check_ok"
        /// 1 while a check of /readyz is passed: start, store, bus, slot, redis, draining (0 while the node drains).
        ;
    total process_cpu() "parlor_process_cpu_milliseconds_total"
        /// Processor time that this process has used, without its workers, in milliseconds.
        ;
    gauge process_memory() "parlor_process_resident_bytes"
        /// Memory of this process that is in RAM, without its workers.
        ;
    gauge process_files() "parlor_process_open_files"
        /// Open files of this process; each socket is one.
        ;
    gauge process_files_limit() "parlor_process_open_files_limit"
        /// How many it may have.
        ;
    gauge redis_up() "parlor_redis_up"
        /// 1 while Redis answers this node, 0 while it does not.
        ;
    gauge slots_live() "parlor_slots_live"
        /// Nodes that hold a slot, as this node read it last.
        ;
    counter slot_lost(reason) "parlor_slots_lost_total"
        /// Times that this node lost its slot: missing (Redis was emptied, or the lease ran out) or taken (by another node).
        ;
    counter presence_lookup(outcome) "parlor_presence_lookups_total"
        /// Questions to Redis, where the readers of a batch of messages are: answered, or unanswered and every node told.
        ;
    counts presence_cleaned() "parlor_presence_cleaned_total"
        /// Entries of nodes that are gone, taken out of Redis.
        ;
    counter presence_late() "parlor_presence_late_total"
        /// Sessions that were opened before Redis knew of them.
        ;
    counts rate_unknown() "parlor_rates_unanswered_total"
        /// Messages and attempts that only this node counted, because Redis did not answer.
        ;
    counter bridge_told(reason) "parlor_bridge_told_total"
        /// Nodes told of something, by why: presence (Redis has a reader there) or everything (it is not known who is there).
        ;
    counts bridge_sent() "parlor_bridge_records_sent_total"
        /// Records sent to other nodes.
        ;
    counts bridge_received() "parlor_bridge_records_received_total"
        /// Records received from other nodes.
        ;
    counts bridge_astray() "parlor_bridge_astray_total"
        /// Inboxes received for which nobody has a session here.
        ;
    counter bridge_failed(reason) "parlor_bridge_failed_total"
        /// Failures of the bridge: send, receive, unreadable, too_large.
        ;
    counts catch_up_found() "parlor_catch_up_found_total"
        /// Inboxes in which the store had messages that nobody had told this node of. Its sessions read them then.
        ;
}

/// Installs the recorder of this process; `None` when there is one already, as in tests.
#[must_use]
pub fn install() -> Option<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .ok()?
        .set_buckets_for_metric(Matcher::Prefix("parlor_script_".to_owned()), &SCRIPT_SECONDS)
        .ok()?
        .install_recorder()
        .ok()?;
    describe();
    build_info(1.0, crate::version::VERSION, crate::version::COMMIT);
    Some(handle)
}
