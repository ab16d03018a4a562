//! The parameters of a request, read with pydantic's rules and complaints.

use crate::error::{ApiError, ApiResult, Problem};
use crate::state::App;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde_json::json;
use std::convert::Infallible;

/// The query string of a request.
///
/// Readers return a default when a value is wrong and note the problem; [`Params::check`] then refuses the request
/// with everything that is wrong, as FastAPI does.
#[derive(Debug, Default)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    problems: Vec<Problem>,
    refusal: Option<ApiError>,
}

impl FromRequestParts<App> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self::from_query(parts.uri.query().unwrap_or_default()))
    }
}

impl Params {
    /// Reads an undecoded query string.
    pub(crate) fn from_query(query: &str) -> Self {
        Self { pairs: form_urlencoded::parse(query.as_bytes()).into_owned().collect(), ..Self::default() }
    }

    /// Every name and value, decoded, in the order given.
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The last value of that name, as FastAPI picks it.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    /// All values of that name.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// A truth value.
    pub(crate) fn bool(&mut self, name: &str) -> Option<bool> {
        let text = self.text(name)?;
        let value = parse_bool(&text);
        if value.is_none() {
            self.problem("bool_parsing", name, "Input should be a valid boolean, unable to interpret input", &text);
        }
        value
    }

    /// A whole number.
    pub(crate) fn int(&mut self, name: &str) -> Option<i64> {
        let text = self.text(name)?;
        self.parse_int(name, &text)
    }

    /// A whole number as the database keeps most of them; one that it cannot keep finds nothing.
    pub(crate) fn int32(&mut self, name: &str) -> Option<i32> {
        self.int(name).map(|value| i32::try_from(value).unwrap_or(i32::MAX))
    }

    /// A whole number not below `least`.
    pub(crate) fn int_from(&mut self, name: &str, least: i64) -> Option<i64> {
        let value = self.int(name)?;
        if value < least {
            let text = self.text(name).unwrap_or_default();
            let message = format!("Input should be greater than or equal to {least}");
            self.problems.push(
                Problem::new("greater_than_equal", &["query", name], message, text).context(json!({"ge": least})),
            );
            return None;
        }
        Some(value)
    }

    /// All values of that name as whole numbers.
    pub(crate) fn ints(&mut self, name: &str) -> Vec<i64> {
        let mut values = Vec::new();
        for (index, text) in self.texts(name).iter().enumerate() {
            match text.trim().parse() {
                Ok(value) => values.push(value),
                Err(_) => self.problems.push(no_int(&["query", name], text).of_item(index)),
            }
        }
        values
    }

    /// A number.
    pub(crate) fn float(&mut self, name: &str) -> Option<f64> {
        let text = self.text(name)?;
        let value = text.trim().parse().ok();
        if value.is_none() {
            let message = "Input should be a valid number, unable to parse string as a number";
            self.problem("float_parsing", name, message, &text);
        }
        value
    }

    /// A number greater than 0.
    pub(crate) fn positive_float(&mut self, name: &str) -> Option<f64> {
        let value = self.float(name)?;
        if value.is_nan() || value <= 0.0 {
            let text = self.text(name).unwrap_or_default();
            let problem = Problem::new("greater_than", &["query", name], "Input should be greater than 0", text);
            self.problems.push(problem.context(json!({"gt": 0.0})));
            return None;
        }
        Some(value)
    }

