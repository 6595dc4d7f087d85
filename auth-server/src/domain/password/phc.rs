//! A password hash as it is stored: the [PHC string format](https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md) of
//! Argon2id ([RFC 9106](https://www.rfc-editor.org/rfc/rfc9106)), version 19, one lane.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::domain::secret::constant_time_eq;

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// What one hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
}

impl Cost {
    /// The function of this cost; `None` outside the bounds of [RFC 9106 section 3.1](https://www.rfc-editor.org/rfc/rfc9106#section-3.1).
    pub fn argon2(self) -> Option<Argon2<'static>> {
        let params = Params::new(self.memory_kib, self.iterations, 1, Some(HASH_BYTES)).ok()?;
        Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// A stored hash, taken apart.
#[derive(Clone)]
pub struct Phc {
    /// What it cost.
    pub cost: Cost,
    /// Its salt.
    pub salt: Vec<u8>,
    hash: [u8; HASH_BYTES],
}

impl Phc {
    /// A hash that was just computed.
    pub fn new(cost: Cost, salt: &[u8], hash: [u8; HASH_BYTES]) -> Self {
        Self { cost, salt: salt.to_vec(), hash }
    }

    /// Takes exactly what [`write`](Self::write) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("$argon2id$v=19$m=")?;
        let (memory, rest) = rest.split_once(",t=")?;
        let (iterations, rest) = rest.split_once(",p=1$")?;
        let (salt, hash) = rest.split_once('$')?;
        let cost = Cost { memory_kib: memory.parse().ok()?, iterations: iterations.parse().ok()? };
        Some(Self {
            cost,
            salt: STANDARD_NO_PAD.decode(salt).ok()?,
            hash: STANDARD_NO_PAD.decode(hash).ok()?.try_into().ok()?,
        })
    }

    /// The text for the column.
    pub fn write(&self) -> String {
        let Cost { memory_kib, iterations } = self.cost;
        let (salt, hash) = (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(self.hash));
        format!("$argon2id$v=19$m={memory_kib},t={iterations},p=1${salt}${hash}")
    }

    /// Whether `hash` is this one, in constant time.
    pub fn matches(&self, hash: &[u8; HASH_BYTES]) -> bool {
        constant_time_eq(&self.hash, hash)
    }
}

/// Nothing of the hash.
impl std::fmt::Debug for Phc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Phc").field("cost", &self.cost).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the reference implementation's command-line tool: `echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32`.
    const REFERENCE: &str =
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    #[test]
    fn the_reference_implementation_agrees() {
        let phc = Phc::parse(REFERENCE).unwrap();
        assert_eq!(phc.salt, b"somesalt");
        let mut hash = [0; HASH_BYTES];
        phc.cost.argon2().unwrap().hash_password_into(b"password", &phc.salt, &mut hash).unwrap();
        assert!(phc.matches(&hash));
        assert_eq!(Phc::new(phc.cost, &phc.salt, hash).write(), REFERENCE);
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$short",
            "$argon2id$v=19$m=x,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "plain text",
        ] {
            assert!(Phc::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_cost_out_of_bounds_has_no_function() {
        assert!(Cost { memory_kib: 7, iterations: 1 }.argon2().is_none());
        assert!(Cost { memory_kib: 8, iterations: 0 }.argon2().is_none());
        assert!(Cost { memory_kib: 8, iterations: 1 }.argon2().is_some());
    }
}
