//! One method a request, the registered one, and nothing learned from a refusal.

use super::*;
use crate::grants::tests::World;

fn one(user_and_password: &str) -> Authorization {
    Authorization::One(format!("Basic {}", STANDARD.encode(user_and_password)).into_bytes())
}

fn form(text: &str) -> Params {
    Params::parse(text.as_bytes()).unwrap()
}

fn client(method: &str, secret: Option<&str>) -> Client {
    let metadata = format!(r#"{{"client_id":"web","token_endpoint_auth_method":"{method}"}}"#);
    Client {
        metadata: serde_json::from_str(&metadata).unwrap(),
        secret: secret.map(|secret| PlainSecret::new(secret).hash()),
        old_secret: None,
        enabled: true,
        epoch: 0,
        tokens_not_before: UnixSeconds::new(0),
    }
}

fn outcome(
    client: Option<&Client>,
    authorization: &Authorization,
    params: &str,
) -> Result<(), &'static str> {
    check(client, &credentials(authorization, &form(params)).unwrap(), UnixSeconds::new(0))
}

#[test]
fn both_halves_of_basic_are_form_urlencoded() {
    // RFC 6749 appendix B: blank, percent, ampersand, plus, pound and euro.
    let (id, secret) = basic(b"basic d2ViJTNBMTolMjAlMjUlMjYlMkIlQzIlQTMlRTIlODIlQUM=").unwrap();
    assert_eq!((id.as_str(), secret.expose()), ("web:1", " %&+£€"));
}

#[test]
fn a_malformed_header_is_refused_with_a_challenge() {
    for header in [
        &b""[..],
        b"Basic",
        b"Basic ",
        b"Basic !",
        b"Basic d2Vi",
        b"Basic OnNlY3JldA==",
        b"Bearer x",
        "Bäsic".as_bytes(),
    ] {
        let fault =
            credentials(&Authorization::One(header.to_vec()), &form("client_id=web")).unwrap_err();
        assert!(matches!(fault, TokenError::ClientRefused { basic: true, .. }), "{header:?}");
    }
}

#[test]
fn two_methods_in_one_request_are_refused() {
    for (authorization, params) in [
        (one("web:s"), "client_secret=s"),
        (one("web:s"), "client_id=web&client_secret=s"),
        (one("web:s"), "client_assertion=x"),
        (one("web:s"), "client_id=other"),
        (Authorization::Absent, "client_id=web&client_secret=s&client_assertion=x"),
        (Authorization::Several, "client_id=web"),
    ] {
        assert_eq!(
            credentials(&authorization, &form(params)).unwrap_err(),
            TokenError::SeveralAuthentications,
            "{authorization:?} {params}"
        );
    }
}

#[test]
fn the_name_in_the_body_beside_basic_is_no_second_method() {
    assert!(credentials(&one("web:s"), &form("client_id=web")).is_ok());
}

#[test]
fn only_the_registered_method_counts() {
    let (basic, post, public) = (
        client("client_secret_basic", Some("s")),
        client("client_secret_post", Some("s")),
        client("none", None),
    );
    let (absent, body) = (Authorization::Absent, "client_id=web&client_secret=s");
    assert_eq!(outcome(Some(&basic), &one("web:s"), ""), Ok(()));
    assert_eq!(outcome(Some(&post), &absent, body), Ok(()));
    assert_eq!(outcome(Some(&public), &absent, "client_id=web"), Ok(()));
    assert!(outcome(Some(&basic), &absent, body).is_err());
    assert!(outcome(Some(&basic), &absent, "client_id=web").is_err());
    assert!(outcome(Some(&post), &one("web:s"), "").is_err());
    assert!(outcome(Some(&post), &absent, "client_id=web").is_err());
    assert!(outcome(Some(&public), &one("web:"), "").is_err());
    assert!(outcome(Some(&public), &absent, body).is_err());
}

#[test]
fn a_wrong_secret_and_an_unknown_client_are_refused() {
    let basic = client("client_secret_basic", Some("s"));
    assert_eq!(outcome(Some(&basic), &one("web:S"), ""), Err("the secret is wrong"));
    assert_eq!(outcome(Some(&basic), &one("web:"), ""), Err("the secret is wrong"));
    assert_eq!(outcome(None, &one("web:s"), ""), Err("the client is unknown or disabled"));
    let without = client("client_secret_basic", None);
    assert_eq!(
        outcome(Some(&without), &one("web:"), ""),
        Err("the secret is wrong"),
        "no secret matches nothing"
    );
}

async fn attempt(world: &World, user_and_password: &str) -> Result<(), TokenError> {
    let registry = world.app.registry().await?;
    let request = ClientRequest {
        params: Params::default(),
        authorization: one(user_and_password),
        address: "203.0.113.9".parse().unwrap(),
    };
    authenticate(&world.app, &registry, &request, world.app.clock.now()).await.map(drop)
}

#[tokio::test]
async fn guessing_has_to_wait_while_the_right_secret_never_does() {
    let world = World::new().await;
    let mut refusals = 0;
    while !matches!(attempt(&world, "keeper:wrong").await, Err(TokenError::Throttled(1..))) {
        refusals += 1;
        assert!(refusals < 1_000, "nothing is ever throttled");
    }
    assert_eq!(attempt(&world, "keeper:keeper").await, Ok(()));
    let refused = attempt(&world, "stranger:wrong").await;
    assert!(matches!(refused, Err(TokenError::ClientRefused { .. })), "a bucket of its own");
}

#[tokio::test]
async fn only_failures_are_written_and_made_up_names_share_one_row() {
    let world = World::new().await;
    let units = || world.app.database.statistics().units;
    let before = units();
    assert_eq!(attempt(&world, "keeper:keeper").await, Ok(()));
    assert_eq!(units(), before);
    let mut waits = false;
    for attempt_number in 0..1_000 {
        let outcome = attempt(&world, &format!("made-up-{attempt_number}:x")).await;
        waits = waits || matches!(outcome, Err(TokenError::Throttled(_)));
    }
    assert!(waits, "another name is no way around the limit");
}
