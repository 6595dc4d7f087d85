//! A resource owner: the name to sign in with, the subject that tokens carry, and what is known of the person.

mod claims;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use shared_types::{Subject, UnixSeconds};

use super::row_id::RowId;
use crate::random::{self, SecureRandom};

pub use claims::{ClaimsFault, check_claims, released_claims, standard_claims};

/// The longest user name, in bytes: an e-mail address fits.
pub const MAX_USERNAME_BYTES: usize = 254;

/// A person as the store knows one.
#[derive(Clone)]
pub struct Account {
    /// The row.
    pub id: RowId,
    /// What tokens call the person; never the user name, never used again.
    pub subject: Subject,
    /// The name to sign in with, as it was written.
    pub username: String,
    /// Standard claims, checked by [`check_claims`].
    pub claims: Map<String, Value>,
    /// Whether the person may sign in.
    pub enabled: bool,
    /// Grows when every session and grant has to end.
    pub epoch: i64,
    /// The password's PHC string; none: nobody can sign in with a password.
    pub password_hash: Option<String>,
    /// When the account was made.
    pub created_at: UnixSeconds,
}

/// Neither the hash nor anything about the person.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("enabled", &self.enabled)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// A person that is not stored yet.
#[derive(Clone)]
pub struct NewAccount {
    /// From [`generate_subject`].
    pub subject: Subject,
    /// Checked by [`check_username`].
    pub username: String,
    /// The password's PHC string.
    pub password_hash: String,
    /// Checked by [`check_claims`].
    pub claims: Map<String, Value>,
    /// Now.
    pub created_at: UnixSeconds,
}

impl NewAccount {
    /// A person with a fresh subject. `username` and `claims` were checked before.
    pub fn new(
        username: String,
        claims: Map<String, Value>,
        password_hash: String,
        created_at: UnixSeconds,
        random: &dyn SecureRandom,
    ) -> Self {
        Self { subject: generate_subject(random), username, password_hash, claims, created_at }
    }
}

/// Neither the hash nor anything about the person.
impl fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAccount").finish_non_exhaustive()
    }
}

/// A fresh subject: `acct_` and 128 random bits, so it tells nothing and two never agree.
pub fn generate_subject(random: &dyn SecureRandom) -> Subject {
    loop {
        let text = format!("acct_{}", URL_SAFE_NO_PAD.encode(random::bytes::<16>(random)));
        // Always well-formed: the loop only spares a panic that could never happen.
        if let Ok(subject) = Subject::parse(text) {
            return subject;
        }
    }
}

/// Why a text cannot be a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsernameFault {
    /// Nothing was written.
    #[error("the user name is empty")]
    Empty,
    /// Longer than [`MAX_USERNAME_BYTES`].
    #[error("the user name is longer than {MAX_USERNAME_BYTES} bytes")]
    TooLong,
    /// A blank, a control character, or a mark that looks like nothing or like something else.
    #[error("the user name has a character other than letters, digits and visible ASCII")]
    Character,
}

/// Whether `name` may be a user name: letters and digits of any script and visible ASCII, so an e-mail address may be one.
///
/// Blanks, controls, invisible and combining marks are refused: two names that look alike on a page should be one name.
pub fn check_username(name: &str) -> Result<(), UsernameFault> {
    if name.is_empty() {
        return Err(UsernameFault::Empty);
    }
    if name.len() > MAX_USERNAME_BYTES {
        return Err(UsernameFault::TooLong);
    }
    if name.chars().all(|c| c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric())) {
        Ok(())
    } else {
        Err(UsernameFault::Character)
    }
}

/// What makes a user name unique: the name without the difference of capital and small letters.
///
/// Upper case first, then lower: so `ß` and `SS`, or the two small sigmas, become one.
pub fn username_key(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn a_subject_is_random_and_begins_with_acct() {
        let random = SeededRandom::new(1);
        let (one, other) = (generate_subject(&random), generate_subject(&random));
        assert_ne!(one, other);
        // 128 bits in base64url are 22 characters.
        assert!(one.as_str().starts_with("acct_") && one.as_str().len() == 5 + 22, "{one}");
    }

    #[test]
    fn a_user_name_is_visible_from_end_to_end() {
        for good in ["alice", "alice@example.com", "O'Brien", "ångström", "李", &"a".repeat(254)]
        {
            assert_eq!(check_username(good), Ok(()), "{good}");
        }
        assert_eq!(check_username(""), Err(UsernameFault::Empty));
        assert_eq!(check_username(&"a".repeat(255)), Err(UsernameFault::TooLong));
        for bad in [
            " alice",
            "alice ",
            "al ice",
            "al\tice",
            "al\u{200b}ice",
            "al\u{202e}ice",
            "e\u{301}",
            "alice\u{a0}",
            "\n",
        ] {
            assert_eq!(check_username(bad), Err(UsernameFault::Character), "{bad:?}");
        }
    }

    #[test]
    fn user_names_that_differ_in_case_alone_are_one() {
        for (one, other) in [
            ("Alice", "aLICE"),
            ("STRASSE", "straße"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("Ångström", "åNGSTRÖM"),
        ] {
            assert_eq!(username_key(one), username_key(other), "{one} {other}");
        }
        assert_ne!(username_key("alice"), username_key("alicia"));
    }

    #[test]
    fn debug_tells_nothing_about_the_person() {
        let new = NewAccount::new(
            "alice".into(),
            Map::new(),
            "$argon2id$x".into(),
            UnixSeconds::new(0),
            &SeededRandom::new(1),
        );
        let shown = format!("{new:?}");
        assert!(!shown.contains("alice") && !shown.contains("argon2"), "{shown}");
    }
}
