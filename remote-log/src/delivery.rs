//! Events to a group of CloudWatch, whatever is missing there.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tradewind_aws::logs::{LogEvent, LogGroup, Settings};
use tradewind_aws::{Account, AwsError, Kind};

/// Requests at once: each holds what it sends in memory.
const REQUESTS: usize = 4;

/// Where events go.
#[derive(Debug)]
pub(crate) struct Delivery {
    settings: Settings,
    group: OnceCell<LogGroup>,
    permits: Semaphore,
    is_failing: AtomicBool,
}

impl Delivery {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, group: OnceCell::new(), permits: Semaphore::new(REQUESTS), is_failing: AtomicBool::new(false) }
    }

    /// Waits until there is room for what a request holds.
    pub(crate) async fn room(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed.
        self.permits.acquire().await.ok()
    }

    /// Puts the events of one request into a stream, which is made first when it `is_new`, or when it has gone. What CloudWatch
    /// will never take is left out and counted. That something is wrong is said once, and once when it is over.
    ///
    /// # Errors
    /// They did not arrive, and may later.
    pub(crate) async fn put(&self, stream: &str, events: &[LogEvent], is_new: bool) -> Result<(), AwsError> {
        let outcome = match self.try_put(stream, events, is_new).await {
            Err(error) if error.kind == Kind::Invalid => {
                let number = events.len();
                tracing::warn!(%error, stream, number, "lines of a log are not taken by CloudWatch, and are left out");
                Ok(number)
            }
            outcome => outcome,
        };
        match outcome {
            Ok(left_out) => {
                metrics::counter!("tradewind.cloudwatch_logs.sent").increment((events.len() - left_out) as u64);
                metrics::counter!("tradewind.cloudwatch_logs.dropped").increment(left_out as u64);
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(group = self.settings.name, "logs are sent to CloudWatch again");
                }
                Ok(())
            }
            Err(error) => {
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "logs cannot be sent to CloudWatch, and wait");
                }
                Err(error)
            }
        }
    }

    async fn try_put(&self, stream: &str, events: &[LogEvent], is_new: bool) -> Result<usize, AwsError> {
        let group = self.group().await;
        if is_new {
            create_stream(group, stream).await?;
        }
        match group.put(stream, events).await {
            Err(error) if error.kind == Kind::Missing => {
                create_stream(group, stream).await?;
                group.put(stream, events).await
            }
            outcome => outcome,
        }
    }

    async fn group(&self) -> &LogGroup {
        let group = async { LogGroup::new(&Account::from_environment().await, self.settings.clone()) };
        self.group.get_or_init(|| group).await
    }
}

/// Makes a stream. What is wrong with that is not wrong with the events, for example a key that cannot be used.
async fn create_stream(group: &LogGroup, stream: &str) -> Result<(), AwsError> {
    group.create_stream(stream).await.map_err(|error| match error.kind {
        Kind::Invalid => AwsError { kind: Kind::Other, ..error },
        _ => error,
    })
}
