//! Why an authorization request is refused: the cause for the log and the developer, and the code for the wire.

use std::sync::Arc;

use shared_types::ErrorCode;

use super::ReplyTo;
use crate::domain::client::Client;

/// A refused request, and where the refusal may go.
#[derive(Clone, Debug)]
pub enum AuthorizeError {
    /// To the person alone: nothing proves where else.
    Show(ShowFault),
    /// To the client.
    Redirect {
        /// The registered client that it is.
        client: Arc<Client>,
        /// Where.
        reply_to: ReplyTo,
        /// Why.
        fault: RedirectFault,
    },
}

/// A fault that must stay a page of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShowFault {
    /// The parameters cannot be read, or one is repeated.
    #[error("The request cannot be read, or one of its parameters is repeated.")]
    Unreadable,
    /// There is no `client_id`.
    #[error("The request does not say which application it comes from (client_id).")]
    ClientMissing,
    /// No enabled client has that identifier.
    #[error("The application that sent you here is not registered (client_id).")]
    ClientUnknown,
    /// It has to be sent, and was not.
    #[error("The request does not say where to go back to (redirect_uri).")]
    RedirectUriMissing,
    /// It is not one of the client's.
    #[error(
        "The address to go back to is not one that the application has registered (redirect_uri)."
    )]
    RedirectUriUnknown,
}

impl ShowFault {
    /// The code that the page names.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Unreadable
            | Self::ClientMissing
            | Self::ClientUnknown
            | Self::RedirectUriMissing
            | Self::RedirectUriUnknown => ErrorCode::InvalidRequest,
        }
    }
}

/// A fault that the client is told. The texts never repeat a value that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectFault {
    /// `request` was sent.
    #[error("request objects are not supported")]
    RequestObject,
    /// `request_uri` was sent.
    #[error("request_uri is not supported")]
    RequestUri,
    /// `registration` was sent.
    #[error("registration is not supported")]
    Registration,
    /// `response_type` is missing.
    #[error("response_type is missing")]
    ResponseTypeMissing,
    /// It is something other than `code`.
    #[error("only response_type=code is supported")]
    ResponseType,
    /// The client is not registered for `authorization_code`.
    #[error("the client is not registered for the grant type authorization_code")]
    GrantType,
    /// Neither `query` nor `form_post`.
    #[error("only response_mode=query and form_post are supported")]
    ResponseMode,
    /// A value is longer than its limit.
    #[error("a parameter is too long")]
    TooLong,
    /// PKCE is missing.
    #[error("PKCE is required: code_challenge with code_challenge_method=S256")]
    ChallengeMissing,
    /// `plain`, which is also what an absent method means.
    #[error("only code_challenge_method=S256 is supported")]
    ChallengeMethod,
    /// It is not the form of a SHA-256 digest.
    #[error("code_challenge is not the base64url form of a SHA-256 digest")]
    ChallengeMalformed,
    /// A resource is unknown.
    #[error("a resource is unknown")]
    Resource,
    /// There are too many of them.
    #[error("there are too many resources")]
    TooManyResources,
    /// Nothing of the scope belongs to the resources.
    #[error("nothing of the scope belongs to a resource that was named")]
    ResourceWithoutScope,
    /// The scope does not follow the grammar.
    #[error("scope is malformed")]
    ScopeMalformed,
    /// Nothing that was asked for may be given to this client.
    #[error("no scope that was asked for is open to this client")]
    ScopeEmpty,
    /// A value of `prompt` is unknown, or `none` has company.
    #[error("prompt has an unknown value, or none beside another one")]
    Prompt,
    /// `max_age` is not a number of seconds.
    #[error("max_age is not a number of seconds")]
    MaxAge,
    /// `prompt=none`, and nobody suitable is signed in.
    #[error("the person has to sign in")]
    LoginRequired,
    /// `prompt=none`, and consent is missing.
    #[error("the person has to consent")]
    ConsentRequired,
    /// The person said no.
    #[error("the person declined")]
    Denied,
    /// The store is down.
    #[error("the server cannot answer just now")]
    Unavailable,
    /// A fault of ours.
    #[error("the server met a fault of its own")]
    Failed,
}

impl RedirectFault {
    /// The code on the wire.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::RequestObject => ErrorCode::RequestNotSupported,
            Self::RequestUri => ErrorCode::RequestUriNotSupported,
            Self::Registration => ErrorCode::RegistrationNotSupported,
            Self::ResponseType => ErrorCode::UnsupportedResponseType,
            Self::GrantType => ErrorCode::UnauthorizedClient,
            Self::ResponseTypeMissing
            | Self::ResponseMode
            | Self::TooLong
            | Self::ChallengeMissing
            | Self::ChallengeMethod
            | Self::ChallengeMalformed
            | Self::Prompt
            | Self::MaxAge => ErrorCode::InvalidRequest,
            Self::Resource | Self::TooManyResources | Self::ResourceWithoutScope => {
                ErrorCode::InvalidTarget
            }
            Self::ScopeMalformed | Self::ScopeEmpty => ErrorCode::InvalidScope,
            Self::LoginRequired => ErrorCode::LoginRequired,
            Self::ConsentRequired => ErrorCode::ConsentRequired,
            Self::Denied => ErrorCode::AccessDenied,
            Self::Unavailable => ErrorCode::TemporarilyUnavailable,
            Self::Failed => ErrorCode::ServerError,
        }
    }
}
