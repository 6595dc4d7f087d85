//! The tour's own client, clicked through from its first page to its last.

use std::net::TcpListener;

use url::Url;

use super::clean;
use super::looks::portray;
use tests::chromium::Chromium;
use tests::processes::Process;
use tests::skip::skip;

/// The tour's program, as fresh as the cases.
const DEMO: &str = env!("CARGO_BIN_EXE_demo-under-test");

/// What the tour has told so far after `words`, up to the end of the line.
fn told(log: &str, words: &str) -> String {
    let (_, rest) = log.split_once(words).unwrap_or_else(|| panic!("no {words:?} in {log}"));
    rest.lines().next().unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_is_clicked_through_and_leaves_nothing_behind() {
    let case = "the_demo_is_clicked_through_and_leaves_nothing_behind";
    let browser = match Chromium::start(&[]).await {
        Ok(browser) => browser,
        Err(why) => return skip(case, &why),
    };
    let folder = tempfile::tempdir().unwrap();
    let any_ports = ["--port=0", "--auth-server-port=0", "--resource-server-port=0"];
    let tour = Process::spawn(DEMO, folder.path(), &any_ports);
    let tour = tour.until_logged("Ctrl-C stops everything").await;
    let log = tour.log();
    let client = told(&log, "Now click through it yourself: ");
    let password = told(&log, "user name alice, password ");
    let issuer = told(&log, "authorization server (the concierge) ");
    let resource = told(&log, "resource server (the house) ");

    browser.open(&client).await;
    portray(&browser, "demo-start").await;
    browser.click("#sign-in").await;
    browser.write("#username", "alice").await;
    browser.write("#password", &password).await;
    browser.click("#login-submit").await;
    // The tour has consented before, but a person who clicks is asked all the same.
    browser.click("#consent-allow").await;
    let person = browser.find("#person").await.text().await.unwrap();
    assert_eq!(person, "Alice Example");

    browser.write("#title", "A letter <b>").await;
    browser.write("#body", "Dear all").await;
    browser.click("#create").await;
    browser.find("#signed-in").await;
    let listed = browser.find("#documents").await.text().await.unwrap();
    assert!(listed.contains("A letter <b>"), "{listed}");
    portray(&browser, "demo-signed-in").await;
    browser.click("#refresh").await;
    browser.find("#signed-in").await;
    assert!(!browser.has(".notice").await, "the tokens were renewed");

    // Without the client's word the issuer asks; with it, the session of this browser ends at once.
    browser.open(&format!("{issuer}/end_session")).await;
    browser.click("#logout-cancel").await;
    browser.find("#still-signed-in").await;
    browser.open(&client).await;
    browser.click("#sign-out").await;
    browser.find("#sign-in").await;
    assert_eq!(browser.url().await, format!("{client}/"));
    browser.click("#sign-in").await;
    browser.find("#login-form").await;
    clean(&browser, &[&client, &issuer]).await;
    browser.quit().await;

    // The end of its output is read only when nobody is left who could write to it, so no child outlives the tour.
    tour.signal("INT");
    let (status, log) = tour.end().await;
    assert_eq!(status, Some(0), "{log}");
    for url in [client, issuer, resource] {
        let port = Url::parse(&url).unwrap().port().unwrap();
        TcpListener::bind(("127.0.0.1", port)).expect("nobody listens there any more");
    }
}
