//! What the metrics of both servers have in common: how long requests took, the page for Prometheus, and where it is.

use std::fmt;
use std::sync::atomic::Ordering;

use actix_web::HttpResponse;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::log_writer::LOST;

/// Where the page is, on its own listener.
pub const PATH: &str = "/metrics";

/// Upper bounds of the request durations, in seconds: a point read, a commit, a slow hash, a timeout.
const DURATION_BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Answered requests and how long they took. Labels come from our own short lists, never from a request, so the number of series is
/// bounded.
#[derive(Clone, Debug)]
pub struct RequestDurations(Family<Labels, Histogram, fn() -> Histogram>);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

impl RequestDurations {
    /// Counts from zero, as the next metric of `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let durations = Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register(
            "request_duration_seconds",
            "Requests by route, method and status, and how long they took",
            durations.clone(),
        );
        Self(durations)
    }

    /// One answered request: the pattern of its route, and how long it took.
    pub fn observe(&self, route: &'static str, method: &'static str, status: u16, seconds: f64) {
        self.0.get_or_create(&Labels { route, method, status }).observe(seconds);
    }
}

fn histogram() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

/// The page for Prometheus: every registry in this order, and what the log has lost.
pub fn page<'a>(registries: impl IntoIterator<Item = &'a Registry>) -> Result<String, fmt::Error> {
    let mut page = String::new();
    for registry in registries {
        text::encode_registry(&mut page, registry)?;
    }
    let mut log = Registry::with_prefix("log");
    let lost = ConstCounter::new(LOST.load(Ordering::Relaxed));
    log.register("lines_lost", "Lines of the log that could not be written", lost);
    text::encode_registry(&mut page, &log)?;
    text::encode_eof(&mut page)?;
    Ok(page)
}

/// The answer that carries the page.
pub fn answer(page: Result<String, fmt::Error>) -> HttpResponse {
    match page {
        Ok(page) => HttpResponse::Ok()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(page),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_its_registries_in_order_and_says_where_it_ends() {
        let mut first = Registry::with_prefix("first");
        let durations = RequestDurations::register(&mut first);
        let second = Registry::with_prefix("second");
        durations.observe("/token", "POST", 200, 0.002);
        let page = page([&first, &second]).unwrap();
        let counted = r#"first_request_duration_seconds_bucket{le="0.0025",route="/token",method="POST",status="200"} 1"#;
        assert!(page.contains(counted), "{page}");
        assert!(page.contains("\nlog_lines_lost_total 0\n"), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }
}
