//! The oracle: tokens and key sets made by hand, right ones and every kind of wrong one.
//!
//! It shares no line with the code under test, neither types nor checks: with `aws-lc-rs`, `serde_json` and `base64`
//! alone it writes down what RFC 7515, 7517 and 9068 say, so that a mistake in the house cannot hide in its own mirror.

mod issuer;
mod keys;
mod token;

pub use issuer::{FakeIssuer, Fetch, Mood};
pub use keys::{Alg, Key};
pub use token::{Token, read, unverified_header};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// base64url without padding (RFC 7515 section 2).
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
