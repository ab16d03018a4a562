//! Task instances that have reached a worker, or wait for one.

use chrono::{TimeDelta, Utc};
use serde_json::{Map, json};
use tradewind_metadata::attempt::{self, AwaitInput};
use tradewind_metadata::task_instance::{Transition, transition};
use tradewind_metadata::worker::{self, Presence};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use super::{by_hand, defer, parameters, reasons_until};
use crate::support::{DagBuilder, World, options};

fn presence() -> Presence {
    let queues = vec!["default".to_owned(), "other".to_owned()];
    Presence { id: Uuid::now_v7(), hostname: "host".to_owned(), queues, slots: 4, running: 3, takes: true }
}

#[tokio::test]
async fn a_queued_task_instance_tells_of_its_queue() {
    let mut world = World::new().await;
    let weighed = |weight: i32| json!({"priority_weight": weight});
    world.add_dag(&DagBuilder::new("d").task("a", &[], weighed(2)).task("b", &[], weighed(1))).await;
    world.trigger("d", "r").await;
    world.start_scheduler(options()).await;
    reasons_until(&world, "d", "r", "b", &["no_worker"]).await;
    let presence = presence();
    let long_ago = Utc::now() - TimeDelta::minutes(5);
    worker::heartbeat(world.database.pool(), &presence, long_ago).await.expect("a heartbeat");
    let reasons = reasons_until(&world, "d", "r", "b", &["no_worker"]).await;
    assert!(!parameters(&reasons[0])["last_heartbeat"].is_null(), "one was there once");
    worker::heartbeat(world.database.pool(), &presence, Utc::now()).await.expect("a heartbeat");
    for (task_id, before) in [("a", 0), ("b", 1)] {
        let reasons = reasons_until(&world, "d", "r", task_id, &["waits_for_worker"]).await;
        let told = parameters(&reasons[0]);
        let numbers = ["before", "workers", "slots", "running"].map(|name| told[name].as_i64());
        assert_eq!(numbers, [Some(before), Some(1), Some(4), Some(3)]);
    }
    worker::leave(world.database.pool(), presence.id).await.expect("a leave");
    let reasons = reasons_until(&world, "d", "r", "b", &["no_worker"]).await;
    assert!(reasons[0].until().is_some_and(|until| until > Utc::now() + TimeDelta::minutes(9)));
    let of_all_queues = Presence { id: Uuid::now_v7(), queues: vec!["*".to_owned()], ..presence };
    worker::heartbeat(world.database.pool(), &of_all_queues, Utc::now()).await.expect("a heartbeat");
    reasons_until(&world, "d", "r", "b", &["waits_for_worker"]).await;
    by_hand(&world, "DELETE FROM tradewind.outbox").await;
    reasons_until(&world, "d", "r", "b", &["message_missing"]).await;
    world.stop().await;
}

#[tokio::test]
async fn an_attempt_tells_where_it_runs_and_whom_it_waits_for() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({}))).await;
    world.trigger("d", "r").await;
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    let reasons = reasons_until(&world, "d", "r", "t", &["running"]).await;
    assert_eq!(parameters(&reasons[0])["hostname"], "worker");
    by_hand(&world, "UPDATE task_instance SET last_heartbeat_at = now() - interval '200 seconds'").await;
    let reasons = reasons_until(&world, "d", "r", "t", &["running", "silent"]).await;
    assert!(reasons[1].until().is_some_and(|until| until > Utc::now()));
    by_hand(&world, "UPDATE task_instance SET last_heartbeat_at = now()").await;
    let mut connection = world.database.pool().acquire().await.expect("a connection");
    let restart = Transition::new(claim.id, &[Some(TaskInstanceState::Running)], Some(TaskInstanceState::Restarting));
    transition(&mut connection, &[restart]).await.expect("a transition");
    let reasons = reasons_until(&world, "d", "r", "t", &["restarting"]).await;
    assert!(reasons[0].until().is_some());
    world.stop().await;
}

#[tokio::test]
async fn a_deferred_task_instance_names_its_trigger() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({}))).await;
    world.trigger("d", "r").await;
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    defer(&world, &claim).await;
    let reasons = reasons_until(&world, "d", "r", "t", &["deferred", "no_triggerer"]).await;
    assert_eq!(parameters(&reasons[0])["trigger"], "pkg.SomeTrigger");
    assert!(reasons[0].until().is_some_and(|until| until > Utc::now() + TimeDelta::minutes(59)));
    by_hand(&world, "INSERT INTO job (job_type, state, latest_heartbeat) VALUES ('TriggererJob', 'running', now())")
        .await;
    reasons_until(&world, "d", "r", "t", &["deferred"]).await;
    world.stop().await;
}

#[tokio::test]
async fn a_question_names_who_may_answer() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({}))).await;
    world.trigger("d", "r").await;
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    by_hand(
        &world,
        "INSERT INTO hitl_detail (ti_id, options, subject, multiple, params, assignees, created_at, params_input) \
         SELECT id, '[\"Yes\", \"No\"]', 'Deploy?', false, '{}', '[{\"id\": \"1\", \"name\": \"Ada\"}]', now(), '{}' \
         FROM task_instance",
    )
    .await;
    let mut connection = world.database.pool().acquire().await.expect("a connection");
    let report = AwaitInput { id: claim.id, timeout: None, next_method: "go_on".to_owned(), next_kwargs: Map::new() };
    attempt::await_input(&mut connection, &report).await.expect("an accepted report");
    let reasons = reasons_until(&world, "d", "r", "t", &["awaiting_input"]).await;
    let expected = json!({"subject": "Deploy?", "options": ["Yes", "No"], "assignees": ["Ada"], "until": null});
    assert_eq!(parameters(&reasons[0]), expected);
    world.stop().await;
}
