//! What the scheduler tells dashboards.

use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tradewind_scheduler::{MetricIntervals, Options};

use crate::support::{DagBuilder, World, options};

/// Waits until lines are shown: each is given by parts that it holds.
async fn until(handle: &PrometheusHandle, lines: &[&[&str]]) {
    for _ in 0..600 {
        let shown = handle.render();
        if lines.iter().all(|parts| shown.lines().any(|line| parts.iter().all(|part| line.contains(part)))) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not shown in time: {lines:?}\n{}", handle.render());
}

/// The test's runtime has one thread, so that what the scheduler counts arrives at the recorder of this thread.
#[tokio::test]
async fn pools_task_instances_and_runs_are_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut world = World::new().await;
    sqlx::query("INSERT INTO slot_pool (pool, slots, description, include_deferred) VALUES ('narrow', 1, '', false)")
        .execute(world.database.pool())
        .await
        .expect("a pool");
    let narrow = json!({"pool": "narrow"});
    let dag = DagBuilder::new("counted").task("a", &[], narrow.clone()).task("b", &[], narrow);
    world.add_dag(&dag).await;
    let run = world.trigger("counted", "r").await;
    let soon = Duration::from_millis(50);
    let metrics = MetricIntervals { pools: soon, task_instances: soon, dag_runs: soon };
    world.start_scheduler(Options { metrics, ..options() }).await;
    let first = world.next_claim().await;
    let task = format!("task_id=\"{}\"", first.task_id);
    let narrow = "{pool_name=\"narrow\"}";
    until(
        &handle,
        &[
            &["pool_open_slots", narrow, " 0"],
            &["pool_running_slots", narrow, " 1"],
            &["pool_scheduled_slots", narrow, " 1"],
            &["pool_open_slots", "{pool_name=\"default_pool\"} 128"],
            &["scheduler_tasks_starving 1"],
            &["scheduler_dagruns_running 1"],
            &["ti_running{", &task, "} 1"],
        ],
    )
    .await;
    world.succeed(&first).await;
    assert_eq!(world.run_to_end(run).await, "success");
    until(
        &handle,
        &[
            &["pool_open_slots", narrow, " 1"],
            &["scheduler_tasks_starving 0"],
            &["scheduler_dagruns_running 0"],
            &["ti_running{", &task, "} 0"],
            &["dagrun_duration_success_count{", "dag_id=\"counted\"", "run_type=\"manual\"", " 1"],
        ],
    )
    .await;
    world.stop().await;
}
