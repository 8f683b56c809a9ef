//! The journal's files: appending, rolling over, giving back. Used by the journal's thread alone.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::segment::{self, Marker};
use crate::pipeline::bus::Topic;

/// Where a segment that is being begun stands until its head is on the disk, so that every `.log` file has one.
const UNFINISHED: &str = "log.new";

/// Why an append did not happen.
#[derive(Debug)]
pub(super) enum Fault {
    /// The disk did not take it; nothing of it was kept, and the next attempt may succeed.
    Refused(io::Error),
    /// Nobody knows what is on the disk. Linux marks pages clean after a failed sync, so a second one proves nothing.
    Broken(&'static str, io::Error),
}

/// Which offsets of which partitions stand in a segment: the first, and the one after the last.
pub(super) type Extent = HashMap<(Topic, u32), (u64, u64)>;

/// Notes that a record stands in a segment.
pub(super) fn extend(extent: &mut Extent, topic: &Topic, partition: u32, offset: u64) {
    let (first, end) = extent.entry((topic.clone(), partition)).or_insert((offset, offset));
    *first = offset.min(*first);
    *end = (offset + 1).max(*end);
}

/// A segment that is written no more.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) number: u64,
    pub(super) bytes: u64,
    pub(super) extent: Extent,
}

/// The segment at the end.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) file: File,
    pub(super) length: u64,
    /// How much of it is known to be on the disk.
    pub(super) durable: u64,
    /// Whether a batch has been written: a segment that has only a head is never closed.
    pub(super) used: bool,
    pub(super) extent: Extent,
}

/// All segments.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) folder: PathBuf,
    pub(super) active: Active,
    /// The oldest first, no number missing.
    pub(super) sealed: VecDeque<Sealed>,
}

/// The file of a segment.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.log"))
}

/// Makes the folder's list of files durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Begins a segment with this head, durably.
pub(super) fn begin(folder: &Path, number: u64, head: &[u8]) -> Result<Active, Fault> {
    let (path, unfinished) = (path(folder, number), path(folder, number).with_extension(UNFINISHED));
    let write = || -> io::Result<File> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
        file.write_all_at(head, 0)?;
        Ok(file)
    };
    let file = write().map_err(|error| forget(&unfinished, error))?;
    file.sync_all().map_err(|error| Fault::Broken("sync a new segment", error))?;
    std::fs::rename(&unfinished, &path).map_err(|error| forget(&unfinished, error))?;
    sync_folder(folder).map_err(|error| Fault::Broken("sync the folder of", error))?;
    let length = head.len() as u64;
    Ok(Active { number, file, length, durable: length, used: false, extent: Extent::new() })
}

/// Whether the file is one that [`begin`] was writing when the process ended.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.ends_with(UNFINISHED)
}

fn forget(unfinished: &Path, error: io::Error) -> Fault {
    // What cannot be removed now is removed at the next start.
    let _ = std::fs::remove_file(unfinished);
    Fault::Refused(error)
}

impl Log {
    /// The bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.sealed.iter().map(|sealed| sealed.bytes).sum::<u64>() + self.active.length
    }

    pub(super) fn segments(&self) -> u64 {
        self.sealed.len() as u64 + 1
    }

    /// The file written to, for messages.
    pub(super) fn path(&self) -> PathBuf {
        path(&self.folder, self.active.number)
    }

    /// Closes the active segment and begins the next one with `head`.
    pub(super) fn roll(&mut self, head: &[u8]) -> Result<(), Fault> {
        // Damage in a segment that is not the last is never taken for a torn tail, so nothing unsynced may stay there.
        self.sync()?;
        let next = begin(&self.folder, self.active.number + 1, head)?;
        let Active { number, length: bytes, extent, .. } = std::mem::replace(&mut self.active, next);
        self.sealed.push_back(Sealed { number, bytes, extent });
        Ok(())
    }

    /// Writes a batch whose first [`segment::MARKER_BYTES`] are left free for the marker.
    pub(super) fn append(&mut self, batch: &mut [u8]) -> Result<(), Fault> {
        let Active { number, ref file, length, durable, .. } = self.active;
        segment::put_marker(batch, Marker { number, position: length, durable });
        if let Err(error) = file.write_all_at(batch, length) {
            // What was refused must never come back, so the cut is made durable before anybody is told.
            file.set_len(length).map_err(|error| Fault::Broken("cut a failed write off", error))?;
            file.sync_data().map_err(|error| Fault::Broken("sync", error))?;
            self.active.durable = length;
            return Err(Fault::Refused(error));
        }
        self.active.length += batch.len() as u64;
        self.active.used = true;
        Ok(())
    }

    /// Whether the disk says that so many bytes are free; true if it does not say.
    pub(super) fn has_space_for(&self, bytes: usize) -> bool {
        let Ok(disk) = rustix::fs::fstatvfs(&self.active.file) else { return true };
        disk.f_bavail.saturating_mul(disk.f_frsize) >= bytes as u64
    }

    /// Makes all that was written durable.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        if self.active.durable < self.active.length {
            self.active.file.sync_data().map_err(|error| Fault::Broken("sync", error))?;
            self.active.durable = self.active.length;
        }
        Ok(())
    }

    /// Deletes the oldest segment. One at a time and made durable, so that a crash leaves no gap between those left.
    pub(super) fn delete_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.sealed.front() else { return Ok(()) };
        match std::fs::remove_file(path(&self.folder, oldest.number)) {
            Ok(()) => {}
            // A former attempt came this far and failed to make it durable.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        sync_folder(&self.folder)?;
        self.sealed.pop_front();
        Ok(())
    }
}
