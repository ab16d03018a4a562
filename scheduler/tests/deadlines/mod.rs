//! Deadlines of Dag runs.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{query, query_as, query_scalar};
use tradewind_metadata::clear::{Clearing, clear};
use tradewind_metadata::serialized_dag;

use crate::support::{DagBuilder, World, options};

/// Stores a Dag with one task and an alert.
async fn add_dag(world: &World, dag_id: &str, reference: Value, seconds: f64, class: &str) {
    world.add_dag(&DagBuilder::new(dag_id).with("deadline", json!(["named"])).task("a", &[], json!({}))).await;
    let callback = json!({
        "__classname__": format!("airflow.sdk.definitions.callback.{class}"), "__version__": 0,
        "__data__": {"path": "calls.me", "kwargs": {"a": 1}},
    });
    query(
        "INSERT INTO deadline_alert (id, created_at, serialized_dag_id, reference, \"interval\", callback_def) \
         SELECT gen_random_uuid(), now(), id, $2, $3, $4 FROM serialized_dag WHERE dag_id = $1",
    )
    .bind(dag_id)
    .bind(reference)
    .bind(json!({"__classname__": "datetime.timedelta", "__version__": 2, "__data__": seconds}))
    .bind(callback)
    .execute(world.database.pool())
    .await
    .expect("an alert");
}

