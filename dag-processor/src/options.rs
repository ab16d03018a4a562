//! What the configuration says about parsing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::fernet::Fernet;
use tradewind_bundle::configuration::{self, DagBundle};
use tradewind_bundle::retention::Retention;
use tradewind_environment::configuration as environment;
use tradewind_metadata::parse_result::WriteOptions;

use crate::connection_test;
use crate::deadline_callback;
use crate::discovery::DiscoveryRules;
use crate::environment::Places;
use crate::ignore::IgnoreSyntax;
use crate::parsed_dag::DagDefaults;
use crate::queue::{Pace, SortMode};

/// Options of the Dag processor; the names are those of the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where Dags come from.
    pub bundles: Vec<DagBundle>,
    /// Addresses of what else their bucket has.
    pub beside: Arc<[String]>,
    /// The folder of the snapshots of bundles in S3.
    pub storage: PathBuf,
    /// How long these snapshots stay.
    pub retention: Retention,
    /// `[dag_processor] refresh_interval`, of a folder that does not say otherwise.
    pub refresh_interval: Duration,
    /// How Dag files are found.
    pub discovery: DiscoveryRules,
    /// `[dag_processor] parsing_processes`.
    pub parsing_processes: usize,
    /// `[dag_processor] dag_file_processor_timeout`.
    pub file_timeout: Duration,
    /// `[dag_processor] file_parsing_sort_mode`.
    pub sort_mode: SortMode,
    /// How often an unchanged file is parsed.
    pub pace: Pace,
    /// `[dag_processor] stale_dag_threshold`.
    pub stale_dag_threshold: chrono::Duration,
    /// `[scheduler] parsing_cleanup_interval`.
    pub cleanup_interval: Duration,
    /// `[dag_processor] max_callbacks_per_loop`.
    pub max_callbacks: i64,
    /// `[scheduler] job_heartbeat_sec`.
    pub heartbeat_interval: Duration,
    /// `[logging] dag_processor_child_process_log_directory`.
    pub log_directory: PathBuf,
    /// How enqueued tests of connections are run; none: they are not.
    pub connection_tests: Option<connection_test::Options>,
    /// How callbacks of missed deadlines are called.
    pub deadline_callbacks: deadline_callback::Options,
    /// Where packages and plugins lie.
    pub places: Places,
    /// What holds for a Dag that does not say otherwise.
    pub defaults: DagDefaults,
    /// How rows are written.
    pub write: WriteOptions,
}

impl Options {
    /// Reads the configuration; `airflow` is the folder of the installed package `airflow`, if known.
    ///
    /// # Errors
    /// When a value cannot be used.
    pub fn from_config(config: &Config, airflow: Option<&Path>) -> Result<Self, ConfigError> {
        let syntax = config.string("core", "dag_ignore_file_syntax")?;
        let min_interval = config.seconds("dag_processor", "min_file_process_interval")?;
        let idle_interval = config.seconds("tradewind", "idle_file_process_interval")?;
        Ok(Self {
            bundles: configuration::configured(config, airflow)?,
            beside: environment::Options::from_config(config)?.map(|it| it.urls()).unwrap_or_default().into(),
            storage: configuration::storage(config)?,
            retention: Retention::from_config(config)?,
            refresh_interval: config.seconds("dag_processor", "refresh_interval")?,
            discovery: DiscoveryRules {
                syntax: syntax
                    .parse::<IgnoreSyntax>()
                    .map_err(|error| config.invalid("core", "dag_ignore_file_syntax", error.to_string()))?,
                safe_mode: safe_mode(config)?,
            },
            parsing_processes: usize::try_from(config.int("dag_processor", "parsing_processes")?)
                .ok()
                .filter(|processes| *processes > 0)
                .ok_or_else(|| config.invalid("dag_processor", "parsing_processes", "a whole number of at least 1"))?,
            file_timeout: config.seconds("dag_processor", "dag_file_processor_timeout")?,
            sort_mode: SortMode::named(&config.string("dag_processor", "file_parsing_sort_mode")?),
            pace: Pace { usual: min_interval, idle: idle_interval.max(min_interval) },
            stale_dag_threshold: chrono_seconds(config, "dag_processor", "stale_dag_threshold")?,
            cleanup_interval: config.seconds("scheduler", "parsing_cleanup_interval")?,
            max_callbacks: config.int("dag_processor", "max_callbacks_per_loop")?,
            heartbeat_interval: config.seconds("scheduler", "job_heartbeat_sec")?.max(Duration::from_secs(1)),
            log_directory: PathBuf::from(config.string("logging", "dag_processor_child_process_log_directory")?),
            connection_tests: connection_test::Options::from_config(config)?,
            deadline_callbacks: deadline_callback::Options::from_config(config)?,
            places: Places {
                plugins: PathBuf::from(config.string("core", "plugins_folder")?),
                packages: airflow.and_then(Path::parent).map(Path::to_owned),
            },
            defaults: DagDefaults::from_config(config)?,
            write: write_options(config)?,
        })
    }
}

/// A heuristic of the user's own runs in the parse child; until there every file counts.
fn safe_mode(config: &Config) -> Result<bool, ConfigError> {
    const DEFAULT: &str = "airflow.utils.file.might_contain_dag_via_default_heuristic";
    let heuristic = config.string("core", "might_contain_dag_callable")?;
    Ok(config.bool("core", "dag_discovery_safe_mode")? && heuristic == DEFAULT)
}

fn chrono_seconds(config: &Config, section: &str, key: &str) -> Result<chrono::Duration, ConfigError> {
    chrono::Duration::from_std(config.seconds(section, key)?)
        .map_err(|_| config.invalid(section, key, "a shorter time"))
}

fn write_options(config: &Config) -> Result<WriteOptions, ConfigError> {
    let fernet = Fernet::new(&config.string("core", "fernet_key")?)
        .map_err(|error| config.invalid("core", "fernet_key", format!("a list of Fernet keys ({error})")))?;
    Ok(WriteOptions {
        paused_at_creation: config.bool("core", "dags_are_paused_at_creation")?,
        compress: config.bool("core", "compress_serialized_dags")?,
        min_update_interval: chrono_seconds(config, "core", "min_serialized_dag_update_interval")?,
        fernet: Arc::new(fernet),
    })
}
