//! Signature keys over several instances: rotated once, revoked everywhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use auth_server::{App, Ports, SeededRandom};
use futures_util::future::join_all;
use serde_json::Value;
use shared_types::Clock as _;
use tests::background;
use tests::engine::{Store, server_or_skip};
use tests::oracle::unverified_header;
use tests::realm::within_five_seconds;
use tests::world::World;

use super::pair;

fn kids(jwks: &Value) -> BTreeSet<String> {
    let keys = jwks["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_key_revoked_beside_one_instance_signs_nowhere_within_five_seconds() {
    let Some((here, there)) = pair("a_key_revoked_beside_one").await else { return };
    let machines = [here.machine(), there.machine()];
    let signers = async || {
        let kid = async |machine: &tests::client::Client| {
            let token = machine.client_credentials("documents:read").await.expect(200);
            // The key may be gone from the published set before that could be asked for.
            unverified_header(&token.member("access_token"))["kid"].as_str().unwrap().to_owned()
        };
        let signers: BTreeSet<String> =
            join_all(machines.iter().map(kid)).await.into_iter().collect();
        signers
    };
    let before = signers().await;
    assert_eq!(before.len(), 1, "both sign with one key");
    let old = before.first().unwrap();
    here.cli(&["key", "revoke", old], "");
    within_five_seconds("it signs nowhere", || async { !signers().await.contains(old) }).await;
    within_five_seconds("it is published nowhere", || async {
        let published = join_all(machines.iter().map(tests::client::Client::jwks)).await;
        published.iter().all(|jwks| !kids(jwks).contains(old))
    })
    .await;
    assert_eq!(signers().await.len(), 1, "both sign with its successor");
}

/// Two instances whose plans are due at the same moment: a guard row puts one before the other, which then finds nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_is_due_at_two_instances_happens_once() {
    let Some(server) = server_or_skip("a_rotation_that_is_due_at_two") else { return };
    let alone = World::start().await;
    let shared = World::on(Store::on(&server).await).await;
    let second = {
        let (settings, clock) = (shared.auth.running.app().settings.clone(), shared.clock.clone());
        let ports = Ports { clock, random: Arc::new(SeededRandom::new(99)) };
        background::run(async move { Arc::new(App::build(settings, ports).await.unwrap()) }).await
    };
    let rotate = |app: &Arc<App>| {
        let app = app.clone();
        background::run(async move { app.rotate_keys().await.unwrap() })
    };
    for _ in 0..20 {
        // The background of both worlds' servers looks each minute too, so steps are not counted here but their traces.
        for world in [&alone, &shared] {
            world.clock.advance(5 * 86_400);
        }
        rotate(alone.auth.running.app()).await;
        let first = shared.auth.running.app();
        join_all([rotate(first), rotate(&second), rotate(first), rotate(&second)]).await;
        let mut states = Vec::new();
        for world in [&alone, &shared] {
            let app = world.auth.running.app().clone();
            states.push(background::run(async move { states_of(&app).await }).await);
        }
        assert_eq!(states[0], states[1], "at {}", shared.clock.now().as_i64());
    }
    assert!(shared.web().jwks().await["keys"].as_array().is_some_and(|keys| keys.len() >= 2));
    let second = second.database.clone();
    background::run(async move { second.close().await }).await;
}

/// Algorithm, state and when it was announced, of every key that is known.
async fn states_of(app: &App) -> Vec<(String, String, i64)> {
    let sql = "SELECT alg, state, announced_at FROM signing_key ORDER BY announced_at, alg, state";
    let rows = app.database.read(move |store| store.query(sql, &[])).await.unwrap();
    rows.iter()
        .map(|row| (row.text(0).unwrap(), row.text(1).unwrap(), row.int(2).unwrap()))
        .collect()
}
