//! How pages look: on a desk and on a phone, by day and by night. Every page is measured, and its pictures are kept in
//! `target/screenshots/` for a person to judge.

use serde_json::Value;

use super::Stage;
use tests::chromium::{Chromium, Look};
use tests::client::Client;
use tests::world::{ALICE, SECRET};

const DESK: Look = Look { width: 1280, height: 900, dark: false, phone: false };
/// The narrowest phone that is common.
const PHONE: Look = Look { width: 360, height: 740, dark: false, phone: true };

const LOOKS: [(&str, Look); 4] = [
    ("light", DESK),
    ("dark", Look { dark: true, ..DESK }),
    ("phone", PHONE),
    ("phone-dark", Look { dark: true, ..PHONE }),
];

/// What is wrong with the page as it is drawn, in words. Contrast is that of WCAG 2.2: 4.5 for text (success criterion
/// 1.4.3, without its discount for large letters), 3 for the edges of fields (1.4.11); targets are 44 pixels high (2.5.5).
const FAULTS: &str = include_str!("faults.js");

/// Takes the page's pictures as `NAME-LOOK.png` and demands that it is well in each of them.
pub async fn portray(browser: &Chromium, name: &str) {
    let mut papers = Vec::new();
    for (look_name, look) in LOOKS {
        browser.look(look).await;
        let seen = browser.script(FAULTS).await;
        browser.screenshot(&format!("{name}-{look_name}")).await;
        assert_eq!(seen["faults"], Value::Array(Vec::new()), "{name}, {look_name}");
        assert_eq!(seen["width"], look.width, "{name}, {look_name}");
        assert!(seen["texts"].as_u64().unwrap() > 1, "{name}: texts were measured");
        papers.push(seen["paper"].clone());
    }
    assert_ne!(papers[0], papers[1], "{name} has a dark side");
    browser.look(DESK).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_readable_by_day_by_night_and_on_a_phone() {
    let case = "every_page_is_readable_by_day_by_night_and_on_a_phone";
    let Some(stage) = Stage::open(case).await else { return };
    let browser = &stage.browser;
    let issuer = &stage.world.auth.issuer;

    let pending = stage.begin("looks").await;
    browser.find("#login-form").await;
    portray(browser, "login").await;
    browser.write("#username", ALICE.0).await;
    browser.write("#password", "not her password").await;
    browser.click("#login-submit").await;
    browser.find("#login-error").await;
    portray(browser, "login-error").await;
    stage.sign_in().await;
    browser.find("#consent-form").await;
    portray(browser, "consent").await;
    browser.click("#consent-allow").await;
    stage.landed(&pending).await;

    // A client with a long name, links, and a wish for everything.
    let scope =
        "openid profile email offline_access documents:read documents:write documents:share";
    let garden = Client::new(issuer, "garden", SECRET, &stage.landing.url).begin(scope, "garden");
    browser.open(&garden.url()).await;
    browser.find("#consent-form").await;
    portray(browser, "consent-long").await;

    let anew = stage.request("anew").param("prompt", "login");
    browser.open(&anew.url()).await;
    browser.find("#login-form").await;
    portray(browser, "login-again").await;

    browser.open(&format!("{issuer}/authorize?client_id=nobody")).await;
    let error = browser.find("main#oauth-error").await;
    assert!(error.text().await.unwrap().to_lowercase().contains("error"));
    portray(browser, "error").await;

    browser.open(&format!("{issuer}/end_session")).await;
    browser.find("#logout-form").await;
    portray(browser, "logout").await;
    browser.click("#logout-confirm").await;
    browser.find("#logged-out").await;
    portray(browser, "logged-out").await;
    stage.close().await;
}
