use std::time::Duration;

use chrono::TimeDelta;
use tradewind_airflow::config::{Config, ConfigError};

/// What the configuration says of limits and time-outs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// `[core] parallelism`; none when there is no limit.
    pub parallelism: Option<i64>,
    /// `[core] max_task_retry_delay`: bound of exponential back-off.
    pub max_retry_delay: TimeDelta,
    /// `[scheduler] scheduler_health_check_threshold`: a scheduler that was silent for longer is not alive.
    pub scheduler_threshold: TimeDelta,
    /// `[triggerer] triggerer_health_check_threshold`: the same of a triggerer.
    pub triggerer_threshold: TimeDelta,
    /// `[scheduler] task_instance_heartbeat_timeout`: an attempt that was silent for longer is ended.
    pub heartbeat_timeout: TimeDelta,
    /// `[scheduler] task_queued_timeout`: what no worker takes for longer is stuck.
    pub queued_timeout: TimeDelta,
}

impl Options {
    /// Reads the options.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let seconds = |section: &str, key: &str| {
            let value: Duration = config.seconds(section, key)?;
            TimeDelta::from_std(value).map_err(|_| config.invalid(section, key, "a number of seconds"))
        };
        Ok(Self {
            parallelism: Some(config.int("core", "parallelism")?).filter(|limit| *limit > 0),
            max_retry_delay: seconds("core", "max_task_retry_delay")?,
            scheduler_threshold: seconds("scheduler", "scheduler_health_check_threshold")?,
            triggerer_threshold: seconds("triggerer", "triggerer_health_check_threshold")?,
            heartbeat_timeout: seconds("scheduler", "task_instance_heartbeat_timeout")?,
            queued_timeout: seconds("scheduler", "task_queued_timeout")?,
        })
    }
}
