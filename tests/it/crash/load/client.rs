//! Clients that keep the promises of a good client: they name every message, send again what was not accepted, resume
//! behind the last message seen, and write down everything that they are told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{Account, Shared, found};
use crate::crash::checker::{Key, Order, User, body};

/// Attempts to connect while there is no server.
const RETRY: Duration = Duration::from_millis(15);
/// After a rejection that asks to come back.
const PAUSE: Duration = Duration::from_millis(50);
/// How much longer than it was told a client stays that leaves when it is told.
const GRACE: Duration = Duration::from_millis(200);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A message that was not accepted yet.
struct Open {
    key: Key,
    recipients: Vec<User>,
    body: String,
}

/// One socket, over as many connections as it takes.
pub(super) struct Client {
    shared: Arc<Shared>,
    account: Account,
    others: Vec<User>,
    rng: StdRng,
    /// Its name with the checker.
    socket: usize,
    next: u64,
    open: Vec<Open>,
    last_sent: Instant,
    burst: usize,
    /// Since when nobody serves it, after somebody did.
    away_since: Option<Instant>,
}

/// Why a connection was left.
enum Left {
    /// All is done.
    Done,
    /// It broke, or was closed: come back.
    Broken,
    /// Come back after a while.
    Pause(Duration),
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>, account: Account, all: Vec<User>, rng: StdRng) -> Self {
        let others = all.into_iter().filter(|id| *id != account.id).collect();
        let socket = shared.checker.lock().unwrap().socket(account.id);
        let (open, last_sent) = (Vec::new(), Instant::now());
        Self { shared, account, others, rng, socket, next: 1, open, last_sent, burst: 0, away_since: None }
    }

    pub(super) async fn run(mut self, sends: bool) {
        let mut addresses = self.shared.addresses.subscribe();
        loop {
            if self.shared.ended.load(Ordering::Acquire) && self.open.is_empty() {
                return;
            }
            let at = addresses.borrow_and_update().choose(&mut self.rng).cloned();
            let Some(at) = at else {
                tokio::time::timeout(PAUSE, addresses.changed()).await.ok();
                continue;
            };
            let Some(socket) = self.connect(&at).await else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            self.shared.heard.connections.fetch_add(1, Ordering::Relaxed);
            self.shared.heard.connected.fetch_add(1, Ordering::AcqRel);
            let left = self.talk(socket, sends).await;
            self.away_since.get_or_insert_with(Instant::now);
            self.shared.heard.connected.fetch_sub(1, Ordering::AcqRel);
            match left {
                Left::Done => return,
                Left::Broken => {}
                Left::Pause(pause) => tokio::time::sleep(pause).await,
            }
        }
    }

    async fn connect(&self, address: &str) -> Option<Socket> {
        let after = self.shared.checker.lock().unwrap().last(self.socket);
        let uri: Uri = format!("ws://{address}/ws?after={after}").parse().unwrap();
        let request = ClientRequestBuilder::new(uri)
            .with_header("Authorization", format!("Bearer {}", self.account.token))
            .with_sub_protocol("parlor.v1");
        let (socket, _) = tokio::time::timeout(self.shared.habits.silence, connect_async(request)).await.ok()?.ok()?;
        Some(socket)
    }

    /// Sends and reads until the connection ends.
    async fn talk(&mut self, mut socket: Socket, sends: bool) -> Left {
        // Again, in order, what was not accepted; before anything new.
        let mut again = self.open.len();
        let mut resent = 0;
        let mut under_way = 0;
        let mut heard = Instant::now();
        // Told to come back, or found gone: nothing more is sent.
        let mut hung_up = false;
        let mut leave_at = None;
        loop {
            if leave_at.is_some_and(|at| Instant::now() > at) {
                return Left::Broken;
            }
            if !hung_up && resent < again && under_way < self.shared.habits.window {
                let text = self.frame(resent);
                (resent, under_way) = (resent + 1, under_way + 1);
                // What the server said before it hung up can still be read.
                hung_up |= socket.send(Message::text(text)).await.is_err();
                continue;
            }
            if sends && !hung_up && self.may_begin() && resent == again && under_way < self.shared.habits.window {
                self.begin();
                let text = self.frame(self.open.len() - 1);
                (again, resent, under_way) = (again + 1, resent + 1, under_way + 1);
                hung_up |= socket.send(Message::text(text)).await.is_err();
                if self.shared.habits.drop_one_in.is_some_and(|n| self.rng.random_ratio(1, n)) {
                    return Left::Broken;
                }
                continue;
            }
            if self.shared.ended.load(Ordering::Acquire) && self.open.is_empty() {
                return Left::Done;
            }
            let Ok(frame) = tokio::time::timeout(Duration::from_millis(10), socket.next()).await else {
                if !self.open.is_empty() && heard.elapsed() > self.shared.habits.silence {
                    self.word("silence", "nothing was heard although something is under way");
                    return Left::Broken;
                }
                continue;
            };
            heard = Instant::now();
            let text = match frame {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map_or(0, |frame| frame.code.into());
                    self.shared.heard.closes.lock().unwrap().push(code);
                    return if code == 1012 { Left::Pause(PAUSE) } else { Left::Broken };
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => {
                    self.shared.heard.closes.lock().unwrap().push(0);
                    return Left::Broken;
                }
            };
            let frame: Value = serde_json::from_str(&text).unwrap();
            match frame["type"].as_str().unwrap() {
                "welcome" => {
                    if let Some(since) = self.away_since.take() {
                        self.shared.heard.away.lock().unwrap().push(since.elapsed());
                    }
                }
                "message" => self.shared.checker.lock().unwrap().streamed(self.socket, &found(&frame)),
                "accepted" => {
                    let number = number(&frame);
                    let key = Key { sender: self.account.id, number };
                    self.shared.checker.lock().unwrap().accepted(key, frame["messageUid"].as_str().unwrap());
                    if let Some(at) = self.open.iter().position(|open| open.key == key) {
                        self.open.remove(at);
                        (again, resent, under_way) = (again - 1, resent - 1, under_way - 1);
                    }
                }
                "rejected" => {
                    self.shared.heard.rejected.fetch_add(1, Ordering::Relaxed);
                    self.word(frame["code"].as_str().unwrap(), frame["detail"].as_str().unwrap());
                    match self.shared.habits.order {
                        // A node that stops closes the socket, and nothing is accepted until then.
                        Order::Strict => {
                            assert_eq!(frame["code"], "stopping", "{frame}");
                            continue;
                        }
                        // It goes to the end of the line.
                        Order::AsTried => {
                            let number = number(&frame);
                            let at = self.open.iter().position(|open| open.key.number == number).unwrap();
                            let open = self.open.remove(at);
                            self.open.push(open);
                            (resent, under_way) = (resent - 1, under_way - 1);
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
                "reconnect" => {
                    hung_up = true;
                    self.away_since = Some(Instant::now());
                    let after = frame["afterMs"].as_u64().unwrap();
                    self.shared.heard.reconnects.lock().unwrap().push(after);
                    let leaves = self.shared.habits.leaves_when_told;
                    leave_at = leaves.then(|| Instant::now() + Duration::from_millis(after) + GRACE);
                }
                "error" => self.word(frame["code"].as_str().unwrap(), frame["detail"].as_str().unwrap()),
                _ => {}
            }
        }
    }

    fn word(&self, code: &str, detail: &str) {
        let mut words = self.shared.heard.words.lock().unwrap();
        if words.len() < 10_000 {
            words.push((code.to_owned(), detail.to_owned()));
        }
    }

    /// At its own pace, and now and then as many at once as it may.
    fn may_begin(&mut self) -> bool {
        if !self.shared.sending.load(Ordering::Acquire) {
            return false;
        }
        if self.burst > 0 {
            self.burst -= 1;
            return true;
        }
        let pace = Duration::from_micros(1_000_000 / u64::from(self.shared.habits.rate.max(1)));
        if self.last_sent.elapsed() < pace {
            return false;
        }
        if self.rng.random_ratio(1, 60) {
            self.burst = self.rng.random_range(0..self.shared.habits.window * 2);
        }
        true
    }

    /// Thinks of a new message: to one, to some, or to all.
    fn begin(&mut self) {
        self.last_sent = Instant::now();
        let key = Key { sender: self.account.id, number: self.next };
        self.next += 1;
        let recipients: Vec<User> = match self.rng.random_range(0..4) {
            0 | 1 => vec![self.others[self.rng.random_range(0..self.others.len())]],
            2 => self
                .others
                .iter()
                .copied()
                .filter(|id| (*id + self.account.id) % 2 == 0 || *id == self.others[0])
                .collect(),
            _ => self.others.clone(),
        };
        let padding = self.rng.random_range(0..=self.shared.habits.padding);
        self.open.push(Open { key, recipients, body: body(key, &"x".repeat(padding)) });
    }

    /// A message as a frame; noted as tried.
    fn frame(&mut self, at: usize) -> String {
        let Open { key, recipients, body } = &self.open[at];
        self.shared.checker.lock().unwrap().sending(*key, recipients, body);
        let id = key.number.to_string();
        json!({"type": "sendMessage", "messageBody": body, "recipientIds": recipients, "clientMessageId": id})
            .to_string()
    }
}

fn number(frame: &Value) -> u64 {
    frame["clientMessageId"].as_str().unwrap().parse().unwrap()
}
