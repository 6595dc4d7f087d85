//! What cases declare beside a world's own state, and the clients that go with it.

use std::sync::Arc;

use auth_server::apply::{self, Target};
use auth_server::{App, SeededRandom};

use crate::background;
use crate::client::Client;
use crate::world::{Auth, SECRET, WEB_CALLBACK, World};

/// The second API: its own algorithm and lifetime, never the default audience.
pub const MAIL: &str = "https://mail.example/v1";
/// Where `bye` wants the browser after signing out.
pub const BYE: &str = "https://web.example/bye";
/// A secret with characters that mean something in a URL, in a header, or in neither.
pub const ODD_SECRET: &str = "p%2B:%25 &+=/?#\u{e4}\u{20ac} and some more of it";

/// A second API and clients that differ from `web` in one thing each.
pub fn more() -> String {
    let like_web = |id: &str, change: &str| {
        let scope = "openid profile email offline_access documents:read documents:write mail:send";
        format!(
            r#"
[[client]]
client_id = "{id}"
client_name = "The client {id}"
redirect_uris = ["{WEB_CALLBACK}"]
grant_types = ["authorization_code", "refresh_token"]
client_secret = "{SECRET}"
scope = "{scope}"
{change}
"#
        )
    };
    let mut text = format!(
        r#"
[[api]]
identifier = "{MAIL}"
name = "Mail"
scopes = {{ "mail:send" = "Send mail as you" }}
access_token_lifetime = "10m"
signing_alg = "EdDSA"
"#
    );
    text += &like_web("both", "");
    text += &like_web("post", r#"token_endpoint_auth_method = "client_secret_post""#);
    text += &like_web("without-pkce", "require_pkce = false");
    text += &like_web("first-party", r#"consent = "skip""#);
    text += &like_web("asks", r#"consent = "always""#);
    text += &like_web("stays", "refresh_token_rotation = false");
    text += &like_web("es256", r#"id_token_signed_response_alg = "ES256""#);
    text += &like_web("bye", &format!("post_logout_redirect_uris = [\"{BYE}\"]"));
    let others = format!(
        r#"
[[client]]
client_id = "code-only"
redirect_uris = ["{WEB_CALLBACK}?tenant=1", "{WEB_CALLBACK}"]
client_secret = "{SECRET}"
scope = "openid offline_access documents:read"

[[client]]
client_id = "odd:client 1"
client_secret = "{ODD_SECRET}"
grant_types = ["client_credentials"]
scope = "documents:read mail:send"
"#
    );
    text + others.as_str()
}

/// Declares `state` on a running server, which sees it at once.
pub async fn declare(auth: &Auth, state: &str) {
    declare_beside(auth, state).await;
    let app: Arc<App> = auth.running.app().clone();
    background::run(async move {
        app.poll().await.unwrap();
        app.rotate_keys().await.unwrap();
        app.poll().await.unwrap();
    })
    .await;
}

/// Declares `state` as a command does beside a running server, which is not told: it finds out by itself, within five seconds.
pub async fn declare_beside(auth: &Auth, state: &str) {
    let app: Arc<App> = auth.running.app().clone();
    let state = state.to_owned();
    background::run(async move {
        let target = Target {
            settings: app.settings.clone(),
            database: app.database.clone(),
            clock: app.clock.clone(),
            // A stream of its own: the server's must not depend on what a case declares.
            random: Arc::new(SeededRandom::new(0x5eed)),
        };
        let folder = std::env::temp_dir();
        let plan = apply::plan(&target, &state, &folder, false).await.unwrap();
        apply::carry_out(&target, plan).await.unwrap();
    })
    .await;
}

/// A world with [`more`] in it.
pub async fn world() -> World {
    let world = World::start().await;
    declare(&world.auth, &more()).await;
    world
}

/// A confidential client of [`more`], or any other with the usual secret and callback.
pub fn client(world: &World, id: &str) -> Client {
    Client::new(&world.auth.issuer, id, SECRET, WEB_CALLBACK)
}
