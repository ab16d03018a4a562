//! Airflow's configuration: `airflow.cfg`, `AIRFLOW__SECTION__KEY`, and the built-in defaults.
//!
//! Names, defaults and precedence are Airflow's (`airflow/_shared/configuration/parser.py`): the environment variable,
//! its `_CMD` and `_SECRET` forms, the file, the file's `_cmd` and `_secret` forms, the default. As in Airflow the
//! `_CMD` and `_SECRET` forms exist for sensitive options only.

mod exposed;
mod options;
mod sources;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use exposed::{Exposed, ProvidedOption, ProvidedSection, Sections};
pub use sources::Environment;

/// The release of Airflow whose contracts we keep.
pub const AIRFLOW_VERSION: &str = "3.3.2";

/// The type a value must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `True`/`False`, also `t`/`f`/`1`/`0`, in any case.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Float,
}

/// One option: its name, default and type.
#[derive(Debug, Clone, Copy)]
pub struct ConfigOption {
    /// The section of `airflow.cfg`.
    pub section: &'static str,
    /// The key within the section.
    pub key: &'static str,
    /// The built-in default; `{AIRFLOW_HOME}` stands for the home folder.
    pub default: Option<&'static str>,
    /// The type a value must have.
    pub kind: Kind,
    /// Whether the value is a secret: masked when shown, `_CMD` and `_SECRET` forms allowed.
    pub sensitive: bool,
}

const fn option(
    section: &'static str,
    key: &'static str,
    default: Option<&'static str>,
    kind: Kind,
    sensitive: bool,
) -> ConfigOption {
    ConfigOption { section, key, default, kind, sensitive }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `AIRFLOW__SECTION__KEY`.
    Environment,
    /// `AIRFLOW__SECTION__KEY_CMD` or `key_cmd`.
    Command,
    /// `AIRFLOW__SECTION__KEY_SECRET` or `key_secret`.
    Secret,
    /// `airflow.cfg`.
    File,
    /// Built in.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "env var",
            Self::Command => "cmd",
            Self::Secret => "secret",
            Self::File => "airflow.cfg",
            Self::Default => "default",
        })
    }
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file exists but cannot be read or parsed.
    #[error(
        "cannot read the configuration file {path}: {detail}\nhint: fix the file, or point AIRFLOW_CONFIG at another one"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        detail: String,
    },
    /// A value is not of its option's type.
    #[error("[{section}] {key} = {value:?} (from {origin}) is not {expected}\nhint: set AIRFLOW__{}__{} or the key in airflow.cfg to {expected}", section.to_uppercase(), key.to_uppercase())]
    Value {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// The value (masked when sensitive).
        value: String,
        /// Where it came from.
        origin: Origin,
        /// What would be right.
        expected: String,
    },
    /// A required option has no value.
    #[error("[{section}] {key} has no value\nhint: set AIRFLOW__{}__{} or the key in airflow.cfg", section.to_uppercase(), key.to_uppercase())]
    Missing {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
    /// The program asks for an option that the table does not have.
    #[error("[{section}] {key} is not an option of Airflow {AIRFLOW_VERSION} or Tradewind")]
    Unknown {
        /// The section.
        section: String,
        /// The key.
        key: String,
    },
    /// A `_CMD` or `_SECRET` form failed.
    #[error("[{section}] {key}: {detail}")]
    Source {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// What failed and how to mend it.
        detail: String,
    },
}

/// Looks an option up in a secrets backend: by the backend's class, its arguments (`[secrets] backend_kwargs`) and the name that
/// the `_SECRET` form of the option has. `None` where the class is not known, else the value, or why there is none.
pub type LookUp<'a> = &'a dyn Fn(&str, &str, &str) -> Option<Result<String, String>>;

/// A resolved value.
#[derive(Debug, Clone)]
pub struct Value {
    /// The option.
    pub option: &'static ConfigOption,
    /// Its value; `None` where Airflow's default is none.
    pub text: Option<String>,
    /// Where the value comes from.
    pub origin: Origin,
}

