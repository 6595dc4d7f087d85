//! Several instances of a server on one PostgreSQL database, as real processes: to their clients they are one server.

mod api;
mod keys;
mod load;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use tests::browser::Browser;
use tests::client::Client;
use tests::engine::{ask, server_or_skip};
use tests::http::Answer;
use tests::realm::{Realm, within_five_seconds};
use tests::world::ALICE;

use crate::processes::AUTH_SERVER;

/// Two authorization servers on one database; none where there is no PostgreSQL.
async fn pair(name: &str) -> Option<(Realm, Realm)> {
    let server = server_or_skip(name)?;
    let here = Realm::start_at(AUTH_SERVER, &server, &[]).await;
    let there = here.beside().await;
    Some((here, there))
}

/// The same request by both clients in turn, all at once, each in a task of its own.
async fn at_once<F>(clients: [&Client; 2], times: usize, make: impl Fn(Client) -> F) -> Vec<Answer>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let tasks: Vec<_> =
        (0..times).map(|number| tokio::spawn(make(clients[number % 2].clone()))).collect();
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_one_instance_begins_another_goes_on_with() {
    let Some((here, there)) = pair("what_one_instance_begins").await else { return };
    let (first, second) = (here.web(), there.web());
    let mut browser = Browser::new();
    let scope = "openid documents:read offline_access";
    let (page, pending) = here.authorize(&mut browser, scope, "shared").await;
    let code = pending.code(&page, &first);
    let tokens = second.redeem(&code, &pending).await.expect(200);
    for client in [&first, &second] {
        client.userinfo(&tokens.member("access_token")).await.expect(200);
    }
    let next = first.refresh(&tokens.member("refresh_token")).await.expect(200);
    let last = second.refresh(&next.member("refresh_token")).await.expect(200);
    assert_eq!(first.jwks().await, second.jwks().await);

    // Session, consent and cookies of the one count at the other.
    let silent = first.begin(scope, "silent").param("prompt", "none").at(&there.address);
    let page = browser.get(&silent.url()).await;
    let code = silent.code(&page, &first);
    let others = first.redeem(&code, &silent).await.expect(200);

    // What ends at the one has ended at the other.
    second.revoke(&last.member("refresh_token")).await.expect(200);
    assert_eq!(
        first.refresh(&last.member("refresh_token")).await.expect(400).error(),
        "invalid_grant"
    );
    assert_eq!(first.userinfo(&last.member("access_token")).await.status, 401);
    assert_eq!(second.redeem(&code, &silent).await.expect(400).error(), "invalid_grant");
    assert_eq!(first.userinfo(&others.member("access_token")).await.status, 401, "replayed there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_redemptions_of_one_code_at_two_instances_one_wins() {
    let Some((here, there)) = pair("of_redemptions_of_one_code").await else { return };
    let (first, second) = (here.web(), there.web());
    let scope = "openid documents:read";
    let (page, pending) = here.authorize(&mut Browser::new(), scope, "raced").await;
    let code = pending.code(&page, &first);
    let answers = at_once([&first, &second], 32, |client| {
        let (code, pending) = (code.clone(), pending.clone());
        async move { client.redeem(&code, &pending).await }
    })
    .await;
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(winners.len(), 1);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(refused.error(), "invalid_grant", "{}", refused.text());
    }
    let refused = second.refresh(&winners[0].member("refresh_token")).await.expect(400);
    assert_eq!(refused.error(), "invalid_grant", "the replays ended its grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_used_at_two_instances_at_once_rotates_once() {
    let Some((here, there)) = pair("a_refresh_token_used_at_two").await else { return };
    let (first, second) = (here.web(), there.web());
    let mut token = here.tokens("openid", "six").await.member("refresh_token");
    for _ in 0..10 {
        // One that rotates, and as many retries as a generation has.
        let answers = at_once([&first, &second], 6, |client| {
            let token = token.clone();
            async move { client.refresh(&token).await.expect(200) }
        })
        .await;
        let successors: BTreeSet<_> =
            answers.iter().map(|answer| answer.member("refresh_token")).collect();
        assert_eq!(successors.len(), 1, "never two branches of one family");
        token = successors.into_iter().next().unwrap();
    }
    let many = at_once([&first, &second], 32, |client| {
        let token = token.clone();
        async move { client.refresh(&token).await }
    })
    .await;
    let of_status = |status| many.iter().filter(move |answer| answer.status == status);
    assert_eq!((of_status(200).count(), of_status(400).count()), (6, 26));
    let successors: BTreeSet<_> =
        of_status(200).map(|answer| answer.member("refresh_token")).collect();
    assert_eq!(successors.len(), 1);
    let refused = second.refresh(successors.first().unwrap()).await.expect(400);
    assert_eq!(refused.error(), "invalid_grant", "too many: somebody else has it");
}

/// A browser in which the person has signed in before may guess ten times in ten minutes, wherever it does.
#[tokio::test]
async fn failures_are_counted_over_all_instances() {
    let Some((here, there)) = pair("failures_are_counted").await else { return };
    let web = here.web();
    let mut browser = Browser::new();
    here.authorize(&mut browser, "openid", "known").await;
    let mut attempt = async |address: &str, password: &str| {
        let pending = web.begin("openid", "guess").param("prompt", "login");
        let page = browser.get(&pending.url()).await;
        let mut login = browser.settle(page).await;
        // Who balances sends the form to any of them.
        login.url = login.url.as_str().replace(&here.address, address).parse().unwrap();
        let form = login.form("login-form").set("username", ALICE.0).set("password", password);
        browser.submit(&login, &form.press("login-submit")).await.status()
    };
    for number in 0..10 {
        let address = if number % 2 == 0 { &here.address } else { &there.address };
        assert_eq!(attempt(address, "guess").await, 403, "{number}");
    }
    for address in [&here.address, &there.address] {
        assert_eq!(attempt(address, ALICE.1).await, 429, "{address}");
    }
}

#[tokio::test]
async fn a_change_of_clients_is_seen_by_every_instance_within_five_seconds() {
    let Some((here, there)) = pair("a_change_of_clients").await else { return };
    let machines = [here.machine(), there.machine()];
    let all = async |status: u16| {
        let asked = machines.iter().map(|machine| machine.client_credentials("documents:read"));
        join_all(asked).await.iter().all(|answer| answer.status == status)
    };
    assert!(all(200).await);
    here.cli(&["client", "disable", "machine"], "");
    within_five_seconds("it is unknown to both", || all(401)).await;
    there.cli(&["client", "enable", "machine"], "");
    within_five_seconds("it is back at both", || all(200)).await;
}

/// The schema, our own keys, the signature keys and the declared state: each is made by one of them, and all go on with that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_start_at_once_on_an_empty_database_make_everything_once() {
    let Some(server) = server_or_skip("instances_that_start_at_once") else { return };
    let realms = Realm::start_together(AUTH_SERVER, &server, 3).await;
    let applied: usize =
        realms.iter().map(|realm| realm.log().matches("migration applied").count()).sum();
    let known = ask(realms[0].database(), "SELECT count(*) FROM migration").await;
    assert_eq!(applied.to_string(), known, "each migration once");
    let people = ask(realms[0].database(), "SELECT count(*) FROM account").await;
    assert_eq!(people, "2");
    let jwks = realms[0].web().jwks().await;
    for realm in &realms[1..] {
        assert_eq!(realm.web().jwks().await, jwks);
    }
    let first = realms[0].web();
    let scope = "openid offline_access";
    let (page, pending) = realms[0].authorize(&mut Browser::new(), scope, "keys").await;
    let code = pending.code(&page, &first);
    let tokens = realms[1].web().redeem(&code, &pending).await.expect(200);
    realms[2].web().refresh(&tokens.member("refresh_token")).await.expect(200);
}
