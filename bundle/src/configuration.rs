//! The Dag bundles of the configuration: `[dag_processor] dag_bundle_config_list`, or `[tradewind] source_bucket_arn`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tradewind_airflow::config::{Config, ConfigError, Origin};

const LOCAL_DAG_BUNDLE: &str = "airflow.dag_processing.bundles.local.LocalDagBundle";
const S3_DAG_BUNDLE: &str = "airflow.providers.amazon.aws.bundles.s3.S3DagBundle";

/// The class that stands for an S3 bundle in processes that run user code; `tradewind-pyhost` brings it along.
const SNAPSHOT_BUNDLE: &str = "tradewind_bundle.SnapshotBundle";

/// The connection that Airflow's AWS hooks take unless told otherwise; without it they do as the SDK does.
const DEFAULT_CONNECTION: &str = "aws_default";

/// The name under which Airflow keeps its own example Dags.
const EXAMPLE_DAGS: &str = "example_dags";

/// The name of the bundle that an Airflow without a list of bundles has. Its Dags keep their history when they move to S3.
pub const DEFAULT_BUNDLE: &str = "dags-folder";

/// A place that Dags come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DagBundle {
    /// `dag_bundle.name`.
    pub name: String,
    /// Where its files are.
    pub place: Place,
    /// How often it is looked whether they have changed.
    pub refresh_interval: Duration,
}

/// Where the files of a bundle are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// In a bucket.
    S3(S3Place),
}

/// A part of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Place {
    /// The bucket's name.
    pub bucket: String,
    /// What the keys start with: nothing, or a path with a slash at its end.
    pub prefix: String,
}

impl S3Place {
    fn new(bucket: &str, path: &str) -> Self {
        let path = path.trim_matches('/');
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        Self { bucket: bucket.to_owned(), prefix }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }
}

/// Reads the configured bundles; `airflow` is the folder of the installed package, whose example Dags are a bundle too
/// with `[core] load_examples`.
///
/// # Errors
/// When the list is not what Airflow accepts, or names a bundle that is neither a local folder nor in S3.
pub fn configured(config: &Config, airflow: Option<&Path>) -> Result<Vec<DagBundle>, ConfigError> {
    let mut bundles = declared(config)?;
    if config.bool("core", "load_examples")? {
        match airflow {
            Some(airflow) => {
                bundles.extend(example_bundles(airflow, config.seconds("dag_processor", "refresh_interval")?));
            }
            None => tracing::warn!("[core] load_examples is on, but the installed Airflow was not found"),
        }
    }
    Ok(bundles)
}

/// The bundles without examples.
///
/// # Errors
/// As [`configured`].
pub fn declared(config: &Config) -> Result<Vec<DagBundle>, ConfigError> {
    let default = Defaults {
        dags_folder: config.string("core", "dags_folder")?,
        refresh_interval: config.seconds("dag_processor", "refresh_interval")?,
        s3_refresh_interval: config.seconds("tradewind", "s3_refresh_interval")?,
        multi_team: config.bool("core", "multi_team")?,
    };
    let Some(place) = source_bucket(config)? else { return listed(config, &default) };
    let refresh_interval = default.s3_refresh_interval;
    Ok(vec![DagBundle { name: DEFAULT_BUNDLE.to_owned(), place: Place::S3(place), refresh_interval }])
}

/// The variables by which a process that runs user code finds the snapshots of bundles in S3 where it would look for the bucket;
/// none when there are no such bundles.
///
/// # Errors
/// When the bundles cannot be read.
pub fn child_variables(config: &Config) -> Result<Vec<(&'static str, String)>, ConfigError> {
    let bundles = declared(config)?;
    if !bundles.iter().any(|bundle| matches!(bundle.place, Place::S3(_))) {
        return Ok(Vec::new());
    }
    let list: Vec<Value> = bundles
        .iter()
        .map(|DagBundle { name, place, .. }| match place {
            Place::Folder(path) => json!({"name": name, "classpath": LOCAL_DAG_BUNDLE, "kwargs": {"path": path}}),
            Place::S3(_) => json!({"name": name, "classpath": SNAPSHOT_BUNDLE, "kwargs": {}}),
        })
        .collect();
    Ok(vec![
        ("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", Value::from(list).to_string()),
        ("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", storage(config)?.to_string_lossy().into_owned()),
    ])
}

/// The folder of all snapshots: `[dag_processor] dag_bundle_storage_path`, in the home folder unless it is set.
///
/// # Errors
/// Never, for a whole configuration.
pub fn storage(config: &Config) -> Result<PathBuf, ConfigError> {
    let configured = config.optional("dag_processor", "dag_bundle_storage_path")?;
    Ok(configured.map_or_else(|| config.home().join("dag_bundles"), PathBuf::from))
}

