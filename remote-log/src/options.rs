//! Where logs go besides files.
//!
//! The logs of attempts: `[logging] remote_logging`, `remote_base_log_folder` and `delete_local_logs` as in Airflow
//! (`airflow/config_templates/airflow_local_settings.py`), or the group `Task` of an Amazon MWAA environment. The logs of
//! processes: the other groups of such an environment, each with a switch and a level (MWAA's `LoggingConfiguration`).

use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::log_format::Level;
use tradewind_aws::logs::{RETENTION_DAYS, Settings};

/// The connection that Airflow's AWS hooks take unless told otherwise; without it they do as the SDK does.
const DEFAULT_CONNECTION: &str = "aws_default";

/// A log group of an Amazon MWAA environment, which calls it `airflow-{environment}-{name}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of attempts.
    Task,
    /// Of schedulers.
    Scheduler,
    /// Of workers.
    Worker,
    /// Of web servers.
    WebServer,
    /// Of Dag processors, and of the Dag files.
    DagProcessing,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Task, Self::Scheduler, Self::Worker, Self::WebServer, Self::DagProcessing];

    /// That of a component's own log.
    #[must_use]
    pub fn of_component(component: &str) -> Option<Self> {
        match component {
            "scheduler" => Some(Self::Scheduler),
            "worker" => Some(Self::Worker),
            "webserver" => Some(Self::WebServer),
            "dag-processor" => Some(Self::DagProcessing),
            _ => None,
        }
    }

    /// The end of the group's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Task => "Task",
            Self::Scheduler => "Scheduler",
            Self::Worker => "Worker",
            Self::WebServer => "WebServer",
            Self::DagProcessing => "DAGProcessing",
        }
    }

    /// What its options begin with, after MWAA's `TaskLogs`, `SchedulerLogs` and so on.
    fn option(self) -> &'static str {
        match self {
            Self::Task => "task_logs",
            Self::Scheduler => "scheduler_logs",
            Self::Worker => "worker_logs",
            Self::WebServer => "webserver_logs",
            Self::DagProcessing => "dag_processing_logs",
        }
    }
}

/// A group, and what goes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Which group.
    pub settings: Settings,
    /// The least important lines that go there.
    pub level: Level,
}

/// A part of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The bucket's name.
    pub bucket: String,
    /// What the keys start with: nothing, or a path with a slash at its end.
    pub prefix: String,
    /// Whether objects are asked to be encrypted with a key of S3.
    pub encrypted: bool,
}

/// Where the logs of attempts go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// To CloudWatch, as they are written.
    CloudWatch(Group),
    /// To S3, when the attempt has ended.
    S3(Folder),
}

/// Where the logs of attempts go, and what becomes of their files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLogs {
    /// Where they go.
    pub place: Place,
    /// Whether a file is deleted once all of it is there.
    pub delete_local: bool,
}

impl TaskLogs {
    /// As configured; `None` where they stay in files.
    ///
    /// # Errors
    /// An option has a value that cannot be used.
    pub fn from_config(config: &Config) -> Result<Option<Self>, ConfigError> {
        let of_environment = group(config, Kind::Task)?;
        let mut delete_local = config.bool("logging", "delete_local_logs")?;
        if !config.bool("logging", "remote_logging")? {
            return Ok(of_environment.map(|group| Self { place: Place::CloudWatch(group), delete_local }));
        }
        if of_environment.is_some() {
            let expected = "False where [logging] remote_logging says where the logs of tasks go";
            return Err(config.invalid("tradewind", "task_logs_enabled", expected));
        }
        if config.optional("logging", "remote_log_conn_id")?.is_some_and(|connection| connection != DEFAULT_CONNECTION)
        {
            let expected = "aws_default, or left out: credentials come from the environment of the processes, as for any \
                            program that uses AWS's SDK";
            return Err(config.invalid("logging", "remote_log_conn_id", expected));
        }
        if let Some(wanted) = delete_local_copy(config)? {
            delete_local = wanted;
        }
        Ok(Some(Self { place: remote_base(config)?, delete_local }))
    }
}

/// What children must be told otherwise: the worker sends their logs, so they shall not, and need no credentials for it.
///
/// # Errors
/// An option has a value that cannot be used.
pub fn child_variables(config: &Config) -> Result<Vec<(&'static str, String)>, ConfigError> {
    let sends = config.bool("logging", "remote_logging")?;
    Ok(if sends { vec![("AIRFLOW__LOGGING__REMOTE_LOGGING", "False".to_owned())] } else { Vec::new() })
}

