//! The command line of the authorization server, beside a running one: what it prints, what it ends, and how it refuses.

mod apply;
mod clients;
mod keys;
mod people;
mod status;

use std::path::Path;

use tests::browser::Browser;
use tests::client::sign_in;
use tests::http::Answer;
use tests::processes::run;
use tests::realm::Realm;

use crate::processes::AUTH_SERVER;

async fn realm() -> Realm {
    Realm::start(AUTH_SERVER, &[]).await
}

/// A person's tokens with everything that outlives a sign-out.
async fn tokens(realm: &Realm) -> Answer {
    realm.tokens("openid documents:read offline_access", "cli").await
}

async fn are_dead(realm: &Realm, tokens: &Answer) {
    let web = realm.web();
    let (access, refresh) = (tokens.member("access_token"), tokens.member("refresh_token"));
    assert!(matches!(web.refresh(&refresh).await.status, 400 | 401));
    assert_eq!(web.userinfo(&access).await.status, 401);
}

async fn are_alive(realm: &Realm, tokens: &Answer) -> Answer {
    let web = realm.web();
    web.userinfo(&tokens.member("access_token")).await.expect(200);
    web.refresh(&tokens.member("refresh_token")).await.expect(200)
}

async fn may_sign_in(realm: &Realm, (name, password): (&str, &str)) -> bool {
    let url = realm.web().begin("openid", "again").url();
    let page = sign_in(&mut Browser::new(), &url, name, password).await;
    page.status() == 303
}

fn cli(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = run(AUTH_SERVER, folder, args, "");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