    /// A point in time; without an offset it is UTC.
    pub(crate) fn time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let text = self.text(name)?;
        let value = parse_time(&text).map(|(time, _)| time);
        if value.is_none() {
            self.problems.push(unreadable_time(&["query", name], &text));
        }
        value
    }

    /// A point in time as the older parameters read it; what is none refuses the request in words of their own.
    pub(crate) fn lenient_time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let text = self.text(name)?;
        let value = parse_time(&text).map(|(time, _)| time);
        if value.is_none() {
            let detail = format!("Invalid datetime: '{text}'. Please check the date parameter have this value.");
            self.refuse(ApiError::bad_request(detail));
        }
        value
    }

    /// A day, also as the time at its beginning.
    pub(crate) fn date(&mut self, name: &str) -> Option<NaiveDate> {
        let text = self.text(name)?;
        let place = ["query", name];
        let problem = match parse_local_time(&text).map(|(time, _)| time.naive_local()) {
            Some(time) if time.time() == NaiveTime::MIN => return Some(time.date()),
            Some(_) => {
                let message = "Datetimes provided to dates should have zero time - e.g. be exact dates";
                Problem::new("date_from_datetime_inexact", &place, message, text)
            }
            None => {
                let reason = unreadable_reason(&text);
                let message = format!("Input should be a valid date or datetime, {reason}");
                let problem = Problem::new("date_from_datetime_parsing", &place, message, text);
                problem.context(json!({"error": reason}))
            }
        };
        self.problems.push(problem);
        None
    }

    /// One of a fixed list of words.
    pub(crate) fn word(&mut self, name: &str, words: &[&str]) -> Option<String> {
        self.one_of("enum", name, words)
    }

    /// The same of a parameter that Airflow declares as a list of literals, not as an enumeration.
    pub(crate) fn literal(&mut self, name: &str, words: &[&str]) -> Option<String> {
        self.one_of("literal_error", name, words)
    }

    fn one_of(&mut self, kind: &str, name: &str, words: &[&str]) -> Option<String> {
        let text = self.text(name)?;
        if words.contains(&text.as_str()) {
            return Some(text);
        }
        let expected = expected_words(words);
        self.problems.push(
            Problem::new(kind, &["query", name], format!("Input should be {expected}"), text)
                .context(json!({"expected": expected})),
        );
        None
    }

    /// Values that must be words of a fixed list, or `none` words for NULL; an unknown one refuses the request.
    pub(crate) fn states(&mut self, name: &str, what: &str, words: &[&str], none: &[&str]) -> Vec<Option<String>> {
        let texts = self.texts(name);
        let unknown = |text: &String| !words.contains(&text.as_str()) && !none.contains(&text.as_str());
        if texts.iter().any(unknown) {
            let detail = format!("Invalid value for {what}. Valid values are {}", words.join(", "));
            self.refuse(ApiError::unprocessable(detail));
            return Vec::new();
        }
        texts.into_iter().map(|text| (!none.contains(&text.as_str())).then_some(text)).collect()
    }

    /// `limit` and `offset`, capped by `[api] maximum_page_limit`.
    pub(crate) fn page(&mut self, app: &App) -> Page {
        let limit = self.int_from("limit", 0).unwrap_or(app.options.fallback_page_limit);
        let offset = self.int_from("offset", 0).unwrap_or(0);
        Page { limit: limit.min(app.options.maximum_page_limit), offset }
    }

    /// Notes a missing required parameter.
    pub(crate) fn missing(&mut self, name: &str) {
        self.problems.push(Problem::new("missing", &["query", name], "Field required", serde_json::Value::Null));
    }

    /// Refuses the request with an error that goes before all validation problems.
    pub(crate) fn refuse(&mut self, error: ApiError) {
        self.refusal.get_or_insert(error);
    }

    /// Whether everything read so far was right.
    pub(crate) fn check(&mut self) -> ApiResult<()> {
        if let Some(refusal) = self.refusal.take() {
            return Err(refusal);
        }
        self.check_values()
    }

    /// As [`Params::check`], but leaves a refusal for later.
    pub(crate) fn check_values(&mut self) -> ApiResult<()> {
        if self.problems.is_empty() { Ok(()) } else { Err(ApiError::validation(std::mem::take(&mut self.problems))) }
    }

    fn parse_int(&mut self, name: &str, text: &str) -> Option<i64> {
        let value = text.trim().parse().ok();
        if value.is_none() {
            self.problems.push(no_int(&["query", name], text));
        }
        value
    }

    fn problem(&mut self, kind: &str, name: &str, message: &str, input: &str) {
        self.problems.push(Problem::new(kind, &["query", name], message, input));
    }
}

/// The part of a list that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// At most so many rows.
    pub limit: i64,
    /// After so many rows.
    pub offset: i64,
}

impl Page {
    /// The page of a list that is already in memory.
    pub(crate) fn of<T>(self, items: Vec<T>) -> Vec<T> {
        let count = |number| usize::try_from(number).unwrap_or(0);
        items.into_iter().skip(count(self.offset)).take(count(self.limit)).collect()
    }
}

/// A whole number in the path, with pydantic's complaint when it is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathInt;

impl PathInt {
    /// Parses the path parameter `name`.
    pub(crate) fn parse(name: &str, text: &str) -> ApiResult<i32> {
        text.parse().map_err(|_| ApiError::validation(vec![no_int(&["path", name], text)]))
    }

