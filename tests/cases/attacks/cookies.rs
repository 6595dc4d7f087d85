//! Cookies that somebody else set for our host: another port of localhost, or over http a neighboring domain (RFC 6265 section 8.6).

use tests::browser::Browser;
use tests::client::{Client, sign_in};
use tests::world::{ALICE, BOB, World};

const HOST: &str = "127.0.0.1";

/// Whose session it is, as a client that asks for no page learns it; the error if there is none.
async fn silent(browser: &mut Browser, web: &Client) -> Result<String, String> {
    let pending = web.begin("openid", "silent").param("prompt", "none");
    let page = browser.get(&pending.url()).await;
    let error = page.location_param("error");
    if !error.is_empty() {
        return Err(error);
    }
    let tokens = web.redeem(&pending.code(&page, web), &pending).await.expect(200);
    let person = web.userinfo(&tokens.member("access_token")).await.expect(200);
    Ok(person.member("sub"))
}

/// A browser in which that person is signed in, and who that is.
async fn signed_in(web: &Client, (name, password): (&str, &str)) -> (Browser, String) {
    let mut browser = Browser::new();
    let pending = web.begin("openid", "first");
    let page = sign_in(&mut browser, &pending.url(), name, password).await;
    pending.code(&page, web);
    let sub = silent(&mut browser, web).await.unwrap();
    (browser, sub)
}

async fn signs_in(browser: &mut Browser, web: &Client, (name, password): (&str, &str)) {
    let pending = web.begin("openid", "again").param("prompt", "login");
    let page = sign_in(browser, &pending.url(), name, password).await;
    pending.code(&page, web);
}

fn session(browser: &Browser) -> String {
    format!("as_session={}", browser.cookie(HOST, "as_session").unwrap())
}

#[tokio::test]
async fn a_foreign_cookie_that_is_no_text_stands_in_nobodys_way() {
    let world = World::start().await;
    let web = world.web();
    let foreign: &[&[u8]] = &[b"theme=\xff\xfe", b"=", b"x", b"a=%ff", b"\xe9=\"", b""];
    for (before, after) in [(foreign, &[][..]), (&[][..], foreign)] {
        let mut browser = Browser::new();
        browser.plant_beside(before, after);
        signs_in(&mut browser, &web, ALICE).await;
        silent(&mut browser, &web).await.unwrap();
    }
}

/// Cookies of our own names that prove nothing: the person stays signed in, and can sign in.
#[tokio::test]
async fn a_planted_duplicate_that_proves_nothing_changes_nothing() {
    let world = World::start().await;
    let web = world.web();
    let (mut attacker, _) = signed_in(&web, BOB).await;
    let ended = session(&attacker);
    let logout = attacker.get(&format!("{}/end_session", web.issuer)).await;
    attacker.submit(&logout, &logout.form("logout-form").press("logout-confirm")).await;
    let browser_id = format!("as_browser={}", attacker.cookie(HOST, "as_browser").unwrap());
    let known = format!("as_known={}", attacker.cookie(HOST, "as_known").unwrap());
    let made_up = format!("as_session={}", "A".repeat(59));
    let planted: Vec<&[u8]> = [&ended, &browser_id, &known, &made_up]
        .map(String::as_bytes)
        .into_iter()
        .chain([&b"as_session=\xff"[..], b"as_session=", b"as_browser=x", b"as_known=x"])
        .collect();
    for (before, after) in [(&planted[..], &[][..]), (&[][..], &planted[..])] {
        let (mut hers, alice) = signed_in(&web, ALICE).await;
        hers.plant_beside(before, after);
        assert_eq!(silent(&mut hers, &web).await, Ok(alice.clone()));
        signs_in(&mut hers, &web, ALICE).await;
        assert_eq!(silent(&mut hers, &web).await, Ok(alice.clone()));
        // A browser that had nothing of ours before the others came.
        let mut fresh = Browser::new();
        fresh.plant_beside(before, after);
        signs_in(&mut fresh, &web, ALICE).await;
        assert_eq!(silent(&mut fresh, &web).await, Ok(alice));
    }
}

/// Session fixation beside a session: nobody can tell whose browser it is, so she is asked; and that settles it.
#[tokio::test]
async fn a_planted_session_of_another_person_is_never_taken_for_hers() {
    let world = World::start().await;
    let web = world.web();
    for is_first in [true, false] {
        let (mut hers, alice) = signed_in(&web, ALICE).await;
        world.clock.advance(1);
        let (mut attacker, _) = signed_in(&web, BOB).await;
        let planted = session(&attacker);
        let planted = [planted.as_bytes()];
        let (before, after) =
            if is_first { (&planted[..], &[][..]) } else { (&[][..], &planted[..]) };
        hers.plant_beside(before, after);
        assert_eq!(silent(&mut hers, &web).await, Err("login_required".to_owned()));
        let pending = web.begin("openid", "asked");
        let page = sign_in(&mut hers, &pending.url(), ALICE.0, ALICE.1).await;
        pending.code(&page, &web);
        assert_eq!(silent(&mut hers, &web).await, Ok(alice));
        let theirs = silent(&mut attacker, &web).await;
        assert_eq!(theirs, Err("login_required".to_owned()), "the planted one has ended");
    }
}

/// Whoever signs out is signed out of every session that this browser sent.
#[tokio::test]
async fn signing_out_leaves_no_session_behind_a_planted_one() {
    let world = World::start().await;
    let web = world.web();
    let (mut hers, _) = signed_in(&web, ALICE).await;
    let (attacker, _) = signed_in(&web, BOB).await;
    let own = session(&hers);
    hers.plant_beside(&[session(&attacker).as_bytes()], &[]);
    let page = hers.get(&format!("{}/end_session", web.issuer)).await;
    assert!(page.element("logout-form").is_none(), "nobody is signed in as far as we can tell");
    let mut left = Browser::new();
    left.plant_beside(&[own.as_bytes()], &[]);
    assert_eq!(silent(&mut left, &web).await, Err("login_required".to_owned()));
    // Two sessions of the same person.
    let (mut first, alice) = signed_in(&web, ALICE).await;
    let (second, _) = signed_in(&web, ALICE).await;
    let other = session(&second);
    first.plant_beside(&[other.as_bytes()], &[]);
    assert_eq!(silent(&mut first, &web).await, Ok(alice));
    let page = first.get(&format!("{}/end_session", web.issuer)).await;
    first.submit(&page, &page.form("logout-form").press("logout-confirm")).await;
    let mut left = Browser::new();
    left.plant_beside(&[other.as_bytes()], &[]);
    assert_eq!(silent(&mut left, &web).await, Err("login_required".to_owned()));
}
