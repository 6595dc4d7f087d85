//! What people allowed clients: a row for each scope token, and one with the epoch that grants hang on.

use database::Sql;
use shared_types::{ClientId, Scope, ScopeToken, UnixSeconds};

use super::StoreError;
pub use crate::domain::consent::StoredConsent;
use crate::domain::row_id::RowId;

/// What the person allowed the client, and the epoch a new grant must carry. Reads only.
///
/// The epoch is read before the scopes: a withdrawal in between leaves an old epoch, and so a dead grant, never a live one.
pub fn granted(
    sql: &mut dyn Sql,
    account_id: RowId,
    client_id: &ClientId,
) -> Result<StoredConsent, StoreError> {
    let params = [account_id.into(), client_id.as_str().into()];
    let epochs =
        sql.query("SELECT epoch FROM consent WHERE account_id = ?1 AND client_id = ?2", &params)?;
    let epoch = epochs.first().map(|row| row.int(0)).transpose()?.unwrap_or(0);
    let rows = sql.query(
        "SELECT scope FROM consent_scope WHERE account_id = ?1 AND client_id = ?2",
        &params,
    )?;
    let tokens: Result<Vec<ScopeToken>, StoreError> = rows
        .iter()
        .map(|row| {
            ScopeToken::parse(&row.text(0)?).map_err(|fault| StoreError::Corrupt(fault.to_string()))
        })
        .collect();
    Ok(StoredConsent { scope: tokens?.into_iter().collect(), epoch })
}

/// Adds what the person has just allowed; answers the epoch for the grant. Older grants go on.
///
/// The epoch's row is written first, so its lock orders this beside a withdrawal: what stands afterwards is what came last.
pub fn remember(
    sql: &mut dyn Sql,
    account_id: RowId,
    client_id: &ClientId,
    scope: &Scope,
    now: UnixSeconds,
) -> Result<i64, StoreError> {
    let rows = sql.query(
        "INSERT INTO consent (account_id, client_id, epoch) VALUES (?1, ?2, 0)
         ON CONFLICT (account_id, client_id) DO UPDATE SET epoch = consent.epoch RETURNING epoch",
        &[account_id.into(), client_id.as_str().into()],
    )?;
    for token in scope.iter() {
        sql.execute(
            "INSERT INTO consent_scope (account_id, client_id, scope, granted_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (account_id, client_id, scope) DO NOTHING",
            &[account_id.into(), client_id.as_str().into(), token.as_str().into(), now.as_i64().into()],
        )?;
    }
    let row = rows.first().ok_or_else(|| StoreError::Corrupt("a consent was not stored".into()))?;
    Ok(row.int(0)?)
}

/// Withdraws everything the person allowed the client and ends its grants, also those of a consent that was never stored.
///
/// The epoch moves first: its row's lock orders this beside [`remember`].
pub fn withdraw(
    sql: &mut dyn Sql,
    account_id: RowId,
    client_id: &ClientId,
) -> Result<(), StoreError> {
    let params = [account_id.into(), client_id.as_str().into()];
    sql.execute(
        "INSERT INTO consent (account_id, client_id, epoch) VALUES (?1, ?2, 1)
         ON CONFLICT (account_id, client_id) DO UPDATE SET epoch = consent.epoch + 1",
        &params,
    )?;
    sql.execute("DELETE FROM consent_scope WHERE account_id = ?1 AND client_id = ?2", &params)?;
    Ok(())
}

/// Removes whatever people allowed a client of that name, in one go: where [`forget_client`] came to its end, there is nothing.
pub fn forget_all_of_client(sql: &mut dyn Sql, client_id: &ClientId) -> Result<(), StoreError> {
    let client = [client_id.as_str().into()];
    sql.execute("DELETE FROM consent_scope WHERE client_id = ?1", &client)?;
    sql.execute("DELETE FROM consent WHERE client_id = ?1", &client)?;
    Ok(())
}

