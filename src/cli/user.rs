//! `parlor user`: looks after accounts in the tables themselves, with the server stopped or running.

use std::io::{self, IsTerminal as _, Read};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};

use super::say;
use super::tables::TablesArgs;
use crate::accounts::{Administration, Role, User, password};
use crate::clock::Clock;
use crate::config::secret::Secret;

/// How many users are read from the tables at a time.
const PAGE: u32 = 500;

/// Look after the accounts of a data folder, or of a cluster.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make an account
    ///
    /// The password is the first line of standard input: 8 to 1024 bytes.
    #[command(after_help = "Example, the first administrator:\n  \
        printf '%s\\n' \"$PASSWORD\" | parlor user add ada --password-stdin --role admin --data /var/lib/parlor")]
    Add {
        /// Whose account
        #[command(flatten)]
        name: Name,
        /// The password
        #[command(flatten)]
        password: PasswordInput,
        /// What the user may do
        #[arg(long, value_enum, default_value_t = RoleArg::User)]
        role: RoleArg,
        /// Where
        #[command(flatten)]
        data: TablesArgs,
    },
    /// List the accounts
    #[command(
        after_help = "Example, those that begin with \"a\":\n  parlor user list --search a --data /var/lib/parlor"
    )]
    List {
        /// Only names that begin with this, in any case
        #[arg(long, value_name = "PREFIX", default_value = "")]
        search: String,
        /// Where
        #[command(flatten)]
        data: TablesArgs,
    },
    /// Set another password, and end every login of the user
    ///
    /// The password is the first line of standard input: 8 to 1024 bytes.
    #[command(after_help = "Example:\n  \
        printf '%s\\n' \"$PASSWORD\" | parlor user passwd ada --password-stdin --data /var/lib/parlor")]
    Passwd {
        /// Whose account
        #[command(flatten)]
        name: Name,
        /// The password
        #[command(flatten)]
        password: PasswordInput,
        /// Where
        #[command(flatten)]
        data: TablesArgs,
    },
    /// Keep a user out: their logins end and their sockets close, within a second or so on a running server
    #[command(after_help = "Example:\n  parlor user disable mallory --data /var/lib/parlor")]
    Disable {
        /// Whose account
        #[command(flatten)]
        name: Name,
        /// Where
        #[command(flatten)]
        data: TablesArgs,
    },
    /// Let a disabled user in again
    #[command(after_help = "Example:\n  parlor user enable mallory --data /var/lib/parlor")]
    Enable {
        /// Whose account
        #[command(flatten)]
        name: Name,
        /// Where
        #[command(flatten)]
        data: TablesArgs,
    },
    /// Give a user another role; it holds from their next request on
    #[command(after_help = "Examples, an administrator more and one less:\n  \
        parlor user promote grace --data /var/lib/parlor\n  \
        parlor user promote ada --role user --data /var/lib/parlor")]
    Promote {
        /// Whose account
        #[command(flatten)]
        name: Name,
        /// The role to give
        #[arg(long, value_enum, default_value_t = RoleArg::Admin)]
        role: RoleArg,
        /// Where
        #[command(flatten)]
        data: TablesArgs,
    },
}

/// Which user.
#[derive(Debug, Args)]
pub struct Name {
    /// The username: 1 to 64 letters, digits, '.', '_', '-'; case does not make another name
    #[arg(value_name = "NAME", allow_hyphen_values = false)]
    name: String,
}

/// Where the password comes from. Not the command line: every user of the machine can read that.
#[derive(Debug, Args)]
pub struct PasswordInput {
    /// Read the password from the first line of standard input
    #[arg(long, required = true)]
    password_stdin: bool,
}

/// A role, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleArg {
    /// Sends, reads, and scripts for themselves
    User,
    /// Also looks after the other users and the nodes
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::User => Self::User,
            RoleArg::Admin => Self::Admin,
        }
    }
}

impl UserCommand {
    /// Does what it says, and prints what it did.
    ///
    /// # Errors
    /// What could not be done, for whoever typed it; nothing was changed then.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add { name, role, data, .. } => {
                let password = read_password()?;
                let user = create(data).await?.add(&name.name, &password, role.into()).await.context(name.name)?;
                say(&format!("added {} (id {}, role {})", user.username, user.id, user.role))
            }
            Self::List { search, data } => list(&open(data).await?, &search).await,
            Self::Passwd { name, data, .. } => {
                let password = read_password()?;
                let (accounts, user) = find(data, name).await?;
                accounts.set_password(user.id, &password).await.context(user.username.clone())?;
                say(&format!("set the password of {} (id {}); all logins of theirs have ended", user.username, user.id))
            }
            Self::Disable { name, data } => set_disabled(data, name, true).await,
            Self::Enable { name, data } => set_disabled(data, name, false).await,
            Self::Promote { name, role, data } => {
                let (accounts, user) = find(data, name).await?;
                let user = accounts.set_role(user.id, role.into()).await.context(user.username)?;
                say(&format!("{} (id {}) has the role {}", user.username, user.id, user.role))
            }
        }
    }
}

