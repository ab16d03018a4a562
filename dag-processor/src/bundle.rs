//! The Dag bundles of `[dag_processor] dag_bundle_config_list`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use tradewind_airflow::config::{Config, ConfigError};

const LOCAL_DAG_BUNDLE: &str = "airflow.dag_processing.bundles.local.LocalDagBundle";

/// The name under which Airflow keeps its own example Dags.
const EXAMPLE_DAGS: &str = "example_dags";

/// A folder with Dags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DagBundle {
    /// `dag_bundle.name`.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// How often the folder is searched for files.
    pub refresh_interval: Duration,
}

/// Reads the configured bundles; `airflow` is the folder of the installed package, whose example Dags are a bundle too
/// with `[core] load_examples`.
///
/// # Errors
/// When the list is not what Airflow accepts, or names a bundle that is not a local folder.
pub fn configured(config: &Config, airflow: Option<&Path>) -> Result<Vec<DagBundle>, ConfigError> {
    let invalid = |expected: String| config.invalid("dag_processor", "dag_bundle_config_list", expected);
    let text = config.string("dag_processor", "dag_bundle_config_list")?;
    let list: Vec<Value> = serde_json::from_str(&text)
        .map_err(|error| invalid(format!("a JSON list of objects with name, classpath and kwargs ({error})")))?;
    let default = Defaults {
        dags_folder: config.string("core", "dags_folder")?,
        refresh_interval: config.seconds("dag_processor", "refresh_interval")?,
        multi_team: config.bool("core", "multi_team")?,
    };
    let mut bundles: Vec<DagBundle> = Vec::new();
    for item in &list {
        let bundle = default.bundle(item).map_err(invalid)?;
        if bundles.iter().any(|other| other.name == bundle.name) {
            return Err(invalid(format!("a list in which every name appears once, not `{}` twice", bundle.name)));
        }
        bundles.push(bundle);
    }
    if config.bool("core", "load_examples")? {
        match airflow {
            Some(airflow) => bundles.extend(example_bundles(airflow, default.refresh_interval)),
            None => tracing::warn!("[core] load_examples is on, but the installed Airflow was not found"),
        }
    }
    Ok(bundles)
}

struct Defaults {
    dags_folder: String,
    refresh_interval: Duration,
    multi_team: bool,
}

impl Defaults {
    /// Reads one item of the list; the error says what would be right.
    fn bundle(&self, item: &Value) -> Result<DagBundle, String> {
        let field = |name: &str| item.get(name).and_then(Value::as_str);
        let name = field("name").ok_or_else(|| format!("a list of objects that have a name, unlike {item}"))?;
        if name == EXAMPLE_DAGS {
            return Err(format!(
                "a list without the name `{EXAMPLE_DAGS}`, which is reserved ([core] load_examples brings the examples)"
            ));
        }
        let classpath = field("classpath").ok_or_else(|| format!("a list in which bundle `{name}` has a classpath"))?;
        if classpath != LOCAL_DAG_BUNDLE {
            return Err(format!(
                "a list of local folders: bundle `{name}` is a {classpath}, Tradewind supports {LOCAL_DAG_BUNDLE} only"
            ));
        }
        if item.get("team_name").is_some_and(|team| !team.is_null()) {
            return Err(if self.multi_team {
                format!("a list without teams: bundle `{name}` has one, Tradewind does not support them yet")
            } else {
                format!("a list without teams while [core] multi_team is off: bundle `{name}` has one")
            });
        }
        let none = Map::new();
        let kwargs = match item.get("kwargs") {
            Some(Value::Object(kwargs)) => kwargs,
            None => &none,
            Some(_) => return Err(format!("a list in which the kwargs of bundle `{name}` are an object")),
        };
        self.local(name, kwargs)
    }

    fn local(&self, name: &str, kwargs: &Map<String, Value>) -> Result<DagBundle, String> {
        let mut path = self.dags_folder.as_str();
        let mut refresh_interval = self.refresh_interval;
        for (key, value) in kwargs {
            match (key.as_str(), value) {
                ("path", Value::String(folder)) => path = folder,
                ("path" | "version" | "view_url_template", Value::Null) => {}
                ("refresh_interval", Value::Number(seconds)) => {
                    refresh_interval =
                        seconds.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(
                            || format!("a list in which refresh_interval of bundle `{name}` is at least 0"),
                        )?;
                }
                _ => {
                    return Err(format!(
                        "a list in which bundle `{name}` has the kwargs path (text) and refresh_interval (seconds) \
                         only, not {key} = {value}"
                    ));
                }
            }
        }
        let path = expand_home(path);
        let path = std::path::absolute(&path).unwrap_or(path);
        Ok(DagBundle { name: name.to_owned(), path, refresh_interval })
    }
}

fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// The example Dags of Airflow and of the installed providers, as Airflow names their bundles.
fn example_bundles(airflow: &Path, refresh_interval: Duration) -> Vec<DagBundle> {
    let bundle = |name: String, path: PathBuf| DagBundle { name, path, refresh_interval };
    let mut bundles = vec![bundle(EXAMPLE_DAGS.to_owned(), airflow.join(EXAMPLE_DAGS))];
    let mut providers = Vec::new();
    for folder in subfolders(&airflow.join("providers")) {
        let nested = subfolders(&folder).into_iter().filter(|inner| !inner.ends_with(EXAMPLE_DAGS));
        providers.extend(nested.chain([folder]).filter(|provider| provider.join(EXAMPLE_DAGS).is_dir()));
    }
    providers.sort();
    for provider in providers {
        let name = provider.strip_prefix(airflow.join("providers")).unwrap_or(&provider).to_string_lossy();
        let package = name.replace(['/', '_'], "-");
        bundles.push(bundle(format!("apache-airflow-providers-{package}-example-dags"), provider.join(EXAMPLE_DAGS)));
    }
    bundles
}

/// The folder of the package `airflow` that the interpreter `python` of a virtual environment imports.
#[must_use]
pub fn airflow_folder(python: &Path) -> Option<PathBuf> {
    let lib = python.parent()?.parent()?.join("lib");
    let mut found = subfolders(&lib).into_iter().map(|version| version.join("site-packages/airflow"));
    found.find(|folder| folder.is_dir())
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use tradewind_airflow::config::Environment;

    use super::*;

    fn read(list: &str) -> Result<Vec<DagBundle>, String> {
        let environment = Environment::default()
            .with("AIRFLOW_HOME", "/nowhere")
            .with("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
            .with("AIRFLOW__CORE__DAGS_FOLDER", "/dags")
            .with("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", list);
        let config = Config::from_environment(&environment).map_err(|error| error.to_string())?;
        configured(&config, None).map_err(|error| error.to_string())
    }

    #[test]
    fn local_folders_are_read() {
        let class = LOCAL_DAG_BUNDLE;
        let bundles = read(&format!(
            r#"[{{"name": "one", "classpath": "{class}", "kwargs": {{}}}},
                {{"name": "two", "classpath": "{class}", "kwargs": {{"path": "/two", "refresh_interval": 7}}}}]"#
        ));
        let bundle = |name: &str, path: &str, seconds| DagBundle {
            name: name.to_owned(),
            path: path.into(),
            refresh_interval: Duration::from_secs(seconds),
        };
        assert_eq!(bundles, Ok(vec![bundle("one", "/dags", 300), bundle("two", "/two", 7)]));
    }

    #[test]
    fn what_is_not_supported_is_said() {
        let local = |rest: &str| format!(r#"[{{"name": "x", "classpath": "{LOCAL_DAG_BUNDLE}", {rest}}}]"#);
        for (list, words) in [
            ("{}".to_owned(), "JSON list"),
            (r#"[{"classpath": "a.b"}]"#.to_owned(), "have a name"),
            (
                r#"[{"name": "g", "classpath": "airflow.providers.git.bundles.git.GitDagBundle"}]"#.to_owned(),
                LOCAL_DAG_BUNDLE,
            ),
            (local(r#""kwargs": {"subdir": "x"}"#), "subdir"),
            (local(r#""kwargs": {}, "team_name": "t""#), "multi_team"),
            (local(r#""kwargs": []"#), "object"),
            (format!("{},{}", local(r#""kwargs": {}"#).trim_end_matches(']'), &local(r#""kwargs": {}"#)[1..]), "twice"),
        ] {
            let error = read(&list).expect_err(&list);
            assert!(error.contains(words) && error.contains("dag_bundle_config_list"), "{error}");
        }
    }
}
