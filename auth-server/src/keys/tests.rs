//! Vault, rotation and ring over a real database.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shared_types::jwk::JwkSet;
use shared_types::{KeyId, SigningAlg, UnixSeconds};

use super::ring::{ID_TOKEN_TYP, KeyRing, VerifyFault};
use super::rotation::{self, Policy, RotationFault, Step};
use super::vault::{self, MasterKey, Vault, VaultFault};
use crate::domain::signing_key::{Key, State};
use crate::random::SeededRandom;
use crate::store::keys;
use crate::store::testing::TestStore;

const NOW: UnixSeconds = UnixSeconds::new(1_700_000_000);
const DAY: i64 = 86_400;

struct World {
    store: TestStore,
    vault: Vault,
    policy: Policy,
}

impl World {
    async fn new(algorithms: &[SigningAlg]) -> Self {
        let store = TestStore::open().await;
        let master = MasterKey::create(&store.folder.path().join("k")).unwrap();
        let vault = Vault::open(&store.database, &master, &SeededRandom::new(1)).await.unwrap();
        let policy = Policy {
            algorithms: algorithms.to_vec(),
            rotation_period: 30 * DAY,
            announce_lead: 3_600,
            keep_published: 310,
            keep_for_hints: 180 * DAY,
        };
        let world = Self { store, vault, policy };
        world.keep_up(NOW).await;
        world
    }

    async fn keep_up(&self, now: UnixSeconds) -> Vec<Step> {
        rotation::keep_up(&self.store.database, &self.vault, now, &self.policy).await.unwrap()
    }

    async fn revoke(&self, kid: &KeyId, now: UnixSeconds) -> Result<Vec<Step>, RotationFault> {
        rotation::revoke(&self.store.database, &self.vault, kid, now).await
    }

    async fn ring(&self) -> KeyRing {
        KeyRing::load(&self.store.database, &self.vault).await.unwrap()
    }

    async fn reload(&self, ring: &KeyRing) {
        ring.reload(&self.store.database, &self.vault).await.unwrap();
    }

    async fn keys(&self) -> Vec<Key> {
        self.store.database.read(|sql| keys::list(sql)).await.unwrap()
    }

    async fn kid(&self, state: State) -> KeyId {
        self.keys().await.into_iter().find(|key| key.state == state).unwrap().kid
    }
}

fn header(token: &str) -> Value {
    let header = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
}

/// What somebody else's code says of `token`, with the key of its name in `jwks`.
fn another_reader_accepts(token: &str, jwks: &str) -> bool {
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_str(jwks).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
    let (input, signature) = token.rsplit_once('.').unwrap();
    jsonwebtoken::crypto::verify(signature, input.as_bytes(), &key, header.alg).unwrap()
}

fn published(ring: &KeyRing) -> Vec<KeyId> {
    let set = JwkSet::parse(ring.jwks().body.as_bytes()).unwrap();
    assert_eq!(set.skipped, 0, "whatever we publish we would take: no private member is among it");
    set.keys.into_iter().map(|key| key.kid).collect()
}