impl Value {
    /// The value as it may be shown: secrets masked.
    pub fn shown(&self) -> &str {
        match &self.text {
            Some(text) if self.option.sensitive && !text.is_empty() => "***",
            Some(text) => text,
            None => "",
        }
    }
}

/// The whole configuration, resolved and checked once.
#[derive(Debug, Clone)]
pub struct Config {
    home: PathBuf,
    file: PathBuf,
    values: HashMap<(&'static str, &'static str), Value>,
    /// What the tables do not know, in the order in which a later one replaces an earlier one.
    undescribed: Vec<sources::Undescribed>,
}

impl Config {
    /// Reads the configuration of this process: `AIRFLOW_HOME` (default `~/airflow`), `AIRFLOW_CONFIG` (default
    /// `airflow.cfg` in the home folder) and the environment.
    pub fn load() -> Result<Self, ConfigError> {
        Self::from_environment(&Environment::of_process())
    }

    /// Reads the configuration that an environment describes, and checks the type of every value.
    pub fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        Self::with_secrets(environment, &|_, _, _| None)
    }

    /// The same, looking `_SECRET` forms of options up in secrets backends that `look_up` knows.
    pub fn with_secrets(environment: &Environment, look_up: LookUp<'_>) -> Result<Self, ConfigError> {
        let home = environment.airflow_home();
        let file = environment.airflow_config(&home);
        let ini = sources::read_file(&file)?;
        let mut values = HashMap::new();
        for option in all_options() {
            let sources = sources::Sources { environment, file: &ini, home: &home, look_up };
            let value = sources::resolve(option, sources)?;
            check_kind(&value)?;
            values.insert((option.section, option.key), value);
        }
        let described: HashSet<(&str, &str)> = values.keys().copied().collect();
        let undescribed = sources::undescribed(environment, &ini, &described);
        let config = Self { home, file, values, undescribed };
        config.check_choices()?;
        Ok(config)
    }

    /// `AIRFLOW_HOME`.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The path of `airflow.cfg`, whether it exists or not.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Every option and its value, in the order of the tables; those that Airflow does not document or that a provider
    /// brings only when they are set.
    pub fn list(&self) -> impl Iterator<Item = &Value> {
        let value = |option: &ConfigOption| &self.values[&(option.section, option.key)];
        let documented = options::AIRFLOW.iter().chain(options::TRADEWIND).map(value);
        let others = options::CELERY.iter().chain(options::UNDOCUMENTED).map(value);
        documented.chain(others.filter(|value| value.origin != Origin::Default))
    }

    /// The resolved value with its origin.
    pub fn value(&self, section: &str, key: &str) -> Result<&Value, ConfigError> {
        self.values
            .iter()
            .find_map(|((s, k), value)| (*s == section && *k == key).then_some(value))
            .ok_or_else(|| ConfigError::Unknown { section: section.to_owned(), key: key.to_owned() })
    }

    /// The value as text; `None` when neither set nor defaulted.
    pub fn optional(&self, section: &str, key: &str) -> Result<Option<&str>, ConfigError> {
        Ok(self.value(section, key)?.text.as_deref().filter(|text| !text.is_empty()))
    }

    /// The value as text; empty text is a value.
    pub fn string(&self, section: &str, key: &str) -> Result<String, ConfigError> {
        let value = self.value(section, key)?;
        value.text.clone().ok_or(ConfigError::Missing { section: value.option.section, key: value.option.key })
    }

    /// The value as a truth value.
    pub fn bool(&self, section: &str, key: &str) -> Result<bool, ConfigError> {
        self.parsed(section, key, "True or False", parse_bool)
    }

    /// The value as a whole number.
    pub fn int(&self, section: &str, key: &str) -> Result<i64, ConfigError> {
        self.parsed(section, key, "a whole number", |text| text.parse().ok())
    }

    /// The value as a number.
    pub fn float(&self, section: &str, key: &str) -> Result<f64, ConfigError> {
        self.parsed(section, key, "a number", |text| text.parse().ok().filter(|number: &f64| number.is_finite()))
    }

    /// The value as a length of time, from a number of seconds.
    pub fn seconds(&self, section: &str, key: &str) -> Result<Duration, ConfigError> {
        self.parsed(section, key, "a number of seconds of at least 0", |text| {
            text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        })
    }

    /// The value as a list: comma-separated, blanks trimmed, empty items dropped.
    pub fn list_of(&self, section: &str, key: &str) -> Result<Vec<String>, ConfigError> {
        let text = self.optional(section, key)?.unwrap_or_default();
        Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    /// The error that says a value is of the right type but not one the program can use.
    pub fn invalid(&self, section: &str, key: &str, expected: impl Into<String>) -> ConfigError {
        match self.value(section, key) {
            Ok(value) => wrong_value(value, expected),
            Err(unknown) => unknown,
        }
    }

    fn parsed<T>(
        &self,
        section: &str,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let value = self.value(section, key)?;
        let Some(text) = &value.text else {
            return Err(ConfigError::Missing { section: value.option.section, key: value.option.key });
        };
        parse(without_comment(text)).ok_or_else(|| wrong_value(value, expected))
    }

    /// Values that must come from a fixed list, checked at start so that a typing error cannot hide.
    fn check_choices(&self) -> Result<(), ConfigError> {
        const CHOICES: &[(&str, &str, &[&str])] = &[
            ("api", "expose_config", &["True", "False", "non-sensitive-only", "t", "f", "1", "0"]),
            ("core", "dag_ignore_file_syntax", &["glob", "regexp"]),
            ("core", "default_task_weight_rule", &["downstream", "upstream", "absolute"]),
            ("dag_processor", "file_parsing_sort_mode", &["modified_time", "random_seeded_by_host", "alphabetical"]),
            ("core", "test_connection", &["Disabled", "Enabled", "Hidden"]),
            ("tradewind", "queue", &["postgres", "sqs"]),
            ("tradewind", "fleet_driver", &["process", "ecs", "docker"]),
            ("logging", "logging_level", &["CRITICAL", "FATAL", "ERROR", "WARN", "WARNING", "INFO", "DEBUG", "NOTSET"]),
        ];
        for (section, key, choices) in CHOICES {
            let value = self.value(section, key)?;
            let Some(text) = value.text.as_deref() else { continue };
            if !choices.iter().any(|choice| choice.eq_ignore_ascii_case(text)) {
                return Err(wrong_value(value, format!("one of {}", choices.join(", "))));
            }
        }
        Ok(())
    }
}

