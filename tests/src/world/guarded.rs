//! The resource server in this process behind an issuer that does as it is told: where attacks are tried.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use resource_server::{Ports, Running, Settings};
use shared_types::{Audience, Clock as _, Issuer, ManualClock};
use tempfile::TempDir;

use super::auth::CONNECTIONS;
use super::{Served, clock, free_address};
use crate::background;
use crate::client::Documents;
use crate::engine::Store;
use crate::http::{Answer, Http};
use crate::oracle::{FakeIssuer, Fetch, Key, Token};

/// A resource server that trusts a [`FakeIssuer`].
pub struct Guarded {
    /// Its identifier and address.
    pub url: String,
    /// Its time.
    pub clock: Arc<ManualClock>,
    /// Whom it trusts.
    pub issuer: FakeIssuer,
    settings: Settings,
    running: Option<Served<Running>>,
    folder: TempDir,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Settings of a small server that is `resource` and trusts `issuers`: one worker, metrics on any free port.
pub(super) fn settings(resource: &str, issuers: &[&str], store: &Store) -> Settings {
    let issuers: Vec<Issuer> =
        issuers.iter().map(|issuer| Issuer::parse(*issuer).unwrap()).collect();
    let audience = Audience::parse(resource).unwrap();
    let mut settings = Settings::new(audience, issuers[0].clone(), store.database_url());
    settings.postgres.connections = CONNECTIONS;
    settings.issuers = issuers;
    settings.listen = resource.strip_prefix("http://").unwrap().parse().unwrap();
    settings.metrics_listen = Some(([127, 0, 0, 1], 0).into());
    settings.workers = 1;
    settings
}

/// Starts a resource server on the harness's runtime.
pub(super) async fn spawn(settings: Settings, clock: Arc<ManualClock>) -> Running {
    background::run(async move { resource_server::spawn(settings, Ports { clock }).await.unwrap() })
        .await
}

impl Guarded {
    /// A server behind an issuer that is well.
    pub async fn start() -> Self {
        Self::of(FakeIssuer::start().await).await
    }

    /// A server with other settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::launch(FakeIssuer::start().await, &[], change).await
    }

    /// A server that trusts these issuers too.
    pub async fn start_with(others: &[&str]) -> Self {
        Self::launch(FakeIssuer::start().await, others, |_| {}).await
    }

    /// A server behind `issuer`, whatever its state.
    pub async fn of(issuer: FakeIssuer) -> Self {
        Self::launch(issuer, &[], |_| {}).await
    }

    async fn launch(
        issuer: FakeIssuer,
        others: &[&str],
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("http://{}", free_address());
        let mut issuers = vec![issuer.url.as_str()];
        issuers.extend(others);
        let store = Store::chosen(folder.path(), "resource-server.db").await;
        let mut settings = settings(&url, &issuers, &store);
        change(&mut settings);
        let clock = clock();
        let running = Served::new(spawn(settings.clone(), clock.clone()).await, store);
        Self { url, clock, issuer, settings, running: Some(running), folder }
    }

    /// Stops as SIGTERM would and starts again on the same database and address; the clock and the issuer stay.
    pub async fn restart(mut self) -> Self {
        let store = self.running.take().expect("the server runs").end().await;
        let running = spawn(self.settings.clone(), self.clock.clone()).await;
        self.running = Some(Served::new(running, store));
        self
    }

    /// Where its database is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The time, in Unix seconds.
    pub fn now(&self) -> i64 {
        self.clock.now().as_i64()
    }

    /// A right token, issued now.
    pub fn token(&self) -> Token {
        self.issuer.token(&self.url, self.now())
    }

    /// A caller with this token.
    pub fn documents(&self, token: &str) -> Documents {
        Documents::bearer(&self.url, token)
    }

    /// `GET /whoami` with this token.
    pub async fn ask(&self, token: &str) -> Answer {
        self.documents(token).whoami().await
    }

