//! The vocabulary that the authorization server and the resource server agree on, and nothing else.
//!
//! What stands here is what a token *is*: identifiers, scopes, times, claims and their checks, keys as
//! JWKs, metadata documents, and error codes. There is no I/O, no HTTP and no signature here: a caller
//! proves the signature first, then [`claims::AccessTokenClaims::check`] decides about the content.
//!
//! Read in this order: [`time`], [`ids`], [`scope`], [`json`], [`jws`], [`jwk`], [`claims`], [`id_token`],
//! [`metadata`], [`error`].

pub mod claims;
pub mod error;
pub mod id_token;
pub mod ids;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod metadata;
pub mod scope;
pub mod time;

pub use claims::{AccessTokenClaims, Audiences, ClaimFault, Rules};
pub use error::{ErrorBody, ErrorCode};
pub use id_token::IdTokenClaims;
pub use ids::{Audience, ClientId, Issuer, JwtId, KeyId, Subject};
pub use jwk::{JwkSet, PublicJwk};
pub use jws::{CompactJws, SigningAlg};
pub use scope::{Scope, ScopeToken};
pub use time::{Clock, ManualClock, SystemClock, UnixSeconds};
