//! With JavaScript and without: pages need none, and the one that has a script does by itself what its button does.

use super::Stage;
use super::looks::portray;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn form_post_submits_itself_under_its_policy() {
    let case = "form_post_submits_itself_under_its_policy";
    let Some(stage) = Stage::open(case).await else { return };
    let pending = stage.request("form-post").param("response_mode", "form_post");
    stage.browser.open(&pending.url()).await;
    stage.sign_in().await;
    stage.browser.click("#consent-allow").await;
    let landed = stage.landed(&pending).await;
    assert_eq!(landed.method, "POST");
    assert_eq!(stage.browser.url().await, stage.landing.url, "nothing in the address bar");
    stage.redeems(&landed, &pending).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_without_javascript() {
    let case = "everything_works_without_javascript";
    let Some(stage) = Stage::open(case).await else { return };
    let browser = &stage.browser;
    browser.forbid_scripts().await;

    let pending = stage.begin("no-script").await;
    stage.sign_in().await;
    browser.click("#consent-allow").await;
    let landed = stage.landed(&pending).await;
    stage.redeems(&landed, &pending).await;

    let posted = stage.request("no-script-post").param("response_mode", "form_post");
    browser.open(&posted.url()).await;
    // The page ends a request that needed no further click.
    let button = browser.find("#form-post button").await;
    assert!(button.is_displayed().await.unwrap());
    portray(browser, "form-post").await;
    assert_eq!(stage.landing.arrivals().len(), 1, "no script has pressed it");
    button.click().await.unwrap();
    let landed = stage.landed(&posted).await;
    assert_eq!(landed.method, "POST");
    stage.redeems(&landed, &posted).await;

    browser.open(&format!("{}/end_session", stage.world.auth.issuer)).await;
    browser.click("#logout-confirm").await;
    browser.find("#logged-out").await;
    stage.close().await;
}
