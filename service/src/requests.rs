//! What names a request in logs and metrics: its id, its route's pattern, its method.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::Method;
use actix_web::http::header::HeaderName;

/// Names a request in the logs of everybody it passes.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The pattern of a route, as data of its resource: what logs and metrics call it.
#[derive(Clone, Copy, Debug)]
pub struct Pattern(pub &'static str);

/// Makes request ids: unlike those of any other process, and cheap. They are no secret.
#[derive(Debug)]
pub struct RequestIds {
    process: u64,
    last: AtomicU64,
}

impl RequestIds {
    /// Ids that begin with `process`.
    pub fn new(process: u64) -> Self {
        Self { process, last: AtomicU64::new(0) }
    }

    /// One that was never given before.
    pub fn next(&self) -> String {
        format!("{:016x}-{:x}", self.process, self.last.fetch_add(1, Ordering::Relaxed))
    }
}

/// A label of metrics must come from a short list, and a client may send any method.
pub fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// The level of the access log for a route.
pub fn access_level(route: &str) -> log::Level {
    // Probes come every few seconds and say nothing.
    if route.ends_with("healthz") || route.ends_with("readyz") {
        log::Level::Debug
    } else {
        log::Level::Info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_do_not_repeat() {
        let ids = RequestIds::new(7);
        assert_ne!(ids.next(), ids.next());
        assert_ne!(RequestIds::new(8).next(), RequestIds::new(9).next());
    }

    #[test]
    fn an_invented_method_makes_no_label() {
        assert_eq!(method_name(&Method::GET), "GET");
        assert_eq!(method_name(&Method::from_bytes(b"BREW").unwrap()), "OTHER");
    }

    #[test]
    fn probes_are_quiet() {
        assert_eq!(access_level("/readyz"), log::Level::Debug);
        assert_eq!(access_level("/token"), log::Level::Info);
    }
}
