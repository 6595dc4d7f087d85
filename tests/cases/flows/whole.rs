//! The four parties, end to end: a person lets a client read her documents, and a machine reads its own.

use tests::browser::Browser;
use tests::client::sign_in;
use tests::oracle::read;
use tests::world::{BOB, World};

#[tokio::test]
async fn a_person_signs_in_consents_and_the_client_reads_her_documents() {
    let world = World::start().await;
    let web = world.web();
    let scope = "openid profile documents:read documents:write";
    let tokens = world.tokens(&web, scope, "whole").await;
    assert_eq!(tokens.header("Cache-Control"), "no-store");
    assert_eq!(tokens.header("Pragma"), "no-cache");
    let body = tokens.json();
    assert_eq!(
        (body["token_type"].as_str(), body["expires_in"].as_i64()),
        (Some("Bearer"), Some(300))
    );

    let access = tokens.member("access_token");
    let documents = world.documents(&access);
    let who = documents.whoami().await.expect(200).json();
    assert_eq!(who["iss"], world.auth.issuer);
    assert_eq!(who["client_id"], "web");
    let made = documents.create("Letter", "Dear all").await.expect(201).json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(documents.read(id).await.expect(200).json()["title"], "Letter");

    // The same person through another client sees the same documents; another person does not.
    let native = world.tokens(&world.native(), "documents:read", "native").await;
    let listed = world.documents(&native.member("access_token")).list("").await.expect(200);
    assert_eq!(listed.json()["documents"][0]["id"], id);
    let pending = web.begin("documents:read", "bob");
    let page = sign_in(&mut Browser::new(), &pending.url(), BOB.0, BOB.1).await;
    let bobs = web.redeem(&pending.code(&page, &web), &pending).await.expect(200);
    let bobs = world.documents(&bobs.member("access_token"));
    assert_eq!(bobs.read(id).await.status, 404);
    assert_eq!(bobs.list("").await.json()["documents"], serde_json::json!([]));
}

#[tokio::test]
async fn a_machine_reads_with_a_token_of_its_own() {
    let world = World::start().await;
    let answer =
        world.machine().client_credentials("documents:read documents:write").await.expect(200);
    assert_eq!(answer.json().get("refresh_token"), None, "RFC 6749 section 4.4.3");
    assert_eq!(answer.json().get("id_token"), None);
    let token = answer.member("access_token");
    let (_, claims) = read(&token, &world.machine().jwks().await);
    assert_eq!(
        (claims["sub"].as_str(), claims["client_id"].as_str()),
        (Some("machine"), Some("machine"))
    );
    let documents = world.documents(&token);
    documents.create("Report", "").await.expect(201);
    let listed = documents.list("").await.expect(200).json();
    assert_eq!(listed["documents"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_ends_at_its_own_second_at_both_servers() {
    let world = World::start().await;
    let web = world.web();
    let token = world.tokens(&web, "openid documents:read", "expiry").await.member("access_token");
    let began = world.now();
    for (age, alive) in [(299, true), (300, false), (301, false)] {
        world.clock.advance(began + age - world.now());
        let expected = if alive { 200 } else { 401 };
        assert_eq!(world.documents(&token).list("").await.status, expected, "{age}");
        assert_eq!(web.userinfo(&token).await.status, expected, "{age}");
        let told = web.introspect(&token).await.expect(200).json();
        assert_eq!(told["active"], alive, "{age}");
    }
}

#[tokio::test]
async fn the_tokens_of_a_refresh_work_like_the_first_ones() {
    let world = World::start().await;
    let web = world.web();
    let mut tokens = world.tokens(&web, "openid documents:read", "chain").await;
    for _ in 0..5 {
        world.clock.advance(290);
        tokens = web.refresh(&tokens.member("refresh_token")).await.expect(200);
        let token = tokens.member("access_token");
        assert_eq!(world.documents(&token).list("").await.status, 200);
        web.userinfo(&token).await.expect(200);
    }
}
