//! Commands that end at once, and refusals.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tradewind_metadata::migrate::REVISION;
use tradewind_metadata::testing::TestDatabase;

use crate::invocation::{assert_fails, stderr, stdout, tradewind};

#[test]
fn a_wrong_value_ends_every_command_with_the_option_and_a_hint() {
    let home = tempfile::tempdir().expect("a temporary folder");
    for command in ["scheduler", "worker", "webserver", "dag-processor", "standalone"] {
        let mut command = tradewind(home.path(), &[command]);
        command.env("AIRFLOW__CORE__PARALLELISM", "many");
        assert_fails(&mut command, 3, &["[core] parallelism", "\"many\"", "hint:", "AIRFLOW__CORE__PARALLELISM"]);
    }
}

#[test]
fn a_database_that_is_not_postgres_is_refused() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut command = tradewind(home.path(), &["scheduler"]);
    command.env("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:////tmp/airflow.db");
    assert_fails(&mut command, 3, &["sqlite", "PostgreSQL", "hint:"]);
}

#[test]
fn the_configuration_is_listed_with_origins_and_without_secrets() {
    let home = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(home.path().join("airflow.cfg"), "[core]\nfernet_key = hush\nparallelism = 7\n").expect("a file");
    let output = tradewind(home.path(), &["config", "list"])
        .env("AIRFLOW__API_AUTH__JWT_SECRET", "whisper")
        .env("AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG", "9")
        .output()
        .expect("the program runs");
    let listed = stdout(&output);
    for line in [
        "[core] parallelism = 7 (airflow.cfg)",
        "[core] max_active_tasks_per_dag = 9 (env var)",
        "[core] fernet_key = *** (airflow.cfg)",
        "[api_auth] jwt_secret = *** (env var)",
        "[tradewind] worker_slots = 16 (default)",
    ] {
        assert!(listed.lines().any(|listed| listed == line), "{line:?} is missing in:\n{listed}");
    }
    assert!(!listed.contains("hush") && !listed.contains("whisper"), "{listed}");
}

#[test]
fn a_configuration_is_begun_once() {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let home = parent.path().join("home");
    let init = || stdout(&tradewind(&home, &["config", "init"]).output().expect("the program runs"));
    let key = || {
        let output = tradewind(&home, &["config", "get-value", "core", "fernet_key"]).output();
        stdout(&output.expect("the program runs"))
    };
    let file = home.join("airflow.cfg");
    assert_eq!(init(), format!("configuration: {} is written, with new keys\n", file.display()));
    let first = key();
    assert_eq!(first.trim().len(), 44, "{first}");
    assert_eq!(std::fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
    assert_eq!(init(), format!("configuration: {} is there already\n", file.display()));
    assert_eq!(key(), first);
}

#[test]
fn one_value_is_shown_as_it_is() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let output = tradewind(home.path(), &["config", "get-value", "core", "fernet_key"])
        .env("AIRFLOW__CORE__FERNET_KEY", "hush")
        .output()
        .expect("the program runs");
    assert_eq!(stdout(&output), "hush\n");
    assert_fails(&mut tradewind(home.path(), &["config", "get-value", "core", "fern"]), 3, &["[core] fern"]);
}

#[test]
fn a_wrong_argument_is_a_usage_error() {
    let home = tempfile::tempdir().expect("a temporary folder");
    assert_fails(&mut tradewind(home.path(), &["worker", "--slots", "0"]), 2, &["--slots"]);
}

#[tokio::test]
async fn a_schema_of_another_revision_is_refused() {
    let database = TestDatabase::migrated().await;
    let home = tempfile::tempdir().expect("a temporary folder");
    let command = |command: &[&str]| {
        let mut command = tradewind(home.path(), command);
        command.env("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", database.sql_alchemy_conn());
        command
    };
    let output = command(&["db", "check"]).output().expect("the program runs");
    assert!(output.status.success() && stdout(&output).contains(REVISION), "{}", stderr(&output));

    sqlx::query("UPDATE alembic_version SET version_num = '0123456789ab'")
        .execute(database.pool())
        .await
        .expect("an update");
    let words = ["0123456789ab", REVISION, "tradewind db migrate"];
    assert_fails(&mut command(&["db", "check"]), 3, &words);
    assert_fails(&mut command(&["scheduler"]), 3, &words);
    // The official migration does not know this revision either, and its own words are passed on.
    assert_fails(&mut command(&["db", "migrate"]), 1, &["airflow db migrate", "0123456789ab"]);
}

