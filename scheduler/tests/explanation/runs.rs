//! Runs that wait.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{by_hand, codes, explain, of_task, parameters, reasons_until};
use crate::support::{DagBuilder, World, options};

#[tokio::test]
async fn without_a_scheduler_a_run_waits_for_one_and_with_one_it_starts() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({}))).await;
    let run = world.trigger("d", "r").await;
    let told = explain(&world, "d", "r").await;
    assert_eq!((codes(&told.reasons), codes(of_task(&told, "t"))), (vec!["no_scheduler"], vec!["run_queued"]));
    by_hand(&world, "INSERT INTO job (job_type, state, latest_heartbeat) VALUES ('SchedulerJob', 'running', now())")
        .await;
    assert_eq!(codes(&explain(&world, "d", "r").await.reasons), ["ready"]);
    world.start_scheduler(options()).await;
    assert_eq!(world.run_to_end(run).await, "success");
    let told = explain(&world, "d", "r").await;
    assert_eq!((codes(&told.reasons), told.task_instances.len()), (vec!["run_ended"], 0));
    world.stop().await;
}

#[tokio::test]
async fn a_queued_run_waits_for_those_before_it() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("d").task("t", &[], json!({})).column("max_active_runs", json!(1));
    world.add_dag(&dag).await;
    world.start_scheduler(options()).await;
    let first = world.trigger("d", "first").await;
    world.await_run_state(first, "running").await;
    world.trigger("d", "second").await;
    world.trigger("d", "third").await;
    for (run_id, before) in [("second", 0), ("third", 1)] {
        let told = explain(&world, "d", run_id).await;
        assert_eq!(codes(&told.reasons), ["max_active_runs"]);
        let expected = json!({"dag_id": "d", "limit": 1, "running": 1, "queued_before": before});
        assert_eq!(parameters(&told.reasons[0]), expected);
    }
    let claim = world.next_claim().await;
    world.succeed(&claim).await;
    reasons_until(&world, "d", "second", "t", &["no_worker"]).await;
    world.stop().await;
}

#[tokio::test]
async fn a_run_waits_for_its_time_and_its_dag() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({})).column("is_paused", json!(true))).await;
    let run = world.trigger("d", "r").await;
    by_hand(&world, "UPDATE dag_run SET run_after = now() + interval '1 hour'").await;
    by_hand(&world, "UPDATE dag SET is_stale = true, has_import_errors = true").await;
    world.start_scheduler(options()).await;
    let told = explain(&world, "d", "r").await;
    assert_eq!(codes(&told.reasons), ["dag_paused", "dag_stale", "run_after"]);
    assert_eq!(codes(&told.remarks), ["dag_import_errors"]);
    assert_eq!(told.reasons[2].until(), Some(told.run_after));
    sleep(Duration::from_millis(700)).await;
    assert_eq!(world.run_state(run).await, "queued", "what was said is true");
    world.stop().await;
}

#[tokio::test]
async fn a_backfill_has_limits_of_its_own() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({}))).await;
    by_hand(
        &world,
        "INSERT INTO backfill (id, dag_id, from_date, to_date, dag_run_conf, is_paused, reprocess_behavior, max_active_runs, created_at, updated_at) \
         VALUES (1, 'd', now(), now(), '{}', true, 'none', 1, now(), now())",
    )
    .await;
    world.trigger("d", "b1").await;
    world.trigger("d", "b2").await;
    by_hand(&world, "UPDATE dag_run SET backfill_id = 1, run_type = 'backfill'").await;
    by_hand(
        &world,
        "INSERT INTO backfill_dag_run (backfill_id, dag_run_id, sort_ordinal, logical_date) \
         SELECT 1, id, id, logical_date FROM dag_run",
    )
    .await;
    world.start_scheduler(options()).await;
    assert_eq!(codes(&explain(&world, "d", "b1").await.reasons), ["backfill_paused"]);
    assert_eq!(codes(&explain(&world, "d", "b2").await.reasons), ["backfill_paused", "backfill_max_active_runs"]);
    by_hand(&world, "UPDATE backfill SET is_paused = false").await;
    reasons_until(&world, "d", "b1", "t", &["no_worker"]).await;
    let told = explain(&world, "d", "b2").await;
    let expected = json!({"backfill_id": 1, "limit": 1, "running": 1, "queued_before": 0});
    assert_eq!((codes(&told.reasons), parameters(&told.reasons[0])), (vec!["backfill_max_active_runs"], expected));
    world.stop().await;
}

#[tokio::test]
async fn a_running_run_of_a_paused_dag_starts_nothing_new() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("a", &["b"], json!({})).task("b", &[], json!({}))).await;
    world.trigger("d", "r").await;
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    by_hand(&world, "UPDATE dag SET is_paused = true").await;
    world.succeed(&claim).await;
    sleep(Duration::from_millis(700)).await;
    let told = explain(&world, "d", "r").await;
    assert_eq!((codes(&told.reasons), codes(of_task(&told, "b"))), (vec!["dag_paused"], vec!["dag_paused"]));
    world.stop().await;
}

#[tokio::test]
async fn a_run_waits_for_the_weights_of_a_plugin() {
    let mut world = World::new().await;
    let weighed = json!({"weight_rule": "company.Weigh"});
    world.add_dag(&DagBuilder::new("d").task("a", &["b"], weighed.clone()).task("b", &[], weighed)).await;
    world.trigger("d", "r").await;
    world.start_scheduler(options()).await;
    let told = reasons_until(&world, "d", "r", "a", &["weights_awaited"]).await;
    assert_eq!(parameters(&told[0]), json!({"run_id": "r", "count": 2}));
    assert_eq!(codes(&explain(&world, "d", "r").await.reasons), ["weights_awaited"]);
    by_hand(&world, "DELETE FROM tradewind.priority_weight").await;
    assert!(explain(&world, "d", "r").await.reasons.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_dag_that_was_never_serialized_is_named() {
    let world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({}))).await;
    world.trigger("d", "r").await;
    by_hand(&world, "DELETE FROM serialized_dag").await;
    let told = explain(&world, "d", "r").await;
    assert_eq!(codes(&told.reasons), ["dag_not_serialized", "no_scheduler"]);
    assert_eq!(codes(of_task(&told, "t")), ["run_queued"]);
    world.stop().await;
}
