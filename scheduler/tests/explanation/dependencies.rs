//! Task instances that wait for other tasks, for other runs, or for their time.

use chrono::{TimeDelta, Utc};
use serde_json::json;
use tradewind_metadata::attempt;

use super::{by_hand, codes, explain, of_task, parameters, reasons_until};
use crate::support::{DagBuilder, World, options};

#[tokio::test]
async fn a_trigger_rule_names_the_tasks_upstream() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("d").task("a", &["c"], json!({})).task("b", &["c"], json!({})).task("c", &[], json!({}));
    world.add_dag(&dag).await;
    world.trigger("d", "r").await;
    world.start_scheduler(options()).await;
    let (first, second) = (world.next_claim().await, world.next_claim().await);
    world.succeed(&first).await;
    let reasons = reasons_until(&world, "d", "r", "c", &["trigger_rule"]).await;
    let expected = json!({
        "rule": "all_success", "upstream": 2, "done": 1, "tasks_left_out": 0,
        "tasks": [
            {"task_id": second.task_id, "states": [{"state": "running", "count": 1}]},
            {"task_id": first.task_id, "states": [{"state": "success", "count": 1}]},
        ],
    });
    assert_eq!(parameters(&reasons[0]), expected);
    world.stop().await;
}

#[tokio::test]
async fn a_run_waits_for_the_one_before_where_its_tasks_depend_on_the_past() {
    let mut world = World::new().await;
    let past = json!({"depends_on_past": true, "wait_for_downstream": true});
    world.add_dag(&DagBuilder::new("d").task("a", &["b"], past).task("b", &[], json!({}))).await;
    world.trigger("d", "first").await;
    world.trigger("d", "second").await;
    world.start_scheduler(options()).await;
    let a = world.next_claim().await;
    assert_eq!(a.run_id, "first");
    let reasons = reasons_until(&world, "d", "second", "a", &["previous_run_unsuccessful"]).await;
    assert_eq!(parameters(&reasons[0]), json!({"previous_run_id": "first", "task_id": "a", "count": 1}));
    world.succeed(&a).await;
    let reasons = reasons_until(&world, "d", "second", "a", &["previous_run_downstream"]).await;
    assert_eq!(parameters(&reasons[0]), json!({"previous_run_id": "first", "task_ids": ["b"]}));
    let b = world.next_claim().await;
    world.succeed(&b).await;
    reasons_until(&world, "d", "second", "a", &["no_worker"]).await;
    by_hand(&world, "DELETE FROM task_instance WHERE run_id = 'first'").await;
    world.trigger("d", "third").await;
    reasons_until(&world, "d", "third", "a", &["previous_run_unsuccessful"]).await;
    by_hand(&world, "DELETE FROM task_instance WHERE run_id = 'second'").await;
    let told = explain(&world, "d", "third").await;
    assert_eq!(codes(of_task(&told, "a")), ["previous_run_not_run"]);
    world.stop().await;
}

#[tokio::test]
async fn a_retry_and_a_sensor_tell_until_when() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("d").task("retried", &[], json!({"retries": 2, "retry_delay": 600.0})).task(
        "sensor",
        &[],
        json!({"_is_sensor": true, "reschedule": true}),
    );
    world.add_dag(&dag).await;
    world.trigger("d", "r").await;
    world.start_scheduler(options()).await;
    let until = Utc::now() + TimeDelta::minutes(7);
    for _ in 0..2 {
        let claim = world.next_claim().await;
        if claim.task_id == "retried" {
            world.fail(&claim, true).await;
        } else {
            let mut connection = world.database.pool().acquire().await.expect("a connection");
            attempt::reschedule(&mut connection, claim.id, until, Utc::now()).await.expect("an accepted report");
        }
    }
    let reasons = reasons_until(&world, "d", "r", "retried", &["retry_period"]).await;
    let wait = reasons[0].until().expect("a time") - Utc::now();
    assert!(wait > TimeDelta::minutes(9) && wait <= TimeDelta::minutes(10), "{wait}");
    assert_eq!((&parameters(&reasons[0])["try_number"], &parameters(&reasons[0])["max_tries"]), (&json!(1), &json!(2)));
    let reasons = reasons_until(&world, "d", "r", "sensor", &["reschedule_period"]).await;
    assert!((reasons[0].until().expect("a time") - until).abs() < TimeDelta::milliseconds(1));
    world.stop().await;
}

#[tokio::test]
async fn setups_teardowns_and_mapping_name_what_they_wait_for() {
    let mut world = World::new().await;
    let mapped = json!({
        "_is_mapped": true, "_expand_input_attr": "expand_input", "partial_kwargs": {}, "_disallow_kwargs_override": false,
        "expand_input": {"type": "list-of-dicts", "value": {"__type": "xcomref", "__var": {"task_id": "work", "key": "return_value"}}},
    });
    let dag = DagBuilder::new("d")
        .task("setup", &["work", "teardown"], json!({"is_setup": true}))
        .task("work", &["more", "mapped"], json!({}))
        .task("more", &["teardown"], json!({}))
        .task("mapped", &[], mapped)
        .task("teardown", &[], json!({"is_teardown": true, "trigger_rule": "all_done_setup_success"}));
    world.add_dag(&dag).await;
    world.trigger("d", "r").await;
    world.start_scheduler(options()).await;
    world.next_claim().await;
    reasons_until(&world, "d", "r", "more", &["setups", "trigger_rule"]).await;
    let reasons = reasons_until(&world, "d", "r", "mapped", &["trigger_rule", "not_expanded"]).await;
    assert_eq!(parameters(&reasons[1])["tasks"], json!([{"task_id": "work", "states": [{"state": null, "count": 1}]}]));
    reasons_until(&world, "d", "r", "teardown", &["trigger_rule"]).await;
    world.stop().await;
}
