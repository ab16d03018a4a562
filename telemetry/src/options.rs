//! Where metrics are sent.

use std::time::Duration;

use tradewind_airflow::config::{Config, ConfigError, Environment};

use crate::mwaa::Cluster;
use crate::otel::Otel;
use crate::selection::Selection;

/// Where the metrics of a process are sent.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) statsd: Option<Statsd>,
    pub(crate) otel: Option<Otel>,
    pub(crate) cloudwatch: Option<CloudWatch>,
    pub(crate) selection: Selection,
}

/// A StatsD server.
#[derive(Debug, Clone)]
pub(crate) struct Statsd {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Of the addresses of the host, the first one by IPv6 is told where there is one, else the first one by IPv4.
    pub(crate) prefers_ipv6: bool,
    pub(crate) prefix: String,
    /// How it is told labels.
    pub(crate) tags: Tags,
    /// Which of them; none when it is told none.
    pub(crate) sent_tags: Option<Selection>,
    /// Whether it is told names with ids in them, too.
    pub(crate) has_legacy_names: bool,
}

/// How a StatsD server is told labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tags {
    /// Not at all.
    None,
    /// Behind the name: `name,label=value`.
    Influx,
    /// As Datadog knows them.
    Datadog {
        /// Tags of every metric.
        all: Vec<String>,
    },
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
    /// As configured in `[metrics]`, `[tradewind]` and the variables of OpenTelemetry, for the component `component`.
    ///
    /// # Errors
    /// An option has a value that cannot be used.
    pub fn from_config(config: &Config, environment: &Environment, component: &str) -> Result<Self, ConfigError> {
        let statsd = Statsd::from_config(config)?;
        let otel = Otel::from_config(config, environment)?;
        if statsd.is_some() && otel.is_some() {
            tracing::warn!("[metrics] otel_on is not looked at, since StatsD is told: Airflow tells one of them");
        }
        let otel = otel.filter(|_| statsd.is_none());
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
        Ok(Self { statsd, otel, cloudwatch, selection: Selection::from_config(config)? })
    }
}

impl Statsd {
    /// None where no server is told.
    fn from_config(config: &Config) -> Result<Option<Self>, ConfigError> {
        let is_datadog = config.bool("metrics", "statsd_datadog_enabled")?;
        if !is_datadog && !config.bool("metrics", "statsd_on")? {
            return Ok(None);
        }
        let sent_tags = Selection::without(config, "statsd_disabled_tags")?;
        let has_labels = !is_datadog || config.bool("metrics", "statsd_datadog_metrics_tags")?;
        let tags = if is_datadog {
            Tags::Datadog { all: config.list_of("metrics", "statsd_datadog_tags")? }
        } else if config.bool("metrics", "statsd_influxdb_enabled")? {
            Tags::Influx
        } else {
            Tags::None
        };
        let port = config.int("metrics", "statsd_port")?;
        Ok(Some(Self {
            host: config.string("metrics", "statsd_host")?,
            port: u16::try_from(port).map_err(|_| config.invalid("metrics", "statsd_port", "a port number"))?,
            prefers_ipv6: config.bool("metrics", "statsd_ipv6")?,
            prefix: config.string("metrics", "statsd_prefix")?,
            tags,
            sent_tags: has_labels.then_some(sent_tags),
            has_legacy_names: config.bool("metrics", "legacy_names_on")?,
        }))
    }
}