async fn set_disabled(data: TablesArgs, name: Name, disabled: bool) -> anyhow::Result<()> {
    let (accounts, user) = find(data, name).await?;
    let user = accounts.set_disabled(user.id, disabled).await.context(user.username)?;
    let state = if user.disabled { "disabled; their logins have ended" } else { "enabled" };
    say(&format!("{} (id {}) is {state}", user.username, user.id))
}

async fn list(accounts: &Administration, search: &str) -> anyhow::Result<()> {
    say(&format!("{:>8}  {:<8}  {:<8}  {:<16}  {}", "ID", "ROLE", "STATE", "SINCE", "NAME"))?;
    let mut after: Option<String> = None;
    loop {
        let page = accounts.list(search, after.as_deref(), PAGE).await?;
        for user in page.items {
            let state = if user.disabled { "disabled" } else { "enabled" };
            let since = user.created_at.format("%Y-%m-%d %H:%M");
            say(&format!("{:>8}  {:<8}  {state:<8}  {since:<16}  {}", user.id, user.role, user.username))?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn find(data: TablesArgs, name: Name) -> anyhow::Result<(Administration, User)> {
    let accounts = open(data).await?;
    let user = accounts.find(&name.name).await.context(name.name)?;
    Ok((accounts, user))
}

/// The accounts of a folder that may be new.
async fn create(data: TablesArgs) -> anyhow::Result<Administration> {
    Ok(Administration::alone(data.place()?.create().await?, Clock::system())?)
}

/// The accounts of a folder that is there.
async fn open(data: TablesArgs) -> anyhow::Result<Administration> {
    Ok(Administration::alone(data.place()?.open().await?, Clock::system())?)
}

fn read_password() -> anyhow::Result<Secret> {
    let input = io::stdin().lock();
    if input.is_terminal() {
        // Typed there it would stand on the screen.
        bail!("--password-stdin reads from a pipe or file, not from a terminal");
    }
    read_line(input)
}

/// The first line, without its end. More than that is refused rather than dropped: somebody meant it.
fn read_line(input: impl Read) -> anyhow::Result<Secret> {
    let mut text = String::new();
    // Enough to see that it is too long, and no more.
    let bound = (password::MAX_BYTES + 3) as u64;
    input.take(bound).read_to_string(&mut text).context("cannot read the password from standard input")?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains('\n') {
        bail!("standard input has more than one line; the password must be the only one");
    }
    let password = Secret::new(line);
    password::check(&password)?;
    Ok(password)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(subcommand)]
        command: UserCommand,
    }

    fn parse(line: &str) -> Result<UserCommand, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
    }

    #[test]
    fn the_password_comes_from_standard_input_only() {
        assert!(parse("user add ada --password-stdin --role admin --data d").is_ok());
        assert!(parse("user add ada --data d").is_err());
        assert!(parse("user passwd ada --data d").is_err());
        assert!(parse("user add ada --password hunter2 --data d").is_err());
    }

    #[test]
    fn a_password_is_one_line_of_8_to_1024_bytes() {
        let read = |text: &str| read_line(text.as_bytes()).map(|secret| secret.expose().to_owned());
        for input in ["correct horse", "correct horse\n", "correct horse\r\n"] {
            assert_eq!(read(input).unwrap(), "correct horse");
        }
        assert!(read("1234567\n").is_err());
        assert!(read("two\nlines of it\n").is_err());
        assert_eq!(read(&format!("{}\r\n", "x".repeat(1024))).unwrap().len(), 1024);
        assert!(read(&"x".repeat(1025)).is_err());
        assert!(read(&"x".repeat(1 << 20)).is_err());
    }

    #[tokio::test]
    async fn a_mistyped_folder_is_told_and_not_made() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("typo");
        let error = open(TablesArgs::folder(folder.clone())).await.unwrap_err();
        assert!(error.to_string().contains("no data folder"), "{error}");
        assert!(!folder.exists());
    }
}
