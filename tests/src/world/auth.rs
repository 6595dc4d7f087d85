//! The authorization server in this process: on a port of its own, with a clock and a randomness that cases hold in hand.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use auth_server::apply::{self, Target};
use auth_server::{Ports, Running, SeededRandom, Settings};
use shared_types::{Issuer, ManualClock};

use super::{NOW, Served, free_address};
use crate::background;
use crate::engine::{MASTER_KEY, Store, write_master_key};

/// Passwords of [`state`]'s people.
pub const ALICE: (&str, &str) = ("alice", "correct horse battery staple");
/// Another person, who owns nothing of Alice's.
pub const BOB: (&str, &str) = ("bob", "a password of bob and nobody else");
/// Secrets of [`state`]'s confidential clients.
pub const SECRET: &str = "a-client-secret-of-at-least-32-characters";
/// Where `web` wants the browser back; nothing listens there.
pub const WEB_CALLBACK: &str = "https://web.example/callback";
/// Where `native` wants it back: a loopback literal, so any port will do.
pub const NATIVE_CALLBACK: &str = "http://127.0.0.1/callback";

/// Connections of one server to PostgreSQL: a few, since many worlds share the test server.
pub(super) const CONNECTIONS: usize = 6;

/// An authorization server.
pub struct Auth {
    /// Its issuer identifier and address.
    pub issuer: String,
    /// The server, for what has no verb here.
    pub running: Served<Running>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// What the worlds of cases declare: the documents API at `resource`, four clients, two people.
pub fn state(resource: &str) -> String {
    format!(
        r#"
[[api]]
identifier = "{resource}"
name = "Documents"
scopes = {{ "documents:read" = "Read your documents", "documents:write" = "Create and change your documents", "documents:share" = "Share your documents" }}
access_token_lifetime = "5m"
default = true
introspected_by = ["documents-rs"]

[[client]]
client_id = "web"
client_name = "Web"
redirect_uris = ["{WEB_CALLBACK}"]
grant_types = ["authorization_code", "refresh_token"]
token_endpoint_auth_method = "client_secret_basic"
client_secret = "{SECRET}"
scope = "openid profile email offline_access documents:read documents:write documents:share"

[[client]]
client_id = "native"
client_name = "Native"
redirect_uris = ["{NATIVE_CALLBACK}"]
grant_types = ["authorization_code", "refresh_token"]
token_endpoint_auth_method = "none"
scope = "openid documents:read documents:write"

[[client]]
client_id = "machine"
client_name = "Machine"
grant_types = ["client_credentials"]
token_endpoint_auth_method = "client_secret_basic"
client_secret = "{SECRET}"
scope = "documents:read documents:write"

[[client]]
client_id = "documents-rs"
client_name = "Documents API"
grant_types = ["client_credentials"]
token_endpoint_auth_method = "client_secret_basic"
client_secret = "{SECRET}"
scope = "documents:read"

[[account]]
username = "{}"
password = "{}"
claims = {{ name = "Alice Example", email = "alice@example.com", email_verified = true }}

[[account]]
username = "{}"
password = "{}"
claims = {{ name = "Bob Example" }}
"#,
        ALICE.0, ALICE.1, BOB.0, BOB.1
    )
}

/// Settings of a small server in `folder` for `issuer`: one worker, a quick hash, no metrics listener.
fn settings(issuer: &str, folder: &Path, store: &Store) -> Settings {
    let mut settings = Settings::new(Issuer::parse(issuer).unwrap(), store.database_url());
    if store.is_postgres() {
        write_master_key(folder);
        settings.master_key_file = Some(folder.join(MASTER_KEY));
        settings.postgres.connections = CONNECTIONS;
    }
    settings.listen = issuer.strip_prefix("http://").unwrap().parse().unwrap();
    settings.metrics_listen = None;
    settings.workers = 1;
    settings.argon2.memory_kib = 8;
    settings.argon2.iterations = 1;
    settings
}

impl Auth {
    /// Starts a server that declares `state` (see [`state`]) in `folder`; `change` may turn its settings first.
    pub async fn start(
        folder: &Path,
        state: &str,
        clock: &Arc<ManualClock>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let store = Store::chosen(folder, "auth-server.db").await;
        Self::start_on(store, folder, state, clock, change).await
    }

    /// The same with its rows in `store`.
    pub async fn start_on(
        store: Store,
        folder: &Path,
        state: &str,
        clock: &Arc<ManualClock>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let issuer = format!("http://{}", free_address());
        let mut settings = settings(&issuer, folder, &store);
        change(&mut settings);
        let ports = Ports { clock: clock.clone(), random: Arc::new(SeededRandom::new(7)) };
        let (state, folder) = (state.to_owned(), folder.to_owned());
        let running = background::run(async move {
            declare(&settings, &ports, &state, &folder).await;
            auth_server::spawn(settings, ports).await.unwrap()
        })
        .await;
        Self { issuer, running: Served::new(running, store) }
    }

    /// Stops it as SIGTERM would, and starts it again on the same database and address.
    pub async fn restart(self) -> Self {
        let app = self.running.app();
        let (settings, clock) = (app.settings.clone(), app.clock.clone());
        // Another stream of randomness: a process that starts again does not repeat what it drew before.
        let random = Arc::new(SeededRandom::new(clock.now_millis().unsigned_abs() ^ 0x5eed));
        let ports = Ports { clock, random };
        let store = self.running.end().await;
        let running =
            background::run(async move { auth_server::spawn(settings, ports).await.unwrap() })
                .await;
        Self { issuer: self.issuer, running: Served::new(running, store) }
    }
}

/// Brings the database to the declared state before anybody is served, as `serve --apply` does.
async fn declare(settings: &Settings, ports: &Ports, state: &str, folder: &Path) {
    let options = auth_server::app::database_options(settings);
    let database = auth_server::app::open_database(settings, &options).await.unwrap();
    let target = Target {
        settings: settings.clone(),
        database: database.clone(),
        clock: ports.clock.clone(),
        random: ports.random.clone(),
    };
    let plan = apply::plan(&target, state, folder, false).await.unwrap();
    apply::carry_out(&target, plan).await.unwrap();
    database.close().await;
}

/// A clock that stands at the harness's [`NOW`].
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(NOW))
}
