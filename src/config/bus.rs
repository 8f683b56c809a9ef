//! The settings of the embedded bus, `[bus]`: how much it holds, and when it lets go of its files.

use std::time::Duration;

use serde::Deserialize;

/// The smallest segment worth a file.
const MIN_SEGMENT_BYTES: u64 = 1024;
/// More partitions than this only cost memory: a node has far fewer cores.
const MAX_PARTITIONS: u32 = 1024;
/// A record's length must fit the journal's frame and one wait for room, with space to spare.
const LARGEST_RECORD_BYTES: usize = 1 << 30;

/// What is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bus.{key}: {detail}")]
pub struct Error {
    /// The key, without its section.
    pub key: &'static str,
    /// What it must be.
    pub detail: String,
}

/// How the embedded bus keeps its journal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusOptions {
    /// A journal file that has reached this size is closed and the next one begun. One batch may carry it past.
    pub segment_bytes: u64,
    /// How much the journal may take on disk before its oldest file is given back although a record in it is still
    /// unfinished: such records are copied to the end first. The journal may stand above this by the unfinished
    /// records themselves and by one file.
    pub journal_bytes: u64,
    /// How many bytes of records may be unfinished before whoever brings in a new message has to wait. They are also
    /// held in memory. What a stage makes of a record inside is let in above the bound, and counts.
    pub unfinished_bytes: usize,
    /// The largest record, key and payload together. A larger one is refused.
    pub max_record_bytes: usize,
    /// Parts of every topic: records of one key stay in order in one part. A changed number takes effect at the first
    /// start that finds nothing unfinished, as it would break that order.
    pub partitions: u32,
    /// How long a consumer's position may wait for the next batch before it is written without one. A crash within
    /// this time runs finished records again. Records too get a marker behind them after this time, by which a start
    /// tells damage to them from a write that a crash cut short.
    pub position_flush_millis: u64,
    /// A file of dead letters that would grow past this is kept as the one old file, and the old one before it goes.
    pub dead_letter_bytes: u64,
}

impl Default for BusOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            journal_bytes: 256 << 20,
            unfinished_bytes: 64 << 20,
            max_record_bytes: 12 << 20,
            partitions: 16,
            position_flush_millis: 200,
            dead_letter_bytes: 64 << 20,
        }
    }
}

impl BusOptions {
    /// How long a consumer's position may wait for the next batch.
    #[must_use]
    pub fn position_flush(&self) -> Duration {
        Duration::from_millis(self.position_flush_millis)
    }

    /// Whether the bus can work with these.
    ///
    /// # Errors
    /// The first key that cannot be.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |key, detail: String| Err(Error { key, detail });
        if self.segment_bytes < MIN_SEGMENT_BYTES {
            return refuse("segment_bytes", format!("must be at least {MIN_SEGMENT_BYTES}"));
        }
        if self.journal_bytes / 2 < self.segment_bytes {
            return refuse("journal_bytes", "must be at least twice bus.segment_bytes".into());
        }
        if !(1..=LARGEST_RECORD_BYTES).contains(&self.max_record_bytes) {
            return refuse("max_record_bytes", format!("must be between 1 and {LARGEST_RECORD_BYTES}"));
        }
        if self.unfinished_bytes < self.max_record_bytes || self.unfinished_bytes > tokio::sync::Semaphore::MAX_PERMITS
        {
            return refuse(
                "unfinished_bytes",
                "must be at least bus.max_record_bytes, or the largest record would wait for ever".into(),
            );
        }
        if !(1..=MAX_PARTITIONS).contains(&self.partitions) {
            return refuse("partitions", format!("must be between 1 and {MAX_PARTITIONS}"));
        }
        if self.position_flush_millis == 0 {
            return refuse("position_flush_millis", "must be at least 1".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_and_every_bad_key_is_named() {
        let good = BusOptions::default();
        assert_eq!(good.check(), Ok(()));
        let bad = [
            BusOptions { segment_bytes: 1023, ..good.clone() },
            BusOptions { journal_bytes: good.segment_bytes * 2 - 1, ..good.clone() },
            BusOptions { max_record_bytes: 0, ..good.clone() },
            BusOptions { unfinished_bytes: good.max_record_bytes - 1, ..good.clone() },
            BusOptions { partitions: 0, ..good.clone() },
            BusOptions { position_flush_millis: 0, ..good.clone() },
        ];
        let keys: Vec<_> = bad.iter().map(|options| options.check().unwrap_err().key).collect();
        assert_eq!(
            keys,
            [
                "segment_bytes",
                "journal_bytes",
                "max_record_bytes",
                "unfinished_bytes",
                "partitions",
                "position_flush_millis"
            ]
        );
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = serde_json::from_str::<BusOptions>(r#"{"partitons": 3}"#).unwrap_err();
        assert!(error.to_string().contains("partitons"), "{error}");
        assert_eq!(serde_json::from_str::<BusOptions>(r#"{"partitions": 3}"#).unwrap().partitions, 3);
    }
}
