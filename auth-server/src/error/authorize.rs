//! The faults of the pages that people see: `/authorize`, `/login`, `/consent`, `/end_session`.
//!
//! What may go to the client travels as a redirect and is no fault here; see [`AuthorizeError`](crate::domain::authorization_request::AuthorizeError).
#![deny(clippy::wildcard_enum_match_arm)]

use actix_web::http::StatusCode;
use shared_types::ErrorCode;

use super::status;
use crate::domain::authorization_request::{RedirectFault, ShowFault};
use crate::domain::password::HasherFault;
use crate::params::ParamsFault;
use crate::store::StoreError;

/// Why a page shows a fault instead of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// An authorization request that may not be answered by a redirect.
    #[error("{0}")]
    Request(#[from] ShowFault),
    /// The form or the query cannot be read.
    #[error("{0}")]
    Unreadable(#[from] ParamsFault),
    /// The sealed request in the address is older than its time, or is not one of ours.
    #[error("the sealed request has expired or is not ours")]
    Expired,
    /// A form did not come from our own page in this browser.
    #[error("the form was not sent from our page: {0}")]
    Forged(&'static str),
    /// The store does not answer, or not as it should.
    #[error("the store does not answer: {0}")]
    Store(StoreError),
    /// Too many passwords wait to be checked.
    #[error("passwords: {0}")]
    Hasher(#[from] HasherFault),
    /// A page or a message of ours could not be written.
    #[error("a page could not be written")]
    Render,
}

impl From<StoreError> for PageFault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<database::DatabaseError> for PageFault {
    fn from(error: database::DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

impl PageFault {
    /// The code that the page names.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Request(fault) => fault.code(),
            Self::Unreadable(_) | Self::Expired | Self::Forged(_) => ErrorCode::InvalidRequest,
            Self::Store(StoreError::Unavailable(_)) | Self::Hasher(HasherFault::Busy) => {
                ErrorCode::TemporarilyUnavailable
            }
            Self::Store(StoreError::Conflict(_) | StoreError::Corrupt(_))
            | Self::Hasher(HasherFault::Failed)
            | Self::Render => ErrorCode::ServerError,
        }
    }

    /// The status of the page.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Forged(_) => StatusCode::FORBIDDEN,
            Self::Unreadable(fault) => fault.status(),
            Self::Request(_) | Self::Expired | Self::Store(_) | Self::Hasher(_) | Self::Render => {
                status(self.code())
            }
        }
    }

    /// Whether the rest of the request's body is not worth waiting for.
    pub const fn must_close(&self) -> bool {
        matches!(self, Self::Unreadable(fault) if fault.must_close())
    }

    /// What the client is told where no page may be shown (`prompt=none`) and its redirect URI is proven. `None`: the fault is the person's
    /// or the request's, and no redirect is owed.
    pub const fn for_the_client(&self) -> Option<RedirectFault> {
        match self {
            Self::Store(StoreError::Unavailable(_)) | Self::Hasher(HasherFault::Busy) => {
                Some(RedirectFault::Unavailable)
            }
            Self::Store(StoreError::Conflict(_) | StoreError::Corrupt(_))
            | Self::Hasher(HasherFault::Failed)
            | Self::Render => Some(RedirectFault::Failed),
            Self::Request(_) | Self::Unreadable(_) | Self::Expired | Self::Forged(_) => None,
        }
    }

    /// What a person can understand of it, and do.
    pub fn explanation(&self) -> String {
        match self {
            Self::Request(fault) => fault.to_string(),
            Self::Unreadable(ParamsFault::TooLarge) => "What was sent is too large.".into(),
            Self::Unreadable(ParamsFault::TooSlow | ParamsFault::Incomplete) => {
                "What was sent did not arrive, or not in time. Please try again.".into()
            }
            Self::Unreadable(
                ParamsFault::Duplicate
                | ParamsFault::Encoding
                | ParamsFault::TooMany
                | ParamsFault::ContentType
                | ParamsFault::SeveralContentTypes
                | ParamsFault::ContentEncoding,
            ) => ShowFault::Unreadable.to_string(),
            Self::Expired => "This sign-in took too long, or its address is incomplete. Go back to the application and start again.".into(),
            Self::Forged(_) => "This form did not come from our own page, or the page was too old. Nothing was changed. Go back and try again; if that does not help, allow cookies for this site.".into(),
            Self::Store(StoreError::Unavailable(_)) | Self::Hasher(HasherFault::Busy) => {
                "We cannot answer just now. Please try again in a moment.".into()
            }
            Self::Store(StoreError::Conflict(_) | StoreError::Corrupt(_)) | Self::Hasher(HasherFault::Failed) | Self::Render => {
                "Something went wrong on our side. It has been written down; please try again later.".into()
            }
        }
    }
}

/// What the sign-in page answers when it has to be shown again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInRefusal {
    /// A field was left empty.
    Incomplete,
    /// No such account, a wrong password, or an account that is disabled: nobody learns which.
    Mismatch,
    /// Too many failures; seconds until the next attempt.
    Throttled(i64),
}

impl SignInRefusal {
    /// The status of the page: "If authentication credentials were provided in the request, the server considers them insufficient"
    /// ([RFC 9110 section 15.5.4](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.4)), which also keeps browsers from offering to
    /// save a wrong password. 401 would owe a challenge, and a form is none.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Incomplete => StatusCode::BAD_REQUEST,
            Self::Mismatch => StatusCode::FORBIDDEN,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}
