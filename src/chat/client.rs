//! The loop: carries events to the `machine` and does what it says. What it decides itself is only how things look.

mod actions;
mod commands;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::bail;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::api::{Api, User};
use super::event::{Event, Failure};
use super::frames::ServerFrame;
use super::machine::Machine;
use super::notice::excerpt;
use super::outbox;
use super::people::People;
use super::socket::{Incoming, Socket};
use super::terminal::{Input, Output};
use crate::client::sanitize::sanitize;
use crate::ids::{ConversationId, Seq, UserId};

/// How long the end waits for what is not yet accepted.
const LAST_WAIT: Duration = Duration::from_secs(10);
/// A time that does not come.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The conversation that plain text goes to.
struct Current {
    id: ConversationId,
    /// Whom messages there are for.
    recipients: Vec<UserId>,
    /// What has been shown of it as history: a live message up to there is not shown again.
    shown: Seq,
}

/// A connection in the making.
type Dialling = Pin<Box<dyn Future<Output = Result<Socket, Failure>>>>;

/// Why the loop woke.
enum Happening {
    Event(Event),
    Text(String),
    Dialled(Result<Socket, Failure>),
    Input(Input),
}

/// A running chat.
pub(super) struct Client {
    api: Api,
    user: User,
    machine: Machine,
    people: People,
    current: Option<Current>,
    socket: Option<Socket>,
    dialling: Option<Dialling>,
    input: mpsc::Receiver<Input>,
    screen: mpsc::Sender<Output>,
    /// Whether a person reads along: only then is a message read, and a refusal seen.
    is_interactive: bool,
    started: Instant,
    /// Once the input has ended: when to give up waiting.
    finishing: Option<Duration>,
}

impl Client {
    /// A chat of `user`, who is logged in.
    pub(super) fn new(
        api: Api,
        user: User,
        input: mpsc::Receiver<Input>,
        screen: mpsc::Sender<Output>,
        is_interactive: bool,
    ) -> Self {
        let machine = Machine::new(user.id, rand::random());
        let mut people = People::default();
        people.know(&user);
        Self {
            api,
            user,
            machine,
            people,
            current: None,
            socket: None,
            dialling: None,
            input,
            screen,
            is_interactive,
            started: Instant::now(),
            finishing: None,
        }
    }

    /// Chats until the user leaves, the input ends, or `interrupt` comes.
    pub(super) async fn run(&mut self, with: &[String], interrupt: impl Future<Output = ()>) -> anyhow::Result<()> {
        let outcome = tokio::select! {
            biased;
            () = interrupt => None,
            outcome = self.chat(with) => Some(outcome),
        };
        outcome.unwrap_or_else(|| self.verdict())
    }

    async fn chat(&mut self, with: &[String]) -> anyhow::Result<()> {
        if !with.is_empty() {
            self.go_to(with).await?;
        }
        self.dispatch(Event::Start).await?;
        loop {
            if let Some(outcome) = self.outcome() {
                if let Some(socket) = &mut self.socket {
                    socket.close().await;
                }
                return outcome;
            }
            let event = match self.next().await {
                Happening::Event(event) => Some(event),
                Happening::Text(text) => Some(self.read(&text).await?),
                Happening::Dialled(Ok(socket)) => {
                    self.socket = Some(socket);
                    Some(Event::Connected)
                }
                Happening::Dialled(Err(failure)) => Some(Event::ConnectFailed(failure)),
                Happening::Input(Input::Interrupt) => return self.verdict(),
                Happening::Input(Input::End) => {
                    self.finish();
                    None
                }
                // What is typed after the end is not wanted.
                Happening::Input(Input::Line(_)) if self.finishing.is_some() => None,
                Happening::Input(Input::Line(line)) => self.obey(&line).await?,
            };
            if let Some(event) = event {
                self.dispatch(event).await?;
            }
        }
    }

    /// Waits for whatever comes first.
    async fn next(&mut self) -> Happening {
        let wake = self.machine.wake().into_iter().chain(self.finishing).min().unwrap_or(NEVER);
        // A full queue stops the reading, and with it whoever pipes messages in.
        let has_room = self.machine.unsent_count() < outbox::CAPACITY;
        let has_ended = self.finishing.is_some() && self.input.is_closed() && self.input.is_empty();
        tokio::select! {
            // What has come is heard before the time that says that nothing came.
            biased;
            dialled = maybe(self.dialling.as_mut()) => {
                self.dialling = None;
                Happening::Dialled(dialled)
            }
            incoming = hear(self.socket.as_mut()) => match incoming {
                Incoming::Text(text) => Happening::Text(text),
                Incoming::Heard => Happening::Event(Event::Heard),
                Incoming::Closed(code) => {
                    if let Some(mut socket) = self.socket.take() {
                        socket.close().await;
                    }
                    Happening::Event(Event::Closed(code))
                }
            },
            input = self.input.recv(), if has_room && !has_ended => Happening::Input(input.unwrap_or(Input::End)),
            () = sleep_until(self.started + wake) => Happening::Event(Event::Tick),
        }
    }

    /// Whether and how the chat has ended.
    fn outcome(&self) -> Option<anyhow::Result<()>> {
        let deadline = self.finishing?;
        let is_done = self.machine.has_joined() && self.machine.unsent_count() == 0;
        (is_done || deadline <= self.now()).then(|| self.verdict())
    }

    /// Success, unless something was not accepted.
    fn verdict(&self) -> anyhow::Result<()> {
        let mut lost = self.machine.unsent();
        // A person has been told of refusals as they came; a script learns of them here.
        if !self.is_interactive {
            lost.extend_from_slice(self.machine.refused());
        }
        if lost.is_empty() {
            return Ok(());
        }
        let list: String = lost.iter().map(|body| format!("\n  {}", excerpt(body))).collect();
        bail!("not accepted:{list}")
    }

    /// Begins the end: what is not yet accepted has [`LAST_WAIT`].
    fn finish(&mut self) {
        self.finishing.get_or_insert(self.started.elapsed() + LAST_WAIT);
    }

    /// Makes an event of a text frame, and passes it on to whoever reads JSON.
    async fn read(&mut self, text: &str) -> anyhow::Result<Event> {
        let frame = match serde_json::from_str::<serde_json::Value>(text) {
            Ok(value) => {
                self.pass_on(&value).await?;
                serde_json::from_value::<ServerFrame>(value)
            }
            Err(error) => Err(error),
        };
        match frame {
            Ok(frame) => Ok(Event::Frame(frame)),
            Err(error) => {
                let error = sanitize(&error.to_string());
                self.say(format!("* the server sent what cannot be read: {error}")).await?;
                Ok(Event::Heard)
            }
        }
    }

    /// Lets the machine take an event, and what follows from it.
    async fn dispatch(&mut self, event: Event) -> anyhow::Result<()> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.machine.handle(self.now(), event) {
                events.extend(self.perform(action).await?);
            }
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The output of a future that may not be there.
async fn maybe<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// What comes over a socket that may not be there.
async fn hear(socket: Option<&mut Socket>) -> Incoming {
    match socket {
        Some(socket) => socket.next().await,
        None => std::future::pending().await,
    }
}
