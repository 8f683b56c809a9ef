//! The keys of access tokens: an ordered list, of which the first signs and all are good for checking.
//!
//! To rotate: put a new key in the second place on every node; when all have it, move it to the first; when the last
//! token of the old key is over (`access_seconds`), take the old key out.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};

use crate::config::secret::Secret;

/// The keys' file within the data folder.
pub const FILE_NAME: &str = "jwt-keys.json";
/// The shortest secret, in bytes: as long as the hash that HS256 makes of it (RFC 7518, section 3.2).
pub const MIN_SECRET_BYTES: usize = 32;
/// The longest key id, in characters.
const MAX_KID_CHARS: usize = 64;
/// The most keys: a rotation needs two.
const MAX_KEYS: usize = 16;
/// The largest keys' file, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The setting or file is not a list of keys. No secret is ever part of the reason.
    #[error("the keys of access tokens: {0}")]
    Invalid(String),
    /// Others could read the secrets.
    #[error("{} can be read by others than its owner (mode {mode:03o}): `chmod 600` it, and make new keys if \
             somebody else may have read it", path.display())]
    Exposed {
        /// The keys' file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The keys' file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The operating system gave no randomness to make keys of.
    #[error("no randomness to make keys of: {0}")]
    Randomness(String),
}

/// One key. Its `Debug` form shows the id only.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) signing: EncodingKey,
    pub(super) checking: DecodingKey,
}

/// The keys in their order, at least one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keys(Arc<[Key]>);

/// The keys' file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    keys: Vec<KeyEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    kid: String,
    secret: String,
}

impl Keys {
    /// Reads a setting: `kid:secret,kid:secret`, secrets in base64 (either alphabet, padded or not).
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn parse(setting: &Secret) -> Result<Self, Error> {
        let entries = setting.expose().split(',').enumerate().map(|(n, part)| {
            let (kid, secret) = part
                .trim()
                .split_once(':')
                .ok_or_else(|| Error::Invalid(format!("entry {} is not of the form kid:base64secret", n + 1)))?;
            Ok(KeyEntry { kid: kid.to_owned(), secret: secret.to_owned() })
        });
        Self::of(entries.collect::<Result<Vec<_>, _>>()?)
    }

    /// Reads the keys of a data folder; makes two the first time, one to sign and one to change to. When two processes
    /// do so at the same time, both end with the same keys.
    ///
    /// # Errors
    /// [`Error::Exposed`] when somebody else may read the file, [`Error::Invalid`], [`Error::Io`],
    /// [`Error::Randomness`].
    pub fn load_or_create(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE_NAME);
        match load(&path) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                create(folder, &path)?;
                load(&path)
            }
            done => done,
        }
    }

    /// The key that signs.
    pub(super) fn first(&self) -> Option<&Key> {
        self.0.first()
    }

    /// The key of that id.
    pub(super) fn find(&self, kid: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.kid == kid)
    }

    fn of(entries: Vec<KeyEntry>) -> Result<Self, Error> {
        if entries.is_empty() || entries.len() > MAX_KEYS {
            return Err(Error::Invalid(format!("there must be 1 to {MAX_KEYS} keys, not {}", entries.len())));
        }
        let mut seen = HashSet::new();
        let mut keys = Vec::with_capacity(entries.len());
        for (n, KeyEntry { kid, secret }) in entries.into_iter().enumerate() {
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if kid.is_empty() || kid.len() > MAX_KID_CHARS || !kid.chars().all(good) {
                // Not shown: it may be a secret in the wrong place.
                let n = n + 1;
                return Err(Error::Invalid(format!(
                    "the id of key {n} must be 1 to {MAX_KID_CHARS} letters, digits, '.', '_' or '-'"
                )));
            }
            if !seen.insert(kid.clone()) {
                return Err(Error::Invalid(format!("key id {kid:?} is there twice")));
            }
            let secret =
                decode(&secret).ok_or_else(|| Error::Invalid(format!("the secret of key {kid:?} is not base64")))?;
            if secret.len() < MIN_SECRET_BYTES {
                return Err(Error::Invalid(format!(
                    "the secret of key {kid:?} has {} bytes; it needs at least {MIN_SECRET_BYTES}",
                    secret.len()
                )));
            }
            let (signing, checking) = (EncodingKey::from_secret(&secret), DecodingKey::from_secret(&secret));
            keys.push(Key { kid, signing, checking });
        }
        Ok(Self(keys.into()))
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [alphabet::STANDARD, alphabet::URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text.trim()).ok())
}

