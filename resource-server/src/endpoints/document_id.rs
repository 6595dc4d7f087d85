//! The id of a document in a path ([RFC 3986 section 3.3](https://www.rfc-editor.org/rfc/rfc3986#section-3.3)): 32 hex digits, made here and opaque to everybody else. Does not say whether it exists.

use aws_lc_rs::rand;

use crate::error::ApiError;

/// 128 random bits in hex: an id tells nothing and cannot be guessed.
pub fn fresh() -> Result<String, ApiError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| ApiError::Internal)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Whether `text` has the form of our ids.
pub fn is_ours(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Takes `text`; what cannot be an id of ours is not there, and the store is not asked.
pub fn parse(text: String) -> Result<String, ApiError> {
    if is_ours(&text) { Ok(text) } else { Err(ApiError::NotFound) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_fresh_and_of_our_form() {
        let (a, b) = (fresh().unwrap(), fresh().unwrap());
        assert_ne!(a, b);
        assert!(is_ours(&a));
        for other in [
            "",
            "7",
            "../../etc/passwd",
            &a.to_uppercase().replace(char::is_numeric, "A"),
            &format!("{a}0"),
        ] {
            assert!(parse(other.to_owned()).is_err(), "{other}");
        }
    }
}