/// `[tradewind] source_bucket_arn` and `dag_s3_path`, which Amazon MWAA calls `SourceBucketArn` and `DagS3Path`.
///
/// # Errors
/// When the ARN is not one of a bucket, or stands beside a list of bundles.
pub fn source_bucket(config: &Config) -> Result<Option<S3Place>, ConfigError> {
    let Some(arn) = config.optional("tradewind", "source_bucket_arn")? else { return Ok(None) };
    let bucket = arn.strip_prefix("arn:").and_then(|rest| rest.split_once(":s3:::")).map(|(_, bucket)| bucket);
    let bucket = bucket.filter(|bucket| !bucket.is_empty() && !bucket.contains('/')).ok_or_else(|| {
        config.invalid("tradewind", "source_bucket_arn", "the ARN of a bucket, such as arn:aws:s3:::my-bucket")
    })?;
    if config.value("dag_processor", "dag_bundle_config_list")?.origin != Origin::Default {
        let expected = "left out where [dag_processor] dag_bundle_config_list says where Dags come from";
        return Err(config.invalid("tradewind", "source_bucket_arn", expected));
    }
    Ok(Some(S3Place::new(bucket, &config.string("tradewind", "dag_s3_path")?)))
}

fn listed(config: &Config, default: &Defaults) -> Result<Vec<DagBundle>, ConfigError> {
    let invalid = |expected: String| config.invalid("dag_processor", "dag_bundle_config_list", expected);
    let text = config.string("dag_processor", "dag_bundle_config_list")?;
    let list: Vec<Value> = serde_json::from_str(&text)
        .map_err(|error| invalid(format!("a JSON list of objects with name, classpath and kwargs ({error})")))?;
    let mut bundles: Vec<DagBundle> = Vec::new();
    for item in &list {
        let bundle = default.bundle(item).map_err(invalid)?;
        if bundles.iter().any(|other| other.name == bundle.name) {
            return Err(invalid(format!("a list in which every name appears once, not `{}` twice", bundle.name)));
        }
        bundles.push(bundle);
    }
    Ok(bundles)
}

