//! What the user asks for, command by command.

use anyhow::{Context, bail};
use chrono::Local;

use super::{Client, Current};
use crate::chat::api::Error;
use crate::chat::command::{Command, HELP, HISTORY};
use crate::chat::event::Event;
use crate::chat::frames::Message;
use crate::chat::notice::{Notice, excerpt};
use crate::chat::view;
use crate::client::sanitize::sanitize;
use crate::ids::{ConversationId, Seq, UserId};

impl Client {
    /// Does what a line says; returns what came of it.
    pub(super) async fn obey(&mut self, line: &str) -> anyhow::Result<Option<Event>> {
        match Command::read(line) {
            Command::Nothing => {}
            Command::Say(body) => return self.write(body).await,
            Command::With(names) => match self.go_to(&names).await {
                Ok(()) => return self.history(HISTORY).await,
                Err(error) => self.say(format!("* {error:#}")).await?,
            },
            Command::List => self.list().await?,
            Command::History(count) => return self.history(count).await,
            Command::Online => self.online().await?,
            Command::Pending => self.say(Notice::Unsent(self.machine.unsent()).to_string()).await?,
            Command::Help => self.say(HELP.to_owned()).await?,
            Command::Quit => self.finish(),
            Command::Unknown(line) => self.say(format!("* {} is not a command: /help", sanitize(&line))).await?,
        }
        Ok(None)
    }

    /// Makes the conversation with these the current one.
    pub(super) async fn go_to(&mut self, names: &[String]) -> anyhow::Result<()> {
        let mut recipients = Vec::new();
        for name in names {
            let found = self.api.find(name).await.with_context(|| format!("cannot look {} up", sanitize(name)))?;
            let Some(user) = found else { bail!("there is no {}", sanitize(name)) };
            self.people.know(&user);
            recipients.push(user.id);
        }
        recipients.sort_unstable();
        recipients.dedup();
        let id = ConversationId::of(recipients.iter().copied().chain([self.user.id]));
        self.current = Some(Current { id, recipients, shown: Seq::default() });
        Ok(())
    }

    /// Shows the last messages of the current conversation.
    pub(super) async fn history(&mut self, count: usize) -> anyhow::Result<Option<Event>> {
        let Some(Current { id, recipients, .. }) = &self.current else {
            self.nobody().await?;
            return Ok(None);
        };
        let (id, recipients) = (*id, recipients.clone());
        let names = self.people.names(recipients, &mut self.api).await;
        let messages = match self.api.history(id, count).await {
            Ok(messages) => messages,
            Err(error) => {
                self.excuse(&error).await?;
                return Ok(None);
            }
        };
        let title = match messages.len() {
            0 => format!("* with {names}: nothing yet"),
            count => format!("* with {names}, the last {count}:"),
        };
        self.say(title).await?;
        for message in &messages {
            let sender = self.people.name(message.sender_id, &mut self.api).await;
            self.say(view::line(message, &sender, None, &view::date(message.sent_at, &Local))).await?;
        }
        let Some(last) = messages.last().map(|message| message.seq) else { return Ok(None) };
        if let Some(current) = &mut self.current {
            current.shown = last;
        }
        Ok(self.mark_read(id, last).await)
    }

    async fn write(&mut self, body: String) -> anyhow::Result<Option<Event>> {
        let Some(current) = &self.current else {
            self.nobody().await?;
            return Ok(None);
        };
        let id = uuid::Uuid::new_v4().to_string();
        Ok(Some(Event::Write { id, body, recipients: current.recipients.clone() }))
    }

    async fn list(&mut self) -> anyhow::Result<()> {
        let conversations = match self.api.conversations().await {
            Ok(conversations) => conversations,
            Err(error) => return self.excuse(&error).await,
        };
        if conversations.is_empty() {
            return self.say("* no conversations yet".to_owned()).await;
        }
        for conversation in conversations {
            let mut others = conversation.participants;
            if others.len() > 1 {
                others.retain(|id| *id != self.user.id);
            }
            let names = self.people.names(others, &mut self.api).await;
            let unread =
                if conversation.unread > 0 { format!(" ({} unread)", conversation.unread) } else { String::new() };
            let last = self.last(conversation.last_message.as_ref()).await;
            self.say(format!("  {names}{unread}{last}")).await?;
        }
        Ok(())
    }

    async fn last(&mut self, message: Option<&Message>) -> String {
        let Some(message) = message else { return String::new() };
        let sender = self.people.name(message.sender_id, &mut self.api).await;
        format!(" – {sender}: {}", excerpt(&message.message_body))
    }

    async fn online(&mut self) -> anyhow::Result<()> {
        let online: Vec<UserId> = self.people.online().into_iter().filter(|id| *id != self.user.id).collect();
        let names = match online.len() {
            0 => "nobody else that you talk to".to_owned(),
            _ => self.people.names(online, &mut self.api).await,
        };
        let connected = if self.machine.is_live() { "" } else { " (you are not connected)" };
        self.say(format!("* online: {names}{connected}")).await
    }

    /// Says that there is no conversation. A script must not take it for a success.
    async fn nobody(&mut self) -> anyhow::Result<()> {
        if !self.is_interactive {
            bail!("nobody to talk to: use --with NAME");
        }
        self.say("* nobody to talk to yet: /with NAME".to_owned()).await
    }

    async fn excuse(&mut self, error: &Error) -> anyhow::Result<()> {
        self.say(format!("* {error}")).await
    }
}