    /// The same of one that is not below zero.
    pub(crate) fn parse_count(name: &str, text: &str) -> ApiResult<i32> {
        let number = Self::parse(name, text)?;
        if number >= 0 {
            return Ok(number);
        }
        let message = "Input should be greater than or equal to 0";
        let problem = Problem::new("greater_than_equal", &["path", name], message, text);
        Err(ApiError::validation(vec![problem.context(json!({"ge": 0}))]))
    }
}

/// What pydantic says of a text that is no whole number.
fn no_int(place: &[&str], text: &str) -> Problem {
    let message = "Input should be a valid integer, unable to parse string as an integer";
    Problem::new("int_parsing", place, message, text)
}

/// pydantic's words for truth, in any case.
fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Some(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

/// Why a text is no date, in pydantic's words.
fn unreadable_reason(text: &str) -> &'static str {
    /// The shortest text that can be a date, `2026-01-01`.
    const SHORTEST: usize = 10;
    if text.len() < SHORTEST { "input is too short" } else { "invalid character in year" }
}

/// What pydantic says of a text that is no time.
pub(crate) fn unreadable_time(place: &[&str], text: &str) -> Problem {
    let reason = unreadable_reason(text);
    let message = format!("Input should be a valid datetime or date, {reason}");
    Problem::new("datetime_from_date_parsing", place, message, text).context(json!({"error": reason}))
}

/// A time, date or number of seconds (milliseconds when large) as pydantic accepts it, and whether it names its offset.
pub(crate) fn parse_time(text: &str) -> Option<(DateTime<Utc>, bool)> {
    parse_local_time(text).map(|(time, names_offset)| (time.to_utc(), names_offset))
}

/// The same at the offset that it names.
fn parse_local_time(text: &str) -> Option<(DateTime<FixedOffset>, bool)> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        let seconds = if number.abs() > 2e10 { number / 1e3 } else { number };
        return DateTime::from_timestamp_micros((seconds * 1e6) as i64).map(|time| (time.fixed_offset(), true));
    }
    // A plus sign that was not encoded arrives as a blank.
    let text = text.replacen('t', "T", 1);
    for candidate in [text.clone(), text.replacen(' ', "T", 1), text.replace(' ', "+")] {
        if let Ok(time) = DateTime::parse_from_rfc3339(&candidate) {
            return Some((time, true));
        }
        if let Ok(time) = DateTime::parse_from_str(&candidate, "%Y-%m-%dT%H:%M:%S%.f%z") {
            return Some((time, true));
        }
        for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
            if let Ok(time) = NaiveDateTime::parse_from_str(&candidate, format) {
                return Some((time.and_utc().fixed_offset(), false));
            }
        }
    }
    let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?;
    Some((date.and_time(NaiveTime::MIN).and_utc().fixed_offset(), false))
}

/// `'a', 'b' or 'c'`.
pub(crate) fn expected_words(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_date_or_the_time_it_begins_at() {
        let day = |text: &str| {
            let mut params = Params::from_query(&format!("day={}", text.replace('+', "%2B")));
            params.date("day").map(|day| day.to_string())
        };
        for text in ["2026-12-01", "2026-12-01T00:00:00Z", "2026-12-01T00:00:00+02:00", "2026-12-01 00:00"] {
            assert_eq!(day(text).as_deref(), Some("2026-12-01"), "{text}");
        }
        assert_eq!(day("0").as_deref(), Some("1970-01-01"));
        for text in ["2026-12-01T01:00:00Z", "2026-12-01T00:00:00.5", "1700000000", "x"] {
            assert_eq!(day(text), None, "{text}");
        }
    }

    #[test]
    fn complains_as_pydantic_does() {
        let mut params = Params::from_query("limit=abc&offset=-1&paused=foo");
        params.int("limit");
        params.int_from("offset", 0);
        params.bool("paused");
        let error = params.check().expect_err("three problems");
        let kinds: Vec<_> = error.detail().as_array().expect("a list").iter().map(|p| p["type"].clone()).collect();
        assert_eq!(kinds, ["int_parsing", "greater_than_equal", "bool_parsing"]);
    }

    #[test]
    fn reads_times_in_all_forms() {
        let expected = "2026-11-01T00:00:00Z".parse::<DateTime<Utc>>().expect("a time");
        for text in ["2026-11-01", "2026-11-01T00:00", "2026-11-01 00:00:00", "2026-11-01T02:00:00 02:00", "1793491200"]
        {
            assert_eq!(parse_time(text).map(|(time, _)| time), Some(expected), "{text}");
        }
        assert_eq!(parse_time("yesterday"), None);
    }
}
