//! Lines of logs as events of CloudWatch, and events as requests.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Map, Value};
use tradewind_airflow::log_format::Level;
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_aws::logs::{EVENT_OVERHEAD, LogEvent, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BATCH_SPAN};

/// The longest message: a request has to take it.
const MAX_MESSAGE_BYTES: usize = MAX_BATCH_BYTES - EVENT_OVERHEAD;

/// What a shortened line may have beyond the text that is kept of it.
const SHORTENED_BYTES: usize = MAX_MESSAGE_BYTES / 4;

/// Events that are older, or newer, are not taken by CloudWatch; less than its 14 days and 2 hours.
const OLDEST: i64 = 13 * 24 * 3_600 * 1_000;
const NEWEST: i64 = 3_600 * 1_000;

/// What lines of a file are.
#[derive(Debug, Clone)]
pub(crate) enum Lines {
    /// Each may say when it happened, and how important it is: what is less important than this is left out.
    Events(Level),
    /// Text, whatever it looks like, of which nothing but blank lines is left out, and secrets are hidden. It happened when it was
    /// read.
    Text(SecretsMasker),
}

impl Lines {
    /// The event of a line, if it is to be sent.
    pub(crate) fn event(&self, line: &str, now: i64) -> Option<LogEvent> {
        match self {
            Self::Events(level) => event(line, *level, now),
            Self::Text(_) if line.trim().is_empty() => None,
            Self::Text(masker) => Some(LogEvent { timestamp: now, message: fitting(&masker.redact_text(line)) }),
        }
    }
}

/// What has to be known of a line.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    level: Option<Cow<'a, str>>,
}

/// The present time in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The event of a line; none for one that is blank or less important than `level`. It happened when the line says, or else
/// `now`; a line that says no level is important.
fn event(line: &str, level: Level, now: i64) -> Option<LogEvent> {
    if line.trim().is_empty() {
        return None;
    }
    let head: Option<Head<'_>> = serde_json::from_str(line).ok();
    let timestamp = head.as_ref().and_then(|head| head.timestamp.as_deref());
    let line_level = head.as_ref().and_then(|head| head.level.as_deref()).and_then(Level::named);
    if line_level.is_some_and(|line_level| line_level < level) {
        return None;
    }
    let timestamp = timestamp.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let timestamp = timestamp.map_or(now, |time| time.timestamp_millis());
    let timestamp = if (now - OLDEST..=now + NEWEST).contains(&timestamp) { timestamp } else { now };
    Some(LogEvent { timestamp, message: fitting(line) })
}

/// The line, or what of it CloudWatch takes.
fn fitting(line: &str) -> String {
    if line.len() <= MAX_MESSAGE_BYTES {
        return line.to_owned();
    }
    let cut = |text: &str, bytes: usize| {
        let kept = &text[..text.floor_char_boundary(bytes)];
        format!("{kept} [{} bytes are left out here; CloudWatch takes no more]", text.len() - kept.len())
    };
    let Ok(fields) = serde_json::from_str::<Map<String, Value>>(line) else {
        return cut(line, MAX_MESSAGE_BYTES - SHORTENED_BYTES);
    };
    let shortened: Map<String, Value> = fields
        .into_iter()
        .filter_map(|(name, value)| match value {
            Value::String(text) => {
                Some((name, Value::String(if text.len() > 1_024 { cut(&text, SHORTENED_BYTES / 4) } else { text })))
            }
            Value::Number(_) | Value::Bool(_) | Value::Null => Some((name, value)),
            Value::Array(_) | Value::Object(_) => None,
        })
        .collect();
    let shortened = Value::Object(shortened).to_string();
    if shortened.len() <= MAX_MESSAGE_BYTES { shortened } else { cut(line, MAX_MESSAGE_BYTES - SHORTENED_BYTES) }
}

/// Packs events into requests: each in the order of times and within the limits of its size, number and span.
pub(crate) fn requests(mut events: Vec<LogEvent>) -> Vec<Vec<LogEvent>> {
    events.sort_by_key(|event| event.timestamp);
    let span = i64::try_from(MAX_BATCH_SPAN.as_millis()).unwrap_or(i64::MAX);
    let (mut requests, mut request, mut bytes): (Vec<Vec<LogEvent>>, Vec<LogEvent>, usize) =
        (Vec::new(), Vec::new(), 0);
    for event in events {
        let size = event.message.len() + EVENT_OVERHEAD;
        let is_full = request.len() == MAX_BATCH_EVENTS
            || bytes + size > MAX_BATCH_BYTES
            || request.first().is_some_and(|first| event.timestamp - first.timestamp >= span);
        if is_full {
            requests.push(std::mem::take(&mut request));
            bytes = 0;
        }
        bytes += size;
        request.push(event);
    }
    if !request.is_empty() {
        requests.push(request);
    }
    requests
}

