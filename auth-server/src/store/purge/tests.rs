//! Walks over a real store: what goes, what stays, and in which steps.

use super::*;
use crate::store::testing::TestStore;

const NOW: UnixSeconds = UnixSeconds::new(2_000_000_000);
const LONGEST_TOKEN: i64 = 900;
const GRANT: &str = "INSERT INTO authorization_grant (id, code_hash, code_expires_at, redirect_uri, redirect_uri_sent, spent_at, \
     client_id, client_epoch, account_id, account_epoch, session_id, session_epoch, consent_epoch, subject, sid, scope, resources, \
     auth_time, acr, amr, offline, salt, refreshable, generation, rotated_at, retries, expires_at, ended_at) \
     VALUES (?1, ?2, ?3, 'r', 1, ?4, 'c', 0, 1, 0, 1, 0, 0, 's', 'sid', '', '[]', 0, 'a', '[]', 0, ?2, ?5, 0, ?6, 0, ?7, ?8)";

/// A row of `authorization_grant`: all times in seconds before now.
#[derive(Clone, Copy)]
struct Grant {
    code_expired: i64,
    spent: Option<i64>,
    used: i64,
    refreshable: bool,
    expired: i64,
    ended: Option<i64>,
}

const LIVE: Grant = Grant {
    code_expired: 7_200,
    spent: Some(7_260),
    used: 10,
    refreshable: true,
    expired: -10_000,
    ended: None,
};

fn insert_grant(sql: &mut dyn Sql, id: i64, grant: Grant) -> Result<u64, StoreError> {
    let ago = |seconds: i64| Value::from(NOW.plus(-seconds).as_i64());
    let values = [
        id.into(),
        [0; 32].into(),
        ago(grant.code_expired),
        grant.spent.map_or(Value::Null, ago),
        grant.refreshable.into(),
        ago(grant.used),
        ago(grant.expired),
        grant.ended.map_or(Value::Null, ago),
    ];
    Ok(sql.execute(GRANT, &values)?)
}

fn cutoffs() -> Cutoffs {
    Cutoffs::new(&Lifetimes::default(), LONGEST_TOKEN, NOW)
}

async fn round(store: &TestStore, table: Table, length: i64) -> (u64, usize) {
    let (mut removed, mut pages) = (0, 0);
    loop {
        let page =
            store.database.write(move |sql| page(sql, table, &cutoffs(), length)).await.unwrap();
        removed += page.removed;
        pages += 1;
        if page.at_end {
            return (removed, pages);
        }
    }
}

async fn ids(store: &TestStore) -> Vec<i64> {
    let query = "SELECT id FROM authorization_grant ORDER BY id";
    let rows = store.database.read(move |sql| sql.query(query, &[])).await.unwrap();
    rows.iter().map(|row| row.int(0).unwrap()).collect()
}

#[tokio::test]
async fn a_grant_goes_only_when_nothing_of_it_can_live() {
    let idle = Lifetimes::default().refresh_idle;
    let cases = [
        (LIVE, true),
        (Grant { spent: None, ..LIVE }, false),
        (Grant { spent: None, code_expired: CODE_MARGIN - 1, ..LIVE }, true),
        (Grant { spent: None, code_expired: CODE_MARGIN, ..LIVE }, false),
        (Grant { expired: MARGIN - 1, ..LIVE }, true),
        (Grant { expired: MARGIN, ..LIVE }, false),
        (Grant { ended: Some(ENDED - 1), ..LIVE }, true),
        (Grant { ended: Some(ENDED), ..LIVE }, false),
        (Grant { used: idle + MARGIN - 1, ..LIVE }, true),
        (Grant { used: idle + MARGIN, ..LIVE }, false),
        (Grant { refreshable: false, used: LONGEST_TOKEN + MARGIN - 1, ..LIVE }, true),
        (Grant { refreshable: false, used: LONGEST_TOKEN + MARGIN, ..LIVE }, false),
    ];
    let store = TestStore::open().await;
    store
        .database
        .write(move |sql| {
            for (id, (grant, _)) in (1..).zip(cases) {
                insert_grant(sql, id, grant)?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    round(&store, Table::Grants, LONGEST_PAGE).await;
    let kept: Vec<i64> =
        (1..).zip(cases).filter(|(_, (_, kept))| *kept).map(|(id, _)| id).collect();
    assert_eq!(ids(&store).await, kept);
}

#[tokio::test]
async fn a_walk_looks_at_every_row_in_short_pages_and_begins_anew() {
    let store = TestStore::open().await;
    let gone = Grant { expired: MARGIN, ..LIVE };
    store
        .database
        .write(move |sql| {
            (1..=25).try_for_each(|id| {
                insert_grant(sql, id, if id % 2 == 0 { gone } else { LIVE }).map(drop)
            })
        })
        .await
        .unwrap();
    assert_eq!(round(&store, Table::Grants, 10).await, (12, 3));
    assert_eq!(ids(&store).await, (1..=25).step_by(2).collect::<Vec<_>>());
    store.database.write(move |sql| insert_grant(sql, 2, gone)).await.unwrap();
    assert_eq!(round(&store, Table::Grants, 10).await, (1, 2), "the beginning is looked at again");
    assert_eq!(
        round(&store, Table::Grants, 13).await,
        (0, 2),
        "a full last page needs a look behind it"
    );
}

#[tokio::test]
async fn sessions_go_after_their_absolute_end_or_a_day_after_sign_out() {
    let store = TestStore::open().await;
    let account = "INSERT INTO account (id, subject, claims, enabled, epoch, created_at) VALUES (1, 's', '{}', 1, 0, 0)";
    let session = "INSERT INTO session (id, secret_hash, sid, account_id, account_epoch, epoch, auth_time, acr, amr, seen_at, \
         expires_at, ended_at) VALUES (?1, ?2, 's', 1, 0, 0, 0, 'a', '[]', 0, ?3, ?4)";
    store
        .database
        .write(move |sql| {
            sql.execute(account, &[])?;
            let now = NOW.as_i64();
            for (id, expires_at, ended_at) in [
                (1, now + 1, None),
                (2, now - MARGIN, None),
                (3, now + 1, Some(now - ENDED)),
                (4, now + 1, Some(now - ENDED + 1)),
            ] {
                sql.execute(
                    session,
                    &[Value::Int(id), [0; 32].into(), expires_at.into(), ended_at.into()],
                )?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    assert_eq!(round(&store, Table::Sessions, LONGEST_PAGE).await, (2, 1));
}

#[tokio::test]
async fn tables_with_names_for_keys_are_walked_too() {
    let store = TestStore::open().await;
    let denied = "INSERT INTO denied_token (jti, expires_at) VALUES (?1, ?2)";
    let counter = "INSERT INTO throttle (bucket, failures, window_ends_at) VALUES (?1, 1, ?2)";
    store
        .database
        .write(move |sql| {
            for number in 0_i64..9 {
                let end = NOW.as_i64() - if number % 3 == 0 { MARGIN } else { MARGIN - 1 };
                sql.execute(denied, &[format!("k{number}").into(), end.into()])?;
                sql.execute(counter, &[format!("k{number}").into(), end.into()])?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    for table in [Table::DeniedTokens, Table::Throttle] {
        assert_eq!(round(&store, table, 2).await.0, 3, "{table:?}");
        assert_eq!(round(&store, table, 2).await.0, 0, "{table:?}");
    }
}
