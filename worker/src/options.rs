//! How a worker works.

use std::time::Duration;

use tradewind_airflow::config::{Config, ConfigError};
use tradewind_bundle::retention::Retention;

use crate::slots::SlotBounds;

/// How a worker works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many attempts run at once.
    pub slots: SlotBounds,
    /// The queues it takes from; `*` for all of them.
    pub queues: Vec<String>,
    /// How long running attempts may go on after the shutdown was asked for, before they are asked to end; those that
    /// do not end are killed after 5 s more.
    pub drain_timeout: Duration,
    /// Longest time between two looks into the queue, for messages whose notification got lost.
    pub poll_interval: Duration,
    /// How long snapshots of bundles in S3 stay on this machine.
    pub retention: Retention,
}

impl Options {
    /// As configured in `[tradewind]`.
    ///
    /// # Errors
    /// An option has a value that cannot be used.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let slots = SlotBounds::from_config(config)?;
        let queues = config.list_of("tradewind", "worker_queues")?;
        if queues.is_empty() {
            return Err(config.invalid("tradewind", "worker_queues", "at least one name of a queue"));
        }
        Ok(Self {
            slots,
            queues,
            drain_timeout: config.seconds("tradewind", "worker_drain_timeout")?,
            poll_interval: config.seconds("tradewind", "scheduler_poll_interval")?.max(Duration::from_millis(100)),
            retention: Retention::from_config(config)?,
        })
    }
}
