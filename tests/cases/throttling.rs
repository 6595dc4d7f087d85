//! Throttling that cannot lock a person out: counted before any hash, by account, address and known browser.

use auth_server::domain::password::{Place, Standing};
use auth_server::domain::row_id::RowId;
use auth_server::store::accounts;
use reqwest::Method;
use tests::browser::{Browser, Page};
use tests::client::{Client, sign_in};
use tests::http::{Answer, Http, send};
use tests::world::{ALICE, BOB, World};

/// A world whose server believes what the harness says of addresses.
async fn world() -> World {
    World::with(|settings| settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await
}

/// A sign-in page in a browser that knows nobody, with its cookies.
async fn login_page(world: &World) -> (Page, String) {
    let mut browser = Browser::new();
    let page = browser.get(&world.web().begin("openid", "throttle").url()).await;
    let page = browser.settle(page).await;
    let cookie = format!("as_browser={}", browser.cookie("127.0.0.1", "as_browser").unwrap());
    (page, cookie)
}

/// One attempt from an address, as a proxy would pass it on.
async fn attempt(
    page: &(Page, String),
    (name, password): (&str, &str),
    address: impl AsRef<[u8]>,
) -> Answer {
    let (page, cookie) = page;
    let form = page.form("login-form").set("username", name).set("password", password);
    let form = form.press("login-submit");
    let request = Http::new()
        .request(Method::POST, page.url.join(&form.action).unwrap().as_str())
        .header("X-Forwarded-For", address.as_ref())
        .header("Cookie", cookie)
        .form(&form.fields);
    send(request).await
}

fn waits(answer: &Answer, seconds: i64) {
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.header("Retry-After"), seconds.to_string());
    assert!(answer.text().contains("login-form"), "it is the page again");
}

#[tokio::test]
async fn five_guesses_from_an_address_in_ten_minutes_and_the_right_password_waits_too() {
    let world = world().await;
    let page = login_page(&world).await;
    for _ in 0..5 {
        assert_eq!(attempt(&page, (ALICE.0, "guess"), "203.0.113.1").await.status, 403);
    }
    waits(&attempt(&page, (ALICE.0, "guess"), "203.0.113.1").await, 600);
    waits(&attempt(&page, ALICE, "203.0.113.1").await, 600);
    // Another address, and another account, are not in this bucket.
    assert_eq!(attempt(&page, ALICE, "203.0.113.2").await.status, 303);
    assert_eq!(attempt(&page, BOB, "203.0.113.1").await.status, 303);
    world.clock.advance(599);
    waits(&attempt(&page, ALICE, "203.0.113.1").await, 1);
    world.clock.advance(1);
    assert_eq!(attempt(&page, ALICE, "203.0.113.1").await.status, 303);
}

#[tokio::test]
async fn a_success_is_not_counted() {
    let world = world().await;
    let page = login_page(&world).await;
    for _ in 0..20 {
        assert_eq!(attempt(&page, ALICE, "203.0.113.1").await.status, 303);
    }
    for _ in 0..5 {
        assert_eq!(attempt(&page, (ALICE.0, "guess"), "203.0.113.1").await.status, 403);
    }
    waits(&attempt(&page, ALICE, "203.0.113.1").await, 600);
}

/// A botnet guesses Alice's password: a browser in which she has signed in before never waits for that.
#[tokio::test]
async fn an_attack_from_everywhere_cannot_lock_a_known_browser_out() {
    let world = world().await;
    let web = world.web();
    let mut hers = Browser::new();
    sign_in(&mut hers, &web.begin("openid", "hers").url(), ALICE.0, ALICE.1).await;
    let page = login_page(&world).await;
    for number in 0..100 {
        let address = format!("203.0.113.{}", number + 1);
        assert_eq!(attempt(&page, (ALICE.0, "guess"), &address).await.status, 403, "{number}");
    }
    // The account is full for whoever is unknown, also with the right password, from anywhere.
    waits(&attempt(&page, ALICE, "198.51.100.1").await, 3_600);
    let pending = web.begin("openid", "again").param("prompt", "login");
    let done = sign_in(&mut hers, &pending.url(), ALICE.0, ALICE.1).await;
    pending.code(&done, &web);
    // An unknown one may again when the hour is over.
    world.clock.advance(3_599);
    let page = login_page(&world).await;
    waits(&attempt(&page, ALICE, "198.51.100.1").await, 1);
    world.clock.advance(1);
    assert_eq!(attempt(&page, ALICE, "198.51.100.1").await.status, 303);
}

