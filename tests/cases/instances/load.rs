//! Either of two instances is killed under load: clients that go to the other one lose nothing but the request that was under way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use tests::browser::{Browser, Page};
use tests::client::Client;
use tests::http::{Answer, Http, try_send};
use tests::realm::End;
use tests::world::SECRET;
use tokio::task::JoinHandle;

use super::pair;

const CLIENTS: usize = 8;
/// Rounds of work that every client gets done between two blows.
const ROUNDS: usize = 5;
const HOST: &str = "127.0.0.1";

/// What happens to everybody.
#[derive(Default)]
struct Storm {
    /// How many blows there were. The odd ones kill the first instance, the even ones the second.
    blows: AtomicUsize,
    over: AtomicBool,
    /// Rounds that each client has done.
    done: [AtomicUsize; CLIENTS],
}

/// A client that knows both instances and stays with one as long as it answers.
struct Roaming {
    number: usize,
    /// Its redirect URI, and the issuer that it believes in.
    web: Client,
    /// The session of its person.
    cookies: String,
    http: Http,
    addresses: [String; 2],
    at: usize,
    /// The last blow that broke a connection of this client.
    struck: usize,
    /// How many did.
    broken: usize,
    storm: Arc<Storm>,
}

impl Roaming {
    /// The answer of whichever instance answers, and whether it was the second that was asked. Only a broken connection makes it go to
    /// the other one: any answer counts.
    async fn ask(&mut self, make: impl Fn(&Http, &str) -> RequestBuilder) -> (Answer, bool) {
        if self.number % 2 == 1 {
            // Half of them never come twice over one connection, so an instance has to take in new ones all the time.
            self.http = Http::new();
        }
        let first = try_send(make(&self.http, &self.addresses[self.at])).await;
        let Err(error) = first else { return (first.unwrap(), false) };
        self.excuse(&error);
        // With connections of its own again: one to the other instance may be from before that was killed.
        self.http = Http::new();
        self.at = 1 - self.at;
        let second = try_send(make(&self.http, &self.addresses[self.at])).await;
        (second.unwrap_or_else(|error| panic!("the instance that is left: {error:?}")), true)
    }

    /// A blow breaks what is under way at the instance that it hits: of every client one request, and none elsewhere.
    fn excuse(&mut self, error: &reqwest::Error) {
        let blow = self.storm.blows.load(Ordering::Relaxed);
        let (number, at) = (self.number, self.at);
        assert!(blow > 0, "client {number}: nobody was killed yet: {error:?}");
        assert_eq!(at, (blow - 1) % 2, "client {number}: blow {blow} hit the other one: {error:?}");
        assert!(self.struck < blow, "client {number}: blow {blow} broke more than one: {error:?}");
        self.struck = blow;
        self.broken += 1;
    }

    async fn post(&mut self, path: &str, id: &str, fields: &[(&str, &str)]) -> (Answer, bool) {
        self.ask(|http, address| {
            let request = http.request(Method::POST, &format!("{address}{path}"));
            request.basic_auth(id, Some(SECRET)).form(fields)
        })
        .await
    }

    /// A new code of the session, redeemed. A redemption whose answer was lost may have spent its code.
    async fn redeem(&mut self, tag: &str) {
        let pending = self.web.begin("openid", tag).param("prompt", "none");
        let cookies = self.cookies.clone();
        let authorize = |http: &Http, address: &str| {
            let request = http.request(Method::GET, &pending.clone().at(address).url());
            request.header("Cookie", &cookies)
        };
        let (answer, _) = self.ask(authorize).await;
        let url = answer.url.parse().unwrap();
        let code = pending.code(&Page { answer: answer.expect(303), url }, &self.web);
        let redirect_uri = self.web.redirect_uri.clone();
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &redirect_uri),
            ("code_verifier", &pending.verifier),
        ];
        let (answer, again) = self.post("/token", "web", &fields).await;
        if again && answer.status == 400 {
            assert_eq!(answer.error(), "invalid_grant");
        } else {
            answer.expect(200);
        }
    }
}

