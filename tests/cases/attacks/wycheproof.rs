//! [Wycheproof](https://github.com/C2SP/wycheproof): signatures that others have taken and should not have, or refused and should
//! not have. Each goes through the key as the resource server's guard loads and asks it: a JWK as published, base64url on the wire.

use std::fmt::Debug;

use resource_server::guard::key::VerifyingKey;
use serde_json::{Value, json};
use shared_types::PublicJwk;
use tests::oracle::b64;
use wycheproof::{
    HashFunction, Mgf, TestResult, ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss,
};

/// What was tried so far. A case ends with its counts, so that none can pass by trying nothing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tried {
    valid: usize,
    invalid: usize,
    acceptable: usize,
}

impl Tried {
    /// Tries one vector. One that is only acceptable must not verify: a token is signed as its specification says, or not at all.
    fn put(&mut self, key: &VerifyingKey, vector: (usize, &[u8], &[u8]), expected: Expected<'_>) {
        let (id, message, signature) = vector;
        let counted = match expected.result {
            TestResult::Valid => &mut self.valid,
            TestResult::Invalid => &mut self.invalid,
            TestResult::Acceptable => &mut self.acceptable,
        };
        *counted += 1;
        let verifies = key.verifies(message, &b64(signature));
        let right = expected.result == TestResult::Valid;
        assert_eq!(verifies, right, "vector {id} of {key:?}: {expected:?}");
    }
}

/// What a vector should come to, and what it is about, for the one that fails.
#[derive(Debug)]
struct Expected<'a> {
    result: TestResult,
    #[expect(dead_code, reason = "shown when a vector fails")]
    about: (&'a str, &'a dyn Debug),
}

/// The key of a published JWK.
fn key(mut jwk: Value, alg: &str) -> VerifyingKey {
    jwk["alg"] = alg.into();
    jwk["kid"] = "wycheproof".into();
    VerifyingKey::load(&PublicJwk::take(jwk.as_object().unwrap()).unwrap()).unwrap()
}

/// Integers of the vectors may begin with a zero for their sign, those of a JWK never do (RFC 7518 section 6.3.1).
fn rsa(modulus: &[u8], exponent: &[u8], alg: &str) -> VerifyingKey {
    let integer = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        b64(&bytes[zeros..])
    };
    key(json!({ "kty": "RSA", "n": integer(modulus), "e": integer(exponent) }), alg)
}

/// The vectors of every kind have the same members, and no trait that says so.
macro_rules! put_all {
    ($tried:expr, $key:expr, $tests:expr) => {
        for test in $tests {
            let about: (&str, &dyn Debug) = (&test.comment, &test.flags);
            let vector = (test.tc_id, test.msg.as_slice(), test.sig.as_slice());
            $tried.put(&$key, vector, Expected { result: test.result, about });
        }
    };
}

/// Among them CVE-2022-21449, the psychic signatures, and r and s outside their range (CVE-2022-24884, CVE-2021-43572).
#[test]
fn every_vector_of_es256_comes_out_as_it_should() {
    let mut tried = Tried::default();
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    for group in &set.test_groups {
        // Uncompressed: 4, then x and y.
        let point = group.key.key.as_slice();
        let (x, y) = (b64(&point[1..33]), b64(&point[33..]));
        let key = key(json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }), "ES256");
        put_all!(tried, key, &group.tests);
    }
    assert_eq!(tried, Tried { valid: 173, invalid: 89, acceptable: 0 });
}

/// Among them signatures that were bent into another one of the same message.
#[test]
fn every_vector_of_ed25519_comes_out_as_it_should() {
    let mut tried = Tried::default();
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    for group in &set.test_groups {
        let x = b64(group.key.pk.as_slice());
        let key = key(json!({ "kty": "OKP", "crv": "Ed25519", "x": x }), "EdDSA");
        put_all!(tried, key, &group.tests);
    }
    assert_eq!(tried, Tried { valid: 88, invalid: 63, acceptable: 0 });
}

/// Among them Bleichenbacher's forgeries for small exponents (CVE-2006-4339). Acceptable, and refused here: four whose padding lacks the NULL that
/// RFC 8017 section 9.2 demands (flag `MissingNull`).
#[test]
fn every_vector_of_rs256_comes_out_as_it_should() {
    let mut tried = Tried::default();
    for name in [
        pkcs1::TestName::Rsa2048Sha256,
        pkcs1::TestName::Rsa3072Sha256,
        pkcs1::TestName::Rsa4096Sha256,
        pkcs1::TestName::Rsa8192Sha256,
    ] {
        for group in &pkcs1::TestSet::load(name).unwrap().test_groups {
            assert_eq!(group.hash, HashFunction::Sha2_256);
            let only_acceptable =
                group.tests.iter().filter(|test| test.result == TestResult::Acceptable);
            for test in only_acceptable {
                assert_eq!(test.flags, [pkcs1::TestFlag::MissingNull]);
            }
            let key = rsa(&group.key.n, &group.key.e, "RS256");
            put_all!(tried, key, &group.tests);
        }
    }
    assert_eq!(tried, Tried { valid: 31, invalid: 999, acceptable: 4 });
}

/// PS256 is SHA-256, MGF1 with SHA-256, and a salt as long as the hash (RFC 7518 section 3.5).
#[test]
fn every_vector_of_ps256_comes_out_as_it_should() {
    let mut tried = Tried::default();
    for name in [
        pss::TestName::RsaPss2048Sha256Mgf1SaltLen32,
        pss::TestName::RsaPss2048Sha256Mgf1SaltLen32WithParams,
        pss::TestName::RsaPss3072Sha256Mgf1SaltLen32,
        pss::TestName::RsaPss3072Sha256Mgf1SaltLen32WithParams,
        pss::TestName::RsaPss4096Sha256Mgf1SaltLen32,
        pss::TestName::RsaPssmisc,
        pss::TestName::RsaPssmiscWithParams,
    ] {
        let is_ps256 = |group: &&pss::TestGroup| {
            (group.hash, group.mgf, group.mgf_hash, group.salt_size)
                == (HashFunction::Sha2_256, Mgf::Mgf1, Some(HashFunction::Sha2_256), 32)
        };
        for group in pss::TestSet::load(name).unwrap().test_groups.iter().filter(is_ps256) {
            let key = rsa(&group.key.n, &group.key.e, "PS256");
            put_all!(tried, key, &group.tests);
        }
    }
    assert_eq!(tried, Tried { valid: 317, invalid: 225, acceptable: 0 });
}
