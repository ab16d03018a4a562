//! The official user interface in a browser.
#![forbid(unsafe_code)]

use nix::sys::signal::Signal;
use tradewind_tests::deployment::{Deployment, PASSWORD, USER};
use tradewind_tests::program::{example_dag, python, succeeds};

const DAG_ID: &str = "tutorial_taskflow_api";

#[tokio::test]
async fn the_official_interface_runs_a_dag_without_a_complaint() {
    let deployment = Deployment::new(&[example_dag(DAG_ID)]).await;
    let standalone = deployment.start().await;
    standalone.log_in().await.dag_is_known(DAG_ID).await;
    let mut browser = python(".venv-test", "tests/browser/test_ui.py");
    browser.args([standalone.base_url(), USER, PASSWORD, DAG_ID]).arg(deployment.path().join("screenshots"));
    succeeds(&mut browser);
    standalone.end(Signal::SIGTERM);
}
