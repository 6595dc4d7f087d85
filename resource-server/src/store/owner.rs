//! Whose a row is. Every noun keyed by it asks for it in its statements.

use shared_types::AccessTokenClaims;

/// Who owns rows: a subject is unique only within its issuer ([RFC 9068 section 2.2](https://www.rfc-editor.org/rfc/rfc9068#section-2.2)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The issuer of the token.
    pub iss: String,
    /// Its subject: a person, or a client that acts for itself.
    pub sub: String,
}

impl Owner {
    /// The owner that a token acts for.
    pub fn of(claims: &AccessTokenClaims) -> Self {
        Self { iss: claims.iss.as_str().to_owned(), sub: claims.sub.as_str().to_owned() }
    }
}
