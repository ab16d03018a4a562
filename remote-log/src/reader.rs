//! Logs of attempts, read back from where they were sent.

use std::path::Path;

use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_aws::logs::{LogEvent, LogGroup};
use tradewind_aws::s3::Bucket;
use tradewind_aws::{Account, AwsError};

use crate::options::{Folder, Group, Place, TaskLogs};
use crate::shipping::stream_name;

/// No more than so much of a log is read back.
const READ_BYTES: usize = 64 * 1024 * 1024;

/// Parts of a stream without an event that may follow one another: CloudWatch looks for events as long as it is asked
/// (`airflow/providers/amazon/aws/hooks/logs.py`).
const EMPTY_PAGES: usize = 10;

/// Reads logs back.
#[derive(Debug)]
pub struct Reader {
    place: Place,
    client: OnceCell<Client>,
}

#[derive(Debug)]
enum Client {
    CloudWatch(LogGroup),
    S3(Bucket),
}

/// What was found of a log.
#[derive(Debug, Default)]
pub struct RemoteLog {
    /// Where it was looked, and what went wrong.
    pub sources: Vec<String>,
    /// Its parts.
    pub parts: Vec<RemotePart>,
}

/// A part of a log: lines, most of them JSON objects.
#[derive(Debug)]
pub struct RemotePart {
    /// Its lines.
    pub text: String,
}

impl Reader {
    /// From where the logs of attempts go; `None` where they stay in files.
    ///
    /// # Errors
    /// An option has a value that cannot be used.
    pub fn from_config(config: &Config) -> Result<Option<Self>, ConfigError> {
        Ok(TaskLogs::from_config(config)?.map(|logs| Self { place: logs.place, client: OnceCell::new() }))
    }

    /// Whether lines are there a moment after they were written, so that the log of a running attempt is found.
    pub fn is_live(&self) -> bool {
        matches!(self.place, Place::CloudWatch(_))
    }

    /// Reads a log by its path below the log folder. What goes wrong is among the sources, in words.
    pub async fn read(&self, relative: &Path) -> RemoteLog {
        match (self.client().await, &self.place) {
            (Client::CloudWatch(group), _) => of_group(group, relative).await,
            (Client::S3(bucket), Place::S3(folder)) => of_bucket(bucket, folder, relative).await,
            // Clients are made of places.
            (Client::S3(_), Place::CloudWatch(_)) => RemoteLog::default(),
        }
    }

    async fn client(&self) -> &Client {
        let client = async {
            let account = Account::from_environment().await;
            match &self.place {
                Place::CloudWatch(Group { settings, .. }) => {
                    Client::CloudWatch(LogGroup::new(&account, settings.clone()))
                }
                Place::S3(folder) => Client::S3(Bucket::new(&account, &folder.bucket)),
            }
        };
        self.client.get_or_init(|| client).await
    }
}

async fn of_group(group: &LogGroup, relative: &Path) -> RemoteLog {
    let mut log = RemoteLog::default();
    let (name, path) = (group.name(), relative.display());
    log.sources.push(format!("Reading remote log from Cloudwatch log_group: {name} log_stream: {path}"));
    match stream(group, &stream_name(relative)).await {
        Ok(Some(text)) => log.parts.push(RemotePart { text }),
        Ok(None) => log.sources.push(format!(
            "There is no such log stream in {name}: nothing of this attempt has been sent, or it is older than the group's \
             retention."
        )),
        Err(error) => log.sources.push(format!("Failed to read remote log from Cloudwatch. {error}")),
    }
    log
}

async fn stream(group: &LogGroup, stream: &str) -> Result<Option<String>, AwsError> {
    let mut text = String::new();
    let mut from = None;
    let mut empty = 0;
    loop {
        let Some(page) = group.read(stream, from.as_deref()).await? else { return Ok(None) };
        empty = if page.events.is_empty() { empty + 1 } else { 0 };
        for event in page.events {
            text.push_str(&line(event));
            text.push('\n');
        }
        if page.next.is_none() || page.next == from || empty == EMPTY_PAGES {
            return Ok(Some(text));
        }
        if text.len() > READ_BYTES {
            text.push_str("The log is longer; its rest is in CloudWatch alone.\n");
            return Ok(Some(text));
        }
        from = page.next;
    }
}

/// The line that an event was made of. Official Airflow leaves the time out of the message.
fn line(event: LogEvent) -> String {
    let time = || {
        let time = chrono::DateTime::from_timestamp_millis(event.timestamp).unwrap_or_default();
        Value::String(time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
    };
    match serde_json::from_str::<Map<String, Value>>(&event.message) {
        Ok(fields) if fields.get("timestamp").is_some_and(Value::is_string) => event.message,
        Ok(mut fields) if fields.get("event").is_some_and(Value::is_string) => {
            fields.shift_insert(0, "timestamp".to_owned(), time());
            Value::Object(fields).to_string()
        }
        _ => serde_json::json!({"timestamp": time(), "event": event.message}).to_string(),
    }
}

async fn of_bucket(bucket: &Bucket, folder: &Folder, relative: &Path) -> RemoteLog {
    let mut log = RemoteLog::default();
    // The logs of triggers lie beside it.
    let prefix = format!("{}{}", folder.prefix, relative.to_string_lossy());
    let objects = match bucket.list(&prefix).await {
        Ok(objects) => objects,
        Err(error) => {
            log.sources.push(format!("Failed to read remote log from S3. {error}"));
            return log;
        }
    };
    let mut left = READ_BYTES;
    for object in objects {
        let address = format!("s3://{}/{}", bucket.name(), object.key);
        match bucket.read(&object.key, left).await {
            Ok(Some(content)) => {
                left -= content.len();
                let is_cut = (content.len() as u64) < object.size;
                let mut text = String::from_utf8_lossy(&content).into_owned();
                if is_cut {
                    text.push_str("\nThe log is longer; its rest is in S3 alone.\n");
                }
                log.sources.push(address);
                log.parts.push(RemotePart { text });
            }
            Ok(None) => {}
            Err(error) => log.sources.push(format!("Could not read logs from {address} with error: {error}")),
        }
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(message: &str) -> String {
        line(LogEvent { timestamp: 1_800_000_000_250, message: message.to_owned() })
    }

    #[test]
    fn events_become_the_lines_they_were() {
        let own = r#"{"timestamp":"2027-01-15T08:00:00.250123Z","level":"info","event":"e"}"#;
        assert_eq!(line_of(own), own);
        let official = r#"{"level":"info","event":"e"}"#;
        assert_eq!(line_of(official), r#"{"timestamp":"2027-01-15T08:00:00.250000Z","level":"info","event":"e"}"#);
        for text in ["plain", "[1]", r#"{"a":1}"#] {
            let expected = serde_json::json!({"timestamp": "2027-01-15T08:00:00.250000Z", "event": text}).to_string();
            assert_eq!(line_of(text), expected);
        }
    }
}
