use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::SerializedDagError;

/// A value of the document that knows where it is.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    value: &'a Value,
    parent: Option<&'a Reader<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl fmt::Display for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => f.write_str("$"),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { value, parent: None, step: Step::Root }
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    /// A field that is there and not null.
    pub(super) fn get(&'a self, name: &'a str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(self.field(name, value))
    }

    /// A field that is kept elsewhere.
    pub(super) fn field(&'a self, name: &'a str, value: &'a Value) -> Self {
        Self { value, parent: Some(self), step: Step::Field(name) }
    }

    /// An item of a list that is kept elsewhere.
    pub(super) fn item(&'a self, index: usize, value: &'a Value) -> Self {
        Self { value, parent: Some(self), step: Step::Index(index) }
    }

    pub(super) fn require(&'a self, name: &'a str) -> Result<Self, SerializedDagError> {
        self.get(name).ok_or_else(|| self.expected(format!("a field {name:?}")))
    }

    pub(super) fn items(&'a self) -> Result<impl Iterator<Item = Self>, SerializedDagError> {
        let items = self.value.as_array().ok_or_else(|| self.expected("a list"))?;
        Ok(items.iter().enumerate().map(|(index, value)| self.item(index, value)))
    }

    pub(super) fn fields(&'a self) -> Result<impl Iterator<Item = (&'a str, Self)>, SerializedDagError> {
        let fields = self.value.as_object().ok_or_else(|| self.expected("an object"))?;
        Ok(fields.iter().map(|(name, value)| (name.as_str(), self.field(name, value))))
    }

    pub(super) fn text(&self) -> Result<&'a str, SerializedDagError> {
        self.value.as_str().ok_or_else(|| self.expected("text"))
    }

    pub(super) fn texts(&'a self) -> Result<Vec<String>, SerializedDagError> {
        self.items()?.map(|item| item.text().map(str::to_owned)).collect()
    }

    pub(super) fn truth(&self) -> Result<bool, SerializedDagError> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    pub(super) fn number(&self) -> Result<f64, SerializedDagError> {
        self.value.as_f64().ok_or_else(|| self.expected("a number"))
    }

    /// The schema allows fractions where only whole numbers make sense; Airflow's columns cut them off.
    pub(super) fn integer(&self) -> Result<i32, SerializedDagError> {
        let whole = self.value.as_i64().or_else(|| self.value.as_f64().map(|number| number as i64));
        whole.and_then(|whole| i32::try_from(whole).ok()).ok_or_else(|| self.expected("a 32-bit integer"))
    }

    /// A length of time in seconds, bare or as `{"__type": "timedelta", "__var": seconds}`.
    pub(super) fn seconds(&'a self) -> Result<TimeDelta, SerializedDagError> {
        let seconds = self.decoded("timedelta").number()?;
        let microseconds = (seconds * 1e6).round();
        if microseconds.abs() > i64::MAX as f64 {
            return Err(self.expected("a length of time in seconds"));
        }
        Ok(TimeDelta::microseconds(microseconds as i64))
    }

    /// A moment in seconds since 1970, bare or as `{"__type": "datetime", "__var": seconds}`.
    pub(super) fn date(&'a self) -> Result<DateTime<Utc>, SerializedDagError> {
        let inner = self.decoded("datetime");
        if let Some(text) = inner.value.as_str() {
            return DateTime::parse_from_rfc3339(text)
                .map(|date| date.to_utc())
                .map_err(|_| inner.expected("a moment in seconds since 1970"));
        }
        let microseconds = (inner.number()? * 1e6).round();
        DateTime::from_timestamp_micros(microseconds as i64)
            .ok_or_else(|| inner.expected("a moment in seconds since 1970"))
    }

    /// What is inside `{"__type": kind, "__var": …}`, or the value itself if it is not of that kind.
    pub(super) fn decoded(&'a self, kind: &str) -> Self {
        if self.value.get("__type").and_then(Value::as_str) != Some(kind) {
            return *self;
        }
        self.get("__var").unwrap_or(*self)
    }

    pub(super) fn expected(&self, expected: impl Into<String>) -> SerializedDagError {
        const LONGEST: usize = 80;
        let mut found: String = self.value.to_string();
        if found.chars().count() > LONGEST {
            found = found.chars().take(LONGEST).chain("…".chars()).collect();
        }
        SerializedDagError::Malformed { path: self.to_string(), expected: expected.into(), found }
    }
}