#[tokio::test]
async fn each_algorithm_signs_what_the_ring_proves() {
    let world = World::new(&SigningAlg::ALL).await;
    let ring = world.ring().await;
    assert!(ring.is_ready());
    assert_eq!(ring.algorithms(), SigningAlg::ALL);
    assert_eq!(published(&ring).len(), 8, "one that signs and one announced for each");
    for alg in SigningAlg::ALL {
        for typ in ["at+jwt", ID_TOKEN_TYP, "logout+jwt"] {
            let token = ring.sign(alg, typ, &json!({"a": 1})).unwrap();
            assert_eq!(ring.verify(&token, typ).unwrap().payload, br#"{"a":1}"#);
            let header = header(&token);
            assert_eq!((&header["alg"], &header["typ"]), (&json!(alg), &json!(typ)));
            assert!(published(&ring).iter().any(|kid| header["kid"] == kid.as_str()));
            assert!(another_reader_accepts(&token, &ring.jwks().body), "{alg}");
        }
    }
}

#[tokio::test]
async fn a_token_of_another_type_key_algorithm_or_content_is_refused() {
    let world = World::new(&[SigningAlg::Es256, SigningAlg::EdDsa]).await;
    let ring = world.ring().await;
    let token = ring.sign(SigningAlg::Es256, "at+jwt", &json!({"a": 1})).unwrap();
    let eddsa = ring.sign(SigningAlg::EdDsa, "at+jwt", &json!({"a": 1})).unwrap();
    let (head, rest) = token.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let with_header =
        |members: Value| format!("{}.{rest}", URL_SAFE_NO_PAD.encode(members.to_string()));
    let kid = header(&token)["kid"].clone();

    assert_eq!(ring.verify(&token, ID_TOKEN_TYP), Err(VerifyFault::Type));
    let stranger = json!({"alg": "ES256", "typ": "at+jwt", "kid": "stranger"});
    assert_eq!(ring.verify(&with_header(stranger), "at+jwt"), Err(VerifyFault::Key));
    let nameless = json!({"alg": "ES256", "typ": "at+jwt"});
    assert_eq!(ring.verify(&with_header(nameless), "at+jwt"), Err(VerifyFault::Key));
    let confused = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid});
    assert_eq!(ring.verify(&with_header(confused), "at+jwt"), Err(VerifyFault::Algorithm));
    let borrowed = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": header(&eddsa)["kid"]});
    assert_eq!(ring.verify(&with_header(borrowed), "at+jwt"), Err(VerifyFault::Signature));
    let changed = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"a":2}"#));
    assert_eq!(ring.verify(&changed, "at+jwt"), Err(VerifyFault::Signature));
    let blank = format!("{head}.{payload}.{}", URL_SAFE_NO_PAD.encode([0; 64]));
    assert_eq!(ring.verify(&blank, "at+jwt"), Err(VerifyFault::Signature));
}

#[tokio::test]
async fn a_rotated_key_goes_on_proving_until_it_is_withdrawn_and_hints_longer() {
    let world = World::new(&[SigningAlg::Es256]).await;
    let ring = world.ring().await;
    let (first_tag, announced) = (ring.jwks().etag.clone(), world.kid(State::Announced).await);
    let old = ring.sign(SigningAlg::Es256, ID_TOKEN_TYP, &json!({})).unwrap();

    let due = NOW.plus(30 * DAY);
    assert_eq!(world.keep_up(due).await.len(), 3);
    world.reload(&ring).await;
    let new = ring.sign(SigningAlg::Es256, ID_TOKEN_TYP, &json!({})).unwrap();
    assert_eq!(header(&new)["kid"], announced.as_str(), "caches know it since it was announced");
    assert_eq!(published(&ring).len(), 3);
    assert_ne!(ring.jwks().etag, first_tag);
    assert!(ring.verify(&old, ID_TOKEN_TYP).is_ok());

    world.keep_up(due.plus(310)).await;
    world.reload(&ring).await;
    assert_eq!(ring.verify(&old, ID_TOKEN_TYP), Err(VerifyFault::Key));
    assert!(ring.verify_hint(&old, ID_TOKEN_TYP).is_ok());
    assert_eq!(published(&ring).len(), 2);

    world.keep_up(due.plus(180 * DAY)).await;
    world.reload(&ring).await;
    assert_eq!(ring.verify_hint(&old, ID_TOKEN_TYP), Err(VerifyFault::Key));
}

#[tokio::test]
async fn a_retired_key_has_lost_its_private_half() {
    let world = World::new(&[SigningAlg::Es256]).await;
    world.keep_up(NOW.plus(30 * DAY)).await;
    let rows = world.store.database.read(|sql| keys::list_with_halves(sql)).await.unwrap();
    for row in rows {
        assert_eq!(row.sealed_private.is_none(), row.state == State::Retired, "{:?}", row.state);
    }
}

