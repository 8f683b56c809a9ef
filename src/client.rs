//! What the commands share that speak to a server from outside: who logs in where, requests, harmless output. Knows
//! nothing of the server but its ids.

pub(crate) mod connection;
pub(crate) mod password;
pub(crate) mod sanitize;

use std::path::PathBuf;

use self::connection::Credentials;

/// Who logs in where.
#[derive(Debug, clap::Args)]
pub struct LoginArgs {
    /// Your name on the server.
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: String,

    /// Where the server is: what a browser would open.
    #[arg(long, value_name = "URL", env = "PARLOR_URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,

    /// Read the password from the first line of standard input; what follows is left to the command.
    ///
    /// Without this or a file, the password is PARLOR_PASSWORD of the environment, or is asked for.
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,

    /// Read the password from the first line of a file.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl LoginArgs {
    /// The name and its password, from wherever that is to come.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn credentials(self) -> anyhow::Result<Credentials> {
        let password = if self.password_stdin {
            password::from_stdin()?
        } else if let Some(path) = &self.password_file {
            password::from_file(path)?
        } else {
            match std::env::var("PARLOR_PASSWORD") {
                Ok(password) if !password.is_empty() => password,
                _ => password::ask(&self.name).await?,
            }
        };
        Ok(Credentials { username: self.name, password })
    }
}
