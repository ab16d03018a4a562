//! Dags of which no run is made.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::query;
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

async fn add_assets(world: &World) {
    by_hand(world, "INSERT INTO job (job_type, state, latest_heartbeat) VALUES ('SchedulerJob', 'running', now())")
        .await;
    by_hand(
        world,
        "INSERT INTO asset (id, name, uri, \"group\", extra, created_at, updated_at) \
         SELECT id, name, 'file:///' || name, 'asset', '{}', now(), now() \
         FROM (VALUES (1, 'a'), (2, 'b'), (3, 'c')) AS asset (id, name)",
    )
    .await;
    by_hand(world, "INSERT INTO asset_active (name, uri) SELECT name, uri FROM asset").await;
}

/// Makes a condition over assets the Dag's schedule, as the Dag processor does.
async fn set_condition(world: &World, condition: Value) {
    query("UPDATE dag SET asset_expression = $1").bind(condition).execute(world.database.pool()).await.expect("set");
}

#[tokio::test]
async fn a_dag_tells_which_assets_it_waits_for() {
    let world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({}))).await;
    add_assets(&world).await;
    by_hand(&world, "INSERT INTO asset_dag_run_queue (asset_id, target_dag_id, created_at) VALUES (1, 'd', now())")
        .await;
    let (a, b) = (
        json!({"asset": {"name": "a", "uri": "file:///a", "group": "asset"}}),
        json!({"asset": {"name": "b", "uri": "file:///b", "group": "asset"}}),
    );
    set_condition(&world, json!({"any": [a, b]})).await;
    assert_eq!(codes(&explain(&world).await.reasons), ["ready"], "any of them is enough");
    set_condition(&world, json!({"all": [a, b]})).await;
    let told = explain(&world).await;
    let expected = json!({"aliases": [], "assets": [
        {"name": "a", "uri": "file:///a", "has_event": true}, {"name": "b", "uri": "file:///b", "has_event": false},
    ]});
    assert_eq!((codes(&told.reasons), parameters(&told.reasons[0])), (vec!["assets_awaited"], expected));
    by_hand(&world, "INSERT INTO asset_dag_run_queue (asset_id, target_dag_id, created_at) VALUES (2, 'd', now())")
        .await;
    assert_eq!(codes(&explain(&world).await.reasons), ["ready"]);
    world.stop().await;
}

#[tokio::test]
async fn an_alias_counts_as_the_assets_that_it_has_led_to() {
    let world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({}))).await;
    add_assets(&world).await;
    by_hand(&world, "INSERT INTO asset_alias (id, name, \"group\") VALUES (1, 'by', 'asset'), (2, 'lost', 'asset')")
        .await;
    by_hand(&world, "INSERT INTO asset_alias_asset (alias_id, asset_id) VALUES (1, 2), (1, 3)").await;
    let alias = |name: &str| json!({"alias": {"name": name, "group": "asset"}});
    set_condition(&world, json!({"all": [alias("by"), alias("lost"), {"asset_ref": {"name": "a"}}]})).await;
    let told = explain(&world).await;
    let expected = json!({"aliases": ["lost"], "assets": [
        {"name": "b", "uri": "file:///b", "has_event": false, "alias": "by"},
        {"name": "c", "uri": "file:///c", "has_event": false, "alias": "by"},
        {"name": "a", "uri": "file:///a", "has_event": false},
    ]});
    assert_eq!((codes(&told.reasons), parameters(&told.reasons[0])), (vec!["assets_awaited"], expected));
    set_condition(&world, alias("by")).await;
    assert_eq!(codes(&explain(&world).await.reasons), ["assets_awaited"]);
    by_hand(&world, "INSERT INTO asset_dag_run_queue (asset_id, target_dag_id, created_at) VALUES (3, 'd', now())")
        .await;
    assert_eq!(codes(&explain(&world).await.reasons), ["ready"], "one of its assets is enough");
    world.stop().await;
}

