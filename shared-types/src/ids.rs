//! Identifiers: each a type of its own, made only by `parse`, compared byte for byte as it was sent.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

/// Why a text is not the identifier it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {why}")]
pub struct IdFault {
    what: &'static str,
    why: &'static str,
}

const fn fault(what: &'static str, why: &'static str) -> IdFault {
    IdFault { what, why }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes `text` as it is, or says what is wrong with it. Nothing is normalised.
            pub fn parse(text: impl Into<String>) -> Result<Self, IdFault> {
                let text: String = text.into();
                let check: fn(&str) -> Result<(), IdFault> = $parse;
                check(&text)?;
                Ok(Self(text.into_boxed_str()))
            }

            /// The identifier as it was sent.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdFault;
            fn try_from(text: String) -> Result<Self, IdFault> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into_string()
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdFault;
            fn from_str(text: &str) -> Result<Self, IdFault> {
                Self::parse(text)
            }
        }
    };
}

identifier! {
    /// An issuer identifier ([RFC 8414 section 2](https://www.rfc-editor.org/rfc/rfc8414#section-2)): a URL of scheme
    /// `https` without query, fragment or user info. `http` only on `localhost`, `127.0.0.1` and `[::1]`, for development.
    /// It stands in its normal form, since it is compared byte for byte by everybody; only the `/` of an empty path may be left out.
    ///
    /// ```
    /// use shared_types::Issuer;
    /// assert!(Issuer::parse("https://id.example").is_ok());
    /// assert!(Issuer::parse("http://id.example").is_err());
    /// assert_ne!(Issuer::parse("https://id.example"), Issuer::parse("https://id.example/"));
    /// ```
    Issuer, |text| secure_url("issuer", text)
}

identifier! {
    /// A resource indicator ([RFC 8707](https://www.rfc-editor.org/rfc/rfc8707#section-2)) or issuer, as it stands in `aud`: an absolute URI without
    /// fragment, blank or control character.
    ///
    /// ```
    /// use shared_types::Audience;
    /// assert!(Audience::parse("https://api.example/v1").is_ok());
    /// assert!(Audience::parse("api#part").is_err());
    /// ```
    Audience, |text| {
        if text.len() > 2_048 {
            return Err(fault("resource", "is longer than 2,048 bytes"));
        }
        // A URL parser passes over them in silence.
        if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(fault("resource", "has a blank or a control character"));
        }
        let url = Url::parse(text).map_err(|_| fault("resource", "is not an absolute URI"))?;
        if url.fragment().is_some() {
            return Err(fault("resource", "has a fragment"));
        }
        Ok(())
    }
}

identifier! {
    /// A client identifier ([RFC 6749 appendix A.1](https://www.rfc-editor.org/rfc/rfc6749#appendix-A.1)): 1 to 255 visible ASCII characters or blanks.
    /// None begins with `acct_`, so a client acting for itself can never be taken for a person (RFC 9068 section 5).
    ///
    /// ```
    /// use shared_types::ClientId;
    /// assert!(ClientId::parse("demo-web").is_ok());
    /// assert!(ClientId::parse("acct_1").is_err());
    /// ```
    ClientId, |text| {
        printable("client_id", text)?;
        if text.starts_with("acct_") {
            return Err(fault("client_id", "begins with acct_, which is kept for people"));
        }
        Ok(())
    }
}

identifier! {
    /// A subject ([OpenID Connect Core 1.0 section 2](https://openid.net/specs/openid-connect-core-1_0.html#IDToken)): 1 to 255 visible ASCII characters.
    /// `acct_…` for people, the `client_id` for a client that acts for itself.
    ///
    /// ```
    /// use shared_types::Subject;
    /// assert!(Subject::parse("acct_5d2f").is_ok());
    /// assert!(Subject::parse("").is_err());
    /// ```
    Subject, |text| printable("sub", text)
}

identifier! {
    /// A token's unique identifier, the `jti` claim ([RFC 7519 section 4.1.7](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.7)): 1 to 255 visible ASCII characters.
    ///
    /// ```
    /// assert!(shared_types::JwtId::parse("x7").is_ok());
    /// ```
    JwtId, |text| printable("jti", text)
}

