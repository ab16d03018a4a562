//! Dates read as Python's `datetime.strptime` reads them (`Lib/_strptime.py`), in the C locale.

use chrono::{Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Weekday};
use regex::{Captures, Regex, RegexBuilder};

use super::{PartitionError, repr};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Reads a date, with the offset if the format names one.
///
/// # Errors
/// When the text is not as the format says.
pub(crate) fn strptime(text: &str, format: &str) -> Result<(NaiveDateTime, Option<FixedOffset>), PartitionError> {
    let pattern = pattern(format)?;
    let found = pattern.captures(text).ok_or_else(|| {
        PartitionError::Value(format!("time data {} does not match format {}", repr(text), repr(format)))
    })?;
    let end = found.get(0).map_or(0, |all| all.end());
    if end != text.len() {
        return Err(PartitionError::Value(format!("unconverted data remains: {}", &text[end..])));
    }
    let fields = Fields::read(&found);
    let time = fields.time().ok_or_else(|| PartitionError::Value("second must be in 0..59".to_owned()))?;
    Ok((fields.date()?.and_time(time), fields.offset))
}

fn pattern(format: &str) -> Result<Regex, PartitionError> {
    let mut pattern = String::from("^(?:");
    let mut characters = format.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '%' {
            let Some(directive) = characters.next() else {
                return Err(PartitionError::Value(format!("stray % in format {}", repr(format))));
            };
            pattern.push_str(&directive_pattern(directive).ok_or_else(|| {
                let message = format!("{} is a bad directive in format {}", repr(&directive.to_string()), repr(format));
                PartitionError::Value(message)
            })?);
        } else if character.is_whitespace() {
            while characters.next_if(|next| next.is_whitespace()).is_some() {}
            pattern.push_str(r"\s+");
        } else {
            pattern.push_str(&regex::escape(&character.to_string()));
        }
    }
    pattern.push(')');
    RegexBuilder::new(&pattern)
        .case_insensitive(true)
        .build()
        .map_err(|error| PartitionError::Value(format!("format {} cannot be used: {error}", repr(format))))
}

fn directive_pattern(directive: char) -> Option<String> {
    let digits = match directive {
        'Y' | 'G' => "[0-9]{4}",
        'y' => "[0-9]{2}",
        'm' | 'I' => "1[0-2]|0[1-9]|[1-9]",
        'd' => "3[0-1]|[1-2][0-9]|0[1-9]|[1-9]| [1-9]",
        'H' => "2[0-3]|[0-1][0-9]|[0-9]",
        'M' => "[0-5][0-9]|[0-9]",
        'S' => "6[0-1]|[0-5][0-9]|[0-9]",
        'f' => "[0-9]{1,6}",
        'j' => "36[0-6]|3[0-5][0-9]|[1-2][0-9][0-9]|0[1-9][0-9]|00[1-9]|[1-9][0-9]|0[1-9]|[1-9]",
        'U' | 'W' => "5[0-3]|[0-4][0-9]|[0-9]",
        'V' => "5[0-3]|0[1-9]|[1-4][0-9]|[0-9]",
        'w' => "[0-6]",
        'u' => "[1-7]",
        'z' => r"[+-][0-9][0-9]:?[0-5][0-9](?::?[0-5][0-9](?:\.[0-9]{1,6})?)?|(?-i:Z)",
        'p' => "am|pm",
        'B' => return Some(names('B', &MONTHS, usize::MAX)),
        'b' => return Some(names('b', &MONTHS, 3)),
        'A' => return Some(names('A', &WEEKDAYS, usize::MAX)),
        'a' => return Some(names('a', &WEEKDAYS, 3)),
        '%' => return Some("%".to_owned()),
        _ => return None,
    };
    Some(format!("(?P<{directive}>{digits})"))
}

fn names(directive: char, names: &[&str], length: usize) -> String {
    let shortened: Vec<&str> = names.iter().map(|name| &name[..name.len().min(length)]).collect();
    format!("(?P<{directive}>{})", shortened.join("|"))
}

/// What the text said.
#[derive(Default)]
struct Fields {
    year: Option<i32>,
    iso_year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<i64>,
    /// From Monday, counted from 0.
    weekday: Option<i64>,
    /// With the first day of its weeks, counted from Monday.
    week: Option<(i64, i64)>,
    iso_week: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    microsecond: u32,
    offset: Option<FixedOffset>,
}

