//! Where sources lie: an object store, each under its hash.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreExt as _, RetryConfig};
use url::Url;

use super::call::SourceHash;
use crate::store::make_folder;

/// The folder in the data folder.
pub const FOLDER_NAME: &str = "scripts";
/// No object of ours is larger: `scripts.max_source_bytes` cannot be more.
const LARGEST: u64 = 1024 * 1024;
/// How long one request to a store on the network may take, and how long the connection.
const REQUEST: &str = "5 seconds";
const CONNECT: &str = "2 seconds";
/// Requests that fail in passing are sent again so often, and for so long.
const RETRIES: usize = 4;
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long anything may take, credentials that have to be fetched first included.
const PATIENCE: Duration = Duration::from_secs(15);

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The setting names no store that can be used.
    #[error("settings: object_store_url: {0}")]
    Url(String),
    /// The folder cannot be made.
    #[error("the folder of scripts {path} cannot be used: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store does not answer, or says no.
    #[error("the object store: {0}")]
    Store(#[from] object_store::Error),
    /// It took too long.
    #[error("the object store did not answer within {} s", PATIENCE.as_secs())]
    Late,
    /// What lies there is not what was put there.
    #[error("the source {0} is damaged in the object store")]
    Damaged(SourceHash),
    /// It is not there.
    #[error("the source {0} is not in the object store")]
    Missing(SourceHash),
}

/// The sources of all scripts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sources {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
}

impl Sources {
    /// Opens the store that `url` names (`gs://bucket/prefix`, `s3://bucket/prefix`, `file:///folder`); without one,
    /// the folder `scripts` in the data folder. Credentials and endpoints are `AWS_…` and `GOOGLE_…` of the environment,
    /// which is read here and nowhere else.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Folder`].
    pub fn open(url: Option<&str>, data: &Path) -> Result<Self, Error> {
        // A variable that is not UTF-8 is none of these.
        let variables =
            std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
        Self::open_with(url, data, variables)
    }

    /// As [`Sources::open`], in another environment.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(
        url: Option<&str>,
        data: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let Some(url) = url else { return Self::folder(&data.join(FOLDER_NAME)) };
        let allowed = "must be gs://BUCKET/PREFIX, s3://BUCKET/PREFIX or file:///FOLDER";
        let url = Url::parse(url).map_err(|error| Error::Url(format!("{allowed}: {error}")))?;
        if url.scheme() == "file" {
            let folder = url.to_file_path().map_err(|()| Error::Url(allowed.to_owned()))?;
            return Self::folder(&folder);
        }
        if !url.has_host() {
            return Err(Error::Url(format!("{allowed}: there is no bucket")));
        }
        let prefix = Key::from_url_path(url.path()).map_err(|error| Error::Url(error.to_string()))?;
        let refuse = |error: object_store::Error| Error::Url(error.to_string());
        let store: Arc<dyn ObjectStore> = match url.scheme() {
            "s3" => Arc::new(s3(&url, environment).build().map_err(refuse)?),
            "gs" => Arc::new(gcs(&url, environment).build().map_err(refuse)?),
            other => return Err(Error::Url(format!("{allowed}, not {other}://"))),
        };
        Ok(Self { store, prefix })
    }

    fn folder(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::Folder { path: path.to_owned(), source };
        make_folder(path).map_err(fail)?;
        // The entry of the folder itself must not be lost either.
        if let Some(parent) = path.parent() {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(fail)?;
        }
        // By default a file is only handed to the kernel: what was activated could be gone after a power cut.
        let store = LocalFileSystem::new_with_prefix(path)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), prefix: Key::default() })
    }

    /// Puts a source there, durably; to do it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Late`].
    pub async fn put(&self, source: &str) -> Result<SourceHash, Error> {
        let hash = SourceHash::of(source);
        let bytes = source.as_bytes().to_vec();
        let (key, putting) = (self.key(hash), &self.store);
        in_time(async { Ok(putting.put(&key, bytes.into()).await?) }).await?;
        Ok(hash)
    }

    /// Reads a source, and sees that it is the one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, hash: SourceHash) -> Result<Arc<str>, Error> {
        let key = self.key(hash);
        let read = in_time(async {
            let found = self.store.get(&key).await?;
            if found.meta.size > LARGEST {
                return Err(Error::Damaged(hash));
            }
            Ok(found.bytes().await?)
        });
        let bytes = read.await.map_err(|error| match error {
            Error::Store(object_store::Error::NotFound { .. }) => Error::Missing(hash),
            other => other,
        })?;
        match std::str::from_utf8(&bytes) {
            Ok(source) if SourceHash::of(source) == hash => Ok(source.into()),
            _ => Err(Error::Damaged(hash)),
        }
    }

    /// `PREFIX/ab/abcdef….luau`: no folder gets too many files.
    fn key(&self, hash: SourceHash) -> Key {
        let name = hash.to_string();
        let shard = name.get(..2).unwrap_or_default().to_owned();
        self.prefix.clone().join(shard).join(format!("{name}.luau"))
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(Error::Late))
}

