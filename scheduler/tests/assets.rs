//! Dags that assets start, on a real database, with several schedulers at once.

#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

#[expect(dead_code, reason = "what only scheduling.rs needs")]
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use sqlx::{query, query_as, query_scalar};
use support::{DagBuilder, World, options};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tradewind_airflow::evaluation::{PythonError, Question, Reply};
use tradewind_metadata::{asset_event, evaluation};
use tradewind_scheduler::Options;

const PATIENCE: Duration = Duration::from_secs(30);

fn asset(name: &str) -> Value {
    json!({"__type": "asset", "name": name, "uri": format!("s3://{name}"), "group": "asset", "extra": {}})
}

fn all(names: &[&str]) -> Value {
    json!({"__type": "asset_all", "objects": names.iter().map(|name| asset(name)).collect::<Vec<_>>()})
}

/// Stores a Dag that waits for all of the assets.
async fn add_consumer(
    world: &World,
    dag_id: &str,
    names: &[&str],
    timetable: Value,
    settings: &[(&'static str, Value)],
) {
    let expression: Vec<Value> = names
        .iter()
        .map(|name| json!({"asset": {"name": name, "uri": format!("s3://{name}"), "group": "asset"}}))
        .collect();
    let mut dag = DagBuilder::new(dag_id)
        .task("t", &[], json!({}))
        .with("timetable", timetable)
        .column("asset_expression", json!({ "all": expression }));
    for (column, value) in settings {
        dag = dag.column(column, value.clone());
    }
    world.add_dag(&dag).await;
    for name in names {
        let id = add_asset(world, name, &format!("s3://{name}"), true).await;
        refer(world, "dag_schedule_asset_reference", id, dag_id).await;
    }
}

async fn add_triggered(world: &World, dag_id: &str, names: &[&str], settings: &[(&'static str, Value)]) {
    let timetable = json!({
        "__type": "airflow.timetables.simple.AssetTriggeredTimetable", "__var": {"asset_condition": all(names)},
    });
    add_consumer(world, dag_id, names, timetable, settings).await;
}

async fn add_partitioned(world: &World, dag_id: &str, names: &[&str], mapper: Value) {
    let timetable = partitioned(names, mapper);
    add_consumer(world, dag_id, names, timetable, &[("timetable_partitioned", json!(true))]).await;
}

fn partitioned(names: &[&str], mapper: Value) -> Value {
    json!({
        "__type": "airflow.timetables.simple.PartitionedAssetTimetable",
        "__var": {"asset_condition": all(names), "partition_mapper_config": [], "default_partition_mapper": mapper},
    })
}

fn identity() -> Value {
    json!({"__type": "airflow.partition_mappers.identity.IdentityMapper", "__var": {}})
}

async fn add_asset(world: &World, name: &str, uri: &str, active: bool) -> i32 {
    let id = query_scalar(
        "INSERT INTO asset (name, uri, \"group\", extra, created_at, updated_at) VALUES ($1, $2, 'asset', '{}', now(), now()) \
         ON CONFLICT (name, uri) DO UPDATE SET name = excluded.name RETURNING id",
    )
    .bind(name)
    .bind(uri)
    .fetch_one(world.database.pool())
    .await
    .unwrap();
    if active {
        query("INSERT INTO asset_active (name, uri) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(uri)
            .execute(world.database.pool())
            .await
            .unwrap();
    }
    id
}

async fn refer(world: &World, table: &'static str, asset_id: i32, dag_id: &str) {
    let statement = match table {
        "dag_schedule_asset_reference" => {
            "INSERT INTO dag_schedule_asset_reference (asset_id, dag_id, created_at, updated_at) VALUES ($1, $2, now(), now())"
        }
        _ => {
            "INSERT INTO task_outlet_asset_reference (asset_id, dag_id, task_id, created_at, updated_at) \
             VALUES ($1, $2, 't', now(), now())"
        }
    };
    query(statement).bind(asset_id).bind(dag_id).execute(world.database.pool()).await.unwrap();
}

async fn emit(world: &World, name: &str, partition_key: Option<&str>) {
    let id: i32 =
        query_scalar("SELECT id FROM asset WHERE name = $1").bind(name).fetch_one(world.database.pool()).await.unwrap();
    let mut transaction = world.database.pool().begin().await.unwrap();
    asset_event::register_by_hand(&mut transaction, id, Map::new(), partition_key.map(str::to_owned), 1000)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}

/// Waits until a statement gives a number.
async fn await_count(world: &World, statement: &'static str, wanted: i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = world.count(statement).await;
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{statement}: {found} instead of {wanted}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Nothing is found by polling.
fn only_told() -> Options {
    Options { poll_interval: Duration::from_secs(3600), ..options() }
}

const RUNS: &str = "SELECT count(*) FROM dag_run WHERE run_type = 'asset_triggered'";

#[tokio::test]
async fn the_event_that_completes_a_condition_makes_the_run_without_any_poll() {
    let mut world = World::new().await;
    add_triggered(&world, "both", &["a", "b"], &[]).await;
    world.start_scheduler(only_told()).await;
    emit(&world, "a", None).await;
    emit(&world, "a", None).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(world.count(RUNS).await, 0, "half of a condition starts nothing");
    emit(&world, "b", None).await;
    assert_eq!(world.next_claim().await.dag_id, "both");
    let run: (String, String, bool, bool) = query_as(
        "SELECT run_type, triggered_by::text, logical_date IS NULL AND data_interval_start IS NULL, \
         run_id LIKE 'asset_triggered__%' FROM dag_run",
    )
    .fetch_one(world.database.pool())
    .await
    .unwrap();
    assert_eq!(run, ("asset_triggered".to_owned(), "ASSET".to_owned(), true, true));
    assert_eq!(world.count("SELECT count(*) FROM dagrun_asset_event").await, 3);
    assert_eq!(world.count("SELECT count(*) FROM asset_dag_run_queue").await, 0);
    world.stop().await;
}

#[tokio::test]
async fn several_schedulers_make_one_run_of_one_set_of_events() {
    let mut world = World::new().await;
    let dag_ids: Vec<String> = (0..8).map(|n| format!("dag_{n}")).collect();
    for dag_id in &dag_ids {
        add_triggered(&world, dag_id, &["a", "b"], &[("max_active_runs", json!(10_000))]).await;
    }
    for _ in 0..3 {
        world.start_scheduler(Options { poll_interval: Duration::from_millis(50), ..options() }).await;
    }
    for _ in 0..15 {
        tokio::join!(
            emit(&world, "a", None),
            emit(&world, "b", None),
            emit(&world, "b", None),
            emit(&world, "a", None)
        );
    }
    // What is left is less than a set.
    let deadline = Instant::now() + PATIENCE;
    while world
        .count("SELECT count(*) FROM (SELECT 1 FROM asset_dag_run_queue GROUP BY target_dag_id HAVING count(*) = 2) AS full_set")
        .await
        > 0
    {
        assert!(Instant::now() < deadline, "complete sets of events stay in the queue");
        sleep(Duration::from_millis(20)).await;
    }
    let twice = "SELECT count(*) FROM (SELECT 1 FROM dagrun_asset_event JOIN dag_run ON dag_run.id = dag_run_id \
                 GROUP BY dag_id, event_id HAVING count(*) > 1) AS twice";
    assert_eq!(world.count(twice).await, 0, "an event was consumed by two runs of a Dag");
    let without = "SELECT count(*) FROM dag_run WHERE (SELECT count(DISTINCT asset_id) FROM dagrun_asset_event \
                   JOIN asset_event ON asset_event.id = event_id WHERE dag_run_id = dag_run.id) = 0";
    assert_eq!(world.count(without).await, 0, "a run was made of nothing");
    assert!(world.count(RUNS).await >= 8);
    world.stop().await;
}

#[tokio::test]
async fn events_wait_while_the_dag_has_as_many_runs_as_it_may() {
    let mut world = World::new().await;
    add_triggered(&world, "one", &["a"], &[("max_active_runs", json!(1))]).await;
    world.start_scheduler(only_told()).await;
    emit(&world, "a", None).await;
    let first = world.next_claim().await;
    emit(&world, "a", None).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(world.count(RUNS).await, 1);
    world.succeed(&first).await;
    let second = world.next_claim().await;
    assert_ne!(first.run_id, second.run_id);
    assert_eq!(world.count("SELECT count(*) FROM dagrun_asset_event").await, 2);
    world.stop().await;
}

#[tokio::test]
async fn paused_and_stale_dags_get_no_runs() {
    let mut world = World::new().await;
    for (dag_id, column) in [("paused", "is_paused"), ("stale", "is_stale"), ("broken", "has_import_errors")] {
        add_triggered(&world, dag_id, &["a"], &[(column, json!(true))]).await;
    }
    add_triggered(&world, "fine", &["a"], &[]).await;
    query("INSERT INTO asset_dag_run_queue SELECT id, 'paused', now() FROM asset")
        .execute(world.database.pool())
        .await
        .unwrap();
    world.start_scheduler(options()).await;
    emit(&world, "a", None).await;
    assert_eq!(world.next_claim().await.dag_id, "fine");
    sleep(Duration::from_millis(600)).await;
    assert_eq!(world.count(RUNS).await, 1);
    // Un-paused, the Dag gets its run of what was queued before.
    query("UPDATE dag SET is_paused = false WHERE dag_id = 'paused'").execute(world.database.pool()).await.unwrap();
    assert_eq!(world.next_claim().await.dag_id, "paused");
    world.stop().await;
}

#[tokio::test]
async fn a_dag_that_cannot_be_read_keeps_no_other_from_its_run() {
    let mut world = World::new().await;
    add_triggered(&world, "a_broken", &["a"], &[]).await;
    add_partitioned(&world, "a_broken_too", &["b"], identity()).await;
    add_triggered(&world, "fine", &["a"], &[]).await;
    add_partitioned(&world, "fine_too", &["b"], identity()).await;
    emit(&world, "a", None).await;
    emit(&world, "b", Some("x")).await;
    query("UPDATE serialized_dag SET data = '{}' WHERE dag_id LIKE 'a_broken%'")
        .execute(world.database.pool())
        .await
        .unwrap();
    world.start_scheduler(options()).await;
    await_count(&world, RUNS, 2).await;
    let left = "SELECT count(*) FROM asset_dag_run_queue WHERE target_dag_id = 'a_broken'";
    assert_eq!(world.count(left).await, 1, "its events wait for the Dag to be parsed");
    world.stop().await;
}

#[tokio::test]
async fn every_event_of_a_partition_is_consumed_once_however_many_schedulers_there_are() {
    let mut world = World::new().await;
    add_partitioned(&world, "partitioned", &["a"], identity()).await;
    for _ in 0..3 {
        world.start_scheduler(Options { poll_interval: Duration::from_millis(50), ..options() }).await;
    }
    let emit_20 = async |key| {
        for _ in 0..20 {
            emit(&world, "a", Some(key)).await;
        }
    };
    tokio::join!(emit_20("x"), emit_20("y"), emit_20("z"));
    await_count(&world, "SELECT count(*) FROM asset_partition_dag_run WHERE created_dag_run_id IS NULL", 0).await;
    assert_eq!(world.count("SELECT count(*) FROM dagrun_asset_event").await, 60);
    assert_eq!(world.count("SELECT count(DISTINCT event_id) FROM dagrun_asset_event").await, 60);
    let mixed = "SELECT count(*) FROM dagrun_asset_event JOIN dag_run ON dag_run.id = dag_run_id \
                 JOIN asset_event ON asset_event.id = event_id WHERE asset_event.partition_key <> dag_run.partition_key";
    assert_eq!(world.count(mixed).await, 0);
    world.stop().await;
}

#[tokio::test]
async fn events_of_two_assets_at_once_meet_in_one_partition() {
    let mut world = World::new().await;
    add_partitioned(&world, "both", &["a", "b"], identity()).await;
    world.start_scheduler(only_told()).await;
    for n in 0..20 {
        let key = format!("key_{n}");
        tokio::join!(emit(&world, "a", Some(&key)), emit(&world, "b", Some(&key)));
    }
    await_count(&world, RUNS, 20).await;
    assert_eq!(world.count("SELECT count(*) FROM asset_partition_dag_run").await, 20);
    world.stop().await;
}

#[tokio::test]
async fn reports_with_several_outlets_never_block_each_other() {
    let world = World::new().await;
    add_partitioned(&world, "both", &["a", "b"], identity()).await;
    let report = async |names: &[&str]| {
        for n in 0..40 {
            let mut transaction = world.database.pool().begin().await.unwrap();
            for name in names {
                let id: i32 = query_scalar("SELECT id FROM asset WHERE name = $1")
                    .bind(name)
                    .fetch_one(&mut *transaction)
                    .await
                    .unwrap();
                let key = Some(format!("key_{}", n % 3));
                asset_event::register_by_hand(&mut transaction, id, Map::new(), key, 1000).await.unwrap();
            }
            transaction.commit().await.unwrap();
        }
    };
    tokio::join!(report(&["a", "b"]), report(&["b"]), report(&["a"]), report(&["a", "b"]));
    assert_eq!(world.count("SELECT count(*) FROM asset_partition_dag_run").await, 3);
    assert_eq!(world.count("SELECT count(*) FROM partitioned_asset_key_log").await, 240);
    world.stop().await;
}

#[tokio::test]
async fn a_partition_that_waits_under_other_mappers_is_forgotten() {
    let mut world = World::new().await;
    add_partitioned(&world, "both", &["a", "b"], identity()).await;
    emit(&world, "a", Some("x")).await;
    let fixed =
        json!({"__type": "airflow.partition_mappers.fixed_key.FixedKeyMapper", "__var": {"downstream_key": "all"}});
    query("UPDATE serialized_dag SET data = jsonb_set(data::jsonb, '{dag,timetable}', $1)")
        .bind(partitioned(&["a", "b"], fixed))
        .execute(world.database.pool())
        .await
        .unwrap();
    world.start_scheduler(options()).await;
    await_count(&world, "SELECT count(*) FROM asset_partition_dag_run", 0).await;
    assert_eq!(world.count("SELECT count(*) FROM partitioned_asset_key_log").await, 0);
    emit(&world, "a", Some("x")).await;
    emit(&world, "b", Some("y")).await;
    await_count(&world, RUNS, 1).await;
    world.stop().await;
}

/// What a Dag processor would answer whose plugin maps every key but one to `p` and `q`, of which `p` wants no more.
fn answer_of_plugin(question: &Question) -> Reply {
    match question {
        Question::MapPartition(asked) if asked.partition_key == "later" => {
            Reply::Error(PythonError { was_not_asked: true, ..PythonError::new("the plugin failed a moment ago") })
        }
        Question::MapPartition(asked) if asked.partition_key == "bad" => {
            Reply::Error(PythonError::new("LookupError: bad is no key"))
        }
        Question::MapPartition(asked) if asked.partition_key == "long" => mapped(json!(["k".repeat(251)]), json!(null)),
        Question::MapPartition(asked) if asked.partition_key == "nul" => mapped(json!(["\0"]), json!(null)),
        Question::MapPartition(asked) if asked.partition_key == "negative" => mapped(json!(["p"]), json!(-1)),
        Question::MapPartition(asked) if asked.partition_key == "fraction" => mapped(json!(["p"]), json!(2.5)),
        Question::MapPartition(_) => {
            Reply::Answer(json!({"keys": ["p", "q"], "max_downstream_keys": null, "partition_date": null}))
        }
        Question::PartitionStates(asked) => {
            let states = asked.partitions.iter().map(|partition| {
                json!({"satisfied": partition.partition_key == "p", "unreachable": null, "error": null,
                    "date": "2026-01-01T00:00:00Z", "date_error": null})
            });
            Reply::Answer(json!({"states": states.collect::<Vec<_>>()}))
        }
        other => panic!("nobody asks {other:?}"),
    }
}

fn mapped(keys: Value, max_downstream_keys: Value) -> Reply {
    Reply::Answer(json!({"keys": keys, "max_downstream_keys": max_downstream_keys, "partition_date": null}))
}

/// Answers as a Dag processor would, and counts how often it was asked to map an event.
fn answer_all(world: &World) -> (JoinHandle<()>, Arc<AtomicUsize>) {
    let (pool, mappings) = (world.database.pool().clone(), Arc::new(AtomicUsize::new(0)));
    let counted = mappings.clone();
    let processor = tokio::spawn(async move {
        loop {
            for asked in evaluation::claim(&pool, None, Duration::ZERO).await.unwrap() {
                if matches!(asked.question, Question::MapPartition(_)) {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                evaluation::answer(&pool, asked.id, &answer_of_plugin(&asked.question)).await.unwrap();
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
    (processor, mappings)
}

#[tokio::test]
async fn an_event_that_cannot_be_mapped_keeps_no_other_waiting() {
    let mut world = World::new().await;
    add_partitioned(&world, "foreign", &["a"], json!({"__type": "my.plugin.Mapper", "__var": {}})).await;
    for key in ["later", "long", "nul", "negative", "fraction", "x"] {
        emit(&world, "a", Some(key)).await;
    }
    let (processor, _) = answer_all(&world);
    world.start_scheduler(options()).await;
    await_count(&world, RUNS, 1).await;
    await_count(&world, "SELECT count(*) FROM log WHERE event = 'failed to map partition_key'", 4).await;
    let told: Vec<String> =
        query_scalar("SELECT extra FROM log ORDER BY id").fetch_all(world.database.pool()).await.unwrap();
    assert!(told[0].ends_with("ValueError: a key of 251 characters is too long; 250 are allowed"), "{told:?}");
    assert!(told[1].ends_with("holds a NUL character, which the database does not store"), "{told:?}");
    assert!(told[2].contains("invalid value: integer `-1`"), "{told:?}");
    assert!(told[3].contains("invalid type: floating point `2.5`"), "{told:?}");
    assert_eq!(world.count("SELECT count(*) FROM tradewind.partition_event").await, 1, "the one that is asked later");
    processor.abort();
    world.stop().await;
}

#[tokio::test]
async fn one_of_several_schedulers_asks_about_an_event() {
    let mut world = World::new().await;
    add_partitioned(&world, "foreign", &["a"], json!({"__type": "my.plugin.Mapper", "__var": {}})).await;
    let (processor, mappings) = answer_all(&world);
    for _ in 0..3 {
        world.start_scheduler(Options { poll_interval: Duration::from_millis(50), ..options() }).await;
    }
    for number in 0..20 {
        emit(&world, "a", Some(&number.to_string())).await;
    }
    await_count(&world, "SELECT count(*) FROM tradewind.partition_event", 0).await;
    assert_eq!(world.count("SELECT count(DISTINCT asset_event_id) FROM partitioned_asset_key_log").await, 20);
    assert_eq!(mappings.load(Ordering::Relaxed), 20);
    processor.abort();
    world.stop().await;
}

#[tokio::test]
async fn a_mapper_of_a_plugin_is_asked_while_others_go_on() {
    let mut world = World::new().await;
    add_partitioned(&world, "foreign", &["a"], json!({"__type": "my.plugin.Mapper", "__var": {}})).await;
    add_partitioned(&world, "own", &["a"], identity()).await;
    world.start_scheduler(options()).await;
    emit(&world, "a", Some("x")).await;
    await_count(&world, RUNS, 1).await;
    assert_eq!(world.count("SELECT count(*) FROM dag_run WHERE dag_id = 'own'").await, 1, "another Dag does not wait");
    assert_eq!(world.count("SELECT count(*) FROM tradewind.partition_event").await, 1);

    let (processor, _) = answer_all(&world);
    await_count(&world, RUNS, 2).await;
    let dated = "SELECT count(*) FROM dag_run WHERE dag_id = 'foreign' AND partition_key = 'p' \
                 AND partition_date = '2026-01-01T00:00:00Z'";
    assert_eq!(world.count(dated).await, 1);
    emit(&world, "a", Some("bad")).await;
    await_count(&world, "SELECT count(*) FROM log WHERE event = 'failed to map partition_key'", 1).await;
    let told: String = query_scalar("SELECT extra FROM log").fetch_one(world.database.pool()).await.unwrap();
    assert!(told.contains("'foreign'") && told.ends_with("\nLookupError: bad is no key"), "{told}");
    await_count(&world, RUNS, 3).await;
    let waiting = "SELECT count(*) FROM asset_partition_dag_run WHERE created_dag_run_id IS NULL";
    assert_eq!(world.count(waiting).await, 1, "q wants more");
    assert_eq!(world.count("SELECT count(*) FROM tradewind.partition_event").await, 0);
    emit(&world, "a", Some("later")).await;
    await_count(&world, RUNS, 4).await;
    await_count(&world, "SELECT count(*) FROM tradewind.evaluation", 0).await;
    assert_eq!(world.count("SELECT count(*) FROM tradewind.partition_event").await, 1, "it waits for its turn");
    assert_eq!(world.count("SELECT count(*) FROM log").await, 1);
    processor.abort();
    world.stop().await;
}

#[tokio::test]
async fn assets_that_nobody_names_are_retired_and_conflicts_are_told() {
    let mut world = World::new().await;
    add_triggered(&world, "names_it", &["named"], &[]).await;
    let orphan = add_asset(&world, "orphan", "s3://orphan", true).await;
    let conflicting = add_asset(&world, "named", "s3://other_uri", false).await;
    world.add_dag(&DagBuilder::new("conflicting").task("t", &[], json!({}))).await;
    refer(&world, "task_outlet_asset_reference", conflicting, "conflicting").await;
    query("INSERT INTO asset_state_store (asset_id, key, value, updated_at) VALUES ($1, 'k', 'v', now())")
        .bind(orphan)
        .execute(world.database.pool())
        .await
        .unwrap();
    world.start_scheduler(options()).await;
    await_count(&world, "SELECT count(*) FROM dag_warning", 1).await;
    let active: BTreeSet<String> = query_scalar("SELECT name || ' ' || uri FROM asset_active")
        .fetch_all(world.database.pool())
        .await
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(active, BTreeSet::from(["named s3://named".to_owned()]));
    assert_eq!(world.count("SELECT count(*) FROM asset_state_store").await, 0);
    let warning: (String, String, String) = query_as("SELECT dag_id, warning_type, message FROM dag_warning")
        .fetch_one(world.database.pool())
        .await
        .unwrap();
    let message = "Cannot activate asset Asset(name=\"named\", uri=\"s3://other_uri\", group=\"asset\"); name is already \
                   associated to 's3://named'";
    assert_eq!(warning, ("conflicting".to_owned(), "asset conflict".to_owned(), message.to_owned()));
    // The other one goes: now there is room.
    query("DELETE FROM dag_schedule_asset_reference").execute(world.database.pool()).await.unwrap();
    await_count(&world, "SELECT count(*) FROM asset_active WHERE uri = 's3://other_uri'", 1).await;
    await_count(&world, "SELECT count(*) FROM dag_warning", 0).await;
    world.stop().await;
}
