//! Opaque tokens: a row's id and a secret, written so that nothing in the text counts, repeats or tells its age.
//!
//! The row is found by its integer key and the secret is compared in constant time, so a look-up costs the same however many rows there
//! are. On the wire: base64url(secret ‖ (id ‖ generation) ⊕ HMAC(kind ‖ secret)).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared_types::JwtId;

use crate::domain::row_id::RowId;
use crate::domain::secret::PlainSecret;
use crate::keys::vault::Vault;
use crate::random::{self, SecureRandom};

/// What a token is for. A token of one kind, presented as another, names a row that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpaqueKind {
    /// An authorization code.
    Code,
    /// A refresh token.
    Refresh,
    /// The cookie of a session.
    Session,
}

impl OpaqueKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Refresh => "refresh",
            Self::Session => "session",
        }
    }
}

/// The parts of a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Opaque {
    /// The row, unproven until the secret is compared.
    pub id: RowId,
    /// Which of the row's tokens; 0 where there is one.
    pub generation: u32,
    /// What proves it.
    pub secret: [u8; 32],
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opaque(..)")
    }
}

const SECRET_BYTES: usize = 32;
const SELECTOR_BYTES: usize = 12;

/// The text of a token.
pub fn encode(vault: &Vault, kind: OpaqueKind, token: &Opaque) -> PlainSecret {
    let mut selector = [0; SELECTOR_BYTES];
    let (id, generation) = selector.split_at_mut(8);
    id.copy_from_slice(&token.id.as_i64().to_be_bytes());
    generation.copy_from_slice(&token.generation.to_be_bytes());
    mask(&mut selector, &vault.mask(kind.as_str(), &token.secret));
    PlainSecret::new(URL_SAFE_NO_PAD.encode([token.secret.as_slice(), &selector].concat()))
}

/// The parts of a text. `None` when it has not the form of a token; otherwise nothing is proven yet.
pub fn decode(vault: &Vault, kind: OpaqueKind, text: &str) -> Option<Opaque> {
    let mut bytes = [0; SECRET_BYTES + SELECTOR_BYTES + 1];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    if length != SECRET_BYTES + SELECTOR_BYTES {
        return None;
    }
    let (secret, rest) = bytes.split_first_chunk::<SECRET_BYTES>()?;
    let mut selector = *rest.first_chunk::<SELECTOR_BYTES>()?;
    mask(&mut selector, &vault.mask(kind.as_str(), secret));
    let (id, generation) = selector.split_first_chunk::<8>()?;
    let generation = u32::from_be_bytes(generation.try_into().ok()?);
    Some(Opaque { id: row(*id)?, generation, secret: *secret })
}

/// The secret of a refresh token: derived, so that the same rotation always gives the same successor and none is stored.
pub fn refresh_secret(vault: &Vault, id: RowId, generation: u32, salt: &[u8; 16]) -> [u8; 32] {
    vault.refresh_verifier(id.as_i64(), generation, salt)
}

/// What an access token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// What a person allowed.
    Grant(RowId),
    /// A client itself, at this epoch of it: whatever moves the epoch ends the token.
    Client {
        /// Above 0.
        epoch: i64,
    },
}

/// A fresh identifier of an access token ([RFC 7519 section 4.1.7](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.7)), from which only we find what it came from.
///
/// # Panics
/// Never: base64url of 24 bytes is a valid identifier.
#[expect(clippy::expect_used, reason = "base64url of fixed length is a valid jti")]
pub fn jti(vault: &Vault, source: Source, random: &dyn SecureRandom) -> JwtId {
    let random_part: [u8; 16] = random::bytes(random);
    // Ids and epochs are positive, so the sign tells which it is.
    let id = match source {
        Source::Grant(id) => id.as_i64(),
        Source::Client { epoch } => epoch.wrapping_neg(),
    };
    let mut id = id.to_be_bytes();
    mask(&mut id, &vault.jti_mask(&random_part));
    JwtId::parse(URL_SAFE_NO_PAD.encode([random_part.as_slice(), &id].concat()))
        .expect("base64url is visible ASCII")
}

/// What the token with a `jti` of ours came from; `None` when it does not say. Ask only with a `jti` whose signature is proven.
pub fn source_of_jti(vault: &Vault, jti: &JwtId) -> Option<Source> {
    let bytes = URL_SAFE_NO_PAD.decode(jti.as_str()).ok()?;
    let (random_part, rest) = bytes.split_first_chunk::<16>()?;
    let mut id: [u8; 8] = rest.try_into().ok()?;
    mask(&mut id, &vault.jti_mask(random_part));
    match i64::from_be_bytes(id) {
        0 => None,
        id if id > 0 => Some(Source::Grant(RowId::new(id))),
        negated => Some(Source::Client { epoch: negated.wrapping_neg() }),
    }
}

