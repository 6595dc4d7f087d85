//! Accounts. Every act that ends sessions and grants is one guarded UPDATE of the account's epoch.

use database::{Row, Sql};
use serde_json::{Map, Value};
use shared_types::{Subject, UnixSeconds};

use super::{StoreError, from_json, to_json};
use crate::domain::account::username_key;
pub use crate::domain::account::{Account, NewAccount};
use crate::domain::row_id::{CANDIDATES, RowId};

// Columns in the order of `account`. Tombstones have no username and are never found.
const FIND: &str = "SELECT id, subject, username, claims, enabled, epoch, password_hash, created_at FROM account WHERE id = ?1 AND username IS NOT NULL";
const FIND_BY_SUBJECT: &str = "SELECT id, subject, username, claims, enabled, epoch, password_hash, created_at FROM account WHERE subject = ?1 AND username IS NOT NULL";
const FIND_BY_USERNAME: &str = "SELECT id, subject, username, claims, enabled, epoch, password_hash, created_at FROM account WHERE username_key = ?1";
const LIST: &str =
    "SELECT id, subject, username, claims, enabled, epoch, password_hash, created_at FROM account
    WHERE id > ?1 AND username IS NOT NULL ORDER BY id LIMIT ?2";

/// Stores a person. `None`: somebody has that user name, in whatever case of letters, and nothing was changed.
///
/// Two at once: the unique indexes let one of them through.
pub fn insert(
    sql: &mut dyn Sql,
    ids: &[RowId; CANDIDATES],
    new: &NewAccount,
) -> Result<Option<RowId>, StoreError> {
    let key = username_key(&new.username);
    for id in ids {
        let rows = sql.execute(
            "INSERT INTO account (id, subject, username, username_key, password_hash, claims, enabled, epoch, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 0, ?7) ON CONFLICT DO NOTHING",
            &[
                (*id).into(),
                new.subject.as_str().into(),
                new.username.as_str().into(),
                key.as_str().into(),
                new.password_hash.as_str().into(),
                to_json(&new.claims)?.into(),
                new.created_at.as_i64().into(),
            ],
        )?;
        if rows == 1 {
            return Ok(Some(*id));
        }
        if find_by_username(sql, &new.username)?.is_some() {
            return Ok(None);
        }
    }
    Err(StoreError::Conflict("no free id for an account"))
}

/// The person of that user name, in any case of letters, enabled or not.
pub fn find_by_username(sql: &mut dyn Sql, username: &str) -> Result<Option<Account>, StoreError> {
    sql.query(FIND_BY_USERNAME, &[username_key(username).into()])?
        .first()
        .map(|row| account(row, 0))
        .transpose()
}

/// The person of that row, enabled or not; a deleted one is not found.
pub fn find(sql: &mut dyn Sql, id: RowId) -> Result<Option<Account>, StoreError> {
    sql.query(FIND, &[id.into()])?.first().map(|row| account(row, 0)).transpose()
}

/// The person of that subject, enabled or not; a deleted one is not found.
pub fn find_by_subject(
    sql: &mut dyn Sql,
    subject: &Subject,
) -> Result<Option<Account>, StoreError> {
    sql.query(FIND_BY_SUBJECT, &[subject.as_str().into()])?
        .first()
        .map(|row| account(row, 0))
        .transpose()
}

/// Up to `limit` people behind the row `after`, in the order of their rows.
pub fn list(
    sql: &mut dyn Sql,
    after: Option<RowId>,
    limit: i64,
) -> Result<Vec<Account>, StoreError> {
    let after = after.map_or(i64::MIN, RowId::as_i64);
    sql.query(LIST, &[after.into(), limit.into()])?.iter().map(|row| account(row, 0)).collect()
}

/// Replaces the claims. False: no such person. Two at once: the later ones stand, whole.
pub fn set_claims(
    sql: &mut dyn Sql,
    id: RowId,
    claims: &Map<String, Value>,
) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE account SET claims = ?2 WHERE id = ?1 AND username IS NOT NULL",
        &[id.into(), to_json(claims)?.into()],
    )?;
    Ok(rows == 1)
}

/// Sets the password; sessions and grants end. One guarded statement: of two at once the later password stands, and a sign-in that
/// checked the old one finds the epoch moved.
pub fn set_password(sql: &mut dyn Sql, id: RowId, password_hash: &str) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE account SET password_hash = ?2, epoch = epoch + 1 WHERE id = ?1 AND username IS NOT NULL",
        &[id.into(), password_hash.into()],
    )?;
    Ok(rows == 1)
}

