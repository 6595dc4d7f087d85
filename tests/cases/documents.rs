//! The sample API: every owner's documents are her own, pages are complete, errors are problems ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).

use reqwest::Method;
use serde_json::json;
use tests::client::Documents;
use tests::http::{Answer, Http, send};

use tests::world::Guarded;

const ALL_SCOPES: &str = "documents:read documents:write documents:share";

fn of(api: &Guarded, subject: &str) -> Documents {
    let token = api.token().claim("sub", subject).claim("scope", ALL_SCOPES);
    api.documents(&token.text())
}

fn problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("Content-Type"), "application/problem+json");
    assert_eq!(answer.json()["status"], status);
    assert!(answer.json()["title"].is_string(), "{}", answer.text());
}

#[tokio::test]
async fn a_document_lives_from_its_creation_to_its_end() {
    let api = Guarded::start().await;
    let alice = of(&api, "acct_alice");
    let created = alice.create("First", "Hello").await.expect(201);
    let id = created.member("id");
    assert!(created.header("Location").ends_with(&format!("/documents/{id}")));
    assert_eq!((created.member("title"), created.member("body")), ("First".into(), "Hello".into()));
    assert_eq!(alice.read(&id).await.expect(200).member("body"), "Hello");
    let changed = alice.change(&id, "Second", "Bye").await.expect(200);
    assert_eq!(changed.member("title"), "Second");
    let listed = alice.list("").await.expect(200).json();
    assert_eq!(listed["documents"][0]["title"], "Second");
    assert_eq!(listed["documents"][0].get("body"), None, "a list has no bodies");
    assert_eq!(listed["next"], json!(null));
    let gone = alice.delete(&id).await.expect(204);
    assert!(gone.body.is_empty());
    problem(&alice.read(&id).await, 404);
    problem(&alice.delete(&id).await, 404);
}

#[tokio::test]
async fn another_owners_document_does_not_exist() {
    let api = Guarded::start().await;
    let (alice, eve) = (of(&api, "acct_alice"), of(&api, "acct_eve"));
    let id = alice.create("Private", "x").await.expect(201).member("id");
    let stranger = eve.read("01234567-none").await;
    let other = eve.read(&id).await;
    problem(&other, 404);
    assert_eq!(other.json()["title"], stranger.json()["title"], "not even its existence shows");
    problem(&eve.change(&id, "Mine", "now").await, 404);
    problem(&eve.delete(&id).await, 404);
    problem(&eve.share(&id, "acct_eve").await, 404);
    assert_eq!(eve.list("").await.json()["documents"], json!([]));
    assert_eq!(alice.read(&id).await.expect(200).member("title"), "Private");
}

/// Owners are keyed by issuer and subject: two issuers may call different people by one name.
#[tokio::test]
async fn the_same_subject_of_another_issuer_is_another_person() {
    let second = tests::oracle::FakeIssuer::start().await;
    let api = Guarded::start_with(&[&second.url]).await;
    let alice = of(&api, "acct_alice");
    let id = alice.create("Private", "x").await.expect(201).member("id");
    let token = second.token(&api.url, api.now()).claim("scope", ALL_SCOPES);
    let namesake = api.documents(&token.text());
    problem(&namesake.read(&id).await, 404);
    assert_eq!(namesake.list("").await.json()["documents"], json!([]));
}

#[tokio::test]
async fn pages_hold_every_document_exactly_once() {
    let api = Guarded::start().await;
    let alice = of(&api, "acct_alice");
    for n in 0..25 {
        alice.create(&format!("Document {n}"), "x").await.expect(201);
        if n % 7 == 0 {
            api.clock.advance(1);
        }
    }
    let (mut seen, mut query, mut pages) = (Vec::new(), "?limit=10".to_owned(), 0);
    loop {
        let page = alice.list(&query).await.expect(200).json();
        let documents = page["documents"].as_array().unwrap();
        assert!(documents.len() <= 10);
        seen.extend(documents.iter().map(|document| document["id"].to_string()));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        let cursor: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        query = format!("?limit=10&cursor={cursor}");
    }
    assert_eq!((pages, seen.len()), (3, 25));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 25);
}

#[tokio::test]
async fn a_cursor_is_no_way_into_anothers_documents() {
    let api = Guarded::start().await;
    let (alice, eve) = (of(&api, "acct_alice"), of(&api, "acct_eve"));
    for n in 0..3 {
        alice.create(&format!("{n}"), "x").await.expect(201);
    }
    let page = alice.list("?limit=1").await.expect(200).json();
    let cursor: String =
        url::form_urlencoded::byte_serialize(page["next"].as_str().unwrap().as_bytes()).collect();
    let stolen = eve.list(&format!("?limit=1&cursor={cursor}")).await;
    if stolen.status == 200 {
        assert_eq!(stolen.json()["documents"], json!([]));
    } else {
        problem(&stolen, 400);
    }
    for wrong in [
        "?limit=0",
        "?limit=-1",
        "?limit=x",
        "?limit=100000",
        "?cursor=%00",
        "?cursor=' OR 1=1",
        "?limit=1&limit=2",
    ] {
        problem(&alice.list(wrong).await, 400);
    }
}

