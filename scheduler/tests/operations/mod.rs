//! What users do to runs: clear, cancel, pause, edit the Dag.

use chrono::Utc;
use serde_json::json;
use sqlx::{query, query_scalar};
use tradewind_metadata::clear::{AttemptName, Clearing, add_new_tasks, clear, restart_after};
use tradewind_metadata::{dag_run, dag_run_range, serialized_dag};
use tradewind_model::state::DagRunState;
use uuid::Uuid;

use crate::support::{DagBuilder, World, options};

fn chain(dag_id: &str) -> DagBuilder {
    DagBuilder::new(dag_id).task("a", &["b"], json!({})).task("b", &[], json!({}))
}

async fn clear_task(world: &World, dag_id: &str, task_id: &str, reset_dag_run: bool, latest: bool) {
    let mut connection = world.database.pool().acquire().await.expect("a connection");
    let ids: Vec<Uuid> = query_scalar("SELECT id FROM task_instance WHERE dag_id = $1 AND task_id = $2")
        .bind(dag_id)
        .bind(task_id)
        .fetch_all(&mut *connection)
        .await
        .expect("ids");
    let clearing = Clearing { dag_id, run_id: "r", ids: Some(&ids), run_on_latest_version: latest, reset_dag_run };
    let dags = serialized_dag::Cache::default();
    assert_eq!(clear(&mut connection, &dags, clearing).await.expect("a clear"), ids.len());
}

#[tokio::test]
async fn a_clear_may_leave_the_run_as_it_is() {
    let mut world = World::new().await;
    world.add_dag(&chain("kept")).await;
    let run = world.trigger("kept", "r").await;
    world.start_scheduler(options()).await;
    assert_eq!(world.run_to_end(run).await, "success");
    clear_task(&world, "kept", "b", false, false).await;
    assert_eq!(world.run_state(run).await, "success");
    assert_eq!(world.states(run).await[&("b".to_owned(), -1)], None);
    assert_eq!(world.count("SELECT clear_number::bigint FROM dag_run").await, 0);
    clear_task(&world, "kept", "b", true, false).await;
    assert_eq!(world.run_to_end(run).await, "success");
    assert_eq!(world.count("SELECT clear_number::bigint FROM dag_run").await, 1);
    world.stop().await;
}

#[tokio::test]
async fn a_task_cleared_while_it_ran_starts_anew_when_its_process_has_ended() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("again").task("a", &[], json!({"retries": 2}))).await;
    let run = world.trigger("again", "r").await;
    world.start_scheduler(options()).await;
    let first = world.next_claim().await;
    clear_task(&world, "again", "a", true, false).await;
    assert!(world.claim(1).await.is_empty(), "the process may still run");
    let attempt =
        AttemptName { dag_id: "again", run_id: "r", task_id: "a", map_index: -1, try_number: first.try_number };
    let mut connection = world.database.pool().acquire().await.expect("a connection");
    let dags = serialized_dag::Cache::default();
    assert!(restart_after(&mut connection, &dags, attempt).await.expect("an answer"));
    assert!(!restart_after(&mut connection, &dags, attempt).await.expect("an answer"), "once is enough");
    let second = world.next_claim().await;
    assert_eq!((second.try_number, second.max_tries), (2, 3), "all retries are there again");
    world.succeed(&second).await;
    world.await_run_state(run, "success").await;
    world.stop().await;
}

/// Stores the Dag once more, as the version after the first one.
async fn add_version(world: &World, dag_id: &str, edited: &DagBuilder) {
    world.add_dag(edited).await;
    let statements = [
        "UPDATE dag_version SET dag_id = $1, version_number = 2 WHERE dag_id = $2",
        "UPDATE serialized_dag SET dag_id = $1, data = jsonb_set(data::jsonb, '{dag,dag_id}', to_jsonb($1::text)), \
         dag_hash = 'fedcba9876543210fedcba9876543210' WHERE dag_id = $2",
    ];
    for statement in statements {
        query(statement).bind(dag_id).bind(edited.dag_id()).execute(world.database.pool()).await.expect("a change");
    }
}

#[tokio::test]
async fn only_new_tasks_are_added_to_an_ended_run() {
    let mut world = World::new().await;
    world.add_dag(&chain("grown")).await;
    let run = world.trigger("grown", "r").await;
    world.start_scheduler(options()).await;
    assert_eq!(world.run_to_end(run).await, "success");
    let dags = serialized_dag::Cache::default();
    let mut connection = world.database.pool().acquire().await.expect("a connection");
    let none = add_new_tasks(&mut connection, &dags, "grown", "r").await.expect("an answer");
    assert!(none.is_empty());
    add_version(&world, "grown", &chain("edited").task("c", &[], json!({}))).await;
    assert_eq!(add_new_tasks(&mut connection, &dags, "grown", "r").await.expect("an answer"), ["c"]);
    drop(connection);
    let of_second_version = "SELECT count(*) FROM task_instance JOIN dag_version v ON v.id = dag_version_id \
                             WHERE v.version_number = 2";
    assert_eq!(world.count(of_second_version).await, 3, "the whole run moved");
    clear_task(&world, "grown", "c", true, false).await;
    assert_eq!(world.run_to_end(run).await, "success");
    assert_eq!(world.count("SELECT max(try_number)::bigint FROM task_instance").await, 1, "nothing ran twice");
    world.stop().await;
}

