//! Races: many clients at once, and what must be true afterwards whoever was first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use auth_server::SeededRandom;
use auth_server::apply::{self, Generated, Target};
use futures_util::future::join_all;
use tests::background;
use tests::browser::Browser;
use tests::client::{Client, Pending};
use tests::http::{Answer, Http, send};
use tests::seed;
use tests::world::{ALICE, World};

/// How many codes may wait in one session.
const WAITING: usize = 16;

/// All at once, each in a task of its own.
async fn at_once<F, T>(times: usize, make: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let tasks: Vec<_> = (0..times).map(|number| tokio::spawn(make(number))).collect();
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

fn with_status(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

/// How many grants are spent and not ended, and how many ended for `reason`.
async fn grants(world: &World, reason: &'static str) -> (i64, i64) {
    let database = world.auth.running.app().database.clone();
    let sql = "SELECT COUNT(CASE WHEN spent_at IS NOT NULL AND ended_at IS NULL THEN 1 END), COUNT(CASE WHEN end_reason = ?1 THEN 1 END)
               FROM authorization_grant";
    background::run(async move {
        let read = database.read(move |store| {
            let rows = store.query(sql, &[reason.into()])?;
            Ok::<_, database::DatabaseError>((rows[0].int(0)?, rows[0].int(1)?))
        });
        read.await.unwrap()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixty_four_redemptions_of_one_code_one_wins_and_the_replays_end_its_grant() {
    let world = World::start().await;
    let web = world.web();
    let (code, pending) = world.code(&web, "openid documents:read", "one").await;
    let answers = at_once(64, |_| {
        let (web, code, pending) = (web.clone(), code.clone(), pending.clone());
        async move { web.redeem(&code, &pending).await }
    })
    .await;
    assert_eq!((with_status(&answers, 200), with_status(&answers, 400)), (1, 63));
    for refused in answers.iter().filter(|answer| answer.status == 400) {
        assert_eq!(refused.error(), "invalid_grant");
    }
    let winner = answers.iter().find(|answer| answer.status == 200).unwrap();
    assert_eq!(
        web.refresh(&winner.member("refresh_token")).await.expect(400).error(),
        "invalid_grant"
    );
    assert_eq!(web.userinfo(&winner.member("access_token")).await.status, 401);
    assert_eq!(grants(&world, "code_replayed").await, (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_refreshes_at_once_are_all_told_the_same_successor() {
    let world = World::start().await;
    let web = world.web();
    let token = world.tokens(&web, "openid", "six").await.member("refresh_token");
    // One that rotates, and as many retries as a generation has.
    let answers = at_once(6, |_| {
        let (web, token) = (web.clone(), token.clone());
        async move { web.refresh(&token).await }
    })
    .await;
    assert_eq!(with_status(&answers, 200), 6);
    let successors: BTreeSet<_> =
        answers.iter().map(|answer| answer.member("refresh_token")).collect();
    assert_eq!(successors.len(), 1);
    let access: BTreeSet<_> = answers.iter().map(|answer| answer.member("access_token")).collect();
    assert_eq!(access.len(), 6);
    for token in &access {
        web.userinfo(token).await.expect(200);
    }
    web.refresh(successors.first().unwrap()).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_refreshes_at_once_are_the_same_successor_or_refused_and_the_family_ends() {
    let world = World::start().await;
    let web = world.web();
    let token = world.tokens(&web, "openid", "many").await.member("refresh_token");
    let answers = at_once(64, |_| {
        let (web, token) = (web.clone(), token.clone());
        async move { web.refresh(&token).await }
    })
    .await;
    assert_eq!((with_status(&answers, 200), with_status(&answers, 400)), (6, 58));
    let successors: BTreeSet<_> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.member("refresh_token"))
        .collect();
    assert_eq!(successors.len(), 1, "never two branches of one family");
    assert_eq!(web.refresh(successors.first().unwrap()).await.expect(400).error(), "invalid_grant");
    assert_eq!(grants(&world, "refresh_reused").await, (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_amid_refreshes_leaves_nothing_alive() {
    let world = World::start().await;
    let web = world.web();
    let token = world.tokens(&web, "openid", "revoked").await.member("refresh_token");
    let answers = at_once(5, |number| {
        let (web, token) = (web.clone(), token.clone());
        async move { if number == 2 { web.revoke(&token).await } else { web.refresh(&token).await } }
    })
    .await;
    assert_eq!(answers[2].status, 200);
    for answer in answers.iter().filter(|answer| !answer.body.is_empty() && answer.status == 200) {
        assert_eq!(
            web.refresh(&answer.member("refresh_token")).await.expect(400).error(),
            "invalid_grant"
        );
        assert_eq!(web.userinfo(&answer.member("access_token")).await.status, 401);
    }
    assert_eq!(grants(&world, "revoked").await, (0, 1));
}

/// Double clicks, impatient tabs: each submission gets a code of its own, good once, for the same request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_consents_give_codes_that_are_each_good_once() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let pending = web.begin("openid documents:read", "double");
    let page = browser.get(&pending.url()).await;
    let login = browser.settle(page).await;
    let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let next = browser.submit(&login, &form.press("login-submit")).await;
    let consent = browser.settle(next).await;
    let form = consent.form("consent-form").press("consent-allow");
    // As many as may wait in one session.
    let pages = at_once(WAITING, |_| {
        let (mut browser, consent, form) = (browser.clone(), consent.clone(), form.clone());
        async move { browser.submit(&consent, &form).await }
    })
    .await;
    let codes: BTreeSet<_> = pages.iter().map(|page| pending.code(page, &web)).collect();
    assert_eq!(codes.len(), WAITING);
    for code in &codes {
        web.redeem(code, &pending).await.expect(200);
    }
    for code in &codes {
        assert_eq!(web.redeem(code, &pending).await.expect(400).error(), "invalid_grant");
    }
    let again = browser
        .get(&web.begin("openid documents:read", "after").param("prompt", "none").url())
        .await;
    assert_ne!(again.location_param("code"), "", "the consent was stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_sign_ins_in_one_browser_leave_it_signed_in() {
    let world = World::start().await;
    let web = world.web();
    let mut browser = Browser::new();
    let pending = web.begin("openid", "storm");
    let page = browser.get(&pending.url()).await;
    let login = browser.settle(page).await;
    let form = login.form("login-form").set("username", ALICE.0).set("password", ALICE.1);
    let form = form.press("login-submit");
    // As many as an unknown browser may try at once without waiting.
    let mut browsers = at_once(5, |_| {
        let (mut browser, login, form) = (browser.clone(), login.clone(), form.clone());
        async move {
            let page = browser.submit(&login, &form).await;
            assert_eq!(page.status(), 303);
            browser
        }
    })
    .await;
    let last = browsers.last_mut().unwrap();
    let page = last.get(&web.begin("openid", "after").url()).await;
    assert!(last.settle(page).await.element("consent-form").is_some());
}

/// The cookies of a browser in which Alice is signed in and has allowed `web`.
async fn cookies(world: &World, web: &Client) -> String {
    let mut browser = Browser::new();
    // The code that waits here from now on is the oldest: it makes room for the others.
    world.authorize(&mut browser, web, "documents:read", "first").await;
    let cookie = |name| format!("{name}={}", browser.cookie("127.0.0.1", name).unwrap());
    ["as_session", "as_browser"].map(cookie).join("; ")
}

/// As many codes as may wait in all of these browsers, each by a request of its own.
async fn codes(web: &Client, browsers: &Arc<Vec<String>>) -> Vec<(String, Pending)> {
    let next = Arc::new(AtomicUsize::new(0));
    let gathered = at_once(64, |_| {
        let (http, web) = (Http::new(), web.clone());
        let (browsers, next) = (browsers.clone(), next.clone());
        async move {
            let mut codes = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= browsers.len() * WAITING {
                    return codes;
                }
                let cookie = &browsers[number % browsers.len()];
                let pending = web.begin("documents:read", &number.to_string());
                let request =
                    http.request(reqwest::Method::GET, &pending.url()).header("Cookie", cookie);
                let answer = send(request).await.expect(303);
                let location = url::Url::parse(answer.header("Location")).unwrap();
                let code = location.query_pairs().find(|(name, _)| name == "code");
                codes.push((code.expect("a code").1.into_owned(), pending));
            }
        }
    })
    .await;
    gathered.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_codes_redeemed_by_sixty_four_clients_none_lost_none_doubled() {
    const BROWSERS: usize = 25;
    const WAVES: usize = 25;
    const COUNT: usize = BROWSERS * WAVES * WAITING;
    let world = World::start().await;
    let web = world.web();
    let mut browsers = Vec::new();
    for _ in 0..BROWSERS {
        browsers.push(cookies(&world, &web).await);
    }
    let browsers = Arc::new(browsers);
    let (mut all, mut answers) = (BTreeSet::new(), Vec::new());
    for _ in 0..WAVES {
        let codes = Arc::new(codes(&web, &browsers).await);
        all.extend(codes.iter().map(|(code, _)| code.clone()));
        let next = Arc::new(AtomicUsize::new(0));
        let redeemed = at_once(64, |_| {
            // A client of its own: its own connection.
            let web = world.web();
            let (codes, next) = (codes.clone(), next.clone());
            async move {
                let mut answers = Vec::new();
                while let Some((code, pending)) = codes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    answers.push(web.redeem(code, pending).await);
                }
                answers
            }
        });
        answers.extend(redeemed.await.into_iter().flatten());
    }
    assert_eq!(all.len(), COUNT);
    assert_eq!(answers.len(), COUNT);
    assert_eq!(with_status(&answers, 200), COUNT);
    for name in ["access_token", "refresh_token"] {
        let distinct: BTreeSet<_> = answers.iter().map(|answer| answer.member(name)).collect();
        assert_eq!(distinct.len(), COUNT, "{name}");
    }
    let count = i64::try_from(COUNT).unwrap();
    assert_eq!(grants(&world, "code_replayed").await, (count, 0));
}

/// Simulated hours of planned rotation, with both servers under load: every token is asked for and used as a client would.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_honest_request_is_refused_while_keys_rotate() {
    let world = Arc::new(
        World::with(|settings| {
            settings.signing.rotation_period = 1_800;
            settings.signing.announce_lead = 600;
        })
        .await,
    );
    let stop = Arc::new(AtomicBool::new(false));
    let served: Vec<_> = (0..8).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let counts = || served.iter().map(|count| count.load(Ordering::Relaxed)).collect::<Vec<_>>();
    let load: Vec<_> = served
        .iter()
        .map(|served| {
            let (world, stop, served) = (world.clone(), stop.clone(), served.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let token =
                        world.machine().client_credentials("documents:read").await.expect(200);
                    let documents = world.documents(&token.member("access_token"));
                    documents.list("").await.expect(200);
                    documents.list("").await.expect(200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut signers = BTreeSet::new();
    for _ in 0..120 {
        let before = counts();
        let app = world.auth.running.app().clone();
        background::run(async move {
            app.rotate_keys().await.unwrap();
            app.poll().await.unwrap();
        })
        .await;
        let token = world
            .machine()
            .client_credentials("documents:read")
            .await
            .expect(200)
            .member("access_token");
        signers.insert(
            tests::oracle::read(&token, &world.machine().jwks().await).0["kid"].to_string(),
        );
        world.documents(&token).list("").await.expect(200);
        // Time moves only when everybody has been served since: a minute is less than a token's life.
        while counts().iter().zip(&before).any(|(now, before)| now == before)
            && load.iter().all(|task| !task.is_finished())
        {
            tokio::task::yield_now().await;
        }
        world.clock.advance(60);
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
    assert!(signers.len() >= 4, "two hours hold several keys: {signers:?}");
}

/// Every instance that starts with one declared state carries out a plan that it made before the others acted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_runs_that_give_a_client_its_secret_one_shows_it_and_it_counts() {
    const STATE: &str = r#"
[[client]]
client_id = "late"
redirect_uris = ["https://late.example/callback"]
token_endpoint_auth_method = "METHOD"
grant_types = ["client_credentials"]
scope = "documents:read"
"#;
    let world = World::start().await;
    let public =
        STATE.replace("METHOD", "none").replace("client_credentials", "authorization_code");
    seed::declare(&world.auth, &public).await;
    let app = world.auth.running.app().clone();
    let shown = background::run(async move {
        let mut runs = Vec::new();
        for number in 0..8 {
            let target = Target {
                settings: app.settings.clone(),
                database: app.database.clone(),
                clock: app.clock.clone(),
                random: Arc::new(SeededRandom::new(number)),
            };
            let state = STATE
                .replace("METHOD", "client_secret_basic")
                .replace("GRANT", "client_credentials")
                .replace("redirect_uris", "#");
            let plan = apply::plan(&target, &state, &std::env::temp_dir(), false).await.unwrap();
            runs.push((target, plan));
        }
        let runs = runs
            .into_iter()
            .map(|(target, plan)| async move { apply::carry_out(&target, plan).await.unwrap() });
        let shown: Vec<Generated> = join_all(runs).await.into_iter().flatten().collect();
        app.poll().await.unwrap();
        shown
    })
    .await;
    assert_eq!(shown.len(), 1, "{shown:?}");
    let secret = shown[0].secret.expose();
    let client = Client::new(&world.auth.issuer, "late", secret, "https://late.example/callback");
    let answer = client.client_credentials("documents:read").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
