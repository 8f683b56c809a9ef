//! Clients that keep the promises of a good client: they name every message, send again what was not accepted, resume
//! behind the last message seen, and write down everything that they are told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::checker::{Checker, Found, Key, Order, User, body};
use super::server::Server;

/// Attempts to connect while there is no server.
const RETRY: Duration = Duration::from_millis(15);
/// After a rejection that asks to come back.
const PAUSE: Duration = Duration::from_millis(50);
/// How much longer than it was told a client stays that leaves when it is told.
const GRACE: Duration = Duration::from_millis(200);

/// How the clients behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    pub(crate) order: Order,
    /// Messages under way at once, at most.
    pub(crate) window: usize,
    /// Messages a second and user, at most.
    pub(crate) rate: u32,
    /// Bodies have up to this many bytes more than needed.
    pub(crate) padding: usize,
    /// One message in so many is followed by dropping the connection, without a word.
    pub(crate) drop_one_in: Option<u32>,
    /// Nothing for this long although something is waited for: the socket is given up.
    pub(crate) silence: Duration,
    /// All that was accepted has come this long after the last message.
    pub(crate) patience: Duration,
    /// Told to reconnect, a client leaves when its time has come. Otherwise it stays until the server closes.
    pub(crate) leaves_when_told: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            order: Order::Strict,
            window: 16,
            rate: 60,
            padding: 400,
            drop_one_in: Some(300),
            silence: Duration::from_secs(20),
            patience: Duration::from_secs(40),
            leaves_when_told: false,
        }
    }
}

/// What clients were told beside messages.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) connections: AtomicU64,
    /// Sockets that are open now.
    pub(crate) connected: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) reconnects: Mutex<Vec<u64>>,
    /// How each connection ended: the close code, or 0 for none.
    pub(crate) closes: Mutex<Vec<u16>>,
    /// Code and detail of rejections and errors.
    pub(crate) words: Mutex<Vec<(String, String)>>,
}

struct Shared {
    habits: Habits,
    checker: Mutex<Checker>,
    heard: Heard,
    /// Of every server that a client may go to.
    addresses: watch::Sender<Vec<String>>,
    http: reqwest::Client,
    sending: AtomicBool,
    ended: AtomicBool,
}

#[derive(Clone)]
struct Account {
    id: User,
    token: String,
}

/// Users who write to each other, in pairs and in groups, over several sockets.
pub(crate) struct Load {
    shared: Arc<Shared>,
    accounts: Vec<Account>,
    tasks: Vec<JoinHandle<()>>,
}

