//! The English sentence for a cron expression that official Airflow shows, as `At 21:30, only on Friday`.
//!
//! Airflow asks the `cron-descriptor` package (2.2); the sentences here are the same, slips included, so that
//! the same Dag has the same text under either control plane. Expressions with seconds have no sentence.

use super::CronExpression;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const SPECIAL: [char; 4] = ['/', '-', ',', '*'];

/// The sentence of an expression, empty when there is none.
///
/// Restricted days of the month and of the week, which cron joins by "or", are told one after the other.
pub fn describe(expression: &CronExpression) -> String {
    let columns: Vec<&str> = expression.as_str().split_whitespace().collect();
    let [minute, hour, day_of_month, month, day_of_week] = columns[..] else {
        return String::new();
    };
    let sentence =
        |day_of_month, day_of_week| Columns::normalised([minute, hour, day_of_month, month, day_of_week]).sentence();
    let description = if day_of_month != "*" && day_of_week != "*" {
        sentence(day_of_month, "*")
            .zip(sentence("*", day_of_week))
            .map(|(month_days, week_days)| format!("{month_days} (or) {week_days}"))
    } else {
        sentence(day_of_month, day_of_week)
    };
    description.unwrap_or_default()
}

/// The columns, brought to the forms that the sentences are made for.
struct Columns {
    minute: String,
    hour: String,
    day_of_month: String,
    month: String,
    day_of_week: String,
}

impl Columns {
    fn normalised([minute, hour, day_of_month, month, day_of_week]: [&str; 5]) -> Self {
        let minute = start_as_star(minute, "0/");
        let mut hour = start_as_star(hour, "0/");
        let day_of_month = start_as_star(&day_of_month.replace('?', "*"), "1/");
        let month = names_as_numbers(start_as_star(month, "1/"), &MONTHS, 1);
        let day_of_week = sunday_as_zero(&start_as_star(&day_of_week.replace('?', "*"), "1/"));
        let day_of_week = names_as_numbers(day_of_week, &DAYS, 0);
        // A repeated minute in a single hour is told as "between" the hour's ends.
        if minute.contains(['*', '/']) && !hour.contains(SPECIAL) {
            hour = format!("{hour}-{hour}");
        }
        let month = start_as_range(every_one_as_star(month), "12");
        let day_of_week = start_as_range(every_one_as_star(day_of_week), "6");
        let [minute, hour, day_of_month] = [minute, hour, day_of_month].map(every_one_as_star);
        Self { minute, hour, day_of_month, month, day_of_week }
    }

    fn sentence(&self) -> Option<String> {
        let parts = [self.time_of_day()?, self.days_of_month()?, self.days_of_week()?, self.months()?];
        let text = parts.concat();
        let text = text.replace(", every minute", "").replace(", every hour", "").replace(", every day", "");
        let text = text.strip_suffix(", ").or(text.strip_suffix(',')).unwrap_or(&text);
        let mut letters = text.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect())
    }

    fn time_of_day(&self) -> Option<String> {
        let (minute, hour) = (self.minute.as_str(), self.hour.as_str());
        let single_minute = !minute.contains(SPECIAL);
        let single_hour = !hour.contains(SPECIAL);
        if single_minute && single_hour {
            return Some(format!("At {}", clock(hour, minute)?));
        }
        if single_hour && minute.contains('-') && !minute.contains(',') {
            let (from, to) = ends(minute)?;
            return Some(format!("Every minute between {} and {}", clock(hour, from)?, clock(hour, to)?));
        }
        if single_minute && hour.contains(',') && !hour.contains('-') {
            return listed_hours(hour, minute);
        }
        let (minutes, hours) = (self.minutes()?, self.hours()?);
        let separator = if minutes.is_empty() || hours.is_empty() { "" } else { ", " };
        Some(format!("{minutes}{separator}{hours}"))
    }

    fn minutes(&self) -> Option<String> {
        let hour_range = self.hour.contains('-') && !self.hour.contains(['/', ',']);
        Segment {
            all: "every minute",
            item: &|item| Some(item.to_owned()),
            interval: &|_| "every {} minutes",
            between: "minutes {} through {} past the hour",
            one: &|text| if text == "0" && !hour_range { "" } else { "at {} minutes past the hour" }.to_owned(),
        }
        .describe(&self.minute)
    }

    fn hours(&self) -> Option<String> {
        Segment {
            all: "every hour",
            item: &|item| clock(item, "0"),
            interval: &|_| "every {} hours",
            between: "between {} and {}",
            one: &|_| "at {}".to_owned(),
        }
        .describe(&self.hour)
    }

    fn days_of_month(&self) -> Option<String> {
        let text = self.day_of_month.as_str();
        if text == "L" {
            return Some(", on the last day of the month".to_owned());
        }
        if let Some((before, after)) = text.split_once('W') {
            let day: u32 = if before.is_empty() { after } else { before }.parse().ok()?;
            return Some(match day {
                1 => ", on the first weekday of the month".to_owned(),
                _ => format!(", on the weekday nearest day {day} of the month"),
            });
        }
        if text == "*" && self.day_of_week != "*" {
            return Some(String::new());
        }
        Segment {
            all: ", every day",
            item: &|item| Some(item.to_owned()),
            interval: &|step| {
                if step == "1" { ", every day" } else { ", every {} days" }
            },
            between: ", between day {} and {} of the month",
            one: &|_| ", on day {} of the month".to_owned(),
        }
        .describe(text)
    }

    fn months(&self) -> Option<String> {
        Segment {
            all: "",
            item: &|item| {
                item.parse::<usize>().ok()?.checked_sub(1).and_then(|index| MONTHS.get(index)).map(ToString::to_string)
            },
            interval: &|_| ", every {} months",
            between: ", {} through {}",
            one: &|_| ", only in {}".to_owned(),
        }
        .describe(&self.month)
    }

    fn days_of_week(&self) -> Option<String> {
        let text = self.day_of_week.as_str();
        if text == "*" {
            return Some(String::new());
        }
        if let Some(weeks) = weekly_rhythm(text)? {
            return Some(weeks);
        }
        Segment { all: ", every day", one: &day_of_week_format, ..WEEKDAYS }.describe(text)
    }
}