/// A group of an Amazon MWAA environment, if it is switched on.
///
/// # Errors
/// An option has a value that cannot be used.
pub fn group(config: &Config, kind: Kind) -> Result<Option<Group>, ConfigError> {
    if !config.bool("tradewind", &format!("{}_enabled", kind.option()))? {
        return Ok(None);
    }
    let environment = config.string("tradewind", "environment_name")?;
    if environment.is_empty() {
        let expected = "a name, since the log groups are named after it";
        return Err(config.invalid("tradewind", "environment_name", expected));
    }
    let option = format!("{}_level", kind.option());
    let level = level(&config.string("tradewind", &option)?)
        .ok_or_else(|| config.invalid("tradewind", &option, "one of CRITICAL, ERROR, WARNING, INFO, DEBUG"))?;
    let settings = Settings { name: format!("airflow-{environment}-{}", kind.name()), ..new_group(config)? };
    Ok(Some(Group { settings, level }))
}

fn level(name: &str) -> Option<Level> {
    match name.to_ascii_uppercase().as_str() {
        "CRITICAL" => Some(Level::Critical),
        "ERROR" => Some(Level::Error),
        "WARNING" => Some(Level::Warning),
        "INFO" => Some(Level::Info),
        "DEBUG" => Some(Level::Debug),
        _ => None,
    }
}

/// How groups are made where they are missing; their names are still to come.
fn new_group(config: &Config) -> Result<Settings, ConfigError> {
    let retention_days = match config.optional("tradewind", "cloudwatch_logs_retention")? {
        None => None,
        Some(text) => {
            let days = text.trim().parse().ok().filter(|days| RETENTION_DAYS.contains(days));
            let expected = || format!("a number of days that CloudWatch knows: one of {}", listed(&RETENTION_DAYS));
            Some(days.ok_or_else(|| config.invalid("tradewind", "cloudwatch_logs_retention", expected()))?)
        }
    };
    let kms_key = config.optional("tradewind", "cloudwatch_logs_kms_key")?.map(str::to_owned);
    if kms_key.as_deref().is_some_and(|key| !key.starts_with("arn:")) {
        return Err(config.invalid("tradewind", "cloudwatch_logs_kms_key", "the ARN of a key"));
    }
    Ok(Settings { retention_days, kms_key, ..Settings::default() })
}

fn listed(days: &[i32]) -> String {
    days.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
}

/// `[logging] remote_base_log_folder`.
fn remote_base(config: &Config) -> Result<Place, ConfigError> {
    let text = config.string("logging", "remote_base_log_folder")?;
    let invalid = || {
        let expected = "cloudwatch://arn:aws:logs:REGION:ACCOUNT:log-group:NAME or s3://BUCKET/PREFIX";
        config.invalid("logging", "remote_base_log_folder", expected)
    };
    if let Some(place) = text.strip_prefix("s3://") {
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() {
            return Err(invalid());
        }
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let encrypted = config.bool("logging", "encrypt_s3_logs")?;
        return Ok(Place::S3(Folder { bucket: bucket.to_owned(), prefix, encrypted }));
    }
    let arn = text.strip_prefix("cloudwatch://").ok_or_else(invalid)?;
    // arn:partition:logs:region:account:log-group:name, and what may follow the name.
    let parts: Vec<&str> = arn.split(':').collect();
    match parts[..] {
        ["arn", _, "logs", region, _, "log-group", name, ..] if !region.is_empty() && !name.is_empty() => {
            let settings = Settings { name: name.to_owned(), region: Some(region.to_owned()), ..new_group(config)? };
            Ok(Place::CloudWatch(Group { settings, level: Level::Notset }))
        }
        _ => Err(invalid()),
    }
}

/// The one of `[logging] remote_task_handler_kwargs` that means something here. Those of files are Airflow's
/// `FileTaskHandler`'s, which has no part in the logs of tasks either.
fn delete_local_copy(config: &Config) -> Result<Option<bool>, ConfigError> {
    let Some(text) = config.optional("logging", "remote_task_handler_kwargs")? else { return Ok(None) };
    let invalid = || {
        let expected =
            "a JSON object that has delete_local_copy (true or false), max_bytes, backup_count and delay only";
        config.invalid("logging", "remote_task_handler_kwargs", expected)
    };
    let arguments: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(|_| invalid())?;
    let mut delete = None;
    for (name, value) in arguments {
        match name.as_str() {
            "delete_local_copy" => delete = Some(value.as_bool().ok_or_else(invalid)?),
            "max_bytes" | "backup_count" | "delay" => {}
            _ => return Err(invalid()),
        }
    }
    Ok(delete)
}

#[cfg(test)]
mod tests {
    use tradewind_airflow::config::Environment;

    use super::*;