/// Stores the same password under today's cost; nothing ends. Guarded by the old hash: a password set meanwhile wins.
pub fn rehash(
    sql: &mut dyn Sql,
    id: RowId,
    old_hash: &str,
    new_hash: &str,
) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE account SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2",
        &[id.into(), old_hash.into(), new_hash.into()],
    )?;
    Ok(rows == 1)
}

/// Enables or disables. Both move the epoch: disabling ends sessions and grants, enabling brings none back. False: nothing changed.
pub fn set_enabled(sql: &mut dyn Sql, id: RowId, enabled: bool) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE account SET enabled = ?2, epoch = epoch + 1 WHERE id = ?1 AND enabled <> ?2 AND username IS NOT NULL",
        &[id.into(), enabled.into()],
    )?;
    Ok(rows == 1)
}

/// Ends every session of the person, and with them the grants without `offline_access`; answers how many sessions that were.
///
/// One guarded statement: a session that is ended beside it is counted once. One that begins meanwhile began afterwards.
pub fn sign_out_everywhere(
    sql: &mut dyn Sql,
    id: RowId,
    now: UnixSeconds,
) -> Result<u64, StoreError> {
    let ended = sql.execute(
        "UPDATE session SET epoch = epoch + 1, ended_at = ?2 WHERE account_id = ?1 AND ended_at IS NULL",
        &[id.into(), now.as_i64().into()],
    )?;
    Ok(ended)
}

/// Deletes the person: name, password, claims and consents go, the row stays so that the subject is never used again. The epoch
/// moves, which ends every session and grant. The guarded UPDATE comes first: of two at once one is false.
pub fn delete(sql: &mut dyn Sql, id: RowId) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE account SET username = NULL, username_key = NULL, password_hash = NULL, claims = '{}', enabled = 0, epoch = epoch + 1
         WHERE id = ?1 AND username IS NOT NULL",
        &[id.into()],
    )?;
    if rows == 1 {
        sql.execute("DELETE FROM consent_scope WHERE account_id = ?1", &[id.into()])?;
        sql.execute("DELETE FROM consent WHERE account_id = ?1", &[id.into()])?;
    }
    Ok(rows == 1)
}

