//! JSON bodies, read field by field with pydantic's rules and complaints.

use crate::error::{ApiError, ApiResult, Problem};
use crate::query::parse_time;
use crate::request_body::RequestBody;
use chrono::{DateTime, FixedOffset, Utc};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// A JSON object being read. Every reader notes what is wrong; [`Body::finish`] refuses the request with all of it,
/// unknown fields included.
#[derive(Debug)]
pub(crate) struct Body {
    fields: Map<String, Value>,
    known: HashSet<String>,
    problems: Vec<Problem>,
    place: Vec<Value>,
    /// Why the body as a whole is refused, once everything else about the request was looked at.
    refusal: Option<ApiError>,
}

impl Body {
    /// Parses the body of a request. What is no JSON is refused at once; what is no object has no fields, and is refused by
    /// [`Body::finish`]: as in Airflow the request is in the audit log by then.
    pub(crate) fn from_bytes(bytes: &RequestBody) -> ApiResult<Self> {
        let parsed = if bytes.is_empty() {
            Err(missing_body())
        } else if bytes.is_json() {
            Self::from_value(parse(bytes)?, vec!["body".into()])
        } else {
            Self::from_value(String::from_utf8_lossy(bytes).into(), vec!["body".into()])
        };
        Ok(parsed.unwrap_or_else(|refusal| Self { refusal: Some(refusal), ..Self::from_fields(Map::new()) }))
    }

    /// Parses a JSON object, whatever it was said to be.
    pub(crate) fn from_json(bytes: &[u8]) -> ApiResult<Self> {
        if bytes.is_empty() {
            return Err(missing_body());
        }
        Self::from_value(parse(bytes)?, vec!["body".into()])
    }

    /// An object at a place in the request: names of fields and indexes of lists.
    pub(crate) fn from_value(value: Value, place: Vec<Value>) -> ApiResult<Self> {
        match value {
            Value::Object(fields) => Ok(Self { place, ..Self::from_fields(fields) }),
            other => {
                let message = "Input should be a valid dictionary or object to extract fields from";
                Err(ApiError::validation(vec![Problem::at("model_attributes_type", place, message, other)]))
            }
        }
    }

    /// Fields that came in another form than JSON.
    pub(crate) fn from_fields(fields: Map<String, Value>) -> Self {
        Self { fields, known: HashSet::new(), problems: Vec::new(), place: vec!["body".into()], refusal: None }
    }

    /// The fields as given.
    pub(crate) fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// Whether the field was given, be it null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Notes a field that may be missing but not null; `kind` and `message` are what pydantic says of its type.
    pub(crate) fn refuse_null(&mut self, name: &str, kind: &str, message: &str) {
        if self.fields.get(name).is_some_and(Value::is_null) {
            self.problems.push(Problem::at(kind, self.path(name), message, Value::Null));
        }
    }

