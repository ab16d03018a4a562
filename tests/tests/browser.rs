//! The official user interface in a browser.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tradewind_tests::deployment::{Deployment, PASSWORD, USER};
use tradewind_tests::program::{example_dag, python, succeeds, workspace};
use tradewind_tests::rest::Rest;

const DAG_ID: &str = "tutorial_taskflow_api";

#[tokio::test]
async fn the_official_interface_runs_a_dag_without_a_complaint() {
    let deployment = Deployment::new(&[example_dag(DAG_ID)]).await;
    let standalone = deployment.start().await;
    standalone.log_in().await.dag_is_known(DAG_ID).await;
    let mut browser = python(".venv-test", "tests/browser/test_ui.py");
    browser.args([standalone.base_url(), USER, PASSWORD, DAG_ID]).arg(screenshots("run"));
    succeeds(&mut browser);
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn every_page_of_the_official_interface_shows_what_is_true() {
    let dags = workspace().join("tests/browser/dags");
    let deployment = Deployment::new(&[dags])
        .await
        .with("AIRFLOW__CORE__PLUGINS_FOLDER", workspace().join("tests/browser/plugins"))
        .with("AIRFLOW__API__EXPOSE_CONFIG", "non-sensitive-only")
        .with("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin,op:op,user:user,viewer:viewer")
        // Another version of a Dag need not wait.
        .with("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
        // A token of the command line is over when the browser needs one that is.
        .with("AIRFLOW__API_AUTH__JWT_CLI_EXPIRATION_TIME", "1")
        .with("AIRFLOW__API_AUTH__JWT_LEEWAY", "0");
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    run_everything(&rest).await;
    add_a_version(&rest, &deployment.path().join("dags/recipe.py")).await;
    let mut browser = python(".venv-test", "tests/browser/test_pages.py");
    browser.args([standalone.base_url(), USER, PASSWORD]).arg(deployment.path()).arg(screenshots("pages"));
    succeeds(&mut browser);
    standalone.end(Signal::SIGTERM);
}

/// Runs every Dag once, and the daily one for today as well.
async fn run_everything(rest: &Rest) {
    for dag_id in ["invoices", "orders", "recipe", "fragile", "approval", "chatter", "errands", "bread", "harvest"] {
        rest.unpause(dag_id).await;
    }
    // Two runs that end at the same time would be one event for the Dag that waits for the asset.
    runs_are(rest, "invoices", 1, "success").await;
    for dag_id in ["orders", "recipe", "fragile", "approval", "chatter", "errands"] {
        rest.trigger(dag_id, "first").await;
    }
    runs_are(rest, "orders", 2, "success").await;
    runs_are(rest, "invoices", 2, "success").await;
    runs_are(rest, "recipe", 1, "success").await;
    runs_are(rest, "fragile", 1, "failed").await;
    runs_are(rest, "errands", 1, "success").await;
    let task_states = [("approval", "ask", "awaiting_input"), ("chatter", "talk", "running")];
    for (dag_id, task_id, state) in task_states {
        let path = format!("dags/{dag_id}/dagRuns/first/taskInstances/{task_id}");
        rest.get_until(&path, |instance| instance["state"] == state).await;
    }
    rest.get_until("importErrors", |errors| errors["total_entries"] == 1).await;
    deliver(rest).await;
}

/// Delivers to one region all that bread needs, and to two others a part of it.
async fn deliver(rest: &Rest) {
    for (asset, region) in [("flour", "north"), ("yeast", "north"), ("flour", "south"), ("flour", "west")] {
        let known = rest.get(&format!("assets?name_pattern={asset}")).await;
        let event = json!({"asset_id": known["assets"][0]["id"], "partition_key": region});
        rest.post("assets/events", &event).await;
    }
    runs_are(rest, "bread", 1, "success").await;
}

/// Waits until a Dag has so many runs, all in this state.
async fn runs_are(rest: &Rest, dag_id: &str, count: usize, state: &str) {
    let as_they_should_be = |answer: &Value| {
        let runs = answer["dag_runs"].as_array();
        runs.is_some_and(|runs| runs.len() == count && runs.iter().all(|run| run["state"] == state))
    };
    rest.get_until(&format!("dags/{dag_id}/dagRuns"), as_they_should_be).await;
}

/// Gives the Dag of a file, which has run, another task.
async fn add_a_version(rest: &Rest, file: &Path) {
    let source = std::fs::read_to_string(file).expect("the Dag file");
    let task = "    @task\n    def fry() -> None:\n        print(\"it fries\")\n\n    fry()\n";
    std::fs::write(file, source.replace("    boil()\n", &format!("    boil()\n\n{task}")))
        .expect("writes the Dag file");
    rest.get_until("dags/recipe/dagVersions", |versions| versions["total_entries"] == 2).await;
}

/// Where the pictures of a test are kept.
fn screenshots(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots").join(name)
}
