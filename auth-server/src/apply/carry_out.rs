//! Makes a plan true, and hands over the secrets that were generated on the way.

use database::{Database, Sql};
use shared_types::{ClientId, UnixSeconds};

use super::declared_state::{DeclaredAccount, DeclaredClient};
use super::{Change, Target};
use crate::domain::account::NewAccount;
use crate::domain::client::AuthMethod;
use crate::domain::password::{self, PasswordHasher};
use crate::domain::row_id::RowIds;
use crate::domain::secret::PlainSecret;
use crate::store::clients::NewClient;
use crate::store::{StoreError, accounts, apis, clients, consents};

/// A secret that was generated on the way, to be shown once.
#[derive(Clone, Debug)]
pub struct Generated {
    /// What it is: `client_secret` or `password`.
    pub kind: &'static str,
    /// Whose it is.
    pub owner: String,
    /// The secret.
    pub secret: PlainSecret,
}

/// Carries out a plan and returns the secrets that were generated.
pub async fn carry_out(
    target: &Target,
    changes: Vec<Change>,
) -> Result<Vec<Generated>, StoreError> {
    let mut generated = Vec::new();
    carry_out_showing(target, changes, &mut |secret| generated.push(secret)).await?;
    Ok(generated)
}

/// Carries out a plan: the APIs in one unit of work, so that there are never two defaults, every other change in one of its own.
/// `show` gets each generated secret as soon as it counts, so none is lost when a later change fails.
pub async fn carry_out_showing(
    target: &Target,
    changes: Vec<Change>,
    show: &mut (dyn FnMut(Generated) + Send),
) -> Result<(), StoreError> {
    let (of_apis, others): (Vec<Change>, Vec<Change>) = changes
        .into_iter()
        .partition(|change| matches!(change, Change::PutApi { .. } | Change::DeleteApi(_)));
    if !of_apis.is_empty() {
        target
            .database
            .write(move |sql| of_apis.iter().try_for_each(|change| change_api(sql, change)))
            .await?;
    }
    let hasher = PasswordHasher::new(&target.settings.argon2);
    for change in others {
        if let Some(generated) = carry_out_one(target, &hasher, change).await? {
            show(generated);
        }
    }
    Ok(())
}

fn change_api(sql: &mut dyn Sql, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::PutApi { api, .. } => apis::put(sql, api),
        Change::DeleteApi(identifier) => apis::delete(sql, identifier.as_str()).map(drop),
        _ => Ok(()),
    }
}

async fn carry_out_one(
    target: &Target,
    hasher: &PasswordHasher,
    change: Change,
) -> Result<Option<Generated>, StoreError> {
    match change {
        Change::PutApi { .. } | Change::DeleteApi(_) => {}
        Change::CreateClient(client) => return create_client(target, client).await,
        Change::UpdateClient { metadata, .. } => {
            target.database.write(move |sql| clients::update(sql, &metadata).map(drop)).await?;
        }
        Change::SetSecret { client } => return set_secret(target, client).await,
        Change::CreateAccount(account) => return create_account(target, hasher, account).await,
        Change::UpdateClaims { id, account } => {
            let update =
                move |sql: &mut dyn Sql| accounts::set_claims(sql, id, &account.claims).map(drop);
            target.database.write(update).await?;
        }
        Change::DeleteClient(id) => {
            delete_client(&target.database, &id, target.clock.now()).await?;
        }
    }
    Ok(None)
}

/// Removes a client and what people allowed it: a later client of the same name must not inherit their consent. False: it was not there.
///
/// It is disabled first and goes last, in short units of work: one that was cut off leaves a client that can do nothing, and the next
/// deletion goes on.
pub async fn delete_client(
    database: &Database,
    id: &ClientId,
    now: UnixSeconds,
) -> Result<bool, StoreError> {
    let key = id.clone();
    database.write(move |sql| clients::set_enabled(sql, &key, false, now)).await?;
    loop {
        let key = id.clone();
        if let Some(existed) = database.write(move |sql| delete_step(sql, &key)).await? {
            return Ok(existed);
        }
    }
}

/// Some of what people allowed the client; once there is nothing, the client itself: `Some` whether it was there.
fn delete_step(sql: &mut dyn Sql, id: &ClientId) -> Result<Option<bool>, StoreError> {
    if consents::forget_client(sql, id)? > 0 {
        return Ok(None);
    }
    clients::delete(sql, id).map(Some)
}

