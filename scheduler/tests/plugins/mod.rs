//! Timetables and weight rules of plugins, asked in a real interpreter that the scheduler starts itself.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tradewind_airflow::config::{Config, Environment};
use tradewind_metadata::clear::{Clearing, clear};
use tradewind_metadata::serialized_dag;
use tradewind_supervisor::evaluator::{self, Evaluator};
use tradewind_supervisor::pyhost;

use crate::support::{DagBuilder, World, options};

/// An interpreter has to start, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

fn evaluator(home: &Path) -> Evaluator {
    let config = Config::from_environment(&Environment::of_process()).expect("a configuration");
    let host = pyhost::Options::from_config(&config)
        .expect("tradewind-pyhost and the virtual environment; `make test` makes both")
        .with_variable("AIRFLOW_HOME", home)
        .with_variable(
            "AIRFLOW__CORE__PLUGINS_FOLDER",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/conformance/plugins"),
        )
        .with_variable("AIRFLOW__CORE__LOAD_EXAMPLES", "False");
    Evaluator::on_demand(host, evaluator::Options { timeout: PATIENCE, idle: PATIENCE })
}

impl World {
    async fn await_count(&self, statement: &'static str, wanted: i64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let count = self.count(statement).await;
            if count == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{count} instead of {wanted}: {statement}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn shifts(dag_id: &str, last_shift: Option<u32>) -> DagBuilder {
    let timetable = json!({"hours": 6, "last_shift": last_shift});
    DagBuilder::new(dag_id)
        .with("catchup", json!(true))
        .with("start_date", json!(1_704_067_200.0))
        .with("end_date", json!(1_704_132_000.0))
        .with("timetable", json!({"__type": "conformance_plugins.ShiftTimetable", "__var": timetable}))
        .column("next_dagrun", json!("2024-01-01T00:00:00Z"))
        .column("next_dagrun_data_interval_start", json!("2024-01-01T00:00:00Z"))
        .column("next_dagrun_data_interval_end", json!("2024-01-01T06:00:00Z"))
        .column("next_dagrun_create_after", json!("2024-01-01T07:00:00Z"))
        .task("a", &[], json!({}))
}

#[tokio::test]
async fn a_timetable_of_a_plugin_makes_its_runs_and_one_that_fails_keeps_nobody_waiting() {
    let home = tempfile::tempdir().expect("a folder");
    let mut world = World::new().await;
    world.add_dag(&shifts("shifts", None)).await;
    world.add_dag(&shifts("fails", Some(1))).await;
    let unknown = shifts("unknown", None).with("timetable", json!({"__type": "no.Such", "__var": {}}));
    world.add_dag(&unknown).await;
    world.start_scheduler_with(options(), evaluator(home.path())).await;
    world.await_count("SELECT count(*) FROM dag WHERE next_dagrun_create_after IS NOT NULL", 0).await;
    let runs: Vec<(String, String)> =
        sqlx::query_as("SELECT dag_id, run_id FROM dag_run ORDER BY dag_id, logical_date")
            .fetch_all(world.database.pool())
            .await
            .expect("runs");
    let run = |dag_id: &str, hour: u32| (dag_id.to_owned(), format!("scheduled__2024-01-01T{hour:02}"));
    let expected =
        [run("fails", 0), run("fails", 6), run("shifts", 0), run("shifts", 6), run("shifts", 12), run("shifts", 18)];
    assert_eq!(runs, expected, "as long as the timetable gives runs, and under its names");
    let late = "SELECT count(*) FROM dag_run WHERE run_after <> data_interval_end + interval '1 hour'";
    assert_eq!(world.count(late).await, 0, "a run may start an hour after its shift");
    assert_eq!(world.count("SELECT count(*) FROM tradewind.evaluation").await, 0);
    world.stop().await;
}

#[tokio::test]
async fn a_run_waits_for_the_weights_of_a_plugin() {
    let home = tempfile::tempdir().expect("a folder");
    let mut world = World::new().await;
    let named = json!({"weight_rule": "conformance_plugins.WeighByName", "priority_weight": 7});
    let dag = DagBuilder::new("weighed")
        .task("first_1", &["second_5"], named.clone())
        .task("second_5", &[], named.clone())
        .task("nameless", &[], named)
        .task("own", &[], json!({"priority_weight": 2}));
    world.add_dag(&dag).await;
    let run = world.trigger("weighed", "r").await;
    assert_eq!(world.count("SELECT count(*) FROM tradewind.priority_weight").await, 3);
    world.start_scheduler_with(options(), evaluator(home.path())).await;
    world.await_count("SELECT count(*) FROM tradewind.priority_weight", 0).await;
    assert_eq!(world.run_to_end(run).await, "success");
    let weights: Vec<(String, i32)> =
        sqlx::query_as("SELECT task_id, priority_weight FROM task_instance ORDER BY task_id")
            .fetch_all(world.database.pool())
            .await
            .expect("weights");
    let weight = |task_id: &str, weight| (task_id.to_owned(), weight);
    // The strategy fails for `nameless`, which then has the weight that the Dag file gives it.
    assert_eq!(weights, [weight("first_1", 1), weight("nameless", 7), weight("own", 2), weight("second_5", 5)]);
    world.stop().await;
}

#[tokio::test]
async fn a_weight_is_worked_out_anew_for_a_clear_but_not_for_a_retry() {
    let home = tempfile::tempdir().expect("a folder");
    let mut world = World::new().await;
    let fields = json!({"weight_rule": "conformance_plugins.WeighByIndex", "retries": 1, "retry_delay": 0.0});
    world.add_dag(&DagBuilder::new("cleared").task("a", &[], fields)).await;
    let run = world.trigger("cleared", "r").await;
    world.start_scheduler_with(options(), evaluator(home.path())).await;
    world.await_count("SELECT count(*) FROM tradewind.priority_weight", 0).await;
    let first = world.next_claim().await;
    world.fail(&first, true).await;
    let second = world.next_claim().await;
    let weight = "SELECT priority_weight::bigint FROM task_instance";
    assert_eq!((second.try_number, world.count(weight).await), (2, 9), "10 - 1 for the map index, no attempt counted");
    world.succeed(&second).await;
    world.await_run_state(run, "success").await;

    let mut connection = world.database.pool().acquire().await.expect("a connection");
    let clearing =
        Clearing { dag_id: "cleared", run_id: "r", ids: None, run_on_latest_version: false, reset_dag_run: true };
    clear(&mut connection, &serialized_dag::Cache::default(), clearing).await.expect("a cleared run");
    drop(connection);
    let third = world.next_claim().await;
    assert_eq!((third.try_number, world.count(weight).await), (3, 209), "two attempts were made before the clear");
    world.succeed(&third).await;
    world.await_run_state(run, "success").await;
    world.stop().await;
}

#[tokio::test]
async fn without_python_other_dags_go_on() {
    let mut world = World::new().await;
    world.add_dag(&shifts("shifts", None)).await;
    let start = "2024-01-01T00:00:00Z";
    let once: Value = json!({"__type": "airflow.timetables.simple.OnceTimetable", "__var": {}});
    let dag = DagBuilder::new("once")
        .with("timetable", once)
        .column("next_dagrun", json!(start))
        .column("next_dagrun_data_interval_start", json!(start))
        .column("next_dagrun_data_interval_end", json!(start))
        .column("next_dagrun_create_after", json!("2024-01-02T00:00:00Z"))
        .task("a", &[], json!({}));
    world.add_dag(&dag).await;
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    assert_eq!(claim.dag_id, "once");
    world.succeed(&claim).await;
    world.await_count("SELECT count(*) FROM dag_run WHERE state = 'success'", 1).await;
    let waits = "SELECT count(*) FROM dag WHERE dag_id = 'shifts' AND next_dagrun_create_after IS NOT NULL";
    assert_eq!(world.count(waits).await, 1, "the run that is due waits for Python");
    world.stop().await;
}
