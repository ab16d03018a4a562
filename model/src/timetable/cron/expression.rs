//! A cron expression as official Airflow reads it, evaluated on wall-clock time without a zone.
//!
//! [`Field`] expands the text by `croniter`'s grammar; the expansion is then written as a pattern that
//! `croner` agrees with, and `croner` does the search.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{Datelike, NaiveDateTime, TimeDelta, Timelike};
use croner::Cron;
use croner::parser::{CronParser, Seconds};

use super::CronError;
use super::field::{Field, FieldKind, Occurrence};

/// Airflow's own presets (`airflow.utils.dates.cron_presets`), replaced before anything else happens.
const PRESETS: [(&str, &str); 6] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@quarterly", "0 0 1 */3 *"),
    ("@yearly", "0 0 1 1 *"),
];

/// Names `croniter` adds, in any case of letters. The expression keeps its name in the timetable's summary.
const ALIASES: [(&str, &str); 7] = [
    ("@midnight", "0 0 * * *"),
    ("@annually", "0 0 1 1 *"),
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
];

/// `croniter` gives up when no date matches within this many years.
const MAX_YEARS_BETWEEN_MATCHES: u32 = 50;

/// The years `*` stands for: enough for any Dag, few enough that a search for a date that never comes ends
/// soon (`croner` would go on to the year 5000).
const ANY_YEAR: &str = "1900-2200";

/// A parsed cron expression of five fields, or six with seconds last, or seven with seconds and years last.
#[derive(Debug, Clone)]
pub struct CronExpression {
    text: String,
    pattern: Cron,
    /// A side of an "or" that must have occurrences of its own, though all of them are in `pattern`.
    other_side: Option<Cron>,
    covers_every_hour: bool,
    has_seconds: bool,
}

impl CronExpression {
    /// Parses an expression or a preset.
    ///
    /// # Errors
    /// [`CronError::Syntax`] when official Airflow refuses the expression. Hashed (`H`) and random (`R`)
    /// fields are refused too: Airflow gives the first no key, and the second no stable schedule.
    pub fn parse(expression: &str) -> Result<Self, CronError> {
        let text = PRESETS.iter().find(|(name, _)| *name == expression).map_or(expression, |(_, text)| *text);
        let syntax = |detail: String| CronError::Syntax { expression: text.to_owned(), detail };
        let lower = text.to_lowercase();
        let lower = ALIASES.iter().find(|(name, _)| *name == lower).map_or(lower.as_str(), |(_, text)| *text);
        let columns: Vec<&str> = lower.split_ascii_whitespace().collect();
        if !(5..=7).contains(&columns.len()) {
            return Err(syntax(format!("it has {} columns instead of 5, 6 or 7", columns.len())));
        }
        let fields = expand(&columns).map_err(syntax)?;
        // A seconds column of six or seven, even `0`, makes croniter search by seconds.
        let has_seconds = columns.len() > 5;
        let days = DayFields::combine(&fields[2], &fields[4]);
        let parser = CronParser::builder().seconds(Seconds::Required).build();
        let parse = |(day_of_month, day_of_week): &(String, String)| {
            let pattern = croner_pattern(&fields, day_of_month, day_of_week);
            parser.parse(&pattern).map_err(|error| syntax(error.to_string()))
        };
        Ok(Self {
            text: text.to_owned(),
            pattern: parse(&days.pattern)?,
            other_side: days.other_side.as_ref().map(parse).transpose()?,
            covers_every_hour: fields[1].is_wildcard(),
            has_seconds,
        })
    }

    /// The expression with Airflow's presets resolved: the timetable's summary.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the hour field is every hour, so that a repeated hour at the end of daylight saving time has
    /// runs of its own (`airflow.timetables._cron._covers_every_hour`).
    pub fn covers_every_hour(&self) -> bool {
        self.covers_every_hour
    }

    /// Whether the expression has a column for seconds.
    pub fn has_seconds(&self) -> bool {
        self.has_seconds
    }

    /// The first match after a wall-clock time.
    ///
    /// # Errors
    /// [`CronError::NoOccurrence`] when nothing matches in the next 50 years.
    pub fn next_after(&self, at: NaiveDateTime) -> Result<NaiveDateTime, CronError> {
        let start = whole_second(at);
        let unit = if self.has_seconds { TimeDelta::seconds(1) } else { TimeDelta::minutes(1) };
        self.within_reach(at, at + unit, |pattern| pattern.find_next_occurrence(&start, false))
    }

    /// The last match before a wall-clock time.
    ///
    /// # Errors
    /// [`CronError::NoOccurrence`] when nothing matched in the last 50 years.
    pub fn previous_before(&self, at: NaiveDateTime) -> Result<NaiveDateTime, CronError> {
        let start = whole_second(at);
        let inclusive = at.nanosecond() != 0;
        self.within_reach(at, at - TimeDelta::microseconds(1), |pattern| {
            pattern.find_previous_occurrence(&start, inclusive)
        })
    }

