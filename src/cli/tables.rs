//! Where a command finds the tables: a data folder, or the database of a cluster.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::config::secret::Secret;
use crate::store::migrations::Tables;
use crate::store::{self, Store};

/// Names the file that holds the URL, as for the server.
const URL_FILE: &str = "PARLOR_DATABASE_URL_FILE";

/// Which tables.
#[derive(Debug, Args)]
pub struct TablesArgs {
    /// The server's data folder
    #[arg(long = "data", value_name = "DIR", env = "PARLOR_DATA", default_value = "parlor-data")]
    folder: PathBuf,
    /// The Postgres database of a cluster, in place of a data folder. Every user of the machine can read a command line:
    /// rather set the variable, or PARLOR_DATABASE_URL_FILE to a file that holds the URL
    #[arg(
        long,
        value_name = "URL",
        env = "PARLOR_DATABASE_URL",
        hide_env_values = true,
        value_parser = |text: &str| Ok::<_, std::convert::Infallible>(Secret::new(text))
    )]
    database_url: Option<Secret>,
}

/// The tables that were meant.
#[derive(Debug)]
pub enum Place {
    /// Of a data folder.
    Folder(PathBuf),
    /// Of a cluster.
    Database(Secret),
}

impl TablesArgs {
    /// The database if one is named in any way, else the folder.
    ///
    /// # Errors
    /// When the file of the URL cannot be read.
    pub fn place(self) -> anyhow::Result<Place> {
        if let Some(url) = self.database_url.filter(|url| !url.expose().is_empty()) {
            return Ok(Place::Database(url));
        }
        if let Some(path) = std::env::var_os(URL_FILE).filter(|path| !path.is_empty()) {
            let text = std::fs::read_to_string(&path).with_context(|| format!("{URL_FILE}: cannot read {path:?}"))?;
            return Ok(Place::Database(Secret::new(text.trim_end_matches(['\r', '\n']))));
        }
        Ok(Place::Folder(self.folder))
    }

    /// The same for the tests.
    #[cfg(test)]
    pub(crate) fn folder(folder: PathBuf) -> Self {
        Self { folder, database_url: None }
    }
}

impl Place {
    /// In words, without a password.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Database(url) => {
                let host = url::Url::parse(url.expose()).ok();
                let host = host.as_ref().map(|url| (url.host_str().unwrap_or_default(), url.path().trim_matches('/')));
                match host {
                    Some((host, database)) => format!("the database {database:?} at {host}"),
                    None => "the database".to_owned(),
                }
            }
        }
    }

    /// For whoever looks at migrations.
    #[must_use]
    pub fn tables(&self) -> Tables<'_> {
        match self {
            Self::Folder(folder) => Tables::Folder(folder),
            Self::Database(url) => Tables::Database(url),
        }
    }

    /// Opens the tables and brings them up to date; a folder that is not there is made.
    ///
    /// # Errors
    /// What is wrong with them.
    pub async fn create(&self) -> anyhow::Result<Store> {
        if let Self::Folder(folder) = self {
            store::make_folder(folder).with_context(|| format!("cannot make the data folder {}", folder.display()))?;
        }
        self.tables().open().await.with_context(|| format!("cannot open the data in {}", self.describe()))
    }

    /// The same, but a mistyped folder is to be told, not made.
    ///
    /// # Errors
    /// What is wrong with them.
    pub async fn open(&self) -> anyhow::Result<Store> {
        if let Self::Folder(folder) = self
            && !folder.join(store::FILE_NAME).exists()
        {
            bail!("{} is no data folder of Parlor: there is no {} in it", folder.display(), store::FILE_NAME);
        }
        self.create().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_described_without_its_user_and_password() {
        let place = Place::Database(Secret::new("postgres://ada:hunter2@db.example:5432/chat?sslmode=require"));
        assert_eq!(place.describe(), "the database \"chat\" at db.example");
        assert_eq!(Place::Database(Secret::new("hunter2")).describe(), "the database");
        assert!(!format!("{place:?}").contains("hunter2"));
    }
}
