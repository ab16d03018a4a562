//! The environment classes of Amazon MWAA, by which `[tradewind] environment_class` sizes workers.

use crate::config::{Config, ConfigError};

/// A class: how large one worker is, and what it runs at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnvironmentClass {
    /// Its name, such as `mw1.small`.
    pub name: &'static str,
    /// Task instances that a worker runs at once unless `[celery] worker_autoscale` says otherwise.
    pub tasks_per_worker: usize,
    /// Dags that an environment of this class is made for.
    pub dag_capacity: u32,
    /// CPU of a worker, in units of which 1,024 are one vCPU.
    pub cpu_units: u32,
    /// Memory of a worker, in MiB.
    pub memory: u32,
    /// Whether the number of workers may change.
    pub scales: bool,
}

/// All classes, the smallest first.
#[rustfmt::skip]
const CLASSES: [EnvironmentClass; 6] = [
    EnvironmentClass { name: "mw1.micro", tasks_per_worker: 3, dag_capacity: 25, cpu_units: 1_024, memory: 3_072, scales: false },
    EnvironmentClass { name: "mw1.small", tasks_per_worker: 5, dag_capacity: 50, cpu_units: 1_024, memory: 2_048, scales: true },
    EnvironmentClass { name: "mw1.medium", tasks_per_worker: 10, dag_capacity: 250, cpu_units: 2_048, memory: 4_096, scales: true },
    EnvironmentClass { name: "mw1.large", tasks_per_worker: 20, dag_capacity: 1_000, cpu_units: 4_096, memory: 8_192, scales: true },
    EnvironmentClass { name: "mw1.xlarge", tasks_per_worker: 40, dag_capacity: 2_000, cpu_units: 8_192, memory: 24_576, scales: true },
    EnvironmentClass { name: "mw1.2xlarge", tasks_per_worker: 80, dag_capacity: 4_000, cpu_units: 16_384, memory: 49_152, scales: true },
];

impl EnvironmentClass {
    /// The class of `[tradewind] environment_class`; `None` when there is none.
    ///
    /// # Errors
    /// When there is no such class.
    pub fn from_config(config: &Config) -> Result<Option<Self>, ConfigError> {
        let Some(name) = config.optional("tradewind", "environment_class")? else { return Ok(None) };
        let class = CLASSES.into_iter().find(|class| class.name == name);
        class.map(Some).ok_or_else(|| {
            let names = CLASSES.map(|class| class.name).join(", ");
            config.invalid("tradewind", "environment_class", format!("one of {names}"))
        })
    }
}
