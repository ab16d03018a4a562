//! Points in time as the REST API prints them.

use chrono::{DateTime, Datelike as _, NaiveDateTime, Timelike as _, Utc};
use serde::{Serialize, Serializer};
use std::fmt;

/// A point in time that serialises as pydantic does: UTC, `Z`, and either no fraction or six digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub(crate) struct Timestamp(pub DateTime<Utc>);

impl Timestamp {
    /// The current time.
    pub(crate) fn now() -> Self {
        Self(Utc::now())
    }

    /// Seconds from `earlier` to `self`, to the microsecond.
    pub(crate) fn seconds_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0).num_microseconds().unwrap_or_default() as f64 / 1e6
    }

    /// Python's `datetime.isoformat()` of an aware time in UTC: `+00:00` instead of `Z`.
    pub(crate) fn isoformat(self) -> String {
        format!("{}+00:00", self.without_zone())
    }

    fn without_zone(self) -> WithoutZone {
        WithoutZone(self.0.naive_utc())
    }
}

/// `YYYY-MM-DDTHH:MM:SS`, with six digits more where there is a fraction. Written field by field: pages hold thousands of
/// these, and a format string would be read for each.
struct WithoutZone(NaiveDateTime);

impl fmt::Display for WithoutZone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = (self.0.date(), self.0.time());
        write!(formatter, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day())?;
        write!(formatter, "T{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())?;
        match time.nanosecond() / 1_000 {
            0 => Ok(()),
            microseconds => write!(formatter, ".{microseconds:06}"),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}Z", self.without_zone())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_no_or_six_digits_of_a_second() {
        let time = |text: &str| Timestamp(text.parse().expect("a time"));
        assert_eq!(time("2026-11-01T00:00:00Z").to_string(), "2026-11-01T00:00:00Z");
        assert_eq!(time("2026-11-01T02:00:00.5+02:00").to_string(), "2026-11-01T00:00:00.500000Z");
        assert_eq!(time("2026-11-01T00:00:00.000001Z").isoformat(), "2026-11-01T00:00:00.000001+00:00");
    }
}
