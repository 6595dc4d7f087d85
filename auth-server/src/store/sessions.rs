//! Browser sessions: found by their row's id, proved by the cookie's secret, of which only the hash is here.

use database::{Row, Sql};
use shared_types::UnixSeconds;

use super::{StoreError, accounts, from_json, to_json};
use crate::domain::account::Account;
use crate::domain::row_id::{CANDIDATES, RowId};
use crate::domain::secret::SecretHash;
use crate::domain::session::TOUCH_INTERVAL;
pub use crate::domain::session::{NewSession, Session};

/// How many columns of the join belong to the session; the account's follow.
const SESSION_COLUMNS: usize = 12;

/// How many sessions one account has: the browsers of a person, and many more.
const MAX_OF_ACCOUNT: i64 = 50;

/// All but the last used of an account's sessions; those that have ended go first.
const FORGET_OLDEST: &str = "DELETE FROM session WHERE id IN
     (SELECT id FROM session WHERE account_id = ?1
      ORDER BY CASE WHEN ended_at IS NULL THEN 0 ELSE 1 END, seen_at DESC, id DESC LIMIT 500 OFFSET ?2)";

/// Stores a session with the first free id. `None`: the account was disabled, deleted or changed its password since `account_epoch`
/// was read, so nobody has signed in.
///
/// Beside such a change the guard may still pass; then the session is dead all the same, since its `account_epoch` is old.
///
/// An account has at most 50: beyond that the one that was used least lately ends, by its row's end. Of several sign-ins at once each may
/// leave one more, until the next.
pub fn insert(
    sql: &mut dyn Sql,
    ids: &[RowId; CANDIDATES],
    new: &NewSession,
) -> Result<Option<RowId>, StoreError> {
    let live = sql.query(
        "SELECT 1 FROM account WHERE id = ?1 AND enabled = 1 AND epoch = ?2",
        &[new.account_id.into(), new.account_epoch.into()],
    )?;
    if live.is_empty() {
        return Ok(None);
    }
    for id in ids {
        let rows = sql.execute(
            "INSERT INTO session (id, secret_hash, sid, account_id, account_epoch, epoch, auth_time, acr, amr, seen_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?6, ?9) ON CONFLICT (id) DO NOTHING",
            &[
                (*id).into(),
                new.secret_hash.as_bytes().into(),
                new.sid.as_str().into(),
                new.account_id.into(),
                new.account_epoch.into(),
                new.auth_time.as_i64().into(),
                new.acr.as_str().into(),
                to_json(&new.amr)?.into(),
                new.expires_at.as_i64().into(),
            ],
        )?;
        if rows == 1 {
            sql.execute(FORGET_OLDEST, &[new.account_id.into(), MAX_OF_ACCOUNT.into()])?;
            return Ok(Some(*id));
        }
    }
    Err(StoreError::Conflict("no free id for a session"))
}

/// The session of that row and its person, if `secret` is the cookie's (compared in constant time), it has not ended, expired or
/// idled for `idle` seconds, and the account is enabled and unchanged. Reads only.
pub fn find_live(
    sql: &mut dyn Sql,
    id: RowId,
    secret: &[u8],
    now: UnixSeconds,
    idle: i64,
) -> Result<Option<(Session, Account)>, StoreError> {
    let rows = sql.query(
        "SELECT s.id, s.secret_hash, s.sid, s.account_id, s.account_epoch, s.epoch, s.auth_time, s.acr, s.amr, s.seen_at, s.expires_at, s.ended_at,
                a.id, a.subject, a.username, a.claims, a.enabled, a.epoch, a.password_hash, a.created_at
         FROM session s JOIN account a ON a.id = s.account_id
         WHERE s.id = ?1 AND s.ended_at IS NULL AND a.enabled = 1 AND a.epoch = s.account_epoch",
        &[id.into()],
    )?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let hash = SecretHash::from_stored(&row.bytes(1)?).ok_or_else(|| {
        StoreError::Corrupt("a session's secret hash has the wrong length".into())
    })?;
    let session = session(row)?;
    if !hash.matches(secret) || !session.is_live(now, idle) {
        return Ok(None);
    }
    Ok(Some((session, accounts::account(row, SESSION_COLUMNS)?)))
}

/// The same person has signed in again in this browser: the cookie's secret changes, what hangs on the session stays. False: it has
/// ended meanwhile, or it is somebody else's; then [`insert`] a new one. One guarded statement; of two at once the later cookie
/// stands.
pub fn renew(sql: &mut dyn Sql, id: RowId, new: &NewSession) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE session SET secret_hash = ?2, auth_time = ?5, acr = ?6, amr = ?7, seen_at = ?5, expires_at = ?8
         WHERE id = ?1 AND account_id = ?3 AND account_epoch = ?4 AND ended_at IS NULL",
        &[
            id.into(),
            new.secret_hash.as_bytes().into(),
            new.account_id.into(),
            new.account_epoch.into(),
            new.auth_time.as_i64().into(),
            new.acr.as_str().into(),
            to_json(&new.amr)?.into(),
            new.expires_at.as_i64().into(),
        ],
    )?;
    Ok(rows == 1)
}