    /// A required text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.require(name);
        self.refuse_null(name, "string_type", "Input should be a valid string");
        self.optional_text(name)
    }

    /// A text that may be missing or null.
    pub(crate) fn optional_text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => self.complain("string_type", name, "Input should be a valid string", other),
        }
    }

    /// Notes a text longer than `limit` characters.
    pub(crate) fn limit_length(&mut self, name: &str, limit: usize) {
        let Some(Value::String(text)) = self.fields.get(name).cloned() else { return };
        if text.chars().count() > limit {
            let message = format!("String should have at most {limit} characters");
            let problem = Problem::at("string_too_long", self.path(name), message, text);
            self.problems.push(problem.context(json!({"max_length": limit})));
        }
    }

    /// A required truth value.
    pub(crate) fn bool(&mut self, name: &str) -> Option<bool> {
        self.require(name);
        self.refuse_null(name, "bool_type", "Input should be a valid boolean");
        self.optional_bool(name)
    }

    /// A truth value that may be missing, but not null.
    pub(crate) fn bool_or(&mut self, name: &str, default: bool) -> bool {
        self.refuse_null(name, "bool_type", "Input should be a valid boolean");
        self.optional_bool(name).unwrap_or(default)
    }

    /// A truth value that may be missing or null.
    pub(crate) fn optional_bool(&mut self, name: &str) -> Option<bool> {
        let unable = "Input should be a valid boolean, unable to interpret input";
        match self.take(name)? {
            Value::Bool(value) => Some(value),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "1" | "true" | "t" | "yes" | "y" | "on" => Some(true),
                "0" | "false" | "f" | "no" | "n" | "off" => Some(false),
                _ => self.complain("bool_parsing", name, unable, Value::String(text)),
            },
            Value::Number(number) if number.as_f64() == Some(0.0) => Some(false),
            Value::Number(number) if number.as_f64() == Some(1.0) => Some(true),
            Value::Number(number) if !number.is_f64() => self.complain("bool_parsing", name, unable, number.into()),
            other => self.complain("bool_type", name, "Input should be a valid boolean", other),
        }
    }

    /// A whole number that may be missing or null.
    pub(crate) fn optional_int(&mut self, name: &str) -> Option<i64> {
        let value = self.take(name)?;
        let unable = "Input should be a valid integer, unable to parse string as an integer";
        let fraction = "Input should be a valid integer, got a number with a fractional part";
        match &value {
            Value::Number(number) => match number.as_i64().or_else(|| whole(number.as_f64()?)) {
                Some(number) => Some(number),
                None => self.complain("int_from_float", name, fraction, value),
            },
            Value::String(text) => match text.trim().parse() {
                Ok(number) => Some(number),
                Err(_) => self.complain("int_parsing", name, unable, value),
            },
            // As for Python, to which it is a whole number.
            Value::Bool(flag) => Some(i64::from(*flag)),
            _ => self.complain("int_type", name, "Input should be a valid integer", value),
        }
    }

    /// As [`Body::optional_int`], not below `least`.
    pub(crate) fn optional_int_from(&mut self, name: &str, least: i64) -> Option<i64> {
        let number = self.optional_int(name)?;
        if number >= least {
            return Some(number);
        }
        let message = format!("Input should be greater than or equal to {least}");
        let input = self.fields.get(name).cloned().unwrap_or_default();
        let problem = Problem::at("greater_than_equal", self.path(name), message, input);
        self.problems.push(problem.context(json!({"ge": least})));
        None
    }

    /// A whole number that may be missing, but not null.
    pub(crate) fn int_or(&mut self, name: &str, default: i64) -> i64 {
        self.refuse_null(name, "int_type", "Input should be a valid integer");
        self.optional_int(name).unwrap_or(default)
    }

    /// As [`Body::int_or`], not below zero.
    pub(crate) fn count_or(&mut self, name: &str, default: i64) -> i64 {
        self.refuse_null(name, "int_type", "Input should be a valid integer");
        self.optional_int_from(name, 0).unwrap_or(default)
    }

    /// A number that may be missing or null.
    pub(crate) fn optional_float(&mut self, name: &str) -> Option<f64> {
        let value = self.take(name)?;
        let unable = "Input should be a valid number, unable to parse string as a number";
        match value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()) {
            Some(number) => Some(number),
            None if value.is_string() => self.complain("float_parsing", name, unable, value),
            None => self.complain("float_type", name, "Input should be a valid number", value),
        }
    }

    /// An object that may be missing or null.
    pub(crate) fn optional_object(&mut self, name: &str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(object) => Some(object),
            other => self.complain("dict_type", name, "Input should be a valid dictionary", other),
        }
    }

    /// A list that may be missing or null.
    pub(crate) fn optional_list(&mut self, name: &str) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::Array(list) => Some(list),
            other => self.complain("list_type", name, "Input should be a valid list", other),
        }
    }

    /// A list of texts that may be missing or null.
    pub(crate) fn optional_texts(&mut self, name: &str) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        for (index, value) in self.optional_list(name)?.into_iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text),
                other => {
                    let problem = Problem::at("string_type", self.path(name), "Input should be a valid string", other);
                    self.problems.push(problem.of_item(index));
                }
            }
        }
        Some(texts)
    }

    /// A point in time with an offset, that may be missing or null.
    pub(crate) fn optional_aware_time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let (time, value) = self.parse_time(name)?;
        match time {
            (time, true) => Some(time),
            (_, false) => self.complain("timezone_aware", name, "Input should have timezone info", value),
        }
    }

    /// A point in time that may be missing or null; without an offset it is UTC.
    pub(crate) fn optional_time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        self.parse_time(name).map(|((time, _), _)| time)
    }

    /// The same with the offset that it was given with.
    pub(crate) fn optional_local_time(&mut self, name: &str) -> Option<DateTime<FixedOffset>> {
        let ((time, _), given) = self.parse_time(name)?;
        let with_offset = given.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        Some(with_offset.unwrap_or_else(|| time.fixed_offset()))
    }

    /// One of a fixed list of words, that may be missing or null.
    pub(crate) fn optional_word(&mut self, name: &str, words: &[&str]) -> Option<String> {
        let value = self.take(name)?;
        if let Some(text) = value.as_str().filter(|text| words.contains(text)) {
            return Some(text.to_owned());
        }
        self.problems.push(no_word(self.path(name), words, value));
        None
    }

    /// One of a fixed list of words, that may be missing, but not null.
    pub(crate) fn word_or<'a>(&mut self, name: &str, words: &[&'a str], default: &'a str) -> String {
        if self.fields.get(name).is_some_and(Value::is_null) {
            self.problems.push(no_word(self.path(name), words, Value::Null));
        }
        self.optional_word(name, words).unwrap_or_else(|| default.to_owned())
    }

    /// A list of such words and of nulls, that may be missing or null.
    pub(crate) fn optional_words(&mut self, name: &str, words: &[&str]) -> Option<Vec<Option<String>>> {
        let mut found = Vec::new();
        for (index, value) in self.optional_list(name)?.into_iter().enumerate() {
            match value {
                Value::Null => found.push(None),
                Value::String(word) if words.contains(&word.as_str()) => found.push(Some(word)),
                other => self.problems.push(no_word(self.path(name), words, other).of_item(index)),
            }
        }
        Some(found)
    }

    /// A list of ids of tasks, each alone or with the index of one that is mapped, that may be missing or null.
    pub(crate) fn optional_task_markers(&mut self, name: &str) -> Option<Vec<(String, Option<i64>)>> {
        let mut found = Vec::new();
        for (index, value) in self.optional_list(name)?.into_iter().enumerate() {
            if let Value::String(task_id) = value {
                found.push((task_id, None));
                continue;
            }
            let text = "Input should be a valid string";
            let mut place = self.path(name);
            place.extend([index.into(), "str".into()]);
            let no_text = Problem::at("string_type", place.clone(), text, value.clone());
            place.pop();
            place.push("tuple[str, int]".into());
            match task_and_index(&value, place) {
                Ok((task_id, map_index)) => found.push((task_id, Some(map_index))),
                Err(problem) => self.problems.extend([no_text, problem]),
            }
        }
        Some(found)
    }

    /// Any JSON value, required.
    pub(crate) fn value(&mut self, name: &str) -> Option<Value> {
        self.require(name);
        self.fields.get(name).cloned()
    }

    /// Notes that a required field is missing.
    pub(crate) fn require(&mut self, name: &str) {
        self.known.insert(name.to_owned());
        if !self.has(name) {
            let input = Value::Object(self.fields.clone());
            self.problems.push(Problem::at("missing", self.path(name), "Field required", input));
        }
    }

    /// Notes a rule of this field that the value breaks.
    pub(crate) fn break_rule(&mut self, name: &str, rule: &str) {
        let input = self.fields.get(name).cloned().unwrap_or_default();
        let problem = Problem::at("value_error", self.path(name), format!("Value error, {rule}"), input);
        self.problems.push(problem.context(json!({"error": {}})));
    }

    /// Notes a text that does not match a pattern.
    pub(crate) fn break_pattern(&mut self, name: &str, pattern: &str) {
        let input = self.fields.get(name).cloned().unwrap_or_default();
        let message = format!("String should match pattern '{pattern}'");
        let problem = Problem::at("string_pattern_mismatch", self.path(name), message, input);
        self.problems.push(problem.context(json!({"pattern": pattern})));
    }

    /// Refuses the request when fields are wrong or unknown.
    pub(crate) fn finish(&mut self) -> ApiResult<()> {
        for (name, value) in self.fields.iter().filter(|(name, _)| !self.known.contains(name.as_str())) {
            let message = "Extra inputs are not permitted";
            let problem = Problem::at("extra_forbidden", self.path(name), message, value.clone());
            self.problems.push(problem);
        }
        self.finish_known()
    }

    /// As [`Body::finish`] for bodies whose unknown fields Airflow ignores.
    pub(crate) fn finish_known(&mut self) -> ApiResult<()> {
        if let Some(refusal) = self.refusal.take() {
            return Err(refusal);
        }
        let problems = std::mem::take(&mut self.problems);
        if problems.is_empty() { Ok(()) } else { Err(ApiError::validation(problems)) }
    }

    /// As [`Body::finish`], then refuses the request when a rule over several fields is broken.
    pub(crate) fn finish_with(&mut self, broken_rule: Option<&str>) -> ApiResult<()> {
        self.finish()?;
        let Some(rule) = broken_rule else { return Ok(()) };
        let input = Value::Object(self.fields.clone());
        let problem = Problem::at("value_error", self.place.clone(), format!("Value error, {rule}"), input);
        Err(ApiError::validation(vec![problem.context(json!({"error": {}}))]))
    }

    fn parse_time(&mut self, name: &str) -> Option<((DateTime<Utc>, bool), Value)> {
        let value = self.take(name)?;
        let parsed = match &value {
            Value::String(text) => parse_time(text),
            Value::Number(number) => parse_time(&number.to_string()),
            _ => return self.complain("datetime_type", name, "Input should be a valid datetime", value),
        };
        match parsed {
            Some(time) => Some((time, value)),
            None => {
                let reason = "input is too short";
                let message = format!("Input should be a valid datetime or date, {reason}");
                let problem = Problem::at("datetime_from_date_parsing", self.path(name), message, value);
                self.problems.push(problem.context(json!({"error": reason})));
                None
            }
        }
    }

    /// The value of a field unless missing or null.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.known.insert(name.to_owned());
        self.fields.get(name).filter(|value| !value.is_null()).cloned()
    }

    fn complain<T>(&mut self, kind: &str, name: &str, message: &str, input: Value) -> Option<T> {
        self.problems.push(Problem::at(kind, self.path(name), message, input));
        None
    }

    fn path(&self, name: &str) -> Vec<Value> {
        self.place.iter().cloned().chain([name.into()]).collect()
    }
}

