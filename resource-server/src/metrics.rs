//! Counters in the Prometheus text format, served by a listener of their own.

use std::fmt;

use actix_web::HttpResponse;
use actix_web::web::Data;
use database::{Figure, Reading, Statistics};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use service::metrics::{self, RequestDurations};

use crate::app::App;
use crate::guard::KeyStatus;

/// Everything that is counted. Labels come from our own short lists, never from a request, so the number of series is bounded.
pub struct Metrics {
    registry: Registry,
    refused: Family<CauseLabels, Counter>,
    /// Answered requests and how long they took.
    pub requests: RequestDurations,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

/// The issuers of the settings, so a short list.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct IssuerLabels {
    issuer: String,
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
        let mut registry = Registry::with_prefix("resource_server");
        let refused = Family::default();
        registry.register(
            "refused",
            "Requests refused by the guard, by the check that refused",
            refused.clone(),
        );
        let requests = RequestDurations::register(&mut registry);
        Self { registry, refused, requests }
    }

    /// One refusal, by the check that refused.
    pub fn count_refused(&self, cause: &'static str) {
        self.refused.get_or_create(&CauseLabels { cause }).inc();
    }

    /// The page for Prometheus: our counters, and the state of the keys and the database as they are now.
    pub fn page(&self, keys: &[KeyStatus], database: &Statistics) -> Result<String, fmt::Error> {
        let (keys, database) = (key_registry(keys), database_registry(database));
        metrics::page([&self.registry, &keys, &database])
    }
}

/// The page for Prometheus.
pub async fn get(app: Data<App>) -> HttpResponse {
    metrics::answer(app.metrics.page(&app.guard.key_status(), &app.database.statistics()))
}

fn key_registry(statuses: &[KeyStatus]) -> Registry {
    type Value = fn(&KeyStatus) -> i64;
    let gauges: [(&str, &str, Value); 3] = [
        ("keys", "Keys of the issuer", |status| i64::try_from(status.keys).unwrap_or(i64::MAX)),
        ("keys_age_seconds", "Seconds since the keys were fetched; -1: never", |status| {
            status.age.unwrap_or(-1)
        }),
        ("keys_usable", "1 while tokens of the issuer can be checked", |status| {
            i64::from(status.usable)
        }),
    ];
    let mut registry = Registry::with_prefix("resource_server_issuer");
    for (name, help, value) in gauges {
        let family = Family::<IssuerLabels, Gauge>::default();
        for status in statuses {
            let issuer = status.issuer.to_string();
            family.get_or_create(&IssuerLabels { issuer }).set(value(status));
        }
        registry.register(name, help, family);
    }
    registry
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

fn gauge(value: usize) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use shared_types::Issuer;

    use super::*;

    #[test]
    fn the_page_counts_what_was_counted() {
        let metrics = Metrics::new();
        metrics.count_refused("expired");
        metrics.requests.observe("/documents", "GET", 401, 0.002);
        let issuer = Issuer::parse("https://id.example").unwrap();
        let keys = [KeyStatus { issuer, keys: 2, age: Some(7), usable: true }];
        let page = metrics.page(&keys, &Statistics::default()).unwrap();
        for line in [
            "resource_server_refused_total{cause=\"expired\"} 1",
            "resource_server_issuer_keys{issuer=\"https://id.example\"} 2",
            "resource_server_issuer_keys_age_seconds{issuer=\"https://id.example\"} 7",
            "resource_server_issuer_keys_usable{issuer=\"https://id.example\"} 1",
            "database_rolled_back_total 0",
            "database_queued_writes 0",
            "route=\"/documents\"",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(page.ends_with("# EOF\n"), "{page}");
    }
}