/// Removes what people allowed a client that is being deleted, at most 500 rows of each kind; answers how many there were, so call it until
/// that is 0. Disable the client first: then nothing is added, and its grants have ended.
pub fn forget_client(sql: &mut dyn Sql, client_id: &ClientId) -> Result<u64, StoreError> {
    let client = [client_id.as_str().into()];
    let scopes = sql.execute(
        "DELETE FROM consent_scope WHERE client_id = ?1 AND (account_id, scope) IN
             (SELECT account_id, scope FROM consent_scope WHERE client_id = ?1 LIMIT 500)",
        &client,
    )?;
    let consents = sql.execute(
        "DELETE FROM consent WHERE client_id = ?1 AND account_id IN
             (SELECT account_id FROM consent WHERE client_id = ?1 LIMIT 500)",
        &client,
    )?;
    Ok(scopes + consents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::accounts::{self, tests::add};
    use crate::store::testing::TestStore;

    const NOW: UnixSeconds = UnixSeconds::new(1_000);

    fn client() -> ClientId {
        ClientId::parse("c").unwrap()
    }

    async fn allow(store: &TestStore, person: RowId, scope: &str) -> i64 {
        let scope = Scope::parse(scope).unwrap();
        store
            .database
            .write(move |sql| remember(sql, person, &client(), &scope, NOW))
            .await
            .unwrap()
    }

    async fn stored(store: &TestStore, person: RowId) -> (String, i64) {
        let consent: StoredConsent =
            store.database.read(move |sql| granted(sql, person, &client())).await.unwrap();
        (consent.scope.to_string(), consent.epoch)
    }

    #[tokio::test]
    async fn what_is_allowed_adds_up_and_ends_nothing() {
        let store = TestStore::open().await;
        let person = add(&store, "alice", 1).await.unwrap().id;
        assert_eq!(stored(&store, person).await, (String::new(), 0));
        assert_eq!(allow(&store, person, "openid").await, 0);
        assert_eq!(allow(&store, person, "openid profile").await, 0);
        assert_eq!(stored(&store, person).await, ("openid profile".into(), 0));
    }

    #[tokio::test]
    async fn withdrawing_deletes_everything_and_moves_the_epoch() {
        let store = TestStore::open().await;
        let person = add(&store, "alice", 1).await.unwrap().id;
        allow(&store, person, "openid").await;
        store.database.write(move |sql| withdraw(sql, person, &client())).await.unwrap();
        assert_eq!(stored(&store, person).await, (String::new(), 1));
        assert_eq!(allow(&store, person, "email").await, 1);
        assert_eq!(stored(&store, person).await, ("email".into(), 1));
    }

    #[tokio::test]
    async fn withdrawing_what_was_never_stored_ends_grants_too() {
        let store = TestStore::open().await;
        let person = add(&store, "alice", 1).await.unwrap().id;
        store.database.write(move |sql| withdraw(sql, person, &client())).await.unwrap();
        assert_eq!(stored(&store, person).await, (String::new(), 1));
    }

    #[tokio::test]
    async fn consent_is_one_persons_for_one_client() {
        let store = TestStore::open().await;
        let alice = add(&store, "alice", 1).await.unwrap().id;
        let bob = add(&store, "bob", 2).await.unwrap().id;
        allow(&store, alice, "openid").await;
        assert_eq!(stored(&store, bob).await, (String::new(), 0));
        let other = ClientId::parse("other").unwrap();
        let elsewhere = store.database.read(move |sql| granted(sql, alice, &other)).await.unwrap();
        assert_eq!(elsewhere, StoredConsent::default());
    }

    #[tokio::test]
    async fn a_deleted_client_or_person_leaves_nothing_allowed() {
        let store = TestStore::open().await;
        let person = add(&store, "alice", 1).await.unwrap().id;
        allow(&store, person, "openid profile").await;
        assert_eq!(
            store.database.write(move |sql| forget_client(sql, &client())).await.unwrap(),
            3
        );
        assert_eq!(
            store.database.write(move |sql| forget_client(sql, &client())).await.unwrap(),
            0
        );
        assert_eq!(stored(&store, person).await, (String::new(), 0));
        allow(&store, person, "openid").await;
        store.database.write(move |sql| accounts::delete(sql, person)).await.unwrap();
        assert_eq!(stored(&store, person).await, (String::new(), 0));
    }
}