/// What pydantic says of a value that is no pair of a text and a whole number.
fn task_and_index(value: &Value, mut place: Vec<Value>) -> Result<(String, i64), Problem> {
    let Value::Array(items) = value else {
        return Err(Problem::at("tuple_type", place, "Input should be a valid tuple", value.clone()));
    };
    let missing = |mut place: Vec<Value>, index: usize| {
        place.push(index.into());
        Err(Problem::at("missing", place, "Field required", value.clone()))
    };
    match items.as_slice() {
        [] => missing(place, 0),
        [_] => missing(place, 1),
        [Value::String(task_id), index] => {
            if let Some(number) = index.as_i64().or_else(|| index.as_str()?.trim().parse().ok()) {
                return Ok((task_id.clone(), number));
            }
            place.push(1.into());
            let unable = "Input should be a valid integer, unable to parse string as an integer";
            Err(match index {
                Value::String(_) => Problem::at("int_parsing", place, unable, index.clone()),
                _ => Problem::at("int_type", place, "Input should be a valid integer", index.clone()),
            })
        }
        [first, _] => {
            place.push(0.into());
            Err(Problem::at("string_type", place, "Input should be a valid string", first.clone()))
        }
        longer => {
            let message = format!("Tuple should have at most 2 items after validation, not {}", longer.len());
            let context = json!({"field_type": "Tuple", "max_length": 2, "actual_length": longer.len()});
            Err(Problem::at("too_long", place, message, value.clone()).context(context))
        }
    }
}