identifier! {
    /// A key identifier ([RFC 7515 section 4.1.4](https://www.rfc-editor.org/rfc/rfc7515#section-4.1.4)): only ever a key of a map, never a path, a
    /// query or a URL, and at most 256 bytes.
    ///
    /// ```
    /// assert!(shared_types::KeyId::parse("../../dev/null").is_ok(), "harmless: nothing opens it");
    /// assert!(shared_types::KeyId::parse("k".repeat(257)).is_err());
    /// ```
    KeyId, |text| match text.len() {
        0 => Err(fault("kid", "is empty")),
        257.. => Err(fault("kid", "is longer than 256 bytes")),
        _ => Ok(()),
    }
}

impl Issuer {
    /// Whether the issuer is reached by `https`.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Whether the issuer's host is this very machine (`localhost`, `127.0.0.1`, `[::1]`): development, not production.
    pub fn is_loopback(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| url.host_str().is_some_and(is_loopback_host))
    }

    /// Scheme, host and port, as a browser's `Origin` header has them.
    pub fn origin(&self) -> String {
        Url::parse(&self.0).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }

    /// The path part without a final `/`: empty for most issuers.
    pub fn path(&self) -> String {
        Url::parse(&self.0)
            .map(|url| url.path().trim_end_matches('/').to_owned())
            .unwrap_or_default()
    }

    /// `path` (which begins with `/`) below this issuer.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0.trim_end_matches('/'))
    }
}

impl Audience {
    /// Whether `requested` names this resource: equal byte for byte, or equal once an empty path is written `/`, since clients that
    /// pass the text through a URL parser send `http://localhost:9001/` for `http://localhost:9001`.
    pub fn is_requested_by(&self, requested: &str) -> bool {
        let ours: &str = &self.0;
        ours == requested
            || (Url::parse(ours).is_ok_and(|url| url.path() == "/" && url.query().is_none())
                && without_slash(ours) == without_slash(requested))
    }
}

fn without_slash(url: &str) -> &str {
    url.strip_suffix('/').unwrap_or(url)
}

