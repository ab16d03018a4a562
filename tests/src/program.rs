//! The programs under test, and those that test them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is a member of a workspace").to_owned()
}

/// The program `tradewind`, which lies beside the folder of the running test.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn tradewind() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let program = test.ancestors().nth(2).expect("a folder of build results").join("tradewind");
    assert!(program.exists(), "{} is missing: run `make test`, which builds it first", program.display());
    program
}

/// A Python program of the workspace with the interpreter of an environment (`.venv` or `.venv-test`).
#[must_use]
pub fn python(environment: &str, script: &str) -> Command {
    let mut command = Command::new(workspace().join(environment).join("bin/python"));
    without_configuration(&mut command).arg(workspace().join(script)).current_dir(workspace());
    command
}

/// Takes from a command what this process may have inherited of Airflow's and Tradewind's configuration.
pub fn without_configuration(command: &mut Command) -> &mut Command {
    let inherited = std::env::vars_os().map(|(name, _)| name);
    for name in inherited.filter(|name| name.to_string_lossy().starts_with("AIRFLOW") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end and shows what it says.
///
/// # Panics
/// When it cannot be started, or fails.
pub fn succeeds(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(status.success(), "{command:?} ended with {status}");
}

/// An example that official Airflow brings along.
///
/// # Panics
/// When it does not.
#[must_use]
pub fn example_dag(dag_id: &str) -> PathBuf {
    let libraries = std::fs::read_dir(workspace().join(".venv/lib")).expect("the environment that `make test` makes");
    let examples = libraries.flatten().map(|library| library.path().join("site-packages/airflow/example_dags"));
    let files = examples.map(|folder| folder.join(format!("{dag_id}.py")));
    files.into_iter().find(|file| file.exists()).unwrap_or_else(|| panic!("Airflow has no example {dag_id}"))
}
