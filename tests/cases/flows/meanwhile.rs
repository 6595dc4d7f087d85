//! What changes while a page stands open, a code waits or a token is out counts from then on.

use futures_util::future::join_all;
use shared_types::{ClientId, UnixSeconds};
use tests::background;
use tests::browser::{Browser, Page};
use tests::client::Pending;
use tests::oracle::read;
use tests::seed::{self, client};
use tests::world::{ALICE, SECRET, WEB_CALLBACK, World};

use auth_server::store::{StoreError, accounts, clients, consents};
use database::Sql;

/// One unit of work on the server's database, as another instance or the command line would do it.
async fn change(
    world: &World,
    work: impl Fn(&mut dyn Sql) -> Result<(), StoreError> + Send + 'static,
) {
    let database = world.auth.running.app().database.clone();
    background::run(async move { database.write(move |sql| work(sql)).await.unwrap() }).await;
}

/// An instance's picture of clients and keys is at most five seconds old.
fn five_seconds_later(world: &World) {
    world.clock.advance(5);
}

async fn to_login(browser: &mut Browser, pending: &Pending) -> Page {
    let page = browser.get(&pending.url()).await;
    browser.settle(page).await
}

async fn enter(browser: &mut Browser, login: &Page) -> Page {
    let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let next = browser.submit(login, &form.press("login-submit")).await;
    browser.settle(next).await
}

async fn allow(browser: &mut Browser, consent: &Page) -> Page {
    browser.submit(consent, &consent.form("consent-form").press("consent-allow")).await
}

#[tokio::test]
async fn a_client_that_is_disabled_gets_no_code_from_pages_that_stand_open() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let login = to_login(&mut browser, &web.begin("openid", "login")).await;
    let mut other = Browser::new();
    let login_of_other = to_login(&mut other, &web.begin("openid", "consent")).await;
    let consent = enter(&mut other, &login_of_other).await;
    let (id, now) = (ClientId::parse("web").unwrap(), UnixSeconds::new(world.now()));
    change(&world, move |sql| clients::set_enabled(sql, &id, false, now).map(drop)).await;
    five_seconds_later(&world);
    let page = enter(&mut browser, &login).await;
    assert_eq!((page.status(), page.element("oauth-error").is_some()), (400, true));
    let page = allow(&mut other, &consent).await;
    assert_eq!((page.status(), page.element("oauth-error").is_some()), (400, true));
}

/// The unit of work behind a code reads every parent again, whatever the picture in memory says.
#[tokio::test]
async fn a_code_is_never_given_in_the_name_of_what_has_just_ended() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let login = to_login(&mut browser, &web.begin("openid", "account")).await;
    let consent = enter(&mut browser, &login).await;
    change(&world, |sql| {
        let alice = accounts::find_by_username(sql, "alice")?.unwrap();
        accounts::set_enabled(sql, alice.id, false).map(drop)
    })
    .await;
    let page = allow(&mut browser, &consent).await;
    let page = browser.settle(page).await;
    assert!(page.element("login-form").is_some(), "{} {}", page.status(), page.url);
}

#[tokio::test]
async fn a_redirect_uri_that_was_removed_is_no_place_to_go() {
    let world = seed::world().await;
    let both = client(&world, "both");
    let mut browser = Browser::new();
    let login = to_login(&mut browser, &both.begin("openid", "moved")).await;
    let state = format!(
        "[[client]]\nclient_id = \"both\"\nredirect_uris = [\"{WEB_CALLBACK}/new\"]\nclient_secret = \"{SECRET}\"\nscope = \"openid\"\n"
    );
    seed::declare(&world.auth, &state).await;
    let page = enter(&mut browser, &login).await;
    assert_eq!((page.status(), page.element("oauth-error").is_some()), (400, true));
}

#[tokio::test]
async fn consent_withdrawn_ends_the_grants_of_that_client_and_is_asked_again() {
    let world = seed::world().await;
    let (web, both) = (world.web(), client(&world, "both"));
    let mut browser = Browser::new();
    let mut tokens = Vec::new();
    for client in [&web, &both] {
        let (page, pending) =
            world.authorize(&mut browser, client, "openid offline_access", "given").await;
        tokens.push(client.redeem(&pending.code(&page, client), &pending).await.expect(200));
    }
    change(&world, |sql| {
        let alice = accounts::find_by_username(sql, "alice")?.unwrap();
        consents::withdraw(sql, alice.id, &ClientId::parse("web").unwrap())
    })
    .await;
    let refused = web.refresh(&tokens[0].member("refresh_token")).await.expect(400);
    assert_eq!(refused.error(), "invalid_grant");
    assert_eq!(web.userinfo(&tokens[0].member("access_token")).await.status, 401);
    both.refresh(&tokens[1].member("refresh_token")).await.expect(200);
    let again = to_login(&mut browser, &web.begin("openid", "again")).await;
    assert!(again.element("consent-form").is_some());
    let done = allow(&mut browser, &again).await;
    assert_ne!(done.location_param("code"), "");
}

