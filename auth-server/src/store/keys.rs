//! Signature keys: announced, signing, retired, withdrawn, deleted. Who changes more than one row takes [`take_guard`] first.

use database::{Row, Sql};
use shared_types::{KeyId, PublicJwk, SigningAlg, UnixSeconds, json};

use super::StoreError;
use crate::domain::signing_key::{Key, State};

const COLUMNS: &str = "SELECT kid, alg, state, announced_at, signing_at, retired_at, withdrawn_at FROM signing_key ORDER BY announced_at, kid";
const WITH_HALVES: &str = "SELECT kid, alg, state, public_jwk, sealed_private FROM signing_key WHERE state <> 'revoked' ORDER BY announced_at, kid";

/// A row to write: a key that did not exist.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The public half, and with it name and algorithm.
    pub public: PublicJwk,
    /// The sealed private half.
    pub sealed_private: Vec<u8>,
    /// Whether it signs at once; otherwise it is announced.
    pub signs: bool,
    /// The present.
    pub now: UnixSeconds,
}

/// A key with both halves, for the ring. Revoked ones are not among them.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// What it may be used for.
    pub state: State,
    /// The public half.
    pub public: PublicJwk,
    /// The sealed private half; none once it has retired.
    pub sealed_private: Option<Vec<u8>>,
}

/// Orders decisions about keys: whoever calls it first goes first, others wait here until that unit has ended.
pub fn take_guard(sql: &mut dyn Sql) -> Result<(), StoreError> {
    match sql.execute("UPDATE guard SET version = version + 1 WHERE name = 'keys'", &[])? {
        1 => Ok(()),
        _ => Err(StoreError::Corrupt("the guard row of the keys is missing".into())),
    }
}

/// Every key with its times, oldest first. One statement; decide on it only under the guard.
pub fn list(sql: &mut dyn Sql) -> Result<Vec<Key>, StoreError> {
    sql.query(COLUMNS, &[])?.iter().map(key).collect()
}

/// Every key that may still prove something, with both halves. One statement.
pub fn list_with_halves(sql: &mut dyn Sql) -> Result<Vec<StoredKey>, StoreError> {
    sql.query(WITH_HALVES, &[])?.iter().map(stored).collect()
}

/// Writes a fresh key. Under the guard.
pub fn insert(sql: &mut dyn Sql, new: &NewKey) -> Result<(), StoreError> {
    let public = serde_json::Value::Object(new.public.to_json()).to_string();
    sql.execute(
        "INSERT INTO signing_key (kid, alg, state, public_jwk, sealed_private, announced_at, signing_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &[
            new.public.kid.as_str().into(),
            new.public.alg.as_str().into(),
            if new.signs { State::Signing } else { State::Announced }.as_str().into(),
            public.into(),
            new.sealed_private.clone().into(),
            new.now.as_i64().into(),
            new.signs.then_some(new.now.as_i64()).into(),
        ],
    )?;
    Ok(())
}

/// An announced key begins to sign. Under the guard, after the one before it has left that state.
pub fn promote(sql: &mut dyn Sql, kid: &KeyId, now: UnixSeconds) -> Result<(), StoreError> {
    one(sql.execute(
        "UPDATE signing_key SET state = 'signing', signing_at = ?2 WHERE kid = ?1 AND state = 'announced'",
        &[kid.as_str().into(), now.as_i64().into()],
    )?)
}

/// A signing key stops signing; its private half is gone for good. Under the guard.
pub fn retire(sql: &mut dyn Sql, kid: &KeyId, now: UnixSeconds) -> Result<(), StoreError> {
    one(sql.execute(
        "UPDATE signing_key SET state = 'retired', retired_at = ?2, sealed_private = NULL WHERE kid = ?1 AND state = 'signing'",
        &[kid.as_str().into(), now.as_i64().into()],
    )?)
}

/// A retired key leaves the published set. Under the guard.
pub fn withdraw(sql: &mut dyn Sql, kid: &KeyId, now: UnixSeconds) -> Result<(), StoreError> {
    one(sql.execute(
        "UPDATE signing_key SET state = 'withdrawn', withdrawn_at = ?2 WHERE kid = ?1 AND state = 'retired'",
        &[kid.as_str().into(), now.as_i64().into()],
    )?)
}

/// A key of any state counts for nothing from now on. Under the guard.
pub fn revoke(sql: &mut dyn Sql, kid: &KeyId, now: UnixSeconds) -> Result<(), StoreError> {
    one(sql.execute(
        "UPDATE signing_key SET state = 'revoked', withdrawn_at = ?2, sealed_private = NULL WHERE kid = ?1 AND state <> 'revoked'",
        &[kid.as_str().into(), now.as_i64().into()],
    )?)
}

/// Forgets a key. Under the guard.
pub fn delete(sql: &mut dyn Sql, kid: &KeyId) -> Result<(), StoreError> {
    one(sql.execute("DELETE FROM signing_key WHERE kid = ?1", &[kid.as_str().into()])?)
}

fn one(rows: u64) -> Result<(), StoreError> {
    if rows == 1 {
        Ok(())
    } else {
        Err(StoreError::Conflict("a key was not in the state that the plan saw"))
    }
}

fn key(row: &Row) -> Result<Key, StoreError> {
    let time = |column| row.opt_int(column).map(|seconds| seconds.map(UnixSeconds::new));
    Ok(Key {
        kid: KeyId::parse(row.text(0)?).map_err(|_| corrupt("kid"))?,
        alg: SigningAlg::parse(&row.text(1)?).ok_or_else(|| corrupt("alg"))?,
        state: State::parse(&row.text(2)?).ok_or_else(|| corrupt("state"))?,
        announced_at: UnixSeconds::new(row.int(3)?),
        signing_at: time(4)?,
        retired_at: time(5)?,
        withdrawn_at: time(6)?,
    })
}

fn stored(row: &Row) -> Result<StoredKey, StoreError> {
    let entry = json::parse_object(row.text(3)?.as_bytes()).map_err(|_| corrupt("public_jwk"))?;
    let public = PublicJwk::take(&entry).map_err(|_| corrupt("public_jwk"))?;
    if public.kid.as_str() != row.text(0)? || public.alg.as_str() != row.text(1)? {
        return Err(corrupt("public_jwk"));
    }
    let state = State::parse(&row.text(2)?).ok_or_else(|| corrupt("state"))?;
    Ok(StoredKey { state, public, sealed_private: row.opt_bytes(4)? })
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt(format!("signing_key.{column} does not hold what was stored"))
}
