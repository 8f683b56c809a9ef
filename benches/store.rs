//! How many messages a second the tables take, by how many are delivered in one transaction.
//!
//! `cargo bench --bench store -- sqlite [FOLDER]` or `cargo bench --bench store -- postgres URL`: an empty database.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement for a person to read"
)]

use std::time::{Duration, Instant};

use chrono::DateTime;
use parlor::config::database::DatabaseOptions;
use parlor::config::secret::Secret;
use parlor::ids::{ConversationId, MessageUid, UserId};
use parlor::store::Store;
use parlor::store::inbox::Placement;

const BODY_BYTES: usize = 200;
const USERS: i64 = 1_000;
const DURATION: Duration = Duration::from_secs(4);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let kind = arguments.first().map_or("sqlite", String::as_str).to_owned();
    let place = arguments.get(1).cloned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!(
        "{kind}: {BODY_BYTES}-byte messages between two of {USERS} users, two places each; {} s each",
        DURATION.as_secs()
    );
    println!("routers  a transaction  messages/s  ms a transaction");
    runtime.block_on(async {
        for (routers, batch) in [(1, 1), (1, 64), (1, 512), (3, 1), (3, 64), (3, 512)] {
            if routers > 1 && kind == "sqlite" {
                break; // A folder has one server.
            }
            let folder = place.clone().filter(|_| kind == "sqlite").map_or_else(std::env::temp_dir, Into::into);
            let folder = tempfile::tempdir_in(folder).unwrap();
            let mut stores = Vec::new();
            for _ in 0..routers {
                stores.push(match kind.as_str() {
                    "postgres" => {
                        let url = Secret::new(place.clone().expect("postgres URL"));
                        Store::connect(&url, &DatabaseOptions::default()).await.unwrap()
                    }
                    _ => Store::open(folder.path()).await.unwrap(),
                });
            }
            measure(&stores, batch).await;
        }
    });
}

/// Delivers side by side, each router from senders of its own to anybody.
#[expect(clippy::cast_precision_loss, reason = "figures for a table")]
async fn measure(stores: &[Store], batch: usize) {
    let begin = Instant::now();
    let routers: Vec<_> = (0..)
        .zip(stores)
        .map(|(router, store)| {
            let store = store.clone();
            tokio::spawn(async move {
                let (mut transactions, mut n) = (0_usize, 0_i64);
                while begin.elapsed() < DURATION {
                    let messages: Vec<Placement> = (0..batch)
                        .map(|_| {
                            n += 1;
                            message(router + 3 * (n % (USERS / 3)), (n * 7) % USERS)
                        })
                        .collect();
                    store.deliver(&messages).await.unwrap();
                    transactions += 1;
                }
                transactions
            })
        })
        .collect();
    let mut transactions = 0;
    for router in routers {
        transactions += router.await.unwrap();
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{:>7}  {batch:>13}  {:>10.0}  {:>16.2}",
        stores.len(),
        (transactions * batch) as f64 / seconds,
        seconds * 1000.0 * stores.len() as f64 / transactions as f64
    );
    for store in stores {
        store.close().await;
    }
}

fn message(sender: i64, recipient: i64) -> Placement {
    let mut owners = vec![UserId(sender), UserId(recipient)];
    owners.sort_unstable();
    owners.dedup();
    Placement {
        message_uid: MessageUid::fresh(),
        conversation_id: ConversationId::of(owners.clone()),
        participants: owners.clone(),
        sender_id: UserId(sender),
        owners,
        filtered: Vec::new(),
        answered: Vec::new(),
        message_body: "x".repeat(BODY_BYTES),
        from_auto_reply: false,
        sent_at: DateTime::from_timestamp(1_700_000_000, 0).expect("a time"),
    }
}