fn load(path: &Path) -> Result<Keys, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    // Of the open file, not of the path: what is checked is what is read.
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(io)?;
    let KeysFile { keys } = serde_json::from_str(&text).map_err(|error| {
        // Only the place: serde's message may quote what it found.
        let (line, column) = (error.line(), error.column());
        Error::Invalid(format!("{} is not a keys' file (line {line}, column {column})", path.display()))
    })?;
    Keys::of(keys)
}

/// Writes the file whole under another name and then links it, so that nobody ever reads half of it and whoever comes
/// second leaves the first one's alone.
fn create(folder: &Path, path: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let keys = vec![fresh()?, fresh()?];
    let text = serde_json::to_vec_pretty(&KeysFile { keys }).map_err(|error| Error::Invalid(error.to_string()))?;
    let draft = folder.join(format!("{FILE_NAME}.{}", uuid::Uuid::new_v4()));
    let linked = write_draft(&draft, &text).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    });
    let removed = fs::remove_file(&draft);
    linked.and(removed).and_then(|()| File::open(folder)?.sync_all()).map_err(io)
}

fn write_draft(draft: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text)?;
    file.sync_all()
}

fn fresh() -> Result<KeyEntry, Error> {
    let mut secret = [0_u8; MIN_SECRET_BYTES];
    let mut kid = [0_u8; 6];
    for bytes in [secret.as_mut_slice(), kid.as_mut_slice()] {
        OsRng.try_fill_bytes(bytes).map_err(|error| Error::Randomness(error.to_string()))?;
    }
    let kid = kid.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(KeyEntry { kid, secret: STANDARD.encode(secret) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kids(keys: &Keys) -> Vec<&str> {
        keys.0.iter().map(|key| key.kid.as_str()).collect()
    }

    fn parse(setting: &str) -> Result<Keys, Error> {
        Keys::parse(&Secret::new(setting))
    }

    #[test]
    fn a_setting_names_keys_in_their_order() {
        let long = STANDARD.encode([0xff; 40]);
        let keys = parse(&format!("new:{}, old:{long}", "_-_-".repeat(11))).unwrap();
        assert_eq!(kids(&keys), ["new", "old"]);
        assert!(!format!("{keys:?}").contains("255"), "{keys:?}");
    }

    #[test]
    fn a_bad_setting_is_refused_without_showing_it() {
        let good = STANDARD.encode([7; 32]);
        let short = STANDARD.encode([7; 31]);
        for (setting, reason) in [
            (String::new(), "entry 1"),
            (good.clone(), "entry 1"),
            (format!(":{good}"), "id of key 1"),
            (format!("a b:{good}"), "id of key 1"),
            (format!("{}:{good}", "k".repeat(65)), "id of key 1"),
            (format!("a:{good},a:{good}"), "\"a\" is there twice"),
            (format!("a:{short}"), "31 bytes"),
            ("a:%%%".to_owned(), "not base64"),
        ] {
            let error = parse(&setting).unwrap_err().to_string();
            assert!(error.contains(reason), "{setting}: {error}");
            assert!(!error.contains(&good) && !error.contains(&short), "{error}");
        }
        assert!(parse(&format!("a:{good}")).is_ok());
    }

    #[test]
    fn a_data_folder_keeps_its_two_keys_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let made = Keys::load_or_create(folder.path()).unwrap();
        assert_eq!(made.0.len(), 2);
        assert_eq!(kids(&made), kids(&Keys::load_or_create(folder.path()).unwrap()));
        let path = folder.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Keys::load_or_create(folder.path()).unwrap_err();
        assert!(error.to_string().contains("mode 640"), "{error}");
    }

    #[test]
    fn two_that_make_keys_at_once_have_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        create(folder.path(), &path).unwrap();
        let first = load(&path).unwrap();
        create(folder.path(), &path).unwrap();
        assert_eq!(kids(&first), kids(&load(&path).unwrap()));
    }

    #[test]
    fn a_damaged_file_is_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        write_draft(&path, br#"{"keys": "c2VjcmV0"}"#).unwrap();
        let error = Keys::load_or_create(folder.path()).unwrap_err().to_string();
        assert!(error.contains(FILE_NAME) && error.contains("line 1") && !error.contains("c2Vj"), "{error}");
    }
}
