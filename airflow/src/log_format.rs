//! The lines of a task's log file: one JSON object per line, `timestamp`, `level` and `event` first.
//!
//! Source: `process_log_messages_from_subprocess` and `forward_to_log` in `airflow/sdk/execution_time/supervisor.py`,
//! the processors in `airflow/sdk/_shared/logging/structlog.py` and `airflow/sdk/log.py`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use crate::secrets_masker::SecretsMasker;

/// The logger of lines that name none.
const DEFAULT_LOGGER: &str = "task";

/// Importance of a line, with the names of structlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Passes every filter.
    Notset,
    /// For developers.
    Debug,
    /// What happens.
    Info,
    /// What may need attention.
    Warning,
    /// What failed.
    Error,
    /// What ended the process.
    Critical,
}

impl Level {
    /// The name in a log line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notset => "notset",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// The level of a name or of one of its synonyms.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "notset" => Self::Notset,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warning" | "warn" => Self::Warning,
            "error" | "exception" => Self::Error,
            "critical" | "fatal" => Self::Critical,
            _ => return None,
        })
    }
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    timestamp: String,
    level: Level,
    event: Value,
    fields: Map<String, Value>,
}

/// Why a line from the log socket of a child is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogLineError {
    /// It is no JSON object.
    #[error("a log line of the child is no JSON object: {0}")]
    NoObject(String),
    /// Its level is not known.
    #[error("a log line of the child has the unknown level {0}")]
    UnknownLevel(String),
}

impl LogLine {
    /// A line by the supervisor itself, or what a child wrote to `logger` being `task.stdout` or `task.stderr`.
    pub fn new(now: DateTime<Utc>, level: Level, event: impl Into<String>, logger: &str) -> Self {
        let mut line =
            Self { timestamp: timestamp(now), level, event: Value::String(event.into()), fields: Map::new() };
        line.fields.insert("logger".to_owned(), Value::from(logger));
        line
    }

    /// The same line with a field, which is written before the fields that are there.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.shift_insert(0, field.to_owned(), value.into());
        self
    }

    /// What a child wrote to its standard output or error; white space at the end is cut off.
    pub fn from_stream(now: DateTime<Utc>, level: Level, bytes: &[u8], logger: &str) -> Self {
        Self::new(now, level, String::from_utf8_lossy(bytes.trim_ascii_end()), logger)
    }

    /// Reads a line from the log socket of a child.
    ///
    /// # Errors
    /// It is no JSON object or has no known level.
    pub fn from_child(now: DateTime<Utc>, bytes: &[u8]) -> Result<Self, LogLineError> {
        let mut fields: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| LogLineError::NoObject(error.to_string()))?;
        let written = match fields.shift_remove("timestamp") {
            Some(Value::String(written)) if !written.is_empty() => written,
            _ => timestamp(now),
        };
        let level = fields.shift_remove("level").unwrap_or(Value::Null);
        let level =
            level.as_str().and_then(Level::named).ok_or_else(|| LogLineError::UnknownLevel(level.to_string()))?;
        let event = fields.shift_remove("event").filter(|event| !event.is_null());
        if let Some(exception) = fields.shift_remove("exception").filter(|exception| !is_empty(exception)) {
            fields.insert("error_detail".to_owned(), exception);
        }
        fields.entry("logger").or_insert_with(|| Value::from(DEFAULT_LOGGER));
        Ok(Self { timestamp: written, level, event: event.unwrap_or_else(|| Value::from("")), fields })
    }

    /// Writes the line with its line feed, secrets and JSON web tokens hidden.
    pub fn write(self, masker: &SecretsMasker, out: &mut Vec<u8>) {
        let mut entries = Map::with_capacity(self.fields.len() + 3);
        entries.insert("timestamp".to_owned(), Value::String(self.timestamp));
        entries.insert("level".to_owned(), Value::from(self.level.as_str()));
        entries.insert("event".to_owned(), self.event);
        entries.extend(self.fields);
        for value in entries.values_mut() {
            if let Value::String(text) = value {
                hide_tokens(text);
            }
        }
        let entries = masker.redact_object(entries);
        // A map of texts always serialises, into memory.
        out.extend_from_slice(Value::Object(entries).to_string().as_bytes());
        out.push(b'\n');
    }
}

