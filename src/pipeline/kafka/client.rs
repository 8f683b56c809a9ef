//! What all clients of the brokers have in common: where the brokers are, how to be let in, and what is heard from them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config::kafka::KafkaOptions;

/// For how long a record that was refused counts against the bus when nothing was taken since.
const REFUSED: Duration = Duration::from_secs(10);

/// The settings of every client. `name` is what brokers show in their logs.
pub(super) fn config(options: &KafkaOptions, brokers: &str, name: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", name)
        .set("security.protocol", options.security.protocol())
        // A broker that stands still must not be waited for longer than the others need to take its place.
        .set("socket.timeout.ms", "10000")
        .set("socket.connection.setup.timeout.ms", "5000")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("retry.backoff.ms", "50")
        .set("retry.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "60000")
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Info);
    let path = |path: &std::path::Path| path.display().to_string();
    if let Some(file) = &options.ca_path {
        config.set("ssl.ca.location", path(file));
    }
    if let Some(file) = &options.certificate_path {
        config.set("ssl.certificate.location", path(file));
    }
    if let Some(file) = &options.key_path {
        config.set("ssl.key.location", path(file));
    }
    if let Some(password) = &options.key_password {
        config.set("ssl.key.password", password.expose());
    }
    if options.security.has_sasl() {
        config.set("sasl.mechanism", options.sasl_mechanism.name());
        config.set("sasl.username", options.username.as_deref().unwrap_or_default());
        config.set("sasl.password", options.password.as_ref().map_or("", |password| password.expose()));
    }
    config
}

/// Whether it is about a connection: the library is at it already, and goes on where it was.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::PartitionEOF,
        )
    )
}

/// How the brokers stand, as far as is known here.
#[derive(Debug)]
pub(super) struct Health(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// Why the brokers cannot be reached.
    away: Option<Arc<str>>,
    /// Why the topics are not ready.
    preparing: Option<Arc<str>>,
    /// What was said about the last record that was refused.
    refused: Option<(Instant, Arc<str>)>,
}

impl Health {
    pub(super) fn new() -> Arc<Self> {
        let away = Some("the Kafka brokers have not answered yet".into());
        Arc::new(Self(Mutex::new(Known { away, preparing: None, refused: None })))
    }

    /// The brokers answer, or why they do not. Logged when it changes.
    pub(super) fn heard(&self, answer: Result<(), String>) {
        let mut known = self.lock();
        match (&known.away, answer) {
            (Some(_), Ok(())) => {
                tracing::info!("the Kafka brokers answer");
                known.away = None;
            }
            (None, Err(reason)) => {
                tracing::warn!(reason, "the Kafka brokers do not answer; it is tried again");
                known.away = Some(format!("the Kafka brokers do not answer: {reason}").into());
            }
            (Some(_), Err(reason)) => known.away = Some(format!("the Kafka brokers do not answer: {reason}").into()),
            (None, Ok(())) => {}
        }
    }

    /// What the topics wait for at the start.
    pub(super) fn preparing(&self, reason: Option<String>) {
        self.lock().preparing = reason.map(Into::into);
    }

    /// A record was taken.
    pub(super) fn taken(&self) {
        self.lock().refused = None;
    }

    /// A record was refused.
    pub(super) fn refused(&self, reason: &str, now: Instant) {
        let mut known = self.lock();
        if known.refused.is_none() {
            tracing::warn!(reason, "Kafka does not take records");
        }
        known.refused = Some((now, reason.into()));
    }

    /// `Ok`, or what is wrong.
    pub(super) fn word(&self, now: Instant) -> Result<(), Arc<str>> {
        let known = self.lock();
        if let Some(why) = known.preparing.as_ref().or(known.away.as_ref()) {
            return Err(why.clone());
        }
        match &known.refused {
            Some((when, reason)) if now.saturating_duration_since(*when) < REFUSED => {
                Err(format!("Kafka does not take records: {reason}").into())
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client without calls of its own tells.
pub(super) struct Heard(pub(super) Arc<Health>);

impl ClientContext for Heard {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        log(facility, message);
    }

    fn error(&self, code: KafkaError, reason: &str) {
        error(&self.0, &code, reason);
    }
}

impl ConsumerContext for Heard {}

/// Where the library's log lines go: they name single connections, and are for whoever looks closely.
pub(super) fn log(facility: &str, message: &str) {
    tracing::debug!(target: "librdkafka", facility, message);
}

/// What the library says about the brokers as a whole.
pub(super) fn error(health: &Health, error: &KafkaError, reason: &str) {
    tracing::debug!(target: "librdkafka", %error, reason);
    let code = error.rdkafka_error_code();
    let for_operators = matches!(
        code,
        Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL)
    );
    if for_operators {
        health.heard(Err(reason.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_until_something_is_taken_or_it_is_long_ago() {
        let (health, now) = (Health::new(), Instant::now());
        assert!(health.word(now).is_err(), "nobody has answered yet");
        health.heard(Ok(()));
        assert!(health.word(now).is_ok());
        health.refused("not enough in-sync replicas", now);
        assert!(health.word(now + REFUSED - Duration::from_millis(1)).unwrap_err().contains("in-sync"));
        assert!(health.word(now + REFUSED).is_ok());
        health.refused("again", now);
        health.taken();
        assert!(health.word(now).is_ok());
        health.heard(Err("connection refused".into()));
        assert!(health.word(now).unwrap_err().contains("connection refused"));
    }
}
