//! The faults of the endpoints that clients call directly: `/token`, `/introspect`, `/revoke`.
#![deny(clippy::wildcard_enum_match_arm)]

use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER as RETRY_AFTER_HEADER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use shared_types::{ErrorBody, ErrorCode};

use super::{RETRY_AFTER, description, no_store, status};
use crate::domain::audience::TargetFault;
use crate::keys::ring::SignFault;
use crate::metrics::Metrics;
use crate::params::ParamsFault;
use crate::store::StoreError;

/// Why a request of a client is refused: the cause, for the log. The client learns its [`code`](Self::code).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The body or query cannot be read.
    #[error("{0}")]
    Params(#[from] ParamsFault),
    /// There are parameters in the query of a POST.
    #[error("there are parameters in the query")]
    ParametersInQuery,
    /// A required parameter is absent.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// More than one way of client authentication, or two identifiers that disagree.
    #[error("the client shows more than one identity or method")]
    SeveralAuthentications,
    /// Client authentication failed. `basic`: a header `Authorization` was tried.
    #[error("client authentication failed: {why}")]
    ClientRefused {
        /// For the log.
        why: &'static str,
        /// Whether the answer owes a challenge.
        basic: bool,
    },
    /// Too many failed authentications; seconds until the next may be tried.
    #[error("too many failed client authentications")]
    Throttled(i64),
    /// The client may not use this grant type.
    #[error("the client is not registered for this grant type")]
    GrantNotAllowed,
    /// There is no such grant type.
    #[error("the grant type is unknown")]
    GrantUnknown,
    /// Nothing is known of this code, or its secret is wrong.
    #[error("the code is unknown")]
    CodeUnknown,
    /// The code was given to another client.
    #[error("the code is another client's")]
    CodeOfAnotherClient,
    /// `redirect_uri` is not the one that the code was sent to.
    #[error("redirect_uri is not the one that the code was sent to")]
    RedirectMismatch,
    /// The code was bound by PKCE, and there is no verifier.
    #[error("code_verifier is missing")]
    VerifierMissing,
    /// The verifier does not fit the challenge.
    #[error("code_verifier does not fit the challenge")]
    VerifierMismatch,
    /// There is a verifier, but the authorization request had no challenge: somebody removed it on the way.
    #[error("code_verifier without a challenge: PKCE downgrade")]
    VerifierUnexpected,
    /// The code was redeemed before. What it gave has been revoked.
    #[error("the code was redeemed before")]
    CodeReplayed,
    /// The code was not redeemed in time.
    #[error("the code has expired")]
    CodeExpired,
    /// Nothing is known of this refresh token, or its secret is wrong.
    #[error("the refresh token is unknown")]
    RefreshUnknown,
    /// The refresh token was given to another client.
    #[error("the refresh token is another client's")]
    RefreshOfAnotherClient,
    /// The refresh token was not used for too long.
    #[error("the refresh token was idle for too long")]
    RefreshIdle,
    /// The refresh token was used before. The family has ended.
    #[error("the refresh token was used before")]
    RefreshReused,
    /// The grant has ended or expired, or its client, account, consent or session is not what it was.
    #[error("the grant has ended")]
    GrantEnded,
    /// The token is another client's, which alone may revoke it.
    #[error("the token is another client's")]
    TokenOfAnotherClient,
    /// The scope is malformed or more than may be granted.
    #[error("the scope is malformed or too much")]
    ScopeRefused,
    /// No token can be made for the resource that was asked for.
    #[error("{0}")]
    Target(#[from] TargetFault),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// There is no key to sign with.
    #[error("{0}")]
    Sign(#[from] SignFault),
}

impl TokenError {
    /// Counts the refusal; to be put before the answer.
    #[must_use]
    pub fn counted(self, metrics: &Metrics) -> Self {
        metrics.count_refused(self.code().as_str());
        self
    }

    /// What the client learns.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Params(_)
            | Self::ParametersInQuery
            | Self::Missing(_)
            | Self::SeveralAuthentications => ErrorCode::InvalidRequest,
            Self::ClientRefused { .. } => ErrorCode::InvalidClient,
            Self::GrantNotAllowed => ErrorCode::UnauthorizedClient,
            Self::GrantUnknown => ErrorCode::UnsupportedGrantType,
            Self::CodeUnknown
            | Self::CodeOfAnotherClient
            | Self::RedirectMismatch
            | Self::VerifierMissing
            | Self::VerifierMismatch
            | Self::VerifierUnexpected
            | Self::CodeReplayed
            | Self::CodeExpired
            | Self::RefreshUnknown
            | Self::RefreshOfAnotherClient
            | Self::RefreshIdle
            | Self::RefreshReused
            | Self::GrantEnded
            | Self::TokenOfAnotherClient => ErrorCode::InvalidGrant,
            Self::ScopeRefused | Self::Target(TargetFault::NothingGranted) => {
                ErrorCode::InvalidScope
            }
            Self::Target(
                TargetFault::Unknown
                | TargetFault::NotGranted
                | TargetFault::Several
                | TargetFault::Unnamed,
            ) => ErrorCode::InvalidTarget,
            Self::Throttled(_)
            | Self::Store(StoreError::Unavailable(_))
            | Self::Sign(SignFault::NoKey(_)) => ErrorCode::TemporarilyUnavailable,
            Self::Store(StoreError::Conflict(_) | StoreError::Corrupt(_))
            | Self::Sign(SignFault::Failed) => ErrorCode::ServerError,
        }
    }

    /// The status: the code's, except where HTTP itself knows a better one.
    const fn http_status(&self) -> StatusCode {
        if let Self::Params(fault) = self {
            fault.status()
        } else if matches!(self, Self::Throttled(_)) {
            StatusCode::TOO_MANY_REQUESTS
        } else {
            status(self.code())
        }
    }

    /// How loud the cause is: our own faults are the operator's business, what clients do wrong is daily life.
    const fn level(&self) -> log::Level {
        if matches!(self.code(), ErrorCode::ServerError) || matches!(self, Self::Sign(_)) {
            log::Level::Error
        } else if matches!(self, Self::Store(_)) {
            log::Level::Warn
        } else {
            log::Level::Info
        }
    }

    /// Seconds after which the client may try again, where that helps.
    fn retry_after(&self) -> Option<i64> {
        if let Self::Throttled(seconds) = self {
            return Some(*seconds);
        }
        (self.code() == ErrorCode::TemporarilyUnavailable).then_some(RETRY_AFTER)
    }
}

