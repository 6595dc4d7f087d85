//! The bearer token of a request ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)): how it is read, and how a refusal is said.
//!
//! From the `Authorization` header only: tokens in a query end up in logs, tokens in a form body are a second way in. This is the
//! guard's one file that chooses status codes.

use std::fmt;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use shared_types::ErrorCode;

use super::problem::Problem;
use super::verify::TokenFault;

/// How soon a client may try again when there are no keys, in seconds.
const RETRY_SECONDS: u32 = 5;

/// Why a request does not get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BearerError {
    /// No token at all: told how to get one, without an error code.
    Missing,
    /// More than one token, or one in a place or form that is not allowed.
    InvalidRequest(&'static str),
    /// The token is not valid here.
    InvalidToken(TokenFault),
    /// The token is valid but lacks this scope.
    InsufficientScope(&'static str),
    /// The resource owner has not cleared the request. The token is fine, so it is not 401: clients refresh on 401.
    InsufficientAuthorization(Problem),
    /// There is no key to check any token of that issuer: a fault of ours, and never a reason to accept.
    KeysUnavailable,
    /// The guard is not mounted in this app: a fault of ours.
    NotMounted,
}

impl BearerError {
    /// The status of each refusal (RFC 6750 section 3.1).
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::InvalidToken(_) => StatusCode::UNAUTHORIZED,
            Self::InvalidRequest(_) => StatusCode::BAD_REQUEST,
            Self::InsufficientScope(_) | Self::InsufficientAuthorization(_) => {
                StatusCode::FORBIDDEN
            }
            Self::KeysUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotMounted => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error code in the challenge. "If the request lacks any authentication information […] the resource server SHOULD NOT include
    /// an error code" (RFC 6750 section 3.1).
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Missing | Self::KeysUnavailable | Self::NotMounted => None,
            Self::InvalidRequest(_) => Some(ErrorCode::InvalidRequest),
            Self::InvalidToken(_) => Some(ErrorCode::InvalidToken),
            Self::InsufficientScope(_) => Some(ErrorCode::InsufficientScope),
            Self::InsufficientAuthorization(_) => Some(ErrorCode::InsufficientAuthorization),
        }
    }

    /// Which check refused, for logs and metrics.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Missing => "no_token",
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidToken(fault) => fault.cause(),
            Self::InsufficientScope(_) => "scope",
            Self::InsufficientAuthorization(_) => "clearance",
            Self::KeysUnavailable => "keys_unavailable",
            Self::NotMounted => "guard_not_mounted",
        }
    }

    /// What the client's developer is told: the class of the fault, never what the token held.
    fn description(&self) -> &'static str {
        match self {
            Self::Missing => "An access token is required.",
            Self::InvalidRequest(what) => what,
            Self::InvalidToken(_) => {
                "The access token is malformed, expired, or not valid for this resource."
            }
            Self::InsufficientScope(_) => {
                "The access token does not have the scope that this request needs."
            }
            Self::InsufficientAuthorization(_) => "Owner clearance required",
            Self::KeysUnavailable => "The issuer's keys cannot be had just now.",
            Self::NotMounted => "",
        }
    }
}

/// What every challenge of this server says besides the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Where our metadata is ([RFC 9728 section 5.1](https://www.rfc-editor.org/rfc/rfc9728#section-5.1)); from the settings, never from `Host`.
    pub resource_metadata: String,
}

/// A refusal, ready to be answered.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Why.
    pub error: BearerError,
    challenge: Option<Arc<Challenge>>,
}

/// Left in a request's extensions when it is refused, so that log and metrics can say which check it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedBecause {
    /// Which check refused, see [`BearerError::cause`].
    pub cause: &'static str,
    /// The error code that the client was told, if any.
    pub code: Option<ErrorCode>,
}

impl RefusedBecause {
    /// What there is to say of this refusal; nothing in it comes from the token.
    pub fn of(error: &BearerError) -> Self {
        Self { cause: error.cause(), code: error.code() }
    }
}

impl Refusal {
    /// A refusal of a mounted guard.
    pub fn new(error: BearerError, challenge: &Arc<Challenge>) -> Self {
        Self { error, challenge: Some(Arc::clone(challenge)) }
    }

    /// The refusal of an app in which no guard is mounted: nobody gets in.
    pub(super) fn not_mounted() -> Self {
        Self { error: BearerError::NotMounted, challenge: None }
    }

