//! Mappers to the beginning of a calendar period (`airflow/partition_mappers/temporal.py`).

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc};
use regex::{Captures, Regex};
use serde::Deserialize;
use serde_json::Value;

use super::strftime::{Place, strftime};
use super::strptime::strptime;
use super::{Decoded, PartitionError, decode, repr, serialized};
use crate::timetable::zone::Zone;

/// What a key is brought to the beginning of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// `StartOfHourMapper`.
    Hour,
    /// `StartOfDayMapper`.
    Day,
    /// `StartOfWeekMapper`: from Monday.
    Week,
    /// `StartOfMonthMapper`.
    Month,
    /// `StartOfQuarterMapper`.
    Quarter,
    /// `StartOfYearMapper`.
    Year,
}

/// A mapper between keys that are dates.
#[derive(Debug, Clone)]
pub struct TemporalMapper {
    period: Period,
    zone: Zone,
    input_format: String,
    output_format: String,
    /// Reads a key where `strptime` cannot: with a week's number or a quarter.
    key_pattern: Option<Regex>,
}

#[derive(Deserialize)]
struct Arguments {
    #[serde(default)]
    timezone: Value,
    input_format: String,
    output_format: String,
}

impl Period {
    pub(super) fn of_class(class: &str) -> Option<Self> {
        Some(match class {
            "StartOfHourMapper" => Self::Hour,
            "StartOfDayMapper" => Self::Day,
            "StartOfWeekMapper" => Self::Week,
            "StartOfMonthMapper" => Self::Month,
            "StartOfQuarterMapper" => Self::Quarter,
            "StartOfYearMapper" => Self::Year,
            _ => return None,
        })
    }

    /// The beginning of the period by the clock on the wall. `None` before the calendar.
    fn start(self, at: NaiveDateTime) -> Option<NaiveDateTime> {
        let day = at.date();
        let first = match self {
            Self::Hour => return day.and_hms_opt(at.hour(), 0, 0),
            Self::Day => day,
            Self::Week => day.checked_sub_signed(TimeDelta::days(i64::from(day.weekday().num_days_from_monday())))?,
            Self::Month => day.with_day(1)?,
            Self::Quarter => NaiveDate::from_ymd_opt(day.year(), day.month0() / 3 * 3 + 1, 1)?,
            Self::Year => NaiveDate::from_ymd_opt(day.year(), 1, 1)?,
        };
        first.and_hms_opt(0, 0, 0)
    }
}

impl TemporalMapper {
    pub(super) fn read(class: &str, period: Period, arguments: Value) -> Result<Self, PartitionError> {
        let Arguments { timezone, input_format, output_format } = decode(class, arguments)?;
        let zone = match &timezone {
            Value::Null => Some(Zone::UTC),
            Value::String(name) => Zone::named(name),
            offset => offset.as_i64().and_then(|seconds| i32::try_from(seconds).ok()).and_then(Zone::fixed),
        };
        let zone = zone.ok_or_else(|| serialized(class, format!("time zone {timezone} is not known")))?;
        let key_pattern = match period {
            Period::Week => Some(key_pattern(&output_format, r"\w+")?),
            Period::Quarter => Some(key_pattern(&output_format, "[1-4]")?),
            _ => None,
        };
        Ok(Self { period, zone, input_format, output_format, key_pattern })
    }