#[tokio::test]
async fn a_revoked_key_proves_nothing_and_the_announced_one_signs_at_once() {
    let world = World::new(&[SigningAlg::Es256]).await;
    let ring = world.ring().await;
    let stolen = ring.sign(SigningAlg::Es256, ID_TOKEN_TYP, &json!({})).unwrap();
    let (signing, announced) = (world.kid(State::Signing).await, world.kid(State::Announced).await);

    world.revoke(&signing, NOW.plus(5)).await.unwrap();
    world.reload(&ring).await;
    assert_eq!(ring.verify(&stolen, ID_TOKEN_TYP), Err(VerifyFault::Key));
    assert_eq!(ring.verify_hint(&stolen, ID_TOKEN_TYP), Err(VerifyFault::Key));
    let next = ring.sign(SigningAlg::Es256, ID_TOKEN_TYP, &json!({})).unwrap();
    assert_eq!(header(&next)["kid"], announced.as_str());
    assert!(!published(&ring).contains(&signing) && published(&ring).len() == 2);

    assert!(world.revoke(&signing, NOW.plus(6)).await.unwrap().is_empty());
    let unknown = KeyId::parse("nobody").unwrap();
    assert!(matches!(world.revoke(&unknown, NOW).await, Err(RotationFault::Unknown(_))));
}

#[tokio::test]
async fn a_rotation_by_hand_does_not_wait() {
    let world = World::new(&[SigningAlg::EdDsa]).await;
    let announced = world.kid(State::Announced).await;
    rotation::rotate_now(&world.store.database, &world.vault, SigningAlg::EdDsa, NOW.plus(1))
        .await
        .unwrap();
    assert_eq!(world.kid(State::Signing).await, announced);
    assert_eq!(world.keys().await.len(), 3);
}

#[tokio::test]
async fn two_instances_that_rotate_at_once_rotate_once() {
    let world = World::new(&[SigningAlg::Es256]).await;
    let due = NOW.plus(30 * DAY);
    let (one, other) = tokio::join!(world.keep_up(due), world.keep_up(due));
    assert_eq!(
        one.len().min(other.len()),
        0,
        "one of them had nothing left to do: {one:?} {other:?}"
    );
    assert_eq!(world.keys().await.len(), 3);
}

#[tokio::test]
async fn a_change_of_keys_moves_the_epoch_and_idling_does_not() {
    let world = World::new(&[SigningAlg::Es256]).await;
    let ring = world.ring().await;
    let before = ring.epoch();
    world.keep_up(NOW.plus(60)).await;
    world.reload(&ring).await;
    assert_eq!(ring.epoch(), before);
    world.keep_up(NOW.plus(30 * DAY)).await;
    world.reload(&ring).await;
    assert_eq!(ring.epoch(), before + 1);
}

#[tokio::test]
async fn a_ring_follows_a_database_that_was_restored_to_an_earlier_moment() {
    let world = World::new(&[SigningAlg::Es256]).await;
    world.keep_up(NOW.plus(30 * DAY)).await;
    let ring = world.ring().await;
    let restored = World { store: TestStore::open().await, ..world };
    restored.keep_up(NOW).await;
    let before = (ring.epoch(), ring.reading());
    restored.reload(&ring).await;
    assert!(ring.epoch() < before.0 && ring.reading() != before.1);
    let token = ring.sign(SigningAlg::Es256, ID_TOKEN_TYP, &json!({})).unwrap();
    assert_eq!(header(&token)["kid"], restored.kid(State::Signing).await.as_str());
}

