//! ID tokens ([OpenID Connect Core section 2](https://openid.net/specs/openid-connect-core-1_0.html#IDToken)), and hints made of old ones.

use shared_types::{IdTokenClaims, Issuer, SigningAlg};

use crate::domain::secret::PlainSecret;
use crate::keys::ring::{ID_TOKEN_TYP, KeyRing, SignFault};

/// Signs an ID token.
pub fn issue(
    keys: &KeyRing,
    alg: SigningAlg,
    claims: &IdTokenClaims,
) -> Result<PlainSecret, SignFault> {
    keys.sign(alg, ID_TOKEN_TYP, claims).map(PlainSecret::new)
}

/// The claims of an `id_token_hint` that we once signed with a key that was not revoked. It may have expired: "The OP SHOULD accept ID
/// Tokens when the RP identified by the ID Token's aud claim and/or sid claim has a current session or had a recent session at the OP,
/// even when the exp time has passed" ([RP-Initiated Logout section 2](https://openid.net/specs/openid-connect-rpinitiated-1_0.html#RPLogout)).
pub fn verify_hint(keys: &KeyRing, issuer: &Issuer, text: &str) -> Option<IdTokenClaims> {
    let proven = keys.verify_hint(text, ID_TOKEN_TYP).ok()?;
    IdTokenClaims::parse(&proven.payload).ok().filter(|claims| claims.iss == *issuer)
}
