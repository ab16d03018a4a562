//! `dateutil.relativedelta`: a distance on the calendar, as Airflow serialises it.

use std::fmt::{self, Write as _};

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc};
use serde::Deserialize;

/// A calendar distance: relative parts (plural names) are added, absolute parts (singular names) replace.
///
/// Parts that are absent from the serialised form are zero or unset. The arithmetic is that of
/// `relativedelta.__add__` on UTC times: years and months first (the day is cut to the length of the month),
/// then absolute parts, then days and smaller units, then the weekday.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelativeDelta {
    years: i32,
    months: i32,
    days: f64,
    leapdays: i32,
    hours: f64,
    minutes: f64,
    seconds: f64,
    microseconds: f64,
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    weekday: Option<Vec<i32>>,
    hour: Option<u32>,
    minute: Option<u32>,
    second: Option<u32>,
    microsecond: Option<u32>,
}

const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

impl RelativeDelta {
    /// Whether the distance has months or years, which have no fixed length.
    pub fn has_months(&self) -> bool {
        self.years != 0 || self.months != 0
    }

    /// A rough length in whole seconds, a year being 365 days and a month 30
    /// (`DeltaDataIntervalTimetable._relativedelta_in_seconds`).
    pub fn approximate_seconds(&self) -> f64 {
        f64::from(self.years) * 365.0 * 86_400.0
            + f64::from(self.months) * 30.0 * 86_400.0
            + self.days * 86_400.0
            + self.hours * 3_600.0
            + self.minutes * 60.0
            + self.seconds
    }

    /// The instant this far after another. `None` outside the calendar.
    pub fn add_to(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.apply(at, 1)
    }

    /// The instant this far before another: relative parts are negated, absolute parts stay.
    pub fn subtract_from(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.apply(at, -1)
    }

    fn apply(&self, at: DateTime<Utc>, sign: i32) -> Option<DateTime<Utc>> {
        let at = at.naive_utc();
        let date = self.move_months(at.date(), sign)?;
        let time = at.time();
        let time = date.and_hms_micro_opt(
            self.hour.unwrap_or(time.hour()),
            self.minute.unwrap_or(time.minute()),
            self.second.unwrap_or(time.second()),
            self.microsecond.unwrap_or(time.nanosecond() / 1_000),
        )?;
        let leap_days = if date.month() > 2 && date.leap_year() { i64::from(self.leapdays) } else { 0 };
        let moved = time.checked_add_signed(self.fixed_part(sign)? + TimeDelta::try_days(leap_days)?)?;
        self.move_to_weekday(moved).map(|moved| moved.and_utc())
    }

    fn move_months(&self, date: NaiveDate, sign: i32) -> Option<NaiveDate> {
        let month = i32::try_from(self.month.unwrap_or(date.month())).ok()?;
        let months = month - 1 + sign * self.months;
        let year = self.year.unwrap_or(date.year()) + sign * self.years + months.div_euclid(12);
        let first = NaiveDate::from_ymd_opt(year, u32::try_from(months.rem_euclid(12)).ok()? + 1, 1)?;
        let day = self.day.unwrap_or(date.day()).min(u32::from(first.num_days_in_month()));
        first.with_day(day)
    }

    fn fixed_part(&self, sign: i32) -> Option<TimeDelta> {
        let seconds = self.days * 86_400.0 + self.hours * 3_600.0 + self.minutes * 60.0 + self.seconds;
        let microseconds = (seconds * 1e6 + self.microseconds).round() * f64::from(sign);
        let representable = microseconds.abs() < 9e18;
        representable.then(|| TimeDelta::microseconds(microseconds as i64))
    }

    fn move_to_weekday(&self, at: NaiveDateTime) -> Option<NaiveDateTime> {
        let Some([weekday, rest @ ..]) = self.weekday.as_deref() else {
            return Some(at);
        };
        let nth = rest.first().copied().unwrap_or(1);
        let current = i32::try_from(at.weekday().num_days_from_monday()).ok()?;
        let weeks = u64::try_from(nth.abs() - 1).ok()? * 7;
        let to_day = |days: i32| u64::try_from(days.rem_euclid(7)).ok();
        if nth > 0 {
            at.checked_add_days(Days::new(weeks + to_day(weekday - current)?))
        } else {
            at.checked_sub_days(Days::new(weeks + to_day(current - weekday)?))
        }
    }

    fn weekday_text(&self) -> Option<String> {
        let [weekday, rest @ ..] = self.weekday.as_deref()? else {
            return None;
        };
        let name = usize::try_from(*weekday).ok().and_then(|day| WEEKDAYS.get(day)).copied().unwrap_or("?");
        Some(rest.first().map_or_else(|| name.to_owned(), |nth| format!("{name}({nth:+})")))
    }
}

/// As Python's `repr`, which Airflow shows as the summary: `relativedelta(months=+1, day=1)`.
impl fmt::Display for RelativeDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relative = [
            ("years", f64::from(self.years)),
            ("months", f64::from(self.months)),
            ("days", self.days),
            ("leapdays", f64::from(self.leapdays)),
            ("hours", self.hours),
            ("minutes", self.minutes),
            ("seconds", self.seconds),
            ("microseconds", self.microseconds),
        ];
        let mut parts = String::new();
        for (name, value) in relative.into_iter().filter(|(_, value)| *value != 0.0) {
            write!(parts, ", {name}={value:+}")?;
        }
        let absolute = [
            ("year", self.year.map(|year| year.to_string())),
            ("month", self.month.map(|month| month.to_string())),
            ("day", self.day.map(|day| day.to_string())),
            ("weekday", self.weekday_text()),
            ("hour", self.hour.map(|hour| hour.to_string())),
            ("minute", self.minute.map(|minute| minute.to_string())),
            ("second", self.second.map(|second| second.to_string())),
            ("microsecond", self.microsecond.map(|microsecond| microsecond.to_string())),
        ];
        for (name, value) in absolute.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            write!(parts, ", {name}={value}")?;
        }
        write!(f, "relativedelta({})", parts.trim_start_matches(", "))
    }
}
