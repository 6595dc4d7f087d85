//! How a value is read: as the file has it, or as the text of a flag or variable. No sentence repeats the value.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::Value;

use service::duration::{format_seconds, parse_seconds};
use service::proxies::{NETWORKS, network};

/// A checked number as the field's own type; the bounds of every setting fit, so the sentence is never read.
pub(super) fn fitting<T: TryFrom<i64>>(number: i64) -> Result<T, String> {
    T::try_from(number).map_err(|_| "is too large".to_owned())
}

/// A field as the number that is printed.
pub(super) fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Anything as text.
pub(super) fn text(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

/// Text that is not empty.
pub(super) fn string(value: &Value) -> Result<&str, String> {
    match value.as_str() {
        Some("") => Err("is empty".into()),
        Some(text) => Ok(text),
        None => Err("must be text".into()),
    }
}

/// A path, relative to the working directory.
pub(super) fn path(value: &Value) -> Result<PathBuf, String> {
    string(value).map(PathBuf::from)
}

/// `expected` completes "must be": the parsers' own sentences may repeat the value.
pub(super) fn parsed<T: std::str::FromStr>(value: &Value, expected: &str) -> Result<T, String> {
    string(value)?.parse().map_err(|_| format!("must be {expected}"))
}

/// A whole number within `bounds`.
pub(super) fn whole(value: &Value, bounds: RangeInclusive<i64>) -> Result<i64, String> {
    let number = match value {
        Value::Integer(number) => Some(*number),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.filter(|number| bounds.contains(number)).ok_or_else(|| {
        format!("must be a whole number from {} to {}", bounds.start(), bounds.end())
    })
}

/// A duration within `bounds`, in seconds.
pub(super) fn seconds(value: &Value, bounds: RangeInclusive<i64>) -> Result<i64, String> {
    let seconds =
        parse_seconds(value.as_str().unwrap_or_default()).map_err(|fault| fault.to_string())?;
    if bounds.contains(&seconds) {
        return Ok(seconds);
    }
    Err(format!(
        "must be from {} to {}",
        format_seconds(*bounds.start()),
        format_seconds(*bounds.end())
    ))
}

/// A list of networks.
pub(super) fn networks(value: &Value) -> Result<Vec<ipnet::IpNet>, String> {
    let expected = || format!("must be {NETWORKS}");
    let list = value.as_array().ok_or_else(expected)?;
    let network = |item: &Value| item.as_str().and_then(network);
    list.iter().map(|item| network(item).ok_or_else(expected)).collect()
}

/// What `env_logger` takes as a filter; it would ignore a part that it does not understand.
pub(super) fn filter(value: &Value) -> Result<String, String> {
    let text = string(value)?;
    let level = |word: &str| word.parse::<log::LevelFilter>().is_ok();
    let known = |part: &str| {
        part.split_once('=').map_or(level(part), |(target, word)| !target.is_empty() && level(word))
    };
    if text.split(',').all(known) {
        return Ok(text.to_owned());
    }
    Err("must be off, error, warn, info, debug or trace, or target=level pairs with commas".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_their_ends() {
        assert_eq!(seconds(&Value::String("10m".into()), 1..=600), Ok(600));
        assert!(seconds(&Value::String("601s".into()), 1..=600).is_err());
        assert!(whole(&Value::Integer(0), 1..=2).is_err());
        assert_eq!(whole(&Value::String("2".into()), 1..=2), Ok(2));
    }
}
