//! Tokens of ours, issued and taken back.

use serde_json::Map;
use shared_types::{
    AccessTokenClaims, Audience, Audiences, ClaimFault, ClientId, IdTokenClaims, Issuer, JwtId,
    Scope, SigningAlg, Subject, UnixSeconds,
};

use super::access_token::{self, AccessTokenFault};
use super::id_token;
use crate::keys::ring::{KeyRing, VerifyFault};
use crate::keys::rotation::{self, Policy};
use crate::keys::vault::Vault;
use crate::store::testing::TestStore;

pub(super) const NOW: UnixSeconds = UnixSeconds::new(1_700_000_000);

pub(super) fn policy(algorithms: &[SigningAlg]) -> Policy {
    Policy {
        algorithms: algorithms.to_vec(),
        rotation_period: 1_000,
        announce_lead: 10,
        keep_published: 10,
        keep_for_hints: 10,
    }
}

async fn ring() -> KeyRing {
    let (store, vault) = (TestStore::open().await, Vault::of_seed(1));
    let policy = policy(&[SigningAlg::Es256]);
    rotation::keep_up(&store.database, &vault, NOW, &policy).await.unwrap();
    KeyRing::load(&store.database, &vault).await.unwrap()
}

pub(super) fn issuer() -> Issuer {
    Issuer::parse("https://id.example").unwrap()
}

pub(super) fn access() -> AccessTokenClaims {
    AccessTokenClaims {
        iss: issuer(),
        sub: Subject::parse("acct_1").unwrap(),
        aud: Audiences::new(vec![Audience::parse("https://api.example").unwrap()]).unwrap(),
        client_id: ClientId::parse("web").unwrap(),
        scope: Scope::parse("a b").unwrap(),
        exp: NOW.plus(300),
        iat: NOW,
        nbf: None,
        jti: JwtId::parse("j").unwrap(),
        auth_time: None,
        acr: None,
        cnf: None,
    }
}

fn id() -> IdTokenClaims {
    IdTokenClaims {
        iss: issuer(),
        sub: Subject::parse("acct_1").unwrap(),
        aud: ClientId::parse("web").unwrap(),
        exp: NOW.plus(300),
        iat: NOW,
        auth_time: Some(NOW),
        nonce: Some("n".into()),
        acr: None,
        amr: vec!["pwd".into()],
        at_hash: None,
        sid: Some("s".into()),
        other: Map::new(),
    }
}

#[tokio::test]
async fn an_access_token_is_taken_back_until_it_expires() {
    let ring = ring().await;
    let token = access_token::issue(&ring, SigningAlg::Es256, &access()).unwrap();
    let verify = |issuer: &Issuer, now| {
        access_token::verify_own(&ring, issuer, token.expose(), now).map(|(claims, _)| claims)
    };
    assert_eq!(verify(&issuer(), NOW.plus(299)), Ok(access()));
    assert_eq!(
        verify(&issuer(), NOW.plus(300)),
        Err(AccessTokenFault::Claims(ClaimFault::Expired))
    );
    let other = Issuer::parse("https://other.example").unwrap();
    assert_eq!(verify(&other, NOW), Err(AccessTokenFault::Claims(ClaimFault::Issuer)));
}

#[tokio::test]
async fn an_id_token_is_no_access_token_and_an_access_token_no_hint() {
    let ring = ring().await;
    let id_token = id_token::issue(&ring, SigningAlg::Es256, &id()).unwrap();
    let access_token = access_token::issue(&ring, SigningAlg::Es256, &access()).unwrap();
    assert_eq!(
        access_token::verify_own(&ring, &issuer(), id_token.expose(), NOW),
        Err(AccessTokenFault::Signature(VerifyFault::Type))
    );
    assert_eq!(id_token::verify_hint(&ring, &issuer(), access_token.expose()), None);
}

#[tokio::test]
async fn a_hint_may_have_expired_but_not_come_from_elsewhere() {
    let ring = ring().await;
    let old = IdTokenClaims { exp: UnixSeconds::new(1), iat: UnixSeconds::new(0), ..id() };
    let token = id_token::issue(&ring, SigningAlg::Es256, &old).unwrap();
    assert_eq!(id_token::verify_hint(&ring, &issuer(), token.expose()), Some(old));
    let other = Issuer::parse("https://other.example").unwrap();
    assert_eq!(id_token::verify_hint(&ring, &other, token.expose()), None);
    assert_eq!(
        id_token::verify_hint(&self::ring().await, &issuer(), token.expose()),
        None,
        "signed by other keys"
    );
}

#[tokio::test]
async fn an_algorithm_without_a_key_does_not_sign() {
    assert!(access_token::issue(&ring().await, SigningAlg::EdDsa, &access()).is_err());
}
