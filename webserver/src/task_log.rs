//! Logs of attempts, read from the files that workers write (`airflow/utils/log/file_task_handler.py`).

use crate::query::parse_time;
use crate::timestamp::Timestamp;
use serde_json::{Map, Value};
use std::io;
use std::path::{Path, PathBuf};
use tokio::fs;

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
    pub(crate) fn to_json(&self, complete: bool) -> Value {
        let mut fields = Map::new();
        if complete || self.is_timed {
            let time = self.timestamp.map_or(Value::Null, |timestamp| timestamp.to_string().into());
            fields.insert("timestamp".to_owned(), time);
        }
        fields.insert("event".to_owned(), self.event.clone().into());
        fields.extend(self.rest.clone());
        Value::Object(fields)
    }
}

/// Messages of all files of an attempt, in order of time, and the files they came from.
#[derive(Debug, Default)]
pub(crate) struct TaskLog {
    /// The files.
    pub sources: Vec<PathBuf>,
    /// The lines.
    pub messages: Vec<Message>,
}

impl TaskLog {
    /// Reads every file whose name starts with the given one, since triggers write files of their own beside it.
    pub(crate) async fn read(base: &Path, relative: &Path) -> io::Result<Self> {
        let mut log = Self::default();
        let mut timed: Vec<(i64, usize, Message)> = Vec::new();
        let base = fs::canonicalize(base).await?;
        for path in files(&base.join(relative)).await? {
            // A link that leads out of the log folder is not followed.
            let Ok(resolved) = fs::canonicalize(&path).await else { continue };
            if !resolved.starts_with(&base) {
                continue;
            }
            let Ok(bytes) = fs::read(&resolved).await else { continue };
            let mut latest = i64::MIN;
            for (number, line) in
                String::from_utf8_lossy(&bytes).lines().enumerate().filter(|(_, line)| !line.is_empty())
            {
                let message = Message::parse(line);
                if let Some(timestamp) = message.timestamp {
                    latest = timestamp.0.timestamp_millis();
                }
                timed.push((latest, number, message));
            }
            log.sources.push(path);
        }
        timed.sort_by_key(|(time, number, _)| (*time, *number));
        for (time, _, message) in timed {
            if time == i64::MIN || log.messages.last() != Some(&message) {
                log.messages.push(message);
            }
        }
        Ok(log)
    }
}

async fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let mut entries = match fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
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

    #[test]
    fn reads_structured_and_plain_lines() {
        let message =
            Message::parse(r#"{"timestamp":"2026-11-01T00:00:00.5Z","level":"info","event":"hello","logger":"task"}"#);
        let expected =
            json!({"timestamp": "2026-11-01T00:00:00.500000Z", "event": "hello", "level": "info", "logger": "task"});
        assert_eq!(message.to_json(false), expected);
        let plain = Message::parse("[2026-11-01T00:00:00.000+0000] {x.py:1} INFO - hello");
        assert_eq!(plain.to_json(false)["timestamp"], "2026-11-01T00:00:00Z");
        assert_eq!(Message::plain("x").to_json(false), json!({"event": "x"}));
    }

    #[tokio::test]
    async fn merges_files_by_time_and_stays_in_the_folder() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let outside = tempfile::NamedTempFile::new().expect("temporary file");
        let line = |second: u32| format!("{{\"timestamp\":\"2026-11-01T00:00:0{second}Z\",\"event\":\"{second}\"}}\n");
        std::fs::write(folder.path().join("attempt=1.log"), line(1) + &line(3) + &line(3)).expect("writes");
        std::fs::write(folder.path().join("attempt=1.log.trigger.7.log"), line(2)).expect("writes");
        std::os::unix::fs::symlink(outside.path(), folder.path().join("attempt=1.log.evil")).expect("links");
        let log = TaskLog::read(folder.path(), Path::new("attempt=1.log")).await.expect("readable");
        let events: Vec<_> = log.messages.iter().map(|message| message.event.as_str()).collect();
        assert_eq!(events, ["1", "2", "3"]);
        assert_eq!(log.sources.len(), 2);
    }
}