#[tokio::test]
async fn every_route_asks_for_its_own_scope() {
    let api = Guarded::start().await;
    let id = of(&api, "acct_alice").create("t", "b").await.expect(201).member("id");
    let with = |scope: &str| {
        let token = api.token().claim("sub", "acct_alice").claim("scope", scope);
        api.documents(&token.text())
    };
    let reader = with("documents:read");
    assert_eq!(reader.read(&id).await.status, 200);
    for refused in [
        reader.create("t", "b").await,
        reader.change(&id, "t", "b").await,
        reader.delete(&id).await,
    ] {
        assert_eq!(refused.challenge().get("scope"), "documents:write");
        problem(&refused, 403);
    }
    let writer = with("documents:write");
    assert_eq!(writer.change(&id, "t", "b").await.status, 200);
    for refused in [writer.list("").await, writer.read(&id).await] {
        assert_eq!(refused.challenge().get("scope"), "documents:read");
        problem(&refused, 403);
    }
    let refused = with("documents:read documents:write").share(&id, "acct_bob").await;
    assert_eq!(refused.challenge().get("scope"), "documents:share");
}

/// The owner's clearance is not built yet; until it is, nobody shares anything.
#[tokio::test]
async fn sharing_asks_for_the_owners_clearance() {
    let api = Guarded::start().await;
    let alice = of(&api, "acct_alice");
    let id = alice.create("t", "b").await.expect(201).member("id");
    let refused = alice.share(&id, "acct_bob").await;
    problem(&refused, 403);
    assert_ne!(refused.challenge().get("error"), "invalid_token");
    problem(&of(&api, "acct_bob").read(&id).await, 404);
}

#[tokio::test]
async fn a_body_that_is_not_what_it_should_be_is_a_problem() {
    let api = Guarded::start().await;
    let alice = of(&api, "acct_alice");
    for body in [
        "",
        "{",
        "[]",
        "null",
        r#"{"title":"t"}"#,
        r#"{"body":"b"}"#,
        r#"{"title":1,"body":"b"}"#,
        r#"{"title":"","body":"b"}"#,
        r#"{"title":"t","title":"u","body":"b"}"#,
    ] {
        let request =
            alice.request(Method::POST, "/documents").header("Content-Type", "application/json");
        problem(&send(request.body(body)).await, 400);
    }
    let long = alice.create(&"t".repeat(10_000), "b").await;
    problem(&long, 400);
    let form = alice.request(Method::POST, "/documents").form(&[("title", "t"), ("body", "b")]);
    problem(&send(form).await, 415);
    assert_eq!(alice.list("").await.json()["documents"], json!([]));
}