    fn within_reach(
        &self,
        at: NaiveDateTime,
        start: NaiveDateTime,
        search: impl Fn(&Cron) -> Result<NaiveDateTime, croner::errors::CronError>,
    ) -> Result<NaiveDateTime, CronError> {
        let reachable = |found: &NaiveDateTime| found.year().abs_diff(start.year()) <= MAX_YEARS_BETWEEN_MATCHES;
        let find = |pattern: &Cron| search(pattern).ok().filter(reachable);
        find(&self.pattern)
            .filter(|_| self.other_side.as_ref().is_none_or(|side| find(side).is_some()))
            .ok_or_else(|| CronError::NoOccurrence { expression: self.text.clone(), at })
    }
}

impl PartialEq for CronExpression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn whole_second(at: NaiveDateTime) -> NaiveDateTime {
    at.with_nanosecond(0).unwrap_or(at)
}

/// Expands the columns and applies the rules that span fields.
fn expand(columns: &[&str]) -> Result<Vec<Field>, String> {
    let mut fields = Vec::with_capacity(columns.len());
    for (kind, column) in FieldKind::ALL.into_iter().zip(columns) {
        let mut field = Field::parse(kind, column).map_err(|detail| format!("{kind:?}: {detail}"))?;
        // A full list of days stays a list beside a restricted other day field, because the two are joined
        // by "or" only when neither is `*`.
        let stays_a_list = match kind {
            FieldKind::DayOfMonth => !columns[4].contains('*'),
            FieldKind::DayOfWeek => !columns[2].contains('*'),
            _ => false,
        };
        if !stays_a_list {
            field.collapse(kind);
        }
        fields.push(field);
    }
    let days_of_week = &fields[4];
    let literal = days_of_week.values.iter().any(|day| !days_of_week.occurrences.contains_key(day));
    if !days_of_week.occurrences.is_empty() && literal && !days_of_week.names_all(FieldKind::DayOfWeek) {
        return Err("DayOfWeek: plain days and occurrences (`MON#1`) cannot be mixed".to_owned());
    }
    Ok(fields)
}

/// The expansion in `croner`'s syntax: seconds first, `+` in front of the weekdays for "and".
///
/// One difference is left: for the 29th and 30th, `W` in a February without that day is skipped here, while
/// `croniter` takes the weekday nearest to the end of that February.
fn croner_pattern(fields: &[Field], day_of_month: &str, day_of_week: &str) -> String {
    let second = fields.get(5).map_or_else(|| "0".to_owned(), list);
    let year = fields.get(6).map(list).filter(|year| year != "*");
    let year = year.unwrap_or_else(|| ANY_YEAR.to_owned());
    let [minute, hour, month] = [0, 1, 3].map(|index| list(&fields[index]));
    format!("{second} {minute} {hour} {day_of_month} {month} {day_of_week} {year}")
}

/// How the two day fields combine (`croniter._calc_next`).
struct DayFields {
    pattern: (String, String),
    other_side: Option<(String, String)>,
}

impl DayFields {
    /// Joined by "or" when both are restricted, except that `W` and `#` reach into both sides of the "or".
    /// One side is then the `W` or `#` alone, which covers the other side; but when that other side, both
    /// fields at once, never occurs, neither does the whole.
    fn combine(day_of_month: &Field, day_of_week: &Field) -> Self {
        let nearest = day_of_month.nearest_weekday.is_some();
        let nth = !day_of_week.occurrences.is_empty();
        let (month_days, week_days) = (list(day_of_month), list(day_of_week));
        let any = || "*".to_owned();
        let both = (month_days.clone(), format!("+{week_days}"));
        match (day_of_month.any, day_of_week.any, nearest, nth) {
            (false, false, true, false) => Self { pattern: (month_days, any()), other_side: Some(both) },
            (false, false, false, true) => Self { pattern: (any(), week_days), other_side: Some(both) },
            (false, false, true, true) | (false, true, _, true) => Self { pattern: both, other_side: None },
            _ => Self { pattern: (month_days, week_days), other_side: None },
        }
    }
}

fn list(field: &Field) -> String {
    if let Some(day) = field.nearest_weekday {
        // The weekday nearest to the 31st is, in a shorter month, the one nearest to its last day.
        return if day == 31 { "LW".to_owned() } else { format!("{day}W") };
    }
    if !field.occurrences.is_empty() {
        return occurrences(field);
    }
    if field.any {
        return "*".to_owned();
    }
    let values = field.values.iter().map(u32::to_string);
    values.chain(field.last_day.then(|| "L".to_owned())).collect::<Vec<_>>().join(",")
}

fn occurrences(field: &Field) -> String {
    let entries = field.occurrences.iter().flat_map(|(day, occurrences): (&u32, &BTreeSet<Occurrence>)| {
        occurrences.iter().map(move |occurrence| match occurrence {
            Occurrence::Nth(nth) => format!("{day}#{nth}"),
            Occurrence::Last => format!("{day}#L"),
        })
    });
    entries.collect::<Vec<_>>().join(",")
}
