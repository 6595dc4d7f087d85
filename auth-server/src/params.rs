//! What a request brings: its form or query, read once, and what a client shows beside it.
//!
//! Handlers take [`Form`], [`Query`] or [`ClientRequest`] as arguments; nothing below reads a raw request.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::StreamExt as _;

use crate::app::App;
use crate::error::TokenError;

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

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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

/// A handler argument: the parameters of the body. Take it as `Result<Form, TokenError>` to answer faults in a page of your own.
#[derive(Debug)]
pub struct Form(pub Params);

impl FromRequest for Form {
    type Error = TokenError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, TokenError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move { Ok(Self(read_form(&request, payload).await?)) })
    }
}

/// A handler argument: the parameters of the query.
#[derive(Debug)]
pub struct Query(pub Params);

impl FromRequest for Query {
    type Error = TokenError;
    type Future = std::future::Ready<Result<Self, TokenError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let params = Params::parse(request.query_string().as_bytes());
        std::future::ready(params.map(Self).map_err(TokenError::Params))
    }
}

/// A handler argument: what the endpoints that clients call directly begin with.
#[derive(Debug)]
pub struct ClientRequest {
    /// The parameters of the body.
    pub params: Params,
    /// What the client shows in the header.
    pub authorization: Authorization,
    /// Where it calls from.
    pub address: IpAddr,
}

/// The header `Authorization` as it was sent, its content unproven.
pub enum Authorization {
    /// There is none.
    Absent,
    /// Exactly one.
    One(Vec<u8>),
    /// Several: nobody knows which one counts.
    Several,
}

/// The header holds a secret: only its number is shown.
impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::One(_) => "One(..)",
            Self::Several => "Several",
        })
    }
}

impl FromRequest for ClientRequest {
    type Error = TokenError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, TokenError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            // "Parameters [..] MUST NOT be included in the request URI" (RFC 6749 section 2.3.1): a URL ends up in logs.
            if !request.query_string().is_empty() {
                return Err(TokenError::ParametersInQuery);
            }
            Ok(Self {
                params: read_form(&request, payload).await?,
                authorization: authorization(&request),
                address: client_address(&request),
            })
        })
    }
}

fn authorization(request: &HttpRequest) -> Authorization {
    let mut values = request.headers().get_all(AUTHORIZATION);
    match (values.next(), values.next()) {
        (None, _) => Authorization::Absent,
        (Some(one), None) => Authorization::One(one.as_bytes().to_vec()),
        (Some(_), Some(_)) => Authorization::Several,
    }
}

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
    let entries: Vec<&str> = headers
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    behind_proxies(peer, &entries, |ip| {
        app.settings.trusted_proxies.iter().any(|net| net.contains(&ip))
    })
}

fn behind_proxies(peer: IpAddr, entries: &[&str], is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut address = peer.to_canonical();
    for entry in entries.iter().rev() {
        if !is_trusted(address) {
            break;
        }
        let Ok(before) = entry.trim().parse::<IpAddr>() else {
            break;
        };
        address = before.to_canonical();
    }
    address
}

/// Reads a form. Large and slow bodies end here: actix itself bounds only the head of a request.
pub async fn read_form(request: &HttpRequest, payload: Payload) -> Result<Params, ParamsFault> {
    let content_type =
        request.headers().get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if !is_form(content_type) {
        return Err(ParamsFault::ContentType);
    }
    let (limit, seconds) = request.app_data::<web::Data<App>>().map_or((64 * 1024, 10), |app| {
        (app.settings.http.body_bytes, app.settings.http.body_timeout)
    });
    let body = tokio::time::timeout(Duration::from_secs(seconds), read_body(payload, limit));
    Params::parse(&body.await.map_err(|_| ParamsFault::TooSlow)??)
}

fn is_form(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

async fn read_body(mut payload: Payload, limit: usize) -> Result<Bytes, ParamsFault> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ParamsFault::Incomplete)?;
        if body.len() + chunk.len() > limit {
            return Err(ParamsFault::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
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

    #[test]
    fn the_media_type_counts_without_its_parameters() {
        assert!(is_form(b"application/x-www-form-urlencoded"));
        assert!(is_form(b"Application/X-WWW-Form-Urlencoded; charset=UTF-8"));
        for other in [&b""[..], b"application/json", b"multipart/form-data", b"text/plain"] {
            assert!(!is_form(other));
        }
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_about_the_address() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let proxies = |address: IpAddr| address == ip("10.0.0.1") || address == ip("10.0.0.2");
        let from = |peer: &str, entries: &[&str]| behind_proxies(ip(peer), entries, proxies);
        assert_eq!(from("198.51.100.7", &["203.0.113.9"]), ip("198.51.100.7"));
        assert_eq!(from("10.0.0.1", &["203.0.113.9"]), ip("203.0.113.9"));
        assert_eq!(from("10.0.0.1", &["6.6.6.6", "203.0.113.9", " 10.0.0.2"]), ip("203.0.113.9"));
        assert_eq!(from("::ffff:10.0.0.1", &["203.0.113.9"]), ip("203.0.113.9"));
        assert_eq!(from("10.0.0.1", &["unknown"]), ip("10.0.0.1"));
        assert_eq!(from("10.0.0.1", &[]), ip("10.0.0.1"));
    }
}