impl ResponseError for TokenError {
    fn status_code(&self) -> StatusCode {
        self.http_status()
    }

    /// The answer, and the one log line of its cause.
    fn error_response(&self) -> HttpResponse {
        let code = self.code();
        log::log!(self.level(), error = code.as_str(), cause:% = self; "request refused");
        let mut response = no_store(self.http_status());
        if matches!(self, Self::ClientRefused { basic: true, .. }) {
            // "If the client attempted to authenticate via the "Authorization" request header field, the authorization server MUST respond
            // with an HTTP 401 (Unauthorized) status code and include the "WWW-Authenticate" response header field" (RFC 6749 section 5.2)
            response.insert_header((WWW_AUTHENTICATE, r#"Basic realm="token", charset="UTF-8""#));
        }
        if let Some(seconds) = self.retry_after() {
            response.insert_header((RETRY_AFTER_HEADER, seconds.to_string()));
        }
        if matches!(self, Self::Params(fault) if fault.must_close()) {
            response.force_close();
        }
        response
            .json(ErrorBody { error: code, error_description: Some(description(code).to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cause: &TokenError, name: &str) -> Option<String> {
        let response = cause.error_response();
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_client_learns_the_class_of_a_fault_and_the_status_that_goes_with_it() {
        let refused = |basic| TokenError::ClientRefused { why: "", basic };
        for (cause, error, status) in [
            (TokenError::Missing("code"), ErrorCode::InvalidRequest, 400),
            (refused(false), ErrorCode::InvalidClient, 401),
            (TokenError::GrantUnknown, ErrorCode::UnsupportedGrantType, 400),
            (TokenError::GrantNotAllowed, ErrorCode::UnauthorizedClient, 400),
            (TokenError::CodeReplayed, ErrorCode::InvalidGrant, 400),
            (TokenError::ScopeRefused, ErrorCode::InvalidScope, 400),
            (TargetFault::NothingGranted.into(), ErrorCode::InvalidScope, 400),
            (TargetFault::Unknown.into(), ErrorCode::InvalidTarget, 400),
            (TokenError::Throttled(7), ErrorCode::TemporarilyUnavailable, 429),
            (StoreError::Unavailable(String::new()).into(), ErrorCode::TemporarilyUnavailable, 503),
            (StoreError::Corrupt(String::new()).into(), ErrorCode::ServerError, 500),
            (ParamsFault::TooLarge.into(), ErrorCode::InvalidRequest, 413),
            (ParamsFault::TooSlow.into(), ErrorCode::InvalidRequest, 408),
            (ParamsFault::SeveralContentTypes.into(), ErrorCode::InvalidRequest, 400),
            (ParamsFault::ContentEncoding.into(), ErrorCode::InvalidRequest, 415),
        ] {
            assert_eq!((cause.code(), cause.status_code().as_u16()), (error, status), "{cause:?}");
        }
    }

    #[test]
    fn a_challenge_is_owed_only_where_the_header_was_tried() {
        let refused = |basic| TokenError::ClientRefused { why: "", basic };
        assert!(header(&refused(true), "www-authenticate").unwrap().starts_with("Basic "));
        assert_eq!(header(&refused(false), "www-authenticate"), None);
    }

    #[test]
    fn who_may_try_again_is_told_when() {
        assert_eq!(header(&TokenError::Throttled(7), "retry-after").unwrap(), "7");
        let away = TokenError::Store(StoreError::Unavailable(String::new()));
        assert_eq!(header(&away, "retry-after").unwrap(), RETRY_AFTER.to_string());
        assert_eq!(header(&TokenError::CodeUnknown, "retry-after"), None);
    }

    #[test]
    fn no_refusal_may_be_kept_by_a_cache() {
        assert_eq!(header(&TokenError::CodeUnknown, "cache-control").unwrap(), "no-store");
        assert_eq!(header(&TokenError::CodeUnknown, "pragma").unwrap(), "no-cache");
    }
}
