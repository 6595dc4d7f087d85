//! Redirect URIs: what may be registered, and when the one that was sent is the registered one.
//!
//! Everything here works on the text. A URL parser is asked only whether a text is a URL at all: what it makes of `127.1`,
//! `0x7f.1` or `%31` is the parser's opinion, and an attacker would choose the parser
//! ([RFC 9700 section 4.1](https://www.rfc-editor.org/rfc/rfc9700#section-4.1)).

use shared_types::ids::is_plain_host;
use url::Url;

/// The longest redirect URI, in bytes.
pub const MAX_LENGTH: usize = 2_048;

/// The loopback IP literals whose port a native app chooses when it starts
/// ([RFC 8252 section 7.3](https://www.rfc-editor.org/rfc/rfc8252#section-7.3)).
const ANY_PORT: [&str; 2] = ["http://127.0.0.1", "http://[::1]"];

/// Where plain http is taken: nothing leaves the machine.
const LOOPBACK: [&str; 3] = ["http://127.0.0.1", "http://[::1]", "http://localhost"];

/// Parameters of our answers: a registered URI that already has one would make them ambiguous.
const ANSWERS: [&str; 6] = ["code", "state", "iss", "error", "error_description", "id_token"];

/// Visible characters that RFC 3986 does not know, a quote that it does, and `*`, which would be taken for a pattern.
const NO_PLACE: &[u8] = b"\\*\"'<>`{}|^";

/// Why a redirect URI cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriFault {
    /// Longer than [`MAX_LENGTH`].
    #[error("is longer than 2,048 bytes")]
    TooLong,
    /// It has blanks, control characters, quotes, braces, a backslash, a wildcard or letters outside ASCII.
    #[error("has a character that has no place in a redirect URI (a wildcard is no pattern here)")]
    Character,
    /// It is no absolute URI.
    #[error("is not an absolute URI")]
    NotAbsolute,
    /// Its host is no domain name in lower case and no IP literal, or not written as a URL parser writes it.
    #[error("has a host that is neither a domain name in lower case nor an address")]
    Host,
    /// "The endpoint URI MUST NOT include a fragment component" (RFC 6749 section 3.1.2).
    #[error("has a fragment")]
    Fragment,
    /// It has a user name or password.
    #[error("contains user information")]
    UserInformation,
    /// http to another machine.
    #[error("must be https (http only on localhost, 127.0.0.1 and [::1])")]
    PlainHttp,
    /// A scheme of its own that is not a domain name turned around, as `javascript:` or `myapp:`.
    #[error(
        "has a scheme without a dot: a private-use scheme is a domain name turned around, as com.example.app (RFC 8252 section 7.1)"
    )]
    Scheme,
    /// Its query has a parameter of our answers.
    #[error("has a query parameter that answers carry (code, state, iss, error)")]
    AnswerParameter,
}

/// Whether `uri` may be registered, for answers of `/authorize` or as a page after signing out.
pub fn check_registration(uri: &str) -> Result<(), RedirectUriFault> {
    use RedirectUriFault as Fault;
    if uri.len() > MAX_LENGTH {
        return Err(Fault::TooLong);
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && !NO_PLACE.contains(&byte);
    if !uri.bytes().all(plain) {
        return Err(Fault::Character);
    }
    let url = Url::parse(uri).map_err(|_| Fault::NotAbsolute)?;
    if uri.contains('#') {
        return Err(Fault::Fragment);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Fault::UserInformation);
    }
    if url.query_pairs().any(|(name, _)| ANSWERS.contains(&name.as_ref())) {
        return Err(Fault::AnswerParameter);
    }
    match url.scheme() {
        "https" if has_authority(uri, "https://") => {
            has_host(uri, "https://", url.host_str()).then_some(()).ok_or(Fault::Host)
        }
        "http" if LOOPBACK.iter().any(|origin| begins_with_origin(uri, origin)) => Ok(()),
        "https" => Err(Fault::NotAbsolute),
        "http" => Err(Fault::PlainHttp),
        scheme if scheme.contains('.') && uri.starts_with(scheme) => Ok(()),
        _ => Err(Fault::Scheme),
    }
}

/// Whether `sent` is the URI that was registered: byte for byte, but for the port of a loopback IP literal.
///
/// "The authorization server MUST allow any port to be specified at the time of the request for loopback IP redirect URIs"
/// ([RFC 8252 section 7.3](https://www.rfc-editor.org/rfc/rfc8252#section-7.3)); otherwise "exact string matching"
/// ([RFC 9700 section 2.1](https://www.rfc-editor.org/rfc/rfc9700#section-2.1)).
pub fn matches(registered: &str, sent: &str) -> bool {
    if registered == sent {
        return true;
    }
    ANY_PORT.iter().any(|origin| {
        match (registered.strip_prefix(origin), sent.strip_prefix(origin)) {
            (Some(registered), Some(sent)) => without_port(registered) == without_port(sent),
            _ => false,
        }
    })
}