    pub(super) fn class_name(&self) -> &'static str {
        match self.period {
            Period::Hour => "StartOfHourMapper",
            Period::Day => "StartOfDayMapper",
            Period::Week => "StartOfWeekMapper",
            Period::Month => "StartOfMonthMapper",
            Period::Quarter => "StartOfQuarterMapper",
            Period::Year => "StartOfYearMapper",
        }
    }

    pub(super) fn to_downstream(&self, key: &str) -> Result<String, PartitionError> {
        let (wall_clock, offset) = strptime(key, &self.input_format)?;
        let start = self.start(self.in_zone(wall_clock, offset))?;
        self.write(start, &self.place(start))
    }

    /// Writes the beginning of a period as a key (`format`). A date without an offset of its own names none.
    pub(super) fn format(
        &self,
        wall_clock: NaiveDateTime,
        offset: Option<FixedOffset>,
    ) -> Result<String, PartitionError> {
        self.write(wall_clock, &Place::of_offset(offset))
    }

    fn write(&self, start: NaiveDateTime, place: &Place) -> Result<String, PartitionError> {
        let written = strftime(start, &self.output_format, place);
        if self.period == Period::Quarter { with_quarter(&written, start.month0() / 3 + 1) } else { Ok(written) }
    }

    pub(super) fn decode(&self, key: &str) -> Result<Decoded, PartitionError> {
        let Some(pattern) = &self.key_pattern else {
            let (wall_clock, offset) = strptime(key, &self.output_format)?;
            return Ok(Decoded::Date(wall_clock, offset));
        };
        let read = pattern.captures(key).and_then(|found| {
            let month_and_day = if self.period == Period::Quarter {
                (number(&found, "quarter")? * 3 - 2, 1)
            } else {
                (number(&found, "m")?, number(&found, "d")?)
            };
            Some((number(&found, "Y")?, month_and_day))
        });
        let (year, (month, day)) = read.ok_or_else(|| {
            let needed = if self.period == Period::Quarter {
                "the %Y directive and the {quarter} placeholder"
            } else {
                "the %Y, %m and %d directives"
            };
            PartitionError::Value(format!(
                "{}.decode_downstream could not parse {} with output_format {}; output_format must include {needed}.",
                self.class_name(),
                repr(key),
                repr(&self.output_format)
            ))
        })?;
        let date = i32::try_from(year).ok().filter(|year| *year > 0);
        let date = date.and_then(|year| NaiveDate::from_ymd_opt(year, month, day)?.and_hms_opt(0, 0, 0));
        Ok(Decoded::Date(date.ok_or_else(|| PartitionError::Value("day is out of range for month".to_owned()))?, None))
    }

    pub(super) fn to_partition_date(&self, key: &str) -> Result<DateTime<Utc>, PartitionError> {
        let Decoded::Date(wall_clock, offset) = self.decode(key)? else {
            return Err(PartitionError::Type(format!("{} reads dates", self.class_name())));
        };
        let start = self.start(wall_clock)?;
        Ok(offset.map_or_else(|| self.zone.instant(start), |offset| (start - offset).and_utc()))
    }

    pub(super) fn encode(&self, wall_clock: NaiveDateTime, offset: Option<FixedOffset>) -> String {
        let local = self.in_zone(wall_clock, offset);
        strftime(local, &self.input_format, &self.place(local))
    }

    fn start(&self, at: NaiveDateTime) -> Result<NaiveDateTime, PartitionError> {
        self.period.start(at).ok_or_else(|| PartitionError::Value("date value out of range".to_owned()))
    }

    /// A date by this zone's clock: one with an offset is an instant; one without is meant so, but for the hours that
    /// the clock skips.
    fn in_zone(&self, wall_clock: NaiveDateTime, offset: Option<FixedOffset>) -> NaiveDateTime {
        let instant = offset.map_or_else(|| self.zone.instant(wall_clock), |offset| (wall_clock - offset).and_utc());
        self.zone.wall_clock(instant)
    }

    fn place(&self, wall_clock: NaiveDateTime) -> Place {
        Place::of_zone(self.zone, self.zone.instant(wall_clock))
    }
}

fn number(found: &Captures<'_>, group: &str) -> Option<u32> {
    found.name(group)?.as_str().parse().ok()
}

/// Python's `str.format` with the name `quarter`.
fn with_quarter(text: &str, quarter: u32) -> Result<String, PartitionError> {
    let mut written = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, after) = rest.split_at(at);
        written.push_str(before);
        rest = if let Some(after) = after.strip_prefix("{{") {
            written.push('{');
            after
        } else if let Some(after) = after.strip_prefix("}}") {
            written.push('}');
            after
        } else if let Some(after) = after.strip_prefix("{quarter}") {
            written.push_str(&quarter.to_string());
            after
        } else {
            return Err(PartitionError::Value(format!("{} is no format with a quarter", repr(text))));
        };
    }
    written.push_str(rest);
    Ok(written)
}

/// The pattern that reads what a format writes (`_compile_output_format_regex`): digits for the directives of numbers,
/// `placeholder` for a name in braces, everything else as it is.
fn key_pattern(format: &str, quarter: &str) -> Result<Regex, PartitionError> {
    let malformed = |why: String| PartitionError::Value(format!("output_format {} {why}", repr(format)));
    let mut pattern = String::from("^");
    let mut after_word = false;
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let directive = rest.strip_prefix('%').and_then(|after| after.chars().next());
        if let Some(name @ ('Y' | 'm' | 'd' | 'H' | 'M' | 'S' | 'V' | 'U' | 'W')) = directive {
            let digits = if name == 'Y' { 4 } else { 2 };
            pattern.push_str(&format!("(?P<{name}>[0-9]{{{digits}}})"));
            rest = &rest[2..];
            after_word = false;
        } else if let Some((name, after)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            let is_identifier = name.chars().all(|c| c == '_' || c.is_alphanumeric())
                && name.chars().next().is_some_and(|c| !c.is_numeric());
            if !is_identifier {
                return Err(malformed(format!("has invalid placeholder {{{name}}}")));
            }
            let part = if name == "quarter" { quarter } else { r"\w+" };
            let is_word = part == r"\w+";
            if is_word && after_word {
                return Err(malformed(format!("has adjacent placeholders ending at {{{name}}}")));
            }
            pattern.push_str(&format!("(?P<{name}>{part})"));
            rest = after;
            after_word = is_word;
        } else {
            pattern.push_str(&regex::escape(&first.to_string()));
            rest = &rest[first.len_utf8()..];
            after_word = false;
        }
    }
    pattern.push('$');
    // A name that comes twice is an error here, too.
    Regex::new(&pattern).map_err(|error| malformed(format!("cannot be read back: {error}")))
}
