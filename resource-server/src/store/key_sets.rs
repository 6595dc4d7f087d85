//! The last good key set of each issuer.

use database::{Database, DatabaseError};
use futures_util::future::BoxFuture;
use shared_types::{Issuer, UnixSeconds};

use crate::guard::KeyStore;
use crate::guard::jwks::StoredKeys;

const FIND: &str = "SELECT jwks, fetched_at FROM key_set WHERE issuer = ?1";
const SAVE: &str = "INSERT INTO key_set (issuer, jwks, fetched_at) VALUES (?1, ?2, ?3)
    ON CONFLICT (issuer) DO UPDATE SET jwks = excluded.jwks, fetched_at = excluded.fetched_at
    WHERE excluded.fetched_at >= key_set.fetched_at";

/// Keeps key sets in the database. A fault is logged and otherwise harmless: keys in memory are good without it.
#[derive(Clone, Debug)]
pub struct StoredKeySets(pub Database);

impl KeyStore for StoredKeySets {
    fn load<'a>(&'a self, issuer: &'a Issuer) -> BoxFuture<'a, Option<StoredKeys>> {
        let name = issuer.as_str().to_owned();
        Box::pin(async move {
            let rows = self.0.read(move |sql| sql.query(FIND, &[(&name).into()])).await;
            let stored = rows.and_then(|rows| {
                let row = rows.first();
                row.map(|row| {
                    let fetched_at = UnixSeconds::new(row.int(1)?);
                    Ok::<_, DatabaseError>(StoredKeys { jwks: row.text(0)?, fetched_at })
                })
                .transpose()
            });
            stored.unwrap_or_else(|fault| {
                log::warn!(issuer:%, fault:%; "stored keys not loaded");
                None
            })
        })
    }

    /// One statement that keeps the newer set, so instances that fetch at the same time cannot set each other back.
    fn save<'a>(&'a self, issuer: &'a Issuer, keys: StoredKeys) -> BoxFuture<'a, ()> {
        let name = issuer.as_str().to_owned();
        Box::pin(async move {
            let save = move |sql: &mut dyn database::Sql| {
                let params = [(&name).into(), (&keys.jwks).into(), keys.fetched_at.as_i64().into()];
                sql.execute(SAVE, &params)
            };
            if let Err(fault) = self.0.write(save).await {
                log::warn!(issuer:%, fault:%; "keys not stored");
            }
        })
    }
}