const WEEKDAYS: Segment<'_> = Segment {
    all: "",
    item: &day_name,
    interval: &|_| ", every {} days of the week",
    between: ", {} through {}",
    one: &only_on,
};

fn only_on(_: &str) -> String {
    ", only on {}".to_owned()
}

fn day_of_week_format(text: &str) -> String {
    if let Some((_, nth)) = text.split_once('#') {
        let nth = match nth.parse() {
            Ok(1) => "first",
            Ok(2) => "second",
            Ok(3) => "third",
            Ok(4) => "fourth",
            Ok(5) => "fifth",
            _ => "",
        };
        return format!(", on the {nth} {{}} of the month");
    }
    if text.contains('L') { ", on the last {} of the month".to_owned() } else { only_on(text) }
}

/// A step on named days tells weeks instead of days: on a list always, on a range when the step is at least
/// its length. `None` inside when the text is not of that kind.
fn weekly_rhythm(text: &str) -> Option<Option<String>> {
    let Some((base, step)) = text.split_once('/') else {
        return Some(None);
    };
    let Ok(step_length) = step.parse::<i64>() else {
        return Some(None);
    };
    let days = if base.contains(',') {
        WEEKDAYS.describe(base)?
    } else if base.contains('-') {
        let (first, last) = ends(base)?;
        let (from, to): (i64, i64) = (first.parse().ok()?, last.parse().ok()?);
        let length = if to == 0 { 7 } else { to } - from + 1;
        if step_length < length {
            return Some(None);
        }
        // A single day with a step was brought to a range up to Saturday.
        if to == 6 { fill(&only_on(base), &[&day_name(first)?]) } else { WEEKDAYS.range(base, WEEKDAYS.between)? }
    } else {
        return Some(None);
    };
    Some(Some(format!(", every {step} weeks{days}")))
}

/// How one column is told. `{}` marks where values go.
struct Segment<'a> {
    /// For `*`.
    all: &'a str,
    /// One value in words. `None` when it is not a value.
    item: &'a dyn Fn(&str) -> Option<String>,
    /// For `/n`, given `n`.
    interval: &'a dyn Fn(&str) -> &'a str,
    /// For a range on its own.
    between: &'a str,
    /// For a value or a list, given the whole column.
    one: &'a dyn Fn(&str) -> String,
}

