//! Where values come from: the environment, commands, secrets, the file.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use configparser::ini::Ini;

use super::{ConfigError, ConfigOption, LookUp, Origin, Value};

/// A value that no option of the tables describes.
#[derive(Debug, Clone)]
pub(super) struct Undescribed {
    /// The section, in lower case when it comes from the environment.
    pub(super) section: String,
    /// The key within the section.
    pub(super) key: String,
    /// The value.
    pub(super) text: String,
    /// The file or the environment.
    pub(super) origin: Origin,
}

/// The environment variables that the configuration is read from.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The variables of this process; those that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        }
    }

    /// The same environment with one variable set.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// `AIRFLOW_HOME`, default `~/airflow`.
    pub(super) fn airflow_home(&self) -> PathBuf {
        let home = self.get("AIRFLOW_HOME").filter(|home| !home.is_empty()).unwrap_or("~/airflow");
        PathBuf::from(self.expand(home))
    }

    /// `AIRFLOW_CONFIG`, default `airflow.cfg` in the home folder.
    pub(super) fn airflow_config(&self, home: &Path) -> PathBuf {
        match self.get("AIRFLOW_CONFIG").filter(|path| !path.is_empty()) {
            Some(path) => PathBuf::from(self.expand(path)),
            None => home.join("airflow.cfg"),
        }
    }

    /// Replaces `$NAME`, `${NAME}` and a leading `~`, as Airflow's `expand_env_var` does; unknown names stay.
    fn expand(&self, text: &str) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        if let (Some(tail), Some(home)) = (text.strip_prefix('~'), self.get("HOME"))
            && (tail.is_empty() || tail.starts_with('/'))
        {
            expanded.push_str(home);
            rest = tail;
        }
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let (name, tail) = match after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
                Some(braced) => braced,
                None => {
                    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                    after.split_at(end)
                }
            };
            let reference = &rest[at..rest.len() - tail.len()];
            expanded.push_str(self.get(name).unwrap_or(reference));
            rest = tail;
        }
        expanded.push_str(rest);
        expanded
    }
}

/// Reads `airflow.cfg`; a file that does not exist is an empty one.
pub(super) fn read_file(path: &Path) -> Result<Ini, ConfigError> {
    let mut ini = Ini::new();
    ini.set_comment_symbols(&['#', ';']);
    ini.set_inline_comment_symbols(Some(&[]));
    ini.set_multiline(true);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ini),
        Err(error) => return Err(ConfigError::File { path: path.to_owned(), detail: error.to_string() }),
    };
    ini.read(text).map_err(|detail| ConfigError::File { path: path.to_owned(), detail })?;
    Ok(ini)
}

/// What file and environment say beyond the options described; the environment, which counts more, comes last.
pub(super) fn undescribed(
    environment: &Environment,
    file: &Ini,
    described: &HashSet<(&str, &str)>,
) -> Vec<Undescribed> {
    let mut found = Vec::new();
    let mut add = |section: String, key: String, text: &str, origin| {
        if !described.contains(&(section.as_str(), key.as_str())) {
            found.push(Undescribed { section, key, text: environment.expand(text), origin });
        }
    };
    for (section, values) in file.get_map_ref() {
        for (key, text) in values {
            let text = text.as_deref().unwrap_or_default().replace("%%", "%");
            add(section.clone(), key.clone(), &text, Origin::File);
        }
    }
    for (name, text) in &environment.variables {
        let option = name.strip_prefix("AIRFLOW__").and_then(|name| name.split_once("__"));
        if let Some((section, key)) = option {
            add(section.to_ascii_lowercase(), key.to_ascii_lowercase(), text, Origin::Environment);
        }
    }
    found
}

/// What values come from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) environment: &'a Environment,
    pub(super) file: &'a Ini,
    pub(super) home: &'a Path,
    pub(super) look_up: LookUp<'a>,
}

/// The value of one option by Airflow's order of precedence.
pub(super) fn resolve(option: &'static ConfigOption, sources: Sources<'_>) -> Result<Value, ConfigError> {
    let (text, origin) = find(option, sources)?;
    Ok(Value { option, text, origin })
}

