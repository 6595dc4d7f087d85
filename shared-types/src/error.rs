//! Error codes by their names on the wire, and the body that carries them.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $wire:literal,)*) => {
        /// An error code of OAuth or OpenID Connect. A status is chosen elsewhere: by the server's `error.rs`, the resource server's `bearer.rs`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code, for tests that walk them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire,)* }
            }
        }
    };
}

error_codes! {
    /// The request is malformed. [RFC 6749 section 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2), [RFC 6750 section 3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1)
    InvalidRequest = "invalid_request",
    /// Client authentication failed. [RFC 6749 section 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)
    InvalidClient = "invalid_client",
    /// The code or refresh token is unknown, expired, revoked or another client's. [RFC 6749 section 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)
    InvalidGrant = "invalid_grant",
    /// The client may not use this grant or response type. [RFC 6749 section 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)
    UnauthorizedClient = "unauthorized_client",
    /// The server does not offer this grant. [RFC 6749 section 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)
    UnsupportedGrantType = "unsupported_grant_type",
    /// The scope is unknown, malformed or more than was granted. [RFC 6749 section 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)
    InvalidScope = "invalid_scope",
    /// The resource is unknown or may not be asked for. [RFC 8707 section 2](https://www.rfc-editor.org/rfc/rfc8707#section-2)
    InvalidTarget = "invalid_target",
    /// The owner or the server refused. [RFC 6749 section 4.1.2.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1)
    AccessDenied = "access_denied",
    /// The server does not offer this response type. [RFC 6749 section 4.1.2.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1)
    UnsupportedResponseType = "unsupported_response_type",
    /// A fault of the server's own. [RFC 6749 section 4.1.2.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1)
    ServerError = "server_error",
    /// The server cannot answer just now. [RFC 6749 section 4.1.2.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1)
    TemporarilyUnavailable = "temporarily_unavailable",
    /// `prompt=none`, but nobody is signed in. [OpenID Connect Core section 3.1.2.6](https://openid.net/specs/openid-connect-core-1_0.html#AuthError)
    LoginRequired = "login_required",
    /// `prompt=none`, but consent is missing. [OpenID Connect Core section 3.1.2.6](https://openid.net/specs/openid-connect-core-1_0.html#AuthError)
    ConsentRequired = "consent_required",
    /// `prompt=none`, but the person has to do something. [OpenID Connect Core section 3.1.2.6](https://openid.net/specs/openid-connect-core-1_0.html#AuthError)
    InteractionRequired = "interaction_required",
    /// `prompt=none`, but an account has to be chosen. [OpenID Connect Core section 3.1.2.6](https://openid.net/specs/openid-connect-core-1_0.html#AuthError)
    AccountSelectionRequired = "account_selection_required",
    /// `request` objects are not taken. [OpenID Connect Core section 3.1.2.6](https://openid.net/specs/openid-connect-core-1_0.html#AuthError)
    RequestNotSupported = "request_not_supported",
    /// `request_uri` is not taken. [OpenID Connect Core section 3.1.2.6](https://openid.net/specs/openid-connect-core-1_0.html#AuthError)
    RequestUriNotSupported = "request_uri_not_supported",
    /// `registration` is not taken. [OpenID Connect Core section 3.1.2.6](https://openid.net/specs/openid-connect-core-1_0.html#AuthError)
    RegistrationNotSupported = "registration_not_supported",
    /// The token is expired, revoked, malformed or not for this server. [RFC 6750 section 3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1)
    InvalidToken = "invalid_token",
    /// The token lacks a scope that the route demands. [RFC 6750 section 3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1)
    InsufficientScope = "insufficient_scope",
    /// The resource owner has not cleared this request.
    InsufficientAuthorization = "insufficient_authorization",
    /// The kind of token is not one this server can revoke. [RFC 7009 section 2.2.1](https://www.rfc-editor.org/rfc/rfc7009#section-2.2.1)
    UnsupportedTokenType = "unsupported_token_type",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == name)
            .ok_or_else(|| serde::de::Error::custom("unknown error code"))
    }
}

/// The JSON body of an error answer ([RFC 6749 section 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The code.
    pub error: ErrorCode,
    /// A sentence for the developer of the client: about the class of the fault, never with a value that was sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_description: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_out_and_come_back_by_their_wire_name() {
        for code in ErrorCode::ALL {
            let text = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<ErrorCode>(&text).unwrap(), *code);
        }
        assert_eq!(ErrorCode::InvalidGrant.to_string(), "invalid_grant");
    }
}
