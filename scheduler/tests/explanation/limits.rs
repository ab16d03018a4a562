//! Scheduled task instances that find no room.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use tradewind_metadata::task_instance::{Transition, transition};
use tradewind_model::explanation::TaskInstances;
use tradewind_model::state::TaskInstanceState;

use super::{by_hand, codes, defer, explain, parameters, reasons_until};
use crate::support::{DagBuilder, World, options};

#[tokio::test]
async fn a_full_pool_names_who_holds_it() {
    let mut world = World::new().await;
    by_hand(&world, "INSERT INTO slot_pool (pool, slots, include_deferred) VALUES ('small', 2, false)").await;
    let in_pool = |weight: i32, slots: i32| json!({"pool": "small", "pool_slots": slots, "priority_weight": weight});
    let dag = DagBuilder::new("d")
        .task("first", &[], in_pool(9, 2))
        .task("second", &[], in_pool(5, 1))
        .task("third", &[], in_pool(1, 1))
        .task("large", &[], in_pool(1, 3))
        .task("lost", &[], json!({"pool": "missing"}));
    world.add_dag(&dag).await;
    world.trigger("d", "r").await;
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    assert_eq!(claim.task_id, "first");
    for (task_id, before) in [("second", 0), ("third", 1)] {
        let reasons = reasons_until(&world, "d", "r", task_id, &["pool_full"]).await;
        let told = parameters(&reasons[0]);
        for (name, value) in [("slots", 2), ("open", 0), ("wanted", 1), ("running", 2), ("queued", 0)] {
            assert_eq!(told[name], value, "{name}");
        }
        assert!(told["before"].as_u64().expect("a number") >= before);
        assert_eq!(told["holders"].as_array().expect("holders").len(), 1);
        assert_eq!((&told["holders"][0]["task_id"], &told["holders"][0]["slots"]), (&json!("first"), &json!(2)));
    }
    let reasons = reasons_until(&world, "d", "r", "large", &["pool_too_small"]).await;
    assert_eq!(parameters(&reasons[0]), json!({"pool": "small", "slots": 2, "wanted": 3}));
    reasons_until(&world, "d", "r", "lost", &["pool_missing"]).await;
    world.succeed(&claim).await;
    for task_id in ["second", "third"] {
        reasons_until(&world, "d", "r", task_id, &["no_worker"]).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn parallelism_and_the_limit_of_the_dag_are_told_together() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("d").column("max_active_tasks", json!(1));
    world.add_dag(&(0..33).fold(dag, |dag, index| dag.task(&format!("t{index:02}"), &[], json!({})))).await;
    world.trigger("d", "r").await;
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    assert_eq!(claim.task_id, "t00");
    let reasons = reasons_until(&world, "d", "r", "t01", &["max_active_tasks"]).await;
    assert_eq!(parameters(&reasons[0]), json!({"dag_id": "d", "limit": 1, "active": 1}));
    by_hand(&world, "UPDATE dag SET max_active_tasks = 32").await;
    let reasons = reasons_until(&world, "d", "r", "t32", &["parallelism", "max_active_tasks"]).await;
    assert_eq!(parameters(&reasons[0]), json!({"limit": 32, "active": 32, "before": 0}));
    world.stop().await;
}

#[tokio::test]
async fn a_task_that_limits_itself_tells_so_also_while_it_waits_for_a_trigger() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("d").column("has_task_concurrency_limits", json!(true)).task(
        "over_all",
        &[],
        json!({"max_active_tis_per_dag": 1}),
    );
    world.add_dag(&dag).await;
    world.trigger("d", "first").await;
    world.trigger("d", "second").await;
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    let other = if claim.run_id == "first" { "second" } else { "first" };
    let reasons = reasons_until(&world, "d", other, "over_all", &["max_active_tis_per_dag"]).await;
    assert_eq!(parameters(&reasons[0]), json!({"task_id": "over_all", "limit": 1, "active": 1}));
    defer(&world, &claim).await;
    sleep(Duration::from_millis(700)).await;
    reasons_until(&world, "d", other, "over_all", &["max_active_tis_per_dag"]).await;
    let mut connection = world.database.pool().acquire().await.expect("a connection");
    let ended = Transition::new(claim.id, &[Some(TaskInstanceState::Deferred)], Some(TaskInstanceState::Success));
    transition(&mut connection, &[ended]).await.expect("a transition");
    reasons_until(&world, "d", other, "over_all", &["no_worker"]).await;
    world.stop().await;
}

#[tokio::test]
async fn a_mapped_task_that_limits_itself_in_a_run_tells_so_once() {
    let mut world = World::new().await;
    let input = json!({"type": "dict-of-lists", "value": {"__type": "dict", "__var": {"x": [1, 2, 3]}}});
    let mapped = json!({
        "_is_mapped": true, "expand_input": input, "partial_kwargs": {"max_active_tis_per_dagrun": 1}, "_disallow_kwargs_override": false,
        "_expand_input_attr": "expand_input",
    });
    let dag = DagBuilder::new("d").column("has_task_concurrency_limits", json!(true)).task("m", &[], mapped);
    world.add_dag(&dag).await;
    world.trigger("d", "r").await;
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    let told = loop {
        let told = explain(&world, "d", "r").await;
        let limited = |group: &&TaskInstances| codes(&group.reasons) == ["max_active_tis_per_dagrun"];
        if let Some(group) = told.task_instances.iter().find(limited).filter(|group| group.count == 2) {
            break group.clone();
        }
        sleep(Duration::from_millis(20)).await;
    };
    assert!(!told.map_indexes.contains(&claim.map_index));
    assert_eq!(parameters(&told.reasons[0]), json!({"task_id": "m", "limit": 1, "active": 1}));
    world.stop().await;
}

/// Ten thousand task instances that wait are told of in one entry.
#[tokio::test]
async fn a_large_run_has_a_short_explanation() {
    let world = World::new().await;
    let input = json!({"type": "dict-of-lists", "value": {"__type": "dict", "__var": {"x": vec![0; 10_000]}}});
    let mapped = json!({
        "_is_mapped": true, "expand_input": input, "partial_kwargs": {}, "_disallow_kwargs_override": false,
        "_expand_input_attr": "expand_input",
    });
    world.add_dag(&DagBuilder::new("d").task("m", &["after"], mapped).task("after", &[], json!({}))).await;
    world.trigger("d", "r").await;
    by_hand(&world, "UPDATE dag_run SET state = 'running'").await;
    by_hand(&world, "UPDATE dag SET max_active_tasks = 0").await;
    by_hand(&world, "UPDATE task_instance SET state = 'scheduled' WHERE task_id = 'm'").await;
    by_hand(&world, "UPDATE slot_pool SET slots = 0").await;
    let told = explain(&world, "d", "r").await;
    assert_eq!(told.total_entries, 2);
    let mapped = told.task_instances.iter().find(|group| group.task_id == "m").expect("a group");
    assert_eq!((mapped.count, codes(&mapped.reasons)), (10_000, vec!["pool_too_small", "max_active_tasks"]));
    world.stop().await;
}
