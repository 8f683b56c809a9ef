//! The topics: made at the start where they are missing, and held against the settings where they are there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config::kafka::KafkaOptions;

/// How long one question to the brokers may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Time before what failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long brokers that are still to come are waited for before their number is a mistake.
const ALL_BROKERS: Duration = Duration::from_secs(60);
/// How long a dead letter is kept.
const DEAD_LETTERS: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a record between nodes is kept: who does not hear it within seconds reads from the tables.
const BRIDGE: Duration = Duration::from_secs(3600);
/// The bridge's files are closed so often, or they would outlive their time.
const BRIDGE_SEGMENT: Duration = Duration::from_secs(600);

/// Why the topics cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A topic is there, and is not what the settings say.
    #[error("the Kafka topic {topic} has {key} {has}, and {wanted} is wanted: {remedy}")]
    Unfit {
        /// Which.
        topic: String,
        /// What of it.
        key: &'static str,
        /// What it has.
        has: String,
        /// What it should have.
        wanted: String,
        /// What to do.
        remedy: String,
    },
    /// A topic cannot be made.
    #[error("the Kafka topic {topic} cannot be made: {reason}. Make it by hand, with {wanted}")]
    Make {
        /// Which.
        topic: String,
        /// What the brokers said.
        reason: String,
        /// What it should have.
        wanted: String,
    },
    /// The brokers do not let us look.
    #[error("the Kafka brokers refuse: {0}")]
    Refused(String),
    /// The bus was closed meanwhile.
    #[error("the bus is closed: {0}")]
    Closed(Arc<str>),
}

/// A topic as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) partitions: u32,
    retention: Duration,
    segment: Option<Duration>,
}

/// All topics of a cluster whose stages, and control topics, are `stages`.
pub(super) fn plans(prefix: &str, stages: &[String], slots: u32, options: &KafkaOptions) -> Vec<Plan> {
    let lasting = |name: &String| Plan {
        name: format!("{prefix}.{name}"),
        partitions: options.partitions,
        retention: options.retention(),
        segment: None,
    };
    let mut plans: Vec<Plan> = stages.iter().map(lasting).collect();
    plans.push(Plan { retention: DEAD_LETTERS, partitions: 1, ..lasting(&super::DEAD_LETTER.to_owned()) });
    let bridge = lasting(&super::BRIDGE.to_owned());
    plans.push(Plan { retention: BRIDGE, segment: Some(BRIDGE_SEGMENT), partitions: slots, ..bridge });
    plans
}

/// What every topic must have beside its own plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) replication: u16,
    pub(super) min_in_sync: u16,
    pub(super) max_message_bytes: usize,
}

impl Plan {
    fn settings(&self, wanted: Wanted) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", self.retention.as_millis().to_string()),
            ("min.insync.replicas", wanted.min_in_sync.to_string()),
            ("max.message.bytes", wanted.max_message_bytes.to_string()),
        ];
        if let Some(segment) = self.segment {
            settings.push(("segment.ms", segment.as_millis().to_string()));
        }
        settings
    }

    /// What an operator would type.
    fn words(&self, wanted: Wanted) -> String {
        let settings: Vec<String> =
            self.settings(wanted).iter().map(|(key, value)| format!("--config {key}={value}")).collect();
        format!("--partitions {} --replication-factor {} {}", self.partitions, wanted.replication, settings.join(" "))
    }

    /// Holds what is there against what is wanted.
    fn check(&self, there: &There, wanted: Wanted) -> Result<(), Error> {
        let unfit = |key, has: String, wanted: String, remedy: String| {
            Err(Error::Unfit { topic: self.name.clone(), key, has, wanted, remedy })
        };
        let (name, remedy) = (&self.name, |key: &str, value: String, setting: &str| {
            format!("kafka-configs.sh --alter --topic {} --add-config {key}={value}{setting}", self.name)
        });
        if there.partitions < self.partitions {
            let how = format!(
                "add partitions while nothing is in flight (kafka-topics.sh --alter --topic {name} --partitions {})",
                self.partitions
            );
            return unfit("partitions:", there.partitions.to_string(), format!("at least {}", self.partitions), how);
        }
        if there.replication < wanted.replication {
            let how =
                "reassign it to more brokers (kafka-reassign-partitions.sh), or lower kafka.replication".to_owned();
            return unfit("copies:", there.replication.to_string(), format!("at least {}", wanted.replication), how);
        }
        let number = |key: &str| there.settings.get(key).and_then(|value| value.parse::<i64>().ok());
        let least = |key: &'static str, least: i64, setting: &str| match number(key) {
            // Retention knows -1: for ever.
            Some(has) if has < least && has >= 0 => {
                unfit(key, has.to_string(), format!("at least {least}"), remedy(key, least.to_string(), setting))
            }
            _ => Ok(()),
        };
        let retention = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        least("min.insync.replicas", i64::from(wanted.min_in_sync), ", or lower kafka.min_in_sync")?;
        least("max.message.bytes", i64::try_from(wanted.max_message_bytes).unwrap_or(i64::MAX), "")?;
        least("retention.ms", retention, "")?;
        if let Some(has) = number("min.insync.replicas")
            && has > i64::from(there.replication)
        {
            let how = "it takes no records as it is: give it more copies, or lower min.insync.replicas".to_owned();
            return unfit("min.insync.replicas", has.to_string(), format!("at most {}", there.replication), how);
        }
        match there.settings.get("cleanup.policy") {
            Some(policy) if policy != "delete" => {
                let how = remedy("cleanup.policy", "delete".into(), "; compaction would throw messages away");
                unfit("cleanup.policy", policy.clone(), "delete".into(), how)
            }
            _ => Ok(()),
        }
    }
}