#[tokio::test]
async fn a_known_browser_is_known_for_its_own_account_only_and_has_a_limit_of_its_own() {
    let world = world().await;
    let web = world.web();
    let mut bobs = Browser::new();
    sign_in(&mut bobs, &web.begin("openid", "bob").url(), BOB.0, BOB.1).await;
    let fail = |tag: &'static str| web.begin("openid", tag).param("prompt", "login").url();
    for number in 0..5 {
        let page = sign_in(&mut bobs, &fail("alice"), ALICE.0, "guess").await;
        assert_eq!(page.status(), 403, "{number}");
    }
    let page = sign_in(&mut bobs, &fail("alice"), ALICE.0, ALICE.1).await;
    assert_eq!(page.status(), 429, "for Alice it is an unknown browser");
    for number in 0..10 {
        let page = sign_in(&mut bobs, &fail("bob"), BOB.0, "guess").await;
        assert_eq!(page.status(), 403, "{number}");
    }
    let page = sign_in(&mut bobs, &fail("bob"), BOB.0, BOB.1).await;
    assert_eq!(page.status(), 429);
    assert_eq!(page.answer.header("Retry-After"), "600");
}

#[tokio::test]
async fn the_cookie_of_a_known_browser_cannot_be_forged_or_borrowed_for_another_account() {
    let world = world().await;
    let web = world.web();
    let mut hers = Browser::new();
    sign_in(&mut hers, &web.begin("openid", "hers").url(), ALICE.0, ALICE.1).await;
    let cookie = hers.cookie("127.0.0.1", "as_known").unwrap().to_owned();
    let page = login_page(&world).await;
    for _ in 0..5 {
        assert_eq!(attempt(&page, (ALICE.0, "guess"), "203.0.113.1").await.status, 403);
    }
    let flipped = if cookie.ends_with('A') { "B" } else { "A" };
    let forged = format!("{}{flipped}", &cookie[..cookie.len() - 1]);
    let middle = cookie.len() / 2;
    let other = if &cookie[middle..=middle] == "A" { "B" } else { "A" };
    let altered = format!("{}{other}{}", &cookie[..middle], &cookie[middle + 1..]);
    for bad in [forged, altered, "x".to_owned(), String::new()] {
        let with = (page.0.clone(), format!("{}; as_known={bad}", page.1));
        waits(&attempt(&with, ALICE, "203.0.113.1").await, 600);
    }
    let with = (page.0.clone(), format!("{}; as_known={cookie}", page.1));
    assert_eq!(attempt(&with, ALICE, "203.0.113.1").await.status, 303);
}

#[tokio::test]
async fn many_names_from_one_address_fill_its_bucket_but_not_behind_a_private_one() {
    let world = world().await;
    let page = login_page(&world).await;
    for number in 0..30 {
        let name = format!("person-{number}");
        assert_eq!(attempt(&page, (&name, "guess"), "203.0.113.9").await.status, 403, "{number}");
    }
    waits(&attempt(&page, ("person-30", "guess"), "203.0.113.9").await, 600);
    waits(&attempt(&page, ALICE, "203.0.113.9").await, 600);
    // A /64 is one subscriber.
    for number in 0..30 {
        let address = format!("2001:db8::{number:x}");
        assert_eq!(attempt(&page, (&format!("six-{number}"), "guess"), &address).await.status, 403);
    }
    waits(&attempt(&page, BOB, "2001:db8::ffff").await, 600);
    assert_eq!(attempt(&page, BOB, "2001:db8:0:1::1").await.status, 303);
    for number in 0..40 {
        let name = format!("neighbor-{number}");
        assert_eq!(attempt(&page, (&name, "guess"), "192.168.1.1").await.status, 403, "{number}");
    }
}

/// Whoever is no trusted proxy cannot choose its address.
/// A proxy appends to what it was sent, whatever that is: bytes that are no text take nothing from the entry behind them.
#[tokio::test]
async fn bytes_that_are_no_text_do_not_hide_the_address_behind_them() {
    let world = world().await;
    let page = login_page(&world).await;
    for _ in 0..5 {
        let answer = attempt(&page, (ALICE.0, "guess"), b"\xff, 203.0.113.7").await;
        assert_eq!(answer.status, 403);
    }
    waits(&attempt(&page, ALICE, "203.0.113.7").await, 600);
    waits(&attempt(&page, ALICE, b"\xff, 203.0.113.7").await, 600);
    assert_eq!(attempt(&page, ALICE, b"\xff, 203.0.113.8").await.status, 303);
}

#[tokio::test]
async fn x_forwarded_for_of_a_stranger_is_not_believed() {
    let world = World::start().await;
    let page = login_page(&world).await;
    for number in 0..5 {
        let address = format!("203.0.113.{number}");
        assert_eq!(attempt(&page, (ALICE.0, "guess"), &address).await.status, 403);
    }
    assert_eq!(attempt(&page, ALICE, "203.0.113.99").await.status, 429);
}