#[tokio::test]
async fn a_private_key_moved_to_another_row_does_not_unseal() {
    let world = World::new(&[SigningAlg::Es256]).await;
    let swap = "UPDATE signing_key SET sealed_private = (SELECT b.sealed_private FROM signing_key AS b WHERE b.kid <> signing_key.kid)";
    world.store.database.write(move |sql| sql.execute(swap, &[])).await.unwrap();
    let fault = KeyRing::load(&world.store.database, &world.vault).await.unwrap_err().to_string();
    assert!(fault.contains("does not unseal"), "{fault}");
}

#[tokio::test]
async fn instances_that_start_at_once_share_one_vault() {
    let store = TestStore::open().await;
    let master = MasterKey::create(&store.folder.path().join("k")).unwrap();
    let (one, other) = (SeededRandom::new(1), SeededRandom::new(2));
    let (one, other) = tokio::join!(
        Vault::open(&store.database, &master, &one),
        Vault::open(&store.database, &master, &other)
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    let sealed = one.seal("p", b"b", b"x", &SeededRandom::new(3));
    assert_eq!(other.unseal("p", b"b", &sealed).as_deref(), Some(b"x".as_slice()));
    assert_eq!(one.mac("p", b"m"), other.mac("p", b"m"));
}

#[tokio::test]
async fn another_master_key_opens_nothing() {
    let store = TestStore::open().await;
    let master = |name: &str| MasterKey::create(&store.folder.path().join(name)).unwrap();
    Vault::open(&store.database, &master("right"), &SeededRandom::new(1)).await.unwrap();
    let fault =
        Vault::open(&store.database, &master("wrong"), &SeededRandom::new(1)).await.unwrap_err();
    assert!(matches!(fault, VaultFault::WrongMasterKey));
}

#[tokio::test]
async fn a_lost_master_key_is_never_replaced_by_a_new_one() {
    let store = TestStore::open().await;
    let path = store.folder.path().join("master.key");
    let master = MasterKey::find(&path, &store.database).await.unwrap();
    Vault::open(&store.database, &master, &SeededRandom::new(1)).await.unwrap();
    assert!(MasterKey::find(&path, &store.database).await.is_ok(), "found again");
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(MasterKey::find(&path, &store.database).await, Err(VaultFault::Missing(_))));
    assert!(!Path::exists(&path));
}

#[tokio::test]
async fn another_wrapping_keeps_everything_that_was_sealed_or_signed() {
    let world = World::new(&[SigningAlg::Es256]).await;
    let database = &world.store.database;
    let master = |name: &str| MasterKey::create(&world.store.folder.path().join(name)).unwrap();
    let (old, new) =
        (MasterKey::read(&world.store.folder.path().join("k")).unwrap(), master("new"));
    let sealed = world.vault.seal("p", b"b", b"x", &SeededRandom::new(3));
    assert!(matches!(vault::rewrap(database, &new, &old).await, Err(VaultFault::WrongMasterKey)));

    vault::rewrap(database, &old, &new).await.unwrap();
    assert!(matches!(
        Vault::open(database, &old, &SeededRandom::new(1)).await,
        Err(VaultFault::WrongMasterKey)
    ));
    let reopened = Vault::open(database, &new, &SeededRandom::new(1)).await.unwrap();
    assert_eq!(reopened.unseal("p", b"b", &sealed).as_deref(), Some(b"x".as_slice()));
    assert!(KeyRing::load(database, &reopened).await.unwrap().is_ready());
}

#[test]
fn purposes_have_keys_of_their_own() {
    let vault = Vault::of_seed(1);
    assert_ne!(vault.mac("a", b"m"), vault.mac("b", b"m"));
    assert_ne!(vault.mac("a", b"m"), vault.mac("a", b"n"));
    assert_eq!(vault.mac("a", b"m"), Vault::of_seed(1).mac("a", b"m"));
    assert_ne!(vault.mac("a", b"m"), Vault::of_seed(2).mac("a", b"m"));
}

#[test]
fn nothing_of_a_vault_is_shown() {
    assert_eq!(format!("{:?}", Vault::of_seed(1)), "Vault(..)");
}
