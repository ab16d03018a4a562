//! A distance between runs or the length of an interval: a `timedelta` or a `relativedelta`.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::TimetableError;
use super::relativedelta::RelativeDelta;

/// A distance in time.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// A fixed length (`datetime.timedelta`), in microseconds.
    Fixed(TimeDelta),
    /// A distance on the calendar (`dateutil.relativedelta`).
    Calendar(Box<RelativeDelta>),
}

impl Delta {
    /// No distance at all.
    pub const ZERO: Self = Self::Fixed(TimeDelta::zero());

    /// The instant this far after another.
    ///
    /// # Errors
    /// [`TimetableError::OutOfRange`] outside the calendar.
    pub fn add_to(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        let moved = match self {
            Self::Fixed(delta) => at.checked_add_signed(*delta),
            Self::Calendar(delta) => delta.add_to(at),
        };
        moved.ok_or(TimetableError::OutOfRange { at })
    }

    /// The instant this far before another.
    ///
    /// # Errors
    /// [`TimetableError::OutOfRange`] outside the calendar.
    pub fn subtract_from(&self, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        let moved = match self {
            Self::Fixed(delta) => at.checked_sub_signed(*delta),
            Self::Calendar(delta) => delta.subtract_from(at),
        };
        moved.ok_or(TimetableError::OutOfRange { at })
    }

    /// The latest boundary at or before an instant (`DeltaDataIntervalTimetable._round`).
    ///
    /// Fixed lengths count from the Unix epoch. Months and years have no fixed length: boundaries are then
    /// reached from `anchor` one step at a time, so that cut days (31 January, 28 February, 28 March) agree
    /// with a run-by-run catch-up.
    ///
    /// # Errors
    /// [`TimetableError::NoAdvance`] when the delta does not move forwards.
    pub(super) fn floor(&self, at: DateTime<Utc>, anchor: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        let length = match self {
            Self::Calendar(delta) if delta.has_months() => return self.walk_from(anchor, at),
            Self::Calendar(delta) => (delta.approximate_seconds() * 1e6) as i64,
            Self::Fixed(delta) => microseconds(*delta),
        };
        if length <= 0 {
            return Err(TimetableError::NoAdvance { at });
        }
        let floored = at.timestamp_micros().div_euclid(length) * length;
        DateTime::from_timestamp_micros(floored).ok_or(TimetableError::OutOfRange { at })
    }

    fn walk_from(&self, anchor: DateTime<Utc>, at: DateTime<Utc>) -> Result<DateTime<Utc>, TimetableError> {
        let mut boundary = anchor;
        loop {
            let next = self.add_to(boundary)?;
            if next > at {
                return Ok(boundary);
            }
            if next <= boundary {
                return Err(TimetableError::NoAdvance { at: boundary });
            }
            boundary = next;
        }
    }
}

fn microseconds(delta: TimeDelta) -> i64 {
    delta.num_microseconds().unwrap_or(i64::MAX)
}

/// From seconds, or from the parts of a `relativedelta` (`decode_interval` in
/// `airflow/serialization/decoders.py`).
impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Number(seconds) => seconds
                .as_f64()
                .and_then(from_seconds)
                .map(Self::Fixed)
                .ok_or_else(|| de::Error::custom(format!("{seconds} seconds are too many"))),
            parts => RelativeDelta::deserialize(parts)
                .map(|delta| Self::Calendar(Box::new(delta)))
                .map_err(de::Error::custom),
        }
    }
}

/// A `timedelta` of a number of seconds. `None` beyond what Python's `timedelta` holds.
pub(super) fn from_seconds(seconds: f64) -> Option<TimeDelta> {
    let limit = 86_400.0 * 1e9;
    (seconds.abs() < limit).then(|| TimeDelta::microseconds((seconds * 1e6).round() as i64))
}

/// As Python's `str`, which Airflow shows as the summary: `1 day, 2:00:00`.
impl fmt::Display for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delta = match self {
            Self::Calendar(delta) => return delta.fmt(f),
            Self::Fixed(delta) => microseconds(*delta),
        };
        const DAY: i64 = 86_400_000_000;
        let (days, rest) = (delta.div_euclid(DAY), delta.rem_euclid(DAY));
        if days != 0 {
            let plural = if days.abs() == 1 { "" } else { "s" };
            write!(f, "{days} day{plural}, ")?;
        }
        let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
        write!(f, "{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
        if fraction != 0 {
            write!(f, ".{fraction:06}")?;
        }
        Ok(())
    }
}