/// Whether Python would call the value false.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
    }
}

/// The form of structlog's `iso` stamps: microseconds, unless they are zero, and `Z`.
fn timestamp(now: DateTime<Utc>) -> String {
    let precision = if now.timestamp_subsec_micros() == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    now.to_rfc3339_opts(precision, true)
}

/// Replaces what looks like a JSON web token: `eyJ` and the characters of base64 and dots after it.
fn hide_tokens(text: &mut String) {
    const START: &str = "eyJ";
    if !text.contains(START) {
        return;
    }
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(START) {
        hidden.push_str(before);
        hidden.push_str("eyJ***");
        rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    }
    hidden.push_str(rest);
    *text = hidden;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Config, Environment};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 886_560_000).expect("in range")
    }

    fn written(line: LogLine) -> String {
        let config = Config::from_environment(&Environment::default()).expect("defaults");
        let masker = SecretsMasker::from_config(&config).expect("defaults");
        masker.add(&json!("hunter22"), None);
        let mut out = Vec::new();
        line.write(&masker, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn child(line: &str) -> String {
        written(LogLine::from_child(now(), line.as_bytes()).expect("a sound line"))
    }

    #[test]
    fn lines_of_the_log_socket_keep_their_order() {
        // As official Airflow 3.3.2 wrote the line that its task process sent so.
        assert_eq!(
            child(
                r#"{"timestamp":"2026-11-20T20:43:24.886560Z","level":"info","event":"::group::Pre Execute","logger":"task","filename":"task_runner.py","lineno":2412}"#
            ),
            "{\"timestamp\":\"2026-11-20T20:43:24.886560Z\",\"level\":\"info\",\"event\":\"::group::Pre Execute\",\"logger\":\"task\",\"filename\":\"task_runner.py\",\"lineno\":2412}\n"
        );
        assert_eq!(
            child(
                r#"{"dag_id":"é","event":null,"exception":[{"exc_type":"E"}],"level":"warn","timestamp":"2026-01-01T00:00:00Z","lineno":1}"#
            ),
            "{\"timestamp\":\"2026-01-01T00:00:00Z\",\"level\":\"warning\",\"event\":\"\",\"dag_id\":\"é\",\"lineno\":1,\"error_detail\":[{\"exc_type\":\"E\"}],\"logger\":\"task\"}\n"
        );
    }

    #[test]
    fn streams_become_lines() {
        let line = LogLine::from_stream(now(), Level::Error, b"  caf\xc3\xa9 \xff \r\n", "task.stderr");
        assert_eq!(
            written(line),
            "{\"timestamp\":\"2023-11-14T22:13:20.886560Z\",\"level\":\"error\",\"event\":\"  café \u{fffd}\",\"logger\":\"task.stderr\"}\n"
        );
        let line = LogLine::new(now(), Level::Critical, "Process terminated by signal.", "task")
            .with("signal_name", "SIGKILL")
            .with("signal", -9);
        assert!(written(line).contains(r#""signal":-9,"signal_name":"SIGKILL","logger":"task""#));
    }

    #[test]
    fn secrets_are_hidden() {
        let line = child(
            r#"{"level":"info","event":"pw hunter22, jwt eyJhbGciOi.eyJzdWIi-_x!","token":"abc","n":{"password":"x"}}"#,
        );
        assert!(line.contains(r#""event":"pw ***, jwt eyJ***!","token":"***","n":{"password":"***"}"#), "{line}");
    }

    #[test]
    fn lines_without_meaning_are_refused() {
        assert!(matches!(LogLine::from_child(now(), b"nonsense"), Err(LogLineError::NoObject(_))));
        assert!(matches!(LogLine::from_child(now(), b"[1]"), Err(LogLineError::NoObject(_))));
        assert!(matches!(LogLine::from_child(now(), br#"{"level":"loud"}"#), Err(LogLineError::UnknownLevel(_))));
        assert!(matches!(LogLine::from_child(now(), b"{}"), Err(LogLineError::UnknownLevel(_))));
    }
}
