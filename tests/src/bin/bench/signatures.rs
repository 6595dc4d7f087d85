//! What one signature and one verification cost here and now: both processors are busy with the same, as under load.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair,
};

use crate::machine::{LOAD_CORE, SERVER_CORE, now, this_program};

/// The bytes that are signed: about a token's.
const MESSAGE: [u8; 500] = [7; 500];
/// How long each operation is timed.
const TIME: Duration = Duration::from_millis(400);

/// Microseconds of each operation, `sign ES256` and so on.
pub type Timings = BTreeMap<String, f64>;

/// Times them on both processors at once; what the servers' processor came to.
pub fn time_on_both() -> Result<Timings> {
    let start = |core| -> Result<_> {
        Ok(this_program(core)?.arg("signatures").stdout(Stdio::piped()).spawn()?)
    };
    let (measured, other) = (start(SERVER_CORE)?, start(LOAD_CORE)?);
    let output = measured.wait_with_output()?;
    other.wait_with_output()?;
    serde_json::from_slice(&output.stdout).context("the timings are JSON")
}

/// Times them in this process and prints them.
pub fn print() -> ExitCode {
    match timings() {
        Ok(timings) => {
            println!("{}", serde_json::json!(timings));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench signatures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn timings() -> Result<Timings> {
    let random = SystemRandom::new();
    let refused = |_| anyhow!("aws-lc-rs refuses a key");
    let ed = Ed25519KeyPair::generate().map_err(refused)?;
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(refused)?;
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).map_err(refused)?;
    let sign_ec = || ec.sign(&random, &MESSAGE).map(|signature| signature.as_ref().to_vec());
    let sign_rsa = || {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, &MESSAGE, &mut signature).map(|()| signature)
    };
    let public = |algorithm, key: &[u8]| {
        ParsedPublicKey::new(algorithm, key).map_err(|_| anyhow!("aws-lc-rs refuses a public key"))
    };
    let ed_public = public(&ED25519, ed.public_key().as_ref())?;
    let ec_public = public(&ECDSA_P256_SHA256_FIXED, ec.public_key().as_ref())?;
    let rsa_public = public(&RSA_PKCS1_2048_8192_SHA256, rsa.public_key().as_ref())?;
    let by_ed = ed.sign(&MESSAGE).as_ref().to_vec();
    let (by_ec, by_rsa) = (sign_ec().map_err(refused)?, sign_rsa().map_err(refused)?);
    Ok(Timings::from([
        ("sign EdDSA".to_owned(), micros(|| ed.sign(&MESSAGE))),
        ("sign ES256".to_owned(), micros(sign_ec)),
        ("sign RS256".to_owned(), micros(sign_rsa)),
        ("verify EdDSA".to_owned(), micros(|| ed_public.verify_sig(&MESSAGE, &by_ed))),
        ("verify ES256".to_owned(), micros(|| ec_public.verify_sig(&MESSAGE, &by_ec))),
        ("verify RS256".to_owned(), micros(|| rsa_public.verify_sig(&MESSAGE, &by_rsa))),
    ]))
}

/// The mean over a while, in processor time: on a machine with neighbors the clock says how busy they are.
fn micros<T>(mut operation: impl FnMut() -> T) -> f64 {
    let (begin, used, mut count) = (now(), cpu_nanos(), 0_u32);
    while begin.elapsed() < TIME {
        for _ in 0..8 {
            black_box(operation());
        }
        count += 8;
    }
    (cpu_nanos() - used) as f64 / 1e3 / f64::from(count)
}

/// Processor time of this thread, which is the first of its process. Where the kernel does not tell it, the clock has to do.
fn cpu_nanos() -> u64 {
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.unwrap_or_else(|| u64::try_from(since_start().as_nanos()).unwrap_or(u64::MAX))
}

fn since_start() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(now).elapsed()
}
