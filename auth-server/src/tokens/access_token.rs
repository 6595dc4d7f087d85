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

/// The claims of a token that we signed ourselves and that has not expired, for whichever audience. Whether it was given back, and
/// whether its grant lives, only the store knows.
pub fn verify_own(
    keys: &KeyRing,
    issuer: &Issuer,
    token: &str,
    now: UnixSeconds,
) -> Result<AccessTokenClaims, AccessTokenFault> {
    let claims = AccessTokenClaims::parse(&keys.verify(token, TOKEN_TYP)?)?;
    if claims.iss != *issuer {
        return Err(ClaimFault::Issuer.into());
    }
    if now.has_reached(claims.exp) {
        return Err(ClaimFault::Expired.into());
    }
    Ok(claims)
}
