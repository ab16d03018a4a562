//! Runs the start-up script, and learns what it exports.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::Path;

use tokio::process::Command;
use tradewind_airflow::config::{Config, Origin};

/// Runs a script in the shell that its end is watched by: whether it comes to its last line, exits before, or fails on the way, its
/// variables are written down. Nothing of this is visible to it.
const WATCHED: &str = r#"exports=$2 script=$1; trap '/usr/bin/env -0 >"$exports"' EXIT; set --; . "$script""#;

/// Variables that a script does not change: those that Amazon MWAA keeps for itself, and what stands for them here. Source: the
/// list of reserved variables in its user guide.
const RESERVED: &[&str] = &[
    "MWAA_AIRFLOW_COMPONENT",
    "AIRFLOW__WEBSERVER__SECRET_KEY",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW_HOME",
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
    "AIRFLOW__CORE__EXECUTOR",
    "AIRFLOW__CORE__LOAD_EXAMPLES",
    "AIRFLOW__METRICS__METRICS_BLOCK_LIST",
    "SQL_ALCHEMY_CONN",
    "AIRFLOW__CORE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CELERY__DEFAULT_QUEUE",
    "AIRFLOW__OPERATORS__DEFAULT_QUEUE",
    "AIRFLOW_VERSION",
    "AIRFLOW_CONN_AWS_DEFAULT",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "PYTHONUNBUFFERED",
    "AIRFLOW__METRICS__STATSD_ALLOW_LIST",
    "AIRFLOW__METRICS__STATSD_ON",
    "AIRFLOW__METRICS__STATSD_HOST",
    "AIRFLOW__METRICS__STATSD_PORT",
    "AIRFLOW__METRICS__STATSD_PREFIX",
    "AIRFLOW__CELERY__WORKER_AUTOSCALE",
    "AIRFLOW__CORE__DAG_CONCURRENCY",
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG",
    "AIRFLOW__CORE__PARALLELISM",
    "AIRFLOW__SCHEDULER__PARSING_PROCESSES",
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT",
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__REGION",
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__PREDEFINED_QUEUES",
    "AIRFLOW__SCHEDULER__ALLOWED_RUN_ID_PATTERN",
    "AIRFLOW__WEBSERVER__BASE_URL",
    "PYTHONPATH",
    "AIRFLOW_CONFIG",
    "AIRFLOW__CORE__PLUGINS_FOLDER",
    "AIRFLOW__CORE__DAGS_FOLDER",
    "PYTHONHOME",
    "VIRTUAL_ENV",
];

/// What all options of a kind begin with that a script does not change.
const RESERVED_PREFIXES: &[&str] = &[
    "AIRFLOW__TRADEWIND__",
    "AIRFLOW__DATABASE__",
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_",
    "AIRFLOW__API__",
    "AIRFLOW__API_AUTH__",
    "AIRFLOW__EXECUTION_API__",
    "BASH_FUNC_",
];

/// Variables of the shell itself.
const OF_THE_SHELL: &[&str] = &["_", "SHLVL", "PWD", "OLDPWD"];

/// Variables by which options are set that somebody has set: they count for more than what a script exports.
pub(crate) fn configured(config: &Config) -> BTreeSet<String> {
    let set = config.list().filter(|value| value.origin != Origin::Default);
    set.map(|value| {
        let section = value.option.section.replace('.', "_");
        format!("AIRFLOW__{section}__{}", value.option.key).to_uppercase()
    })
    .collect()
}

/// The command that runs a script and writes its variables to a file.
pub(crate) fn command(script: &Path, exports: &Path) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", WATCHED, "bash"]).arg(script).arg(exports);
    command
}

/// What a script has exported.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Exports {
    /// Variables that are new, or have changed.
    pub(crate) variables: BTreeMap<String, String>,
    /// Names of those that stay what they were.
    pub(crate) refused: Vec<String>,
}

impl Exports {
    /// Compares what `env -0` has written with the variables that the script began with.
    pub(crate) fn read(written: &[u8], before: &[(OsString, OsString)], configured: &BTreeSet<String>) -> Self {
        let before: HashMap<_, _> = before.iter().map(|(name, value)| (name.to_string_lossy(), value)).collect();
        let mut exports = Self::default();
        let text = String::from_utf8_lossy(written);
        for (name, value) in text.split('\0').filter_map(|entry| entry.split_once('=')) {
            let is_same = before.get(name).is_some_and(|known| known.to_string_lossy() == value);
            if is_same || OF_THE_SHELL.contains(&name) {
                continue;
            }
            let is_reserved = RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|it| name.starts_with(it));
            if is_reserved || configured.contains(name) {
                exports.refused.push(name.to_owned());
            } else {
                exports.variables.insert(name.to_owned(), value.to_owned());
            }
        }
        exports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn exports(script: &str) -> (bool, Exports) {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, written) = (folder.path().join("startup.sh"), folder.path().join("exports"));
        std::fs::write(&file, script).expect("a script");
        let before: Vec<(OsString, OsString)> =
            vec![("PATH".into(), "/usr/bin:/bin".into()), ("KEPT".into(), "as it was".into())];
        let status = command(&file, &written).env_clear().envs(before.clone()).status().await.expect("bash");
        let configured = BTreeSet::from(["AIRFLOW__CORE__DEFAULT_TASK_RETRIES".to_owned()]);
        let written = std::fs::read(&written).unwrap_or_default();
        (status.success(), Exports::read(&written, &before, &configured))
    }

    #[tokio::test]
    async fn exports_are_what_is_new_or_changed() {
        let script = "export STAGE=development LINES=$'a\\nb'\nLOCAL=x\nexport PATH=/opt/x:$PATH\ncd /\n";
        let (succeeded, exports) = exports(script).await;
        assert!(succeeded);
        let expected = [("LINES", "a\nb"), ("PATH", "/opt/x:/usr/bin:/bin"), ("STAGE", "development")];
        assert_eq!(exports.variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(exports.refused, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_script_may_end_early_or_fail() {
        let (succeeded, exports_then) =
            exports("#!/bin/sh\nexport A=1\nif [[ x == x ]]; then exit 0; fi\nexport B=2").await;
        assert!(succeeded && exports_then.variables.keys().eq(["A"]));
        let (succeeded, _) = exports("set -eu\nexport A=1\nfalse\nexport B=2").await;
        assert!(!succeeded);
    }

    #[tokio::test]
    async fn reserved_and_configured_variables_stay_what_they_were() {
        let script = "export AIRFLOW_HOME=/x PYTHONPATH=/x AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=x \
                      AIRFLOW__CORE__DEFAULT_TASK_RETRIES=9 AIRFLOW__CORE__MAX_TASK_RETRY_DELAY=7";
        let (_, mut exports) = exports(script).await;
        exports.refused.sort();
        let refused = [
            "AIRFLOW_HOME",
            "AIRFLOW__CORE__DEFAULT_TASK_RETRIES",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
            "PYTHONPATH",
        ];
        assert_eq!(exports.refused, refused);
        assert!(exports.variables.keys().eq(["AIRFLOW__CORE__MAX_TASK_RETRY_DELAY"]));
    }
}