fn retries() -> RetryConfig {
    let (init_backoff, max_backoff) = (Duration::from_millis(100), Duration::from_secs(2));
    let backoff = BackoffConfig { init_backoff, max_backoff, base: 2.0 };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT }
}

/// Only variables with the prefix: the crate would take `TIMEOUT` or `REGION` of somebody else, too.
fn options<K: std::str::FromStr>(
    environment: impl IntoIterator<Item = (String, String)>,
    prefix: &str,
) -> impl Iterator<Item = (K, String)> {
    let of_store = move |(name, value): (String, String)| {
        let key = name.starts_with(prefix).then(|| name.to_ascii_lowercase().parse().ok())??;
        Some((key, value))
    };
    environment.into_iter().filter_map(of_store)
}

fn s3(url: &Url, environment: impl IntoIterator<Item = (String, String)>) -> AmazonS3Builder {
    let builder = AmazonS3Builder::new().with_url(url.as_str()).with_retry(retries());
    let set = |builder: AmazonS3Builder, (key, value)| builder.with_config(key, value);
    options(environment, "AWS_")
        .fold(builder, set)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::ConnectTimeout), CONNECT)
}

fn gcs(url: &Url, environment: impl IntoIterator<Item = (String, String)>) -> GoogleCloudStorageBuilder {
    let builder = GoogleCloudStorageBuilder::new().with_url(url.as_str()).with_retry(retries());
    let set = |builder: GoogleCloudStorageBuilder, (key, value)| builder.with_config(key, value);
    options(environment, "GOOGLE_")
        .fold(builder, set)
        .with_config(GoogleConfigKey::Client(ClientConfigKey::Timeout), REQUEST)
        .with_config(GoogleConfigKey::Client(ClientConfigKey::ConnectTimeout), CONNECT)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const SOURCE: &str = "function incoming(message) return { action = \"FORWARD\" } end -- é\n";

    #[tokio::test]
    async fn a_source_comes_back_and_its_folder_is_its_owners_only() {
        let data = tempfile::tempdir().unwrap();
        let sources = Sources::open(None, data.path()).unwrap();
        let hash = sources.put(SOURCE).await.unwrap();
        assert_eq!(hash, sources.put(SOURCE).await.unwrap());
        assert_eq!(&*sources.get(hash).await.unwrap(), SOURCE);
        let folder = data.path().join(FOLDER_NAME);
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let file = folder.join(&hash.to_string()[..2]).join(format!("{hash}.luau"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), SOURCE);
        // And it is there when the store is opened anew, by its URL too.
        let again = Sources::open(Some(&format!("file://{}", folder.display())), Path::new("/nowhere")).unwrap();
        assert_eq!(&*again.get(hash).await.unwrap(), SOURCE);
    }

    #[tokio::test]
    async fn what_is_not_the_source_is_never_handed_out() {
        let data = tempfile::tempdir().unwrap();
        let sources = Sources::open(None, data.path()).unwrap();
        let hash = SourceHash::of(SOURCE);
        assert!(matches!(sources.get(hash).await, Err(Error::Missing(missing)) if missing == hash));
        sources.put(SOURCE).await.unwrap();
        let file = data.path().join(FOLDER_NAME).join(&hash.to_string()[..2]).join(format!("{hash}.luau"));
        let large = vec![b' '; usize::try_from(LARGEST).unwrap() + 1];
        for damaged in [&b""[..], &SOURCE.as_bytes()[1..], b"\xff", &large] {
            std::fs::write(&file, damaged).unwrap();
            assert!(matches!(sources.get(hash).await, Err(Error::Damaged(damaged)) if damaged == hash));
        }
        sources.put(SOURCE).await.unwrap();
        assert_eq!(&*sources.get(hash).await.unwrap(), SOURCE, "putting it again repairs it");
    }

    #[test]
    fn a_url_that_names_no_store_is_refused_with_what_is_allowed() {
        let data = tempfile::tempdir().unwrap();
        for url in [
            "",
            "scripts",
            "ftp://host/x",
            "http://host/x",
            "memory:///",
            "s3://",
            "s3:///x",
            "gs:bucket",
            "file://host/x",
        ] {
            let refused = Sources::open_with(Some(url), data.path(), []).unwrap_err().to_string();
            assert!(refused.starts_with("settings: object_store_url: "), "{url}: {refused}");
            assert!(refused.contains("s3://BUCKET"), "{url}: {refused}");
        }
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let key = r#"{"private_key": "p", "private_key_id": "i", "client_email": "e", "disable_oauth": true}"#;
        let environment = [
            variable("AWS_ACCESS_KEY_ID", "a"),
            variable("AWS_SECRET_ACCESS_KEY", "b"),
            // Of somebody else: taken for a setting of the store, it would be refused.
            variable("TIMEOUT", "never"),
            variable("GOOGLE_SERVICE_ACCOUNT_KEY", key),
        ];
        for url in ["s3://bucket", "s3://bucket/a/b", "gs://bucket/a"] {
            assert!(Sources::open_with(Some(url), data.path(), environment.clone()).is_ok(), "{url}");
        }
    }
}