/// Writes down that the session is used, at most once a minute. Guarded: an ended session stays untouched, and of many at once one
/// writes.
pub fn touch(sql: &mut dyn Sql, id: RowId, now: UnixSeconds) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE session SET seen_at = ?2 WHERE id = ?1 AND ended_at IS NULL AND seen_at <= ?3",
        &[id.into(), now.as_i64().into(), now.plus(-TOUCH_INTERVAL).as_i64().into()],
    )?;
    Ok(rows == 1)
}

/// Ends the session and, by its epoch, the grants that hang on it. True for exactly one of many at once.
pub fn end(sql: &mut dyn Sql, id: RowId, now: UnixSeconds) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE session SET epoch = epoch + 1, ended_at = ?2 WHERE id = ?1 AND ended_at IS NULL",
        &[id.into(), now.as_i64().into()],
    )?;
    Ok(rows == 1)
}

fn session(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        id: RowId::new(row.int(0)?),
        sid: row.text(2)?,
        account_id: RowId::new(row.int(3)?),
        account_epoch: row.int(4)?,
        epoch: row.int(5)?,
        auth_time: UnixSeconds::new(row.int(6)?),
        acr: row.text(7)?,
        amr: from_json("session.amr", &row.text(8)?)?,
        seen_at: UnixSeconds::new(row.int(9)?),
        expires_at: UnixSeconds::new(row.int(10)?),
        ended_at: row.opt_int(11)?.map(UnixSeconds::new),
    })
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::store::accounts::tests::add;
    use crate::store::testing::TestStore;

    const IDLE: i64 = 600;
    const SECRET: &[u8] = b"secret";

    fn at(seconds: i64) -> UnixSeconds {
        UnixSeconds::new(seconds)
    }

    fn new_session(account: &Account, secret: &[u8]) -> NewSession {
        NewSession {
            secret_hash: SecretHash::of(secret),
            sid: "sid".into(),
            account_id: account.id,
            account_epoch: account.epoch,
            auth_time: at(1_000),
            acr: "1".into(),
            amr: vec!["pwd".into()],
            expires_at: at(5_000),
        }
    }

    async fn begin(store: &TestStore, new: NewSession) -> Option<RowId> {
        let ids = [1, 2, 3, 4].map(RowId::new);
        store.database.write(move |sql| insert(sql, &ids, &new)).await.unwrap()
    }

    async fn live(
        store: &TestStore,
        id: RowId,
        secret: &'static [u8],
        now: i64,
    ) -> Option<(Session, Account)> {
        store.database.read(move |sql| find_live(sql, id, secret, at(now), IDLE)).await.unwrap()
    }

    async fn signed_in() -> (TestStore, Account, RowId) {
        let store = TestStore::open().await;
        let account = add(&store, "alice", 1).await.unwrap();
        let id = begin(&store, new_session(&account, SECRET)).await.unwrap();
        (store, account, id)
    }

    #[tokio::test]
    async fn only_the_cookie_with_the_secret_finds_the_session() {
        let (store, account, id) = signed_in().await;
        let (session, person) = live(&store, id, SECRET, 1_000).await.unwrap();
        assert_eq!(
            (person.subject, session.sid.as_str(), session.auth_time),
            (account.subject, "sid", at(1_000))
        );
        assert_eq!(session.amr, ["pwd"]);
        assert!(live(&store, id, b"secreT", 1_000).await.is_none());
        assert!(live(&store, RowId::new(9), SECRET, 1_000).await.is_none());
    }

    #[tokio::test]
    async fn two_sessions_never_share_an_id() {
        let (store, account, first) = signed_in().await;
        let second = begin(&store, new_session(&account, b"other")).await.unwrap();
        assert_ne!(first, second);
    }

    #[tokio::test]
    async fn an_account_has_fifty_sessions_and_those_used_least_lately_go() {
        let (store, alice, first) = signed_in().await;
        let bob = add(&store, "bob", 2).await.unwrap();
        let of_bob = begin_at(&store, &bob, 100, 900).await;
        store.database.write(move |sql| touch(sql, first, at(2_000))).await.unwrap();
        let mut ids = Vec::new();
        for number in 0..50 {
            ids.push(begin_at(&store, &alice, 200 + number, 1_100 + number).await);
        }
        for (id, lives) in [(first, true), (ids[0], false), (ids[1], true), (ids[49], true)] {
            assert_eq!(live(&store, id, SECRET, 1_500).await.is_some(), lives, "{id:?}");
        }
        // An ended one goes before any that is live.
        let ended = ids[40];
        store.database.write(move |sql| end(sql, ended, at(1_500))).await.unwrap();
        let last = begin_at(&store, &alice, 300, 1_500).await;
        for id in [first, ids[1], last, of_bob] {
            assert!(live(&store, id, SECRET, 1_499).await.is_some(), "{id:?}");
        }
        let count = "SELECT COUNT(*) FROM session WHERE account_id = ?1";
        let rows =
            store.database.read(move |sql| sql.query(count, &[alice.id.into()])).await.unwrap();
        assert_eq!(rows[0].int(0), Ok(50));
    }

    async fn begin_at(store: &TestStore, account: &Account, id: i64, now: i64) -> RowId {
        let ids = [0, 1, 2, 3].map(|n| RowId::new(id * 10 + n));
        let new = NewSession { auth_time: at(now), ..new_session(account, SECRET) };
        store.database.write(move |sql| insert(sql, &ids, &new)).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_session_idles_out_unless_it_is_used() {
        let (store, _, id) = signed_in().await;
        assert!(live(&store, id, SECRET, 1_599).await.is_some());
        assert!(live(&store, id, SECRET, 1_600).await.is_none());
        assert!(store.database.write(move |sql| touch(sql, id, at(1_500))).await.unwrap());
        assert!(live(&store, id, SECRET, 2_099).await.is_some());
        assert!(live(&store, id, SECRET, 2_100).await.is_none());
    }

    #[tokio::test]
    async fn a_use_is_written_at_most_once_a_minute() {
        let (store, _, id) = signed_in().await;
        for (now, written) in
            [(1_059, false), (1_060, true), (1_061, false), (1_119, false), (1_120, true)]
        {
            assert_eq!(
                store.database.write(move |sql| touch(sql, id, at(now))).await,
                Ok::<_, StoreError>(written),
                "{now}"
            );
        }
    }

    #[tokio::test]
    async fn of_many_that_end_a_session_one_did() {
        let (store, _, id) = signed_in().await;
        let ends = (0..64).map(|_| store.database.write(move |sql| end(sql, id, at(1_001))));
        let ended = join_all(ends).await.into_iter().filter(|done| *done == Ok(true)).count();
        assert_eq!(ended, 1);
        assert!(live(&store, id, SECRET, 1_001).await.is_none());
        assert!(
            !store.database.write(move |sql| touch(sql, id, at(2_000))).await.unwrap(),
            "an ended session is not revived"
        );
    }

    #[tokio::test]
    async fn whatever_happens_to_the_account_ends_its_sessions() {
        type Act = fn(&mut dyn Sql, RowId) -> Result<bool, StoreError>;
        let acts: [Act; 4] = [
            |sql, account| accounts::set_password(sql, account, "$argon2id$2"),
            |sql, account| accounts::set_enabled(sql, account, false),
            accounts::delete,
            |sql, account| {
                accounts::sign_out_everywhere(sql, account, at(1_001)).map(|ended| ended == 1)
            },
        ];
        for (number, act) in acts.into_iter().enumerate() {
            let (store, account, id) = signed_in().await;
            assert!(
                store.database.write(move |sql| act(sql, account.id)).await.unwrap(),
                "{number}"
            );
            assert!(live(&store, id, SECRET, 1_001).await.is_none(), "{number}");
        }
    }

    #[tokio::test]
    async fn a_disabled_and_enabled_account_has_lost_its_sessions() {
        let (store, account, id) = signed_in().await;
        let account_id = account.id;
        store
            .database
            .write(move |sql| accounts::set_enabled(sql, account_id, false))
            .await
            .unwrap();
        assert!(
            begin(&store, new_session(&account, SECRET)).await.is_none(),
            "nobody signs in to a disabled account"
        );
        store
            .database
            .write(move |sql| accounts::set_enabled(sql, account_id, true))
            .await
            .unwrap();
        assert!(live(&store, id, SECRET, 1_001).await.is_none());
    }

    #[tokio::test]
    async fn a_password_changed_during_the_sign_in_lets_nobody_in() {
        let (store, account, _) = signed_in().await;
        let account_id = account.id;
        store
            .database
            .write(move |sql| accounts::set_password(sql, account_id, "$argon2id$2"))
            .await
            .unwrap();
        assert!(begin(&store, new_session(&account, SECRET)).await.is_none());
    }

    #[tokio::test]
    async fn signing_in_again_voids_the_old_cookie_and_keeps_the_session() {
        let (store, account, id) = signed_in().await;
        let again = NewSession {
            auth_time: at(2_000),
            expires_at: at(6_000),
            ..new_session(&account, b"fresh")
        };
        assert!(store.database.write(move |sql| renew(sql, id, &again)).await.unwrap());
        assert!(live(&store, id, SECRET, 2_000).await.is_none());
        let (session, _) = live(&store, id, b"fresh", 2_000).await.unwrap();
        assert_eq!(
            (session.auth_time, session.epoch, session.expires_at),
            (at(2_000), 0, at(6_000))
        );
    }

    #[tokio::test]
    async fn a_session_is_not_renewed_by_somebody_else_or_after_its_end() {
        let (store, alice, id) = signed_in().await;
        let bob = add(&store, "bob", 2).await.unwrap();
        let of_bob = new_session(&bob, b"fresh");
        assert!(!store.database.write(move |sql| renew(sql, id, &of_bob)).await.unwrap());
        store.database.write(move |sql| end(sql, id, at(1_001))).await.unwrap();
        let of_alice = new_session(&alice, b"fresh");
        assert!(!store.database.write(move |sql| renew(sql, id, &of_alice)).await.unwrap());
    }
}
