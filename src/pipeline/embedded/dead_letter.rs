//! The file of records put aside, `dead-letter.jsonl`: one JSON object a line, synced, with one old file kept.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::log::sync_folder;
use crate::pipeline::bus::Record;

/// Written to.
pub(super) const FILE_NAME: &str = "dead-letter.jsonl";
/// The one before it.
pub(super) const OLD_FILE_NAME: &str = "dead-letter.old.jsonl";

/// A line of the file. Bytes that are not UTF-8 go under the other name in base64.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    at: String,
    topic: &'a str,
    partition: u32,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// The line for a record.
pub(super) fn line(at: DateTime<Utc>, record: &Record, reason: &str) -> Result<Vec<u8>, serde_json::Error> {
    let (key, key_base64) = text(&record.key);
    let (payload, payload_base64) = text(&record.payload);
    let mut line = serde_json::to_vec(&Line {
        at: at.to_rfc3339_opts(SecondsFormat::Millis, true),
        topic: &record.place.topic.0,
        partition: record.place.partition.0,
        offset: record.place.offset.0,
        key,
        key_base64,
        reason,
        payload,
        payload_base64,
    })?;
    line.push(b'\n');
    Ok(line)
}

fn text(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(BASE64.encode(bytes))),
    }
}

/// The file, open. Used by the journal's thread alone.
#[derive(Debug)]
pub(super) struct DeadLetters {
    folder: PathBuf,
    file: File,
    length: u64,
    limit: u64,
}

impl DeadLetters {
    /// Opens the file, makes it if there is none, and cuts off a line that a crash left half written.
    pub(super) fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        let path = folder.join(FILE_NAME);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        let length = whole_lines(&file)?;
        file.set_len(length)?;
        sync_folder(folder)?;
        Ok(Self { folder: folder.into(), file, length, limit })
    }

    /// Appends lines durably, all or none of them.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.length > 0 && self.length + lines.len() as u64 > self.limit {
            self.rotate()?;
        }
        let written = self.file.write_all_at(lines, self.length).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // The lines before these are durable; a retry writes these anew. Should the cut fail, it writes over them.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let (path, old) = (self.folder.join(FILE_NAME), self.folder.join(OLD_FILE_NAME));
        match std::fs::rename(&path, &old) {
            Ok(()) => {}
            // A former attempt came this far and could not make the new file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        tracing::warn!(kept = %old.display(), "began a new file of dead letters; the one before the last is gone");
        self.file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        self.length = 0;
        sync_folder(&self.folder)
    }
}

/// The length of the file up to the end of its last whole line.
fn whole_lines(file: &File) -> io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut end = file.metadata()?.len();
    let mut buffer = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        buffer.resize(usize::try_from(end - start).unwrap_or_default(), 0);
        file.read_exact_at(&mut buffer, start)?;
        if let Some(newline) = buffer.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