#[tokio::test]
async fn a_dag_tells_what_its_partitions_wait_for() {
    let world = World::new().await;
    let asset = |name: &str| json!({"__type": "asset", "name": name, "uri": format!("file:///{name}"), "group": "asset", "extra": {}});
    let both = json!({"__type": "asset_all", "objects": [asset("a"), asset("b")]});
    let rollup = json!({"__type": "airflow.partition_mappers.base.RollupMapper", "__var": {
        "upstream_mapper": {"__type": "airflow.partition_mappers.fixed_key.FixedKeyMapper", "__var": {"downstream_key": "all"}},
        "window": {"__type": "airflow.partition_mappers.window.SegmentWindow", "__var": {"segments": ["eu", "us"]}},
        "wait_policy": {"__type": "airflow.partition_mappers.wait_policy.WaitForAll", "__var": {}},
    }});
    let timetable = json!({"__type": "airflow.timetables.simple.PartitionedAssetTimetable", "__var": {
        "asset_condition": both,
        "partition_mapper_config": [[asset("a"), rollup]],
        "default_partition_mapper": {"__type": "airflow.partition_mappers.identity.IdentityMapper", "__var": {}},
    }});
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({})).with("timetable", timetable)).await;
    add_assets(&world).await;
    let named = |name: &str| json!({"asset": {"name": name, "uri": format!("file:///{name}"), "group": "asset"}});
    set_condition(&world, json!({"all": [named("a"), named("b")]})).await;
    let told = explain(&world).await;
    let nothing = json!({"partitions": [], "partitions_left_out": 0});
    assert_eq!((codes(&told.reasons), parameters(&told.reasons[0])), (vec!["partitions_awaited"], nothing));

    by_hand(
        &world,
        "INSERT INTO asset_partition_dag_run (id, target_dag_id, partition_key, created_at, updated_at) \
         VALUES (1, 'd', 'all', now(), now())",
    )
    .await;
    let event = |id: i32, asset: i32, key: &str| {
        format!(
            "INSERT INTO partitioned_asset_key_log (id, asset_id, asset_event_id, asset_partition_dag_run_id, \
             source_partition_key, target_dag_id, target_partition_key, created_at) \
             VALUES ({id}, {asset}, {id}, 1, '{key}', 'd', 'all', now())"
        )
    };
    let add = async |statement: String| {
        query(sqlx::AssertSqlSafe(statement)).execute(world.database.pool()).await.expect("added");
    };
    add(event(1, 1, "us")).await;
    let told = explain(&world).await;
    let expected = json!({"partitions_left_out": 0, "partitions": [{"partition_key": "all", "assets": [
        {"name": "a", "uri": "file:///a", "received": 1, "is_enough": false, "missing": ["eu"], "missing_left_out": 0},
        {"name": "b", "uri": "file:///b", "received": 0, "is_enough": false, "missing": [], "missing_left_out": 0},
    ]}]});
    assert_eq!((codes(&told.reasons), parameters(&told.reasons[0])), (vec!["partitions_awaited"], expected));
    assert_eq!(
        told.reasons[0].to_string(),
        "no partition has the asset events that it needs: \"all\" with \"a\" (1 received, missing \"eu\"), \"b\" \
         (nothing received)"
    );
    add(event(2, 1, "eu")).await;
    add(event(3, 2, "all")).await;
    assert_eq!(codes(&explain(&world).await.reasons), ["ready"]);
    world.stop().await;
}

#[tokio::test]
async fn a_dag_tells_that_its_timetable_is_asked() {
    let world = World::new().await;
    let timetable = json!({"__type": "company.Workdays", "__var": {}});
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({})).with("timetable", timetable)).await;
    by_hand(&world, "INSERT INTO job (job_type, state, latest_heartbeat) VALUES ('SchedulerJob', 'running', now())")
        .await;
    by_hand(&world, "UPDATE dag SET next_dagrun_create_after = now()").await;
    let told = explain(&world).await;
    let unasked = json!({"timetable": "company.Workdays", "since": null, "is_taken": false});
    assert_eq!((codes(&told.reasons), parameters(&told.reasons[0])), (vec!["timetable_awaited"], unasked));
    by_hand(
        &world,
        "INSERT INTO tradewind.evaluation (id, dag_id, question, asked_at) \
         VALUES (gen_random_uuid(), 'd', '{\"type\": \"create_run\"}', '2026-01-01T00:00:00Z')",
    )
    .await;
    let asked = json!({"timetable": "company.Workdays", "since": "2026-01-01T00:00:00Z", "is_taken": false});
    assert_eq!(parameters(&explain(&world).await.reasons[0]), asked);
    by_hand(&world, "UPDATE tradewind.evaluation SET claimed_at = now()").await;
    assert_eq!(parameters(&explain(&world).await.reasons[0])["is_taken"], json!(true));
    world.stop().await;
}
