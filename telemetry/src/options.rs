//! Where metrics are sent.

use std::time::Duration;

use tradewind_airflow::config::{Config, ConfigError};

use crate::mwaa::Cluster;
use crate::selection::Selection;

/// Where the metrics of a process are sent.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) statsd: Option<Statsd>,
    pub(crate) cloudwatch: Option<CloudWatch>,
    pub(crate) selection: Selection,
}

/// A StatsD server.
#[derive(Debug, Clone)]
pub(crate) struct Statsd {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) prefix: String,
    /// Whether it knows tags, as Datadog's does.
    pub(crate) has_tags: bool,
    /// Whether a plain one is told names with ids in them, too.
    pub(crate) has_legacy_names: bool,
}

/// CloudWatch.
#[derive(Debug, Clone)]
pub(crate) struct CloudWatch {
    /// The dimension `Environment`.
    pub(crate) environment: String,
    /// The dimension `Cluster` of this process; none when another process stands for its container.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) interval: Duration,
}

impl Options {
    /// As configured in `[metrics]` and `[tradewind]`, for the component `component`.
    ///
    /// # Errors
    /// An option has a value that cannot be used.
    pub fn from_config(config: &Config, component: &str) -> Result<Self, ConfigError> {
        let statsd = if config.bool("metrics", "statsd_on")? {
            let port = config.int("metrics", "statsd_port")?;
            Some(Statsd {
                host: config.string("metrics", "statsd_host")?,
                port: u16::try_from(port).map_err(|_| config.invalid("metrics", "statsd_port", "a port number"))?,
                prefix: config.string("metrics", "statsd_prefix")?,
                has_tags: config.bool("metrics", "statsd_datadog_enabled")?,
                has_legacy_names: config.bool("metrics", "legacy_names_on")?,
            })
        } else {
            None
        };
        let cloudwatch = if config.bool("tradewind", "cloudwatch_metrics")? {
            let interval = config.seconds("tradewind", "cloudwatch_metrics_interval")?;
            if interval < Duration::from_secs(1) {
                return Err(config.invalid("tradewind", "cloudwatch_metrics_interval", "at least one second"));
            }
            let environment = config.string("tradewind", "environment_name")?;
            if environment.is_empty() {
                let expected = "a name, since metrics go to CloudWatch under it";
                return Err(config.invalid("tradewind", "environment_name", expected));
            }
            Some(CloudWatch { environment, cluster: Cluster::of(component), interval })
        } else {
            None
        };
        Ok(Self { statsd, cloudwatch, selection: Selection::from_config(config)? })
    }
}
