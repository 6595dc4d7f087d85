//! Passwords: what may be one and how one is generated. Hashing is in [`hasher`], who may wait for it in
//! [`places`], the stored format in [`phc`].

pub mod hasher;
pub mod phc;
pub mod places;

use super::secret::PlainSecret;
use crate::random::{self, SecureRandom};

pub use hasher::{Argon2Cost, HasherFault, PasswordHasher, Place};
pub use places::Standing;

/// The shortest password, in bytes ([NIST SP 800-63B section 3.1.1](https://pages.nist.gov/800-63-4/sp800-63b.html) starts at 8 characters).
pub const MIN_PASSWORD_BYTES: usize = 8;
/// The longest password, in bytes: a bound on the work before the hash, far above any pass phrase.
pub const MAX_PASSWORD_BYTES: usize = 1_024;

/// Why a text cannot be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Shorter than [`MIN_PASSWORD_BYTES`].
    #[error("the password is shorter than {MIN_PASSWORD_BYTES} bytes")]
    TooShort,
    /// Longer than [`MAX_PASSWORD_BYTES`].
    #[error("the password is longer than {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
}

/// Whether `password` may be set. No rule about its characters: length is what helps.
pub fn check_password(password: &PlainSecret) -> Result<(), PasswordFault> {
    match password.expose().len() {
        ..MIN_PASSWORD_BYTES => Err(PasswordFault::TooShort),
        MIN_PASSWORD_BYTES..=MAX_PASSWORD_BYTES => Ok(()),
        _ => Err(PasswordFault::TooLong),
    }
}

/// Letters of generated passwords: no `l` beside `1`, no `o` beside `0`. 32 of them, so that each holds exactly five random bits.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// How many letters a generated password has: 26 × 5 = 130 bits.
const LETTERS: usize = 26;
/// How many letters stand together.
const GROUP: usize = 5;

/// A fresh password of 130 random bits that a person can read aloud and type: groups of small letters and digits.
pub fn generate(random: &dyn SecureRandom) -> PlainSecret {
    let mut text = String::with_capacity(LETTERS + LETTERS / GROUP);
    for (position, byte) in random::bytes::<LETTERS>(random).into_iter().enumerate() {
        if position > 0 && position % GROUP == 0 {
            text.push('-');
        }
        // 256 is a multiple of 32: the low five bits of a random byte are evenly spread.
        text.extend(ALPHABET.get(usize::from(byte & 31)).map(|&letter| char::from(letter)));
    }
    PlainSecret::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn length_alone_decides() {
        let check = |length: usize| check_password(&PlainSecret::new("x".repeat(length)));
        assert_eq!(check(7), Err(PasswordFault::TooShort));
        assert_eq!(check(8), Ok(()));
        assert_eq!(check(1_024), Ok(()));
        assert_eq!(check(1_025), Err(PasswordFault::TooLong));
    }

    #[test]
    fn a_generated_password_is_readable_and_long_enough() {
        let random = SeededRandom::new(1);
        let (one, other) = (generate(&random), generate(&random));
        assert_ne!(one.expose(), other.expose());
        let letters: Vec<u8> = one.expose().bytes().filter(|&byte| byte != b'-').collect();
        assert_eq!(letters.len() * 5, 130, "{}", one.expose());
        assert!(letters.iter().all(|letter| ALPHABET.contains(letter)));
        assert!(one.expose().split('-').all(|group| group.len() <= GROUP));
        assert_eq!(check_password(&one), Ok(()));
    }

    #[test]
    fn the_alphabet_has_no_letter_twice() {
        let distinct: std::collections::BTreeSet<_> = ALPHABET.iter().collect();
        assert_eq!(distinct.len(), ALPHABET.len());
    }
}
