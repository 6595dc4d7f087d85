//! What HTTP says of a form or query that cannot be read: the same at every endpoint, whatever the body of the answer is.
#![deny(clippy::wildcard_enum_match_arm)]

use actix_web::http::StatusCode;

use crate::params::ParamsFault;

impl ParamsFault {
    /// The status: 400, except where HTTP itself knows a better one.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Duplicate
            | Self::Encoding
            | Self::TooMany
            | Self::ContentType
            | Self::SeveralContentTypes
            | Self::Incomplete => StatusCode::BAD_REQUEST,
        }
    }

    /// Whether the rest of the body is not worth waiting for: the connection is closed behind the answer.
    pub const fn must_close(self) -> bool {
        matches!(self, Self::TooSlow | Self::TooLarge | Self::Incomplete)
    }
}
