//! The ring: every signature key parsed once, in one immutable snapshot that a reload replaces.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use database::Database;
use serde::Serialize;
use shared_types::jwk::JwkSet;
use shared_types::jws::{JwsFault, typ_is};
use shared_types::{CompactJws, KeyId, PublicJwk, SigningAlg};

use super::signer::KeyPair;
use super::vault::Vault;
use super::verifier::VerifyingKey;
use crate::domain::secret::SecretHash;
use crate::domain::signing_key::State;
use crate::store::keys::StoredKey;
use crate::store::{StoreError, epochs, keys};

/// The media type of ID tokens.
pub const ID_TOKEN_TYP: &str = "JWT";
/// The types whose headers are built ahead.
const KNOWN_TYPS: [&str; 2] = [shared_types::claims::TOKEN_TYP, ID_TOKEN_TYP];

/// Why there is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignFault {
    /// No key of that algorithm signs (yet): a new algorithm gets its first key within a second.
    #[error("no key signs with {0}")]
    NoKey(SigningAlg),
    /// The claims cannot be written as JSON, or the crypto library refused.
    #[error("the token cannot be signed")]
    Failed,
}

/// Why a token is not one of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyFault {
    /// It has not the form of a token.
    #[error(transparent)]
    Form(#[from] JwsFault),
    /// It is a token of another kind.
    #[error("the token is of another type")]
    Type,
    /// It names no key of ours, or one that does not count any more.
    #[error("the key is unknown")]
    Key,
    /// It names another algorithm than the key's.
    #[error("the algorithm is not the key's")]
    Algorithm,
    /// The signature does not hold.
    #[error("the signature is wrong")]
    Signature,
}

/// What a signature of ours was found under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The payload.
    pub payload: Vec<u8>,
    /// Which reading of the keys proved it. While [`KeyRing::reading`] is this one, no key has changed its state.
    pub reading: u64,
}

/// What `GET /jwks.json` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedJwks {
    /// The JWK Set.
    pub body: String,
    /// A strong entity tag of it, with its quotes.
    pub etag: String,
}

/// The keys of this instance.
#[derive(Debug)]
pub struct KeyRing {
    current: RwLock<Arc<Snapshot>>,
    /// One reload after the other.
    reloading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Snapshot {
    epoch: i64,
    /// Counts what this process has read. A database that was restored to an earlier moment gives an epoch a second time, with other keys.
    reading: u64,
    by_kid: HashMap<KeyId, RingKey>,
    signing: Vec<Signer>,
    jwks: Arc<PublishedJwks>,
}

/// A key that verifies, and signs if it still has its private half.
struct RingKey {
    state: State,
    alg: SigningAlg,
    verifier: VerifyingKey,
    pair: Option<Arc<KeyPair>>,
}

impl std::fmt::Debug for RingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RingKey")
            .field("state", &self.state)
            .field("alg", &self.alg)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Signer {
    alg: SigningAlg,
    kid: KeyId,
    pair: Arc<KeyPair>,
    /// The encoded protected header for each of [`KNOWN_TYPS`], with the dot behind it.
    headers: [String; KNOWN_TYPS.len()],
}

impl KeyRing {
    /// Reads and parses every key.
    pub async fn load(database: &Database, vault: &Vault) -> Result<Self, StoreError> {
        let nothing = HashMap::new();
        let first = read(database, vault, &nothing, 0).await?;
        let (current, reloading) = (RwLock::new(Arc::new(first)), tokio::sync::Mutex::default());
        Ok(Self { current, reloading })
    }