/// The declared secret, or a fresh one that has to be shown; none for a public client.
fn secret_of(target: &Target, client: &DeclaredClient) -> (Option<PlainSecret>, Option<Generated>) {
    if client.metadata.token_endpoint_auth_method == AuthMethod::None {
        return (None, None);
    }
    if let Some(secret) = &client.secret {
        return (Some(secret.clone()), None);
    }
    let secret = PlainSecret::generate(&*target.random);
    let owner = client.metadata.client_id.to_string();
    (Some(secret.clone()), Some(Generated { kind: "client_secret", owner, secret }))
}

async fn create_client(
    target: &Target,
    client: DeclaredClient,
) -> Result<Option<Generated>, StoreError> {
    let (secret, generated) = secret_of(target, &client);
    let new = NewClient {
        metadata: client.metadata,
        secret: secret.as_ref().map(PlainSecret::hash),
        epoch: target.clock.now_millis(),
        created_at: target.clock.now(),
    };
    // Another run may have been faster: then its secret stands and ours must not be shown.
    let created = target.database.write(move |sql| clients::insert(sql, &new)).await?;
    Ok(generated.filter(|_| created))
}

async fn set_secret(
    target: &Target,
    client: DeclaredClient,
) -> Result<Option<Generated>, StoreError> {
    let (secret, generated) = secret_of(target, &client);
    let hash = secret.as_ref().map(PlainSecret::hash);
    let id = client.metadata.client_id;
    let is_first = generated.is_some();
    let set = target.database.write(move |sql| match &hash {
        // Made for want of any. Another run may have been faster: then its secret stands and ours must not be shown.
        Some(hash) if is_first => clients::give_secret(sql, &id, hash),
        hash => clients::set_secret(sql, &id, hash.as_ref(), None),
    });
    let set = set.await?;
    Ok(generated.filter(|_| set))
}

async fn create_account(
    target: &Target,
    hasher: &PasswordHasher,
    account: DeclaredAccount,
) -> Result<Option<Generated>, StoreError> {
    let given = account.password.clone();
    let password = given.clone().unwrap_or_else(|| password::generate(&*target.random));
    let generated = given.is_none().then(|| Generated {
        kind: "password",
        owner: account.username.clone(),
        secret: password.clone(),
    });
    let salt = crate::random::bytes(&*target.random);
    let password_hash = hasher.hash(password, salt).await?;
    let new = NewAccount::new(
        account.username,
        account.claims,
        password_hash,
        target.clock.now(),
        &*target.random,
    );
    let ids = RowIds::default().fresh(target.clock.now_millis(), &*target.random);
    let created = target.database.write(move |sql| accounts::insert(sql, &ids, &new)).await?;
    Ok(generated.filter(|_| created.is_some()))
}

#[cfg(test)]
mod tests {
    use shared_types::Scope;

    use super::*;
    use crate::domain::row_id::RowId;
    use crate::store::testing::TestStore;

    const NOW: UnixSeconds = UnixSeconds::new(1_000);

    #[tokio::test]
    async fn a_client_goes_only_when_nothing_that_people_allowed_it_is_left() {
        let store = TestStore::open().await;
        let id = ClientId::parse("c").unwrap();
        let metadata = serde_json::from_str(r#"{"client_id":"c"}"#).unwrap();
        let new = NewClient { metadata, secret: None, epoch: 1, created_at: NOW };
        let key = id.clone();
        let seeded = store.database.write(move |sql| {
            clients::insert(sql, &new)?;
            for person in 1..=501_i64 {
                let account = "INSERT INTO account (id, subject, claims, enabled, epoch, created_at) VALUES (?1, ?2, '{}', 1, 0, 0)";
                sql.execute(account, &[person.into(), person.to_string().into()])?;
                let scope = Scope::parse("openid").unwrap();
                consents::remember(sql, RowId::new(person), &key, &scope, NOW)?;
            }
            Ok::<_, StoreError>(())
        });
        seeded.await.unwrap();
        let key = id.clone();
        let step = store.database.write(move |sql| {
            let step = delete_step(sql, &key)?;
            Ok::<_, StoreError>((step, clients::find(sql, &key)?.is_some()))
        });
        assert_eq!(step.await, Ok((None, true)), "the client stays until the last");
        assert_eq!(delete_client(&store.database, &id, NOW).await, Ok(true));
        assert_eq!(delete_client(&store.database, &id, NOW).await, Ok(false));
        let count = "SELECT COUNT(*) FROM consent UNION ALL SELECT COUNT(*) FROM consent_scope";
        let left = store.database.read(move |sql| sql.query(count, &[])).await.unwrap();
        assert!(left.iter().all(|row| row.int(0) == Ok(0)), "{left:?}");
    }
}
