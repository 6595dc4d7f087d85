//! Clients: the metadata as a document, and what statements decide on as columns. All of them are held in memory by every instance.

use database::{Row, Sql, Value};
use shared_types::{ClientId, UnixSeconds};

use super::{StoreError, consents, epochs, from_json, to_json};
use crate::domain::client::{Client, ClientMetadata, OldSecret};
use crate::domain::secret::SecretHash;

/// A client that is registered for the first time.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// Its metadata.
    pub metadata: ClientMetadata,
    /// Its secret's hash; none for a public client.
    pub secret: Option<SecretHash>,
    /// Its first epoch: the time in milliseconds, so that grants of a deleted client of the same name stay dead.
    pub epoch: i64,
    /// When it was registered.
    pub created_at: UnixSeconds,
}

const COLUMNS_ALL: &str = "SELECT document, secret_hash, old_secret_hash, old_secret_until, enabled, epoch, tokens_not_before FROM client ORDER BY client_id";
const COLUMNS_ONE: &str = "SELECT document, secret_hash, old_secret_hash, old_secret_until, enabled, epoch, tokens_not_before FROM client WHERE client_id = ?1";

/// Registers a client. False: one of that identifier exists, and nothing was changed.
///
/// What people allowed a client of that name before is forgotten in the same unit: also where the process that deleted that one died on
/// its way, nobody inherits it.
pub fn insert(sql: &mut dyn Sql, new: &NewClient) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "INSERT INTO client (client_id, document, secret_hash, enabled, epoch, tokens_not_before, created_at)
         VALUES (?1, ?2, ?3, 1, ?4, ?5, ?5)
         ON CONFLICT (client_id) DO NOTHING",
        &[
            new.metadata.client_id.as_str().into(),
            to_json(&new.metadata)?.into(),
            secret_value(new.secret.as_ref()),
            new.epoch.into(),
            new.created_at.as_i64().into(),
        ],
    )?;
    if rows == 1 {
        consents::forget_all_of_client(sql, &new.metadata.client_id)?;
    }
    epochs::bump_registry(sql)?;
    Ok(rows == 1)
}

/// Every client, ordered by identifier.
pub fn list(sql: &mut dyn Sql) -> Result<Vec<Client>, StoreError> {
    sql.query(COLUMNS_ALL, &[])?.iter().map(client).collect()
}

/// One client, whether enabled or not.
pub fn find(sql: &mut dyn Sql, id: &ClientId) -> Result<Option<Client>, StoreError> {
    sql.query(COLUMNS_ONE, &[id.as_str().into()])?.first().map(client).transpose()
}

/// Replaces the metadata. False: no such client. Two at once: the later one stands, whole.
pub fn update(sql: &mut dyn Sql, metadata: &ClientMetadata) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE client SET document = ?2 WHERE client_id = ?1",
        &[metadata.client_id.as_str().into(), to_json(metadata)?.into()],
    )?;
    epochs::bump_registry(sql)?;
    Ok(rows == 1)
}

/// Sets the secret; the one before it is taken until `keep_old_until`, or not at all. One guarded statement: of two at once the
/// later one's secret stands and the earlier one's becomes the old one.
pub fn set_secret(
    sql: &mut dyn Sql,
    id: &ClientId,
    secret: Option<&SecretHash>,
    keep_old_until: Option<UnixSeconds>,
) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE client SET old_secret_hash = CASE WHEN CAST(?3 AS BIGINT) IS NULL THEN NULL ELSE secret_hash END,
                           old_secret_until = ?3, secret_hash = ?2
         WHERE client_id = ?1",
        &[id.as_str().into(), secret_value(secret), keep_old_until.map(UnixSeconds::as_i64).into()],
    )?;
    epochs::bump_registry(sql)?;
    Ok(rows == 1)
}

/// Gives a client without a secret its first one. False: it has one, or there is no such client. Of two at once one does.
pub fn give_secret(
    sql: &mut dyn Sql,
    id: &ClientId,
    secret: &SecretHash,
) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE client SET secret_hash = ?2 WHERE client_id = ?1 AND secret_hash IS NULL",
        &[id.as_str().into(), secret.as_bytes().into()],
    )?;
    epochs::bump_registry(sql)?;
    Ok(rows == 1)
}