/// Whether `host`, as a URL has it, is one of the three names for this very machine.
pub fn is_loopback_host(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// An `https` URL in normal form, without user info, query or fragment; `http` only on this very machine.
fn secure_url(what: &'static str, text: &str) -> Result<(), IdFault> {
    let url = Url::parse(text).map_err(|_| fault(what, "is not a URL"))?;
    let loopback = url.host_str().is_some_and(is_loopback_host);
    if !(url.scheme() == "https" || (url.scheme() == "http" && loopback)) {
        return Err(fault(
            what,
            "must be an https URL (http only on localhost, 127.0.0.1 and [::1])",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fault(what, "contains user information"));
    }
    if text.contains(['?', '#']) {
        return Err(fault(what, "contains a query or a fragment"));
    }
    if !url.host_str().is_some_and(is_plain_host) {
        return Err(fault(what, "has a host that is neither a plain domain name nor an address"));
    }
    let is_normal =
        url.as_str() == text || (url.path() == "/" && url.as_str().strip_suffix('/') == Some(text));
    if !is_normal || !is_normal_path(url.path()) {
        return Err(fault(what, "is not in its normal form"));
    }
    Ok(())
}

/// Whether `host`, as a URL parser gives it, is an IP literal or a domain name of `a`–`z`, `0`–`9`, `.` and `-`. The parser itself
/// takes more, `;` for one, which would begin a new directive in a Content-Security-Policy.
pub fn is_plain_host(host: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    // Only an address that the parser has understood still has brackets.
    host.starts_with('[') || (!host.is_empty() && host.bytes().all(plain))
}

/// Whether `path` has only what a path may have ([RFC 3986 section 3.3](https://www.rfc-editor.org/rfc/rfc3986#section-3.3)), no quote, and no
/// escape that could be written in another way (section 6.2.2): a URL parser leaves both as they are.
fn is_normal_path(path: &str) -> bool {
    let mut escaped = path.split('%');
    let plain = |text: &str| {
        text.bytes().all(|byte| is_unreserved(byte) || b"/:@!$&()*+,;=".contains(&byte))
    };
    escaped.next().is_some_and(plain)
        && escaped.all(|rest| {
            let Some((digits, rest)) = rest.split_at_checked(2) else { return false };
            let upper = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
            let byte = u8::from_str_radix(digits, 16);
            upper && byte.is_ok_and(|byte| !is_unreserved(byte)) && plain(rest)
        })
}

/// The characters that never need an escape ([RFC 3986 section 2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3)).
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn printable(what: &'static str, text: &str) -> Result<(), IdFault> {
    if text.is_empty() {
        return Err(fault(what, "is empty"));
    }
    if text.len() > 255 {
        return Err(fault(what, "is longer than 255 bytes"));
    }
    if !text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        return Err(fault(what, "has a character outside printable ASCII"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_https_or_local() {
        for good in
            ["https://a.example", "https://a.example/t1", "http://localhost:9000", "http://[::1]:1"]
        {
            assert!(Issuer::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://a.example",
            "https://a.example?x",
            "https://a.example#",
            "https://u@a.example",
            "ftp://x",
            "",
        ] {
            assert!(Issuer::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_issuer_stands_in_its_normal_form() {
        for good in [
            "https://a.example/",
            "https://a.example:8443",
            "https://a.example/realms/m",
            "https://a.example/t1/",
            "https://xn--pp-fka.example",
            "https://192.0.2.1",
            "https://[2001:db8::1]:8443/t",
            "https://a.example/a%20b",
        ] {
            assert!(Issuer::parse(good).is_ok(), "{good}");
        }
        for bad in [
            " https://a.example",
            "https://a.example ",
            "https://a.example\n",
            "https://a.exa\tmple",
            "https://a.example/a b",
            "https://a.example/a\"b",
            "https://a.example/a'b",
            "https://a.example/{t}",
            "https://a.example/a|b",
            "https://a.example/a/../b",
            "https://a.example/./b",
            "https://a.example/%2e%2e/b",
            "https://a.example/%7Et",
            "https://a.example/a%2fb",
            "https://a.example/a%2",
            "https://a.example\\b",
            "https://A.example",
            "HTTPS://a.example",
            "https://a.example:443",
            "https:a.example",
            "https:///a.example",
            "https://äpp.example",
            "https://a;b",
            "https://a_b.example",
            "https://a%2eexample",
            "https://0x7f.1",
            "https://[2001:DB8::1]",
            "https://@a.example",
        ] {
            assert!(Issuer::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_resource_has_no_blank_and_no_control_character() {
        assert!(Audience::parse("urn:example:documents").is_ok());
        for bad in [
            " https://a.example",
            "https://a.example\n",
            "https://a.exa\tmple",
            "urn:a b",
            "urn:a\u{85}",
        ] {
            assert!(Audience::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_empty_path_may_be_written_as_a_slash() {
        let api = Audience::parse("http://localhost:9001").unwrap();
        assert!(api.is_requested_by("http://localhost:9001"));
        assert!(api.is_requested_by("http://localhost:9001/"));
        assert!(!api.is_requested_by("http://localhost:9001//"));
        assert!(!api.is_requested_by("http://localhost:9001/x"));
        let slash = Audience::parse("http://localhost:9001/").unwrap();
        assert!(slash.is_requested_by("http://localhost:9001"));
        assert!(!slash.is_requested_by("http://localhost:9001//"));
        let deep = Audience::parse("https://a.example/v1").unwrap();
        assert!(!deep.is_requested_by("https://a.example/v1/"));
    }

    #[test]
    fn a_client_cannot_be_named_like_a_person() {
        assert!(ClientId::parse("acct_x").is_err());
        assert!(Subject::parse("acct_x").is_ok());
        assert!(ClientId::parse("tab\there").is_err());
    }
}
