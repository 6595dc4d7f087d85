//! What trusted proxies say of a request that came through them: where it comes from, and what it is called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use ipnet::IpNet;

use crate::requests::X_REQUEST_ID;

/// What [`network`] wants to read; completes "must be".
pub const NETWORKS: &str = "a list of networks like 10.0.0.0/8, or addresses";

/// A network, or an address as the network that holds it alone.
pub fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Whether `address` belongs to one of the `networks`.
pub(crate) fn is_within(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Where a request comes from: the peer, or what a `trusted` proxy says before it in `X-Forwarded-For`. Without a peer, `0.0.0.0`.
///
/// The list is read from its end: each entry was written by the hop behind it, so the first one that is not itself a trusted
/// proxy is the last that can be believed. What stands before it is the caller's own invention.
pub fn client_address(request: &HttpRequest, trusted: &[IpNet]) -> IpAddr {
    match peer(request) {
        Some(peer) if is_within(trusted, peer) => before(peer, request.headers(), trusted),
        Some(peer) => peer,
        None => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// The `X-Request-Id` that a `trusted` proxy gave it, if it is a plain one.
pub fn request_id<'r>(request: &'r HttpRequest, trusted: &[IpNet]) -> Option<&'r str> {
    let sent = request.headers().get(X_REQUEST_ID)?;
    let by_proxy = peer(request).is_some_and(|peer| is_within(trusted, peer));
    sent.to_str().ok().filter(|id| by_proxy && is_plain(id))
}

fn peer(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|peer| peer.ip().to_canonical())
}

fn before(proxy: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let headers = headers.get_all("x-forwarded-for");
    // By bytes: one that is no ASCII spoils its own entry, not those that proxies wrote behind it.
    let entries: Vec<&[u8]> =
        headers.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).collect();
    behind_proxies(proxy, &entries, trusted)
}

fn behind_proxies(peer: IpAddr, entries: &[&[u8]], trusted: &[IpNet]) -> IpAddr {
    let mut address = peer.to_canonical();
    for entry in entries.iter().rev() {
        if !is_within(trusted, address) {
            break;
        }
        let Some(before) = hop(entry) else {
            break;
        };
        address = before.to_canonical();
    }
    address
}

/// The address of one entry, whose port some proxies write too: `192.0.2.1:8080`, `[2001:db8::1]:443`, `[2001:db8::1]`.
fn hop(entry: &[u8]) -> Option<IpAddr> {
    let entry = str::from_utf8(entry).ok()?.trim();
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    entry
        .parse()
        .or_else(|_| entry.parse::<SocketAddr>().map(|socket| socket.ip()))
        .ok()
        .or_else(|| bracketed().map(IpAddr::from))
}

/// A log line must not be forged through it, so only what ids are made of.
fn is_plain(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn trusted(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| network(text).unwrap()).collect()
    }

    #[test]
    fn a_network_is_a_range_or_one_address() {
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert_eq!(network("2001:db8::1").unwrap().to_string(), "2001:db8::1/128");
        for bad in ["", "proxy", "10.0.0.0/33", "10.0.0", "10.0.0.1:80", "10.0.0.1 "] {
            assert_eq!(network(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_about_the_address() {
        let proxies = trusted(&["10.0.0.1", "10.0.0.2"]);
        let from = |peer: &str, entries: &[&str]| {
            let request = TestRequest::default().peer_addr(SocketAddr::new(ip(peer), 1));
            let add = |request: TestRequest, entry: &&str| {
                request.append_header(("X-Forwarded-For", *entry))
            };
            let request = entries.iter().fold(request, add).to_http_request();
            client_address(&request, &proxies)
        };
        assert_eq!(from("198.51.100.7", &["203.0.113.9"]), ip("198.51.100.7"));
        assert_eq!(from("10.0.0.1", &["203.0.113.9"]), ip("203.0.113.9"));
        assert_eq!(from("10.0.0.1", &["6.6.6.6", "203.0.113.9", " 10.0.0.2"]), ip("203.0.113.9"));
        assert_eq!(from("10.0.0.1", &["6.6.6.6, 203.0.113.9,10.0.0.2"]), ip("203.0.113.9"));
        assert_eq!(from("::ffff:10.0.0.1", &["203.0.113.9"]), ip("203.0.113.9"));
        assert_eq!(from("::ffff:198.51.100.7", &["203.0.113.9"]), ip("198.51.100.7"));
        assert_eq!(from("10.0.0.1", &[]), ip("10.0.0.1"));
    }

    #[test]
    fn an_entry_may_carry_a_port_and_brackets() {
        for (entry, address) in [
            ("9.9.9.9:1234", "9.9.9.9"),
            ("[2001:db8::1]:5", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[::ffff:9.9.9.9]:1", "::ffff:9.9.9.9"),
        ] {
            assert_eq!(hop(entry.as_bytes()), Some(ip(address)), "{entry}");
        }
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_walk() {
        for entry in [
            "",
            "unknown",
            "_hidden",
            "9.9.9.9:",
            "9.9.9.9:65536",
            "9.9.9.9:x",
            "[9.9.9.9]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]:",
            "[2001:db8::1]x",
            "[]",
            "[]:1",
            "1",
            "\"[2001:db8::1]\"",
            "9.9.9.9 8.8.8.8",
            "\u{ff}",
        ] {
            let found = behind_proxies(
                ip("10.0.0.1"),
                &[b"6.6.6.6", entry.as_bytes()],
                &trusted(&["10.0.0.1"]),
            );
            assert_eq!(found, ip("10.0.0.1"), "{entry}: what stands before it is not believed");
        }
    }

    #[test]
    fn an_id_is_taken_over_from_a_trusted_proxy_alone() {
        let proxies = trusted(&["10.0.0.0/8"]);
        let taken = |peer: &str, id: &str| {
            let request = TestRequest::default()
                .peer_addr(SocketAddr::new(ip(peer), 1))
                .insert_header(("X-Request-Id", id));
            request_id(&request.to_http_request(), &proxies).map(str::to_owned)
        };
        assert_eq!(taken("10.1.2.3", "3f2a-77"), Some("3f2a-77".to_owned()));
        assert_eq!(taken("198.51.100.7", "3f2a-77"), None);
        assert_eq!(taken("10.1.2.3", "a b"), None);
    }

    #[test]
    fn only_plain_ids_are_taken_over() {
        assert!(is_plain("3f2a-77.b_1"));
        for bad in ["", "a b", "a\nb", "a=b", "ü", &"a".repeat(129)] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }
}
