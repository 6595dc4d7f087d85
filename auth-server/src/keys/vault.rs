//! The vault: random keys of our own, unsealed for the life of the process.
//!
//! At rest they are sealed under the master key, which lies in a file and never in the database. Everything else derives from them,
//! so [`rewrap`] changes the master key and leaves every token, cookie and signature key alive.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use database::{Database, DatabaseError};

pub use super::master_key::MasterKey;
use super::sealing::{NONCE_BYTES, SealingKey};
use crate::random::{self, OsRandom, SecureRandom};
use crate::store::{StoreError, secrets};

/// The row that proves the master key: it holds no secret.
const CHECK: &str = "check";
/// The names of the stored keys, 32 random bytes each.
const KEY_NAMES: [&str; 6] = ["jti", "mac", "mask", "private-key", "refresh", "seal"];
/// Under which purpose the rows of the vault are sealed.
const ROW: &str = "secret";
/// Under which purpose private keys are sealed.
const PRIVATE_KEY: &str = "private-key";

/// Why the vault does not open. All but [`Store`](Self::Store) are for a person to mend.
#[derive(Debug, thiserror::Error)]
pub enum VaultFault {
    /// The file of the master key cannot be read or written.
    #[error("the master key file {0}: {1}")]
    File(String, std::io::Error),
    /// The file does not hold a master key.
    #[error("the master key file {0} does not hold 32 bytes in base64")]
    Malformed(String),
    /// The database holds sealed secrets, and the file to unseal them is not there.
    #[error(
        "the master key file {0} is missing, and the database holds secrets that only it unseals"
    )]
    Missing(String),
    /// The stored check value was sealed under another master key.
    #[error("this is not the master key that the database was sealed with")]
    WrongMasterKey,
    /// A row is missing or does not unseal although the check value does.
    #[error("the stored secret {0} is missing or damaged")]
    Damaged(String),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DatabaseError> for VaultFault {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

/// Our own keys, ready for use.
pub struct Vault {
    seal: SealingKey,
    private_key: SealingKey,
    mac: hmac::Key,
    mask: hmac::Key,
    jti: hmac::Key,
    refresh: hmac::Key,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(..)")
    }
}

impl Vault {
    /// Unseals the stored keys, or makes them if the database holds nothing sealed.
    ///
    /// Of two instances that start at once on an empty database one makes them, and both go on with those.
    pub async fn open(
        database: &Database,
        master: &MasterKey,
        random: &dyn SecureRandom,
    ) -> Result<Self, VaultFault> {
        let mut rows = database.read(|sql| secrets::list(sql)).await?;
        if rows.is_empty() {
            let fresh = fresh_rows(master, random);
            rows = database
                .write(move |sql| {
                    secrets::insert_if_none(sql, &fresh)?;
                    secrets::list(sql)
                })
                .await?;
        }
        Self::unseal_all(&rows, master)
    }

    /// A vault without a database, the same for the same seed.
    #[cfg(test)]
    pub(crate) fn of_seed(seed: u64) -> Self {
        let (master, random) = (MasterKey::of_bytes(&[7; 32]), random::SeededRandom::new(seed));
        Self::unseal_all(&fresh_rows(&master, &random), &master).unwrap()
    }

    fn unseal_all(rows: &[secrets::SealedSecret], master: &MasterKey) -> Result<Self, VaultFault> {
        let key = |name| {
            let bytes = unseal_row(rows, name, master)?;
            <[u8; 32]>::try_from(bytes).map_err(|_| VaultFault::Damaged(name.to_owned()))
        };
        let hmac = |name| key(name).map(|bytes| hmac::Key::new(hmac::HMAC_SHA256, &bytes));
        unseal_row(rows, CHECK, master).map_err(|_| VaultFault::WrongMasterKey)?;
        Ok(Self {
            seal: SealingKey::new(&key("seal")?),
            private_key: SealingKey::new(&key("private-key")?),
            mac: hmac("mac")?,
            mask: hmac("mask")?,
            jti: hmac("jti")?,
            refresh: hmac("refresh")?,
        })
    }

    /// Seals `plaintext` so that it can be given away and comes back unread and unchanged: base64url of nonce and ciphertext.
    ///
    /// `purpose` tells kinds apart and `bound_to` the one case among them: only the same two unseal it.
    pub fn seal(
        &self,
        purpose: &'static str,
        bound_to: &[u8],
        plaintext: &[u8],
        random: &dyn SecureRandom,
    ) -> String {
        URL_SAFE_NO_PAD.encode(self.seal.seal(purpose, bound_to, plaintext, random::bytes(random)))
    }

