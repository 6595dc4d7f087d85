//! Where a request comes from, when proxies stand before the server.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::{HttpRequest, web};

use crate::app::App;

/// Where a request comes from: the peer, or what a trusted proxy says before it in `X-Forwarded-For`.
///
/// The list is read from its end: each entry was written by the hop behind it, so the first one that is not itself a trusted
/// proxy is the last that can be believed. What stands before it is the caller's own invention.
pub fn client_address(request: &HttpRequest) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip());
    let Some(app) = request.app_data::<web::Data<App>>() else {
        return peer;
    };
    let headers = request.headers().get_all("x-forwarded-for");
    // By bytes: one that is no ASCII spoils its own entry, not those that proxies wrote behind it.
    let entries: Vec<&[u8]> =
        headers.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).collect();
    behind_proxies(peer, &entries, |ip| {
        app.settings.trusted_proxies.iter().any(|net| net.contains(&ip))
    })
}

fn behind_proxies(peer: IpAddr, entries: &[&[u8]], is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut address = peer.to_canonical();
    for entry in entries.iter().rev() {
        if !is_trusted(address) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxy_is_believed_about_the_address() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let proxies = |address: IpAddr| address == ip("10.0.0.1") || address == ip("10.0.0.2");
        let from = |peer: &str, entries: &[&str]| {
            let entries: Vec<&[u8]> = entries.iter().map(|entry| entry.as_bytes()).collect();
            behind_proxies(ip(peer), &entries, proxies)
        };
        assert_eq!(from("198.51.100.7", &["203.0.113.9"]), ip("198.51.100.7"));
        assert_eq!(from("10.0.0.1", &["203.0.113.9"]), ip("203.0.113.9"));
        assert_eq!(from("10.0.0.1", &["6.6.6.6", "203.0.113.9", " 10.0.0.2"]), ip("203.0.113.9"));
        assert_eq!(from("::ffff:10.0.0.1", &["203.0.113.9"]), ip("203.0.113.9"));
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
            assert_eq!(hop(entry.as_bytes()), Some(address.parse().unwrap()), "{entry}");
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
            let proxy = IpAddr::from([10, 0, 0, 1]);
            let found =
                behind_proxies(proxy, &[b"6.6.6.6", entry.as_bytes()], |address| address == proxy);
            assert_eq!(found, proxy, "{entry}: what stands before it is not believed");
        }
    }
}
