//! The messages in logs of attempts (`airflow/utils/log/file_task_handler.py`).

use crate::log_parts::Parts;
use crate::query::parse_time;
use crate::timestamp::Timestamp;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// One line: when, what, and what else the logger noted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    timestamp: Option<Timestamp>,
    /// Whether the line had a field for the time, be it null.
    is_timed: bool,
    event: String,
    rest: Map<String, Value>,
}

impl Message {
    /// A message of the server's own.
    pub(crate) fn plain(event: impl Into<String>) -> Self {
        Self { timestamp: None, is_timed: false, event: event.into(), rest: Map::new() }
    }

    /// A message of the server's own that says that it has no time.
    pub(crate) fn timeless(event: impl Into<String>) -> Self {
        Self { is_timed: true, ..Self::plain(event) }
    }

    /// A message of the server's own at a time.
    pub(crate) fn at(timestamp: Timestamp, event: impl Into<String>) -> Self {
        Self { timestamp: Some(timestamp), is_timed: true, ..Self::plain(event) }
    }

    /// A line of a log file: a JSON object with an event, or any text.
    fn parse(line: &str) -> Self {
        let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(line) else { return Self::from_text(line) };
        let Some(Value::String(event)) = fields.shift_remove("event") else { return Self::from_text(line) };
        let timestamp = match fields.shift_remove("timestamp") {
            None => return Self { timestamp: None, is_timed: false, event, rest: fields },
            Some(Value::Null) => None,
            Some(Value::String(text)) => match parse_time(&text) {
                Some((time, _)) => Some(Timestamp(time)),
                None => return Self::from_text(line),
            },
            Some(_) => return Self::from_text(line),
        };
        Self { timestamp, is_timed: true, event, rest: fields }
    }

    /// A line as old releases and foreign programs write them: `[2026-11-01T00:00:00.000+0000] {file} text`.
    fn from_text(line: &str) -> Self {
        let bracketed = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let timestamp = bracketed.and_then(|(time, _)| parse_time(time)).map(|(time, _)| Timestamp(time));
        Self { timestamp, is_timed: true, event: line.to_owned(), rest: Map::new() }
    }

    /// The message as JSON; `complete`: with a null time when there is none.
    pub(crate) fn as_json(&self, complete: bool) -> MessageJson<'_> {
        MessageJson { message: self, complete }
    }
}

/// A message on its way into an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageJson<'a> {
    message: &'a Message,
    complete: bool,
}

impl Serialize for MessageJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Message { timestamp, is_timed, event, rest } = self.message;
        let mut fields = serializer.serialize_map(None)?;
        if self.complete || *is_timed {
            fields.serialize_entry("timestamp", timestamp)?;
        }
        fields.serialize_entry("event", event)?;
        for (name, value) in rest {
            fields.serialize_entry(name, value)?;
        }
        fields.end()
    }
}

/// Messages of all parts of an attempt's log, in order of time, and where they came from.
#[derive(Debug, Default)]
pub(crate) struct TaskLog {
    /// Where they came from.
    pub sources: Vec<String>,
    /// The lines.
    pub messages: Vec<Message>,
}

impl TaskLog {
    /// Merges what files of this machine have with what was sent elsewhere, which as a rule is the same.
    pub(crate) fn merged(remote: Parts, local: Parts) -> Self {
        let mut timed: Vec<(i64, usize, Message)> = Vec::new();
        let mut take = |text: &str, known: &HashSet<&str>| {
            let mut latest = i64::MIN;
            for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
                let message = Message::parse(line);
                if let Some(timestamp) = message.timestamp {
                    latest = timestamp.0.timestamp_millis();
                }
                if !known.contains(line) {
                    timed.push((latest, number, message));
                }
            }
        };
        remote.texts.iter().for_each(|text| take(text, &HashSet::new()));
        let sent: HashSet<&str> = remote.texts.iter().flat_map(|text| text.lines()).collect();
        local.texts.iter().for_each(|text| take(text, &sent));
        timed.sort_by_key(|(time, number, _)| (*time, *number));
        let mut log = Self { sources: remote.sources, messages: Vec::with_capacity(timed.len()) };
        log.sources.extend(local.sources);
        for (time, _, message) in timed {
            if time == i64::MIN || log.messages.last() != Some(&message) {
                log.messages.push(message);
            }
        }
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn json_of(message: &Message) -> Value {
        serde_json::to_value(message.as_json(false)).expect("JSON")
    }

    #[test]
    fn reads_structured_and_plain_lines() {
        let message =
            Message::parse(r#"{"timestamp":"2026-11-01T00:00:00.5Z","level":"info","event":"hello","logger":"task"}"#);
        let expected =
            json!({"timestamp": "2026-11-01T00:00:00.500000Z", "event": "hello", "level": "info", "logger": "task"});
        assert_eq!(json_of(&message), expected);
        let plain = Message::parse("[2026-11-01T00:00:00.000+0000] {x.py:1} INFO - hello");
        assert_eq!(json_of(&plain)["timestamp"], "2026-11-01T00:00:00Z");
        assert_eq!(json_of(&Message::plain("x")), json!({"event": "x"}));
    }

    #[test]
    fn merges_parts_by_time() {
        let line = |second: u32| format!("{{\"timestamp\":\"2026-11-01T00:00:0{second}Z\",\"event\":\"{second}\"}}\n");
        let local = || Parts {
            sources: vec!["attempt=1.log".to_owned(), "attempt=1.log.trigger.7.log".to_owned()],
            texts: vec![line(1) + &line(3) + &line(3), line(2)],
        };
        let events = |log: &TaskLog| log.messages.iter().map(|message| message.event.clone()).collect::<Vec<_>>();
        let log = TaskLog::merged(Parts::default(), local());
        assert_eq!(events(&log), ["1", "2", "3"]);
        assert_eq!(log.sources.len(), 2);

        let sent = Parts { sources: vec!["remote".to_owned()], texts: vec![line(3) + &line(4)] };
        let log = TaskLog::merged(sent, local());
        assert_eq!(events(&log), ["1", "2", "3", "4"]);
        assert_eq!((log.sources.len(), log.sources[0].as_str()), (3, "remote"));
    }
}
