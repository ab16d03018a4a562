//! What official Airflow's API server answered, asked of Tradewind on the same data.
#![forbid(unsafe_code)]

use tradewind_tests::program::{python, succeeds, tradewind};

#[test]
fn answers_and_rows_are_those_of_official_airflow() {
    succeeds(python(".venv", "tests/api/replay.py").arg(tradewind()));
}