#[test]
fn standalone_refuses_a_busy_port_and_makes_nothing() {
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = busy.local_addr().expect("an address").port().to_string();
    refuses(|home| standalone(home, &["--port", &port]), 5, &[&port, "hint:"]);
}

#[test]
fn standalone_refuses_an_address_of_another_machine() {
    refuses(|home| standalone(home, &["--host", "192.0.2.1"]), 3, &["192.0.2.1", "hint:"]);
}

#[test]
fn standalone_refuses_a_home_that_cannot_be_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let home = file.join("home");
    let home = home.to_str().expect("a path in UTF-8");
    refuses(|_| standalone(Path::new(home), &[]), 4, &[home, "--home"]);
}

#[test]
fn standalone_refuses_a_missing_environment() {
    let with_venv = |venv: &Path| {
        let venv = venv.to_owned();
        move |home: &Path| {
            let mut command = standalone(home, &[]);
            command.env("AIRFLOW__TRADEWIND__VENV", &venv);
            command
        }
    };
    refuses(with_venv(Path::new("/nonexistent/venv")), 4, &["/nonexistent/venv", "make setup"]);
    let empty = tempfile::tempdir().expect("a temporary folder");
    refuses(with_venv(empty.path()), 4, &["bin/python", "make setup"]);
}

#[test]
fn standalone_refuses_what_a_component_would_refuse() {
    for (option, value, words) in [
        ("TRADEWIND__WORKER_SLOTS", "-1", ["worker_slots", "at least 1"]),
        ("CORE__AUTH_MANAGER", "some.other.Manager", ["some.other.Manager", "SimpleAuthManager"]),
        ("API__SSL_CERT", "/nonexistent.pem", ["ssl_cert", "ssl_key"]),
        ("API_AUTH__JWT_ALGORITHM", "RS256", ["jwt_algorithm", "HS512"]),
    ] {
        let with_option = |home: &Path| {
            let mut command = standalone(home, &[]);
            command.env(format!("AIRFLOW__{option}"), value);
            command
        };
        refuses(with_option, 3, &words);
    }
}

#[test]
fn standalone_refuses_a_missing_dag_folder() {
    refuses(
        |home| standalone(home, &["--dags-folder", "/nonexistent/dags"]),
        4,
        &["/nonexistent/dags", "--dags-folder"],
    );
}

fn standalone(home: &Path, arguments: &[&str]) -> Command {
    let port: &[&str] = if arguments.contains(&"--port") { &[] } else { &["--port", "0"] };
    tradewind(home, &[&["standalone"], port, arguments].concat())
}

/// Asserts that standalone refuses to start, and has not even made its home folder.
fn refuses(command: impl Fn(&Path) -> Command, code: i32, words: &[&str]) {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let home = parent.path().join("home");
    assert_fails(&mut command(&home), code, words);
    assert!(!home.exists(), "the home folder was made");
}

#[tokio::test]
async fn what_does_not_exist_is_not_explained() {
    let database = TestDatabase::migrated().await;
    let home = tempfile::tempdir().expect("a temporary folder");
    for (arguments, word) in [
        (["tasks", "explain", "no_dag", "no_run"].as_slice(), "no_run"),
        (["dags", "explain", "no_dag"].as_slice(), "no_dag"),
    ] {
        let mut command = tradewind(home.path(), arguments);
        command.env("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", database.sql_alchemy_conn());
        assert_fails(&mut command, 1, &[word, "hint:"]);
    }
    assert_fails(&mut tradewind(home.path(), &["tasks", "explain", "d", "r", "--map-index", "1"]), 2, &["TASK_ID"]);
}
