//! Sign-in, consent and sign-out as a person does them: with a keyboard, in two tabs, with a wrong password.

use thirtyfour::{Key, SameSite};

use super::Stage;
use tests::world::ALICE;

/// Presses Tab until the element with that `id` has the focus, which takes `times`, and can be seen to have it.
async fn tab(stage: &Stage, times: usize, id: &str) {
    for _ in 0..times {
        stage.browser.press(Key::Tab).await;
    }
    assert_eq!(stage.browser.focused().await, id, "after {times} times Tab");
    let ring = "const style = getComputedStyle(document.activeElement);
        return style.outlineStyle === 'solid' ? parseFloat(style.outlineWidth) : 0;";
    assert!(stage.browser.script(ring).await.as_f64() >= Some(2.0), "{id} shows its focus");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keyboard_is_enough_to_sign_in_and_consent() {
    let case = "a_keyboard_is_enough_to_sign_in_and_consent";
    let Some(stage) = Stage::open(case).await else { return };
    let browser = &stage.browser;
    let pending = stage.begin("keyboard").await;

    browser.find("#login-form").await;
    assert_eq!(browser.focused().await, "username", "typing can begin at once");
    browser.press(ALICE.0).await;
    tab(&stage, 1, "password").await;
    browser.press("not her password").await;
    browser.press(Key::Enter).await;

    // Wrong: it says so, keeps the name, forgets the password, and waits for another one.
    let alert = browser.find("#login-error[role=alert]").await;
    assert!(alert.text().await.unwrap().contains("not right"));
    let username = browser.find("#username").await;
    assert_eq!(username.value().await.unwrap().as_deref(), Some(ALICE.0));
    let password = browser.find("#password").await;
    assert_eq!(password.value().await.unwrap().as_deref(), Some(""));
    assert_eq!(browser.focused().await, "password");
    browser.press(ALICE.1).await;
    tab(&stage, 1, "login-submit").await;
    browser.press(Key::Enter).await;

    let scopes = browser.find("#consent-scopes").await.text().await.unwrap();
    assert!(scopes.contains("Read your documents"), "{scopes}");
    tab(&stage, 1, "consent-allow").await;
    browser.press(Key::Enter).await;
    let landed = stage.landed(&pending).await;
    assert_eq!(landed.method, "GET");
    stage.redeems(&landed, &pending).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_no_comes_back_with_access_denied() {
    let case = "who_says_no_comes_back_with_access_denied";
    let Some(stage) = Stage::open(case).await else { return };
    let browser = &stage.browser;

    let canceled = stage.begin("cancel").await;
    browser.find("#login-form").await;
    tab(&stage, 3, "login-cancel").await;
    browser.press(Key::Enter).await;
    let landed = stage.landed(&canceled).await;
    assert_eq!((landed.get("error"), landed.get("code")), ("access_denied", ""));

    let denied = stage.begin("deny").await;
    stage.sign_in().await;
    browser.find("#consent-form").await;
    tab(&stage, 2, "consent-deny").await;
    browser.press(Key::Enter).await;
    let landed = stage.landed(&denied).await;
    assert_eq!((landed.get("error"), landed.get("code")), ("access_denied", ""));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_in_one_tab_lets_the_others_go_on() {
    let case = "signing_in_in_one_tab_lets_the_others_go_on";
    let Some(stage) = Stage::open(case).await else { return };
    let browser = &stage.browser;
    let driver = &browser.driver;

    let first = stage.begin("first").await;
    browser.find("#login-form").await;
    let first_tab = driver.window().await.unwrap();
    let submits = driver.new_tab().await.unwrap();
    driver.switch_to_window(submits.clone()).await.unwrap();
    let second = stage.begin("second").await;
    browser.find("#login-form").await;
    let reloads = driver.new_tab().await.unwrap();
    driver.switch_to_window(reloads.clone()).await.unwrap();
    let third = stage.begin("third").await;
    browser.find("#login-form").await;

    driver.switch_to_window(first_tab).await.unwrap();
    stage.sign_in().await;
    browser.click("#consent-allow").await;
    let landed = stage.landed(&first).await;
    stage.redeems(&landed, &first).await;

    // The form that was open before is still good.
    driver.switch_to_window(submits).await.unwrap();
    stage.sign_in().await;
    let landed = stage.landed(&second).await;
    stage.redeems(&landed, &second).await;

    // And who only reloads the page is known already.
    driver.switch_to_window(reloads).await.unwrap();
    driver.refresh().await.unwrap();
    let landed = stage.landed(&third).await;
    stage.redeems(&landed, &third).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_changes_the_session_and_signing_out_asks_first() {
    let case = "signing_in_changes_the_session_and_signing_out_asks_first";
    let Some(stage) = Stage::open(case).await else { return };
    let browser = &stage.browser;
    let end_session = format!("{}/end_session", stage.world.auth.issuer);

    let pending = stage.begin("session").await;
    browser.find("#login-form").await;
    assert!(browser.cookie("as_session").await.is_none(), "nobody is signed in");
    stage.sign_in().await;
    browser.find("#consent-form").await;
    let before = browser.cookie("as_session").await.expect("a session");
    assert_eq!((before.http_only, before.same_site), (Some(true), Some(SameSite::Lax)));
    assert_eq!(before.expiry, None, "it goes with the browser");
    assert_eq!(browser.script("return document.cookie").await, "", "no script sees a cookie");
    browser.click("#consent-allow").await;
    stage.landed(&pending).await;

    // Signed in already, and once more: another session.
    let again = stage.request("again").param("prompt", "login");
    browser.open(&again.url()).await;
    stage.sign_in().await;
    stage.landed(&again).await;
    browser.open(&end_session).await;
    let after = browser.cookie("as_session").await.expect("a session");
    assert_ne!(before.value, after.value);

    // Nothing ends before the person says so.
    browser.find("#logout-form").await;
    browser.click("#logout-cancel").await;
    browser.find("#still-signed-in").await;
    let still = stage.begin("still").await;
    stage.landed(&still).await;
    browser.open(&end_session).await;
    browser.click("#logout-confirm").await;
    browser.find("#logged-out").await;
    assert!(browser.cookie("as_session").await.is_none());
    stage.begin("anew").await;
    browser.find("#login-form").await;
    stage.close().await;
}
