//! What was recorded of official Airflow, done again on Tradewind.
#![forbid(unsafe_code)]

use tradewind_tests::program::{python, succeeds, tradewind};

#[test]
fn tradewind_does_what_official_airflow_did() {
    succeeds(python(".venv", "tests/conformance/replay.py").arg(tradewind()));
}

#[test]
fn what_users_do_to_runs_has_the_same_outcome() {
    succeeds(python(".venv", "tests/conformance/operate.py").arg("replay").arg(tradewind()));
}