struct Defaults {
    dags_folder: String,
    refresh_interval: Duration,
    s3_refresh_interval: Duration,
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
        if classpath != LOCAL_DAG_BUNDLE && classpath != S3_DAG_BUNDLE {
            return Err(format!(
                "a list of local folders and S3 buckets: bundle `{name}` is a {classpath}, Tradewind supports \
                 {LOCAL_DAG_BUNDLE} and {S3_DAG_BUNDLE} only"
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
        if classpath == S3_DAG_BUNDLE { self.s3(name, kwargs) } else { self.local(name, kwargs) }
    }

    fn local(&self, name: &str, kwargs: &Map<String, Value>) -> Result<DagBundle, String> {
        let mut path = self.dags_folder.as_str();
        let mut refresh_interval = self.refresh_interval;
        for (key, value) in kwargs {
            match (key.as_str(), value) {
                ("path", Value::String(folder)) => path = folder,
                ("path" | "version" | "view_url_template", Value::Null) => {}
                ("refresh_interval", Value::Number(_)) => refresh_interval = interval(name, value)?,
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
        Ok(DagBundle { name: name.to_owned(), place: Place::Folder(path), refresh_interval })
    }

    fn s3(&self, name: &str, kwargs: &Map<String, Value>) -> Result<DagBundle, String> {
        // It names a folder.
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(format!(
                "a list in which the name of bundle `{name}`, which is in S3, can be that of a folder"
            ));
        }
        let mut bucket = None;
        let mut prefix = "";
        let mut refresh_interval = self.s3_refresh_interval;
        for (key, value) in kwargs {
            match (key.as_str(), value) {
                ("bucket_name", Value::String(name)) if !name.is_empty() => bucket = Some(name),
                ("prefix", Value::String(path)) => prefix = path,
                ("aws_conn_id", Value::String(connection)) if connection == DEFAULT_CONNECTION => {}
                ("prefix" | "aws_conn_id" | "version" | "view_url_template", Value::Null) => {}
                ("refresh_interval", Value::Number(_)) => refresh_interval = interval(name, value)?,
                ("aws_conn_id", _) => {
                    return Err(format!(
                        "a list in which bundle `{name}` has no aws_conn_id other than {DEFAULT_CONNECTION}: credentials \
                         come from the environment of the processes, as for any program that uses AWS's SDK"
                    ));
                }
                _ => {
                    return Err(format!(
                        "a list in which bundle `{name}` has the kwargs bucket_name, prefix (texts) and refresh_interval \
                         (seconds) only, not {key} = {value}"
                    ));
                }
            }
        }
        let bucket = bucket.ok_or_else(|| format!("a list in which bundle `{name}` has a bucket_name"))?;
        Ok(DagBundle { name: name.to_owned(), place: Place::S3(S3Place::new(bucket, prefix)), refresh_interval })
    }
}

fn interval(bundle: &str, seconds: &Value) -> Result<Duration, String> {
    let interval = seconds.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    interval.ok_or_else(|| format!("a list in which refresh_interval of bundle `{bundle}` is at least 0"))
}

fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

/// The example Dags of Airflow and of the installed providers, as Airflow names their bundles.
fn example_bundles(airflow: &Path, refresh_interval: Duration) -> Vec<DagBundle> {
    let bundle = |name: String, path: PathBuf| DagBundle { name, place: Place::Folder(path), refresh_interval };
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

    fn environment() -> Environment {
        Environment::default()
            .with("AIRFLOW_HOME", "/nowhere")
            .with("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
            .with("AIRFLOW__CORE__DAGS_FOLDER", "/dags")
    }

    fn config(environment: &Environment) -> Config {
        Config::from_environment(environment).expect("a configuration")
    }

    fn read(list: &str) -> Result<Vec<DagBundle>, String> {
        let environment = environment().with("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", list);
        configured(&config(&environment), None).map_err(|error| error.to_string())
    }

    fn in_s3(name: &str, bucket: &str, prefix: &str, seconds: u64) -> DagBundle {
        let place = Place::S3(S3Place { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        DagBundle { name: name.to_owned(), place, refresh_interval: Duration::from_secs(seconds) }
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
            place: Place::Folder(path.into()),
            refresh_interval: Duration::from_secs(seconds),
        };
        assert_eq!(bundles, Ok(vec![bundle("one", "/dags", 300), bundle("two", "/two", 7)]));
    }

    #[test]
    fn buckets_are_read() {
        let class = S3_DAG_BUNDLE;
        let bundles = read(&format!(
            r#"[{{"name": "one", "classpath": "{class}", "kwargs": {{"bucket_name": "b"}}}},
                {{"name": "two", "classpath": "{class}", "kwargs":
                  {{"bucket_name": "b", "prefix": "/a/dags", "aws_conn_id": "aws_default", "refresh_interval": 60}}}}]"#
        ));
        assert_eq!(bundles, Ok(vec![in_s3("one", "b", "", 5), in_s3("two", "b", "a/dags/", 60)]));
    }

    #[test]
    fn a_source_bucket_takes_the_place_of_the_folder() {
        let environment = environment().with("AIRFLOW__TRADEWIND__SOURCE_BUCKET_ARN", "arn:aws-cn:s3:::my-bucket");
        let bundles = configured(&config(&environment), None).expect("bundles");
        assert_eq!(bundles, [in_s3("dags-folder", "my-bucket", "dags/", 5)]);
        let children = child_variables(&config(&environment)).expect("variables");
        let list = r#"[{"name":"dags-folder","classpath":"tradewind_bundle.SnapshotBundle","kwargs":{}}]"#;
        let [(_, children_list), (_, children_storage)] = &children[..] else { panic!("{children:?}") };
        assert_eq!((children_list.as_str(), children_storage.as_str()), (list, "/nowhere/dag_bundles"));

        let both = environment.with("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", "[]");
        let error = configured(&config(&both), None).expect_err("both are set");
        assert!(error.to_string().contains("left out"), "{error}");
        let no_arn = self::environment().with("AIRFLOW__TRADEWIND__SOURCE_BUCKET_ARN", "my-bucket");
        let error = configured(&config(&no_arn), None).expect_err("no ARN");
        assert!(error.to_string().contains("arn:aws:s3:::my-bucket"), "{error}");
    }

    #[test]
    fn children_of_local_bundles_read_the_configuration_itself() {
        assert_eq!(child_variables(&config(&environment())).expect("variables"), []);
    }

    #[test]
    fn what_is_not_supported_is_said() {
        let local = |rest: &str| format!(r#"[{{"name": "x", "classpath": "{LOCAL_DAG_BUNDLE}", {rest}}}]"#);
        let s3 = |name: &str, kwargs: &str| {
            format!(r#"[{{"name": "{name}", "classpath": "{S3_DAG_BUNDLE}", "kwargs": {{{kwargs}}}}}]"#)
        };
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
            (s3("b", r#""prefix": "x""#), "bucket_name"),
            (s3("../b", r#""bucket_name": "x""#), "folder"),
            (s3("b", r#""bucket_name": "x", "aws_conn_id": "mine""#), "credentials"),
            (s3("b", r#""bucket_name": "x", "refresh_interval": -1"#), "at least 0"),
        ] {
            let error = read(&list).expect_err(&list);
            assert!(error.contains(words) && error.contains("dag_bundle_config_list"), "{error}");
        }
    }
}
