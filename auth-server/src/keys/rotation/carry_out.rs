//! Carrying out a plan: pairs are made before the unit of work, and inside it, under the guard, the plan is made again.

use database::{Database, Sql};
use shared_types::{KeyId, SigningAlg, UnixSeconds};

use super::{Policy, Step, plan, plan_revocation, succeed};
use crate::domain::signing_key::Key;
use crate::keys::signer::{KeyPairFault, NewPair};
use crate::keys::vault::Vault;
use crate::store::{StoreError, epochs, keys};

/// How often a plan is made anew because another instance changed the keys meanwhile.
const ATTEMPTS: usize = 4;

/// Why keys did not change.
#[derive(Debug, thiserror::Error)]
pub enum RotationFault {
    /// The crypto library made no pair.
    #[error(transparent)]
    KeyPair(#[from] KeyPairFault),
    /// The thread that makes pairs died.
    #[error("the thread that makes key pairs died")]
    Thread,
    /// No key has that name.
    #[error("no key is named {0}")]
    Unknown(KeyId),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<database::DatabaseError> for RotationFault {
    fn from(error: database::DatabaseError) -> Self {
        Self::Store(error.into())
    }
}

/// Does what is due by `policy`, and says what it did. On an empty database every algorithm gets a key that signs and one that is announced.
pub async fn keep_up(
    database: &Database,
    vault: &Vault,
    now: UnixSeconds,
    policy: &Policy,
) -> Result<Vec<Step>, RotationFault> {
    let policy = policy.clone();
    carry_out(database, vault, now, move |keys| Ok(plan(keys, now, &policy))).await
}

/// Lets the announced key of `alg` sign now, before its time. Caches that have not seen it yet fetch it once they meet it.
pub async fn rotate_now(
    database: &Database,
    vault: &Vault,
    alg: SigningAlg,
    now: UnixSeconds,
) -> Result<Vec<Step>, RotationFault> {
    carry_out(database, vault, now, move |keys| Ok(succeed(keys, alg, |_, _| true))).await
}

/// An emergency: `kid` counts for nothing from now on. If it signed, the announced key does so at once, and a new one is announced.
///
/// Tokens that it signed are refused here at once, and by resource servers when they next fetch the keys.
pub async fn revoke(
    database: &Database,
    vault: &Vault,
    kid: &KeyId,
    now: UnixSeconds,
) -> Result<Vec<Step>, RotationFault> {
    let kid = kid.clone();
    carry_out(database, vault, now, move |keys| {
        plan_revocation(keys, &kid).ok_or_else(|| RotationFault::Unknown(kid.clone()))
    })
    .await
}

/// Makes the pairs that `decide` wants, then decides again inside the unit of work, under the guard, since another instance may have
/// been quicker. If more pairs are wanted than were made, the next attempt makes them.
async fn carry_out(
    database: &Database,
    vault: &Vault,
    now: UnixSeconds,
    decide: impl Fn(&[Key]) -> Result<Vec<Step>, RotationFault> + Clone + Send + 'static,
) -> Result<Vec<Step>, RotationFault> {
    for _ in 0..ATTEMPTS {
        let keys = database.read(|sql| keys::list(sql)).await?;
        let steps = decide(&keys)?;
        if steps.is_empty() {
            return Ok(steps);
        }
        let pairs = make_pairs(vault, &steps, now).await?;
        let decide = decide.clone();
        if let Some(done) = database.write(move |sql| unit(sql, now, &pairs, &decide)).await? {
            return Ok(done);
        }
    }
    Err(StoreError::Conflict("the keys change all the time").into())
}

/// `None` when a pair is missing: nothing is written then.
fn unit(
    sql: &mut dyn Sql,
    now: UnixSeconds,
    pairs: &[keys::NewKey],
    decide: &impl Fn(&[Key]) -> Result<Vec<Step>, RotationFault>,
) -> Result<Option<Vec<Step>>, RotationFault> {
    keys::take_guard(sql)?;
    let steps = decide(&keys::list(sql)?)?;
    let pair_for = |wanted| pairs.iter().find(|pair| (pair.public.alg, pair.signs) == wanted);
    // A plan asks for at most one pair of a kind.
    if steps.iter().filter_map(wanted_pair).any(|wanted| pair_for(wanted).is_none()) {
        return Ok(None);
    }
    for step in &steps {
        apply(sql, step, wanted_pair(step).and_then(pair_for), now)?;
    }
    if !steps.is_empty() {
        epochs::bump_keys(sql)?;
    }
    Ok(Some(steps))
}

fn apply(
    sql: &mut dyn Sql,
    step: &Step,
    pair: Option<&keys::NewKey>,
    now: UnixSeconds,
) -> Result<(), StoreError> {
    match step {
        Step::Announce(_) | Step::SignAtOnce(_) => {
            keys::insert(sql, pair.ok_or(StoreError::Conflict("a key pair is missing"))?)
        }
        Step::Promote(kid) => keys::promote(sql, kid, now),
        Step::Retire(kid) => keys::retire(sql, kid, now),
        Step::Withdraw(kid) => keys::withdraw(sql, kid, now),
        Step::Delete(kid) => keys::delete(sql, kid),
        Step::Revoke(kid) => keys::revoke(sql, kid, now),
    }
}

/// The algorithm of the pair that a step needs, and whether it signs at once.
fn wanted_pair(step: &Step) -> Option<(SigningAlg, bool)> {
    match step {
        Step::Announce(alg) => Some((*alg, false)),
        Step::SignAtOnce(alg) => Some((*alg, true)),
        _ => None,
    }
}

/// Each pair on a blocking thread of its own: RSA takes its time.
async fn make_pairs(
    vault: &Vault,
    steps: &[Step],
    now: UnixSeconds,
) -> Result<Vec<keys::NewKey>, RotationFault> {
    let making: Vec<_> = steps
        .iter()
        .filter_map(wanted_pair)
        .map(|(alg, signs)| (signs, tokio::task::spawn_blocking(move || NewPair::generate(alg))))
        .collect();
    let mut pairs = Vec::with_capacity(making.len());
    for (signs, pair) in making {
        let NewPair { public, pkcs8 } = pair.await.map_err(|_| RotationFault::Thread)??;
        let sealed_private = vault.seal_private_key(public.kid.as_str(), &pkcs8);
        pairs.push(keys::NewKey { public, sealed_private, signs, now });
    }
    Ok(pairs)
}
