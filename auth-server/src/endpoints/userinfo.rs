//! `GET` and `POST /userinfo`: what a person's granted scopes let out of their claims
//! ([OpenID Connect Core 5.3](https://openid.net/specs/openid-connect-core-1_0.html#UserInfo), errors by
//! [RFC 6750 section 3](https://www.rfc-editor.org/rfc/rfc6750#section-3)). It answers in plain JSON only, never signed or encrypted.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER as RETRY_AFTER_HEADER, WWW_AUTHENTICATE,
};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use serde_json::{Map, Value};
use shared_types::{ErrorBody, ErrorCode, UnixSeconds};

use crate::app::App;
use crate::domain::account::{Account, released_claims};
use crate::domain::secret::PlainSecret;
use crate::error::{RETRY_AFTER, description, no_store, status};
use crate::grants::issued::{self, Origin};
use crate::metrics::Metrics;
use crate::params::{self, ParamsFault};
use crate::store::{StoreError, accounts};
use crate::tokens::access_token::AccessTokenFault;
use crate::tokens::verified::VerifiedToken;

/// Where it is.
pub const PATH: &str = "/userinfo";

/// The scope token that makes an access token good here.
const OPENID: &str = "openid";

/// The protection space of its challenges (RFC 9110 section 11.5).
const REALM: &str = "userinfo";