/// What a proxy reads in a body and what we read must not be two things.
#[tokio::test]
async fn a_body_of_two_media_types_or_a_compressed_one_is_not_read() {
    let api = Guarded::start().await;
    let alice = of(&api, "acct_alice");
    let post = |line: (&'static str, &'static str)| {
        let request = alice
            .request(Method::POST, "/documents")
            .header("Content-Type", "application/json")
            .header(line.0, line.1);
        send(request.body(r#"{"title":"t","body":"b"}"#))
    };
    problem(&post(("Content-Type", "application/json")).await, 400);
    problem(&post(("Content-Type", "text/plain")).await, 400);
    problem(&post(("Content-Encoding", "gzip")).await, 415);
    problem(&post(("Content-Encoding", "identity, gzip")).await, 415);
    assert_eq!(alice.list("").await.json()["documents"], json!([]));
    post(("Content-Encoding", "identity")).await.expect(201);
}

#[tokio::test]
async fn nobody_can_choose_the_owner_or_the_id_of_a_document() {
    let api = Guarded::start().await;
    let (alice, eve) = (of(&api, "acct_alice"), of(&api, "acct_eve"));
    let body = json!({"title": "t", "body": "b", "owner": "acct_eve", "sub": "acct_eve", "id": "chosen", "updated_at": "1970-01-01T00:00:00Z"});
    let created = send(alice.request(Method::POST, "/documents").json(&body)).await.expect(201);
    assert_ne!(created.member("id"), "chosen");
    assert_eq!(eve.list("").await.json()["documents"], json!([]));
    problem(&alice.change("chosen", "t", "b").await, 404);
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_too() {
    let api = Guarded::start().await;
    let alice = of(&api, "acct_alice");
    problem(&send(alice.request(Method::GET, "/nothing")).await, 404);
    let wrong = send(alice.request(Method::PATCH, "/documents")).await;
    problem(&wrong, 405);
    assert!(wrong.header("Allow").contains("GET"), "RFC 9110 section 15.5.6");
}

/// [RFC 9110 section 9.1](https://www.rfc-editor.org/rfc/rfc9110#section-9.1): "All general-purpose servers MUST support the methods GET and HEAD".
#[tokio::test]
async fn head_is_answered_wherever_get_is() {
    let api = Guarded::start().await;
    let alice = of(&api, "acct_alice");
    let id = alice.create("t", "b").await.expect(201).member("id");
    let metadata = "/.well-known/oauth-protected-resource";
    let document = format!("/documents/{id}");
    for path in
        ["/healthz", "/readyz", "/openapi.json", metadata, "/whoami", "/documents", &document]
    {
        let (get, head) = (alice.request(Method::GET, path), alice.request(Method::HEAD, path));
        let (get, head) = (send(get).await.expect(200), send(head).await.expect(200));
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
        assert_eq!(head.header("Content-Type"), get.header("Content-Type"), "{path}");
        let wrong = send(alice.request(Method::PATCH, path)).await;
        problem(&wrong, 405);
        assert!(wrong.header("Allow").starts_with("GET"), "{path}: {}", wrong.header("Allow"));
        assert!(wrong.header("Allow").contains("HEAD"), "{path}: {}", wrong.header("Allow"));
    }
    let stranger = Documents::anonymous(&api.url);
    assert_eq!(send(stranger.request(Method::HEAD, "/documents")).await.status, 401);
    assert_eq!(send(alice.request(Method::HEAD, &format!("{document}/share"))).await.status, 405);
}

#[tokio::test]
async fn whoami_says_what_the_token_says() {
    let api = Guarded::start().await;
    let said = api.ask(&api.token().text()).await.expect(200).json();
    let expected = json!({
        "iss": api.issuer.url, "sub": "acct_alice", "client_id": "demo-web",
        "scope": "documents:read documents:write", "exp": api.now() + 300,
    });
    assert_eq!(said, expected);
}

/// [RFC 9728 section 2](https://www.rfc-editor.org/rfc/rfc9728#section-2)
#[tokio::test]
async fn the_resource_says_who_it_is_and_whom_it_trusts() {
    let api = Guarded::start().await;
    let url = format!("{}/.well-known/oauth-protected-resource", api.url);
    let metadata = Http::new().get(&url).await.expect(200).json();
    assert_eq!(metadata["resource"], api.url.as_str());
    assert_eq!(metadata["authorization_servers"], json!([api.issuer.url]));
    assert_eq!(metadata["bearer_methods_supported"], json!(["header"]));
    let scopes = metadata["scopes_supported"].as_array().unwrap();
    for scope in ALL_SCOPES.split(' ') {
        assert!(scopes.iter().any(|known| known == scope), "{scope}");
    }
}

#[tokio::test]
async fn health_and_description_need_no_token() {
    let api = Guarded::start().await;
    api.warm().await;
    let http = Http::new();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http.get(&format!("{}{path}", api.url)).await.status, 200, "{path}");
    }
    let openapi = http.get(&format!("{}/openapi.json", api.url)).await.expect(200).json();
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in ["/documents", "/documents/{id}", "/documents/{id}/share", "/whoami"] {
        assert!(openapi["paths"].get(path).is_some(), "{path}");
    }
    assert_eq!(http.get(&format!("{}/metrics", api.url)).await.status, 404, "another listener");
}

#[tokio::test]
async fn answers_about_documents_are_not_stored_on_the_way() {
    let api = Guarded::start().await;
    let alice = of(&api, "acct_alice");
    let created = alice.create("t", "b").await.expect(201);
    for answer in [alice.list("").await, alice.read(&created.member("id")).await, created] {
        let control = answer.header("Cache-Control");
        assert!(control.contains("no-store") || control.contains("private"), "{control:?}");
        assert_eq!(answer.header("X-Content-Type-Options"), "nosniff");
    }
}

#[tokio::test]
async fn parallel_writers_lose_nothing() {
    let api = std::sync::Arc::new(Guarded::start().await);
    let writers: Vec<_> = (0..64)
        .map(|n| {
            let alice = of(&api, "acct_alice");
            tokio::spawn(async move { alice.create(&format!("{n}"), "x").await.status })
        })
        .collect();
    for writer in writers {
        assert_eq!(writer.await.unwrap(), 201);
    }
    let listed = of(&api, "acct_alice").list("?limit=100").await.expect(200).json();
    assert_eq!(listed["documents"].as_array().unwrap().len(), 64);
}
