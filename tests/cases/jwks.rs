//! The issuer's keys through outages, floods and rotations ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)): an honest
//! request is never refused for them, and a withdrawn key never outlives its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tests::oracle::{Alg, FakeIssuer, Fetch, Key, Mood};

use tests::world::Guarded;

const HOUR: i64 = 3_600;

/// A token that outlives whatever the case does to the clock.
fn lasting(api: &Guarded) -> String {
    api.token().claim("exp", api.now() + 7 * 24 * HOUR).text()
}

#[tokio::test]
async fn the_keys_are_fetched_once_for_any_number_of_requests() {
    let api = Guarded::start().await;
    for _ in 0..50 {
        assert_eq!(api.ask(&api.token().text()).await.status, 200);
    }
    assert_eq!(api.issuer.count(Fetch::Jwks), 1);
    assert_eq!(api.issuer.count(Fetch::Elsewhere), 0);
}

#[tokio::test]
async fn the_first_requests_share_one_fetch() {
    let issuer = FakeIssuer::start().await;
    issuer.set_mood(Mood::Hanging);
    let api = Arc::new(Guarded::of(issuer).await);
    let token = api.token().text();
    let waiting: Vec<_> = (0..32)
        .map(|_| {
            let (api, token) = (Arc::clone(&api), token.clone());
            tokio::spawn(async move { api.ask(&token).await.status })
        })
        .collect();
    api.issuer.arrival(Fetch::Jwks, 1).await;
    api.issuer.set_mood(Mood::Well);
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), 200);
    }
    assert_eq!(api.issuer.count(Fetch::Jwks), 1);
}

/// spring-security-oauth#1793, fastapi-zitadel-auth#156, tilegroxy#883: every unknown name cost a fetch.
#[tokio::test]
async fn a_flood_of_unknown_keys_costs_one_fetch() {
    let api = Arc::new(Guarded::start().await);
    api.warm().await;
    let before = api.issuer.count(Fetch::Jwks);
    let flood: Vec<_> = (0..200)
        .map(|n| {
            let api = Arc::clone(&api);
            tokio::spawn(async move {
                let token = api.token().header("kid", format!("unknown-{n}")).text();
                api.ask(&token).await.status
            })
        })
        .collect();
    for answer in flood {
        assert_eq!(answer.await.unwrap(), 401);
    }
    assert_eq!(api.issuer.count(Fetch::Jwks), before + 1);
    api.clock.advance(29);
    api.refuses(&api.token().header("kid", "later").text(), "unknown_key").await;
    assert_eq!(api.issuer.count(Fetch::Jwks), before + 1, "one second before the cooldown ends");
    api.clock.advance(1);
    api.refuses(&api.token().header("kid", "later-still").text(), "unknown_key").await;
    assert_eq!(api.issuer.count(Fetch::Jwks), before + 2);
}

/// auth0/jwks-rsa-java#173: the limiter locked out those who had a good key.
#[tokio::test]
async fn a_flood_does_not_touch_those_with_a_known_key() {
    let api = Arc::new(Guarded::start().await);
    api.warm().await;
    api.issuer.set_mood(Mood::Hanging);
    let flooded = api.issuer.count(Fetch::Jwks) + 1;
    let (flooder, token) = (Arc::clone(&api), api.token().header("kid", "unknown").text());
    let waiting = tokio::spawn(async move { flooder.ask(&token).await.status });
    api.issuer.arrival(Fetch::Jwks, flooded).await;
    for _ in 0..20 {
        assert_eq!(api.ask(&api.token().text()).await.status, 200, "while the fetch hangs");
    }
    api.issuer.set_mood(Mood::Well);
    assert_eq!(waiting.await.unwrap(), 401);
}

/// mobula#28: the cooldown counted successes, so there was none while the issuer was down.
#[tokio::test]
async fn the_cooldown_holds_while_the_issuer_is_down() {
    let issuer = FakeIssuer::start().await;
    issuer.set_mood(Mood::Failing(503));
    let api = Guarded::of(issuer).await;
    for _ in 0..20 {
        api.unavailable(&api.token().text()).await;
    }
    let fetches = api.issuer.count(Fetch::Jwks);
    assert!(fetches <= 2, "the first fetch and one demanded by a request, not {fetches}");
}

#[tokio::test]
async fn a_new_key_is_found_by_its_first_token() {
    let api = Guarded::start().await;
    api.warm().await;
    let next = Key::new(Alg::EdDsa, "k2");
    api.issuer.publish(vec![api.issuer.key.jwk(), next.jwk()]);
    assert_eq!(api.ask(&api.token().with_key(&next).text()).await.status, 200);
    assert_eq!(api.ask(&api.token().text()).await.status, 200);
}

