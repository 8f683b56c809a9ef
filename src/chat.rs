//! The terminal client: `parlor chat`, for people without a browser and for scripts.

mod api;
mod backoff;
mod client;
mod command;
mod cursor;
mod event;
mod frames;
mod machine;
mod notice;
mod outbox;
mod people;
mod socket;
mod terminal;
mod view;

use anyhow::Context;

use self::api::Api;
use self::client::Client;
use self::terminal::Terminal;
use crate::client::LoginArgs;

/// Chat in a terminal, or from a script.
///
/// Type a text to send it; /help shows the commands. Lines can also be piped in: the command then ends when all of
/// them are accepted, with status 1 and a list if some are not within 10 seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  parlor chat --as alice --with bob
  parlor chat --as alice --with bob,carol --url https://chat.example.org
  echo 'the backup is done' | parlor chat --as cron --with alice --password-file /run/secrets/cron
  PARLOR_PASSWORD=… parlor chat --as alice --json <messages.txt | jq .messageBody")]
pub struct ChatArgs {
    #[command(flatten)]
    login: LoginArgs,

    /// Whom to talk to at first; several names, between commas, are a group.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    with: Vec<String>,

    /// Make the account if the server does not know it.
    #[arg(long)]
    register: bool,

    /// Print every frame that comes as a line of JSON; words for people go to standard error.
    #[arg(long)]
    json: bool,
}

/// Runs the client until the user leaves or the input ends.
///
/// # Errors
/// If the server cannot be reached or refuses the login, if it ends the connection for good, or if at the end
/// something is not accepted; the error then lists it.
pub async fn run(args: ChatArgs) -> anyhow::Result<()> {
    let url = args.login.url.clone();
    let mut api = Api::new(&url, args.login.credentials().await?)?;
    let user = api.enter(args.register).await.with_context(|| format!("cannot log in at {url}"))?;
    let terminal = Terminal::open(args.json);
    let printed = terminal.printed;
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let mut client = Client::new(api, user, terminal.input, terminal.screen, terminal.is_interactive);
    let outcome = client.run(&args.with, interrupt).await;
    // The screen goes with the client, and the printer ends with the screen.
    drop(client);
    printed.wait().await;
    outcome
}

#[cfg(test)]
mod tests;
