//! The official Python client.
#![forbid(unsafe_code)]

use nix::sys::signal::Signal;
use tradewind_tests::deployment::{Deployment, PASSWORD, USER};
use tradewind_tests::program::{python, succeeds, workspace};

#[tokio::test]
async fn the_official_client_runs_an_example_and_reads_its_log() {
    let deployment = Deployment::new(&[workspace().join("dags")]).await;
    let standalone = deployment.start().await;
    standalone.log_in().await.dag_is_known("word_count").await;
    let mut client = python(".venv-test", "tests/e2e_client/test_client.py");
    client.args([standalone.base_url(), USER, PASSWORD, "word_count", "most_common", "rose (3)"]);
    succeeds(&mut client);
    standalone.end(Signal::SIGTERM);
}