#[cfg(test)]
mod tests {
    use tradewind_airflow::config::{Config, Environment};

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn at(timestamp: i64, bytes: usize) -> LogEvent {
        LogEvent { timestamp, message: "x".repeat(bytes) }
    }

    #[test]
    fn a_line_happened_when_it_says() {
        let line = r#"{"timestamp":"2027-01-15T08:00:00.5Z","level":"info","event":"e"}"#;
        let told = event(line, Level::Info, NOW).expect("an event");
        assert_eq!((told.timestamp, told.message.as_str()), (NOW + 500, line));
        // Of another century, and no time at all.
        for line in [r#"{"timestamp":"1927-01-15T08:00:00Z","event":"e"}"#, "plain", r#"{"timestamp":7}"#] {
            assert_eq!(event(line, Level::Info, NOW).map(|event| event.timestamp), Some(NOW), "{line}");
        }
        assert_eq!(event("  ", Level::Notset, NOW), None);
    }

    #[test]
    fn what_is_less_important_is_left_out() {
        let line = |level: &str| format!(r#"{{"event":"e","level":"{level}"}}"#);
        let sent = |level: &str| event(&line(level), Level::Warning, NOW).is_some();
        assert_eq!(
            [sent("debug"), sent("info"), sent("warning"), sent("critical"), sent("odd")],
            [false, false, true, true, true]
        );
    }

    #[test]
    fn text_keeps_its_order_whatever_it_looks_like() {
        let line = r#"{"timestamp":"2027-01-15T08:00:00Z","level":"debug"}"#;
        let config = Config::from_environment(&Environment::default()).expect("a configuration");
        let masker = SecretsMasker::from_config(&config).expect("a masker");
        let text = Lines::Text(masker.clone());
        let told = text.event(line, NOW + 7).expect("an event");
        assert_eq!((told.timestamp, told.message.as_str()), (NOW + 7, line));
        assert_eq!(text.event(" \t", NOW), None);
        masker.add(&Value::String("learnt later".to_owned()), None);
        let told = text.event("what was learnt later", NOW).expect("an event");
        assert_eq!(told.message, "what was ***");
        assert_eq!(Lines::Events(Level::Info).event(line, NOW), None);
    }

    #[test]
    fn a_line_that_is_too_long_is_shortened_and_stays_json() {
        let text = "ü".repeat(MAX_BATCH_BYTES);
        let line = serde_json::json!({"event": text, "lineno": 7, "error_detail": [text]}).to_string();
        let message = event(&line, Level::Info, NOW).expect("an event").message;
        assert!(message.len() <= MAX_MESSAGE_BYTES);
        let fields: Value = serde_json::from_str(&message).expect("JSON");
        assert_eq!(fields["lineno"], 7);
        assert!(fields["event"].as_str().is_some_and(|event| event.contains("bytes are left out here")), "{fields}");
        assert!(event(&text, Level::Info, NOW).expect("an event").message.len() <= MAX_MESSAGE_BYTES);
    }

    #[test]
    fn requests_keep_the_limits_and_the_order_of_times() {
        let day = 24 * 3_600 * 1_000;
        let packed = requests(vec![at(NOW + day, 1), at(NOW + 1, 1), at(NOW, 1)]);
        let times: Vec<Vec<i64>> =
            packed.iter().map(|request| request.iter().map(|event| event.timestamp - NOW).collect()).collect();
        assert_eq!(times, [vec![0, 1], vec![day]]);

        let many = requests((0..=MAX_BATCH_EVENTS).map(|_| at(NOW, 1)).collect());
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_BATCH_EVENTS, 1]);

        let half = MAX_BATCH_BYTES / 2 - EVENT_OVERHEAD;
        assert_eq!(requests(vec![at(NOW, half), at(NOW, half)]).len(), 1);
        assert_eq!(requests(vec![at(NOW, half), at(NOW, half + 1)]).len(), 2);
        assert!(requests(Vec::new()).is_empty());
    }
}
