//! What a scheduler is told by the configuration.

use std::time::Duration;

use chrono::TimeDelta;
use tradewind_airflow::config::{Config, ConfigError};

/// Options of a scheduler.
#[derive(Debug, Clone)]
pub struct Options {
    /// The host's name, shown with the scheduler's job.
    pub hostname: String,
    /// `[core] parallelism`: task instances active at once, over all Dags.
    pub parallelism: i64,
    /// `[core] max_task_retry_delay`: bound of exponential back-off.
    pub max_retry_delay: TimeDelta,
    /// `[scheduler] scheduler_heartbeat_sec`.
    pub heartbeat_interval: Duration,
    /// `[tradewind] scheduler_poll_interval`: the sweep that finds what no notification told of.
    pub poll_interval: Duration,
    /// `[scheduler] task_instance_heartbeat_timeout`: an attempt silent for longer is ended.
    pub task_heartbeat_timeout: Duration,
    /// `[scheduler] task_instance_heartbeat_timeout_detection_interval`.
    pub reap_interval: Duration,
    /// Running runs looked at in one sweep.
    pub runs_per_sweep: i64,
}

impl Options {
    /// Reads the options.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn from_config(config: &Config, hostname: String) -> Result<Self, ConfigError> {
        let positive = |section: &str, key: &str| -> Result<Duration, ConfigError> {
            let value = config.seconds(section, key)?;
            if value.is_zero() { Err(config.invalid(section, key, "a number of seconds above 0")) } else { Ok(value) }
        };
        Ok(Self {
            hostname,
            parallelism: match config.int("core", "parallelism")? {
                0 => i64::MAX,
                limit if limit > 0 => limit,
                _ => return Err(config.invalid("core", "parallelism", "0 (no limit) or more")),
            },
            max_retry_delay: TimeDelta::try_seconds(config.int("core", "max_task_retry_delay")?)
                .ok_or_else(|| config.invalid("core", "max_task_retry_delay", "a number of seconds"))?,
            heartbeat_interval: positive("scheduler", "scheduler_heartbeat_sec")?,
            poll_interval: positive("tradewind", "scheduler_poll_interval")?,
            task_heartbeat_timeout: positive("scheduler", "task_instance_heartbeat_timeout")?,
            reap_interval: positive("scheduler", "task_instance_heartbeat_timeout_detection_interval")?,
            runs_per_sweep: 200,
        })
    }
}
