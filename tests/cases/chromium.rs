//! A real browser against real pages.

use tests::chromium::Chromium;
use tests::skip::skip;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_harness_drives_a_real_browser() {
    let browser = match Chromium::start(&[]).await {
        Ok(browser) => browser,
        Err(why) => return skip("the_harness_drives_a_real_browser", &why),
    };
    let page = "<!doctype html><title>t</title><input id=name><p id=said>hello";
    browser.open(&format!("data:text/html,{page}")).await;
    browser.write("#name", "alice").await;
    let said = browser.find("#said").await.text().await.unwrap();
    assert_eq!(said, "hello");
    assert!(!browser.has("#absent").await);
    let picture = browser.screenshot("harness").await;
    assert!(std::fs::metadata(picture).unwrap().len() > 1_000);
    browser.quit().await;
}