/// The token stands in the header.
pub async fn get(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse, UserinfoError> {
    let told = async { answer(&app, &bearer(&request, None)?).await };
    told.await.map_err(|cause| cause.counted(&app.metrics))
}

/// The token stands in the header or in the form.
pub async fn post(
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, UserinfoError> {
    let told = async {
        let form = if request.headers().contains_key(CONTENT_TYPE) {
            Some(params::read_form(&request, payload.into_inner()).await?)
        } else {
            None
        };
        let in_form = form.as_ref().and_then(|form| form.get("access_token"));
        answer(&app, &bearer(&request, in_form)?).await
    };
    told.await.map_err(|cause| cause.counted(&app.metrics))
}

/// Why nothing is told: the cause, for the log. The client learns its [`code`](Self::code).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserinfoError {
    /// There is no token at all.
    #[error("there is no access token")]
    NoToken,
    /// There is more than one token, or one in a wrong place.
    #[error("there are several access tokens, or one in the query")]
    Placement,
    /// The header says Bearer, and what follows is no token.
    #[error("the header Authorization is not `Bearer` and one token")]
    Malformed,
    /// The form cannot be read.
    #[error("{0}")]
    Form(#[from] ParamsFault),
    /// It is not a live token of ours.
    #[error("{0}")]
    Token(#[from] AccessTokenFault),
    /// It is for APIs only.
    #[error("the token is not for userinfo")]
    Audience,
    /// It is bound to a key, which a bearer does not prove.
    #[error("the token is bound to a key")]
    Bound,
    /// It was revoked, or its grant, client, account, consent or session has ended.
    #[error("the token was revoked or its grant has ended")]
    Revoked,
    /// It lacks the scope `openid`.
    #[error("the token lacks the scope openid")]
    Scope,
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// The one token of the request. A scheme other than Bearer is no token of ours.
fn bearer(request: &HttpRequest, in_form: Option<&str>) -> Result<PlainSecret, UserinfoError> {
    // "Because of the security weaknesses associated with the URI method [..] it SHOULD NOT be used" (RFC 6750 section 2.3); OAuth 2.1
    // dropped it. A client that uses it should learn so at once, since the token is already in somebody's log.
    let mut in_query = url::form_urlencoded::parse(request.query_string().as_bytes());
    if in_query.any(|(name, _)| name == "access_token") {
        return Err(UserinfoError::Placement);
    }
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let in_header = match (headers.next(), headers.next()) {
        (None, _) => None,
        (Some(one), None) => bearer_token(one.as_bytes())?,
        (Some(_), Some(_)) => return Err(UserinfoError::Placement),
    };
    // "Clients MUST NOT use more than one method to transmit the token in each request" (RFC 6750 section 2)
    match (in_header, in_form) {
        (None, None) => Err(UserinfoError::NoToken),
        (Some(token), None) | (None, Some(token)) => Ok(PlainSecret::new(token)),
        (Some(_), Some(_)) => Err(UserinfoError::Placement),
    }
}

/// The token of `credentials = "Bearer" 1*SP b64token` ([RFC 6750 section 2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1));
/// `None` for another scheme, and for a scheme without anything behind it.
fn bearer_token(header: &[u8]) -> Result<Option<&str>, UserinfoError> {
    let Some((scheme, rest)) = header.split_at_checked(6) else { return Ok(None) };
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let token = rest.get(spaces..).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(b"bearer") || spaces == 0 || token.is_empty() {
        return Ok(None);
    }
    let body = token.iter().position(|byte| *byte == b'=').unwrap_or(token.len());
    let (body, padding) = token.split_at(body);
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    let is_token =
        !body.is_empty() && body.iter().all(allowed) && padding.iter().all(|byte| *byte == b'=');
    match std::str::from_utf8(token) {
        Ok(token) if is_token => Ok(Some(token)),
        _ => Err(UserinfoError::Malformed),
    }
}

async fn answer(app: &App, token: &PlainSecret) -> Result<HttpResponse, UserinfoError> {
    let now = app.clock.now();
    // The picture is asked for first: with stale keys a revoked one could still prove a signature.
    let registry = app.registry().await?;
    let token = app.verified.verify(app.proof(), token.expose(), now)?;
    let claims = &token.claims;
    if !claims.aud.contains(app.settings.issuer.as_str()) {
        return Err(UserinfoError::Audience);
    }
    if claims.cnf.is_some() {
        return Err(UserinfoError::Bound);
    }
    if registry.client(&claims.client_id).is_none() {
        return Err(UserinfoError::Revoked);
    }
    let account = person_of(app, Arc::clone(&token), now).await?;
    if !claims.scope.contains(OPENID) {
        return Err(UserinfoError::Scope);
    }
    let mut body = Map::new();
    // "The sub (subject) Claim MUST always be returned in the UserInfo Response." (OpenID Connect Core 5.3.2)
    body.insert("sub".to_owned(), Value::from(account.subject.as_str()));
    body.extend(released_claims(&account.claims, &claims.scope));
    Ok(no_store(StatusCode::OK).json(body))
}

/// The person whom the token is about, if it was not revoked and its grant lives. One read, so all of it was true at one moment.
async fn person_of(
    app: &App,
    token: Arc<VerifiedToken>,
    now: UnixSeconds,
) -> Result<Account, UserinfoError> {
    let found: Option<Account> = app
        .database
        .read(move |sql| match issued::origin(sql, &token, now)? {
            Some(Origin::Person(account)) => accounts::find(sql, account),
            // A client's own token is about nobody.
            Some(Origin::Client(_)) | None => Ok(None),
        })
        .await
        .map_err(|error: StoreError| error)?;
    found.filter(|account| account.enabled).ok_or(UserinfoError::Revoked)
}

impl UserinfoError {
    /// Counts the refusal; to be put before the answer. To come without a token is none: it is how a client asks for the way.
    fn counted(self, metrics: &Metrics) -> Self {
        if let Some(code) = self.code() {
            metrics.count_refused(code.as_str());
        }
        self
    }

    /// What the client learns; nothing when there was no token.
    fn code(&self) -> Option<ErrorCode> {
        match self {
            // "If the request lacks any authentication information [..], the resource server SHOULD NOT include an error code"
            // (RFC 6750 section 3.1)
            Self::NoToken => None,
            Self::Placement | Self::Malformed | Self::Form(_) => Some(ErrorCode::InvalidRequest),
            Self::Token(_) | Self::Audience | Self::Bound | Self::Revoked => {
                Some(ErrorCode::InvalidToken)
            }
            Self::Scope => Some(ErrorCode::InsufficientScope),
            Self::Store(StoreError::Unavailable(_)) => Some(ErrorCode::TemporarilyUnavailable),
            Self::Store(StoreError::Conflict(_) | StoreError::Corrupt(_)) => {
                Some(ErrorCode::ServerError)
            }
        }
    }

    /// The challenge: "The resource server MUST include the HTTP "WWW-Authenticate" response header field", and its scheme "MUST be
    /// followed by one or more auth-param values" (RFC 6750 section 3): the realm always is one.
    fn challenge(&self) -> Option<String> {
        let bare = format!("Bearer realm=\"{REALM}\"");
        let Some(code) = self.code() else {
            return Some(bare);
        };
        let scope = match code {
            ErrorCode::InsufficientScope => format!(", scope=\"{OPENID}\""),
            ErrorCode::InvalidRequest | ErrorCode::InvalidToken => String::new(),
            _ => return None,
        };
        let description = description(code);
        Some(format!("{bare}, error=\"{code}\", error_description=\"{description}\"{scope}"))
    }
}

impl ResponseError for UserinfoError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Form(fault) => fault.status(),
            _ => status(self.code().unwrap_or(ErrorCode::InvalidToken)),
        }
    }

    /// The answer, and the one log line of its cause.
    fn error_response(&self) -> HttpResponse {
        let level = match self {
            Self::Store(StoreError::Unavailable(_)) => log::Level::Warn,
            Self::Store(_) => log::Level::Error,
            _ => log::Level::Info,
        };
        log::log!(level, cause:% = self; "userinfo refused");
        let mut response = no_store(self.status_code());
        if let Some(challenge) = self.challenge() {
            response.insert_header((WWW_AUTHENTICATE, challenge));
        }
        if self.code() == Some(ErrorCode::TemporarilyUnavailable) {
            response.insert_header((RETRY_AFTER_HEADER, RETRY_AFTER.to_string()));
        }
        if matches!(self, Self::Form(fault) if fault.must_close()) {
            response.force_close();
        }
        match self.code() {
            Some(code) => response.json(ErrorBody {
                error: code,
                error_description: Some(description(code).to_owned()),
            }),
            None => response.finish(),
        }
    }
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
            match bearer_token(&value) {
                Ok(token) => prop_assert_eq!(token, by_the_grammar(&value)),
                Err(error) => {
                    prop_assert_eq!(by_the_grammar(&value), None);
                    prop_assert_eq!(error, UserinfoError::Malformed);
                }
            }
        }
    }

    fn token_of(request: TestRequest, in_form: Option<&str>) -> Result<String, UserinfoError> {
        bearer(&request.to_http_request(), in_form).map(|token| token.expose().to_owned())
    }

    fn with_header(value: &str) -> TestRequest {
        TestRequest::get().insert_header((AUTHORIZATION, value))
    }

    #[test]
    fn the_token_stands_in_the_header_or_in_the_form() {
        assert_eq!(token_of(with_header("Bearer abc"), None), Ok("abc".into()));
        assert_eq!(token_of(with_header("bEARER abc"), None), Ok("abc".into()));
        assert_eq!(token_of(TestRequest::get(), Some("abc")), Ok("abc".into()));
    }

    #[test]
    fn two_tokens_are_one_too_many() {
        assert_eq!(token_of(with_header("Bearer abc"), Some("abc")), Err(UserinfoError::Placement));
        let twice = with_header("Bearer abc").append_header((AUTHORIZATION, "Bearer abc"));
        assert_eq!(token_of(twice, None), Err(UserinfoError::Placement));
    }

    #[test]
    fn a_token_in_the_query_is_refused_aloud() {
        for query in ["x=1&access_token=abc", "access%5Ftoken=abc", "access_token"] {
            let request = TestRequest::get().uri(&format!("/userinfo?{query}"));
            assert_eq!(token_of(request, None), Err(UserinfoError::Placement), "{query}");
        }
    }

    #[test]
    fn what_is_no_token_behind_the_scheme_is_an_invalid_request() {
        for value in ["Bearer a b", "Bearer a, Bearer b", "Bearer =", "Bearer \"a\"", "Bearer \ta"]
        {
            assert_eq!(
                token_of(with_header(value), None),
                Err(UserinfoError::Malformed),
                "{value}"
            );
        }
        assert_eq!(UserinfoError::Malformed.status_code(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn no_token_is_answered_by_a_challenge_without_an_error() {
        for request in [
            TestRequest::get(),
            with_header("Bearer"),
            with_header("Bearer "),
            with_header("Basic abc"),
        ] {
            assert_eq!(token_of(request, None), Err(UserinfoError::NoToken));
        }
        assert_eq!(UserinfoError::NoToken.challenge().unwrap(), "Bearer realm=\"userinfo\"");
        assert_eq!(UserinfoError::NoToken.status_code(), StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn a_missing_scope_is_named() {
        let error = UserinfoError::Scope;
        assert_eq!(error.status_code(), StatusCode::FORBIDDEN);
        let challenge = error.challenge().unwrap();
        assert!(challenge.contains(", error=\"insufficient_scope\""), "{challenge}");
        assert!(challenge.ends_with(", scope=\"openid\""), "{challenge}");
    }
}