fn missing_body() -> ApiError {
    ApiError::validation(vec![Problem::new("missing", &["body"], "Field required", Value::Null)])
}

fn parse(bytes: &[u8]) -> ApiResult<Value> {
    let text = str::from_utf8(bytes).map_err(|_| ApiError::bad_request("There was an error parsing the body"))?;
    serde_json::from_str(text).map_err(|error| {
        let problem = Problem::new("json_invalid", &["body"], "JSON decode error", json!({}));
        ApiError::validation(vec![problem.context(json!({"error": error.to_string()}))])
    })
}

/// What pydantic says of a value that is none of the words.
fn no_word(place: Vec<Value>, words: &[&str], input: Value) -> Problem {
    let expected = crate::query::expected_words(words);
    let problem = Problem::at("enum", place, format!("Input should be {expected}"), input);
    problem.context(json!({"expected": expected}))
}

/// A float without a fraction as a whole number.
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_everything_that_is_wrong() {
        let mut body = Body::from_json(br#"{"slots": "x", "z": 1}"#).expect("an object");
        assert_eq!(body.text("name"), None);
        assert_eq!(body.optional_int("slots"), None);
        let error = body.finish().expect_err("three problems");
        let kinds: Vec<_> = error.detail().as_array().expect("a list").iter().map(|p| p["type"].clone()).collect();
        assert_eq!(kinds, ["missing", "int_parsing", "extra_forbidden"]);
    }
}