async fn until(world: &World, statement: &'static str) {
    for _ in 0..600 {
        if query_scalar::<_, bool>(statement).fetch_one(world.database.pool()).await.expect("a truth value") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("not in time: {statement}");
}

/// When the run of a Dag must have ended.
async fn deadline_of(world: &World, dag_id: &str) -> DateTime<Utc> {
    query_scalar("SELECT deadline_time FROM deadline JOIN dag_run ON dag_run.id = dagrun_id WHERE dag_id = $1")
        .bind(dag_id)
        .fetch_one(world.database.pool())
        .await
        .expect("a deadline")
}

#[tokio::test]
async fn a_run_has_the_deadlines_of_its_dag() {
    let world = World::new().await;
    let fixed = json!({"reference_type": "FixedDatetimeDeadline", "datetime": 4_102_444_800.0});
    add_dag(&world, "fixed", fixed, 60.0, "AsyncCallback").await;
    add_dag(&world, "queued", json!({"reference_type": "DagRunQueuedAtDeadline"}), 60.5, "AsyncCallback").await;
    add_dag(&world, "logical", json!({"reference_type": "DagRunLogicalDateDeadline"}), -60.0, "SyncCallback").await;
    let average = |min_runs| json!({"reference_type": "AverageRuntimeDeadline", "max_runs": 10, "min_runs": min_runs});
    add_dag(&world, "average", average(1), 60.0, "AsyncCallback").await;
    add_dag(&world, "average_of_two", average(2), 60.0, "AsyncCallback").await;
    let custom = json!({"reference_type": "Mine", "__class_path": "plugin.Mine"});
    add_dag(&world, "custom", custom, 60.0, "AsyncCallback").await;
    add_dag(&world, "unreadable", json!({"reference_type": "Mine"}), 60.0, "AsyncCallback").await;
    for dag_id in ["average", "average_of_two"] {
        let before = world.trigger(dag_id, "before").await;
        query("UPDATE dag_run SET state = 'success', start_date = now() - interval '100 s', end_date = now() WHERE id = $1")
            .bind(before)
            .execute(world.database.pool())
            .await
            .expect("a run before");
    }
    for dag_id in ["fixed", "queued", "logical", "average", "average_of_two", "custom", "unreadable"] {
        world.trigger(dag_id, "r").await;
    }
    assert_eq!(deadline_of(&world, "fixed").await.timestamp(), 4_102_444_860);
    let (queued_at, logical_date): (DateTime<Utc>, DateTime<Utc>) =
        query_as("SELECT max(queued_at) FILTER (WHERE dag_id = 'queued'), max(logical_date) FILTER (WHERE dag_id = 'logical') FROM dag_run")
            .fetch_one(world.database.pool())
            .await
            .expect("dates");
    assert_eq!(deadline_of(&world, "queued").await, queued_at + TimeDelta::milliseconds(60_500));
    assert_eq!(deadline_of(&world, "logical").await, logical_date - TimeDelta::seconds(60));
    let left = deadline_of(&world, "average").await - Utc::now();
    assert!(left > TimeDelta::seconds(130) && left < TimeDelta::seconds(161), "{left}");
    assert_eq!(world.count("SELECT count(*) FROM deadline").await, 4);
    let asked =
        "SELECT count(*) FROM tradewind.deadline_request JOIN dag_run ON id = dag_run_id WHERE dag_id = 'custom'";
    assert_eq!(world.count(asked).await, 1);
    assert_eq!(world.count("SELECT count(*) FROM tradewind.deadline_request").await, 1);
    let callbacks = "SELECT count(*) FROM callback WHERE state = 'scheduled' AND fetch_method = 'import_path' \
                     AND bundle_name = 'dags-folder' AND trigger_id IS NULL AND priority_weight = 1";
    assert_eq!(world.count(callbacks).await, 4);
    world.stop().await;
}

#[tokio::test]
async fn a_run_that_succeeds_in_time_loses_its_deadlines() {
    let mut world = World::new().await;
    add_dag(&world, "met", json!({"reference_type": "DagRunQueuedAtDeadline"}), 60.0, "AsyncCallback").await;
    let run = world.trigger("met", "r").await;
    world.start_scheduler(options()).await;
    assert_eq!(world.run_to_end(run).await, "success");
    assert_eq!(world.count("SELECT (SELECT count(*) FROM deadline) + (SELECT count(*) FROM callback)").await, 0);
    world.stop().await;
}

#[tokio::test]
async fn the_callback_of_a_missed_deadline_is_handed_over() {
    let mut world = World::new().await;
    add_dag(&world, "triggerer", json!({"reference_type": "DagRunQueuedAtDeadline"}), 0.1, "AsyncCallback").await;
    add_dag(&world, "executor", json!({"reference_type": "DagRunQueuedAtDeadline"}), 0.1, "SyncCallback").await;
    let runs = [world.trigger("triggerer", "r").await, world.trigger("executor", "r").await];
    for _ in 0..2 {
        world.start_scheduler(options()).await;
    }
    until(&world, "SELECT count(*) = 2 FROM deadline WHERE missed").await;
    for run in runs {
        assert_eq!(world.run_to_end(run).await, "success");
    }
    let of = "SELECT data::jsonb, state, trigger_id FROM callback WHERE type = $1";
    let (data, state, trigger): (Value, String, Option<i32>) =
        query_as(of).bind("triggerer").fetch_one(world.database.pool()).await.expect("a callback");
    assert_eq!(state, "queued");
    let context = &data["__var"]["kwargs"]["__var"]["context"]["__var"];
    assert_eq!(context["dag_run"]["__var"]["dag_run_id"], "r");
    assert_eq!(context["deadline"]["__var"]["deadline_time"]["__type"], "datetime");
    let (classpath, kwargs): (String, String) = query_as("SELECT classpath, kwargs FROM trigger WHERE id = $1")
        .bind(trigger)
        .fetch_one(world.database.pool())
        .await
        .expect("a trigger");
    let kwargs: Value = serde_json::from_str(&kwargs).expect("JSON");
    assert_eq!(
        (classpath.as_str(), &kwargs["callback_path"]),
        ("airflow.triggers.callback.CallbackTrigger", &json!("calls.me"))
    );
    assert_eq!(kwargs["callback_kwargs"]["a"], 1);
    assert_eq!(kwargs["callback_kwargs"]["context"]["dag_run"]["dag_id"], "triggerer");
    let (data, state, trigger): (Value, String, Option<i32>) =
        query_as(of).bind("executor").fetch_one(world.database.pool()).await.expect("a callback");
    assert_eq!((state.as_str(), trigger), ("queued", None));
    assert_eq!(world.count("SELECT count(*) FROM tradewind.deadline_callback WHERE attempts = 0").await, 1);
    assert_eq!(
        (&data["__var"]["dag_run_id"], &data["__var"]["dag_id"]),
        (&json!(runs[1].to_string()), &json!("executor"))
    );
    assert_eq!(world.count("SELECT count(*) FROM trigger").await, 1);
    world.stop().await;
}

#[tokio::test]
async fn a_clear_counts_anew_from_when_the_run_is_queued() {
    let world = World::new().await;
    add_dag(&world, "cleared", json!({"reference_type": "DagRunQueuedAtDeadline"}), 60.0, "AsyncCallback").await;
    let run = world.trigger("cleared", "r").await;
    query("UPDATE deadline SET deadline_time = now() - interval '1 day'")
        .execute(world.database.pool())
        .await
        .expect("an old deadline");
    // One more alert, whose interval is a Variable; its deadline is there.
    query(
        "WITH alert AS (\
             INSERT INTO deadline_alert (id, created_at, serialized_dag_id, reference, \"interval\", callback_def) \
             SELECT gen_random_uuid(), now(), serialized_dag_id, reference, '{\"__data__\": {\"key\": \"k\"}}', callback_def \
             FROM deadline_alert RETURNING id\
         ), made AS (\
             INSERT INTO callback (id, type, fetch_method, data, state, priority_weight, created_at) \
             SELECT gen_random_uuid(), type, fetch_method, data, state, priority_weight, created_at FROM callback RETURNING id\
         ) \
         INSERT INTO deadline (id, created_at, last_updated_at, dagrun_id, deadline_time, missed, callback_id, deadline_alert_id) \
         SELECT gen_random_uuid(), now(), now(), $1, now() - interval '1 day', false, made.id, alert.id FROM made, alert",
    )
    .bind(run)
    .execute(world.database.pool())
    .await
    .expect("another deadline");
    let mut connection = world.database.pool().acquire().await.expect("a connection");
    let clearing =
        Clearing { dag_id: "cleared", run_id: "r", ids: None, run_on_latest_version: false, reset_dag_run: true };
    clear(&mut connection, &serialized_dag::Cache::default(), clearing).await.expect("a clear");
    let queued_at: DateTime<Utc> = query_scalar("SELECT queued_at FROM dag_run WHERE id = $1")
        .bind(run)
        .fetch_one(world.database.pool())
        .await
        .expect("a run");
    assert_eq!(deadline_of(&world, "cleared").await, queued_at + TimeDelta::seconds(60));
    assert_eq!(world.count("SELECT (SELECT count(*) FROM deadline) + (SELECT count(*) FROM callback)").await, 2);
    assert_eq!(world.count("SELECT count(*) FROM tradewind.deadline_request").await, 1);
    drop(connection);
    world.stop().await;
}
