//! The time zone of a timetable: a region of the IANA database, or a fixed offset.

use std::fmt;

use chrono::{DateTime, FixedOffset, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// A time zone as Airflow serialises it: a name, or an offset to UTC in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// A region such as `Europe/Berlin`.
    Region(Tz),
    /// A fixed offset east of UTC.
    Fixed(FixedOffset),
}

impl Zone {
    /// UTC.
    pub const UTC: Self = Self::Region(Tz::UTC);

    /// The zone of a name from the IANA database. `None` when the name is not known.
    pub fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("utc") {
            return Some(Self::UTC);
        }
        name.parse().ok().map(Self::Region)
    }

    /// The zone of an offset east of UTC, in seconds. `None` from one day on.
    pub fn fixed(seconds: i32) -> Option<Self> {
        FixedOffset::east_opt(seconds).map(Self::Fixed)
    }

    /// What the clock on the wall shows at an instant.
    pub fn wall_clock(self, at: DateTime<Utc>) -> NaiveDateTime {
        self.local(at).naive_local()
    }

    /// The instant in this zone's own time, for texts.
    pub fn local(self, at: DateTime<Utc>) -> DateTime<FixedOffset> {
        match self {
            Self::Region(zone) => at.with_timezone(&zone).fixed_offset(),
            Self::Fixed(offset) => at.with_timezone(&offset),
        }
    }

    /// The instant at which the clock on the wall shows a time.
    ///
    /// A time that occurs twice means the second instant; a time skipped by the clock is read with the offset
    /// from before the change, and so lands after the gap (`make_aware` in `airflow._shared.timezones`).
    pub fn instant(self, wall_clock: NaiveDateTime) -> DateTime<Utc> {
        match self {
            Self::Region(zone) => instant_in(zone, wall_clock),
            Self::Fixed(offset) => instant_in(offset, wall_clock),
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(zone) => f.write_str(zone.name()),
            Self::Fixed(offset) => write!(f, "{offset}"),
        }
    }
}

fn instant_in<Z: TimeZone>(zone: Z, wall_clock: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&wall_clock) {
        LocalResult::Single(at) | LocalResult::Ambiguous(_, at) => at.to_utc(),
        LocalResult::None => {
            let offset = offset_before_gap(&zone, wall_clock);
            (wall_clock - offset).and_utc()
        }
    }
}

/// The offset in force before the gap that holds a wall-clock time. Gaps end within a day, and no zone
/// changes twice within a quarter of an hour.
fn offset_before_gap<Z: TimeZone>(zone: &Z, in_gap: NaiveDateTime) -> FixedOffset {
    let mut before = in_gap;
    for _ in 0..(2 * 24 * 4) {
        before -= TimeDelta::minutes(15);
        if let Some(at) = zone.from_local_datetime(&before).latest() {
            return at.offset().fix();
        }
    }
    zone.offset_from_utc_datetime(&in_gap).fix()
}
