//! Values found by a long text, as many as fit: for what is costly to prove and quick to recognize.
//!
//! It knows neither what the text is nor how long a value holds: whoever asks checks that on each hit, and forgets what holds no more.
//! The resource server's guard has one of its own: it can be copied into other applications, so it shares nothing with this server.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

/// The bytes at a text's end that choose its place: a signature's, which differ wherever texts do. The rest is compared, not hashed.
const HASHED_TAIL: usize = 64;

/// Two halves: when the young one is full it becomes the old one, and what was old and not used since is gone. Constant work, no list.
///
/// The **whole** text is compared, byte for byte. It need not be in constant time: it is reached only by a text whose tail has the same hash
/// under a key of this process's own. Who does not hold the text would have to guess 64 characters of a signature first, so the time that
/// the comparison takes leads nobody from one guess to the next.
#[derive(Debug)]
pub struct Remembered<V> {
    hasher: RandomState,
    half: usize,
    young: HashMap<u64, Entry<V>>,
    old: HashMap<u64, Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    text: Box<str>,
    value: V,
}

impl<V: Clone> Remembered<V> {
    /// Room for at most `capacity` values; less than 2 remembers nothing.
    pub fn new(capacity: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            half: capacity / 2,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// The value of exactly that text.
    pub fn get(&mut self, text: &str) -> Option<V> {
        let place = self.place(text);
        if let Some(entry) = self.young.get(&place) {
            return entry.value_of(text);
        }
        let entry = self.old.remove(&place)?;
        let value = entry.value_of(text);
        self.insert(place, entry);
        value
    }

    /// Remembers a value. Of two texts with one hash the later one stays.
    pub fn put(&mut self, text: &str, value: V) {
        if self.half > 0 {
            let place = self.place(text);
            self.old.remove(&place);
            self.insert(place, Entry { text: text.into(), value });
        }
    }

    /// Forgets the value of that text.
    pub fn forget(&mut self, text: &str) {
        let place = self.place(text);
        self.young.remove(&place);
        self.old.remove(&place);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    fn insert(&mut self, place: u64, entry: Entry<V>) {
        if self.young.len() >= self.half && !self.young.contains_key(&place) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(place, entry);
    }

    fn place(&self, text: &str) -> u64 {
        let bytes = text.as_bytes();
        let tail = bytes.get(bytes.len().saturating_sub(HASHED_TAIL)..).unwrap_or(bytes);
        self.hasher.hash_one(tail)
    }
}

impl<V: Clone> Entry<V> {
    fn value_of(&self, text: &str) -> Option<V> {
        (*self.text == *text).then(|| self.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_only_by_its_whole_text() {
        let mut values = Remembered::new(10);
        let tail = "t".repeat(HASHED_TAIL);
        values.put(&format!("a{tail}"), 1);
        assert_eq!(values.get(&format!("a{tail}")), Some(1));
        for other in [format!("b{tail}"), tail.clone(), format!("aa{tail}"), format!("a{tail}t")] {
            assert_eq!(values.get(&other), None, "{other}");
        }
        assert_eq!(values.get(&format!("a{tail}")), Some(1), "asking for others changes nothing");
        assert_eq!(values.get(""), None);
    }

    #[test]
    fn of_two_texts_with_one_tail_the_later_one_stays() {
        let mut values = Remembered::new(10);
        let tail = "t".repeat(HASHED_TAIL);
        for (head, value) in [("a", 1), ("b", 2)] {
            values.put(&format!("{head}{tail}"), value);
        }
        assert_eq!(values.get(&format!("a{tail}")), None);
        assert_eq!(values.get(&format!("b{tail}")), Some(2));
        assert_eq!(values.len(), 1);
    }

    #[test]
    fn what_is_forgotten_is_gone_from_both_halves() {
        let mut values = Remembered::new(4);
        for text in ["a", "b", "c"] {
            values.put(text, ());
        }
        for text in ["a", "c"] {
            values.forget(text);
            assert_eq!(values.get(text), None, "{text}");
        }
        assert_eq!(values.get("b"), Some(()));
    }

    #[test]
    fn there_is_a_bound_and_what_is_used_stays() {
        let mut values = Remembered::new(10);
        values.put("used", 0);
        for number in 0..100 {
            values.put(&number.to_string(), number);
            assert_eq!(values.get("used"), Some(0), "{number}");
            assert!(values.len() <= 10);
        }
    }

    #[test]
    fn without_room_nothing_is_remembered() {
        for capacity in [0, 1] {
            let mut values = Remembered::new(capacity);
            values.put("a", ());
            assert!(values.get("a").is_none() && values.len() == 0);
        }
    }
}