impl Segment<'_> {
    fn describe(&self, text: &str) -> Option<String> {
        if text == "*" {
            return Some(self.all.to_owned());
        }
        if text.contains(',') {
            return Some(fill(&(self.one)(text), &[&self.list(text)?]));
        }
        if let Some((base, step)) = text.split_once('/') {
            return self.stepped(base, step);
        }
        if text.contains('-') {
            return self.range(text, self.between);
        }
        Some(fill(&(self.one)(text), &[&(self.item)(text)?]))
    }

    fn list(&self, text: &str) -> Option<String> {
        let entries: Vec<&str> = text.split(',').collect();
        let mut out = String::new();
        for (index, entry) in entries.iter().enumerate() {
            let is_last = index + 1 == entries.len();
            if index > 0 && entries.len() > 2 {
                out.push_str(if is_last { "," } else { ", " });
            }
            if index > 0 && is_last {
                out.push_str(" and ");
            }
            out.push_str(&self.entry(entry)?);
        }
        Some(out)
    }

    fn entry(&self, entry: &str) -> Option<String> {
        let short_range = |range| Some(self.range(range, ", {} through {}")?.replace(", ", ""));
        let Some((base, step)) = entry.split_once('/') else {
            return if entry.contains('-') { short_range(entry) } else { (self.item)(entry) };
        };
        let interval = fill((self.interval)(step), &[step]);
        let interval = interval.strip_prefix(", ").unwrap_or(&interval);
        Some(match base {
            "*" => interval.to_owned(),
            _ if base.contains('-') => format!("{interval}, {}", short_range(base)?),
            // The package has no English text for where such a step starts.
            _ => (self.item)(base).map(|_| format!("{interval}, "))?,
        })
    }

    fn stepped(&self, base: &str, step: &str) -> Option<String> {
        let interval = fill((self.interval)(step), &[step]);
        if base.contains('-') {
            let between = self.range(base, self.between)?;
            let separator = if between.starts_with(", ") { "" } else { ", " };
            return Some(format!("{interval}{separator}{between}"));
        }
        if base.contains('*') {
            return Some(interval);
        }
        let start = fill(&(self.one)(base), &[&(self.item)(base)?]).replace(", ", "");
        Some(format!("{interval}, starting {start}"))
    }

    fn range(&self, text: &str, format: &str) -> Option<String> {
        let (first, last) = ends(text)?;
        let last = (self.item)(last)?.replace(":00", ":59");
        Some(fill(format, &[&(self.item)(first)?, &last]))
    }
}

/// Puts values in the place of `{}`, one after the other.
fn fill(format: &str, values: &[&str]) -> String {
    values.iter().fold(format.to_owned(), |text, value| text.replacen("{}", value, 1))
}

/// The first two parts of a range.
fn ends(range: &str) -> Option<(&str, &str)> {
    let mut parts = range.split('-');
    parts.next().zip(parts.next())
}

fn clock(hour: &str, minute: &str) -> Option<String> {
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    Some(format!("{hour:02}:{minute:02}"))
}

fn listed_hours(hours: &str, minute: &str) -> Option<String> {
    let times: Vec<String> = hours.split(',').map(|hour| clock(hour, minute)).collect::<Option<_>>()?;
    let (last, others) = times.split_last()?;
    Some(format!("At {} and {last}", others.join(", ")))
}

fn day_name(text: &str) -> Option<String> {
    let day = text.split_once('#').map_or(text, |(day, _)| day).replace('L', "");
    DAYS.get(day.parse::<usize>().ok()?).map(ToString::to_string)
}

fn start_as_star(text: &str, start: &str) -> String {
    if text.starts_with(start) { text.replace(start, "*/") } else { text.to_owned() }
}

fn every_one_as_star(text: String) -> String {
    if text == "*/1" { "*".to_owned() } else { text }
}

/// `3/2` as `3-12/2`.
fn start_as_range(text: String, last: &str) -> String {
    match text.split_once('/') {
        Some((start, step)) if !text.contains(['*', '-', ',']) => format!("{start}-{last}/{step}"),
        _ => text,
    }
}

fn names_as_numbers(text: String, names: &[&str], first: usize) -> String {
    let text = text.to_uppercase();
    names
        .iter()
        .enumerate()
        .fold(text, |text, (index, name)| text.replace(&name[..3].to_uppercase(), &(index + first).to_string()))
}

/// Sunday written 7 becomes 0, but not as a step (`/7`) or an occurrence (`#7`).
fn sunday_as_zero(text: &str) -> String {
    let mut previous = ',';
    let digit = |letter: char| {
        let day = letter == '7' && !matches!(previous, '#' | '/' | '0'..='9');
        previous = letter;
        if day { '0' } else { letter }
    };
    text.chars().map(digit).collect()
}