#[tokio::test]
async fn a_change_by_another_instance_counts_after_five_seconds_at_the_latest() {
    let world = World::start().await;
    let machine = world.machine();
    machine.client_credentials("documents:read").await.expect(200);
    let (id, now) = (ClientId::parse("machine").unwrap(), UnixSeconds::new(world.now()));
    change(&world, move |sql| clients::set_enabled(sql, &id, false, now).map(drop)).await;
    five_seconds_later(&world);
    let refused = machine.client_credentials("documents:read").await.expect(401);
    assert_eq!(refused.error(), "invalid_client");
}

/// Keys of an algorithm that comes into use are made before anybody sees the API that asks for it.
#[tokio::test]
async fn another_signature_algorithm_of_an_api_costs_no_request() {
    let world = World::start().await;
    let machine = world.machine();
    let ask = || async { machine.client_credentials("documents:read").await.expect(200) };
    for next in ["EdDSA", "PS256", "RS256", "ES256"] {
        let declared = tests::world::state(&world.resource);
        let declared = declared.replacen(
            "access_token_lifetime",
            &format!("signing_alg = \"{next}\"\naccess_token_lifetime"),
            1,
        );
        seed::declare_beside(&world.auth, &declared).await;
        // More than five seconds: a resource server asks for keys that it does not know once in 30.
        world.clock.advance(31);
        // Together: one of them brings the picture up to date, and the others must not overtake it.
        let answers = join_all((0..8).map(|_| ask())).await;
        let jwks = machine.jwks().await;
        for answer in answers {
            let token = answer.member("access_token");
            assert_eq!(read(&token, &jwks).0["alg"], next);
            assert_eq!(world.documents(&token).whoami().await.status, 200, "{next}");
        }
    }
}

/// Without a grant there is no row to end: the client's own tokens end by the client's epoch, which they carry.
#[tokio::test]
async fn what_ends_a_clients_grants_ends_its_own_tokens_and_not_those_it_gets_later() {
    type Act = fn(&mut dyn Sql, &ClientId, UnixSeconds) -> Result<bool, StoreError>;
    let off_and_on: Act = |sql, id, now| {
        let off = clients::set_enabled(sql, id, false, now)?;
        Ok(off && clients::set_enabled(sql, id, true, now)?)
    };
    for act in [clients::revoke_tokens, off_and_on] {
        let world = World::start().await;
        let (machine, asker) = (world.machine(), world.introspector());
        let own = || async {
            machine.client_credentials("documents:read").await.expect(200).member("access_token")
        };
        let active = |token: String| {
            let asker = asker.clone();
            async move { asker.introspect(&token).await.expect(200).json()["active"] == true }
        };
        let earlier = own().await;
        world.clock.advance(1);
        let same_second = own().await;
        assert!(active(earlier.clone()).await && active(same_second.clone()).await);
        let (id, now) = (ClientId::parse("machine").unwrap(), UnixSeconds::new(world.now()));
        change(&world, move |sql| act(sql, &id, now).map(|done| assert!(done))).await;
        world.clock.advance(2);
        let unaware = own().await;
        five_seconds_later(&world);
        let later = own().await;
        assert!(!active(earlier).await, "older than the act");
        assert!(!active(same_second).await, "perhaps older than the act");
        assert!(!active(unaware).await, "given out before the server had seen the act");
        assert!(active(later).await, "younger than the act");
    }
}

#[tokio::test]
async fn an_old_secret_is_taken_until_the_very_second() {
    let world = World::start().await;
    let (machine, until) = (world.machine(), UnixSeconds::new(world.now() + 86_400));
    let new =
        auth_server::domain::secret::SecretHash::of(b"another secret, longer than it has to be");
    change(&world, move |sql| {
        let id = ClientId::parse("machine").unwrap();
        clients::set_secret(sql, &id, Some(&new), Some(until)).map(drop)
    })
    .await;
    for (age, status) in [(86_399, 200), (1, 401), (1, 401)] {
        world.clock.advance(age);
        assert_eq!(machine.client_credentials("documents:read").await.status, status);
    }
}