impl Fields {
    fn read(found: &Captures<'_>) -> Self {
        let text = |name: &str| found.name(name).map(|part| part.as_str());
        let number = |name: &str| text(name).and_then(|text| text.trim().parse::<u32>().ok());
        let year = |name: &str| number(name).and_then(|year| i32::try_from(year).ok());
        let place = |name: &str, names: &[&str]| {
            let lower = text(name)?.to_lowercase();
            names.iter().position(|name| name.starts_with(&lower))
        };
        let afternoon = text("p").map(str::to_lowercase);
        let hour = match (number("I"), afternoon.as_deref()) {
            (Some(hour), Some("pm")) => hour % 12 + 12,
            (Some(hour), _) => hour % 12,
            (None, _) => number("H").unwrap_or(0),
        };
        let weekday = place("A", &WEEKDAYS).or_else(|| place("a", &WEEKDAYS)).and_then(|at| i64::try_from(at).ok());
        let month = place("B", &MONTHS).or_else(|| place("b", &MONTHS)).and_then(|at| u32::try_from(at + 1).ok());
        // Two digits are a year from 1969 to 2068.
        let of_century = number("y").map(|year| if year <= 68 { 2000 + year } else { 1900 + year });
        Self {
            year: year("Y").or_else(|| of_century.and_then(|year| i32::try_from(year).ok())),
            iso_year: year("G"),
            month: number("m").or(month),
            day: number("d"),
            day_of_year: number("j").map(i64::from),
            weekday: weekday
                .or_else(|| number("w").map(|day| i64::from((day + 6) % 7)))
                .or_else(|| number("u").map(|day| i64::from(day - 1))),
            week: number("U").map(|week| (i64::from(week), 6)).or_else(|| number("W").map(|week| (i64::from(week), 0))),
            iso_week: number("V"),
            hour,
            minute: number("M").unwrap_or(0),
            second: number("S").unwrap_or(0),
            microsecond: text("f").and_then(|digits| format!("{digits:0<6}").parse().ok()).unwrap_or(0),
            offset: text("z").and_then(offset),
        }
    }

    fn time(&self) -> Option<NaiveTime> {
        NaiveTime::from_hms_micro_opt(self.hour, self.minute, self.second, self.microsecond)
    }

    fn date(&self) -> Result<NaiveDate, PartitionError> {
        self.check_iso_week()?;
        let year = self.year.unwrap_or(1900);
        let out_of_range = || PartitionError::Value("day is out of range for month".to_owned());
        if let (Some(iso_year), Some(week), Some(weekday)) = (self.iso_year, self.iso_week, self.weekday) {
            let weekday = u8::try_from(weekday).ok().and_then(|day| Weekday::try_from(day).ok());
            let date = weekday.and_then(|weekday| NaiveDate::from_isoywd_opt(iso_year, week, weekday));
            return date.ok_or_else(|| PartitionError::Value(format!("Invalid week: {week}")));
        }
        let from_week = self.week.zip(self.weekday).and_then(|(week, weekday)| day_of_year(year, week, weekday));
        let date = match self.day_of_year.or(from_week) {
            // Days before the first and after the last one lie in the years around.
            Some(day) => NaiveDate::from_ymd_opt(year, 1, 1)
                .and_then(|first| first.checked_add_signed(chrono::TimeDelta::days(day - 1))),
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1)),
        };
        date.filter(|date| date.year() > 0).ok_or_else(out_of_range)
    }

    fn check_iso_week(&self) -> Result<(), PartitionError> {
        let refuse = |message: &str| Err(PartitionError::Value(message.to_owned()));
        match (self.iso_year, self.iso_week, self.weekday, self.year) {
            (Some(_), ..) if self.day_of_year.is_some() => refuse(
                "Day of the year directive '%j' is not compatible with ISO year directive '%G'. Use '%Y' instead.",
            ),
            (Some(_), None, ..) | (Some(_), _, None, _) => refuse(
                "ISO year directive '%G' must be used with the ISO week directive '%V' and a weekday directive \
                 ('%A', '%a', '%w', or '%u').",
            ),
            (None, Some(_), Some(_), Some(_)) => refuse(
                "ISO week directive '%V' is incompatible with the year directive '%Y'. Use the ISO year '%G' instead.",
            ),
            (None, Some(_), ..) => refuse(
                "ISO week directive '%V' must be used with the ISO year directive '%G' and a weekday directive \
                 ('%A', '%a', '%w', or '%u').",
            ),
            _ => Ok(()),
        }
    }
}

/// The day of the year, from 1, of a weekday in a week (`_calc_julian_from_U_or_W`). Week 0 lies before the first
/// beginning of a week.
fn day_of_year(year: i32, (week, week_starts): (i64, i64), weekday: i64) -> Option<i64> {
    let first = i64::from(NaiveDate::from_ymd_opt(year, 1, 1)?.weekday().num_days_from_monday());
    // Counted from the day on which weeks begin.
    let (first, weekday) = ((first - week_starts).rem_euclid(7), (weekday - week_starts).rem_euclid(7));
    let week_0_length = (7 - first) % 7;
    Some(if week == 0 { 1 + weekday - first } else { 1 + week_0_length + 7 * (week - 1) + weekday })
}

/// `+01:00`, `+0100`, `+01:00:30`, `Z`. Fractions of a second, which no offset has, are dropped.
fn offset(text: &str) -> Option<FixedOffset> {
    if text == "Z" {
        return FixedOffset::east_opt(0);
    }
    let digits: String = text.chars().skip(1).take_while(|c| *c != '.').filter(char::is_ascii_digit).collect();
    let part = |from: usize| digits.get(from..from + 2).map_or(Some(0), |part| part.parse::<i32>().ok());
    let seconds = part(0)? * 3600 + part(2)? * 60 + part(4)?;
    FixedOffset::east_opt(if text.starts_with('-') { -seconds } else { seconds })
}