#[tokio::test]
async fn a_run_cleared_on_the_latest_version_loses_and_gains_tasks() {
    let mut world = World::new().await;
    world.add_dag(&chain("moved")).await;
    let run = world.trigger("moved", "r").await;
    world.start_scheduler(options()).await;
    assert_eq!(world.run_to_end(run).await, "success");
    let edited = DagBuilder::new("edited").task("a", &["c"], json!({})).task("c", &[], json!({}));
    add_version(&world, "moved", &edited).await;
    clear_task(&world, "moved", "a", true, true).await;
    let states = world.states(run).await;
    assert_eq!(states[&("b".to_owned(), -1)].as_deref(), Some("removed"));
    assert!(states.contains_key(&("c".to_owned(), -1)));
    assert_eq!(world.run_to_end(run).await, "success");
    world.stop().await;
}

#[tokio::test]
async fn a_mark_reaches_the_runs_before_and_after() {
    let world = World::new().await;
    world.add_dag(&chain("around")).await;
    for run_id in ["one", "two", "three"] {
        world.trigger("around", run_id).await;
    }
    let mut connection = world.database.pool().acquire().await.expect("a connection");
    let dag = serialized_dag::Cache::default().latest(&mut connection, "around").await.expect("a Dag").expect("a Dag");
    let mut around = async |past, future| {
        dag_run_range::around(&mut connection, &dag, "two", past, future, Utc::now()).await.expect("runs")
    };
    assert_eq!(around(false, false).await, ["two"]);
    assert_eq!(around(true, false).await, ["one", "two"]);
    assert_eq!(around(false, true).await, ["two", "three"]);
    assert_eq!(around(true, true).await, ["one", "two", "three"]);
}

#[tokio::test]
async fn the_run_of_a_paused_dag_is_left_as_it_is() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("halted").task("a", &[], json!({}))).await;
    let run = world.trigger("halted", "r").await;
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    let pause = async |is_paused: bool| {
        query("UPDATE dag SET is_paused = $1").bind(is_paused).execute(world.database.pool()).await.expect("a change");
    };
    pause(true).await;
    world.succeed(&claim).await;
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(world.run_state(run).await, "running");
    pause(false).await;
    world.await_run_state(run, "success").await;
    world.stop().await;
}

fn daily(dag_id: &str) -> DagBuilder {
    DagBuilder::new(dag_id)
        .with("catchup", json!(true))
        .with("start_date", json!(1_704_067_200.0))
        .with("end_date", json!(1_704_153_600.0))
        .with(
            "timetable",
            json!({
                "__type": "airflow.timetables.interval.CronDataIntervalTimetable",
                "__var": {"expression": "0 0 * * *", "timezone": "UTC"},
            }),
        )
        .column("max_active_runs", json!(1))
        .column("next_dagrun", json!("2024-01-01T00:00:00Z"))
        .column("next_dagrun_data_interval_start", json!("2024-01-01T00:00:00Z"))
        .column("next_dagrun_data_interval_end", json!("2024-01-02T00:00:00Z"))
        .column("next_dagrun_create_after", json!("2024-01-02T00:00:00Z"))
        .task("a", &[], json!({}))
}

#[tokio::test]
async fn a_run_that_a_user_ends_makes_room_for_the_next() {
    let mut world = World::new().await;
    world.add_dag(&daily("daily")).await;
    world.start_scheduler(options()).await;
    let first = world.next_claim().await;
    assert_eq!(world.count("SELECT count(*) FROM dag WHERE exceeds_max_non_backfill").await, 1);
    let run = i32::try_from(world.count("SELECT id::bigint FROM dag_run").await).expect("an id");
    let mut connection = world.database.pool().acquire().await.expect("a connection");
    dag_run::set_state(&mut connection, &[run], DagRunState::ALL, DagRunState::Success, Utc::now())
        .await
        .expect("an end");
    let second = world.next_claim().await;
    assert_ne!(second.run_id, first.run_id);
    world.stop().await;
}

#[tokio::test]
async fn a_dag_that_cannot_be_read_keeps_no_other_from_its_runs() {
    let mut world = World::new().await;
    for dag_id in ["broken", "whole"] {
        world.add_dag(&daily(dag_id)).await;
    }
    query("UPDATE serialized_dag SET data = '{\"__version\": 3, \"dag\": 1}' WHERE dag_id = 'broken'")
        .execute(world.database.pool())
        .await
        .expect("a change");
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    world.succeed(&claim).await;
    assert_eq!((claim.dag_id.as_str(), world.next_claim().await.dag_id.as_str()), ("whole", "whole"));
    world.stop().await;
}
