//! Attacks on the signature and its algorithm ([RFC 8725 section 2.1](https://www.rfc-editor.org/rfc/rfc8725#section-2.1)).

use serde_json::{Value, json};
use tests::oracle::{Alg, Key, b64};

use tests::world::Guarded;

#[tokio::test]
async fn every_algorithm_of_the_list_is_taken() {
    let api = Guarded::start().await;
    let keys: Vec<Key> = Alg::ALL.iter().map(|alg| Key::new(*alg, alg.name())).collect();
    api.publish(&keys).await;
    for key in &keys {
        let answer = api.ask(&api.token().with_key(key).text()).await;
        assert_eq!(answer.status, 200, "{:?}: {}", key.alg, answer.text());
    }
}

/// CVE-2015-9235, CVE-2016-10555, CVE-2024-37568: the public key, which everybody has, as the secret of a MAC.
#[tokio::test]
async fn a_mac_made_with_the_public_key_is_refused_in_every_encoding() {
    let api = Guarded::start().await;
    for alg in Alg::ALL {
        let key = Key::new(alg, "confused");
        api.publish(std::slice::from_ref(&key)).await;
        let jwk = key.jwk();
        let modulus = jwk["n"].as_str().or(jwk["x"].as_str()).unwrap().to_owned();
        let secrets = [
            key.pem().into_bytes(),
            key.pem().trim_end().as_bytes().to_vec(),
            key.der(),
            jwk.to_string().into_bytes(),
            json!({ "keys": [jwk] }).to_string().into_bytes(),
            modulus.into_bytes(),
            Vec::new(),
        ];
        for secret in secrets {
            let token = api.token().header("kid", "confused").maced_with(secret);
            api.refuses(&token.text(), "alg").await;
        }
    }
}

#[tokio::test]
async fn no_signature_is_no_token() {
    let api = Guarded::start().await;
    for alg in ["none", "None", "NONE", "nOnE"] {
        api.refuses(&api.token().header("alg", alg).text(), "alg").await;
        let unsigned = api.token().header("alg", alg).signature([]);
        api.refuses(&unsigned.text(), "segments").await;
    }
    api.refuses(&api.token().signature([]).text(), "segments").await;
    let whole = api.token().text();
    let two_segments = whole.rsplit_once('.').unwrap().0;
    api.refuses(two_segments, "segments").await;
    api.refuses(&api.token().signature([0]).text(), "signature").await;
}

#[tokio::test]
async fn other_names_of_algorithms_are_none_of_ours() {
    let api = Guarded::start().await;
    for alg in [
        "HS256",
        "HS512",
        "es256",
        "ES384",
        "ES512",
        "RS1",
        "RS512",
        "A128KW",
        "dir",
        "PBES2-HS256+A128KW",
        "",
    ] {
        api.refuses(&api.token().header("alg", alg).text(), "alg").await;
    }
    for alg in [json!(null), json!(256), json!(["ES256"]), json!({"ES256": 1})] {
        api.refuses(&api.token().header("alg", alg).text(), "header").await;
    }
    api.refuses(&api.token().without_header("alg").text(), "header").await;
}