/// Ids are positive, so half of all garbage ends here.
fn row(id: [u8; 8]) -> Option<RowId> {
    let id = i64::from_be_bytes(id);
    (id > 0).then(|| RowId::new(id))
}

fn mask(bytes: &mut [u8], with: &[u8; 32]) {
    for (byte, mask) in bytes.iter_mut().zip(with) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    const KINDS: [OpaqueKind; 3] = [OpaqueKind::Code, OpaqueKind::Refresh, OpaqueKind::Session];

    fn token(generation: u32) -> Opaque {
        Opaque { id: RowId::new(123_456_789_012), generation, secret: [9; 32] }
    }

    #[test]
    fn a_token_comes_back_as_its_parts() {
        let vault = Vault::of_seed(1);
        for kind in KINDS {
            for generation in [0, 1, u32::MAX] {
                let text = encode(&vault, kind, &token(generation));
                assert_eq!(text.expose().len(), 59);
                assert_eq!(decode(&vault, kind, text.expose()), Some(token(generation)));
            }
        }
    }

    #[test]
    fn a_token_of_another_kind_or_vault_names_another_row() {
        let vault = Vault::of_seed(1);
        let text = encode(&vault, OpaqueKind::Code, &token(0));
        for other in [
            decode(&vault, OpaqueKind::Refresh, text.expose()),
            decode(&Vault::of_seed(2), OpaqueKind::Code, text.expose()),
        ] {
            assert_ne!(other.map(|other| other.id), Some(token(0).id));
        }
    }

    #[test]
    fn every_other_length_and_alphabet_is_refused() {
        let vault = Vault::of_seed(1);
        let text = encode(&vault, OpaqueKind::Code, &token(0));
        let text = text.expose();
        for bad in [
            "",
            "a",
            text.split_at(1).1,
            &format!("{text}A"),
            &format!("{text}="),
            &text.replace('A', "+"),
            &"A".repeat(10_000),
        ] {
            let same = bad == text;
            assert!(same || decode(&vault, OpaqueKind::Code, bad).is_none(), "{bad:.70}");
        }
    }

    #[test]
    fn a_changed_character_changes_a_part() {
        let vault = Vault::of_seed(1);
        let text = encode(&vault, OpaqueKind::Session, &token(0));
        for at in 0..text.expose().len() {
            let mut changed = text.expose().as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_ne!(
                decode(&vault, OpaqueKind::Session, &changed),
                Some(token(0)),
                "character {at}"
            );
        }
    }

    #[test]
    fn tokens_of_one_row_share_no_beginning() {
        let vault = Vault::of_seed(1);
        let text = |generation| {
            let secret = refresh_secret(&vault, token(0).id, generation, &[3; 16]);
            encode(&vault, OpaqueKind::Refresh, &Opaque { secret, ..token(generation) })
                .expose()
                .to_owned()
        };
        let (one, next) = (text(0), text(1));
        let same = one.bytes().zip(next.bytes()).filter(|(a, b)| a == b).count();
        assert!(same < 12, "{same} of 59 characters agree");
    }

    #[test]
    fn a_refresh_secret_depends_on_each_of_its_parts() {
        let (vault, id) = (Vault::of_seed(1), RowId::new(5));
        let secret = refresh_secret(&vault, id, 1, &[3; 16]);
        assert_eq!(secret, refresh_secret(&vault, id, 1, &[3; 16]));
        assert_ne!(secret, refresh_secret(&vault, id, 2, &[3; 16]));
        assert_ne!(secret, refresh_secret(&vault, id, 1, &[4; 16]));
        assert_ne!(secret, refresh_secret(&vault, RowId::new(6), 1, &[3; 16]));
        assert_ne!(secret, refresh_secret(&Vault::of_seed(2), id, 1, &[3; 16]));
    }

    #[test]
    fn only_we_find_what_is_behind_a_jti() {
        let (vault, random) = (Vault::of_seed(1), SeededRandom::new(1));
        for source in [Source::Grant(RowId::new(42)), Source::Client { epoch: 42 }] {
            let [one, other] = [(); 2].map(|()| jti(&vault, source, &random));
            assert_ne!(one, other);
            assert_eq!(source_of_jti(&vault, &one), Some(source));
            assert_eq!(source_of_jti(&vault, &other), Some(source));
            assert_ne!(source_of_jti(&Vault::of_seed(2), &one), Some(source));
        }
        assert_eq!(source_of_jti(&vault, &JwtId::parse("foreign").unwrap()), None);
    }
}
