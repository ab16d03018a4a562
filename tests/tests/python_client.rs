//! The official clients: that for Python, and airflowctl.
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

/// Every operation of the client, and the examples of its documentation.
#[tokio::test]
async fn the_examples_of_the_official_client_do_what_they_say() {
    passes("tests/e2e_client/documented_examples.py").await;
}

/// Every command of the official remote command line.
#[tokio::test]
async fn the_commands_of_airflowctl_do_what_they_say() {
    passes("tests/e2e_client/airflowctl_commands.py").await;
}

/// Runs a program against the Dags that recorded answers are about, and one that cannot be imported.
async fn passes(script: &str) {
    let deployment = Deployment::new(&[workspace().join("tests/api/dags/shop")])
        .await
        .with("AIRFLOW__API__EXPOSE_CONFIG", "True")
        .with("AIRFLOW__CORE__TEST_CONNECTION", "Enabled");
    let broken = deployment.path().join("broken_dag.py");
    std::fs::write(&broken, "import nothing_of_this_name  # of an Airflow Dag\n").expect("a Dag file");
    deployment.add_dags(&broken);
    let standalone = deployment.start().await;
    succeeds(python(".venv-test", script).args([standalone.base_url(), USER, PASSWORD]));
    standalone.end(Signal::SIGTERM);
}