/// One family of refresh tokens generation after generation, and whatever else a client does in between; gives every token that was
/// answered, and how many requests were broken.
async fn work(mut client: Roaming, first: String) -> (Vec<String>, usize) {
    let mut family = vec![first];
    while !client.storm.over.load(Ordering::Relaxed) {
        let fields = [("grant_type", "client_credentials"), ("scope", "documents:read")];
        client.post("/token", "machine", &fields).await.0.expect(200);
        let token = family.last().unwrap().clone();
        // Sent again after a lost answer, the same token leads to the same successor.
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        let answer = client.post("/token", "web", &fields).await.0.expect(200);
        let next = answer.member("refresh_token");
        let told = client.post("/introspect", "web", &[("token", &next)]).await.0.expect(200);
        assert_eq!(told.json()["active"], true);
        client.redeem(&format!("{}-{}", client.number, family.len())).await;
        family.push(next);
        client.storm.done[client.number].fetch_add(1, Ordering::Relaxed);
    }
    (family, client.broken)
}

/// Waits until every client has done [`ROUNDS`] more.
async fn until_served(storm: &Storm, tasks: &[JoinHandle<(Vec<String>, usize)>]) {
    let done = || storm.done.iter().map(|done| done.load(Ordering::Relaxed));
    let goals: Vec<usize> = done().map(|done| done + ROUNDS).collect();
    let mut interval = tokio::time::interval(Duration::from_millis(5));
    let served = tokio::time::timeout(Duration::from_secs(60), async {
        while done().zip(&goals).any(|(done, goal)| done < *goal) {
            assert!(!tasks.iter().any(JoinHandle::is_finished), "a client gave up, see above");
            interval.tick().await;
        }
    });
    assert!(served.await.is_ok(), "the instance that is left serves everybody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_either_instance_costs_no_client_anything_but_what_was_under_way() {
    let Some((mut here, mut there)) = pair("killing_either_instance").await else { return };
    let mut tasks = Vec::new();
    let storm = Arc::new(Storm::default());
    for number in 0..CLIENTS {
        let (web, mut browser) = (here.web(), Browser::new());
        let (page, pending) = here.authorize(&mut browser, "openid", &number.to_string()).await;
        let tokens = web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
        let cookies = browser.cookies(HOST).map(|(name, value)| format!("{name}={value}"));
        let client = Roaming {
            number,
            web,
            cookies: cookies.collect::<Vec<_>>().join("; "),
            http: Http::new(),
            addresses: [here.address.clone(), there.address.clone()],
            // Of those that keep their connections and of those that do not, half begin at either.
            at: number / 2 % 2,
            struck: 0,
            broken: 0,
            storm: storm.clone(),
        };
        tasks.push(tokio::spawn(work(client, tokens.member("refresh_token"))));
    }
    until_served(&storm, &tasks).await;
    for _ in 0..2 {
        for realm in [&mut here, &mut there] {
            storm.blows.fetch_add(1, Ordering::Relaxed);
            realm.end(End::Killed).await;
            until_served(&storm, &tasks).await;
            realm.restart_ended().await;
            until_served(&storm, &tasks).await;
        }
    }
    storm.over.store(true, Ordering::Relaxed);
    let (families, broken): (Vec<_>, Vec<_>) =
        join_all(tasks).await.into_iter().map(Result::unwrap).unzip();
    // At the first blow half of them were elsewhere; afterwards all are where the next one hits.
    assert_eq!(broken.iter().sum::<usize>(), CLIENTS / 2 + 3 * CLIENTS, "{broken:?}");
    let all: BTreeSet<&String> = families.iter().flatten().collect();
    assert_eq!(all.len(), families.iter().map(Vec::len).sum::<usize>(), "none is given twice");
    for (family, client) in families.iter().zip([here.web(), there.web()].iter().cycle()) {
        client.refresh(family.last().unwrap()).await.expect(200);
    }
    let log = format!("{}{}", here.log(), there.log());
    assert!(!log.contains("refresh_reused"), "nobody was taken for a thief:\n{log}");
}
