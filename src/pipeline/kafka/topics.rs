//! The topics: made at the start where they are missing, and held against the settings where they are there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{Health, Heard};
use crate::config::kafka::KafkaOptions;
use crate::pipeline::control::{AUTO_REPLY_CONFIG, SCRIPTS_CONFIG};

/// How long one question to the brokers may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How often, and with which pauses, it is looked whether new topics have come to be.
const LOOKS: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);
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
    /// There are fewer brokers than copies.
    #[error(
        "the Kafka topic {topic} is to have {wanted} copies, and there are {brokers} brokers: start more, or lower \
         kafka.replication and kafka.min_in_sync"
    )]
    TooFewBrokers {
        /// Which.
        topic: String,
        /// How many copies.
        wanted: u16,
        /// How many brokers there are.
        brokers: usize,
    },
    /// The brokers do not answer, or are not done.
    #[error("the Kafka brokers are not ready: {0}")]
    NotReady(String),
}

impl Error {
    /// Whether it may go away by itself.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::NotReady(_) | Self::TooFewBrokers { .. })
    }
}

/// A topic as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) partitions: u32,
    retention: Duration,
    segment: Option<Duration>,
}

/// All topics of a cluster with these stages. One may be named twice: as hosted here, and as part of the pipeline.
pub(super) fn plans(prefix: &str, stages: &[String], slots: u32, options: &KafkaOptions) -> Vec<Plan> {
    let lasting = |name: &String| Plan {
        name: format!("{prefix}.{name}"),
        partitions: options.partitions,
        retention: options.retention(),
        segment: None,
    };
    let control = [AUTO_REPLY_CONFIG, SCRIPTS_CONFIG].map(str::to_owned);
    let names: BTreeSet<&String> = stages.iter().chain(&control).collect();
    let mut plans: Vec<Plan> = names.into_iter().map(lasting).collect();
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

type Admin = AdminClient<Heard>;

/// Makes the topics that are missing and checks all of them.
///
/// # Errors
/// [`Error`] says what to do, and [`Error::passes`] whether to try again.
pub(super) async fn prepare(
    config: &ClientConfig,
    health: &Arc<Health>,
    plans: &[Plan],
    wanted: Wanted,
) -> Result<(), Error> {
    let admin = Admin::from_config_and_context(config, Heard(health.clone()));
    let admin = Arc::new(admin.map_err(|error| Error::Refused(error.to_string()))?);
    let (brokers, mut there) = look(&admin).await?;
    let missing: Vec<&Plan> = plans.iter().filter(|plan| !there.contains_key(&plan.name)).collect();
    if !missing.is_empty() {
        make(&admin, &missing, wanted, brokers).await?;
        let made = |there: &HashMap<String, There>| missing.iter().all(|plan| there.contains_key(&plan.name));
        // They have to be known to all, and to have leaders.
        for _ in 0..LOOKS {
            there = look(&admin).await?.1;
            if made(&there) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if !made(&there) {
            return Err(Error::NotReady("topics are being made".into()));
        }
    }
    let names: Vec<ResourceSpecifier<'_>> = plans.iter().map(|plan| ResourceSpecifier::Topic(&plan.name)).collect();
    let described = admin.describe_configs(&names, &AdminOptions::new().request_timeout(Some(ANSWER))).await;
    for (plan, described) in plans.iter().zip(described.map_err(|error| failure(&error))?) {
        let Some(mut topic) = there.remove(&plan.name) else { continue };
        match described {
            Ok(described) => topic.settings = settings(described),
            Err(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                tracing::warn!(topic = plan.name, "this user may not see the topic's settings: they are not checked");
            }
            Err(error) => return Err(Error::NotReady(format!("{}: {error}", plan.name))),
        }
        plan.check(&topic, wanted)?;
    }
    Ok(())
}

fn settings(described: ConfigResource) -> HashMap<String, String> {
    described.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

/// How many brokers there are, and which topics, each with a leader for every partition.
async fn look(admin: &Arc<Admin>) -> Result<(usize, HashMap<String, There>), Error> {
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
    looked.await.unwrap_or(Err(KafkaError::Canceled)).map_err(|error| failure(&error))
}

async fn make(admin: &Admin, missing: &[&Plan], wanted: Wanted, brokers: usize) -> Result<(), Error> {
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
    let made = admin.create_topics(&topics, &options).await.map_err(|error| failure(&error))?;
    for (outcome, plan) in made.into_iter().zip(missing) {
        match outcome {
            Ok(name) => tracing::info!(topic = name, partitions = plan.partitions, "a Kafka topic was made"),
            // Another node was quicker.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, RDKafkaErrorCode::InvalidReplicationFactor)) => {
                return Err(Error::TooFewBrokers { topic, wanted: wanted.replication, brokers });
            }
            Err((topic, code)) if is_final(code) => {
                return Err(Error::Make { topic, reason: code.to_string(), wanted: plan.words(wanted) });
            }
            Err((topic, code)) => return Err(Error::NotReady(format!("{topic}: {code}"))),
        }
    }
    Ok(())
}

fn failure(error: &KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(code) if is_final(code) => Error::Refused(code.to_string()),
        _ => Error::NotReady(error.to_string()),
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
        plans("parlor", &["router".to_owned()], 64, &options).remove(1)
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
        let plans =
            plans("chat", &["shout".to_owned(), "router".to_owned(), "shout".to_owned()], 64, &KafkaOptions::default());
        let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        let control = ["chat.auto-reply.config", "chat.router", "chat.scripts.config"];
        assert_eq!(names, [&control[..], &["chat.shout", "chat.dead-letter", "chat.bridge"]].concat());
        assert_eq!((plans[5].partitions, plans[5].retention), (64, BRIDGE));
        assert!(plans[5].words(WANTED).contains("--partitions 64 --replication-factor 3"));
    }
}