/// The source expression that lets a form's chain of redirects reach `uri` (CSP `form-action`).
///
/// The grammar of CSP has no IPv6 literals and no paths of private-use schemes: for those the scheme stands alone.
pub fn form_action_source(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok()?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(host)) if !host.starts_with('[') => {
            Some(url.origin().ascii_serialization())
        }
        (scheme, _) => Some(format!("{scheme}:")),
    }
}

/// `rest` (what follows a host) without one `:1`–`:65535` at its beginning.
fn without_port(rest: &str) -> &str {
    let Some(after_colon) = rest.strip_prefix(':') else {
        return rest;
    };
    let end = after_colon.find(|c: char| !c.is_ascii_digit()).unwrap_or(after_colon.len());
    match after_colon.split_at_checked(end) {
        Some((port, rest)) if !port.starts_with('0') && port.parse::<u16>().is_ok() => rest,
        _ => rest,
    }
}

/// Whether `uri` begins with `origin`, and the host ends there.
fn begins_with_origin(uri: &str, origin: &str) -> bool {
    uri.strip_prefix(origin).is_some_and(|rest| {
        let rest = without_port(rest);
        rest.is_empty() || rest.starts_with(['/', '?'])
    })
}

/// Whether the text names the very `host` that a parser sees, one that is safe in a header: `https://x;script-src/` is a URL too.
fn has_host(uri: &str, scheme: &str, host: Option<&str>) -> bool {
    let rest = uri.strip_prefix(scheme).zip(host).and_then(|(rest, host)| rest.strip_prefix(host));
    host.is_some_and(is_plain_host)
        && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?']))
}