#[tokio::test]
async fn only_the_last_hop_before_a_trusted_proxy_is_believed() {
    let world = world().await;
    let page = login_page(&world).await;
    for number in 0..5 {
        let chain = format!("198.51.100.{number}, 203.0.113.1");
        assert_eq!(attempt(&page, (ALICE.0, "guess"), &chain).await.status, 403);
    }
    assert_eq!(attempt(&page, ALICE, "198.51.100.200, 203.0.113.1").await.status, 429);
}

#[tokio::test]
async fn failed_client_authentication_is_slowed_down_and_the_right_secret_never_is() {
    let world = World::start().await;
    let wrong = Client::new(&world.auth.issuer, "machine", "guess", "");
    for number in 0..30 {
        let answer = wrong.client_credentials("documents:read").await.expect(401);
        assert_eq!(answer.error(), "invalid_client", "{number}");
    }
    let answer = wrong.client_credentials("documents:read").await.expect(429);
    assert_eq!(answer.header("Retry-After"), "600");
    // Others try in its name: the client itself does not wait, nor does any other.
    world.machine().client_credentials("documents:read").await.expect(200);
    let other = Client::new(&world.auth.issuer, "web", "guess", "");
    other.refresh("x").await.expect(401);
    world.clock.advance(600);
    wrong.client_credentials("documents:read").await.expect(401);
}

#[tokio::test]
async fn a_browser_is_known_for_a_hundred_and_eighty_days() {
    const DAY: i64 = 86_400;
    let world = world().await;
    let web = world.web();
    for (age, status) in [(180 * DAY - 1, 303), (180 * DAY, 429), (180 * DAY + 1, 429)] {
        let mut hers = Browser::new();
        sign_in(&mut hers, &web.begin("openid", "hers").url(), ALICE.0, ALICE.1).await;
        world.clock.advance(age);
        // The address of all browsers of this case is full.
        let page = login_page(&world).await;
        for _ in 0..5 {
            assert_eq!(attempt(&page, (ALICE.0, "guess"), "127.0.0.1").await.status, 403);
        }
        let again = sign_in(&mut hers, &web.begin("openid", "again").url(), ALICE.0, ALICE.1).await;
        assert_eq!(again.status(), status, "{age}");
        world.clock.advance(600);
    }
}

/// Every hash holds its memory: more than may wait are told to come back, and the server goes on answering.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_sign_ins_waits_in_line_and_not_in_memory() {
    let world = World::with(|settings| {
        settings.argon2.memory_kib = 19_456;
        settings.argon2.iterations = 2;
        settings.argon2.concurrency = 1;
        settings.argon2.queue = 2;
    })
    .await;
    let page = std::sync::Arc::new(login_page(&world).await);
    let storm = (0..48).map(|number| {
        let page = page.clone();
        tokio::spawn(async move {
            attempt(&page, (&format!("person-{number}"), "guess"), "127.0.0.1").await
        })
    });
    let storm: Vec<_> = storm.collect();
    world.machine().client_credentials("documents:read").await.expect(200);
    let mut statuses = Vec::new();
    for one in storm {
        let answer = one.await.unwrap();
        if answer.status == 503 {
            answer.is_put_off();
        }
        statuses.push(answer.status);
    }
    assert!(statuses.iter().all(|status| matches!(status, 403 | 503)), "{statuses:?}");
    assert!(statuses.contains(&403), "whoever had a place was served: {statuses:?}");
    assert!(statuses.contains(&503), "the line has an end: {statuses:?}");
    let later = attempt(&page, ALICE, "127.0.0.1").await;
    assert_eq!(later.status, 303);
}

/// Every place in line that somebody in that standing can get, as a flood would hold them.
fn fill(world: &World, standing: impl Fn(i64) -> Standing) -> Vec<Place> {
    let passwords = &world.auth.running.app().passwords;
    (0..).map_while(|number| passwords.place(standing(number)).ok()).collect()
}

/// Alice in a browser that knows her, and with the right password: gives the status.
async fn comes_back(world: &World, hers: &mut Browser) -> u16 {
    let pending = world.web().begin("openid", "back").param("prompt", "login");
    sign_in(hers, &pending.url(), ALICE.0, ALICE.1).await.status()
}