    /// The value of `WWW-Authenticate`; none where no token could help.
    pub fn www_authenticate(&self) -> Option<String> {
        let challenge = self.challenge.as_ref()?;
        if self.error == BearerError::KeysUnavailable {
            return None;
        }
        let mut parameters = Vec::new();
        if let Some(code) = self.error.code() {
            parameters.push(("error", code.as_str()));
            parameters.push(("error_description", self.error.description()));
        }
        if let BearerError::InsufficientScope(scope) = self.error {
            parameters.push(("scope", scope));
        }
        parameters.push(("resource_metadata", challenge.resource_metadata.as_str()));
        let parameters: Vec<String> = parameters
            .into_iter()
            .map(|(name, value)| format!("{name}={}", quoted(value)))
            .collect();
        Some(format!("Bearer {}", parameters.join(", ")))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error.cause())
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.error.status()
    }

    fn error_response(&self) -> HttpResponse {
        let problem = match &self.error {
            BearerError::InsufficientAuthorization(problem) => problem.clone(),
            error => Problem::plain(error.status(), error.description()),
        };
        let problem = match self.error.code() {
            Some(code) => problem.with("error", code.as_str()),
            None => problem,
        };
        let mut response = problem.response();
        let headers = response.headers_mut();
        if let Some(value) =
            self.www_authenticate().and_then(|text| HeaderValue::try_from(text).ok())
        {
            headers.insert(WWW_AUTHENTICATE, value);
        }
        if self.error == BearerError::KeysUnavailable {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        }
        response
    }
}

/// A quoted-string (RFC 9110 section 5.6.4). What cannot stand in a header value is dropped, so that no text can end the header.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            _ => {}
        }
    }
    out.push('"');
    out
}

/// The one token of a request.
pub fn read_token(request: &HttpRequest) -> Result<&str, BearerError> {
    let query = request.query_string();
    if !query.is_empty() && has_access_token(query.as_bytes()) {
        // "Because of the security weaknesses associated with the URI method [...] it SHOULD NOT be used" (RFC 6750 section 2.3); OAuth
        // 2.1 drops it. Silence would let clients go on leaking tokens into logs, so they are told.
        return Err(BearerError::InvalidRequest(
            "An access token in the query is not accepted; send it in the Authorization header.",
        ));
    }
    let mut values = request.headers().get_all(AUTHORIZATION);
    let Some(value) = values.next() else {
        return Err(BearerError::Missing);
    };
    // "Clients MUST NOT use more than one method to transmit the token in each request" (RFC 6750 section 2).
    if values.next().is_some() {
        return Err(BearerError::InvalidRequest("More than one Authorization header was sent."));
    }
    parse_authorization(value.as_bytes())
}

/// Whether a form-encoded text has a parameter `access_token`, however its name is escaped.
pub fn has_access_token(form: &[u8]) -> bool {
    url::form_urlencoded::parse(form).any(|(name, _)| name == "access_token")
}

