//! JSON read strictly: no member twice at any depth, no deep nesting, nothing behind the value.
//!
//! Parsers that keep the last of two equal members disagree with those that keep the first, and a token that
//! two checks read differently is a hole. Everything that carries a signature or a decision is read by [`parse_object`].

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep objects and arrays may nest.
pub const MAX_DEPTH: usize = 16;

/// The text is not strict JSON. Says where, never what stood there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not strict JSON: {0}")]
pub struct JsonFault(String);

/// Reads one JSON object.
///
/// ```
/// use shared_types::json::parse_object;
/// assert!(parse_object(br#"{"a":{"b":1}}"#).is_ok());
/// assert!(parse_object(br#"{"a":{"b":1,"b":2}}"#).is_err());
/// assert!(parse_object(b"[]").is_err());
/// ```
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    match parse(text)? {
        Value::Object(members) => Ok(members),
        _ => Err(JsonFault("an object is expected".into())),
    }
}

/// Reads one JSON value of any kind.
pub fn parse(text: &[u8]) -> Result<Value, JsonFault> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let fault = |error: serde_json::Error| {
        JsonFault(format!("line {} column {}: {}", error.line(), error.column(), kind(&error)))
    };
    let value = Strict { depth: MAX_DEPTH }.deserialize(&mut deserializer).map_err(fault)?;
    deserializer.end().map_err(fault)?;
    Ok(value)
}

/// Our own faults have fixed texts; the parser's may quote input, so only their class is told.
fn kind(error: &serde_json::Error) -> &'static str {
    let text = error.to_string();
    if text.starts_with(DUPLICATE) {
        return DUPLICATE;
    }
    if text.starts_with(TOO_DEEP) {
        return TOO_DEEP;
    }
    if text.starts_with(NOT_FINITE) {
        return NOT_FINITE;
    }
    match error.classify() {
        serde_json::error::Category::Eof => "the text ends early",
        _ => "syntax error",
    }
}

const DUPLICATE: &str = "a member stands twice";
const TOO_DEEP: &str = "nested too deep";
const NOT_FINITE: &str = "a number is out of range";

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom(TOO_DEEP))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom(NOT_FINITE))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(deeper)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(DUPLICATE));
            }
            members.insert(name, entries.next_value_seed(deeper)?);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_refused_at_every_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"a":2}]}"#, r#"{"a":1,"\u0061":2}"#] {
            let fault = parse(text.as_bytes()).unwrap_err();
            assert!(fault.to_string().ends_with(DUPLICATE), "{fault}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(
            parse(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err().to_string().ends_with(TOO_DEEP)
        );
    }

    #[test]
    fn trailing_text_and_huge_numbers_are_refused() {
        assert!(parse(b"{} {}").is_err());
        assert!(parse(br#"{"exp":1e400}"#).is_err());
    }

    #[test]
    fn a_fault_never_quotes_what_was_sent() {
        let fault = parse(br#"{"secret-value": nope}"#).unwrap_err();
        assert!(!fault.to_string().contains("secret"), "{fault}");
    }
}
