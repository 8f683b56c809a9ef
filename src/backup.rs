//! A copy of a data folder while a server works on it, and the way back. All that was accepted before the copy began is in it.
//!
//! The order makes it so: first the journal, then the tables, then keys and sources. A message moves from the journal to the
//! tables and never back, so it is in one of the two copies; in both it is written once, because the router knows it by its uid.
//! A source of a script is there before a table names it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::accounts::keys;
use crate::clock::Clock;
use crate::pipeline::embedded::{self, EmbeddedBus};
use crate::script::sources;
use crate::store::{self, FILE_NAME, snapshot};

/// Says that a copy is whole, and what it is; written last.
const MANIFEST: &str = "backup.json";
/// How often the journal is begun anew because one of its files was given back meanwhile.
const ATTEMPTS: u32 = 100;

/// Why there is no copy, or no folder made of one. Nothing is left of the attempt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to copy.
    #[error("{0} is no data folder of Parlor: there is no {FILE_NAME} in it")]
    NoFolder(PathBuf),
    /// There is nothing to restore.
    #[error("{0} is no whole back-up: there is no {MANIFEST} in it, which is written last")]
    NoBackup(PathBuf),
    /// The place is taken.
    #[error("{0} is there already and not empty: name another folder")]
    Taken(PathBuf),
    /// The journal does not hold still.
    #[error("files of the journal were given back faster than they could be opened: try again")]
    Restless,
    /// A file cannot be read or written.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The tables cannot be copied, or the copy is not sound.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The copy of the journal could not be taken up.
    #[error(transparent)]
    Bus(#[from] embedded::Error),
}

/// What is in a copy.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Manifest {
    /// The program that made it.
    pub version: String,
    /// When it was begun: all that was accepted before is in it.
    pub begun_at: DateTime<Utc>,
    /// Files of the journal.
    pub journal_files: usize,
    /// Bytes of the tables.
    pub table_bytes: u64,
    /// Sources of scripts.
    pub sources: usize,
}

/// Copies the data folder `data` into `to`, which must not be there or be empty; a server may be at work on it.
///
/// # Errors
/// Each case of [`Error`].
pub async fn take(data: &Path, to: &Path, clock: &Clock) -> Result<Manifest, Error> {
    if !data.join(FILE_NAME).exists() {
        return Err(Error::NoFolder(data.into()));
    }
    let begun_at = clock.now();
    let work = Work::begin(to)?;
    let journal_files = copy_journal(&data.join(embedded::FOLDER_NAME), &work.folder.join(embedded::FOLDER_NAME))?;
    snapshot::take(data, &work.folder).await?;
    copy_if_there(&data.join(keys::FILE_NAME), &work.folder.join(keys::FILE_NAME))?;
    let sources = copy_tree(&data.join(sources::FOLDER_NAME), &work.folder.join(sources::FOLDER_NAME))?;
    let table_bytes = fs::metadata(work.folder.join(FILE_NAME)).map_err(io("read", &work.folder))?.len();
    check(&work.folder).await?;
    let version = crate::version::LONG.to_owned();
    let manifest = Manifest { version, begun_at, journal_files, table_bytes, sources };
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    let path = work.folder.join(MANIFEST);
    fs::write(&path, text).map_err(io("write", &path))?;
    sync(&path)?;
    work.done()?;
    Ok(manifest)
}

/// Makes a data folder of a copy; `data` must not be there or be empty.
///
/// # Errors
/// Each case of [`Error`].
pub async fn restore(from: &Path, data: &Path) -> Result<Manifest, Error> {
    let manifest = fs::read(from.join(MANIFEST)).map_err(|_| Error::NoBackup(from.into()))?;
    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|_| Error::NoBackup(from.into()))?;
    let work = Work::begin(data)?;
    copy_tree(from, &work.folder)?;
    let path = work.folder.join(MANIFEST);
    fs::remove_file(&path).map_err(io("remove", &path))?;
    check(&work.folder).await?;
    work.done()?;
    Ok(manifest)
}

