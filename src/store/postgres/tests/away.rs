//! A server that goes away and comes back: nobody has to start the node anew.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::database::DatabaseOptions;
use crate::config::secret::Secret;
use crate::ids::{ConversationId, MessageUid, Seq, UserId};
use crate::store::Store;
use crate::store::inbox::{Placed, Placement};
use crate::store::sql::query;
use crate::store::testing::postgres::Postgres;
use crate::store::testing::{at, database};

fn message(n: i64) -> Placement {
    let owners = vec![UserId(1), UserId(2)];
    Placement {
        message_uid: MessageUid::from_client(UserId(1), &n.to_string()),
        conversation_id: ConversationId::of(owners.clone()),
        participants: owners.clone(),
        sender_id: UserId(1),
        owners,
        filtered: Vec::new(),
        answered: Vec::new(),
        message_body: n.to_string(),
        from_auto_reply: false,
        sent_at: at(n),
    }
}

/// Short limits.
async fn impatient(url: &str) -> Store {
    let options =
        DatabaseOptions { connections: 3, acquire_seconds: 1, statement_seconds: 1, ..DatabaseOptions::default() };
    Store::connect(&Secret::new(url), &options).await.unwrap()
}

/// Delivers until it is done, as the router does; what it came to and how long it took.
async fn deliver(store: &Store, n: i64) -> (Vec<Placed>, Duration) {
    let begun = Instant::now();
    loop {
        match store.deliver(&[message(n)]).await {
            Ok(placed) => return (placed, begun.elapsed()),
            Err(error) => {
                assert!(error.is_passing(), "{error:?}");
                assert!(store.refusal().is_some());
                assert!(begun.elapsed() < Duration::from_secs(20), "{error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn inbox(store: &Store) -> Vec<String> {
    let entries = store.inbox_after(UserId(2), Seq(0), 100, usize::MAX).await.unwrap();
    assert!(entries.iter().zip(1..).all(|(entry, n)| entry.seq == Seq(n)));
    entries.into_iter().map(|entry| entry.message_body).collect()
}

#[actix::test]
async fn a_server_that_crashes_or_is_restarted_is_found_again_with_all_it_had_confirmed() {
    let server = Postgres::durable();
    server.sql("postgres", "CREATE DATABASE chat");
    let store = impatient(&server.url("chat")).await;
    let mut wanted = Vec::new();
    for n in 0..4 {
        deliver(&store, 2 * n).await;
        if n % 2 == 0 {
            server.kill()
        } else {
            server.stop()
        }
        // A session of a killed server may live a moment longer.
        while store.ping().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let error = store.deliver(&[message(2 * n + 1)]).await.unwrap_err();
        assert!(error.is_passing(), "{error:?}");
        server.start_again();
        let (placed, took) = deliver(&store, 2 * n + 1).await;
        assert_eq!(placed, [Placed::New(vec![(UserId(1), Seq(2 * n + 2)), (UserId(2), Seq(2 * n + 2))])]);
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(store.refusal(), None);
        wanted.extend([(2 * n).to_string(), (2 * n + 1).to_string()]);
    }
    assert_eq!(inbox(&store).await, wanted);
    store.close().await;
}

/// Stands between a node and the server, and can swallow all that is sent: nobody is told, as when a cable is pulled.
struct Cable {
    address: std::net::SocketAddr,
    cut: watch::Sender<bool>,
}

impl Cable {
    /// Connections made while it was cut, or before, stay dead if `for_good`.
    async fn to(port: u16, for_good: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, is_cut) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let is_cut = is_cut.clone();
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::join!(
                        carry(from_client, to_server, is_cut.clone(), for_good),
                        carry(from_server, to_client, is_cut, for_good)
                    );
                });
            }
        });
        Self { address, cut }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut is_cut: watch::Receiver<bool>,
    for_good: bool,
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        if *is_cut.borrow() {
            if for_good {
                return std::future::pending().await;
            }
            is_cut.wait_for(|cut| !cut).await.unwrap();
        }
        tokio::select! {
            () = async { drop(is_cut.wait_for(|cut| *cut).await) } => {}
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(bytes) => if to.write_all(&buffer[..bytes]).await.is_err() { return },
            },
        }
    }
}

#[actix::test]
async fn a_network_that_swallows_everything_is_noticed_in_time_and_healed_when_it_is_back() {
    let database = database().await;
    for for_good in [false, true] {
        let cable = Cable::to(Postgres::shared().port(), for_good).await;
        let store = Arc::new(impatient(&cable.url(database.name())).await);
        let first = if for_good { 10 } else { 0 };
        deliver(&store, first).await;
        // So that all connections are there.
        let reads = (0..9).map(|_| store.head_seq(UserId(1)));
        futures_util::future::try_join_all(reads).await.unwrap();
        cable.cut.send(true).unwrap();
        let begun = Instant::now();
        let asking = (0..9).map(|_| store.head_seq(UserId(1)));
        for answer in futures_util::future::join_all(asking).await {
            let error = answer.unwrap_err();
            assert!(error.is_passing(), "{error:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(store.deliver(&[message(first + 1)]).await.unwrap_err().is_passing());
        cable.cut.send(false).unwrap();
        let (_, took) = deliver(&store, first + 1).await;
        assert!(took < Duration::from_secs(8), "{took:?}");
        store.close().await;
    }
}

#[actix::test]
async fn a_node_that_is_stuck_in_a_transaction_does_not_hold_others_up_for_ever() {
    let database = database().await;
    let (stuck, other) = (impatient(&database.url()).await, impatient(&database.url()).await);
    deliver(&stuck, 0).await;
    let mut tx = stuck.begin().await.unwrap();
    let head = query("UPDATE inbox_heads SET head_seq = head_seq + 1 WHERE user_id = 2");
    assert_eq!(head.run(&mut tx).await.unwrap(), 1);
    let (placed, took) = deliver(&other, 1).await;
    assert_eq!(placed, [Placed::New(vec![(UserId(1), Seq(2)), (UserId(2), Seq(2))])]);
    assert!(took < Duration::from_secs(5), "{took:?}");
    // When it goes on, it has lost what it did.
    let error = query("SELECT 1").run(&mut tx).await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    assert!(tx.commit().await.is_err());
    assert_eq!(inbox(&stuck).await, ["0", "1"]);
    stuck.close().await;
    other.close().await;
}
