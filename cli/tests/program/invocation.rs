//! Running the program.

use std::path::Path;
use std::process::{Command, Output};

/// The program with an environment of its own: nothing of Airflow's or Tradewind's configuration is inherited.
pub(crate) fn tradewind(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradewind"));
    let inherited = std::env::vars_os().map(|(name, _)| name);
    for name in inherited.filter(|name| name.to_string_lossy().starts_with("AIRFLOW") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.env("AIRFLOW_HOME", home).args(arguments);
    command
}

/// Asserts that the program fails with the exit code, and that what it says holds all the words.
pub(crate) fn assert_fails(command: &mut Command, code: i32, words: &[&str]) {
    let output = command.output().expect("the program runs");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
}

/// What the program wrote to standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the program wrote to standard output.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
