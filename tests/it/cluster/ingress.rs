//! A real nginx before a cluster, with the settings of `deploy/ingress/nginx.sh`: TLS, sockets that outlive a reload, the body's bound,
//! whose address is believed, and nodes that are replaced one after the other under load.

use std::time::Duration;

use serde_json::json;

use super::nginx::{MOST, Nginx, PROXY, TRUSTED, addresses};
use super::world::World;
use super::{STOP, habits, seed};
use crate::app::{TestApp, send_frame};
use crate::crash::checker::Order;
use crate::crash::load::Load;

#[tokio::test]
async fn nodes_are_replaced_one_after_the_other_behind_nginx_and_nothing_is_lost_or_repeated() {
    let seed = seed("ingress");
    let mut world = World::shared(2, &[TRUSTED]).await;
    let nginx = Nginx::start(&addresses(&world), false).await;
    // A request that finds a node gone is answered 502 by nginx, and sent again.
    let mut load = Load::start(world.server(0), 5, habits(Order::AsTried), seed).await;
    load.addresses_are(vec![nginx.address.clone()]);
    for node in 0..2 {
        load.until_accepted(60).await;
        // As an endpoint is taken off before the pod is told to stop.
        let staying = vec![world.server(1 - node).address.clone()];
        nginx.reload(&staying);
        world.terminate(node, STOP).await;
        world.start(node).await;
        world.until_ready().await;
        nginx.reload(&addresses(&world));
    }
    load.until_accepted(60).await;
    let violations = load.settle(world.server(0)).await;
    assert_eq!(violations, [], "{}", nginx.log());
    drop(nginx);
    world.stop().await;
}

#[tokio::test]
async fn nginx_keeps_sockets_over_a_reload_bounds_bodies_speaks_tls_and_says_who_asks() {
    // Two attempts of an address: whose address counts can be seen.
    let limits = ("ACCOUNTS__LIMITS__PER_ADDRESS", "{ attempts = 2, seconds = 3600 }");
    let world = World::shared(2, &[TRUSTED, limits]).await;
    let (ada, bob) = (world.app(0).register("ada").await, world.app(1).register("bob").await);
    let plain = Nginx::start(&addresses(&world), false).await;
    let through = TestApp::around(&format!("http://{}", plain.address));
    let (mut at_ada, mut at_bob) = (through.socket(&ada).await, through.socket(&bob).await);
    for round in 0..3 {
        at_ada.accepted(send_frame(&[&bob], "over a reload", &round.to_string())).await;
        at_bob.messages(1).await;
        plain.reload(&addresses(&world));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    at_ada.assert_alive().await;

    // The largest message passes, in the worst of ways to write it; more is not let through to a node.
    let body = |bytes: usize| format!(r#"{{"messageBody":"{}","recipientIds":[{}]}}"#, "\\u0061".repeat(bytes), bob.id);
    for (bytes, status) in [(MOST, 202), (MOST * 2, 413)] {
        let request = plain.client().post(plain.url("api/v1/messages")).bearer_auth(&ada.access_token);
        let answer = request.header("content-type", "application/json").body(body(bytes)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{bytes}");
    }

    let secure = Nginx::start(&addresses(&world), true).await;
    let login = async |claims: &str, direct: Option<&str>| {
        let url = direct.map_or_else(|| secure.url("api/v1/login"), |node| format!("http://{node}/api/v1/login"));
        let client = match direct {
            None => secure.client(),
            Some(_) => {
                reqwest::Client::builder().local_address(PROXY.parse::<std::net::IpAddr>().ok()).build().unwrap()
            }
        };
        let request = client.post(url).header("x-forwarded-for", claims);
        request.json(&json!({"username": "nobody", "password": "wrong password"})).send().await.unwrap().status()
    };
    // What a client claims is not believed: each claims another address, and all count as the one that nginx saw.
    let claimed = ["203.0.113.1", "203.0.113.2", "203.0.113.3"];
    let mut told = Vec::new();
    for claim in claimed {
        told.push(login(claim, None).await.as_u16());
    }
    assert_eq!(told, [401, 401, 429]);
    // A trusted proxy is: these are three addresses.
    for claim in claimed {
        assert_eq!(login(claim, Some(&world.server(0).address)).await, 401);
    }
    drop((plain, secure));
    world.stop().await;
}
