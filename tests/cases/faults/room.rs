//! A disk without room, a file that was closed off, and one that somebody else holds.

use std::sync::mpsc;

use database::{Database, DatabaseError, Options};
use tests::background;
use tests::browser::Browser;
use tests::client::sign_in;
use tests::http::Answer;
use tests::world::{ALICE, World};

use super::{database, on_a_file, tamper};

/// As many pages as there are, and not one more.
async fn fill(world: &World) {
    let pages = tamper(world, "PRAGMA page_count").await[0].int(0).unwrap();
    let limit = format!("PRAGMA max_page_count = {pages}").into_boxed_str();
    tamper(world, Box::leak(limit)).await;
}

/// Lets a client have one grant after the other until there is no room for the next; the tokens of those that it got.
async fn until_full(world: &World, browser: &mut Browser) -> Vec<Answer> {
    let web = world.web();
    let mut given = Vec::new();
    for number in 0..2_000 {
        let pending = web.begin("openid documents:read", &format!("filling-{number}"));
        let page = sign_in(browser, &pending.url(), ALICE.0, ALICE.1).await;
        if page.answer.status == 503 {
            page.answer.is_put_off();
            return given;
        }
        let answer = web.redeem(&pending.code(&page, &web), &pending).await;
        given.push(answer.expect(200));
    }
    panic!("the disk never filled");
}

#[tokio::test]
async fn a_full_disk_puts_writers_off_and_loses_nothing() {
    if !on_a_file() {
        return;
    }
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    sign_in(&mut browser, &web.begin("openid documents:read", "first").url(), ALICE.0, ALICE.1)
        .await;
    fill(&world).await;
    let given = until_full(&world, &mut browser).await;
    // What needs no room goes on.
    world.machine().client_credentials("documents:read").await.expect(200);
    for tokens in &given {
        let told = web.introspect(&tokens.member("refresh_token")).await.expect(200);
        assert_eq!(told.json()["active"], true, "an acknowledged grant lives");
        web.userinfo(&tokens.member("access_token")).await.expect(200);
    }
    tamper(&world, "PRAGMA max_page_count = 1000000").await;
    for tokens in &given {
        web.refresh(&tokens.member("refresh_token")).await.expect(200);
    }
    let pending = web.begin("openid documents:read", "afterwards");
    let page = sign_in(&mut browser, &pending.url(), ALICE.0, ALICE.1).await;
    web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
}

#[tokio::test]
async fn a_file_that_became_read_only_puts_writers_off_and_readers_go_on() {
    if !on_a_file() {
        return;
    }
    let world = World::start().await;
    let web = world.web();
    let tokens = world.tokens(&web, "openid documents:read", "ro").await;
    let refresh_token = tokens.member("refresh_token");
    // The engine's own word for a file system that was remounted read-only.
    tamper(&world, "PRAGMA query_only = 1").await;
    web.refresh(&refresh_token).await.is_temporarily_unavailable();
    web.revoke(&refresh_token).await.is_temporarily_unavailable();
    assert_eq!(web.introspect(&refresh_token).await.expect(200).json()["active"], true);
    world.documents(&tokens.member("access_token")).list("").await.expect(200);
    let world = world.restart_auth().await;
    world.web().refresh(&refresh_token).await.expect(200);
}

#[tokio::test]
async fn a_lock_that_another_process_holds_puts_writers_off_and_readers_go_on() {
    if !on_a_file() {
        return;
    }
    let world = World::start().await;
    let web = world.web();
    let refresh_token =
        world.tokens(&web, "openid documents:read", "locked").await.member("refresh_token");
    // A write transaction of somebody else, open until the channel closes.
    let (holder, held) = mpsc::channel::<()>();
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let url = world.auth.running.app().settings.database.clone();
    let holding = tokio::spawn(background::run(async move {
        let elsewhere = Database::open(&url, &Options::default()).await.unwrap();
        let work = move |_: &mut dyn database::Sql| {
            if let Some(tell) = tell.take() {
                tell.send(()).unwrap();
            }
            held.recv().unwrap_err();
            Ok::<_, DatabaseError>(())
        };
        elsewhere.write(work).await.unwrap();
        elsewhere.close().await;
    }));
    told.await.unwrap();
    let waiting = tokio::spawn({
        let (web, refresh_token) = (web.clone(), refresh_token.clone());
        async move { web.refresh(&refresh_token).await }
    });
    assert_eq!(web.introspect(&refresh_token).await.expect(200).json()["active"], true);
    world.machine().client_credentials("documents:read").await.expect(200);
    waiting.await.unwrap().is_temporarily_unavailable();
    drop(holder);
    holding.await.unwrap();
    web.refresh(&refresh_token).await.expect(200);
    assert!(database(&world).is_healthy());
}
