//! How many rows a table has, and a checksum over all of them that does not depend on their order.
//!
//! Two engines need not sort texts alike, and asking either for the other's order would sort a large table without its index.
//! So each row is hashed by itself, and the hashes are added up: every row counts, once for each time it is there.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::{Row, Value};

/// What was found in one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableTally {
    /// Its name.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// The sum, modulo 2^256, of the SHA-256 of every row.
    pub checksum: [u8; 32],
}

impl TableTally {
    /// Of a table without rows.
    pub(super) fn of(table: &'static str) -> Self {
        Self { table, rows: 0, checksum: [0; 32] }
    }

    /// Counts a row in.
    pub(super) fn add(&mut self, row: &Row) {
        self.rows += 1;
        let mut carry = 0;
        for (sum, byte) in self.checksum.iter_mut().rev().zip(digest(row).iter().rev()) {
            let total = u16::from(*sum) + u16::from(*byte) + carry;
            let [high, low] = total.to_be_bytes();
            (*sum, carry) = (low, u16::from(high));
        }
    }

    /// The checksum in hexadecimal.
    pub fn hex(&self) -> String {
        self.checksum.iter().fold(String::new(), |mut text, byte| {
            // Writing to a text cannot fail.
            write!(text, "{byte:02x}").ok();
            text
        })
    }
}

/// Each value with its kind and length, so that no two rows are written alike.
fn digest(row: &Row) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut put = |kind: u8, bytes: &[u8]| {
        hash.update([kind]);
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    for value in row.values() {
        match value {
            Value::Null => put(0, &[]),
            Value::Int(int) => put(1, &int.to_be_bytes()),
            Value::Text(text) => put(2, text.as_bytes()),
            Value::Bytes(bytes) => put(3, bytes),
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(rows: &[&[Value]]) -> TableTally {
        let mut tally = TableTally::of("t");
        for row in rows {
            tally.add(&Row::new(row.to_vec()));
        }
        tally
    }

    #[test]
    fn order_does_not_matter_and_everything_else_does() {
        let (a, b): (&[Value], &[Value]) = (&["x".into(), 1.into()], &[Value::Null, 2.into()]);
        assert_eq!(tally(&[a, b]), tally(&[b, a]));
        for other in [
            tally(&[a]),
            tally(&[a, a]),
            tally(&[a, b, b]),
            tally(&[a, &["".into(), 2.into()]]),
            tally(&[a, &[2.into(), Value::Null]]),
            tally(&[&[b"x".into(), 1.into()], b]),
        ] {
            assert_ne!(tally(&[a, b]).checksum, other.checksum);
        }
    }

    #[test]
    fn where_a_value_ends_counts() {
        assert_ne!(
            tally(&[&["ab".into(), "c".into()]]).checksum,
            tally(&[&["a".into(), "bc".into()]]).checksum
        );
    }

    #[test]
    fn the_sum_carries() {
        let row = Row::new(vec![1.into()]);
        let mut tally = TableTally { table: "t", rows: 0, checksum: [0xff; 32] };
        tally.add(&row);
        let mut one = digest(&row);
        // All ones is minus one.
        for byte in one.iter_mut().rev() {
            let (less, borrowed) = byte.overflowing_sub(1);
            *byte = less;
            if !borrowed {
                break;
            }
        }
        assert_eq!(tally.checksum, one);
    }
}
