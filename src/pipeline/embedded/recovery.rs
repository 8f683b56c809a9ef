//! Reads the journal at start: what is not finished is queued again, a torn tail is cut off, and damage to what was
//! once acknowledged refuses the start.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::Error;
use super::log::{self, Active, Extent, Log, Sealed};
use super::segment::{self, Frame, Head, Marker, Stored};
use super::state::{Held, Part, State};
use crate::pipeline::bus::{Room, Topic};
use crate::pipeline::room::Ledger;

/// The journal as it was found, ready to be written on.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) log: Log,
    pub(super) state: State,
    /// Whether the next batch has to begin a segment: the active one was begun under other settings.
    pub(super) roll: bool,
}

/// What the segments say about a partition.
#[derive(Debug, Default)]
struct Found {
    next: u64,
    committed: u64,
    records: BTreeMap<u64, (Bytes, Bytes)>,
}

/// All partitions, as far as the segments have been read.
type Partitions = HashMap<Topic, BTreeMap<u32, Found>>;

/// Reads the journal in `folder`, or begins one.
pub(super) fn recover(folder: &Path, partitions: u32, ledger: &Arc<Ledger>) -> Result<Recovered, Error> {
    let numbers = list(folder)?;
    let Some((&last, earlier)) = numbers.split_last() else {
        let active = first_segment(folder, partitions)?;
        let log = Log { folder: folder.into(), active, sealed: VecDeque::new() };
        return Ok(Recovered { log, state: State::new(partitions, HashMap::new()), roll: false });
    };
    let mut found = Partitions::new();
    let mut sealed = VecDeque::new();
    for &number in earlier {
        let mut reading = Reading::open(folder, number)?;
        // Each segment was on the disk, whole, before the next one was begun.
        if let Err(Damage { byte, detail }) = reading.read(&mut found) {
            return Err(Error::corrupt(reading.path, byte, detail));
        }
        let Reading { content, extent, .. } = reading;
        sealed.push_back(Sealed { number, bytes: content.len() as u64, extent });
    }
    let mut reading = Reading::open(folder, last)?;
    let end = match reading.read(&mut found) {
        Ok(()) => reading.content.len(),
        Err(damage) => reading.torn(&damage)?,
    };
    check_gaps(folder, &numbers, &found)?;
    let active = reopen(folder, last, end as u64, std::mem::take(&mut reading.extent))?;
    let unfinished = found.values().flat_map(BTreeMap::values).any(|part| !part.records.is_empty());
    let changed = reading.head.partitions != partitions;
    if changed && unfinished {
        tracing::warn!(
            configured = partitions,
            in_use = reading.head.partitions,
            "bus.partitions takes effect at a start that finds nothing unfinished"
        );
    }
    let in_use = if unfinished { reading.head.partitions } else { partitions };
    let state = State::new(in_use, hold(found, ledger));
    let log = Log { folder: folder.into(), active, sealed };
    Ok(Recovered { log, state, roll: changed && !unfinished })
}

/// The segments of the folder, oldest first; removes what was never begun.
fn list(folder: &Path) -> Result<Vec<u64>, Error> {
    let unreadable = |source| Error::io("list", folder, source);
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if log::is_unfinished(&name) {
            std::fs::remove_file(entry.path()).map_err(|source| Error::io("remove", &entry.path(), source))?;
        } else if let Some(number) = name.strip_suffix(".log").filter(|stem| stem.len() == 20) {
            numbers.extend(number.parse::<u64>().ok());
        }
    }
    numbers.sort_unstable();
    if let Some(gap) = numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        return Err(Error::corrupt(log::path(folder, gap[0] + 1), 0, "the file is missing"));
    }
    Ok(numbers)
}

fn first_segment(folder: &Path, partitions: u32) -> Result<Active, Error> {
    let mut head = Vec::new();
    Frame::Head(Head { version: segment::VERSION, number: 1, partitions, marks: 0 }).encode(&mut head);
    log::begin(folder, 1, &head).map_err(|fault| match fault {
        log::Fault::Refused(source) => Error::io("begin", &log::path(folder, 1), source),
        log::Fault::Broken(what, source) => Error::io(what, &log::path(folder, 1), source),
    })
}

/// Opens the last segment for writing behind `end`, durably: a process that was killed may have left what the page
/// cache has and the disk has not, and it is about to be handed out.
fn reopen(folder: &Path, number: u64, end: u64, extent: Extent) -> Result<Active, Error> {
    let path = log::path(folder, number);
    let open = || -> io::Result<File> {
        let file = File::options().read(true).write(true).open(&path)?;
        file.set_len(end)?;
        file.sync_all()?;
        log::sync_folder(folder)?;
        Ok(file)
    };
    let file = open().map_err(|source| Error::io("open", &path, source))?;
    Ok(Active { number, file, length: end, durable: end, used: true, extent })
}

