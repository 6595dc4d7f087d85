//! PostgreSQL goes away under both servers: they say so, keep nobody waiting, and go on by themselves when it is back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tests::client::Client;
use tests::cluster::Cluster;
use tests::http::{Answer, Http};
use tests::realm::Realm;

use super::House;
use crate::processes::AUTH_SERVER;

/// Longer than any answer may take, also on a busy machine: what comes later would be called hanging.
const PATIENCE: Duration = Duration::from_secs(30);

async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, answer).await.expect("an answer, whatever it is")
}

/// Asks until the answer has that status: what a server has in memory may count for five seconds.
async fn until<F: Future<Output = Answer>>(status: u16, ask: impl Fn() -> F) -> Answer {
    let mut interval = tokio::time::interval(Duration::from_millis(100));
    in_time(async {
        loop {
            let answer = ask().await;
            if answer.status == status {
                return answer;
            }
            interval.tick().await;
        }
    })
    .await
}

/// What all of `count` clients are told who refresh at once.
async fn all_at_once(web: &Client, token: &str, count: usize) -> Vec<Answer> {
    let web = Arc::new(web.clone());
    let asked = (0..count).map(|_| {
        let (web, token) = (web.clone(), token.to_owned());
        tokio::spawn(async move { in_time(web.refresh(&token)).await })
    });
    join_all(asked).await.into_iter().map(Result::unwrap).collect()
}

async fn auth_server_says_so(realm: &Realm, web: &Client, token: &str) {
    let http = Http::new();
    let at = |path: &str| format!("{}{path}", realm.issuer);
    for answer in all_at_once(web, token, 32).await {
        answer.is_temporarily_unavailable();
    }
    let ready = in_time(http.get(&at("/readyz"))).await;
    assert_eq!((ready.status, ready.json()["status"].as_str()), (503, Some("not ready")));
    in_time(http.get(&at("/healthz"))).await.expect(200);
    // Keys and clients in memory are good for five seconds, then they are no more.
    let machine = realm.machine();
    let refused = until(503, || machine.client_credentials("documents:read")).await;
    refused.is_temporarily_unavailable();
    until(503, || async { http.get(&at("/jwks.json")).await }).await.is_put_off();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auth_server_without_postgres_answers_503_and_works_again_when_it_is_back() {
    let Some(cluster) = Cluster::start("an_auth_server_without_postgres", &[]) else { return };
    let realm = Realm::start_at(AUTH_SERVER, &cluster.url(), &[]).await;
    let web = realm.web();
    let (machine, http) = (realm.machine(), Http::new());
    let ready = format!("{}/readyz", realm.issuer);
    let mut token = realm.tokens("openid", "kept").await.member("refresh_token");
    for tag in ["first", "second"] {
        // Nobody knows of a request that was under way what became of it: so many at once may end its family.
        let other = realm.tokens("openid", tag).await.member("refresh_token");
        cluster.kill();
        auth_server_says_so(&realm, &web, &other).await;
        cluster.begin();
        token = until(200, || web.refresh(&token)).await.member("refresh_token");
        until(200, || async { http.get(&ready).await }).await;
        until(200, || machine.client_credentials("documents:read")).await;
    }
    let log = realm.log();
    for line in ["the database server is away", "the database server is back"] {
        let said = log.lines().filter(|said| said.contains("database::postgres"));
        assert_eq!(said.filter(|said| said.contains(line)).count(), 2, "{line}:\n{log}");
    }
}

/// A server that holds its connections and says nothing: a stopped machine, a broken network.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_says_nothing_keeps_nobody_waiting() {
    let Some(cluster) = Cluster::start("a_postgres_that_says_nothing", &[]) else { return };
    let more = ["--database-statement-timeout", "1s", "--database-connect-timeout", "1s"];
    let realm = Realm::start_at(AUTH_SERVER, &cluster.url(), &more).await;
    let web = realm.web();
    let [token, other] =
        [realm.tokens("openid", "kept").await, realm.tokens("openid", "frozen").await]
            .map(|tokens| tokens.member("refresh_token"));
    cluster.freeze();
    auth_server_says_so(&realm, &web, &other).await;
    cluster.thaw();
    until(200, || web.refresh(&token)).await;
}

/// A server that answers, and has no connection to spare: for this role here, as with `max_connections` for everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_without_room_for_a_connection_is_answered_503_and_is_not_away() {
    let Some(cluster) = Cluster::start("a_postgres_without_room", &[]) else { return };
    cluster.execute("CREATE ROLE few LOGIN CREATEDB").await;
    let realm =
        Realm::start_at(AUTH_SERVER, &cluster.url().replace("postgres@", "few@"), &[]).await;
    let (web, http, ready) = (realm.web(), Http::new(), format!("{}/readyz", realm.issuer));
    let token = realm.tokens("openid", "kept").await.member("refresh_token");
    cluster.execute("ALTER ROLE few CONNECTION LIMIT 0").await;
    let hang_up =
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'few'";
    cluster.execute(hang_up).await;
    for _ in 0..16 {
        in_time(web.refresh(&token)).await.is_temporarily_unavailable();
    }
    in_time(http.get(&ready)).await.expect(503);
    cluster.execute("ALTER ROLE few CONNECTION LIMIT -1").await;
    until(200, || web.refresh(&token)).await;
    until(200, || async { http.get(&ready).await }).await;
    let log = realm.log();
    assert!(log.contains("the database server refuses a connection"), "{log}");
    assert!(!log.contains("the database server is away"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_server_without_postgres_checks_tokens_and_answers_503_where_it_needs_rows() {
    let Some(cluster) = Cluster::start("a_resource_server_without_postgres", &[]) else { return };
    let House { documents, id, ready, .. } = &House::on(&cluster).await;
    cluster.kill();
    for _ in 0..8 {
        in_time(documents.read(id)).await.is_put_off();
        in_time(documents.create("lost", "text")).await.is_put_off();
    }
    in_time(documents.whoami()).await.expect(200);
    let http = Http::new();
    let said = in_time(http.get(ready)).await.expect(503);
    assert_eq!(said.json()["database"], false);
    cluster.begin();
    until(200, || documents.read(id)).await;
    until(201, || documents.create("new", "text")).await;
    until(200, || async { http.get(ready).await }).await;
}
