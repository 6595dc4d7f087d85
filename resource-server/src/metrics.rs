//! Counters in the Prometheus text format, served by a listener of their own.

use std::fmt;

use actix_web::HttpResponse;
use actix_web::web::Data;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::app::App;
use crate::guard::KeyStatus;

/// Where the page is, on its own listener.
pub const PATH: &str = "/metrics";

/// Upper bounds of the request durations, in seconds.
const DURATION_BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Everything that is counted. Labels come from our own short lists, never from a request, so the number of series is bounded.
pub struct Metrics {
    registry: Registry,
    refused: Family<CauseLabels, Counter>,
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
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
        let requests = Family::new_with_constructor(durations as fn() -> Histogram);
        registry.register(
            "request_duration_seconds",
            "Requests by route, method and status, and how long they took",
            requests.clone(),
        );
        Self { registry, refused, requests }
    }

    /// One refusal, by the check that refused.
    pub fn count_refused(&self, cause: &'static str) {
        self.refused.get_or_create(&CauseLabels { cause }).inc();
    }

    /// One answered request: the pattern of its route, and how long it took.
    pub fn observe_request(
        &self,
        route: &'static str,
        method: &'static str,
        status: u16,
        seconds: f64,
    ) {
        self.requests.get_or_create(&RequestLabels { route, method, status }).observe(seconds);
    }

    /// The page for Prometheus: our counters, and the state of the keys and the database as they are now.
    pub fn page(
        &self,
        keys: &[KeyStatus],
        database: &database::Statistics,
    ) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode_registry(&mut page, &self.registry)?;
        for (index, key) in keys.iter().enumerate() {
            text::encode_registry(&mut page, &key_registry(index, key))?;
        }
        text::encode_registry(&mut page, &database_registry(database))?;
        text::encode_eof(&mut page)?;
        Ok(page)
    }
}

/// The page for Prometheus.
pub async fn get(app: Data<App>) -> HttpResponse {
    match app.metrics.page(&app.guard.key_status(), &app.database.statistics()) {
        Ok(page) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(page),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

fn durations() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

/// Issuers are numbered in the order of the settings; a metric name with the number keeps the page valid without repeated headers.
fn key_registry(index: usize, status: &KeyStatus) -> Registry {
    let mut registry = Registry::with_prefix(format!("issuer_{index}"));
    let gauges = [
        ("keys", "Keys of the issuer", i64::try_from(status.keys).unwrap_or(i64::MAX)),
        (
            "keys_age_seconds",
            "Seconds since the keys were fetched; -1: never",
            status.age.unwrap_or(-1),
        ),
        ("keys_usable", "1 while tokens of the issuer can be checked", i64::from(status.usable)),
    ];
    for (name, help, value) in gauges {
        registry.register(name, help, ConstGauge::new(value));
    }
    registry
}

fn database_registry(statistics: &database::Statistics) -> Registry {
    let mut registry = Registry::with_prefix("database");
    let counters = [
        ("commits", "Commits that changed something, each one fsync", statistics.commits),
        ("units", "Units of work acknowledged as committed", statistics.units),
        ("reads", "Reads answered", statistics.reads),
        ("refused", "Jobs refused on arrival: the queue was full or closed", statistics.refused),
        ("dropped", "Jobs dropped before they started: late, or nobody waited", statistics.dropped),
    ];
    for (name, help, value) in counters {
        registry.register(name, help, ConstCounter::new(value));
    }
    registry
}

#[cfg(test)]
mod tests {
    use shared_types::Issuer;

    use super::*;

    #[test]
    fn the_page_counts_what_was_counted() {
        let metrics = Metrics::new();
        metrics.count_refused("expired");
        metrics.observe_request("/documents", "GET", 401, 0.002);
        let issuer = Issuer::parse("https://id.example").unwrap();
        let keys = [KeyStatus { issuer, keys: 2, age: Some(7), usable: true }];
        let page = metrics.page(&keys, &database::Statistics::default()).unwrap();
        for line in [
            "resource_server_refused_total{cause=\"expired\"} 1",
            "issuer_0_keys_age_seconds 7",
            "route=\"/documents\"",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(page.ends_with("# EOF\n"), "{page}");
    }
}