/// web-token GHSA-jc38-x7x8-2xc8: `alg` from the unprotected header of a JSON serialization.
#[tokio::test]
async fn the_json_serialization_is_not_read() {
    let api = Guarded::start().await;
    let general = json!({
        "payload": b64(api.token().payload()),
        "signatures": [{"protected": b64(r#"{"alg":"ES256"}"#), "signature": "AA"}],
    });
    for text in [api.token().flattened_json(), general.to_string()] {
        // Braces and quotes stand outside the grammar of a bearer token (RFC 6750 section 2.1).
        api.malformed(&text).await;
    }
}

/// go-jose, "Three New Attacks": one string that is a JWS here and a JWE there.
#[tokio::test]
async fn an_encrypted_token_is_not_read() {
    let api = Guarded::start().await;
    let header = b64(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
    api.refuses(&format!("{header}.AA.AA.AA.AA"), "segments").await;
    let polyglot = api.token().header("enc", "A256GCM");
    api.refuses(&polyglot.text(), "header_member").await;
    let bomb = api.token().header("zip", "DEF");
    api.refuses(&bomb.text(), "header_member").await;
    let slow = api.token().header("p2c", 100_000_000);
    api.refuses(&slow.text(), "header_member").await;
}

/// CVE-2022-21449, the psychic signature: r = s = 0 verifies everything where nobody looks.
#[tokio::test]
async fn a_signature_of_zeros_is_refused() {
    let api = Guarded::start().await;
    let order = {
        let mut bytes = [0xff; 32];
        bytes[4..8].copy_from_slice(&[0; 4]);
        let tail = [
            0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63,
            0x25, 0x51,
        ];
        bytes[16..].copy_from_slice(&tail);
        bytes
    };
    let signatures: [Vec<u8>; 6] = [
        vec![0; 64],
        // 0 and 0 in DER.
        vec![0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00],
        // The order of the curve, which is 0 again.
        [order, order].concat(),
        [[0; 32], order].concat(),
        vec![0; 63],
        vec![0; 65],
    ];
    for signature in signatures {
        api.refuses(&api.token().signature(signature).text(), "signature").await;
    }
}

#[tokio::test]
async fn der_signatures_are_not_taken_for_es256() {
    let api = Guarded::start().await;
    let token = api.token().text();
    let (input, _) = token.rsplit_once('.').unwrap();
    let raw = api.issuer.key.sign(input.as_bytes());
    let integer = |half: &[u8]| {
        let mut bytes: Vec<u8> = half.iter().copied().skip_while(|byte| *byte == 0).collect();
        if bytes[0] & 0x80 != 0 {
            bytes.insert(0, 0);
        }
        [vec![0x02, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    };
    let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
    let der = [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat();
    api.refuses(&format!("{input}.{}", b64(der)), "signature").await;
    assert_eq!(api.ask(&format!("{input}.{}", b64(raw))).await.status, 200);
}

#[tokio::test]
async fn a_key_that_was_not_published_does_not_count() {
    let api = Guarded::start().await;
    for alg in Alg::ALL {
        let key = Key::new(alg, alg.name());
        api.publish(std::slice::from_ref(&key)).await;
        let forged = api.token().with_key(&key).signed_by(&key.forged());
        api.refuses(&forged.text(), "signature").await;
    }
}

#[tokio::test]
async fn a_changed_byte_breaks_the_signature() {
    let api = Guarded::start().await;
    let right = api.token();
    let text = right.text();
    let signature = text.rsplit_once('.').unwrap().1;
    let other = right.claim("sub", "acct_eve").text();
    let spliced = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    api.refuses(&spliced, "signature").await;
}

/// CVE-2021-46743: the key of one kind, the algorithm of another.
#[tokio::test]
async fn the_algorithm_is_the_keys_own() {
    let api = Guarded::start().await;
    let keys: Vec<Key> = Alg::ALL.iter().map(|alg| Key::new(*alg, alg.name())).collect();
    api.publish(&keys).await;
    for signer in &keys {
        for named in keys.iter().filter(|key| key.alg != signer.alg) {
            // Signed by one key, naming another.
            let token = api.token().with_key(signer).header("kid", named.kid.as_str());
            api.refuses(&token.text(), "key_alg").await;
            // Naming its key, but another algorithm; RSA keys could verify both of theirs.
            let token = api.token().with_key(signer).header("alg", named.alg.name());
            api.refuses(&token.text(), "key_alg").await;
        }
    }
}

#[tokio::test]
async fn an_rsa_key_signs_with_the_padding_it_was_published_for() {
    let api = Guarded::start().await;
    let pkcs1 = Key::new(Alg::Rs256, "rsa");
    let pss = Key::new(Alg::Ps256, "rsa");
    api.publish(std::slice::from_ref(&pkcs1)).await;
    assert_eq!(api.ask(&api.token().with_key(&pkcs1).text()).await.status, 200);
    api.refuses(&api.token().with_key(&pss).text(), "key_alg").await;
    let lying = api.token().with_key(&pkcs1).signed_by(&pss);
    api.refuses(&lying.text(), "signature").await;
}

#[tokio::test]
async fn signatures_are_read_only_from_clean_base64url() {
    let api = Guarded::start().await;
    let text = api.token().text();
    for tail in ["=", "==", "AAAA"] {
        api.refuses(&format!("{text}{tail}"), "signature").await;
    }
    // The last character of 64 bytes carries four bits that must be zero.
    let last = text.chars().last().unwrap();
    let other = if last == 'B' { 'C' } else { 'B' };
    let altered = format!("{}{other}", &text[..text.len() - 1]);
    if other != last {
        api.refuses(&altered, "signature").await;
    }
}

#[tokio::test]
async fn header_members_that_stand_twice_are_refused() {
    let api = Guarded::start().await;
    for doubled in [
        r#""alg":"none""#,
        r#""kid":"k1""#,
        r#""typ":"at+jwt""#,
        r#""x":1,"x":1"#,
        r#""al\u0067":"HS256""#,
    ] {
        api.refuses(&api.token().header_after(doubled).text(), "header").await;
    }
}

/// CVE-2025-59420, CVE-2026-32597, GHSA-hm7r-c7qw-ghp6: critical extensions that nobody understood.
#[tokio::test]
async fn critical_extensions_are_never_skipped() {
    let api = Guarded::start().await;
    let values: [Value; 6] = [
        json!(["b64"]),
        json!(["http://example.com/unknown"]),
        json!([]),
        json!(["alg"]),
        json!(["exp"]),
        json!(null),
    ];
    for crit in values {
        let token = api.token().header("crit", crit).header("b64", false);
        api.refuses(&token.text(), "crit").await;
    }
}
