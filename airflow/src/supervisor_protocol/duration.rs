//! Durations as the Task SDK sends them: ISO 8601 text such as `P1DT30.5S`.

use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, de};

/// A span of time, read from ISO 8601 text (msgspec's form of Python's `timedelta`) or from seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IsoDuration(pub TimeDelta);

/// A text that is no ISO 8601 duration of days, hours, minutes and seconds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an ISO 8601 duration such as P1DT30.5S")]
pub struct NotADuration(String);

impl FromStr for IsoDuration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self).ok_or_else(|| NotADuration(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<TimeDelta> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let body = unsigned.strip_prefix('P')?;
    let (date, time) = body.split_once('T').unwrap_or((body, ""));
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let days = sum_of_parts(date, &[('W', 604_800.0), ('D', 86_400.0)])?;
    let rest = sum_of_parts(time, &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)])?;
    from_seconds(sign * (days + rest))
}

fn sum_of_parts(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut seconds = 0.0;
    for (unit, length) in units {
        if let Some((number, rest)) = text.split_once(*unit) {
            seconds += number.replace(',', ".").parse::<f64>().ok()? * length;
            text = rest;
        }
    }
    text.is_empty().then_some(seconds)
}

/// Rounds to microseconds, the resolution of Python's `timedelta`.
fn from_seconds(seconds: f64) -> Option<TimeDelta> {
    let microseconds = (seconds * 1e6).round();
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (microseconds.abs() < 9e18).then(|| TimeDelta::microseconds(microseconds as i64))
}

impl<'de> Deserialize<'de> for IsoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Seconds(f64),
        }
        match Form::deserialize(deserializer)? {
            Form::Text(text) => text.parse().map_err(de::Error::custom),
            Form::Seconds(seconds) => {
                from_seconds(seconds).map(Self).ok_or_else(|| de::Error::custom("duration out of range"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_msgspec_writes() {
        let read = |text: &str| text.parse::<IsoDuration>().map(|d| d.0.num_microseconds());
        assert_eq!(read("PT60S"), Ok(Some(60_000_000)));
        assert_eq!(read("P1DT30.5S"), Ok(Some(86_430_500_000)));
        assert_eq!(read("-P2D"), Ok(Some(-172_800_000_000)));
        assert_eq!(read("PT1H2M3S"), Ok(Some(3_723_000_000)));
        for wrong in ["", "P", "60", "PT", "P1Y", "PT5X", "PTS"] {
            assert!(wrong.parse::<IsoDuration>().is_err(), "{wrong:?} was read");
        }
    }
}
