//! PostgreSQL stands still, as behind a broken network: whatever is asked of a server then, by however many, is answered while it does.
//!
//! The servers run with the limits that they come with. That a request waits for those before it would show by their number: so there are
//! many of each kind, and all of them have to be answered before PostgreSQL goes on.

use std::time::Duration;

use futures_util::future::join_all;
use tests::client::Client;
use tests::cluster::Cluster;
use tests::http::{Answer, Http};
use tests::realm::Realm;
use tests::world::SECRET;

use super::House;
use crate::processes::AUTH_SERVER;

/// Requests of each kind at once.
const MANY: usize = 32;
/// Longer than any of them may take, also on a busy machine, and much shorter than a few that wait for one another.
const PATIENCE: Duration = Duration::from_secs(45);

/// PostgreSQL stands still while it lives, also when a test fails: nothing that comes after could end.
struct Frozen<'c>(&'c Cluster);

impl<'c> Frozen<'c> {
    fn new(cluster: &'c Cluster) -> Self {
        cluster.freeze();
        Self(cluster)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.thaw();
    }
}

async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, answer).await.expect("an answer, whatever it is")
}

/// What is asked, again and again, and of whom.
#[derive(Clone)]
struct Asker {
    machine: Client,
    introspector: Client,
    web: Client,
    access: String,
    /// Of a person.
    of_alice: String,
    refresh: String,
    issuer: String,
    http: Http,
}

impl Asker {
    async fn of(realm: &Realm) -> Self {
        let machine = realm.machine();
        let own = machine.client_credentials("documents:read").await.expect(200);
        let tokens = realm.tokens("openid", "held").await;
        Self {
            machine,
            introspector: Client::new(&realm.issuer, "documents-rs", SECRET, ""),
            web: realm.web(),
            access: own.member("access_token"),
            of_alice: tokens.member("access_token"),
            refresh: tokens.member("refresh_token"),
            issuer: realm.issuer.clone(),
            http: Http::new(),
        }
    }

    const KINDS: usize = 7;

    async fn ask(&self, kind: usize) -> Answer {
        let get = |path: &str| {
            let url = format!("{}{path}", self.issuer);
            async move { self.http.get(&url).await }
        };
        match kind {
            0 => self.machine.client_credentials("documents:read").await,
            1 => self.introspector.introspect(&self.access).await,
            2 => self.introspector.introspect(&self.refresh).await,
            3 => get("/readyz").await,
            4 => get("/.well-known/oauth-authorization-server").await,
            5 => get("/jwks.json").await,
            _ => self.web.userinfo(&self.of_alice).await,
        }
    }

    /// Everything at once.
    async fn ask_all(&self) -> Vec<Answer> {
        let asked = (0..MANY * Self::KINDS).map(|number| {
            let asker = self.clone();
            tokio::spawn(async move { in_time(asker.ask(number % Self::KINDS)).await })
        });
        join_all(asked).await.into_iter().map(Result::unwrap).collect()
    }
}

/// Every answer is a good one, or says when to ask again; how many are good.
fn good_ones(answers: &[Answer]) -> usize {
    let good = |answer: &&Answer| answer.status == 200;
    for refused in answers.iter().filter(|answer| !good(answer)) {
        assert_eq!(refused.status, 503, "{}: {}", refused.url, refused.text());
        let seconds: u32 = refused.header("Retry-After").parse().expect("a number of seconds");
        assert!((1..=60).contains(&seconds), "{}: {seconds}", refused.url);
    }
    answers.iter().filter(good).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auth_server_answers_everybody_while_postgres_stands_still() {
    let Some(cluster) = Cluster::start("an_auth_server_answers_everybody", &[]) else { return };
    let realm = Realm::start_at(AUTH_SERVER, &cluster.url(), &[]).await;
    let asker = Asker::of(&realm).await;
    let frozen = Frozen::new(&cluster);
    // At first clients and keys in memory are good, then nothing is.
    good_ones(&asker.ask_all().await);
    in_time(async { while asker.ask(5).await.status == 200 {} }).await;
    assert_eq!(good_ones(&asker.ask_all().await), 0);
    in_time(asker.http.get(&format!("{}/healthz", realm.issuer))).await.expect(200);
    drop(frozen);
    for kind in 0..Asker::KINDS - 1 {
        in_time(async { while asker.ask(kind).await.status != 200 {} }).await;
    }
    in_time(async { while asker.web.refresh(&asker.refresh).await.status != 200 {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_server_answers_everybody_while_postgres_stands_still() {
    let Some(cluster) = Cluster::start("a_resource_server_answers_everybody", &[]) else { return };
    let House { documents, id, ready, .. } = &House::on(&cluster).await;
    let http = Http::new();
    let frozen = Frozen::new(&cluster);
    let asked = (0..MANY * 3).map(|number| {
        let (documents, http, id, ready) =
            (documents.clone(), http.clone(), id.clone(), ready.clone());
        tokio::spawn(in_time(async move {
            match number % 3 {
                0 => documents.read(&id).await,
                1 => documents.create("lost", "text").await,
                _ => http.get(&ready).await,
            }
        }))
    });
    let answers: Vec<Answer> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(good_ones(&answers), 0);
    in_time(documents.whoami()).await.expect(200);
    drop(frozen);
    in_time(async { while documents.read(id).await.status != 200 {} }).await;
    in_time(async { while http.get(ready).await.status != 200 {} }).await;
}