    /// What was sealed for the same purpose and case; `None` for anything else.
    pub fn unseal(&self, purpose: &'static str, bound_to: &[u8], sealed: &str) -> Option<Vec<u8>> {
        self.seal.unseal(purpose, bound_to, &URL_SAFE_NO_PAD.decode(sealed).ok()?)
    }

    /// HMAC-SHA-256 of `message` under a key of its own for each purpose. Compare it with
    /// [`constant_time_eq`](crate::domain::secret::constant_time_eq).
    pub fn mac(&self, purpose: &'static str, message: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &tag(&self.mac, &[purpose.as_bytes()]));
        tag(&key, &[message])
    }

    /// Seals the private half (PKCS #8) of the signature key `kid` for its row. Draws its nonce from the system, like the key itself.
    pub fn seal_private_key(&self, kid: &str, pkcs8: &[u8]) -> Vec<u8> {
        self.private_key.seal(PRIVATE_KEY, kid.as_bytes(), pkcs8, random::bytes(&OsRandom))
    }

    /// The private half of `kid` as its row holds it; `None` when it was not sealed by this vault for this key.
    pub fn unseal_private_key(&self, kid: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.private_key.unseal(PRIVATE_KEY, kid.as_bytes(), sealed)
    }

    /// What hides the row id in an opaque token whose secret is given.
    pub(crate) fn mask(&self, kind: &str, secret: &[u8; 32]) -> [u8; 32] {
        tag(&self.mask, &[kind.as_bytes(), &[0], secret])
    }

    /// What hides the grant's id in a `jti` with this random part.
    pub(crate) fn jti_mask(&self, random_part: &[u8; 16]) -> [u8; 32] {
        tag(&self.jti, &[random_part])
    }

    /// The verifier of a refresh token; the parts have fixed lengths, so no two of them read alike.
    pub(crate) fn refresh_verifier(&self, id: i64, generation: u32, salt: &[u8; 16]) -> [u8; 32] {
        tag(&self.refresh, &[&id.to_be_bytes(), &generation.to_be_bytes(), salt])
    }
}

/// Seals everything in the database that is sealed under `old` under `new` instead. What was handed out or signed stays valid, and
/// running servers, which hold the keys unsealed, go on; their next start needs the new file.
pub async fn rewrap(
    database: &Database,
    old: &MasterKey,
    new: &MasterKey,
) -> Result<(), VaultFault> {
    let before = database.read(|sql| secrets::list(sql)).await?;
    unseal_row(&before, CHECK, old).map_err(|_| VaultFault::WrongMasterKey)?;
    let after = before
        .iter()
        .map(|row| {
            let plaintext = unseal_row(&before, &row.name, old)?;
            Ok(seal_row(&row.name, &plaintext, new, &OsRandom))
        })
        .collect::<Result<Vec<_>, VaultFault>>()?;
    database.write(move |sql| secrets::replace_all(sql, &before, &after)).await?;
    Ok(())
}

/// Whether nothing in the database is sealed: only then may a new master key be made.
pub async fn holds_nothing(database: &Database) -> Result<bool, StoreError> {
    database.read(|sql| secrets::none_sealed(sql)).await
}

fn fresh_rows(master: &MasterKey, random: &dyn SecureRandom) -> Vec<secrets::SealedSecret> {
    let mut rows = vec![seal_row(CHECK, b"", master, random)];
    rows.extend(
        KEY_NAMES.iter().map(|name| seal_row(name, &random::bytes::<32>(random), master, random)),
    );
    rows
}

fn seal_row(
    name: &str,
    plaintext: &[u8],
    master: &MasterKey,
    random: &dyn SecureRandom,
) -> secrets::SealedSecret {
    let nonce: [u8; NONCE_BYTES] = random::bytes(random);
    let sealed = master.sealing_key().seal(ROW, name.as_bytes(), plaintext, nonce);
    secrets::SealedSecret { name: name.to_owned(), sealed }
}

fn unseal_row(
    rows: &[secrets::SealedSecret],
    name: &str,
    master: &MasterKey,
) -> Result<Vec<u8>, VaultFault> {
    rows.iter()
        .find(|row| row.name == name)
        .and_then(|row| master.sealing_key().unseal(ROW, name.as_bytes(), &row.sealed))
        .ok_or_else(|| VaultFault::Damaged(name.to_owned()))
}

fn tag(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}
