//! A worker fleet of processes: from nothing to as many workers as are needed, and back.
#![forbid(unsafe_code)]

use nix::sys::signal::Signal;
use sqlx::{PgPool, query_scalar};
use tradewind_tests::deployment::Deployment;
use tradewind_tests::patience::eventually;
use tradewind_tests::process;
use tradewind_tests::program::workspace;
use tradewind_tests::sqs::Sqs;

const DAG_ID: &str = "wide";

/// Workers that six tasks need at two a worker.
const NEEDED: i64 = 3;

#[tokio::test]
async fn a_fleet_grows_from_nothing_for_a_run_and_shrinks_to_nothing_after_it() {
    let sqs = Sqs::start();
    let deployment = Deployment::new(&[workspace().join("tests/fleet/dags")])
        .await
        .with_sqs(sqs.url())
        .with("AIRFLOW__TRADEWIND__SQS_CREATE_QUEUES", "True")
        .with("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        .with("AIRFLOW__CELERY__WORKER_AUTOSCALE", "2,0")
        .with("AIRFLOW__TRADEWIND__MIN_WORKERS", "0")
        .with("AIRFLOW__TRADEWIND__MAX_WORKERS", "4")
        .with("AIRFLOW__TRADEWIND__FLEET_INTERVAL", "1")
        .with("AIRFLOW__TRADEWIND__FLEET_SCALE_IN_DELAY", "2")
        .with("AIRFLOW__TRADEWIND__FLEET_DRAIN_WAIT", "2");
    let pool = deployment.database().pool();
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    rest.unpause(DAG_ID).await;
    assert_eq!(workers(pool).await, 0, "nothing is to be done");

    rest.trigger(DAG_ID, "first").await;
    eventually("three workers", async || (workers(pool).await == NEEDED).then_some(())).await;
    let processes: Vec<u32> = process::started_for(&deployment.home());
    let processes = processes.into_iter().filter(|pid| process::title(*pid).contains(" worker ")).count();
    assert_eq!(processes, 3, "each is a process");
    assert_eq!(rest.final_state(DAG_ID, "first").await, "success");

    eventually("an empty fleet", async || {
        let known: i64 =
            query_scalar("SELECT count(*) FROM tradewind.fleet_worker").fetch_one(pool).await.expect("a count");
        (known == 0 && workers(pool).await == 0).then_some(())
    })
    .await;
    let log = standalone.log("scheduler");
    for step in [
        "a worker is started",
        "a worker has nothing to do and takes nothing more",
        "a worker that has nothing to do is ended",
    ] {
        assert!(log.contains(step), "{step}: {log}");
    }
    assert!(!log.contains("ended by itself"), "{log}");

    // It comes back.
    rest.trigger(DAG_ID, "second").await;
    assert_eq!(rest.final_state(DAG_ID, "second").await, "success");
    let retried: i64 = query_scalar("SELECT count(*) FROM task_instance WHERE try_number <> 1")
        .fetch_one(pool)
        .await
        .expect("a count");
    assert_eq!(retried, 0, "no worker was ended while it was busy");
    standalone.end(Signal::SIGTERM);
}

/// Workers that live.
async fn workers(pool: &PgPool) -> i64 {
    query_scalar("SELECT count(*) FROM tradewind.worker").fetch_one(pool).await.expect("a count")
}