fn all_options() -> impl Iterator<Item = &'static ConfigOption> {
    options::AIRFLOW.iter().chain(options::CELERY).chain(options::TRADEWIND).chain(options::UNDOCUMENTED)
}

fn check_kind(value: &Value) -> Result<(), ConfigError> {
    let Some(text) = value.text.as_deref() else { return Ok(()) };
    if text.is_empty() && value.option.default.is_none_or(str::is_empty) {
        return Ok(());
    }
    let text = without_comment(text);
    let (fits, expected) = match value.option.kind {
        Kind::Text => (true, ""),
        Kind::Boolean => (parse_bool(text).is_some(), "True or False"),
        Kind::Integer => (text.parse::<i64>().is_ok(), "a whole number"),
        Kind::Float => (text.parse::<f64>().is_ok_and(f64::is_finite), "a number"),
    };
    if fits { Ok(()) } else { Err(wrong_value(value, expected)) }
}

fn wrong_value(value: &Value, expected: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        section: value.option.section,
        key: value.option.key,
        value: value.shown().to_owned(),
        origin: value.origin,
        expected: expected.into(),
    }
}

/// Airflow's typed getters drop what follows a `#`.
fn without_comment(text: &str) -> &str {
    text.split('#').next().unwrap_or_default().trim()
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "1" => Some(true),
        "f" | "false" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
