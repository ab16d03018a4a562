//! The database in which every recorded conversation starts (`../recorded/scenario.sql`).

use std::fs;
use std::path::PathBuf;

use sqlx::{AssertSqlSafe, PgConnection, raw_sql};
use tradewind_airflow::config::{Config, Environment};
use tradewind_airflow::fernet::Fernet;
use uuid::Uuid;

/// The key in `record.py`.
const FERNET_KEY: &str = "cFl3tZ3pXqv6c7mA1Zr1c2qS0l5r8y4Wm9b2X0n7k1E=";
/// A key nobody configured.
const FOREIGN_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// The id of an attempt from its last three digits.
pub(crate) fn attempt(digits: &str) -> Uuid {
    format!("00000000-0000-7000-8000-000000000{digits}").parse().expect("an attempt")
}

/// The folder of the recordings.
pub(crate) fn recorded() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

/// The settings in `record.py`.
pub(crate) fn config() -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let variables = [
        ("AIRFLOW_HOME", folder.path().to_string_lossy().into_owned()),
        ("AIRFLOW__CORE__FERNET_KEY", FERNET_KEY.to_owned()),
        ("AIRFLOW__CORE__NUM_DAG_RUNS_TO_RETAIN_RENDERED_FIELDS", "2".to_owned()),
        ("AIRFLOW__CORE__MAX_MAP_LENGTH", "10".to_owned()),
    ];
    let environment =
        variables.into_iter().fold(Environment::default(), |environment, (name, value)| environment.with(name, value));
    Config::from_environment(&environment).expect("a configuration")
}

/// Writes the scenario.
pub(crate) async fn fill(connection: &mut PgConnection) {
    let fernet = Fernet::new(FERNET_KEY).expect("a key");
    let foreign = Fernet::new(FOREIGN_KEY).expect("a key");
    let scenario = fs::read_to_string(recorded().join("scenario.sql"))
        .expect("the scenario")
        .replace("@password@", &fernet.encrypt("s3cr:t"))
        .replace("@extra@", &fernet.encrypt(r#"{"sslmode": "require"}"#))
        .replace("@variable@", &fernet.encrypt("värde"))
        .replace("@foreign@", &foreign.encrypt("lost"));
    raw_sql(AssertSqlSafe(scenario)).execute(connection).await.expect("the scenario is written");
}
