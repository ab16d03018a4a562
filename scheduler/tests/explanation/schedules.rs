//! Dags of which no run is made.

use chrono::{TimeDelta, Utc};
use serde_json::json;
use tradewind_metadata::explanation;
use tradewind_model::explanation::DagExplanation;

use super::{by_hand, codes, options, parameters};
use crate::support::{DagBuilder, World};

async fn explain(world: &World) -> DagExplanation {
    let mut connection = world.database.pool().acquire().await.expect("a connection");
    explanation::schedule(&mut connection, &options(), "d").await.expect("facts").expect("a Dag").explain()
}

#[tokio::test]
async fn a_dag_tells_what_keeps_its_next_run() {
    let world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({})).column("max_active_runs", json!(1))).await;
    assert_eq!(codes(&explain(&world).await.reasons), ["no_scheduler", "no_next_run"]);
    by_hand(&world, "INSERT INTO job (job_type, state, latest_heartbeat) VALUES ('SchedulerJob', 'running', now())")
        .await;
    by_hand(&world, "UPDATE dag SET next_dagrun_create_after = now() + interval '1 hour'").await;
    let told = explain(&world).await;
    assert_eq!(codes(&told.reasons), ["next_run_after"]);
    assert!(told.reasons[0].until().expect("a time") > Utc::now() + TimeDelta::minutes(59));
    by_hand(&world, "UPDATE dag SET next_dagrun_create_after = now()").await;
    assert_eq!(codes(&explain(&world).await.reasons), ["ready"]);
    world.trigger("d", "r").await;
    let told = explain(&world).await;
    assert_eq!(parameters(&told.reasons[0]), json!({"dag_id": "d", "limit": 1, "active": 1}));
    by_hand(&world, "UPDATE dag SET is_paused = true, has_import_errors = true, allowed_run_types = '[\"manual\"]'")
        .await;
    let expected = ["dag_paused", "dag_import_errors", "scheduled_runs_not_allowed", "dag_max_active_runs"];
    assert_eq!(codes(&explain(&world).await.reasons), expected);
    world.stop().await;
}

#[tokio::test]
async fn a_dag_tells_which_assets_it_waits_for() {
    let world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({}))).await;
    by_hand(&world, "INSERT INTO job (job_type, state, latest_heartbeat) VALUES ('SchedulerJob', 'running', now())")
        .await;
    by_hand(
        &world,
        "INSERT INTO asset (id, name, uri, \"group\", extra, created_at, updated_at) \
         SELECT id, name, 'file:///' || name, 'asset', '{}', now(), now() FROM (VALUES (1, 'a'), (2, 'b')) AS asset (id, name)",
    )
    .await;
    by_hand(
        &world,
        "INSERT INTO dag_schedule_asset_reference (asset_id, dag_id, created_at, updated_at) \
         SELECT id, 'd', now(), now() FROM asset",
    )
    .await;
    by_hand(&world, "INSERT INTO asset_dag_run_queue (asset_id, target_dag_id, created_at) VALUES (1, 'd', now())")
        .await;
    by_hand(&world, "UPDATE dag SET asset_expression = '{\"any\": [{\"asset\": {\"name\": \"a\", \"uri\": \"file:///a\"}}, {\"asset\": {}}]}'").await;
    assert_eq!(codes(&explain(&world).await.reasons), ["ready"], "any of them is enough");
    by_hand(&world, "UPDATE dag SET asset_expression = NULL").await;
    let told = explain(&world).await;
    let expected = json!({"assets": [
        {"name": "a", "uri": "file:///a", "has_event": true}, {"name": "b", "uri": "file:///b", "has_event": false},
    ]});
    assert_eq!((codes(&told.reasons), parameters(&told.reasons[0])), (vec!["assets_awaited"], expected));
    by_hand(&world, "INSERT INTO asset_dag_run_queue (asset_id, target_dag_id, created_at) VALUES (2, 'd', now())")
        .await;
    assert_eq!(codes(&explain(&world).await.reasons), ["ready"]);
    world.stop().await;
}
