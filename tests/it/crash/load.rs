//! Users who write to each other, and what is to come of it: their clients, the checker that all of them tell, the inboxes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::client::Client;
use super::checker::{Checker, Found, Order, User};
use super::server::Server;

mod client;

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
    /// How long each was away: since it was told to go or its connection ended, until it was welcomed again.
    pub(crate) away: Mutex<Vec<Duration>>,
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