/// Every offset between what is finished and the end must have been found: else a file was taken away.
fn check_gaps(folder: &Path, numbers: &[u64], found: &Partitions) -> Result<(), Error> {
    for (topic, parts) in found {
        for (partition, part) in parts {
            let expected = part.next.checked_sub(part.committed);
            if expected != Some(part.records.len() as u64) {
                let detail = format!(
                    "{topic}[{partition}] should hold the records {} to {}, and has {} of them; an older file was \
                     removed",
                    part.committed,
                    part.next,
                    part.records.len()
                );
                return Err(Error::corrupt(log::path(folder, numbers.first().copied().unwrap_or(1)), 0, &detail));
            }
        }
    }
    Ok(())
}

fn hold(found: Partitions, ledger: &Arc<Ledger>) -> HashMap<Topic, BTreeMap<u32, Part>> {
    let hold_one = |(_, (key, payload)): (u64, (Bytes, Bytes))| {
        let charge = ledger.enter(Room(None), key.len() + payload.len());
        Held { key, payload, _charge: charge }
    };
    let hold_part = |(partition, part): (u32, Found)| {
        let Found { committed, records, .. } = part;
        let records = records.into_iter().map(hold_one).collect();
        (partition, Part { committed, written: committed, records, cursor: committed })
    };
    found.into_iter().map(|(topic, parts)| (topic, parts.into_iter().map(hold_part).collect())).collect()
}

/// One segment being read.
struct Reading {
    path: PathBuf,
    number: u64,
    content: Vec<u8>,
    head: Head,
    /// Where the first batch begins, once the head has been read.
    body: usize,
    extent: Extent,
}

/// Where a segment cannot be read any further.
struct Damage {
    byte: usize,
    detail: &'static str,
}

impl Reading {
    fn open(folder: &Path, number: u64) -> Result<Self, Error> {
        let path = log::path(folder, number);
        let mut content = Vec::new();
        File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut content))
            .map_err(|source| Error::io("read", &path, source))?;
        let head = match Frame::decode(&content) {
            Ok((Frame::Head(head), _)) if head.version != segment::VERSION => {
                return Err(Error::Version { file: path, found: head.version });
            }
            Ok((Frame::Head(head), _)) if head.number == number => head,
            Ok(_) => return Err(Error::corrupt(path, 0, "it begins with another file's head, or none")),
            Err(detail) => return Err(Error::corrupt(path, 0, detail)),
        };
        Ok(Self { path, number, content, head, body: 0, extent: Extent::new() })
    }

    /// Adds what the segment holds to `found`; where it cannot be read any further, says where and why.
    fn read(&mut self, found: &mut Partitions) -> Result<(), Damage> {
        let mut at = 0;
        let mut marks = self.head.marks;
        while at < self.content.len() {
            let damage = |detail| Damage { byte: at, detail };
            let (frame, length) = Frame::decode(&self.content[at..]).map_err(damage)?;
            match frame {
                Frame::Head(_) if at == 0 => {}
                Frame::Mark(mark) if marks > 0 => {
                    marks -= 1;
                    let part = part(found, mark.topic, mark.partition);
                    part.next = part.next.max(mark.next);
                    part.finish(mark.committed);
                }
                Frame::Batch(Marker { number, position, .. })
                    if marks == 0 && number == self.number && position == at as u64 => {}
                Frame::Record(record) if marks == 0 => {
                    log::extend(&mut self.extent, &record.topic.into(), record.partition, record.offset);
                    part(found, record.topic, record.partition).add(&record);
                }
                Frame::Position(position) if marks == 0 => {
                    part(found, position.topic, position.partition).finish(position.next);
                }
                _ => return Err(damage("a frame out of its place")),
            }
            at += length;
            if marks == 0 && self.body == 0 {
                self.body = at;
            }
        }
        if marks > 0 { Err(Damage { byte: at, detail: "the file ends within its head" }) } else { Ok(()) }
    }

    /// Decides whether the damage at the end of the last segment is the trace of a write that a crash cut short: the
    /// length of what is sound. Such a write was never acknowledged.
    fn torn(&self, damage: &Damage) -> Result<usize, Error> {
        // The head was on the disk before the file had its name.
        let lost = damage.byte < self.body || self.body == 0;
        if lost || segment::proof_of_loss(&self.content, self.number, damage.byte).is_some() {
            return Err(Error::corrupt(self.path.clone(), damage.byte, damage.detail));
        }
        tracing::warn!(
            file = %self.path.display(),
            byte = damage.byte,
            cut_bytes = self.content.len() - damage.byte,
            reason = damage.detail,
            "cut off what a crash left half written; it was never acknowledged"
        );
        Ok(damage.byte)
    }
}

fn part<'a>(found: &'a mut Partitions, topic: &str, partition: u32) -> &'a mut Found {
    found.entry(topic.into()).or_default().entry(partition).or_default()
}

impl Found {
    fn add(&mut self, record: &Stored<'_>) {
        self.next = self.next.max(record.offset.saturating_add(1));
        // A record that was copied forward may stand behind later ones, and twice.
        if record.offset >= self.committed {
            let copy = (Bytes::copy_from_slice(record.key), Bytes::copy_from_slice(record.payload));
            self.records.insert(record.offset, copy);
        }
    }

    fn finish(&mut self, next: u64) {
        if next > self.committed {
            self.committed = next;
            self.records = self.records.split_off(&next);
        }
    }
}
