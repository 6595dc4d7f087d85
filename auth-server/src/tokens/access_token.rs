//! Access tokens: JWTs of type `at+jwt` ([RFC 9068](https://www.rfc-editor.org/rfc/rfc9068)).

use shared_types::claims::TOKEN_TYP;
use shared_types::{AccessTokenClaims, ClaimFault, Issuer, SigningAlg, UnixSeconds};

use crate::domain::secret::PlainSecret;
use crate::keys::ring::{KeyRing, SignFault, VerifyFault};

/// Why a text is not a live access token of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessTokenFault {
    /// It is not signed by a key of ours that counts.
    #[error(transparent)]
    Signature(#[from] VerifyFault),
    /// Its claims do not hold.
    #[error(transparent)]
    Claims(#[from] ClaimFault),
}

/// Signs an access token.
pub fn issue(
    keys: &KeyRing,
    alg: SigningAlg,
    claims: &AccessTokenClaims,
) -> Result<PlainSecret, SignFault> {
    keys.sign(alg, TOKEN_TYP, claims).map(PlainSecret::new)
}

/// The claims of a token that we signed ourselves and that is good at `now`, for whichever audience, and which reading of the keys proved it.
/// Whether it was given back, and whether its grant lives, only the store knows.
pub fn verify_own(
    keys: &KeyRing,
    issuer: &Issuer,
    token: &str,
    now: UnixSeconds,
) -> Result<(AccessTokenClaims, u64), AccessTokenFault> {
    let proven = keys.verify(token, TOKEN_TYP)?;
    let claims = AccessTokenClaims::parse(&proven.payload)?;
    if claims.iss != *issuer {
        return Err(ClaimFault::Issuer.into());
    }
    check_times(&claims, now)?;
    Ok((claims, proven.reading))
}

/// What time alone decides. There is no leeway: it is our own clock that wrote these times. `iat` is none of them, so that a clock that is
/// set back does not void what it has just signed.
pub(super) fn check_times(claims: &AccessTokenClaims, now: UnixSeconds) -> Result<(), ClaimFault> {
    if now.has_reached(claims.exp) {
        return Err(ClaimFault::Expired);
    }
    match claims.nbf {
        Some(nbf) if !now.has_reached(nbf) => Err(ClaimFault::NotYetValid),
        _ => Ok(()),
    }
}
