//! Precedence, types and defaults of the configuration.

use super::*;

pub(super) fn load(cfg: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let home = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(home.path().join("airflow.cfg"), cfg).expect("a written file");
    let environment = variables.iter().fold(
        Environment::default().with("AIRFLOW_HOME", home.path().to_string_lossy()),
        |environment, (name, value)| environment.with(*name, *value),
    );
    Config::from_environment(&environment)
}

#[test]
fn the_environment_beats_the_file_and_the_file_beats_the_default() {
    let cfg = "[core]\nparallelism = 5\nmax_map_length = 7 # a comment\n";
    let config = load(cfg, &[("AIRFLOW__CORE__PARALLELISM", "6")]).expect("a configuration");
    assert_eq!(config.int("core", "parallelism").expect("a number"), 6);
    assert_eq!(config.value("core", "parallelism").expect("an option").origin, Origin::Environment);
    assert_eq!(config.int("core", "max_map_length").expect("a number"), 7);
    assert_eq!(config.int("core", "max_active_runs_per_dag").expect("a number"), 16);
}

#[test]
fn the_home_folder_is_filled_into_defaults() {
    let config = load("", &[]).expect("a configuration");
    assert_eq!(config.string("core", "dags_folder").expect("a text"), format!("{}/dags", config.home().display()));
}

#[test]
fn a_command_gives_a_secret_and_is_masked_when_shown() {
    let config = load("[core]\nfernet_key_cmd = printf '%%s' \"k y\"\n", &[]).expect("a configuration");
    let value = config.value("core", "fernet_key").expect("an option");
    assert_eq!((value.text.as_deref(), value.shown(), value.origin), (Some("k y"), "***", Origin::Command));
    let refused = load("", &[("AIRFLOW__CORE__FERNET_KEY_CMD", "false")]).expect_err("a failing command");
    assert!(refused.to_string().contains("exit status: 1"), "{refused}");
}

#[test]
fn a_command_for_an_option_that_is_no_secret_is_ignored() {
    let config = load("", &[("AIRFLOW__CORE__PARALLELISM_CMD", "echo 3")]).expect("a configuration");
    assert_eq!(config.int("core", "parallelism").expect("a number"), 32);
}

#[test]
fn a_wrong_value_names_option_origin_and_cure() {
    for (variable, value, expected) in [
        ("AIRFLOW__CORE__PARALLELISM", "many", "a whole number"),
        ("AIRFLOW__CORE__LOAD_EXAMPLES", "perhaps", "True or False"),
        ("AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME", "NaN", "a number"),
        ("AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX", "perl", "one of glob, regexp"),
    ] {
        let text = load("", &[(variable, value)]).expect_err("a refusal").to_string();
        assert!(text.contains(value) && text.contains("env var") && text.contains(expected), "{text}");
        assert!(text.contains(variable), "{text}");
    }
}

#[test]
fn the_old_value_of_an_option_that_became_a_switch_is_taken() {
    let config = load("", &[("AIRFLOW__API__EXPOSE_CONFIG", "non-sensitive-only")]).expect("a configuration");
    assert_eq!(config.string("api", "expose_config").expect("a text"), "non-sensitive-only");
    load("", &[("AIRFLOW__API__EXPOSE_CONFIG", "perhaps")]).expect_err("a refusal");
}

#[test]
fn multi_line_values_and_variables_in_values_are_read() {
    let cfg =
        "[dag_processor]\ndag_bundle_config_list = [\n    {\"name\": \"a\"}\n  ]\n[core]\ndags_folder = ${ROOT}/dags\n";
    let config = load(cfg, &[("ROOT", "/srv")]).expect("a configuration");
    assert_eq!(config.string("core", "dags_folder").expect("a text"), "/srv/dags");
    let list: serde_json::Value =
        serde_json::from_str(&config.string("dag_processor", "dag_bundle_config_list").expect("a text")).expect("JSON");
    assert_eq!(list[0]["name"], "a");
}

#[test]
fn a_secret_is_read_from_a_local_file_backend() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("secrets.json");
    std::fs::write(&path, r#"{"key": "from file"}"#).expect("a written file");
    let arguments = serde_json::json!({"configs_file_path": path}).to_string();
    let variables = [
        ("AIRFLOW__SECRETS__BACKEND", "airflow.secrets.local_filesystem.LocalFilesystemBackend"),
        ("AIRFLOW__SECRETS__BACKEND_KWARGS", arguments.as_str()),
        ("AIRFLOW__CORE__FERNET_KEY_SECRET", "key"),
    ];
    let config = load("", &variables).expect("a configuration");
    assert_eq!(config.string("core", "fernet_key").expect("a text"), "from file");
    let unknown = load("", &[("AIRFLOW__CORE__FERNET_KEY_SECRET", "key")]).expect_err("no backend");
    assert!(unknown.to_string().contains("_CMD"), "{unknown}");
}