fn find(option: &'static ConfigOption, sources: Sources<'_>) -> Result<(Option<String>, Origin), ConfigError> {
    let Sources { environment, file, home, .. } = sources;
    let variable =
        format!("AIRFLOW__{}__{}", option.section.to_uppercase().replace('.', "_"), option.key.to_uppercase());
    if let Some(text) = environment.get(&variable) {
        return Ok((Some(environment.expand(text)), Origin::Environment));
    }
    if option.sensitive {
        if let Some(command) = environment.get(&format!("{variable}_CMD")) {
            return Ok((Some(run(option, command)?), Origin::Command));
        }
        if let Some(secret) = environment.get(&format!("{variable}_SECRET")) {
            return Ok((Some(look_up_secret(option, sources, secret)?), Origin::Secret));
        }
    }
    let in_file = |key: &str| file.get(option.section, key).map(|text| environment.expand(&text.replace("%%", "%")));
    if let Some(text) = in_file(option.key) {
        return Ok((Some(text), Origin::File));
    }
    if option.sensitive {
        if let Some(command) = in_file(&format!("{}_cmd", option.key)) {
            return Ok((Some(run(option, &command)?), Origin::Command));
        }
        if let Some(secret) = in_file(&format!("{}_secret", option.key)) {
            return Ok((Some(look_up_secret(option, sources, &secret)?), Origin::Secret));
        }
    }
    let default = option.default.map(|text| text.replace("{AIRFLOW_HOME}", &home.to_string_lossy()));
    Ok((default, Origin::Default))
}

/// Runs the command of a `_CMD` form without a shell, as Airflow does, and takes what it prints, trimmed.
fn run(option: &ConfigOption, command: &str) -> Result<String, ConfigError> {
    let failed = |detail: String| ConfigError::Source {
        section: option.section,
        key: option.key,
        detail: format!("the command that gives its value failed: {detail}\nhint: run {command:?} by hand"),
    };
    let words = shlex::split(command).ok_or_else(|| failed("unbalanced quotes".to_owned()))?;
    let (program, arguments) = words.split_first().ok_or_else(|| failed("it is empty".to_owned()))?;
    let output = Command::new(program).args(arguments).output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())));
    }
    String::from_utf8(output.stdout)
        .map(|text| text.trim().to_owned())
        .map_err(|_| failed("its output is not UTF-8".to_owned()))
}

/// Looks a `_SECRET` form up in the configured secrets backend.
///
/// Of the backends that Airflow brings for this, `LocalFilesystemBackend`, which is a plain file, is read here; others are left to
/// who knows them.
fn look_up_secret(option: &ConfigOption, sources: Sources<'_>, name: &str) -> Result<String, ConfigError> {
    let failed = |detail: String| ConfigError::Source { section: option.section, key: option.key, detail };
    let setting = |key: &str| {
        let variable = sources.environment.get(&format!("AIRFLOW__SECRETS__{}", key.to_uppercase()));
        variable.map(str::to_owned).or_else(|| sources.file.get("secrets", key)).unwrap_or_default()
    };
    let backend = setting("backend");
    if !backend.ends_with(".LocalFilesystemBackend") {
        return match (sources.look_up)(&backend, &setting("backend_kwargs"), name) {
            Some(found) => found.map_err(|error| failed(format!("its _SECRET form names {name:?}: {error}"))),
            None => Err(failed(format!(
                "its _SECRET form names {name:?}, but the secrets backend {backend:?} cannot be read here\nhint: use the \
                 _CMD form, or [secrets] backend = airflow.secrets.local_filesystem.LocalFilesystemBackend"
            ))),
        };
    }
    let arguments: serde_json::Value = serde_json::from_str(&setting("backend_kwargs"))
        .map_err(|error| failed(format!("[secrets] backend_kwargs is not JSON: {error}")))?;
    let path = arguments["configs_file_path"]
        .as_str()
        .ok_or_else(|| failed("[secrets] backend_kwargs has no configs_file_path".to_owned()))?;
    let text = std::fs::read_to_string(path).map_err(|error| failed(format!("cannot read {path}: {error}")))?;
    let secrets: BTreeMap<String, String> = if path.ends_with(".json") {
        serde_json::from_str(&text).map_err(|error| failed(format!("{path} is not a JSON object of texts: {error}")))?
    } else {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect()
    };
    secrets.get(name).cloned().ok_or_else(|| failed(format!("{path} has no secret {name:?}")))
}
