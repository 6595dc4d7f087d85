//! Counters in the Prometheus text format, served by a listener of their own.

use std::fmt;

use actix_web::HttpResponse;
use actix_web::web::Data;
use database::{Figure, Reading, Statistics};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use service::metrics::{self, RequestDurations};

use crate::app::App;

/// The page for Prometheus.
pub async fn get(app: Data<App>) -> HttpResponse {
    metrics::answer(app.metrics.page(&app.database.statistics(), app.passwords.waiting()))
}

/// Everything that is counted. Labels come from our own short lists, never from a request, so the number of series is bounded.
pub struct Metrics {
    registry: Registry,
    tokens: Family<TokenLabels, Counter>,
    sign_ins: Family<OutcomeLabels, Counter>,
    refused: Family<CodeLabels, Counter>,
    events: Family<EventLabels, Counter>,
    verified: Family<ByLabels, Counter>,
    /// Answered requests and how long they took.
    pub requests: RequestDurations,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TokenLabels {
    grant_type: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabels {
    event: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByLabels {
    by: &'static str,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(..)")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters that all stand at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("auth_server");
        let tokens = Family::default();
        registry.register(
            "token_requests",
            "Token requests by grant type and outcome",
            tokens.clone(),
        );
        let sign_ins = Family::default();
        registry.register("sign_ins", "Attempts to sign in by outcome", sign_ins.clone());
        let refused = Family::default();
        registry.register("refused", "Refused requests by OAuth error code", refused.clone());
        let events = Family::default();
        registry.register("security_events", "Lines of the security log by name", events.clone());
        let verified = Family::default();
        let help = "Access tokens of ours that came back and were good, by what proved them";
        registry.register("verified_access_tokens", help, verified.clone());
        let requests = RequestDurations::register(&mut registry);
        Self { registry, tokens, sign_ins, refused, events, verified, requests }
    }

    /// One answered token request: `issued` or `refused`.
    pub fn count_token(&self, grant_type: &'static str, outcome: &'static str) {
        self.tokens.get_or_create(&TokenLabels { grant_type, outcome }).inc();
    }

    /// One attempt to sign in: `success`, `failed`, `throttled`.
    pub fn count_sign_in(&self, outcome: &'static str) {
        self.sign_ins.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// One refusal with this OAuth error code.
    pub fn count_refused(&self, code: &'static str) {
        self.refused.get_or_create(&CodeLabels { code }).inc();
    }

    /// One line of the security log.
    pub fn count_event(&self, event: &'static str) {
        self.events.get_or_create(&EventLabels { event }).inc();
    }

    /// One access token that came back, proven `by` its `signature` or by `memory` of it.
    pub fn count_verified(&self, by: &'static str) {
        self.verified.get_or_create(&ByLabels { by }).inc();
    }

    /// The page for Prometheus: our counters, what the database counts itself, and the passwords that wait to be hashed.
    pub fn page(&self, database: &Statistics, hash_queue: usize) -> Result<String, fmt::Error> {
        metrics::page([&self.registry, &hash_registry(hash_queue), &database_registry(database)])
    }
}

/// The database's own counters as they stand now.
fn database_registry(statistics: &Statistics) -> Registry {
    let mut registry = Registry::with_prefix("database");
    for Figure { name, help, value } in statistics.each() {
        match value {
            Reading::Count(value) => registry.register(name, help, ConstCounter::new(value)),
            Reading::Level(value) => registry.register(name, help, gauge(value)),
            Reading::Seconds(value) => registry.register(name, help, ConstGauge::new(value)),
        }
    }
    registry
}

fn hash_registry(waiting: usize) -> Registry {
    let mut registry = Registry::with_prefix("auth_server");
    registry.register("hash_queue", "Passwords that wait to be hashed now", gauge(waiting));
    registry
}

fn gauge(value: usize) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_counts_what_was_counted() {
        let metrics = Metrics::new();
        metrics.count_token("refresh_token", "issued");
        metrics.count_token("refresh_token", "issued");
        metrics.requests.observe("/token", "POST", 200, 0.002);
        let page = metrics
            .page(
                &Statistics { commits: 7, longest_batch_micros: 1_500, ..Statistics::default() },
                3,
            )
            .unwrap();
        assert!(page.contains("auth_server_hash_queue 3"), "{page}");
        let issued =
            r#"auth_server_token_requests_total{grant_type="refresh_token",outcome="issued"} 2"#;
        assert!(page.contains(issued), "{page}");
        assert!(page.contains("database_commits_total 7"), "{page}");
        assert!(page.contains("database_longest_batch_seconds 0.0015"), "{page}");
        assert!(page.contains(r#"route="/token""#), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }
}