fn has_authority(uri: &str, scheme: &str) -> bool {
    uri.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::RedirectUriFault as Fault;
    use super::*;

    #[test]
    fn what_may_be_registered() {
        for good in [
            "https://app.example/cb",
            "https://app.example:8443/cb?tenant=1",
            "http://localhost:3000/cb",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:9002/callback",
            "http://[::1]:1/cb",
            "https://[2001:db8::1]/cb",
            "https://192.0.2.1:8443",
            "https://app.example?tenant=1",
            "com.example.app:/oauth2redirect",
            "com.example.app://callback",
        ] {
            assert_eq!(check_registration(good), Ok(()), "{good}");
        }
        for (bad, fault) in [
            ("/cb", Fault::NotAbsolute),
            ("", Fault::NotAbsolute),
            ("https:///cb", Fault::NotAbsolute),
            ("https:app.example/cb", Fault::NotAbsolute),
            ("https://app.example/cb#top", Fault::Fragment),
            ("https://app.example/cb#", Fault::Fragment),
            ("https://user@app.example/cb", Fault::UserInformation),
            ("http://127.0.0.1@evil.example/cb", Fault::UserInformation),
            ("http://app.example/cb", Fault::PlainHttp),
            ("http://127.1/cb", Fault::PlainHttp),
            ("http://0x7f.1/cb", Fault::PlainHttp),
            ("http://127.0.0.1.evil.example/cb", Fault::PlainHttp),
            ("http://localhost.evil.example/cb", Fault::PlainHttp),
            ("https://*.app.example/cb", Fault::Character),
            ("https://app.example\\@evil.example/", Fault::Character),
            ("https://app.example/c b", Fault::Character),
            ("https://äpp.example/cb", Fault::Character),
            ("https://app.example/c\tb", Fault::Character),
            ("https://app.example/cb\r\nSet-Cookie:a=b", Fault::Character),
            ("https://app.example/'cb'", Fault::Character),
            ("https://app.example/{cb}", Fault::Character),
            ("https://x;script-src/cb", Fault::Host),
            ("https://x,y/cb", Fault::Host),
            ("https://App.example/cb", Fault::Host),
            ("https://app%2eexample/cb", Fault::Host),
            ("https://127.1/cb", Fault::Host),
            ("https://a_b.example/cb", Fault::Host),
            ("javascript:alert(1)", Fault::Scheme),
            ("data:text/html,x", Fault::Scheme),
            ("myapp://cb", Fault::Scheme),
            ("https://app.example/cb?state=1", Fault::AnswerParameter),
        ] {
            assert_eq!(check_registration(bad), Err(fault), "{bad}");
        }
        assert_eq!(
            check_registration(&format!("https://a.example/{}", "x".repeat(MAX_LENGTH))),
            Err(Fault::TooLong)
        );
    }

    #[test]
    fn a_loopback_literal_may_have_any_port() {
        let registered = "http://127.0.0.1/cb";
        for good in ["http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb"] {
            assert!(matches(registered, good), "{good}");
            assert!(matches("http://127.0.0.1:9002/cb", good), "{good}");
        }
        assert!(matches("http://[::1]:5/cb?a=b", "http://[::1]:6/cb?a=b"));
        for bad in [
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:080/cb",
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:80:80/cb",
            "http://127.0.0.1:80/CB",
            "http://127.0.0.1:80/cb/",
            "http://127.0.0.1:80/cb?x",
            "http://127.0.0.1:80@evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://127.1:80/cb",
            "http://0x7f.1:80/cb",
            "http://2130706433/cb",
            "http://[::1]:80/cb",
            "http://localhost:80/cb",
            "https://127.0.0.1:80/cb",
            "HTTP://127.0.0.1:80/cb",
        ] {
            assert!(!matches(registered, bad), "{bad}");
        }
    }

    #[test]
    fn every_other_uri_is_compared_as_sent() {
        assert!(!matches("http://localhost/cb", "http://localhost:80/cb"));
        assert!(!matches("https://a.example/cb", "https://a.example:443/cb"));
        assert!(!matches("https://a.example/cb", "https://A.example/cb"));
        assert!(!matches("https://a.example/cb", "https://a.example/cb/../evil"));
        assert!(!matches("com.example.app:/cb", "com.example.app:/CB"));
    }

    #[test]
    fn form_action_names_an_origin_or_a_scheme() {
        let source = |uri| form_action_source(uri).unwrap();
        assert_eq!(source("https://a.example:8443/cb?x=1"), "https://a.example:8443");
        assert_eq!(source("http://127.0.0.1:9002/callback"), "http://127.0.0.1:9002");
        assert_eq!(source("http://[::1]:9002/callback"), "http:");
        assert_eq!(source("com.example.app:/cb"), "com.example.app:");
    }

    proptest! {
        #[test]
        fn only_the_port_of_a_loopback_literal_may_differ(
            port in 1u16.., other in 1u16.., path in "(/[a-z0-9._~%-]{0,8}){0,3}", query in "(\\?[a-z=&]{0,6})?"
        ) {
            let uri = |host: &str, port: u16| format!("http://{host}:{port}{path}{query}");
            prop_assert!(matches(&uri("127.0.0.1", port), &uri("127.0.0.1", other)));
            prop_assert!(matches(&uri("[::1]", port), &uri("[::1]", other)));
            prop_assert!(!matches(&uri("[::1]", port), &uri("127.0.0.1", other)));
            prop_assert_eq!(matches(&uri("localhost", port), &uri("localhost", other)), port == other);
        }

        #[test]
        fn what_is_registered_is_one_source_expression(uri in "(https|http|com\\.example)://[!-~]{1,24}") {
            if check_registration(&uri).is_ok() {
                let source = form_action_source(&uri).unwrap();
                let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:/[]".contains(&byte);
                prop_assert!(source.bytes().all(plain), "{}", source);
            }
        }

        #[test]
        fn a_host_with_a_stray_character_is_refused(stray in "[!-,;<=>@A-Z\\[\\\\\\]^_`{|}~\\x00-\\x20\\x7f]", at in 1usize..5) {
            let mut host = "app.example".to_owned();
            host.insert_str(at, &stray);
            let registered = check_registration(&format!("https://{host}/cb"));
            prop_assert!(registered.is_err());
        }

        #[test]
        fn a_different_text_elsewhere_never_matches(sent in "(http://127\\.0\\.0\\.1|http://\\[::1\\])?[:/@.a-z0-9#?]{0,24}") {
            let registered = "https://app.example/cb";
            prop_assert_eq!(matches(registered, &sent), registered == sent);
        }

        #[test]
        fn what_matches_a_loopback_registration_goes_to_that_very_host(rest in "[:/@.a-z0-9#?\\\\%-]{0,24}") {
            let sent = format!("http://127.0.0.1{rest}");
            if matches("http://127.0.0.1/cb", &sent) {
                let url = Url::parse(&sent).unwrap();
                prop_assert_eq!(url.host_str(), Some("127.0.0.1"));
                prop_assert_eq!(url.path(), "/cb");
                prop_assert!(url.username().is_empty());
            }
        }
    }
}
