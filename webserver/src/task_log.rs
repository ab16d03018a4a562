//! Logs of attempts, read from the files that workers write and from where these are sent
//! (`airflow/utils/log/file_task_handler.py`).

use crate::query::parse_time;
use crate::timestamp::Timestamp;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};
use tradewind_remote_log::RemoteLog;

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

/// What is there of a log in one place: texts of lines, and where they came from.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    sources: Vec<String>,
    texts: Vec<String>,
}

impl Parts {
    /// Reads every file whose name starts with the given one, since triggers write files of their own beside it.
    pub(crate) async fn of_files(base: &Path, relative: &Path) -> io::Result<Self> {
        let (base, relative) = (base.to_owned(), relative.to_owned());
        // In one go: each step is short.
        tokio::task::spawn_blocking(move || Self::read(&base, &relative)).await?
    }

    fn read(base: &Path, relative: &Path) -> io::Result<Self> {
        let mut parts = Self::default();
        let base = match fs::canonicalize(base) {
            Ok(base) => base,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(parts),
            Err(error) => return Err(error),
        };
        for path in files(&base.join(relative))? {
            // A link that leads out of the log folder is not followed.
            let Ok(resolved) = fs::canonicalize(&path) else { continue };
            if !resolved.starts_with(&base) {
                continue;
            }
            let Ok(bytes) = fs::read(&resolved) else { continue };
            parts.texts.push(String::from_utf8_lossy(&bytes).into_owned());
            parts.sources.push(path.display().to_string());
        }
        Ok(parts)
    }

    /// Whether nothing was found, not even an empty file.
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

impl From<RemoteLog> for Parts {
    fn from(log: RemoteLog) -> Self {
        Self { sources: log.sources, texts: log.parts.into_iter().map(|part| part.text).collect() }
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

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|found| found.starts_with(name)) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
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

    #[tokio::test]
    async fn merges_files_by_time_and_stays_in_the_folder() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let outside = tempfile::NamedTempFile::new().expect("temporary file");
        let line = |second: u32| format!("{{\"timestamp\":\"2026-11-01T00:00:0{second}Z\",\"event\":\"{second}\"}}\n");
        fs::write(folder.path().join("attempt=1.log"), line(1) + &line(3) + &line(3)).expect("writes");
        fs::write(folder.path().join("attempt=1.log.trigger.7.log"), line(2)).expect("writes");
        std::os::unix::fs::symlink(outside.path(), folder.path().join("attempt=1.log.evil")).expect("links");
        let read = async || Parts::of_files(folder.path(), Path::new("attempt=1.log")).await.expect("readable");
        let events = |log: &TaskLog| log.messages.iter().map(|message| message.event.clone()).collect::<Vec<_>>();
        let log = TaskLog::merged(Parts::default(), read().await);
        assert_eq!(events(&log), ["1", "2", "3"]);
        assert_eq!(log.sources.len(), 2);

        let sent = Parts { sources: vec!["remote".to_owned()], texts: vec![line(3) + &line(4)] };
        let log = TaskLog::merged(sent, read().await);
        assert_eq!(events(&log), ["1", "2", "3", "4"]);
        assert_eq!((log.sources.len(), log.sources[0].as_str()), (3, "remote"));
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_has_no_files() {
        let parts = Parts::of_files(Path::new("/nowhere/at/all"), Path::new("attempt=1.log")).await.expect("no files");
        assert!(parts.is_empty() && parts.sources.is_empty());
    }
}
