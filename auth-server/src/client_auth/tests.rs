//! One method a request, the registered one, and nothing learned from a refusal.

use proptest::prelude::*;

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
    let units = || world.app.database.statistics().units;
    let before = units();
    let waits = attempt(&world, "keeper:wrong").await;
    assert!(matches!(waits, Err(TokenError::Throttled(_))));
    assert_eq!(units(), before, "whoever has to wait takes no turn of the writer");
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

/// `"Basic" 1*SP token68` with two form-urlencoded halves, written from the RFCs and not from the reader.
fn by_the_grammar(value: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    let pair = STANDARD.decode(rest.trim_start_matches(' ')).ok()?;
    let pair = std::str::from_utf8(&pair).ok()?;
    let (user, password) = pair.split_once(':')?;
    let plain = |half: &str| {
        let mut escapes = half.split('%').skip(1);
        let whole = escapes.all(|rest| {
            rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit())
        });
        let form = format!("x={}", half.replace('&', "%26"));
        let value = url::form_urlencoded::parse(form.as_bytes()).next()?.1;
        (whole && !value.contains(['\0', '\u{fffd}'])).then(|| value.into_owned())
    };
    let (user, password) = (plain(user)?, plain(password)?);
    (scheme.eq_ignore_ascii_case("basic") && !user.is_empty()).then_some((user, password))
}

/// Any bytes at all, and such as are right or nearly so.
fn header_value() -> impl Strategy<Value = Vec<u8>> {
    let encoded = |pair: String| STANDARD.encode(pair);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "[Bb][Aa]sic[ \t]{0,3}[A-Za-z0-9+/=]{0,24}".prop_map(String::into_bytes),
        ("[Bb]asic {1,3}", "[a-z%+&=:0-9]{0,12}:?[ -~]{0,12}", "[ =]{0,1}").prop_map(
            move |(scheme, pair, end)| format!("{scheme}{}{end}", encoded(pair)).into_bytes()
        ),
        ("[a-zä%]{0,6}", prop::collection::vec(any::<u8>(), 0..12)).prop_map(|(user, password)| {
            let pair = [user.as_bytes(), b":", &password].concat();
            format!("Basic {}", STANDARD.encode(pair)).into_bytes()
        }),
    ]
}

proptest! {
    #[test]
    fn any_header_is_read_by_its_grammar_and_none_panics(value in header_value()) {
        let read = basic(&value).map(|(user, secret)| (user, secret.expose().to_owned()));
        prop_assert_eq!(read, by_the_grammar(&value));
    }

    #[test]
    fn what_a_client_encodes_is_read_back(user in "[^\u{0}]{1,12}", password in "[^\u{0}]{0,24}") {
        let half = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", half(&user), half(&password));
        let (id, secret) = basic(format!("Basic {}", STANDARD.encode(pair)).as_bytes()).unwrap();
        prop_assert_eq!((id.as_str(), secret.expose()), (user.as_str(), password.as_str()));
    }
}
