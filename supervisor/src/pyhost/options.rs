//! How to start `tradewind-pyhost`.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tradewind_airflow::config::Config;

use super::PyHostError;

/// Options of Airflow that user code must not learn: the database, and the keys of tokens and of encryption.
///
/// Source: `airflow/sdk/execution_time/supervisor.py::block_orm_access`, which hides the database only.
const SECRET_OPTIONS: &[&str] = &[
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC",
    "AIRFLOW__CORE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
];

/// Forms in which an option can be given.
const FORMS: &[&str] = &["", "_CMD", "_SECRET"];

/// How long children wait in reserve after the last one was asked for, unless told otherwise.
const RESERVE_FOR: Duration = Duration::from_secs(30);

/// How many forked children wait in reserve, so that starting one costs no fork.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Idle {
    /// For tasks.
    pub tasks: usize,
    /// For Dag files.
    pub dag_files: usize,
}

/// How to start `tradewind-pyhost`.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program.
    pub program: PathBuf,
    /// The interpreter of the virtual environment.
    pub python: PathBuf,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Children in reserve.
    pub idle: Idle,
    /// How long they wait after the last one was asked for: an idle machine gets their memory back.
    pub reserve_for: Duration,
    /// What is kept for as long as pyhost may run.
    pub kept: Option<Kept>,
}

/// Something that stays while pyhost or a child of it runs, such as a lock on its packages.
#[derive(Clone)]
pub struct Kept(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Kept")
    }
}

impl Options {
    /// From the configuration and this process: its environment without secrets, the program beside this one, the
    /// virtual environment `.venv` beside the program or above it.
    ///
    /// # Errors
    /// The program or the interpreter is missing.
    pub fn from_config(config: &Config) -> Result<Self, PyHostError> {
        let own =
            std::env::current_exe().map_err(|source| PyHostError::System { action: "finding this program", source })?;
        let program = match config.optional("tradewind", "pyhost_path")? {
            Some(path) => PathBuf::from(path),
            None => beside(&own),
        };
        if !program.is_file() {
            let hint = "build it with `cargo build -p tradewind-pyhost`, or set [tradewind] pyhost_path";
            return Err(PyHostError::Missing { what: "tradewind-pyhost", path: program, hint });
        }
        let environment = match config.optional("tradewind", "venv")? {
            Some(path) => PathBuf::from(path),
            None => nearest_venv(&own).unwrap_or_else(|| PathBuf::from(".venv")),
        };
        let python = environment.join("bin/python");
        if !python.is_file() {
            let hint = "make the virtual environment with Airflow in it (`make .venv`), or set [tradewind] venv";
            return Err(PyHostError::Missing {
                what: "the interpreter of the virtual environment",
                path: python,
                hint,
            });
        }
        let environment = without_secrets(std::env::vars_os());
        Ok(Self { program, python, environment, idle: Idle::default(), reserve_for: RESERVE_FOR, kept: None })
    }

    /// The same with children in reserve.
    #[must_use]
    pub fn with_idle(mut self, idle: Idle) -> Self {
        self.idle = idle;
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }

    /// The same with a variable set.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let name = name.into();
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.into()));
        self
    }
}

/// Beside the program, or (programs of tests lie in a folder of their own) beside its folder.
fn beside(own: &Path) -> PathBuf {
    let folders = own.ancestors().skip(1).take(2);
    let candidates: Vec<PathBuf> = folders.map(|folder| folder.join("tradewind-pyhost")).collect();
    candidates.iter().find(|path| path.is_file()).or(candidates.first()).cloned().unwrap_or_default()
}

fn nearest_venv(own: &Path) -> Option<PathBuf> {
    if let Some(active) = std::env::var_os("VIRTUAL_ENV") {
        return Some(PathBuf::from(active));
    }
    own.ancestors().skip(1).map(|folder| folder.join(".venv")).find(|environment| environment.is_dir())
}

/// The variables without those that hold secrets, so that no task can read them.
fn without_secrets(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    variables.filter(|(name, _)| !name.to_str().is_some_and(is_secret)).collect()
}

fn is_secret(name: &str) -> bool {
    SECRET_OPTIONS.iter().any(|option| name.strip_prefix(option).is_some_and(|form| FORMS.contains(&form)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_behind() {
        let names = [
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD",
            "AIRFLOW__API_AUTH__JWT_SECRET_SECRET",
            "AIRFLOW__CORE__FERNET_KEY",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE",
            "AIRFLOW_CONN_MY_DB",
            "PATH",
        ];
        let variables = names.iter().map(|name| (OsString::from(name), OsString::new()));
        let left: Vec<OsString> = without_secrets(variables).into_iter().map(|(name, _)| name).collect();
        assert_eq!(left, ["AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE", "AIRFLOW_CONN_MY_DB", "PATH"]);
    }
}
