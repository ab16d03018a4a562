//! What a fleet is told by the configuration.

use std::collections::{BTreeMap, BTreeSet};
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
    /// The names of services of ECS by queue (`[tradewind] ecs_service`); none where tasks are run one by one.
    pub services: BTreeMap<String, String>,
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
            services: services(config, &queues)?,
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

/// The services of queues: a name where there is one queue, or a JSON object of the queues.
fn services(config: &Config, queues: &[String]) -> Result<BTreeMap<String, String>, ConfigError> {
    let Some(text) = config.optional("tradewind", "ecs_service")?.map(str::trim) else { return Ok(BTreeMap::new()) };
    let expected = "the name of a service, or a JSON object with one for each of fleet_queues";
    let invalid = || config.invalid("tradewind", "ecs_service", expected);
    let names: BTreeMap<String, String> = match queues {
        _ if text.starts_with('{') => serde_json::from_str(text).map_err(|_| invalid())?,
        [queue] => BTreeMap::from([(queue.clone(), text.to_owned())]),
        _ => return Err(invalid()),
    };
    let is_named = |queue: &String| names.get(queue).is_some_and(|name| !name.is_empty());
    // A service that two queues share could not tell their workers apart.
    let distinct: BTreeSet<&String> = names.values().collect();
    if queues.iter().all(is_named) && distinct.len() == names.len() { Ok(names) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use tradewind_airflow::config::Environment;

    use super::*;

    fn services_of(queues: &[&str], value: &str) -> Result<BTreeMap<String, String>, String> {
        let environment = Environment::default().with("AIRFLOW__TRADEWIND__ECS_SERVICE", value);
        let config = Config::from_environment(&environment).expect("a configuration");
        let queues: Vec<String> = queues.iter().map(|queue| (*queue).to_owned()).collect();
        services(&config, &queues).map_err(|error| error.to_string())
    }

    #[test]
    fn each_queue_has_a_service_of_its_own() {
        let named = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(queue, name)| ((*queue).to_owned(), (*name).to_owned())).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(services_of(&["default"], ""), Ok(BTreeMap::new()));
        assert_eq!(services_of(&["default"], "workers"), Ok(named(&[("default", "workers")])));
        let two = r#"{"default": "workers", "large": "large-workers"}"#;
        assert_eq!(
            services_of(&["default", "large"], two),
            Ok(named(&[("default", "workers"), ("large", "large-workers")]))
        );
        for value in ["workers", r#"{"default": "workers"}"#, r#"{"default": "w", "large": "w"}"#, "{"] {
            let error = services_of(&["default", "large"], value).expect_err(value);
            assert!(error.contains("one for each of fleet_queues"), "{error}");
        }
    }
}
