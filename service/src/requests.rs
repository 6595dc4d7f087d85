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
    /// What every id of this process begins with.
    process: String,
    last: AtomicU64,
}

impl RequestIds {
    /// Ids that begin with `process`.
    pub fn new(process: u64) -> Self {
        Self { process: format!("{process:016x}-"), last: AtomicU64::new(0) }
    }

    /// One that was never given before.
    pub fn next(&self) -> String {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(self.process.len() + 16);
        id.push_str(&self.process);
        // By hand: this is done for every request, and the machinery of `format!` costs as much as the guard does.
        let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
        for place in (0..digits).rev() {
            let digit = u32::try_from((number >> (place * 4)) & 15).unwrap_or(0);
            id.push(char::from_digit(digit, 16).unwrap_or('0'));
        }
        id
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
    fn an_id_is_the_process_and_a_number_in_hexadecimal() {
        let ids = RequestIds::new(0xab);
        assert_eq!(ids.next(), "00000000000000ab-0");
        ids.last.store(0x1f0, Ordering::Relaxed);
        assert_eq!(ids.next(), "00000000000000ab-1f0");
        ids.last.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(ids.next(), "00000000000000ab-ffffffffffffffff");
    }

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
