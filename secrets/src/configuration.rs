//! The backends of the configuration: `[secrets] backend` and `[workers] secrets_backend`, with their arguments.
//!
//! Source: `_get_custom_secret_backend` in `airflow/_shared/configuration/parser.py`.

use std::collections::BTreeMap;

use fancy_regex::Regex;
use serde_json::{Map, Value};
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_aws::Choices;

use crate::backend::{Kind, Names, Settings, Space};

const SECRETS_MANAGER: &str = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend";
const PARAMETER_STORE: &str =
    "airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend";

/// The class that asks the supervisor in place of a backend; `tradewind-pyhost` brings it along.
const SUPERVISOR_BACKEND: &str = "tradewind_secrets.SupervisorBackend";

/// Where a backend is configured.
#[derive(Debug, Clone, Copy)]
struct Place {
    section: &'static str,
    class: &'static str,
    arguments: &'static str,
    /// What variables for single arguments begin with.
    variable: &'static str,
}

const SERVER: Place = Place {
    section: "secrets",
    class: "backend",
    arguments: "backend_kwargs",
    variable: "AIRFLOW__SECRETS__BACKEND_KWARG__",
};

const WORKERS: Place = Place {
    section: "workers",
    class: "secrets_backend",
    arguments: "secrets_backend_kwargs",
    variable: "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARG__",
};

