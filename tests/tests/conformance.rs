//! What was recorded of official Airflow, done again on Tradewind.
#![forbid(unsafe_code)]

use tradewind_tests::program::{python, succeeds, tradewind};

#[test]
fn tradewind_does_what_official_airflow_did() {
    succeeds(python(".venv", "tests/conformance/replay.py").arg(tradewind()));
}