#[tokio::test]
async fn a_withdrawn_key_is_gone_with_the_next_fetch() {
    let api = Guarded::start().await;
    let token = lasting(&api);
    assert_eq!(api.ask(&token).await.status, 200);
    let next = Key::new(Alg::Es256, "k2");
    api.publish(std::slice::from_ref(&next)).await;
    api.refuses(&token, "unknown_key").await;
}

/// The background refresh, without any unknown key to demand it: five minutes at most.
#[tokio::test]
async fn a_withdrawn_key_is_gone_after_five_minutes_without_any_demand() {
    let api = Guarded::start().await;
    let token = lasting(&api);
    assert_eq!(api.ask(&token).await.status, 200);
    api.issuer.publish(vec![Key::new(Alg::Es256, "k2").jwk()]);
    let fetched = api.issuer.count(Fetch::Jwks) + 1;
    api.clock.advance(300);
    api.issuer.arrival(Fetch::Jwks, fetched).await;
    // Joins the fetch if it still runs.
    api.refuses(&api.token().header("kid", "unknown").text(), "unknown_key").await;
    api.refuses(&token, "unknown_key").await;
}

/// envoy#31324, spring-security#19643, camunda#60337: an outage of the issuer became one of every API.
#[tokio::test]
async fn old_keys_live_through_an_outage_up_to_a_hard_age() {
    let api = Guarded::start().await;
    let token = lasting(&api);
    assert_eq!(api.ask(&token).await.status, 200);
    api.issuer.set_mood(Mood::Failing(503));
    for _ in 0..4 {
        api.clock.advance(6 * HOUR - 1);
        assert_eq!(api.ask(&token).await.status, 200, "up to 24 hours");
    }
    api.clock.advance(4);
    api.unavailable(&token).await;
    api.issuer.set_mood(Mood::Well);
    api.reload().await;
    assert_eq!(api.ask(&token).await.status, 200, "back again with the issuer");
}

#[tokio::test]
async fn a_restart_during_an_outage_goes_on_with_the_stored_keys() {
    let api = Guarded::start().await;
    let token = lasting(&api);
    assert_eq!(api.ask(&token).await.status, 200);
    api.issuer.set_mood(Mood::Failing(503));
    api.issuer.whole(true);
    let api = api.restart().await;
    assert_eq!(api.ask(&token).await.status, 200);
    api.refuses(&api.token().signed_by(&api.issuer.key.forged()).text(), "signature").await;
}

/// A restart must not make old keys young again.
#[tokio::test]
async fn the_hard_age_counts_from_the_fetch_and_not_from_the_restart() {
    let api = Guarded::start().await;
    let token = lasting(&api);
    assert_eq!(api.ask(&token).await.status, 200);
    api.issuer.set_mood(Mood::Failing(503));
    api.issuer.whole(true);
    api.clock.advance(24 * HOUR - 1);
    let api = api.restart().await;
    assert_eq!(api.ask(&token).await.status, 200);
    api.clock.advance(1);
    api.unavailable(&token).await;
}

/// Rotation and outages under load: keys come and go, the issuer hangs and fails, and nobody with a good token notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_honest_request_is_refused_while_keys_rotate_and_the_issuer_stumbles() {
    let api = Arc::new(Guarded::start().await);
    api.warm().await;
    let current = Arc::new(std::sync::Mutex::new(api.issuer.key.clone()));
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (api, current) = (Arc::clone(&api), Arc::clone(&current));
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let key = current.lock().unwrap().clone();
                    let answer = api.ask(&api.token().with_key(&key).text()).await;
                    assert_eq!(answer.status, 200, "{key:?}: {}", answer.text());
                    served.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let mut keys = vec![api.issuer.key.clone()];
    for round in 0..12 {
        // As a careful issuer does it: announce, let everybody fetch, sign with the new one, then drop the oldest.
        let next = Key::new(Alg::ALL[round % 2], &format!("r{round}"));
        keys.push(next.clone());
        api.publish(&keys).await;
        *current.lock().unwrap() = next;
        api.issuer.set_mood(if round % 2 == 0 { Mood::Failing(500) } else { Mood::Hanging });
        let goal = served.load(Ordering::SeqCst) + 40;
        while served.load(Ordering::SeqCst) < goal {
            tokio::task::yield_now().await;
            if callers.iter().any(tokio::task::JoinHandle::is_finished) {
                break;
            }
        }
        api.issuer.set_mood(Mood::Well);
        keys = keys.split_off(keys.len() - 2);
    }
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(served.load(Ordering::SeqCst) >= 480);
}