/// The backends of workers and of the API server that are asked here. Those of other classes are asked by the tasks
/// themselves, and for the API server by Python.
pub(crate) fn backends(
    config: &Config,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<[Option<Settings>; 2], ConfigError> {
    let variables: BTreeMap<String, String> = variables.filter(|(name, _)| name.contains("_KWARG__")).collect();
    let server = settings(config, SERVER, &variables)?;
    let workers = match config.optional(WORKERS.section, WORKERS.class)? {
        Some(_) => settings(config, WORKERS, &variables)?,
        None => server.clone(),
    };
    Ok([workers, server])
}

/// What children must be told otherwise where a backend is asked here: that the supervisor is to be asked. They then need no
/// credentials, and learn no arguments.
///
/// # Errors
/// An option has a value that cannot be used.
pub fn child_variables(config: &Config) -> Result<Vec<(&'static str, String)>, ConfigError> {
    let [workers, server] = backends(config, std::iter::empty())?;
    let mut variables = Vec::new();
    if workers.is_some() {
        variables.push(("AIRFLOW__WORKERS__SECRETS_BACKEND", SUPERVISOR_BACKEND.to_owned()));
        variables.push(("AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS", "{}".to_owned()));
    }
    if server.is_some() {
        variables.push(("AIRFLOW__SECRETS__BACKEND", String::new()));
        variables.push(("AIRFLOW__SECRETS__BACKEND_KWARGS", "{}".to_owned()));
    }
    Ok(variables)
}

/// The class of `[secrets] backend`, where it is one that only Python knows.
///
/// # Errors
/// The option cannot be read.
pub fn class_for_python(config: &Config) -> Result<Option<String>, ConfigError> {
    let class = config.optional(SERVER.section, SERVER.class)?;
    Ok(class.filter(|class| kind(class).is_none()).map(str::to_owned))
}

/// A masker of what is secret among the arguments of `[secrets] backend`.
///
/// # Errors
/// An option has a value that cannot be used.
pub fn masked_arguments(config: &Config) -> Result<SecretsMasker, ConfigError> {
    let masker = SecretsMasker::from_config(config)?;
    if let Some(arguments) = config.optional(SERVER.section, SERVER.arguments)? {
        // What is no JSON has no arguments, as in Airflow.
        masker.add(&serde_json::from_str(arguments).unwrap_or_default(), None);
    }
    for (name, value) in crate::variables() {
        if let Some(name) = name.strip_prefix(SERVER.variable) {
            masker.add(&Value::String(value), Some(name));
        }
    }
    Ok(masker)
}

fn kind(class: &str) -> Option<Kind> {
    match class {
        SECRETS_MANAGER => Some(Kind::SecretsManager),
        PARAMETER_STORE => Some(Kind::ParameterStore),
        _ => None,
    }
}

/// The backend of a class with these arguments; `None` where it is not one that is asked here.
///
/// # Errors
/// The arguments cannot be used; what would be right.
pub(crate) fn backend(class: &str, arguments: &str) -> Option<Result<Settings, String>> {
    let kind = kind(class)?;
    let arguments = if arguments.is_empty() { "{}" } else { arguments };
    let arguments = serde_json::from_str(arguments).map_err(|error| format!("a JSON object ({error})"));
    Some(arguments.and_then(|arguments| read(kind, &arguments)))
}

fn settings(
    config: &Config,
    place: Place,
    variables: &BTreeMap<String, String>,
) -> Result<Option<Settings>, ConfigError> {
    let Some(kind) = config.optional(place.section, place.class)?.and_then(kind) else { return Ok(None) };
    let invalid = |expected: String| config.invalid(place.section, place.arguments, expected);
    let mut arguments = match config.optional(place.section, place.arguments)? {
        None => Map::new(),
        Some(text) => serde_json::from_str::<Option<Map<String, Value>>>(text)
            .map_err(|error| invalid(format!("a JSON object of the backend's arguments ({error})")))?
            .unwrap_or_default(),
    };
    for (name, value) in variables {
        if let Some(name) = name.strip_prefix(place.variable).filter(|name| !name.is_empty()) {
            arguments.insert(name.to_lowercase(), Value::String(value.clone()));
        }
    }
    read(kind, &arguments).map(Some).map_err(invalid)
}

/// Reads the arguments of a backend; the error says what would be right.
fn read(kind: Kind, arguments: &Map<String, Value>) -> Result<Settings, String> {
    let root = if kind == Kind::ParameterStore { "/" } else { "" };
    let separator = match arguments.get("sep") {
        Some(Value::String(separator)) if kind == Kind::SecretsManager => separator.clone(),
        None => "/".to_owned(),
        Some(_) if kind == Kind::SecretsManager => return Err(wrong("sep", "a text")),
        Some(_) => return Err("a JSON object without sep, which Parameter Store has not".to_owned()),
    };
    let space = |name: &str| -> Result<Option<Space>, String> {
        let prefix = match arguments.get(&format!("{name}_prefix")) {
            None => format!("{root}airflow/{name}"),
            Some(Value::Null) => return Ok(None),
            Some(Value::String(prefix)) => prefix.clone(),
            Some(_) => return Err(wrong(&format!("{name}_prefix"), "a text or null")),
        };
        let prefix = prefix.trim_end_matches(|c| separator.contains(c)).to_owned();
        Ok(Some(Space { prefix, pattern: pattern(arguments, &format!("{name}_lookup_pattern"))? }))
    };
    let mut account = Choices::default();
    for (name, value) in arguments {
        let text = || text_or_null(name, value);
        match name.as_str() {
            "connections_prefix" | "variables_prefix" | "config_prefix" | "sep" => {}
            "connections_lookup_pattern" | "variables_lookup_pattern" | "config_lookup_pattern" => {}
            "extra_conn_words" if kind == Kind::SecretsManager => {}
            "region_name" => account.region = text()?,
            "profile_name" => account.profile = text()?,
            "endpoint_url" => account.endpoint = text()?,
            // Of older releases of the provider, which has no use for them any more, or of its client.
            "full_url_mode" | "are_secret_values_urlencoded" | "api_version" | "use_ssl" => {}
            _ => {
                return Err(format!(
                    "a JSON object with the prefixes and patterns of the backend, region_name, profile_name and \
                     endpoint_url only, not {name}: credentials come from the environment of the processes, as for any \
                     program that uses AWS's SDK"
                ));
            }
        }
    }
    let (connections, variables, options) = (space("connections")?, space("variables")?, space("config")?);
    let words = words(arguments)?;
    Ok(Settings { kind, names: Names { connections, variables, options, separator, words }, account })
}

fn wrong(name: &str, expected: &str) -> String {
    format!("a JSON object in which {name} is {expected}")
}

fn text_or_null(name: &str, value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        _ => Err(wrong(name, "a text or null")),
    }
}