/// A topic as it is.
#[derive(Debug)]
struct There {
    partitions: u32,
    replication: u16,
    settings: HashMap<String, String>,
}

type Admin = AdminClient<DefaultClientContext>;

/// Makes the topics that are missing and checks all of them. Waits for brokers that do not answer, until `closed` says why
/// not to.
///
/// # Errors
/// [`Error`] says what to do.
pub(super) async fn prepare(
    config: &ClientConfig,
    plans: &[Plan],
    wanted: Wanted,
    closed: impl Fn() -> Option<Arc<str>>,
) -> Result<(), Error> {
    let admin = Arc::new(Admin::from_config(config).map_err(|error| Error::Refused(error.to_string()))?);
    let (begun, mut told) = (Instant::now(), false);
    loop {
        match attempt(&admin, plans, wanted).await {
            Ok(Attempt::Fits) => return Ok(()),
            Ok(Attempt::Again(reason)) if !told => {
                tracing::warn!(reason, "the Kafka topics are not ready; it is tried again");
                told = true;
            }
            Ok(Attempt::Again(_)) => {}
            Ok(Attempt::TooFewBrokers(topic, brokers)) if begun.elapsed() >= ALL_BROKERS => {
                let reason = format!("there are {brokers} brokers");
                let plan = plans.iter().find(|plan| plan.name == topic);
                let wanted = plan.map(|plan| plan.words(wanted)).unwrap_or_default();
                let wanted = format!("{wanted}; or add brokers, or lower kafka.replication and kafka.min_in_sync");
                return Err(Error::Make { topic, reason, wanted });
            }
            Ok(Attempt::TooFewBrokers(_, brokers)) => {
                if !told {
                    tracing::warn!(
                        brokers,
                        wanted = wanted.replication,
                        "fewer Kafka brokers than copies; waiting for more"
                    );
                    told = true;
                }
            }
            Err(error) => return Err(error),
        }
        if let Some(why) = closed() {
            return Err(Error::Closed(why));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What one try came to.
enum Attempt {
    Fits,
    Again(String),
    TooFewBrokers(String, usize),
}

async fn attempt(admin: &Arc<Admin>, plans: &[Plan], wanted: Wanted) -> Result<Attempt, Error> {
    let (brokers, mut there) = match look(admin).await {
        Ok(found) => found,
        Err(error) => return transient(&error),
    };
    let missing: Vec<&Plan> = plans.iter().filter(|plan| !there.contains_key(&plan.name)).collect();
    if !missing.is_empty() {
        return make(admin, &missing, wanted, brokers).await;
    }
    let names: Vec<ResourceSpecifier<'_>> = plans.iter().map(|plan| ResourceSpecifier::Topic(&plan.name)).collect();
    let described = match admin.describe_configs(&names, &AdminOptions::new().request_timeout(Some(ANSWER))).await {
        Ok(described) => described,
        Err(error) => return transient(&error),
    };
    for (plan, described) in plans.iter().zip(described) {
        let Some(mut topic) = there.remove(&plan.name) else { continue };
        match described {
            Ok(described) => topic.settings = settings(described),
            Err(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                tracing::warn!(topic = plan.name, "this user may not see the topic's settings: they are not checked");
            }
            Err(error) => return Ok(Attempt::Again(format!("{}: {error}", plan.name))),
        }
        plan.check(&topic, wanted)?;
    }
    Ok(Attempt::Fits)
}

fn settings(described: ConfigResource) -> HashMap<String, String> {
    described.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

/// How many brokers there are, and which topics, each with a leader for every partition.
async fn look(admin: &Arc<Admin>) -> Result<(usize, HashMap<String, There>), KafkaError> {
    let admin = admin.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(None, ANSWER)?;
        let topics = metadata.topics().iter().filter(|topic| topic.error().is_none()).map(|topic| {
            let copies = topic.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
            let there = There {
                partitions: u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX),
                replication: u16::try_from(copies).unwrap_or(u16::MAX),
                settings: HashMap::new(),
            };
            (topic.name().to_owned(), there)
        });
        Ok((metadata.brokers().len(), topics.collect()))
    });
    looked.await.unwrap_or(Err(KafkaError::Canceled))
}

async fn make(admin: &Admin, missing: &[&Plan], wanted: Wanted, brokers: usize) -> Result<Attempt, Error> {
    let settings: Vec<_> = missing.iter().map(|plan| plan.settings(wanted)).collect();
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .zip(&settings)
        .map(|(plan, settings)| {
            let partitions = i32::try_from(plan.partitions).unwrap_or(i32::MAX);
            let copies = TopicReplication::Fixed(i32::from(wanted.replication));
            let topic = NewTopic::new(&plan.name, partitions, copies);
            settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
    let made = match admin.create_topics(&topics, &options).await {
        Ok(made) => made,
        Err(error) => return transient(&error),
    };
    for (outcome, plan) in made.into_iter().zip(missing) {
        match outcome {
            Ok(name) => tracing::info!(topic = name, partitions = plan.partitions, "a Kafka topic was made"),
            // Another node was quicker.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, RDKafkaErrorCode::InvalidReplicationFactor)) => {
                return Ok(Attempt::TooFewBrokers(name, brokers));
            }
            Err((topic, code)) if is_final(code) => {
                return Err(Error::Make { topic, reason: code.to_string(), wanted: plan.words(wanted) });
            }
            Err((topic, code)) => return Ok(Attempt::Again(format!("{topic}: {code}"))),
        }
    }
    // Looked at once more: they have to have leaders, and to be as wanted.
    Ok(Attempt::Again("they are being made".into()))
}

fn transient(error: &KafkaError) -> Result<Attempt, Error> {
    match error.rdkafka_error_code() {
        Some(code) if is_final(code) => Err(Error::Refused(code.to_string())),
        _ => Ok(Attempt::Again(error.to_string())),
    }
}

/// Whether trying again would come to the same.
fn is_final(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::InvalidConfig
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::InvalidPartitions
            | RDKafkaErrorCode::InvalidRequest
            | RDKafkaErrorCode::UnsupportedVersion
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted { replication: 3, min_in_sync: 2, max_message_bytes: 1_000_000 };

    fn plan() -> Plan {
        let options = KafkaOptions { partitions: 12, retention_hours: 24, ..KafkaOptions::default() };
        plans("parlor", &["router".to_owned()], 64, &options).remove(0)
    }

    fn there(changed: &[(&str, &str)]) -> There {
        let settings = plan().settings(WANTED).into_iter().map(|(key, value)| (key.to_owned(), value));
        let changed = changed.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        There { partitions: 12, replication: 3, settings: settings.chain(changed).collect() }
    }

    fn complaint(there: &There) -> String {
        plan().check(there, WANTED).unwrap_err().to_string()
    }

    #[test]
    fn what_is_made_fits_and_more_than_wanted_fits_too() {
        assert!(plan().check(&there(&[]), WANTED).is_ok());
        let more = [("retention.ms", "-1"), ("min.insync.replicas", "3"), ("max.message.bytes", "9000000")];
        assert!(plan().check(&There { partitions: 13, replication: 5, ..there(&more) }, WANTED).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_to_do() {
        let fewer = complaint(&There { partitions: 11, ..there(&[]) });
        assert!(fewer.contains("parlor.router has partitions: 11, and at least 12 is wanted"), "{fewer}");
        assert!(complaint(&There { replication: 2, ..there(&[]) }).contains("copies: 2"));
        for (key, value) in [
            ("min.insync.replicas", "1"),
            ("max.message.bytes", "999999"),
            ("retention.ms", "86399999"),
            ("cleanup.policy", "compact"),
        ] {
            let complaint = complaint(&there(&[(key, value)]));
            assert!(complaint.contains(&format!("{key} {value}")) && complaint.contains("--add-config"), "{complaint}");
        }
        assert!(complaint(&there(&[("min.insync.replicas", "4")])).contains("takes no records"));
    }

    #[test]
    fn the_bridge_has_a_partition_for_each_slot_and_forgets_soon() {
        let plans = plans("chat", &["router".to_owned(), "shout".to_owned()], 64, &KafkaOptions::default());
        let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        assert_eq!(names, ["chat.router", "chat.shout", "chat.dead-letter", "chat.bridge"]);
        assert_eq!((plans[3].partitions, plans[3].retention), (64, BRIDGE));
        assert!(plans[3].words(WANTED).contains("--partitions 64 --replication-factor 3"));
    }
}