/// Makes an account; its id and a token.
pub(crate) async fn register(server: &Server, name: &str) -> (User, String) {
    let answer = reqwest::Client::new()
        .post(server.url("/users"))
        .json(&json!({"username": name, "password": "correct horse"}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    let grant: Value = answer.json().await.unwrap();
    (grant["user"]["id"].as_i64().unwrap(), grant["accessToken"].as_str().unwrap().to_owned())
}

impl Load {
    /// `users` users, each with one socket that sends and reads; every second one has another that reads.
    pub(crate) async fn start(server: &Server, users: usize, habits: Habits, seed: u64) -> Self {
        Self::named("user", server, users, habits, seed).await
    }

    /// The same with names that begin otherwise, for a second load beside the first.
    pub(crate) async fn named(prefix: &str, server: &Server, users: usize, habits: Habits, seed: u64) -> Self {
        let mut accounts = Vec::new();
        for number in 0..users {
            let (id, token) = register(server, &format!("{prefix}{number}")).await;
            accounts.push(Account { id, token });
        }
        let shared = Arc::new(Shared {
            habits,
            checker: Mutex::new(Checker::new(habits.order)),
            heard: Heard::default(),
            addresses: watch::Sender::new(vec![server.address.clone()]),
            http: reqwest::Client::new(),
            sending: AtomicBool::new(true),
            ended: AtomicBool::new(false),
        });
        let ids: Vec<User> = accounts.iter().map(|account| account.id).collect();
        let mut tasks = Vec::new();
        for (number, account) in accounts.iter().enumerate() {
            let rng = StdRng::seed_from_u64(seed ^ (number as u64 + 1));
            let client = Client::new(shared.clone(), account.clone(), ids.clone(), rng);
            tasks.push(tokio::spawn(client.run(true)));
            if number % 2 == 0 {
                let rng = StdRng::seed_from_u64(seed ^ (number as u64 + 1001));
                let client = Client::new(shared.clone(), account.clone(), ids.clone(), rng);
                tasks.push(tokio::spawn(client.run(false)));
            }
        }
        Self { shared, accounts, tasks }
    }

    /// Where the server is now.
    pub(crate) fn server_is(&self, server: Option<&Server>) {
        self.servers_are(server);
    }

    /// Where the servers are now: a client takes any of them.
    pub(crate) fn servers_are<'a>(&self, servers: impl IntoIterator<Item = &'a Server>) {
        self.addresses_are(servers.into_iter().map(|server| server.address.clone()).collect());
    }

    /// The same by address: of a proxy before them.
    pub(crate) fn addresses_are(&self, addresses: Vec<String>) {
        self.shared.addresses.send_replace(addresses);
    }

    pub(crate) fn checker(&self) -> MutexGuard<'_, Checker> {
        self.shared.checker.lock().unwrap()
    }

    pub(crate) fn heard(&self) -> &Heard {
        &self.shared.heard
    }

    /// Lets the clients begin, or has them end, with new messages; what was begun is seen through.
    pub(crate) fn send(&self, on: bool) {
        self.shared.sending.store(on, Ordering::Release);
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.heard().rejected.load(Ordering::Relaxed)
    }

    /// Ends with new messages, and waits until all that was sent is accepted.
    pub(crate) async fn fall_silent(&self) {
        self.send(false);
        let deadline = Instant::now() + self.shared.habits.patience;
        loop {
            let counts = self.checker().counts();
            if counts.accepted == counts.sent {
                return;
            }
            assert!(Instant::now() < deadline, "{counts:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until so many sockets are open.
    pub(crate) async fn until_connected(&self, sockets: usize) {
        let deadline = Instant::now() + self.shared.habits.patience;
        while self.heard().connected.load(Ordering::Acquire) != sockets as u64 {
            assert!(Instant::now() < deadline, "{:?}", self.heard());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until nothing is accepted any more although clients go on.
    pub(crate) async fn until_held_back(&self) {
        let deadline = Instant::now() + self.shared.habits.patience;
        loop {
            let before = self.checker().counts().accepted;
            tokio::time::sleep(Duration::from_millis(700)).await;
            if self.checker().counts().accepted == before {
                return;
            }
            assert!(Instant::now() < deadline, "messages are accepted for ever");
        }
    }

    /// Waits until so many more messages were accepted.
    pub(crate) async fn until_accepted(&self, more: usize) {
        let wanted = self.checker().counts().accepted + more;
        let deadline = Instant::now() + self.shared.habits.patience;
        while self.checker().counts().accepted < wanted {
            assert!(Instant::now() < deadline, "no messages are accepted any more");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Reads what is new in every inbox.
    pub(crate) async fn read_inboxes(&self, server: &Server) {
        for account in &self.accounts {
            loop {
                let after = self.checker().read_to(account.id);
                let page = inbox(&self.shared.http, server, &account.token, after).await;
                let mut checker = self.checker();
                page.iter().for_each(|found| checker.paged(account.id, found));
                if page.is_empty() {
                    break;
                }
            }
        }
    }

    /// Panics with what is wrong so far.
    pub(crate) fn expect_well(&self) {
        let checker = self.checker();
        let violations = checker.violations();
        assert!(
            violations.is_empty(),
            "{} violations, the first: {:?}",
            violations.len(),
            &violations[..violations.len().min(10)]
        );
    }

    /// Ends sending, waits until all has come, reads all inboxes anew and returns every violation.
    pub(crate) async fn settle(&mut self, server: &Server) -> Vec<super::checker::Violation> {
        self.send(false);
        let deadline = Instant::now() + self.shared.habits.patience;
        loop {
            self.read_inboxes(server).await;
            let idle = self.tasks.iter().all(JoinHandle::is_finished);
            let done = self.checker().all_has_come();
            if idle || Instant::now() > deadline {
                break;
            }
            if done {
                self.shared.ended.store(true, Ordering::Release);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(self.checker().all_has_come(), "{}", self.checker().what_is_missing());
        for task in self.tasks.drain(..) {
            if let Err(error) = tokio::time::timeout(Duration::from_secs(5), task).await.expect("a client hangs") {
                panic!("a client: {error}");
            }
        }
        self.checker().forget_inboxes();
        self.read_inboxes(server).await;
        self.checker().finish()
    }
}

/// A page of an inbox.
async fn inbox(http: &reqwest::Client, server: &Server, token: &str, after: i64) -> Vec<Found> {
    let url = server.url(&format!("/inbox?after={after}&limit=100"));
    let answer = http.get(url).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
    let page: Value = answer.json().await.unwrap();
    page["items"].as_array().unwrap().iter().map(found).collect()
}

fn found(message: &Value) -> Found {
    Found {
        seq: message["seq"].as_i64().unwrap(),
        uid: message["messageUid"].as_str().unwrap().to_owned(),
        sender: message["senderId"].as_i64().unwrap(),
        body: message["messageBody"].as_str().unwrap().to_owned(),
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A message that was not accepted yet.
struct Open {
    key: Key,
    recipients: Vec<User>,
    body: String,
}

/// One socket, over as many connections as it takes.
struct Client {
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
    fn new(shared: Arc<Shared>, account: Account, all: Vec<User>, rng: StdRng) -> Self {
        let others = all.into_iter().filter(|id| *id != account.id).collect();
        let socket = shared.checker.lock().unwrap().socket(account.id);
        Self { shared, account, others, rng, socket, next: 1, open: Vec::new(), last_sent: Instant::now(), burst: 0 }
    }

    async fn run(mut self, sends: bool) {
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
