//! What goes wrong in the API behind the guard, and with which status it is said. Faults of tokens are said by `guard/bearer.rs`.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{HttpResponse, ResponseError};

use crate::guard::{Problem, Refusal};
use crate::store::StoreError;

/// Why a request to the API is not answered as it was meant.
#[derive(Debug)]
pub enum ApiError {
    /// The guard refuses after all.
    Refused(Refusal),
    /// The request is malformed; the text says how, and never repeats what was sent.
    BadRequest(&'static str),
    /// There is nothing of that name, or it is another owner's: both look the same.
    NotFound,
    /// The method is none of this path's.
    MethodNotAllowed(String),
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body or the text in it is too long.
    TooLarge(&'static str),
    /// The body is not JSON, or is compressed.
    UnsupportedMediaType,
    /// The store cannot answer now.
    Unavailable,
    /// A fault of ours. The log has the cause.
    Internal,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Refused(refusal) => refusal.status_code(),
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::Internal => "",
            Self::BadRequest(detail) | Self::TooLarge(detail) => detail,
            Self::NotFound => "There is nothing here, or nothing of yours.",
            Self::MethodNotAllowed(_) => "The header Allow lists the methods of this path.",
            Self::BodyTimeout => "The body did not arrive in time.",
            Self::UnsupportedMediaType => {
                "The body must be application/json without a content encoding."
            }
            Self::Unavailable => "The store cannot answer just now.",
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                log::warn!(error:%; "the store is unavailable");
                Self::Unavailable
            }
            StoreError::Corrupt(_) => {
                log::error!(error:%; "the store failed");
                Self::Internal
            }
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status(), self.detail())
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        if let Self::Refused(refusal) = self {
            return refusal.error_response();
        }
        let mut response = Problem::plain(self.status(), self.detail()).response();
        match self {
            Self::MethodNotAllowed(allowed) => {
                if let Ok(value) = HeaderValue::try_from(allowed) {
                    response.headers_mut().insert(ALLOW, value);
                }
            }
            Self::Unavailable => {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // What is left of the body would have to be read before the next request.
            Self::BodyTimeout | Self::TooLarge(_) => {
                response.head_mut().set_connection_type(ConnectionType::Close);
            }
            Self::Refused(_)
            | Self::BadRequest(_)
            | Self::NotFound
            | Self::UnsupportedMediaType
            | Self::Internal => {}
        }
        response
    }
}