/// Whether a server could take the copy up.
async fn check(folder: &Path) -> Result<(), Error> {
    snapshot::check(folder).await?;
    Ok(EmbeddedBus::check(&folder.join(embedded::FOLDER_NAME))?)
}

/// A folder beside the wanted one, which takes its name when all is in it and on the disk; dropped before, it goes.
struct Work {
    folder: PathBuf,
    wanted: PathBuf,
    done: bool,
}

impl Work {
    fn begin(wanted: &Path) -> Result<Self, Error> {
        let taken = match fs::read_dir(wanted) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(source) => return Err(Error::Io { what: "use", path: wanted.into(), source }),
        };
        let name = wanted.file_name().map(|name| name.to_string_lossy().into_owned());
        let (Some(name), false) = (name, taken) else { return Err(Error::Taken(wanted.into())) };
        let folder = wanted.with_file_name(format!(".{name}.{}", std::process::id()));
        make(&folder)?;
        Ok(Self { folder, wanted: wanted.into(), done: false })
    }

    fn done(mut self) -> Result<(), Error> {
        sync(&self.folder)?;
        // An empty folder gives way to another.
        fs::rename(&self.folder, &self.wanted).map_err(io("make", &self.wanted))?;
        self.done = true;
        match self.wanted.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => sync(parent),
            None => sync(Path::new(".")),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.done {
            // What cannot be removed is in nobody's way: its name begins with a dot.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Copies the journal's files as they are now; returns how many. The server may append to the last one, begin another, and give
/// back the oldest, whose unfinished records it has put at the end before.
fn copy_journal(from: &Path, to: &Path) -> Result<usize, Error> {
    make(to)?;
    if !from.exists() {
        return Ok(0);
    }
    for _ in 0..ATTEMPTS {
        let names = journal(from)?;
        // An open file keeps what is in it, whoever removes it.
        let opened: io::Result<Vec<File>> = names.iter().map(|name| File::open(from.join(name))).collect();
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::Io { what: "read", path: from.into(), source }),
        };
        // If one went meanwhile, what it held unfinished may stand in one that was not listed.
        if journal(from)?.first() != names.first() {
            continue;
        }
        for (name, mut file) in names.iter().zip(opened) {
            let path = to.join(name);
            let mut copy = File::create(&path).map_err(io("write", &path))?;
            io::copy(&mut file, &mut copy).map_err(io("copy", &path))?;
            copy.sync_all().map_err(io("sync", &path))?;
        }
        for entry in fs::read_dir(from).map_err(io("list", from))? {
            let name = entry.map_err(io("list", from))?.file_name();
            if name.to_string_lossy().starts_with("dead-letter") {
                copy_if_there(&from.join(&name), &to.join(&name))?;
            }
        }
        sync(to)?;
        return Ok(names.len());
    }
    Err(Error::Restless)
}

/// The names of the journal's files, the oldest first.
fn journal(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io("list", folder))? {
        let name = entry.map_err(io("list", folder))?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".log") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Copies all files below a folder, if it is there; returns how many.
fn copy_tree(from: &Path, to: &Path) -> Result<usize, Error> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(io("list", from))?,
    };
    make(to)?;
    let mut files = 0;
    for entry in entries {
        let entry = entry.map_err(io("list", from))?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(io("read", &path))?.is_dir() {
            files += copy_tree(&path, &copy)?;
        } else {
            files += usize::from(copy_if_there(&path, &copy)?);
        }
    }
    sync(to)?;
    Ok(files)
}

/// Copies a file with its rights (keys that others can read stop a start), durably. A file that went away is left out: it had a name
/// for a moment only.
fn copy_if_there(from: &Path, to: &Path) -> Result<bool, Error> {
    match fs::copy(from, to) {
        Ok(_) => sync(to).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Io { what: "copy", path: from.into(), source }),
    }
}

fn make(folder: &Path) -> Result<(), Error> {
    store::make_folder(folder).map_err(io("make", folder))
}

fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(io("sync", path))
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { what, path, source }
}

#[cfg(test)]
mod tests;