#[tokio::test]
async fn a_full_line_uses_up_nobodys_attempts() {
    let world = world().await;
    let mut hers = Browser::new();
    sign_in(&mut hers, &world.web().begin("openid", "hers").url(), ALICE.0, ALICE.1).await;
    let page = login_page(&world).await;
    let strangers = fill(&world, |_| Standing::Unknown);
    let known = fill(&world, |number| Standing::Known(RowId::new(number)));
    for number in 0..12 {
        assert_eq!(comes_back(&world, &mut hers).await, 503, "{number}");
        assert_eq!(attempt(&page, ALICE, "203.0.113.1").await.status, 503, "{number}");
    }
    drop((strangers, known));
    assert_eq!(comes_back(&world, &mut hers).await, 303);
    for number in 0..5 {
        let wrong = attempt(&page, (ALICE.0, "guess"), "203.0.113.1").await;
        assert_eq!(wrong.status, 403, "{number}");
    }
    waits(&attempt(&page, ALICE, "203.0.113.1").await, 600);
}

/// Whoever must wait anyway takes no place and hears so also while the line is full.
#[tokio::test]
async fn a_flood_of_strangers_leaves_room_for_a_known_browser() {
    let world = world().await;
    let mut hers = Browser::new();
    sign_in(&mut hers, &world.web().begin("openid", "hers").url(), ALICE.0, ALICE.1).await;
    let page = login_page(&world).await;
    for _ in 0..5 {
        assert_eq!(attempt(&page, (BOB.0, "guess"), "203.0.113.1").await.status, 403);
    }
    let strangers = fill(&world, |_| Standing::Unknown);
    assert_eq!(attempt(&page, ALICE, "203.0.113.1").await.status, 503);
    waits(&attempt(&page, BOB, "203.0.113.1").await, 600);
    for number in 0..12 {
        assert_eq!(comes_back(&world, &mut hers).await, 303, "{number}");
    }
    drop(strangers);
}

/// A hash that cannot be computed is our fault, and says nothing about the password that was typed.
#[tokio::test]
async fn a_fault_of_ours_uses_up_nobodys_attempts() {
    let world = world().await;
    let mut hers = Browser::new();
    sign_in(&mut hers, &world.web().begin("openid", "hers").url(), ALICE.0, ALICE.1).await;
    let page = login_page(&world).await;
    let database = &world.auth.running.app().database;
    let alice = database.read(|sql| accounts::find_by_username(sql, ALICE.0)).await.unwrap();
    let alice = alice.unwrap();
    let (id, good) = (alice.id, alice.password_hash.unwrap());
    // Less memory than Argon2 takes: nothing computes that.
    let impossible =
        format!("$argon2id$v=19$m=7,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA${}", "A".repeat(43));
    let (old, new) = (good.clone(), impossible.clone());
    database.write(move |sql| accounts::rehash(sql, id, &old, &new)).await.unwrap();
    for number in 0..12 {
        assert_eq!(comes_back(&world, &mut hers).await, 500, "{number}");
        assert_eq!(attempt(&page, ALICE, "203.0.113.1").await.status, 500, "{number}");
    }
    database.write(move |sql| accounts::rehash(sql, id, &impossible, &good)).await.unwrap();
    assert_eq!(comes_back(&world, &mut hers).await, 303);
    assert_eq!(attempt(&page, ALICE, "203.0.113.1").await.status, 303);
}

/// Whoever stole a browser's cookies loses the bucket of its own too, when the person sets the password or the account is disabled.
#[tokio::test]
async fn a_browser_is_a_stranger_again_after_the_password_was_set_or_the_account_disabled() {
    let world = world().await;
    let database = &world.auth.running.app().database;
    let alice = database.read(|sql| accounts::find_by_username(sql, ALICE.0)).await.unwrap();
    let alice = alice.unwrap();
    let (id, hash) = (alice.id, alice.password_hash.unwrap());
    for (change, status) in [("nothing", 303), ("set-password", 429), ("disable", 429)] {
        let mut hers = Browser::new();
        sign_in(&mut hers, &world.web().begin("openid", "hers").url(), ALICE.0, ALICE.1).await;
        let hash = hash.clone();
        let changed = database.write(move |sql| match change {
            "set-password" => accounts::set_password(sql, id, &hash),
            "disable" => {
                Ok(accounts::set_enabled(sql, id, false)? && accounts::set_enabled(sql, id, true)?)
            }
            _ => Ok(true),
        });
        assert!(changed.await.unwrap(), "{change}");
        // The address of all browsers of this case is full.
        let page = login_page(&world).await;
        for _ in 0..5 {
            assert_eq!(attempt(&page, (ALICE.0, "guess"), "127.0.0.1").await.status, 403);
        }
        assert_eq!(comes_back(&world, &mut hers).await, status, "{change}");
        world.clock.advance(600);
        assert_eq!(comes_back(&world, &mut hers).await, 303, "{change}");
    }
}
