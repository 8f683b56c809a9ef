//! Whoever was on a node that died, and does not come back, is shown as gone: a dead node says goodbye for nobody.
//!
//! Redis keeps an entry for each of them under a seat that nobody holds. The surviving nodes look through the people whom
//! their own users share conversations with; one node takes each such entry out, and tells of the user.

use std::collections::HashSet;
use std::time::Duration;

use actix::prelude::*;

use super::bridge::Bridge;
use super::presence::{MAX_PEERS, Presence, Seen};
use super::registry::{Registry, WhoIsHere};
use super::tell::tell;
use crate::cluster::Cluster;
use crate::cluster::nodes::Seat;
use crate::store::Store;

/// How often it is looked whether a node has died.
const LOOK: Duration = Duration::from_secs(1);
/// Time that those who were on it have to come back.
const RETURN: Duration = Duration::from_secs(5);
/// Time between two users: at most 200 a second are looked after.
const PACE: Duration = Duration::from_millis(5);

/// Looks for as long as the node lives.
pub async fn keep_looking(cluster: Cluster, store: Store, registry: Addr<Registry>) {
    let mut before: HashSet<Seat> = HashSet::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let nodes = cluster.nodes();
        let died = before.iter().any(|seat| !nodes.holds(*seat));
        // Who drains has its sessions leave one by one.
        before = nodes.live().iter().filter(|node| !node.record.draining).map(|node| node.seat).collect();
        if !died {
            continue;
        }
        tokio::time::sleep(RETURN).await;
        let Ok(users) = registry.send(WhoIsHere).await else { return };
        for user in users {
            tokio::time::sleep(PACE).await;
            let Ok(peers) = store.peers(user, MAX_PEERS).await else { continue };
            // What it finds under seats that nobody holds is taken out soon, and heard of below.
            let _ = cluster.online_elsewhere(&peers).await;
        }
    }
}

/// Tells of those whose entry this node took out, unless they are somewhere else.
pub async fn keep_telling(cluster: Cluster, bridge: Bridge, presence: Addr<Presence>) {
    let Some(mut left) = cluster.left_behind() else { return };
    while let Some(user_id) = left.recv().await {
        tokio::time::sleep(PACE).await;
        if bridge.online(vec![user_id]).await.is_empty() {
            // From here on it is as with a session that has ended: there is time to come back.
            tell(&presence, "presence", Seen { user_id, came: false, first: false });
        }
    }
}
