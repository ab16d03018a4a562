//! Windows: which parts make up a period (`airflow/partition_mappers/window.py`).

use chrono::{Datelike, Months, NaiveDateTime, TimeDelta};
use serde::Deserialize;
use serde_json::Value;

use super::strftime::isoformat;
use super::{Decoded, PartitionError, Typed, decode};

/// A window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// Parts of a calendar period, each named by its beginning.
    Calendar(Span, Direction),
    /// Keys of its own, whatever the period.
    Segments(Vec<String>),
    /// A plugin's own class, which only Python can evaluate.
    Foreign(String),
}

/// A calendar period and its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Sixty minutes.
    Hour,
    /// Twenty-four hours of the clock on the wall, also on days that have more or fewer.
    Day,
    /// Seven days.
    Week,
    /// The days of a month.
    Month,
    /// Three months.
    Quarter,
    /// Twelve months.
    Year,
}

/// Where the period lies, seen from the date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// It begins there.
    #[default]
    Forward,
    /// Its last part begins there.
    Backward,
}

#[derive(Deserialize)]
struct CalendarArguments {
    #[serde(default)]
    direction: Direction,
}

#[derive(Deserialize)]
struct SegmentArguments {
    segments: Vec<String>,
}

impl Window {
    /// Reads `{"__type": class path, "__var": arguments}`.
    ///
    /// # Errors
    /// When a class of Airflow's own does not have the arguments it should.
    pub fn from_serialized(encoded: &Value) -> Result<Self, PartitionError> {
        let typed = Typed::read(encoded)?;
        let Ok(class) = typed.class() else { return Ok(Self::Foreign(typed.type_name)) };
        let span = match class {
            "HourWindow" => Span::Hour,
            "DayWindow" => Span::Day,
            "WeekWindow" => Span::Week,
            "MonthWindow" => Span::Month,
            "QuarterWindow" => Span::Quarter,
            "YearWindow" => Span::Year,
            "SegmentWindow" => {
                let SegmentArguments { mut segments } = decode(class, typed.arguments.clone())?;
                segments.sort_unstable();
                segments.dedup();
                return Ok(Self::Segments(segments));
            }
            _ => return Ok(Self::Foreign(typed.type_name)),
        };
        let direction = match typed.arguments.clone() {
            Value::Null => Direction::Forward,
            arguments => decode::<CalendarArguments>(class, arguments)?.direction,
        };
        Ok(Self::Calendar(span, direction))
    }

    /// Whether it is enumerated in dates (`expected_decoded_type`).
    pub(super) fn is_temporal(&self) -> bool {
        matches!(self, Self::Calendar(..))
    }

    /// The parts of the period that `anchor` stands for, in order (`to_upstream`).
    ///
    /// # Errors
    /// When a period of months does not begin on a first of a month, or the calendar ends.
    pub fn to_upstream(&self, anchor: &Decoded) -> Result<Vec<Decoded>, PartitionError> {
        match (self, anchor) {
            (Self::Foreign(type_name), _) => Err(PartitionError::Foreign { type_name: type_name.clone() }),
            (Self::Segments(segments), _) => Ok(segments.iter().cloned().map(Decoded::Text).collect()),
            (Self::Calendar(span, direction), Decoded::Date(start, offset)) => {
                if span.is_of_months() && start.day() != 1 {
                    let message = format!(
                        "{} expects a period start on day 1 of the month, got {}. The paired upstream mapper's \
                         decode_downstream must normalise to day 1.",
                        span.class_name(),
                        isoformat(*start, *offset)
                    );
                    return Err(PartitionError::Value(message));
                }
                let parts = span.parts(*start, *direction);
                let parts = parts.ok_or_else(|| PartitionError::Value("date value out of range".to_owned()))?;
                Ok(parts.into_iter().map(|part| Decoded::Date(part, *offset)).collect())
            }
            (Self::Calendar(span, _), Decoded::Text(_)) => {
                Err(PartitionError::Type(format!("{} needs a date, not a text", span.class_name())))
            }
        }
    }
}

impl Span {
    fn is_of_months(self) -> bool {
        matches!(self, Self::Month | Self::Quarter | Self::Year)
    }

    fn class_name(self) -> &'static str {
        match self {
            Self::Hour => "HourWindow",
            Self::Day => "DayWindow",
            Self::Week => "WeekWindow",
            Self::Month => "MonthWindow",
            Self::Quarter => "QuarterWindow",
            Self::Year => "YearWindow",
        }
    }

    /// `None` when the calendar ends.
    fn parts(self, start: NaiveDateTime, direction: Direction) -> Option<Vec<NaiveDateTime>> {
        let backward = direction == Direction::Backward;
        let step = |size: TimeDelta, count: i32| {
            let first = if backward { start.checked_sub_signed(size * (count - 1))? } else { start };
            (0..count).map(|n| first.checked_add_signed(size * n)).collect::<Option<Vec<_>>>()
        };
        let months = |count: u32| {
            let first = if backward { start.checked_sub_months(Months::new(count - 1))? } else { start };
            (0..count).map(|n| first.checked_add_months(Months::new(n))).collect::<Option<Vec<_>>>()
        };
        match self {
            Self::Hour => step(TimeDelta::minutes(1), 60),
            Self::Day => step(TimeDelta::hours(1), 24),
            Self::Week => step(TimeDelta::days(1), 7),
            Self::Quarter => months(3),
            Self::Year => months(12),
            // Backwards, a month has as many days as the one before, and ends with the first of this one.
            Self::Month => {
                let one = Months::new(1);
                let (first, end) = if backward {
                    let before = start.checked_sub_months(one)?;
                    (before.checked_add_signed(TimeDelta::days(1))?, start.checked_add_signed(TimeDelta::days(1))?)
                } else {
                    (start, start.checked_add_months(one)?)
                };
                let days = (end - first).num_days();
                (0..days).map(|n| first.checked_add_signed(TimeDelta::days(n))).collect()
            }
        }
    }
}
