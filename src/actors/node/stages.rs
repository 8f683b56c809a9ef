//! Brings up the stages that a node hosts, each with its feeder, and keeps the feeders going.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{Semaphore, mpsc};

use super::{Node, NodeHandle};
use crate::actors::feeder::{self, Job};
use crate::actors::router::Router;
use crate::actors::stage::{Hops, StageActor};
use crate::clock::Clock;
use crate::config::GATEWAY;
use crate::pipeline::auto_reply::AutoReplyStage;
use crate::pipeline::bus::{Bus, Topic};
use crate::pipeline::made::MadeRoute;
use crate::pipeline::scripted::Scripted;
use crate::pipeline::stages::{Catalogue, Kind, OUTGOING};

/// Time before a stage that died is started anew.
const RESTART: Duration = Duration::from_millis(500);

impl Node {
    /// A channel, an actor and a feeder for each hosted stage. Every channel has room for all records in flight, so
    /// that no hop ever waits and no order of stages can lock up.
    pub(super) fn start_stages(&self, catalogue: &Catalogue, clock: &Clock) {
        let server = &self.config;
        let window = self.handle.0.window.clone();
        let mut here = HashMap::new();
        let mut ends = Vec::new();
        for name in server.stages.iter().filter(|name| *name != GATEWAY) {
            let Some(kind) = catalogue.get(name) else { continue };
            let topic = Topic::from(format!("{}.{name}", server.topic_prefix).as_str());
            let (sender, jobs) = mpsc::channel(server.in_flight.max(1));
            here.insert(topic.clone(), sender);
            ends.push((name.clone(), topic, kind.clone(), jobs));
        }
        let bus: Arc<dyn Bus> = self.bus.clone();
        let topic = |name: &str| Topic::from(format!("{}.{name}", server.topic_prefix).as_str());
        let pipeline: Vec<Topic> = server.pipeline.iter().map(|name| topic(name)).collect();
        let route = MadeRoute::new(&pipeline, &topic(OUTGOING));
        // Other nodes host them, or somebody else's program does.
        let elsewhere = pipeline.iter().filter(|topic| !here.contains_key(topic)).cloned().collect();
        let hops = Arc::new(Hops { bus: bus.clone(), here, elsewhere });
        for (name, topic, kind, jobs) in ends {
            match kind {
                Kind::Router => {
                    let (store, bridge) = (self.store.clone(), self.deps.bridge.clone());
                    Router::new(store, bridge, clock.clone(), hops.clone(), jobs).start();
                }
                Kind::Each(stage) => {
                    StageActor::new(&name, stage, hops.clone(), jobs).start();
                }
                Kind::AutoReply => {
                    let (automation, log) = (self.state.scripts.automation.clone(), self.log.clone());
                    let (store, clock, route) = (self.store.clone(), clock.clone(), route.clone());
                    let max_bytes = server.session.max_message_bytes;
                    let stage = AutoReplyStage::new(automation, log, store, clock, route, max_bytes);
                    StageActor::new(&name, Arc::new(stage), hops.clone(), jobs).start();
                }
                Kind::Scripts(direction) => {
                    let (automation, runs) = (self.state.scripts.automation.clone(), self.runs.clone());
                    let (clock, route) = (clock.clone(), route.clone());
                    let (free, most) = (window.clone(), server.in_flight);
                    let pressed = Box::new(move || free.available_permits() < most / 2);
                    let read_again = Default::default();
                    let stage = Scripted { direction, automation, runs, route, clock, read_again, pressed };
                    StageActor::new(&name, Arc::new(stage), hops.clone(), jobs).start();
                }
            }
            if let Some(sender) = hops.here.get(&topic) {
                actix::spawn(keep_feeding(self.handle.clone(), bus.clone(), topic, window.clone(), sender.clone()));
            }
        }
    }
}

/// Feeds a stage for as long as the node lives.
async fn keep_feeding(
    node: NodeHandle,
    bus: Arc<dyn Bus>,
    topic: Topic,
    window: Arc<Semaphore>,
    jobs: mpsc::Sender<Job>,
) {
    loop {
        let feeding = actix::spawn(feeder::feed(bus.clone(), topic.clone(), window.clone(), jobs.clone()));
        match feeding.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if node.draining() => {
                tracing::debug!(%topic, %error, "a stage is fed no more");
                return;
            }
            Ok(Err(error)) => tracing::error!(%topic, %error, "a stage is fed no more; it is tried again"),
            Err(error) => tracing::error!(%topic, %error, "a feeder ended in a panic; it is started again"),
        }
        if jobs.is_closed() {
            // The stage itself is gone, with the receiver: the process must be started anew, and loses nothing by it.
            tracing::error!(%topic, "a stage is gone");
            node.0.failed.notify_one();
            return;
        }
        crate::metrics::actor_restarted("feeder");
        tokio::time::sleep(RESTART).await;
    }
}
