//! Tells the others how many sockets this node has, and sends some to them when it has too many.

use std::time::Duration;

use super::NodeHandle;
use super::shedding::{Load, Shedder};
use crate::actors::registry::{HandOver, Staying};
use crate::clock::monotonic;
use crate::cluster::Cluster;
use crate::config::GATEWAY;
use crate::config::cluster::ClusterOptions;

/// Time between two looks.
const STEP: Duration = Duration::from_secs(1);

/// Looks once a second, for as long as the node takes clients.
pub(super) async fn keep_balance(node: NodeHandle, cluster: Cluster, options: ClusterOptions) {
    let mut shedder = Shedder::default();
    while !node.draining() {
        tokio::time::sleep(STEP).await;
        let here = node.registry().send(Staying).await.unwrap_or_default();
        cluster.say(|record| record.sessions = here, false);
        let Some(load) = load(&cluster, here) else { continue };
        let most = shedder.next(load, monotonic(), STEP, &options);
        if most == 0 {
            continue;
        }
        let order = HandOver { most, jitter: options.handover_jitter() };
        let gone = node.registry().send(order).await.unwrap_or_default();
        crate::metrics::handed_over(gone as u64, "shed");
        tracing::info!(
            gone,
            here,
            everywhere = load.everywhere,
            nodes = load.nodes,
            "clients were sent to other nodes"
        );
    }
}

/// How the nodes that take clients stand; `None` when that is not known, or this is not one of them.
fn load(cluster: &Cluster, here: usize) -> Option<Load> {
    let own = cluster.seat()?;
    if !cluster.redis_up() {
        return None;
    }
    let nodes = cluster.nodes();
    let takes = |stages: &[String]| stages.iter().any(|stage| stage == GATEWAY);
    nodes.get(own.slot).filter(|node| takes(&node.record.stages))?;
    let taking = nodes.live().iter().filter(|node| takes(&node.record.stages) && !node.record.draining);
    let counts: Vec<usize> = taking.map(|node| if node.seat == own { here } else { node.record.sessions }).collect();
    let least = counts.iter().min().copied()?;
    Some(Load { here, everywhere: counts.iter().sum(), nodes: counts.len(), least })
}
