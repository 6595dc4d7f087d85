//! Either of two instances is killed under load: clients that go to the other one lose nothing but time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use tests::browser::Browser;
use tests::http::{Answer, Http, try_send};
use tests::realm::{End, Realm};
use tests::world::SECRET;

use super::pair;

const CLIENTS: usize = 8;
/// Answers to wait for between two blows.
const ROUND: usize = 40;

/// A client that knows both instances and stays with one as long as it answers.
struct Roaming {
    http: Http,
    addresses: [String; 2],
    at: usize,
}

impl Roaming {
    /// The answer of whichever instance answers. Only a broken connection makes it go to the other one: any answer counts.
    async fn post(&mut self, id: &str, fields: &[(&str, &str)]) -> Answer {
        for _ in 0..100 {
            let url = format!("{}/token", self.addresses[self.at]);
            let request = self.http.request(Method::POST, &url).basic_auth(id, Some(SECRET));
            match try_send(request.form(fields)).await {
                Ok(answer) => return answer,
                Err(_) => self.at = 1 - self.at,
            }
        }
        panic!("neither instance answers");
    }
}

/// One family of refresh tokens after the other generation, and tokens of a machine in between; gives every token that was answered.
async fn work(
    mut client: Roaming,
    first: String,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut family = vec![first];
    while !stop.load(Ordering::Relaxed) {
        let fields = [("grant_type", "client_credentials"), ("scope", "documents:read")];
        client.post("machine", &fields).await.expect(200);
        let token = family.last().unwrap().clone();
        // Sent again after a lost answer, the same token leads to the same successor.
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        let answer = client.post("web", &fields).await.expect(200);
        family.push(answer.member("refresh_token"));
        done.fetch_add(1, Ordering::Relaxed);
    }
    family
}

async fn until_served(done: &AtomicUsize, more: usize) {
    let goal = done.load(Ordering::Relaxed) + more;
    let mut interval = tokio::time::interval(Duration::from_millis(5));
    let served = tokio::time::timeout(Duration::from_secs(60), async {
        while done.load(Ordering::Relaxed) < goal {
            interval.tick().await;
        }
    });
    assert!(served.await.is_ok(), "the instance that is left serves everybody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_either_instance_costs_no_client_anything_but_what_was_under_way() {
    let Some((mut here, mut there)) = pair("killing_either_instance").await else { return };
    let mut browser = Browser::new();
    let mut tasks = Vec::new();
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    for number in 0..CLIENTS {
        let web = here.web();
        let (page, pending) = here.authorize(&mut browser, "openid", &number.to_string()).await;
        let tokens = web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
        let client = Roaming {
            http: Http::new(),
            addresses: [here.address.clone(), there.address.clone()],
            at: number % 2,
        };
        let first = tokens.member("refresh_token");
        tasks.push(tokio::spawn(work(client, first, stop.clone(), done.clone())));
    }
    until_served(&done, ROUND).await;
    for _ in 0..2 {
        for realm in [&mut here, &mut there] {
            blow(realm, &done).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let families: Vec<Vec<String>> =
        join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let all: BTreeSet<&String> = families.iter().flatten().collect();
    assert_eq!(all.len(), families.iter().map(Vec::len).sum::<usize>(), "none is given twice");
    for (family, client) in families.iter().zip([here.web(), there.web()].iter().cycle()) {
        client.refresh(family.last().unwrap()).await.expect(200);
    }
    let log = format!("{}{}", here.log(), there.log());
    assert!(!log.contains("refresh_reused"), "nobody was taken for a thief:\n{log}");
}

/// Kills an instance, lets the other one serve alone, and brings the first one back.
async fn blow(realm: &mut Realm, done: &AtomicUsize) {
    realm.end(End::Killed).await;
    until_served(done, ROUND).await;
    realm.restart_ended().await;
    until_served(done, ROUND).await;
}
