//! What a fleet is told by the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::environment_class::EnvironmentClass;

use crate::decision::Bounds;

/// Who starts workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverKind {
    /// This machine.
    Process,
    /// Amazon ECS.
    Ecs,
    /// The engine of containers that the scheduler runs in.
    Docker,
}

/// Options of a fleet.
#[derive(Debug, Clone)]
pub struct Options {
    /// `[tradewind] fleet_driver`.
    pub driver: DriverKind,
    /// Bounds by queue.
    pub queues: BTreeMap<String, Bounds>,
    /// How often is decided.
    pub interval: Duration,
}

impl Options {
    /// Reads the options; `None` when no fleet is configured: `[tradewind] max_workers` has no value.
    ///
    /// # Errors
    /// When a value cannot be used.
    pub fn from_config(config: &Config, tasks_per_worker: usize) -> Result<Option<Self>, ConfigError> {
        if config.optional("tradewind", "max_workers")?.is_none() {
            return Ok(None);
        }
        let number = |key: &str| -> Result<usize, ConfigError> {
            let expected = "a whole number of at least 0";
            usize::try_from(config.int("tradewind", key)?).map_err(|_| config.invalid("tradewind", key, expected))
        };
        let (min_workers, max_workers) = (number("min_workers")?, number("max_workers")?);
        if max_workers == 0 || min_workers > max_workers {
            let expected = format!("a whole number of at least {}", min_workers.max(1));
            return Err(config.invalid("tradewind", "max_workers", expected));
        }
        let min_workers = match EnvironmentClass::from_config(config)? {
            // Amazon MWAA does not scale its smallest class.
            Some(class) if !class.scales => max_workers,
            _ => min_workers,
        };
        let bounds = Bounds {
            min_workers,
            max_workers,
            tasks_per_worker,
            scale_in_delay: config.seconds("tradewind", "fleet_scale_in_delay")?,
            drain_wait: config.seconds("tradewind", "fleet_drain_wait")?,
            launch_timeout: config.seconds("tradewind", "fleet_launch_timeout")?,
        };
        let queues = config.list_of("tradewind", "fleet_queues")?;
        if queues.is_empty() || queues.iter().any(|queue| queue == "*") {
            return Err(config.invalid("tradewind", "fleet_queues", "names of queues"));
        }
        Ok(Some(Self {
            driver: match config.string("tradewind", "fleet_driver")?.as_str() {
                "ecs" => DriverKind::Ecs,
                "docker" => DriverKind::Docker,
                _ => DriverKind::Process,
            },
            queues: queues.into_iter().map(|queue| (queue, bounds)).collect(),
            interval: config.seconds("tradewind", "fleet_interval")?.max(Duration::from_millis(100)),
        }))
    }
}
