//! What a request brings: the parameters of its form or query, read once.
//!
//! Handlers take [`Form`] or [`ClientRequest`] as arguments; nothing below reads a raw request.

mod address;
mod request;

use std::collections::HashSet;
use std::fmt;

pub use address::client_address;
pub use request::{Authorization, ClientRequest, Form, read_form};

/// More parameters than any request of OAuth needs.
const MAX_PARAMETERS: usize = 64;

/// The one parameter that may be repeated ([RFC 8707 section 2](https://www.rfc-editor.org/rfc/rfc8707#section-2)).
const REPEATABLE: &str = "resource";

/// Parameters in the order they were sent, decoded, each name at most once except `resource`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

/// Why parameters cannot be read. Names no value that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsFault {
    /// One name stands twice.
    #[error("a parameter is repeated")]
    Duplicate,
    /// The text is not form-urlencoded UTF-8, or holds the character NUL.
    #[error("the parameters are not form-urlencoded UTF-8")]
    Encoding,
    /// There are more than 64.
    #[error("there are too many parameters")]
    TooMany,
    /// The body is of another media type.
    #[error("the body is not application/x-www-form-urlencoded")]
    ContentType,
    /// The header `Content-Type` stands twice.
    #[error("the header Content-Type is repeated")]
    SeveralContentTypes,
    /// The body is compressed.
    #[error("the body has a content encoding")]
    ContentEncoding,
    /// The body is longer than the limit.
    #[error("the body is too large")]
    TooLarge,
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The connection broke within the body.
    #[error("the body is incomplete")]
    Incomplete,
}

impl Params {
    /// Reads form-urlencoded text ([RFC 6749 appendix B](https://www.rfc-editor.org/rfc/rfc6749#appendix-B)).
    pub fn parse(urlencoded: &[u8]) -> Result<Self, ParamsFault> {
        let mut params = Vec::new();
        let mut names = HashSet::new();
        for pair in urlencoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if names.len() >= MAX_PARAMETERS || params.len() >= MAX_PARAMETERS {
                return Err(ParamsFault::TooMany);
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            // "Request and response parameters MUST NOT be included more than once." (RFC 6749 section 3.1, and 3.2 for /token)
            if !names.insert(name.clone()) && name != REPEATABLE {
                return Err(ParamsFault::Duplicate);
            }
            // "Parameters sent without a value MUST be treated as if they were omitted from the request."
            if !value.is_empty() {
                params.push((name, value));
            }
        }
        Ok(Self(params))
    }

    /// The value of `name`; `None` when absent or empty. The first one of `resource`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Every value of `name`, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every parameter, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Values may be passwords, codes and tokens: only their number is shown.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Params(<{} parameters>)", self.0.len())
    }
}

/// Decodes one form-urlencoded name or value: `+` is a blank, `%XX` a byte, the whole UTF-8 without NUL (which no database takes
/// in a text). Stricter than browsers' own parsers, which pass broken escapes on: two readers must not see two texts.
pub fn decode(text: &[u8]) -> Result<String, ParamsFault> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next())? << 4 | hex(rest.next())?,
            0 => return Err(ParamsFault::Encoding),
            other => *other,
        });
    }
    if bytes.contains(&0) {
        return Err(ParamsFault::Encoding);
    }
    String::from_utf8(bytes).map_err(|_| ParamsFault::Encoding)
}

fn hex(digit: Option<&u8>) -> Result<u8, ParamsFault> {
    match digit {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(ParamsFault::Encoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let params = Params::parse(b"a=1&b=x+y%2Bz&c=%C3%A4=&&d").unwrap();
        assert_eq!(params.get("a"), Some("1"));
        assert_eq!(params.get("b"), Some("x y+z"));
        assert_eq!(params.get("c"), Some("ä="));
        assert_eq!(params.get("d"), None, "no value is as good as absent");
    }

    #[test]
    fn a_repeated_parameter_is_refused_even_if_one_is_empty() {
        for text in ["a=1&a=1", "a=1&a=2", "a=1&%61=2", "a=&a=1"] {
            assert_eq!(Params::parse(text.as_bytes()), Err(ParamsFault::Duplicate), "{text}");
        }
    }

    #[test]
    fn only_resource_may_be_repeated() {
        let params = Params::parse(b"resource=x&resource=y").unwrap();
        assert_eq!(params.all("resource").collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn what_is_not_utf8_or_a_broken_escape_is_refused() {
        for text in
            [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"a=\xff", b"a=%00", b"a=\0", b"%00=a"]
        {
            assert_eq!(Params::parse(text), Err(ParamsFault::Encoding), "{text:?}");
        }
    }

    #[test]
    fn the_number_of_parameters_is_limited() {
        let text =
            |count: usize| (0..count).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        assert!(Params::parse(text(MAX_PARAMETERS).as_bytes()).is_ok());
        assert_eq!(Params::parse(text(MAX_PARAMETERS + 1).as_bytes()), Err(ParamsFault::TooMany));
        let same = "resource=x&".repeat(MAX_PARAMETERS + 1);
        assert_eq!(Params::parse(same.as_bytes()), Err(ParamsFault::TooMany));
    }

    #[test]
    fn debug_shows_no_value() {
        let params = Params::parse(b"password=hunter2").unwrap();
        assert!(!format!("{params:?}").contains("hunter2"));
    }
}