    /// Takes over what the database has now, also where that is older than what was here: then it was restored, and what it does not know
    /// must not sign. Key pairs that are known already are not parsed again.
    pub async fn reload(&self, database: &Database, vault: &Vault) -> Result<(), StoreError> {
        // Two at once could overtake each other, and the older reading would stay.
        let _one_at_a_time = self.reloading.lock().await;
        let known = self.snapshot();
        let fresh = read(database, vault, &known.by_kid, known.reading + 1).await?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// The epoch that the keys were read at.
    pub fn epoch(&self) -> i64 {
        self.snapshot().epoch
    }

    /// Which reading of the keys stands: another number after each [`reload`](Self::reload).
    pub fn reading(&self) -> u64 {
        self.snapshot().reading
    }

    /// Signs `payload` with the key of `alg`: neither the database nor a key parser is on this path.
    pub fn sign(
        &self,
        alg: SigningAlg,
        typ: &str,
        payload: &impl Serialize,
    ) -> Result<String, SignFault> {
        let snapshot = self.snapshot();
        let signer = snapshot
            .signing
            .iter()
            .find(|signer| signer.alg == alg)
            .ok_or(SignFault::NoKey(alg))?;
        let payload = serde_json::to_vec(payload).map_err(|_| SignFault::Failed)?;
        let mut token =
            match KNOWN_TYPS.iter().zip(&signer.headers).find(|(known, _)| **known == typ) {
                Some((_, header)) => with_room(header, payload.len()),
                None => header(alg, typ, &signer.kid),
            };
        URL_SAFE_NO_PAD.encode_string(&payload, &mut token);
        let signature = signer.pair.sign(token.as_bytes()).map_err(|_| SignFault::Failed)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
        Ok(token)
    }

    /// The payload of a token that a published key of ours signed and that says it is of `expected_typ`.
    pub fn verify(&self, token: &str, expected_typ: &str) -> Result<Proven, VerifyFault> {
        self.verify_with(token, expected_typ, State::is_published)
    }

    /// The same, also with keys that are published no more but were not revoked: for `id_token_hint`, whose token may be old.
    pub fn verify_hint(&self, token: &str, expected_typ: &str) -> Result<Proven, VerifyFault> {
        self.verify_with(token, expected_typ, |state| state != State::Revoked)
    }

    fn verify_with(
        &self,
        token: &str,
        expected_typ: &str,
        counts: fn(State) -> bool,
    ) -> Result<Proven, VerifyFault> {
        let jws = CompactJws::split(token)?;
        let header = jws.header()?;
        if !header.unverified_typ.is_some_and(|typ| typ_is(&typ, expected_typ)) {
            return Err(VerifyFault::Type);
        }
        let snapshot = self.snapshot();
        let key = header
            .unverified_kid
            .and_then(|kid| snapshot.by_kid.get(&kid))
            .filter(|key| counts(key.state))
            .ok_or(VerifyFault::Key)?;
        // "Libraries MUST enable the caller to specify a supported set of algorithms and MUST NOT use any other algorithms"
        // (RFC 8725 section 3.1): the key's own is the only one.
        if header.unverified_alg != key.alg {
            return Err(VerifyFault::Algorithm);
        }
        if !key.verifier.verifies(jws.signing_input.as_bytes(), jws.signature) {
            return Err(VerifyFault::Signature);
        }
        Ok(Proven { payload: jws.payload()?, reading: snapshot.reading })
    }

    /// The published keys.
    pub fn jwks(&self) -> Arc<PublishedJwks> {
        self.snapshot().jwks.clone()
    }

    /// Whether any key signs.
    pub fn is_ready(&self) -> bool {
        !self.snapshot().signing.is_empty()
    }

    /// The algorithms that tokens can be signed with now, in the order of [`SigningAlg::ALL`].
    pub fn algorithms(&self) -> Vec<SigningAlg> {
        self.snapshot().signing.iter().map(|signer| signer.alg).collect()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn read(
    database: &Database,
    vault: &Vault,
    known: &HashMap<KeyId, RingKey>,
    reading: u64,
) -> Result<Snapshot, StoreError> {
    let (epoch, rows) = database
        .read(|sql| Ok::<_, StoreError>((epochs::read(sql)?.keys, keys::list_with_halves(sql)?)))
        .await?;
    let published =
        rows.iter().filter(|row| row.state.is_published()).map(|row| row.public.clone()).collect();
    let by_kid = rows
        .iter()
        .map(|row| Ok((row.public.kid.clone(), ring_key(row, vault, known)?)))
        .collect::<Result<HashMap<_, _>, StoreError>>()?;
    let mut signing: Vec<Signer> =
        by_kid.iter().filter_map(|(kid, key)| signer(kid, key)).collect();
    signing.sort_by_key(|signer| signer.alg);
    Ok(Snapshot { epoch, reading, by_kid, signing, jwks: Arc::new(publish(published)) })
}

fn ring_key(
    row: &StoredKey,
    vault: &Vault,
    known: &HashMap<KeyId, RingKey>,
) -> Result<RingKey, StoreError> {
    let PublicJwk { kid, alg, .. } = &row.public;
    let pair = match (&row.sealed_private, known.get(kid).and_then(|key| key.pair.clone())) {
        (None, _) => None,
        (Some(_), Some(parsed)) => Some(parsed),
        (Some(sealed), None) => {
            let damaged = || {
                StoreError::Corrupt(format!(
                    "the private half of the {alg} key {kid} does not unseal"
                ))
            };
            let pkcs8 = vault.unseal_private_key(kid.as_str(), sealed).ok_or_else(damaged)?;
            Some(Arc::new(KeyPair::from_pkcs8(*alg, &pkcs8).map_err(|_| damaged())?))
        }
    };
    let verifier = VerifyingKey::load(*alg, &row.public.key)
        .map_err(|fault| StoreError::Corrupt(format!("the key {kid}: {fault}")))?;
    Ok(RingKey { state: row.state, alg: *alg, verifier, pair })
}

fn signer(kid: &KeyId, key: &RingKey) -> Option<Signer> {
    let pair = key.pair.clone().filter(|_| key.state == State::Signing)?;
    let headers = KNOWN_TYPS.map(|typ| header(key.alg, typ, kid));
    Some(Signer { alg: key.alg, kid: kid.clone(), pair, headers })
}

fn publish(keys: Vec<PublicJwk>) -> PublishedJwks {
    let body = JwkSet { keys, skipped: 0 }.to_json().to_string();
    let etag =
        format!("\"{}\"", URL_SAFE_NO_PAD.encode(SecretHash::of(body.as_bytes()).as_bytes()));
    PublishedJwks { body, etag }
}

fn header(alg: SigningAlg, typ: &str, kid: &KeyId) -> String {
    let members = serde_json::json!({ "alg": alg, "typ": typ, "kid": kid });
    let mut header = URL_SAFE_NO_PAD.encode(members.to_string());
    header.push('.');
    header
}

/// A copy with room for the payload and the longest signature, so that a token is one allocation.
fn with_room(header: &str, payload: usize) -> String {
    let mut token = String::with_capacity(header.len() + (payload + 256) * 4 / 3 + 8);
    token.push_str(header);
    token
}