/// ```text
/// b64token    = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
/// credentials = "Bearer" 1*SP b64token
/// ```
/// The scheme's name is compared without case (RFC 9110 section 11.1). Another scheme is no bearer token at all.
fn parse_authorization(value: &[u8]) -> Result<&str, BearerError> {
    let malformed =
        BearerError::InvalidRequest("The Authorization header is not `Bearer` and one token.");
    let Some((scheme, rest)) = value.split_at_checked(6) else {
        return Err(BearerError::Missing);
    };
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(BearerError::Missing);
    }
    let token = match rest.first() {
        None => return Err(malformed),
        Some(b' ') => {
            let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
            rest.get(spaces..).unwrap_or_default()
        }
        Some(_) => return Err(BearerError::Missing),
    };
    let body = token.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let body = token.get(..body).unwrap_or_default();
    let allowed = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
    };
    // To its end even after a wrong byte: without a way out of the loop the compiler looks at many bytes at once.
    let is_allowed = body.iter().fold(true, |so_far, byte| so_far & allowed(byte));
    if body.is_empty() || !is_allowed {
        return Err(malformed);
    }
    std::str::from_utf8(token).map_err(|_| malformed)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    use super::*;

    /// `"Bearer" 1*SP b64token`, written from the RFC and not from the reader.
    fn by_the_grammar(value: &[u8]) -> Option<&str> {
        let text = std::str::from_utf8(value).ok()?;
        let (scheme, rest) = text.split_once(' ')?;
        let token = rest.trim_start_matches(' ');
        let letters = token.trim_end_matches('=');
        let right = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
        let is_token = !letters.is_empty() && letters.chars().all(right);
        (scheme.eq_ignore_ascii_case("bearer") && is_token).then_some(token)
    }

    /// Any bytes at all, and such as are right or nearly so.
    fn header_value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[Bb][Ee][Aa][Rr][Ee][Rr][ \t]{0,3}[ -~\t]{0,20}".prop_map(String::into_bytes),
            "[Bb]earer {1,3}[A-Za-z0-9._~+/-]{0,20}={0,3}[ =a]{0,2}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..20)
                .prop_map(|bytes| [&b"Bearer "[..], &bytes].concat()),
        ]
    }

    proptest! {
        #[test]
        fn any_header_is_read_by_its_grammar_and_none_panics(value in header_value()) {
            match parse_authorization(&value) {
                Ok(token) => prop_assert_eq!(Some(token), by_the_grammar(&value)),
                Err(error) => {
                    prop_assert_eq!(by_the_grammar(&value), None);
                    let is_refusal = matches!(error, BearerError::Missing | BearerError::InvalidRequest(_));
                    prop_assert!(is_refusal, "{:?}", error);
                }
            }
        }
    }

    fn refusal(error: BearerError) -> Refusal {
        let resource_metadata =
            "https://api.example/.well-known/oauth-protected-resource".to_owned();
        Refusal::new(error, &Arc::new(Challenge { resource_metadata }))
    }

    #[test]
    fn one_token_in_the_header_is_read() {
        assert_eq!(parse_authorization(b"Bearer a.b.c"), Ok("a.b.c"));
        assert_eq!(parse_authorization(b"bEaReR   a-b_c~+/=="), Ok("a-b_c~+/=="));
    }

    #[test]
    fn another_scheme_is_no_bearer_token() {
        for value in ["Basic YTpi", "DPoP a.b.c", "Bearertoken x", "", "Bear"] {
            assert_eq!(parse_authorization(value.as_bytes()), Err(BearerError::Missing), "{value}");
        }
    }

    #[test]
    fn more_than_one_credential_is_an_invalid_request() {
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a, Bearer b",
            "Bearer a=b",
            "Bearer =",
            "Bearer \"a\"",
            "Bearer \u{e4}",
        ] {
            assert!(
                matches!(
                    parse_authorization(value.as_bytes()),
                    Err(BearerError::InvalidRequest(_))
                ),
                "{value}"
            );
        }
        let twice = TestRequest::default()
            .append_header((AUTHORIZATION, "Bearer a"))
            .append_header((AUTHORIZATION, "Bearer b"))
            .to_http_request();
        assert!(matches!(read_token(&twice), Err(BearerError::InvalidRequest(_))));
        for query in ["/?access_token=a", "/?x=1&access%5Ftoken=a", "/?access_token"] {
            let request = TestRequest::with_uri(query)
                .append_header((AUTHORIZATION, "Bearer a"))
                .to_http_request();
            assert!(matches!(read_token(&request), Err(BearerError::InvalidRequest(_))), "{query}");
        }
    }

    #[test]
    fn a_request_without_a_token_gets_no_error_code() {
        assert_eq!(
            refusal(BearerError::Missing).www_authenticate().unwrap(),
            "Bearer resource_metadata=\"https://api.example/.well-known/oauth-protected-resource\""
        );
    }

    #[test]
    fn a_missing_scope_is_named() {
        let value =
            refusal(BearerError::InsufficientScope("documents:read")).www_authenticate().unwrap();
        assert!(value.starts_with("Bearer error=\"insufficient_scope\", "), "{value}");
        assert!(value.contains("scope=\"documents:read\""), "{value}");
    }

    #[test]
    fn missing_keys_are_503_without_a_challenge() {
        let response = refusal(BearerError::KeysUnavailable).error_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "5");
        assert!(response.headers().get(WWW_AUTHENTICATE).is_none());
    }

    #[test]
    fn no_text_can_leave_its_quotes() {
        assert_eq!(quoted("a\"b\\c\r\nX: y\u{e9}"), "\"a\\\"b\\\\cX: y\"");
    }
}