    fn config(variables: &[(&str, &str)]) -> Config {
        let environment = variables
            .iter()
            .fold(Environment::default(), |all, (name, value)| all.with(format!("AIRFLOW__{name}"), *value));
        Config::from_environment(&environment).expect("a configuration")
    }

    fn tasks(variables: &[(&str, &str)]) -> Result<Option<TaskLogs>, String> {
        TaskLogs::from_config(&config(variables)).map_err(|error| error.to_string())
    }

    fn remote(base: &str) -> Result<Option<TaskLogs>, String> {
        tasks(&[("LOGGING__REMOTE_LOGGING", "True"), ("LOGGING__REMOTE_BASE_LOG_FOLDER", base)])
    }

    #[test]
    fn files_are_enough_unless_somebody_says_otherwise() {
        assert_eq!(tasks(&[]), Ok(None));
        assert_eq!(child_variables(&config(&[])).expect("variables"), []);
    }

    #[test]
    fn airflows_own_options_name_a_group_or_a_bucket() {
        let logs =
            remote("cloudwatch://arn:aws:logs:eu-west-1:123456789012:log-group:airflow-env-Task").expect("a group");
        let settings = Settings {
            name: "airflow-env-Task".to_owned(),
            region: Some("eu-west-1".to_owned()),
            ..Settings::default()
        };
        let place = Place::CloudWatch(Group { settings, level: Level::Notset });
        assert_eq!(logs, Some(TaskLogs { place, delete_local: false }));
        let logs = tasks(&[
            ("LOGGING__REMOTE_LOGGING", "True"),
            ("LOGGING__REMOTE_BASE_LOG_FOLDER", "s3://bucket/a/b/"),
            ("LOGGING__REMOTE_TASK_HANDLER_KWARGS", r#"{"delete_local_copy": true}"#),
            ("LOGGING__ENCRYPT_S3_LOGS", "True"),
        ]);
        let folder = Folder { bucket: "bucket".to_owned(), prefix: "a/b/".to_owned(), encrypted: true };
        assert_eq!(logs, Ok(Some(TaskLogs { place: Place::S3(folder), delete_local: true })));
    }

    #[test]
    fn a_group_of_an_environment_has_its_name_level_and_retention() {
        let variables = [
            ("TRADEWIND__ENVIRONMENT_NAME", "MyEnv"),
            ("TRADEWIND__DAG_PROCESSING_LOGS_ENABLED", "True"),
            ("TRADEWIND__DAG_PROCESSING_LOGS_LEVEL", "WARNING"),
            ("TRADEWIND__CLOUDWATCH_LOGS_RETENTION", "30"),
            ("TRADEWIND__CLOUDWATCH_LOGS_KMS_KEY", "arn:aws:kms:eu-west-1:1:key/k"),
        ];
        let found = group(&config(&variables), Kind::DagProcessing).expect("a group");
        let settings = Settings {
            name: "airflow-MyEnv-DAGProcessing".to_owned(),
            region: None,
            retention_days: Some(30),
            kms_key: Some("arn:aws:kms:eu-west-1:1:key/k".to_owned()),
        };
        assert_eq!(found, Some(Group { settings, level: Level::Warning }));
        assert_eq!(group(&config(&variables), Kind::Scheduler).expect("no group"), None);
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        for (base, words) in
            [("gs://bucket", "s3://BUCKET"), ("s3:///prefix", "BUCKET"), ("cloudwatch://group", "arn:aws")]
        {
            let error = remote(base).expect_err(base);
            assert!(error.contains(words) && error.contains("remote_base_log_folder"), "{error}");
        }
        let on = ("TRADEWIND__TASK_LOGS_ENABLED", "True");
        let named = ("TRADEWIND__ENVIRONMENT_NAME", "MyEnv");
        for (variables, words) in [
            (vec![on], "environment_name"),
            (vec![on, named, ("TRADEWIND__TASK_LOGS_LEVEL", "LOUD")], "CRITICAL"),
            (vec![on, named, ("TRADEWIND__CLOUDWATCH_LOGS_RETENTION", "2")], "1, 3, 5"),
            (vec![on, named, ("TRADEWIND__CLOUDWATCH_LOGS_KMS_KEY", "alias/k")], "ARN"),
            (vec![on, named, ("LOGGING__REMOTE_LOGGING", "True")], "task_logs_enabled"),
            (vec![("LOGGING__REMOTE_LOGGING", "True"), ("LOGGING__REMOTE_LOG_CONN_ID", "mine")], "aws_default"),
            (vec![("LOGGING__REMOTE_LOGGING", "True"), ("LOGGING__REMOTE_TASK_HANDLER_KWARGS", "[]")], "JSON object"),
        ] {
            let error = tasks(&variables).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }
}
