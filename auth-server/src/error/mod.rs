//! From causes to answers: the only place that chooses a status code for a fault of OAuth.
//!
//! A cause says what happened and is logged once, here at the border; a code says to the client what class of fault it was. Two
//! exhaustive matches join them, so a new cause does not compile until somebody has decided what the client may learn.
#![deny(clippy::wildcard_enum_match_arm)]

mod authorize;
mod params;
mod token;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, PRAGMA};
use actix_web::{HttpResponse, HttpResponseBuilder};
use shared_types::ErrorCode;

pub use authorize::*;
pub use token::TokenError;

/// Seconds after which a client may try again when the store does not answer.
pub const RETRY_AFTER: i64 = 2;

/// The status of an error code ([RFC 6749 section 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)): "400 (Bad Request) status
/// code (unless specified otherwise)".
pub const fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidClient | ErrorCode::InvalidToken => StatusCode::UNAUTHORIZED,
        ErrorCode::InsufficientScope | ErrorCode::InsufficientAuthorization => {
            StatusCode::FORBIDDEN
        }
        ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidGrant
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
        | ErrorCode::InvalidScope
        | ErrorCode::InvalidTarget
        | ErrorCode::AccessDenied
        | ErrorCode::UnsupportedResponseType
        | ErrorCode::LoginRequired
        | ErrorCode::ConsentRequired
        | ErrorCode::InteractionRequired
        | ErrorCode::AccountSelectionRequired
        | ErrorCode::RequestNotSupported
        | ErrorCode::RequestUriNotSupported
        | ErrorCode::RegistrationNotSupported
        | ErrorCode::UnsupportedTokenType => StatusCode::BAD_REQUEST,
    }
}

/// The sentence beside a code. It is the same for every cause of the code, so it tells the class of a fault and nothing else.
pub const fn description(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidRequest => {
            "The request lacks a parameter, repeats one, has one in the wrong place, or is otherwise malformed."
        }
        ErrorCode::InvalidClient => {
            "The client could not be authenticated by its registered method."
        }
        ErrorCode::InvalidGrant => {
            "The code or token is unknown, expired, revoked or used up, was given to another client, or does not fit this request."
        }
        ErrorCode::UnauthorizedClient => "The client is not registered for this kind of request.",
        ErrorCode::UnsupportedGrantType => "The server does not offer this grant type.",
        ErrorCode::InvalidScope => {
            "The scope is malformed, unknown, or more than may be granted here."
        }
        ErrorCode::InvalidTarget => {
            "The resource is unknown, was not granted, or is not exactly one."
        }
        ErrorCode::AccessDenied => "The request was denied.",
        ErrorCode::UnsupportedResponseType => "The server does not offer this response type.",
        ErrorCode::ServerError => "The server met a fault of its own.",
        ErrorCode::TemporarilyUnavailable => "The server cannot answer just now. Try again later.",
        ErrorCode::LoginRequired => "Nobody is signed in, and the request forbids asking.",
        ErrorCode::ConsentRequired => "Consent is missing, and the request forbids asking.",
        ErrorCode::InteractionRequired => {
            "The person has to do something, and the request forbids asking."
        }
        ErrorCode::AccountSelectionRequired => {
            "An account has to be chosen, and the request forbids asking."
        }
        ErrorCode::RequestNotSupported => "The server does not take the parameter request.",
        ErrorCode::RequestUriNotSupported => "The server does not take the parameter request_uri.",
        ErrorCode::RegistrationNotSupported => {
            "The server does not take the parameter registration."
        }
        ErrorCode::InvalidToken => {
            "The token is expired, revoked, malformed or not for this endpoint."
        }
        ErrorCode::InsufficientScope => "The token does not allow this.",
        ErrorCode::InsufficientAuthorization => "The resource owner has not cleared this request.",
        ErrorCode::UnsupportedTokenType => "The server cannot revoke this kind of token.",
    }
}

/// The beginning of every answer that holds a token or says why there is none: "The authorization server MUST include the HTTP
/// "Cache-Control" response header field with a value of "no-store" [..] as well as the "Pragma" response header field with a value of
/// "no-cache"" ([RFC 6749 section 5.1](https://www.rfc-editor.org/rfc/rfc6749#section-5.1)).
pub fn no_store(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_keep_to_the_characters_that_rfc_6749_allows() {
        // error_description = %x20-21 / %x23-5B / %x5D-7E
        for code in ErrorCode::ALL {
            let text = description(*code);
            assert!(
                text.bytes()
                    .all(|byte| matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'),
                "{text}"
            );
        }
    }
}
