//! Durations as people write them in settings and declared state: `90s`, `5m`, `12h`, `30d`.

/// The text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: write a whole number and s, m, h or d, as in 90s, 5m, 12h, 30d")]
pub struct DurationFault;

/// Seconds of a text like `5m`. A number without a unit is refused: nobody knows what it meant.
pub fn parse_seconds(text: &str) -> Result<i64, DurationFault> {
    let (number, factor) = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)]
        .into_iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, factor)))
        .ok_or(DurationFault)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DurationFault);
    }
    number.parse::<i64>().ok().and_then(|number| number.checked_mul(factor)).ok_or(DurationFault)
}

/// The shortest text that [`parse_seconds`] reads back as `seconds`.
pub fn format_seconds(seconds: i64) -> String {
    for (factor, unit) in [(86_400, 'd'), (3_600, 'h'), (60, 'm')] {
        if seconds != 0 && seconds % factor == 0 {
            return format!("{}{unit}", seconds / factor);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_unit() {
        assert_eq!(parse_seconds("90s"), Ok(90));
        assert_eq!(parse_seconds("5m"), Ok(300));
        assert_eq!(parse_seconds("30d"), Ok(2_592_000));
        for bad in ["", "5", "m", "-5m", "5 m", "1.5h", "5w", "99999999999999999999d"] {
            assert_eq!(parse_seconds(bad), Err(DurationFault), "{bad:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for seconds in [0, 1, 59, 60, 3_600, 5_400, 86_400, 2_592_000] {
            assert_eq!(parse_seconds(&format_seconds(seconds)), Ok(seconds));
        }
    }
}