/// As `re.match` with `re.IGNORECASE`; the text that it was made of says whether two are the same.
fn pattern(arguments: &Map<String, Value>, name: &str) -> Result<Option<Pattern>, String> {
    let Some(value) = arguments.get(name) else { return Ok(None) };
    let Some(text) = text_or_null(name, value)? else { return Ok(None) };
    let regex = Regex::new(&format!(r"(?i)\A(?:{text})"))
        .map_err(|error| wrong(name, &format!("a regular expression ({error})")))?;
    Ok(Some(Pattern { text, regex }))
}

/// A regular expression that the start of a name has to match.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    text: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// Whether a name matches; one on which the search takes too long does not.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name).unwrap_or_default()
    }
}

/// The names that fields of a Connection may have in a secret, in the order in which they are looked for
/// (`SecretsManagerBackend._standardize_secret_keys`).
fn words(arguments: &Map<String, Value>) -> Result<BTreeMap<&'static str, Vec<String>>, String> {
    const WORDS: [(&str, &[&str]); 7] = [
        ("login", &["login", "user", "username", "user_name"]),
        ("password", &["password", "pass", "key"]),
        ("host", &["host", "remote_host", "server"]),
        ("port", &["port"]),
        ("schema", &["database", "schema"]),
        ("conn_type", &["conn_type", "conn_id", "connection_type", "engine"]),
        ("extra", &["extra"]),
    ];
    let mut words: BTreeMap<&'static str, Vec<String>> = WORDS
        .into_iter()
        .map(|(field, words)| (field, words.iter().map(|word| (*word).to_owned()).collect()))
        .collect();
    let more = match arguments.get("extra_conn_words") {
        None | Some(Value::Null) => return Ok(words),
        Some(Value::Object(more)) => more,
        Some(_) => return Err(wrong("extra_conn_words", "an object of lists")),
    };
    for (field, list) in more {
        let expected = || {
            wrong("extra_conn_words", "an object of lists for login, password, host, port, schema, conn_type and extra")
        };
        let field = if field == "user" { "login" } else { field };
        let known = words.get_mut(field).ok_or_else(expected)?;
        for word in list.as_array().ok_or_else(expected)? {
            known.push(word.as_str().ok_or_else(expected)?.to_owned());
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use tradewind_airflow::config::Environment;

    use super::*;

    fn config(variables: &[(&str, &str)]) -> Config {
        let environment = variables.iter().fold(Environment::default(), |all, (name, value)| all.with(*name, *value));
        Config::from_environment(&environment).expect("a configuration")
    }

    fn read_of(variables: &[(&str, &str)]) -> Result<[Option<Settings>; 2], String> {
        let own = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        backends(&config(variables), own).map_err(|error| error.to_string())
    }

    fn server(class: &str, arguments: &str) -> Result<Settings, String> {
        let variables = [("AIRFLOW__SECRETS__BACKEND", class), ("AIRFLOW__SECRETS__BACKEND_KWARGS", arguments)];
        read_of(&variables).map(|[_, server]| server.expect("a backend"))
    }

    #[test]
    fn workers_have_the_backend_of_the_server_unless_they_have_their_own() {
        assert_eq!(read_of(&[]).map(|backends| backends.map(|backend| backend.is_some())), Ok([false, false]));
        let both = [("AIRFLOW__SECRETS__BACKEND", SECRETS_MANAGER)];
        let [workers, of_server] = read_of(&both).expect("backends");
        assert!(workers.is_some() && workers == of_server);
        let own = [both[0], ("AIRFLOW__WORKERS__SECRETS_BACKEND", PARAMETER_STORE)];
        let [workers, of_server] = read_of(&own).expect("backends");
        assert_eq!(workers.map(|backend| backend.kind), Some(Kind::ParameterStore));
        assert_eq!(of_server.map(|backend| backend.kind), Some(Kind::SecretsManager));
        let other = [("AIRFLOW__SECRETS__BACKEND", "airflow.providers.hashicorp.secrets.vault.VaultBackend")];
        assert_eq!(read_of(&other).map(|backends| backends.map(|backend| backend.is_some())), Ok([false, false]));
        assert_eq!(child_variables(&config(&other)).expect("variables"), []);
        let told = child_variables(&config(&both)).expect("variables");
        assert!(told.contains(&("AIRFLOW__WORKERS__SECRETS_BACKEND", SUPERVISOR_BACKEND.to_owned())), "{told:?}");
        assert!(told.contains(&("AIRFLOW__SECRETS__BACKEND", String::new())), "{told:?}");
    }

    #[test]
    fn what_is_secret_among_arguments_of_other_classes_is_masked() {
        const VAULT: &str = "airflow.providers.hashicorp.secrets.vault.VaultBackend";
        let arguments = r#"{"token": "hunter22", "url": "https://vault.example"}"#;
        let vault = [("AIRFLOW__SECRETS__BACKEND", VAULT), ("AIRFLOW__SECRETS__BACKEND_KWARGS", arguments)];
        let configured = config(&vault);
        assert_eq!(class_for_python(&configured).expect("a class").as_deref(), Some(VAULT));
        let masker = masked_arguments(&configured).expect("a masker");
        assert_eq!(masker.redact_text("hunter22 at https://vault.example"), "*** at https://vault.example");
        let native = config(&[("AIRFLOW__SECRETS__BACKEND", SECRETS_MANAGER)]);
        assert_eq!(class_for_python(&native).expect("an option"), None);
    }

    #[test]
    fn names_are_made_as_in_the_provider() {
        let of = |class, arguments: &str| {
            let names = server(class, arguments).expect(arguments).names;
            (names.connection("c"), names.variable("v"))
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(of(SECRETS_MANAGER, "{}"), (some("airflow/connections/c"), some("airflow/variables/v")));
        assert_eq!(of(PARAMETER_STORE, "{}"), (some("/airflow/connections/c"), some("/airflow/variables/v")));
        let arguments = r#"{"connections_prefix": "a--", "variables_prefix": "", "sep": "-"}"#;
        assert_eq!(of(SECRETS_MANAGER, arguments), (some("a-c"), some("v")));
        let arguments = r#"{"connections_prefix": "a/", "variables_prefix": null}"#;
        assert_eq!(of(PARAMETER_STORE, arguments), (some("a/c"), None));
        let arguments = r#"{"connections_lookup_pattern": "^(?!aws_default$).*$", "variables_lookup_pattern": "X"}"#;
        let names = server(SECRETS_MANAGER, arguments).expect("a backend").names;
        assert_eq!((names.connection("aws_default"), names.connection("c")), (None, some("airflow/connections/c")));
        assert_eq!((names.variable("ax"), names.variable("xa")), (None, some("airflow/variables/xa")));
    }

    #[test]
    fn single_arguments_come_from_variables_too() {
        let variables = [
            ("AIRFLOW__SECRETS__BACKEND", SECRETS_MANAGER),
            ("AIRFLOW__SECRETS__BACKEND_KWARGS", r#"{"region_name": "eu-west-1"}"#),
            ("AIRFLOW__SECRETS__BACKEND_KWARG__REGION_NAME", "eu-central-1"),
        ];
        let [_, server] = read_of(&variables).expect("backends");
        assert_eq!(server.and_then(|server| server.account.region).as_deref(), Some("eu-central-1"));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        for (class, arguments, words) in [
            (SECRETS_MANAGER, "{", "JSON object"),
            (SECRETS_MANAGER, "[]", "JSON object"),
            (SECRETS_MANAGER, r#"{"role_arn": "arn:aws:iam::1:role/r"}"#, "role_arn"),
            (SECRETS_MANAGER, r#"{"connections_prefix": 7}"#, "connections_prefix"),
            (SECRETS_MANAGER, r#"{"variables_lookup_pattern": "("}"#, "regular expression"),
            (SECRETS_MANAGER, r#"{"extra_conn_words": {"colour": []}}"#, "extra_conn_words"),
            (SECRETS_MANAGER, r#"{"config_prefix": 7}"#, "config_prefix"),
            (PARAMETER_STORE, r#"{"sep": "-"}"#, "sep"),
        ] {
            let error = server(class, arguments).expect_err(arguments);
            assert!(error.contains(words) && error.contains("[secrets] backend_kwargs"), "{error}");
            assert!(!error.contains("arn:aws:iam"), "{error}");
        }
    }
}