/// An account whose columns begin at `first`.
pub(super) fn account(row: &Row, first: usize) -> Result<Account, StoreError> {
    Ok(Account {
        id: RowId::new(row.int(first)?),
        subject: Subject::parse(row.text(first + 1)?)
            .map_err(|fault| StoreError::Corrupt(fault.to_string()))?,
        username: row.text(first + 2)?,
        claims: from_json("account.claims", &row.text(first + 3)?)?,
        enabled: row.flag(first + 4)?,
        epoch: row.int(first + 5)?,
        password_hash: row.opt_text(first + 6)?,
        created_at: UnixSeconds::new(row.int(first + 7)?),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use futures_util::future::join_all;
    use serde_json::json;

    use super::*;
    use crate::random::SeededRandom;
    use crate::store::testing::TestStore;

    /// A stored person; `seed` makes ids and subject.
    pub(in crate::store) async fn add(
        store: &TestStore,
        username: &str,
        seed: i64,
    ) -> Option<Account> {
        let random = SeededRandom::new(seed.unsigned_abs());
        let new = NewAccount::new(
            username.into(),
            Map::new(),
            "$argon2id$1".into(),
            UnixSeconds::new(1_000),
            &random,
        );
        let ids = std::array::from_fn(|n| RowId::new(seed * 10 + i64::try_from(n).unwrap()));
        let id: Option<RowId> =
            store.database.write(move |sql| insert(sql, &ids, &new)).await.unwrap();
        match id {
            None => None,
            Some(id) => store.database.read(move |sql| find(sql, id)).await.unwrap(),
        }
    }

    #[tokio::test]
    async fn one_of_many_that_want_a_name_gets_it() {
        let store = TestStore::open().await;
        let wanted =
            (1..=16).map(|seed| add(&store, if seed % 2 == 0 { "alice" } else { "ALICE" }, seed));
        let winners: Vec<Account> = join_all(wanted).await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        let found =
            store.database.read(|sql| find_by_username(sql, "aLiCe")).await.unwrap().unwrap();
        assert_eq!(found.subject, winners[0].subject);
        let subject = found.subject.clone();
        let by_subject =
            store.database.read(move |sql| find_by_subject(sql, &subject)).await.unwrap().unwrap();
        assert_eq!(by_subject.username, winners[0].username, "as it was written");
    }

    #[tokio::test]
    async fn an_id_that_is_taken_gives_way_to_the_next() {
        let store = TestStore::open().await;
        let person = |username: &str, seed| {
            NewAccount::new(
                username.into(),
                Map::new(),
                "$argon2id$1".into(),
                UnixSeconds::new(1_000),
                &SeededRandom::new(seed),
            )
        };
        let ids = [1, 2, 3, 4].map(RowId::new);
        let (alice, bob) = (person("alice", 1), person("bob", 2));
        let taken = store.database.write(move |sql| {
            Ok::<_, StoreError>((insert(sql, &ids, &alice)?, insert(sql, &ids, &bob)?))
        });
        assert_eq!(taken.await.unwrap(), (Some(RowId::new(1)), Some(RowId::new(2))));
    }

    #[tokio::test]
    async fn each_act_that_must_end_sessions_moves_the_epoch() {
        let store = TestStore::open().await;
        let id = add(&store, "alice", 1).await.unwrap().id;
        let epoch = || async {
            store.database.read(move |sql| find(sql, id)).await.unwrap().unwrap().epoch
        };
        assert_eq!(epoch().await, 0);
        assert!(
            store.database.write(move |sql| set_password(sql, id, "$argon2id$2")).await.unwrap()
        );
        assert_eq!(epoch().await, 1);
        assert!(store.database.write(move |sql| set_enabled(sql, id, false)).await.unwrap());
        assert!(
            !store.database.write(move |sql| set_enabled(sql, id, false)).await.unwrap(),
            "it is disabled already"
        );
        assert_eq!(epoch().await, 2);
        assert!(store.database.write(move |sql| set_enabled(sql, id, true)).await.unwrap());
        assert_eq!(epoch().await, 3);
        assert!(
            store
                .database
                .write(move |sql| rehash(sql, id, "$argon2id$2", "$argon2id$3"))
                .await
                .unwrap()
        );
        assert!(store.database.write(move |sql| set_claims(sql, id, &Map::new())).await.unwrap());
        assert_eq!(epoch().await, 3);
    }

    #[tokio::test]
    async fn a_new_hash_of_the_old_password_does_not_undo_a_new_password() {
        let store = TestStore::open().await;
        let id = add(&store, "alice", 1).await.unwrap().id;
        assert!(
            store.database.write(move |sql| set_password(sql, id, "$argon2id$new")).await.unwrap()
        );
        assert!(
            !store
                .database
                .write(move |sql| rehash(sql, id, "$argon2id$1", "$argon2id$old"))
                .await
                .unwrap()
        );
        let account = store.database.read(move |sql| find(sql, id)).await.unwrap().unwrap();
        assert_eq!(account.password_hash.as_deref(), Some("$argon2id$new"));
    }

    #[tokio::test]
    async fn a_deleted_person_leaves_a_subject_that_is_never_used_again() {
        let store = TestStore::open().await;
        let alice = add(&store, "alice", 1).await.unwrap();
        let claims = json!({"email": "alice@example.com"}).as_object().unwrap().clone();
        let id = alice.id;
        assert!(store.database.write(move |sql| set_claims(sql, id, &claims)).await.unwrap());
        assert!(store.database.write(move |sql| delete(sql, id)).await.unwrap());
        assert!(!store.database.write(move |sql| delete(sql, id)).await.unwrap());
        assert!(store.database.read(move |sql| find(sql, id)).await.unwrap().is_none());
        let left = store
            .database
            .read::<_, StoreError>(|sql| {
                Ok(sql.query("SELECT username, password_hash, claims FROM account", &[])?)
            })
            .await
            .unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(
            (left[0].opt_text(0), left[0].opt_text(1), left[0].text(2)),
            (Ok(None), Ok(None), Ok("{}".into()))
        );
        assert!(add(&store, "alice", 2).await.is_some(), "the name is free again");
    }

    #[tokio::test]
    async fn a_list_is_read_page_by_page() {
        let store = TestStore::open().await;
        for seed in 1..=5 {
            add(&store, &format!("person-{seed}"), seed).await.unwrap();
        }
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = store.database.read(move |sql| list(sql, after, 2)).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            seen.extend(page.into_iter().map(|account| account.username));
        }
        assert_eq!(seen, ["person-1", "person-2", "person-3", "person-4", "person-5"]);
    }
}