/// Enables or disables. Either ends every grant by moving the epoch, and every token of the client's own: enabling brings none back.
pub fn set_enabled(
    sql: &mut dyn Sql,
    id: &ClientId,
    enabled: bool,
    now: UnixSeconds,
) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE client SET enabled = ?2, epoch = epoch + 1, tokens_not_before = ?3 WHERE client_id = ?1 AND enabled <> ?2",
        &[id.as_str().into(), enabled.into(), after(now)],
    )?;
    epochs::bump_registry(sql)?;
    Ok(rows == 1)
}

/// Ends every grant of the client by moving its epoch, and every token of its own.
pub fn revoke_tokens(
    sql: &mut dyn Sql,
    id: &ClientId,
    now: UnixSeconds,
) -> Result<bool, StoreError> {
    let rows = sql.execute(
        "UPDATE client SET epoch = epoch + 1, tokens_not_before = ?2 WHERE client_id = ?1",
        &[id.as_str().into(), after(now)],
    )?;
    epochs::bump_registry(sql)?;
    Ok(rows == 1)
}

/// The next second: a token of this very second may be older than the act, so it does not count either.
fn after(now: UnixSeconds) -> Value {
    now.plus(1).as_i64().into()
}

/// Removes the client. Its grants find no parent any more, which ends them.
pub fn delete(sql: &mut dyn Sql, id: &ClientId) -> Result<bool, StoreError> {
    let rows = sql.execute("DELETE FROM client WHERE client_id = ?1", &[id.as_str().into()])?;
    epochs::bump_registry(sql)?;
    Ok(rows == 1)
}

fn secret_value(secret: Option<&SecretHash>) -> Value {
    secret.map_or(Value::Null, |hash| hash.as_bytes().into())
}

fn client(row: &Row) -> Result<Client, StoreError> {
    let hash = |bytes: Option<Vec<u8>>| match bytes {
        None => Ok(None),
        Some(bytes) => SecretHash::from_stored(&bytes).map(Some).ok_or_else(|| {
            StoreError::Corrupt("a client's secret hash has the wrong length".into())
        }),
    };
    let old = hash(row.opt_bytes(2)?)?.zip(row.opt_int(3)?);
    Ok(Client {
        metadata: from_json("client.document", &row.text(0)?)?,
        secret: hash(row.opt_bytes(1)?)?,
        old_secret: old.map(|(hash, until)| OldSecret { hash, until: UnixSeconds::new(until) }),
        enabled: row.flag(4)?,
        epoch: row.int(5)?,
        tokens_not_before: UnixSeconds::new(row.int(6)?),
    })
}

#[cfg(test)]
mod tests {
    use shared_types::Scope;

    use super::*;
    use crate::store::accounts::tests::add;
    use crate::store::testing::TestStore;

    const NOW: UnixSeconds = UnixSeconds::new(1_000);

    #[tokio::test]
    async fn a_client_inherits_nothing_that_people_allowed_one_of_its_name() {
        let store = TestStore::open().await;
        let person = add(&store, "alice", 1).await.unwrap().id;
        let id = ClientId::parse("c").unwrap();
        let metadata: ClientMetadata = serde_json::from_str(r#"{"client_id":"c"}"#).unwrap();
        let new = NewClient { metadata, secret: None, epoch: 1, created_at: NOW };
        let (before, after) = store
            .database
            .write(move |sql| {
                assert!(insert(sql, &new)?);
                consents::remember(sql, person, &id, &Scope::parse("openid").unwrap(), NOW)?;
                assert!(!insert(sql, &new)?, "it exists");
                let before = consents::granted(sql, person, &id)?;
                // The process that deletes it dies here.
                assert!(delete(sql, &id)?);
                assert!(insert(sql, &new)?);
                Ok::<_, StoreError>((before, consents::granted(sql, person, &id)?))
            })
            .await
            .unwrap();
        assert_eq!(before.scope.to_string(), "openid", "a second registration takes nothing away");
        assert_eq!(after, consents::StoredConsent::default());
    }
}
