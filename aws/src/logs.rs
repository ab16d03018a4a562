//! Groups of CloudWatch Logs.

use std::time::Duration;

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::timeout::TimeoutConfig;
use aws_sdk_cloudwatchlogs::config::{Builder, Region};
use aws_sdk_cloudwatchlogs::error::ProvideErrorMetadata;
use aws_sdk_cloudwatchlogs::types::{InputLogEvent, RejectedLogEventsInfo};

use crate::Account;
use crate::error::{Asked, AwsError, Kind};

/// Bytes of a request: those of its messages, and [`EVENT_OVERHEAD`] for each.
pub const MAX_BATCH_BYTES: usize = 1_048_576;

/// Events of a request.
pub const MAX_BATCH_EVENTS: usize = 10_000;

/// What an event counts beyond the bytes of its message.
pub const EVENT_OVERHEAD: usize = 26;

/// The time between the first and the last event of a request.
pub const MAX_BATCH_SPAN: Duration = Duration::from_secs(24 * 3_600);

/// How long a request may take with its retries.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// For how many days CloudWatch may keep events, unless it is for ever (`PutRetentionPolicy`).
pub const RETENTION_DAYS: [i32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1_096, 1_827, 2_192, 2_557, 2_922, 3_288, 3_653];

const ALREADY_THERE: &str = "ResourceAlreadyExistsException";

/// A group in an account. Clones share connections.
#[derive(Debug, Clone)]
pub struct LogGroup {
    client: Client,
    settings: Settings,
}

/// Which group, and how it is made where it is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// The region it is in, where that is not the one of this process.
    pub region: Option<String>,
    /// For how many days events are kept; `None`: for ever.
    pub retention_days: Option<i32>,
    /// The ARN of the KMS key that it is encrypted with; `None`: a key of the service.
    pub kms_key: Option<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// When, in milliseconds since 1970.
    pub timestamp: i64,
    /// What; never empty.
    pub message: String,
}

/// A part of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Its events, in the order of their times.
    pub events: Vec<LogEvent>,
    /// Where the next part begins; the same again at the end of the stream.
    pub next: Option<String>,
}

impl LogGroup {
    /// The group of these settings; nothing is asked of it yet.
    #[must_use]
    pub fn new(account: &Account, settings: Settings) -> Self {
        let timeouts =
            TimeoutConfig::builder().operation_timeout(TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let mut config = Builder::from(account.config()).timeout_config(timeouts);
        if let Some(region) = &settings.region {
            config = config.region(Region::new(region.clone()));
        }
        Self { client: Client::from_conf(config.build()), settings }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Puts events into a stream, and returns how many CloudWatch has left out because they are too old or too new. The
    /// events are in the order of their times, and keep the limits of a request.
    ///
    /// # Errors
    /// [`Kind::Missing`] where there is no such group or stream; else they could not be put.
    pub async fn put(&self, stream: &str, events: &[LogEvent]) -> Result<usize, AwsError> {
        let asked = self.asked("logs:PutLogEvents");
        let mut input = Vec::with_capacity(events.len());
        for event in events {
            // Never fails: both parts are there.
            if let Ok(event) = InputLogEvent::builder().timestamp(event.timestamp).message(&event.message).build() {
                input.push(event);
            }
        }
        let request = self.client.put_log_events().log_group_name(self.name()).log_stream_name(stream);
        let answer = request.set_log_events(Some(input)).send().await.map_err(|error| asked.failed(&error))?;
        Ok(answer.rejected_log_events_info.map_or(0, |info| left_out(&info, events.len())))
    }

    /// Makes a stream, and the group where there is none. What is there already stays as it is.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn create_stream(&self, stream: &str) -> Result<(), AwsError> {
        match self.try_create_stream(stream).await {
            Err(error) if error.kind == Kind::Missing => {
                self.create().await?;
                self.try_create_stream(stream).await
            }
            outcome => outcome,
        }
    }

    async fn try_create_stream(&self, stream: &str) -> Result<(), AwsError> {
        let asked = self.asked("logs:CreateLogStream");
        let request = self.client.create_log_stream().log_group_name(self.name()).log_stream_name(stream);
        match request.send().await {
            Err(error) if error.code() != Some(ALREADY_THERE) => Err(asked.failed(&error)),
            _ => Ok(()),
        }
    }

    /// Makes the group, and says for how long it keeps events.
    async fn create(&self) -> Result<(), AwsError> {
        let asked = self.asked("logs:CreateLogGroup");
        let request = self.client.create_log_group().log_group_name(self.name());
        match request.set_kms_key_id(self.settings.kms_key.clone()).send().await {
            Err(error) if error.code() == Some(ALREADY_THERE) => return Ok(()),
            Err(error) => return Err(asked.failed(&error)),
            Ok(_) => {}
        }
        let Some(days) = self.settings.retention_days else { return Ok(()) };
        let asked = self.asked("logs:PutRetentionPolicy");
        let request = self.client.put_retention_policy().log_group_name(self.name()).retention_in_days(days);
        request.send().await.map(|_| ()).map_err(|error| asked.failed(&error))
    }

    /// Reads a part of a stream: the first, or the one that begins where another ended. `None` where there is no such
    /// group or stream.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read(&self, stream: &str, from: Option<&str>) -> Result<Option<Page>, AwsError> {
        let asked = self.asked("logs:GetLogEvents");
        let request = self.client.get_log_events().log_group_name(self.name()).log_stream_name(stream);
        let answer = request.start_from_head(true).set_next_token(from.map(str::to_owned)).send().await;
        let answer = match answer.map_err(|error| asked.failed(&error)) {
            Ok(answer) => answer,
            Err(error) if error.kind == Kind::Missing => return Ok(None),
            Err(error) => return Err(error),
        };
        let events = answer.events.unwrap_or_default().into_iter();
        let events = events.filter_map(|event| {
            Some(LogEvent { timestamp: event.timestamp.unwrap_or_default(), message: event.message? })
        });
        Ok(Some(Page { events: events.collect(), next: answer.next_forward_token }))
    }

    fn asked(&self, action: &'static str) -> Asked<'_> {
        Asked {
            service: "CloudWatch Logs",
            action,
            on: self.name(),
            if_missing: "make the log group in the region of this process, or allow logs:CreateLogGroup to it",
        }
    }
}

/// The events before one index and those from another one on.
fn left_out(info: &RejectedLogEventsInfo, sent: usize) -> usize {
    let index = |index: Option<i32>| index.and_then(|index| usize::try_from(index).ok());
    let old = index(info.too_old_log_event_end_index).max(index(info.expired_log_event_end_index)).unwrap_or(0);
    let new = index(info.too_new_log_event_start_index).map_or(0, |start| sent.saturating_sub(start));
    (old + new).min(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_at_both_ends() {
        let info = RejectedLogEventsInfo::builder();
        assert_eq!(left_out(&info.clone().build(), 10), 0);
        let info = info.too_old_log_event_end_index(2).expired_log_event_end_index(3).too_new_log_event_start_index(8);
        assert_eq!(left_out(&info.build(), 10), 5);
    }
}