    /// Has the first fetch behind it.
    pub async fn warm(&self) {
        let answer = self.ask(&self.token().text()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Publishes these keys and no others, and waits until the server has fetched them.
    pub async fn publish(&self, keys: &[Key]) {
        self.issuer.publish(keys.iter().map(Key::jwk).collect());
        self.reload().await;
    }

    /// Waits until the server has fetched whatever the issuer says now; half a minute passes on its clock.
    pub async fn reload(&self) {
        let before = self.issuer.count(Fetch::Jwks);
        for attempt in 0.. {
            assert!(attempt < 10, "the keys are fetched when the cooldown is over");
            self.clock.advance(31);
            self.ask_for_unknown_key().await;
            if self.issuer.count(Fetch::Jwks) > before {
                break;
            }
            // An older fetch was under way, and the question joined that one.
        }
        // Joins the fetch that was counted, should it be running still.
        self.ask_for_unknown_key().await;
    }

    async fn ask_for_unknown_key(&self) {
        let kid = format!("unknown-{}-{}", self.now(), self.issuer.count(Fetch::Jwks));
        let answer = self.ask(&self.token().header("kid", kid).text()).await;
        assert!(matches!(answer.status, 401 | 503), "{}", answer.status);
    }

    /// Demands that the token is refused as `invalid_token`, by the check named `cause`. Not for cases that ask the same
    /// server in parallel: the cause is what its counters have counted in between.
    pub async fn refuses(&self, token: &str, cause: &str) -> Answer {
        let before = self.refusals().await;
        let answer = self.ask(token).await;
        let shown = token.get(..300).unwrap_or(token);
        assert_eq!(answer.status, 401, "{cause}: {shown}: {}", answer.text());
        let challenge = answer.challenge();
        assert_eq!(challenge.scheme, "Bearer");
        assert_eq!(challenge.get("error"), "invalid_token", "{cause}: {shown}");
        assert_eq!(self.refused_since(&before).await, [cause], "{shown}");
        answer
    }

    /// The checks that have refused since `before`, see [`refusals`](Self::refusals).
    pub async fn refused_since(&self, before: &BTreeMap<String, u64>) -> Vec<String> {
        let mut causes = Vec::new();
        for (cause, count) in self.refusals().await {
            for _ in before.get(&cause).copied().unwrap_or(0)..count {
                causes.push(cause.clone());
            }
        }
        causes
    }

    /// Where its metrics are.
    pub fn metrics_addr(&self) -> std::net::SocketAddr {
        let running = self.running.as_ref().expect("the server runs");
        running.metrics_addr().expect("it has a metrics listener")
    }

    /// How often each check has refused so far, from the server's own metrics.
    pub async fn refusals(&self) -> BTreeMap<String, u64> {
        let page = Http::new().get(&format!("http://{}/metrics", self.metrics_addr())).await;
        let page = page.expect(200).text();
        page.lines()
            .filter_map(|line| line.strip_prefix("resource_server_refused_total{cause=\""))
            .map(|rest| {
                let (cause, count) = rest.split_once("\"} ").unwrap();
                (cause.to_owned(), count.parse().unwrap())
            })
            .collect()
    }

    /// Demands that the token does not even look like one.
    pub async fn malformed(&self, token: &str) {
        let answer = self.ask(token).await;
        self.invalid_request(answer);
    }

    /// Demands that the answer refuses the request as such.
    #[track_caller]
    pub fn invalid_request(&self, answer: Answer) {
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert_eq!(answer.challenge().get("error"), "invalid_request");
    }

    /// Demands that the server says it cannot tell, and lets nobody in.
    pub async fn unavailable(&self, token: &str) {
        let before = self.refusals().await;
        let answer = self.ask(token).await;
        answer.is_put_off();
        assert_eq!(self.refused_since(&before).await, ["keys_unavailable"]);
    }
}
