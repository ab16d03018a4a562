//! What a scheduler is told by the configuration.

use std::time::Duration;

use chrono::TimeDelta;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_metadata::queue::Carrier;

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
    /// `[scheduler] parsing_cleanup_interval`: how often assets that nobody names any more are retired.
    pub asset_upkeep_interval: Duration,
    /// Running runs looked at in one sweep.
    pub runs_per_sweep: i64,
    /// What is not waited for any longer.
    pub timeouts: Timeouts,
    /// How often gauges are counted in the database.
    pub metrics: MetricIntervals,
    /// `[tradewind] queue`: whether a publisher hands messages to a broker.
    pub carrier: Carrier,
}

/// How often gauges are counted in the database. The default is Airflow's.
#[derive(Debug, Clone)]
pub struct MetricIntervals {
    /// `[scheduler] pool_metrics_interval`.
    pub pools: Duration,
    /// `[scheduler] ti_metrics_interval`.
    pub task_instances: Duration,
    /// `[scheduler] dagrun_metrics_interval`.
    pub dag_runs: Duration,
}

impl Default for MetricIntervals {
    fn default() -> Self {
        Self {
            pools: Duration::from_secs(5),
            task_instances: Duration::from_secs(30),
            dag_runs: Duration::from_secs(30),
        }
    }
}

/// How long what is waited for, and how often that is looked at. The default is Airflow's.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// `[scheduler] task_queued_timeout`: what no worker takes for longer is stuck.
    pub queued_timeout: Duration,
    /// `[scheduler] task_queued_timeout_check_interval`.
    pub queued_check_interval: Duration,
    /// `[scheduler] num_stuck_in_queued_retries`: how often what is stuck is queued anew before it fails.
    pub stuck_in_queued_retries: i64,
    /// `[scheduler] trigger_timeout_check_interval`.
    pub trigger_check_interval: Duration,
    /// `[scheduler] orphaned_tasks_check_interval`.
    pub orphans_check_interval: Duration,
    /// `[scheduler] scheduler_health_check_threshold`: a scheduler silent for longer is dead.
    pub scheduler_health_threshold: Duration,
    /// `[scheduler] parsing_cleanup_interval`.
    pub cleanup_interval: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            queued_timeout: Duration::from_secs(600),
            queued_check_interval: Duration::from_secs(120),
            stuck_in_queued_retries: 2,
            trigger_check_interval: Duration::from_secs(15),
            orphans_check_interval: Duration::from_secs(300),
            scheduler_health_threshold: Duration::from_secs(30),
            cleanup_interval: Duration::from_secs(60),
        }
    }
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
            asset_upkeep_interval: positive("scheduler", "parsing_cleanup_interval")?,
            runs_per_sweep: 200,
            timeouts: Timeouts {
                queued_timeout: config.seconds("scheduler", "task_queued_timeout")?,
                queued_check_interval: positive("scheduler", "task_queued_timeout_check_interval")?,
                stuck_in_queued_retries: config.int("scheduler", "num_stuck_in_queued_retries")?,
                trigger_check_interval: positive("scheduler", "trigger_timeout_check_interval")?,
                orphans_check_interval: positive("scheduler", "orphaned_tasks_check_interval")?,
                scheduler_health_threshold: positive("scheduler", "scheduler_health_check_threshold")?,
                cleanup_interval: positive("scheduler", "parsing_cleanup_interval")?,
            },
            metrics: MetricIntervals {
                pools: positive("scheduler", "pool_metrics_interval")?,
                task_instances: positive("scheduler", "ti_metrics_interval")?,
                dag_runs: positive("scheduler", "dagrun_metrics_interval")?,
            },
            carrier: match config.string("tradewind", "queue")?.as_str() {
                "sqs" => Carrier::Broker,
                _ => Carrier::Outbox,
            },
        })
    }
}
