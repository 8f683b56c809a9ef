//! A cluster is upgraded under load behind nginx, as `docs/operations.md` says: the newer release migrates the tables, nodes are
//! replaced one after the other, one goes back; later the tables are contracted. Nothing is lost, and nobody is away for long.
//!
//! The newer release is this program with a migration more. The older one is this program without it, or the one that
//! `PARLOR_OLDER` names: `scripts/upgrade-test.sh` builds it from an older commit.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::nginx::{Nginx, TRUSTED, addresses};
use super::world::World;
use super::{STOP, habits, seed};
use crate::crash::checker::Order;
use crate::crash::load::Load;
use crate::crash::server::Version;

/// What nobody may be away for longer than.
const AWAY: Duration = Duration::from_secs(5);
const NODES: usize = 3;

/// Adds to tables that messages pass, in the order in which a delivery locks them, while deliveries go on. Rows of nodes that do not
/// know the new column get it all the same.
const EXPAND: &str = "
SET LOCAL lock_timeout = '2s';
ALTER TABLE conversations ADD COLUMN title TEXT;
ALTER TABLE inbox_heads ADD COLUMN seen_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN body_bytes BIGINT;
CREATE FUNCTION next_body_bytes() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.body_bytes := octet_length(NEW.message_body); RETURN NEW; END';
CREATE TRIGGER next_body_bytes BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION next_body_bytes();
UPDATE messages SET body_bytes = octet_length(message_body) WHERE body_bytes IS NULL;
ALTER TABLE inbox ADD COLUMN starred BOOLEAN NOT NULL DEFAULT false;
CREATE TABLE next_things (id BIGINT PRIMARY KEY);
";
/// Takes away what only the release before used, and says that it is of no use any more.
const CONTRACT: &str = "
SET LOCAL lock_timeout = '2s';
ALTER TABLE conversations DROP COLUMN title;
DROP TRIGGER next_body_bytes ON messages;
DROP FUNCTION next_body_bytes;
UPDATE compatibility SET oldest = 5;
";

/// The releases of this story.
struct Releases {
    older: Version,
    newer: Version,
    newest: Version,
    _folders: [TempDir; 2],
}

impl Releases {
    fn new() -> Self {
        let mut older = Version::default();
        if let Some(program) = std::env::var_os("PARLOR_OLDER") {
            older.program = program.into();
        }
        let (expand, contract) = (("0005_expand.sql", EXPAND), ("0006_contract.sql", CONTRACT));
        let (newer, one) = Self::with(&[expand]);
        let (newest, two) = Self::with(&[expand, contract]);
        Self { older, newer, newest, _folders: [one, two] }
    }

    /// This program, with migrations more.
    fn with(migrations: &[(&str, &str)]) -> (Version, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        for (name, sql) in migrations {
            std::fs::write(folder.path().join(name), sql).unwrap();
        }
        let variable = ("PARLOR_TEST_MIGRATIONS".to_owned(), folder.path().display().to_string());
        (Version { environment: vec![variable], ..Version::default() }, folder)
    }
}

/// What the Job of the chart does.
async fn migrate(world: &World) {
    let (applied, said) = world.migrate(0, "apply").await;
    assert!(applied, "{said}");
}

/// Another version serves in the place of a node: the proxy sends nobody there, it is stopped, started, and is back.
async fn replace(world: &mut World, nginx: &Nginx, node: usize, by: &Version) {
    let begun = Instant::now();
    let others = (0..NODES).filter(|other| *other != node).map(|other| world.server(other).address.clone());
    nginx.reload(&others.collect::<Vec<_>>());
    world.terminate(node, STOP).await;
    world.change_to(node, by.clone());
    world.start(node).await;
    world.until_ready().await;
    nginx.reload(&addresses(world));
    eprintln!("node {node} replaced after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_cluster_is_upgraded_under_load_behind_nginx_and_nobody_is_away_for_long() {
    let seed = seed("upgrade");
    let Releases { older, newer, newest, _folders } = Releases::new();
    let mut world = World::of(NODES, &[TRUSTED], &older).await;
    let nginx = Nginx::start(&addresses(&world), false).await;
    let mut load = Load::start(world.server(0), 5, habits(Order::Strict), seed).await;
    load.addresses_are(vec![nginx.address.clone()]);
    load.until_accepted(100).await;

    // Expand, with the older release at work.
    world.change_to(0, newer.clone());
    migrate(&world).await;
    assert!(world.migrate(0, "status").await.1.contains("0005 expand                  applied"));
    load.until_accepted(100).await;
    // Use. A node of the older release that has to start meanwhile does so on the newer tables; and one goes back.
    let steps = [(0, &newer), (2, &older), (1, &newer), (0, &older), (2, &newer), (0, &newer)];
    for (node, version) in steps {
        replace(&mut world, &nginx, node, version).await;
        load.until_accepted(60).await;
    }
    for node in [0, 2] {
        assert!(world.log(node).contains("a newer Parlor has added to the tables"), "{}", world.log(node));
    }
    let without = world.database().sql("SELECT count(*) FROM messages WHERE body_bytes IS NULL");
    assert_eq!(without, "0", "rows that nodes of the older release wrote have what the newer one added");
    // Contract, now that nobody runs the older release.
    world.change_to(0, newest);
    migrate(&world).await;
    load.until_accepted(100).await;
    for node in 0..NODES {
        world.server(node).until_ready_says(200, Duration::ZERO).await;
    }

    let violations = load.settle(world.server(1)).await;
    assert_eq!(violations, [], "{}", nginx.log());
    let counts = load.checker().counts();
    assert_eq!(counts.accepted, counts.sent, "{counts:?}");
    let mut away = load.heard().away.lock().unwrap().clone();
    away.sort_unstable();
    let longest = *away.last().expect("clients were handed over");
    eprintln!("{} accepted, {} handed over, away for {:?} at most", counts.accepted, away.len(), longest);
    assert!(away.len() >= steps.len() && longest < AWAY, "{away:?}");
    let closes = load.heard().closes.lock().unwrap().clone();
    assert!(closes.iter().all(|code| [0, 1012].contains(code)), "{closes:?}");

    world.change_to(2, older);
    let (fits, said) = world.migrate(2, "apply").await;
    assert!(!fits && said.contains("written by a newer Parlor"), "{said}");
    drop(nginx);
    world.stop().await;
}
