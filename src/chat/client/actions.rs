//! What the machine asks for, action by action, and how it looks.

use anyhow::{Context, bail};
use chrono::Local;

use super::Client;
use crate::chat::command::HISTORY;
use crate::chat::event::{Action, Event};
use crate::chat::frames::{ClientFrame, Message};
use crate::chat::notice::excerpt;
use crate::chat::socket::Socket;
use crate::chat::terminal::Output;
use crate::chat::view;
use crate::client::sanitize;
use crate::ids::{ConversationId, Seq, UserId};

impl Client {
    /// Does one thing; returns what came of it.
    pub(super) async fn perform(&mut self, action: Action) -> anyhow::Result<Option<Event>> {
        match action {
            Action::Connect(after) => {
                let dial = Socket::dial(self.api.socket_url(), self.api.access_token().to_owned(), after);
                self.dialling = Some(Box::pin(dial));
            }
            Action::RenewToken => {
                return Ok(Some(match self.api.renew().await {
                    Ok(()) => Event::TokenRenewed,
                    Err(error) => Event::TokenFailed(error.failure()),
                }));
            }
            Action::OfferToken => {
                let access_token = self.api.access_token().to_owned();
                return Ok(self.send(&ClientFrame::RefreshToken { access_token }).await);
            }
            Action::Send(frame) => return Ok(self.send(&frame).await),
            Action::Disconnect => self.socket = None,
            Action::Deliver(message) => return self.deliver(&message).await,
            Action::Presence(id, online) => self.presence(id, online).await?,
            Action::Tell(notice) => self.say(notice.to_string()).await?,
            Action::Joined { first } => {
                self.people.reconnected();
                if first && self.current.is_some() {
                    return self.history(HISTORY).await;
                }
            }
            Action::Stop(why) => bail!(
                self.machine
                    .unsent()
                    .iter()
                    .fold(why, |why, body| { format!("{why}\n  not accepted: {}", excerpt(body)) })
            ),
        }
        Ok(None)
    }

    async fn send(&mut self, frame: &ClientFrame) -> Option<Event> {
        let socket = self.socket.as_mut()?;
        if socket.send(frame).await {
            return None;
        }
        self.socket = None;
        Some(Event::Closed(None))
    }

    async fn deliver(&mut self, message: &Message) -> anyhow::Result<Option<Event>> {
        let is_here = self.current.as_ref().is_some_and(|current| current.id == message.conversation_id);
        if is_here && self.current.as_ref().is_some_and(|current| message.seq <= current.shown) {
            return Ok(None);
        }
        let sender = self.people.name(message.sender_id, &mut self.api).await;
        let others = self.others(message);
        let elsewhere = if is_here { None } else { Some(self.people.names(others, &mut self.api).await) };
        let time = view::time_of_day(message.sent_at, &Local);
        self.say(view::line(message, &sender, elsewhere.as_deref(), &time)).await?;
        if is_here && message.sender_id != self.user.id {
            return Ok(self.mark_read(message.conversation_id, message.seq).await);
        }
        Ok(None)
    }

    /// Tells the server what a person has seen.
    pub(super) async fn mark_read(&mut self, conversation_id: ConversationId, seq: Seq) -> Option<Event> {
        if !self.is_interactive {
            return None;
        }
        self.send(&ClientFrame::MarkRead { conversation_id, seq }).await
    }

    async fn presence(&mut self, id: UserId, online: bool) -> anyhow::Result<()> {
        let is_near = self.current.as_ref().is_some_and(|current| current.recipients.contains(&id));
        if self.people.presence(id, online) && is_near && id != self.user.id {
            let name = self.people.name(id, &mut self.api).await;
            let word = if online { "is online" } else { "has gone" };
            self.say(format!("* {name} {word}")).await?;
        }
        Ok(())
    }

    /// Everybody in a message but the user, or the user where there is nobody else.
    fn others(&self, message: &Message) -> Vec<UserId> {
        let everybody = std::iter::once(message.sender_id).chain(message.recipient_ids.iter().copied());
        let mut others: Vec<UserId> = everybody.filter(|id| *id != self.user.id).collect();
        others.sort_unstable();
        others.dedup();
        if others.is_empty() { vec![self.user.id] } else { others }
    }

    /// Puts out words for a person.
    pub(super) async fn say(&mut self, line: String) -> anyhow::Result<()> {
        self.put(Output::Say(line)).await
    }

    /// Puts out a frame for a program.
    pub(super) async fn pass_on(&mut self, frame: &serde_json::Value) -> anyhow::Result<()> {
        self.put(Output::Frame(sanitize::json(&frame.to_string()))).await
    }

    async fn put(&mut self, output: Output) -> anyhow::Result<()> {
        self.screen.send(output).await.context("the output is closed")
    }
}
