//! Processes that are killed, and Dag files that misbehave.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tradewind_tests::deployment::Deployment;
use tradewind_tests::patience::eventually;
use tradewind_tests::process::{end_of, is_running, parent, send};
use tradewind_tests::program::workspace;
use tradewind_tests::rest::Rest;

const DAG_ID: &str = "holding";

#[tokio::test]
async fn the_attempt_of_a_killed_task_process_is_retried() {
    let holding = Holding::new().await;
    let standalone = holding.deployment.start().await;
    let rest = standalone.log_in().await;
    let first = holding.trigger(&rest, "killed").await;
    send(first, Signal::SIGKILL);
    holding.pid("killed", 2).await;
    holding.release("killed");
    assert_eq!(rest.final_state(DAG_ID, "killed").await, "success");
    assert_eq!(try_number(&rest, "killed").await, 2);
    let log = rest.get(&format!("dags/{DAG_ID}/dagRuns/killed/taskInstances/hold/logs/1")).await;
    assert!(log.to_string().contains("Process terminated by signal"), "{log}");
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn a_task_outlives_the_process_that_forked_it() {
    let holding = Holding::new().await;
    let standalone = holding.deployment.start().await;
    let rest = standalone.log_in().await;
    let task = holding.trigger(&rest, "orphaned").await;
    let pyhost = parent(task);
    send(pyhost, Signal::SIGKILL);
    end_of(pyhost).await;
    holding.release("orphaned");
    assert_eq!(rest.final_state(DAG_ID, "orphaned").await, "success");
    assert_eq!(try_number(&rest, "orphaned").await, 1);
    // The worker goes on, with another pyhost.
    let next = holding.trigger(&rest, "afterwards").await;
    assert_ne!(parent(next), pyhost);
    holding.release("afterwards");
    assert_eq!(rest.final_state(DAG_ID, "afterwards").await, "success");
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn the_attempt_of_a_killed_worker_is_retried_by_the_next() {
    let holding = Holding::new().await;
    let standalone = holding.deployment.start().await;
    let rest = standalone.log_in().await;
    let first = holding.trigger(&rest, "lost").await;
    let worker = parent(parent(first));
    send(worker, Signal::SIGKILL);
    end_of(first).await;
    let second = holding.pid("lost", 2).await;
    assert_ne!(parent(parent(second)), worker);
    holding.release("lost");
    assert_eq!(rest.final_state(DAG_ID, "lost").await, "success");
    assert_eq!(try_number(&rest, "lost").await, 2);
    standalone.end(Signal::SIGTERM);
}

/// Nobody is left who would end the task for its worker; only the kernel knows of both.
#[tokio::test]
async fn no_task_outlives_both_its_worker_and_the_process_that_forked_it() {
    let holding = Holding::new().await;
    let standalone = holding.deployment.start().await;
    let rest = standalone.log_in().await;
    let first = holding.trigger(&rest, "abandoned").await;
    let pyhost = parent(first);
    let worker = parent(pyhost);
    send(pyhost, Signal::SIGKILL);
    end_of(pyhost).await;
    assert!(is_running(first));
    send(worker, Signal::SIGKILL);
    end_of(first).await;
    holding.pid("abandoned", 2).await;
    holding.release("abandoned");
    assert_eq!(rest.final_state(DAG_ID, "abandoned").await, "success");
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn what_an_interrupt_stops_goes_on_after_the_next_start() {
    let holding = Holding::new().await;
    let standalone = holding.deployment.start().await;
    let rest = standalone.log_in().await;
    holding.release("before");
    holding.trigger(&rest, "before").await;
    assert_eq!(rest.final_state(DAG_ID, "before").await, "success");
    let task = holding.trigger(&rest, "interrupted").await;
    let told = rest.get_own(&format!("dags/{DAG_ID}/dagRuns/interrupted/explain")).await;
    assert_eq!((&told["reasons"], told["total_entries"].as_u64()), (&json!([]), Some(1)), "{told}");
    assert_eq!(told["task_instances"][0]["reasons"][0]["code"], "running", "{told}");
    standalone.end(Signal::SIGINT);
    assert!(!is_running(task));
    // The command needs the database alone.
    let told = holding.deployment.tradewind(&["tasks", "explain", DAG_ID, "interrupted"]);
    assert!(told.starts_with("holding interrupted: running\n  - no scheduler is alive"), "{told}");
    let told = holding.deployment.tradewind(&["tasks", "explain", DAG_ID, "interrupted", "hold", "--output", "json"]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["run_reasons"][0]["code"], "no_scheduler", "{told}");

    let standalone = holding.deployment.start().await;
    let rest = standalone.log_in().await;
    assert_eq!(rest.final_state(DAG_ID, "before").await, "success");
    holding.pid("interrupted", 2).await;
    holding.release("interrupted");
    assert_eq!(rest.final_state(DAG_ID, "interrupted").await, "success");
    standalone.end(Signal::SIGINT);
}

#[tokio::test]
async fn dag_files_that_misbehave_are_import_errors_and_nothing_else() {
    let broken = workspace().join("tests/faults/broken");
    let deployment = Deployment::new(&[broken])
        .await
        .with("AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT", "5")
        .with("AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL", "1");
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    let complete = |errors: &Value| errors["total_entries"] == 4;
    let errors = rest.get_until("importErrors", complete).await;
    let trace = |file: &str| {
        let mut all = errors["import_errors"].as_array().expect("a list").iter();
        let error = all.find(|error| error["filename"] == file).unwrap_or_else(|| panic!("no {file}: {errors}"));
        error["stack_trace"].as_str().expect("a text").to_owned()
    };
    for (file, words) in [
        ("raising.py", "this file raises"),
        ("talkative.py", "this file has said too much"),
        ("endless.py", "DagBag import timeout"),
        ("killing.py", "The process that parsed"),
    ] {
        assert!(trace(file).contains(words), "{}", trace(file));
    }
    // The processor goes on.
    deployment.add_dags(&workspace().join("tests/faults/dags"));
    rest.dag_is_known(DAG_ID).await;
    standalone.end(Signal::SIGTERM);
}

/// A deployment with the Dag `holding`.
struct Holding {
    deployment: Deployment,
    /// Where its tasks tell their process ids, and are released.
    folder: PathBuf,
}

impl Holding {
    async fn new() -> Self {
        let deployment = Deployment::new(&[workspace().join("tests/faults/dags")]).await;
        let folder = deployment.path().join("holding");
        std::fs::create_dir(&folder).expect("a folder");
        let deployment = deployment
            .with("HOLDING_FOLDER", &folder)
            .with("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "1")
            .with("AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT", "10")
            .with("AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL", "1");
        Self { deployment, folder }
    }

    /// Makes a run and returns the process of its task.
    async fn trigger(&self, rest: &Rest, run_id: &str) -> u32 {
        rest.unpause(DAG_ID).await;
        rest.trigger(DAG_ID, run_id).await;
        self.pid(run_id, 1).await
    }

    /// The process of an attempt, as soon as it runs.
    async fn pid(&self, run_id: &str, try_number: u32) -> u32 {
        let file = self.folder.join(format!("{run_id}-{try_number}.pid"));
        let what = format!("attempt {try_number} of {run_id}");
        eventually(&what, async || std::fs::read_to_string(&file).ok()?.parse().ok()).await
    }

    /// Lets the task of a run end.
    fn release(&self, run_id: &str) {
        std::fs::write(self.folder.join(format!("{run_id}.released")), "").expect("a file");
    }
}

async fn try_number(rest: &Rest, run_id: &str) -> u64 {
    let instance = rest.get(&format!("dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/hold")).await;
    instance["try_number"].as_u64().expect("a number")
}
