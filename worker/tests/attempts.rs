//! A worker on a real database runs real tasks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sqlx::{PgPool, query, query_as, query_scalar, raw_sql};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tradewind_airflow::config::{Config, Environment};
use tradewind_bundle::retention::Retention;
use tradewind_metadata::queue::{Carrier, Message, send};
use tradewind_metadata::testing::TestDatabase;
use tradewind_supervisor::pyhost::{self, Idle, PyHost};
use tradewind_worker::{Options, SlotBounds, Worker, WorkerError};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(120);

const DAG_FILE: &str = r#"
import os, signal, time
from datetime import timedelta
from airflow.sdk import dag, task, Variable
from airflow.exceptions import AirflowSkipException

@dag(schedule=None)
def endings():
    @task
    def succeeds():
        print("secret is", Variable.get("my_password"))
        return {"answer": 42}

    @task(retries=1, retry_delay=timedelta(hours=1))
    def fails_and_retries():
        raise ValueError("not this time")

    @task
    def fails():
        raise ValueError("never")

    @task
    def skips():
        raise AirflowSkipException("not today")

    @task
    def is_killed():
        os.kill(os.getpid(), signal.SIGKILL)

    @task(retries=1, retry_delay=timedelta(hours=1))
    def is_killed_and_retries():
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def ends_without_a_word():
        os._exit(0)

    @task
    def waits():
        print("waiting", flush=True)
        time.sleep(600)

    [succeeds(), fails_and_retries(), fails(), skips(), is_killed(), is_killed_and_retries(), ends_without_a_word(), waits()]

endings()
"#;

const SCENARIO: &str = "
INSERT INTO dag_bundle (name, active) VALUES ('dags-folder', true);
INSERT INTO dag (dag_id, is_paused, is_stale, fileloc, relative_fileloc, bundle_name, owners, timetable_type,
    max_active_tasks, max_active_runs, max_consecutive_failed_dag_runs, has_task_concurrency_limits, fail_fast,
    partition_mapper_info)
VALUES ('endings', false, false, '/dags/endings.py', 'endings.py', 'dags-folder', 'airflow', 'T', 16, 16, 0, false, false, '{}');
INSERT INTO dag_version (id, version_number, dag_id, bundle_name, created_at, last_updated)
VALUES ('00000000-0000-7000-8000-00000000000a', 1, 'endings', 'dags-folder', now(), now());
INSERT INTO dag_run (dag_id, run_id, run_type, run_after, start_date, state, conf, created_dag_version_id)
VALUES ('endings', 'r', 'manual', now(), now(), 'running', '{}', '00000000-0000-7000-8000-00000000000a');
INSERT INTO variable (key, val, is_encrypted) VALUES ('my_password', 'open sesame', false);
";

struct Fixture {
    folder: TempDir,
    database: TestDatabase,
    host: PyHost,
    shutdown: CancellationToken,
    worker: JoinHandle<Result<(), WorkerError>>,
}

impl Fixture {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let dags = folder.path().join("dags");
        std::fs::create_dir(&dags).expect("a folder");
        std::fs::write(dags.join("endings.py"), DAG_FILE).expect("written");
        let database = TestDatabase::migrated().await;
        raw_sql(SCENARIO).execute(database.pool()).await.expect("the scenario");
        let config = config(&folder);
        let host_options = pyhost::Options::from_config(&config)
            .expect("tradewind-pyhost and the virtual environment; `make test` makes both")
            .with_idle(Idle { tasks: 1, dag_files: 0 })
            .with_variable("AIRFLOW_HOME", folder.path())
            .with_variable("AIRFLOW__CORE__DAGS_FOLDER", &dags)
            .with_variable("AIRFLOW__CORE__LOAD_EXAMPLES", "False");
        let host = PyHost::start(host_options).await.expect("a pyhost");
        let options = Options {
            slots: SlotBounds::fixed(3),
            queues: vec!["default".to_owned()],
            drain_timeout: Duration::ZERO,
            poll_interval: Duration::from_secs(1),
            retention: Retention::from_config(&config).expect("a retention"),
        };
        let worker = Worker::new(database.database().clone(), host.clone(), &config, options).expect("a worker");
        let shutdown = CancellationToken::new();
        let worker = tokio::spawn(worker.run(shutdown.clone()));
        Self { folder, database, host, shutdown, worker }
    }

    fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    /// Queues a task instance; returns the id of the attempt.
    async fn queue(&self, task_id: &str, max_tries: i32) -> Uuid {
        let id = Uuid::now_v7();
        let mut transaction = self.pool().begin().await.expect("a transaction");
        query(
            "INSERT INTO task_instance (id, dag_id, task_id, run_id, state, try_number, max_tries, hostname, pool, \
             pool_slots, queue, priority_weight, operator, dag_version_id, executor_config, updated_at) \
             VALUES ($1, 'endings', $2, 'r', 'queued', 1, $3, '', 'default_pool', 1, 'default', 1, '_PythonDecoratedOperator', \
             '00000000-0000-7000-8000-00000000000a', '\\x80057d942e', now())",
        )
        .bind(id)
        .bind(task_id)
        .bind(max_tries)
        .execute(&mut *transaction)
        .await
        .expect("inserted");
        let message = Message { ti_id: id, queue: "default".to_owned(), priority_weight: 1 };
        send(&mut transaction, &[message], Carrier::Outbox).await.expect("sent");
        transaction.commit().await.expect("committed");
        id
    }

    async fn states(&self) -> BTreeMap<String, String> {
        let states: Vec<(String, String)> =
            query_as("SELECT task_id, state FROM task_instance").fetch_all(self.pool()).await.expect("states");
        states.into_iter().collect()
    }

    async fn state(&self, task_id: &str) -> String {
        self.states().await.remove(task_id).unwrap_or_default()
    }

    async fn wait_until_none_is_active(&self) {
        let ended = async {
            while self.states().await.values().any(|state| matches!(state.as_str(), "queued" | "running")) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, ended).await.expect("all ended in time");
    }

    /// Waits until the task writes that it waits; returns its process id.
    async fn wait_until_waiting(&self) -> i32 {
        let waiting = async {
            while !self.log("waits").contains("\"waiting\"") {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("it waits in time");
        query_scalar("SELECT pid FROM task_instance WHERE task_id = 'waits'")
            .fetch_one(self.pool())
            .await
            .expect("a pid")
    }

    fn log(&self, task_id: &str) -> String {
        let path: PathBuf =
            self.folder.path().join(format!("logs/dag_id=endings/run_id=r/task_id={task_id}/attempt=1.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.worker).await.expect("in time").expect("no panic").expect("no error");
        self.host.stop().await;
    }
}

fn config(folder: &TempDir) -> Config {
    let environment = Environment::of_process()
        .with("AIRFLOW_HOME", folder.path().to_string_lossy())
        .with("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "1");
    Config::from_environment(&environment).expect("a configuration")
}

fn is_gone(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_end_as_in_airflow() {
    let fixture = Fixture::start().await;
    let tasks = [
        ("succeeds", 0, "success"),
        ("fails_and_retries", 1, "up_for_retry"),
        ("fails", 0, "failed"),
        ("skips", 0, "skipped"),
        ("is_killed", 0, "failed"),
        ("is_killed_and_retries", 1, "up_for_retry"),
        ("ends_without_a_word", 0, "failed"),
    ];
    for (task_id, max_tries, _) in tasks {
        fixture.queue(task_id, max_tries).await;
    }
    fixture.wait_until_none_is_active().await;
    let expected: BTreeMap<String, String> =
        tasks.iter().map(|(task, _, state)| ((*task).to_owned(), (*state).to_owned())).collect();
    assert_eq!(fixture.states().await, expected);

    let facts: Value = query_scalar(
        "SELECT to_jsonb(ti) || jsonb_build_object('xcom', (SELECT x.value FROM xcom x WHERE x.task_id = ti.task_id)) \
         FROM task_instance ti WHERE task_id = 'succeeds'",
    )
    .fetch_one(fixture.pool())
    .await
    .expect("a row");
    assert_eq!(facts["xcom"], json!({"answer": 42}));
    assert_eq!(facts["hostname"], fixture.host.hostname());
    assert!(facts["pid"].is_i64() && facts["unixname"].is_string() && facts["duration"].is_number(), "{facts}");

    let log = fixture.log("succeeds");
    assert!(log.contains(r#""event":"secret is ***","logger":"task.stdout""#), "{log}");
    assert!(fixture.log("fails").contains(r#""exc_value":"never""#), "{}", fixture.log("fails"));
    assert!(fixture.log("is_killed").contains("Likely out of memory error (OOM)"), "{}", fixture.log("is_killed"));

    let history: Vec<String> =
        query_scalar("SELECT task_id || ' ' || state FROM task_instance_history ORDER BY task_id")
            .fetch_all(fixture.pool())
            .await
            .expect("the history");
    assert_eq!(history, ["fails_and_retries failed", "is_killed_and_retries failed"]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_revoked_is_ended_and_left_alone() {
    let fixture = Fixture::start().await;
    fixture.queue("waits", 0).await;
    let pid = fixture.wait_until_waiting().await;
    query("UPDATE task_instance SET state = 'success' WHERE task_id = 'waits'")
        .execute(fixture.pool())
        .await
        .expect("set");
    let ended = async {
        while !fixture.log("waits").contains("Task killed!") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), ended).await.expect("it is ended in time");
    assert!(fixture.log("waits").contains("Server indicated the task shouldn't be running anymore"));
    assert!(is_gone(pid));
    assert_eq!(fixture.state("waits").await, "success");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_ends_its_tasks_and_takes_no_more() {
    let fixture = Fixture::start().await;
    fixture.queue("waits", 0).await;
    let pid = fixture.wait_until_waiting().await;
    fixture.shutdown.cancel();
    let ended = async {
        while fixture.state("waits").await == "running" {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(15), ended).await.expect("it is ended in time");
    assert_eq!(fixture.state("waits").await, "failed");
    assert!(is_gone(pid));
    fixture.queue("succeeds", 0).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(fixture.state("succeeds").await, "queued");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_when_pyhost_is_killed() {
    let fixture = Fixture::start().await;
    fixture.queue("waits", 0).await;
    let pid = fixture.wait_until_waiting().await;
    let host = i32::try_from(fixture.host.pid().await.expect("a process")).expect("a pid");
    kill(Pid::from_raw(host), Signal::SIGKILL).expect("killed");
    fixture.queue("succeeds", 0).await;
    fixture.queue("fails", 0).await;
    let ended = async {
        while fixture.state("succeeds").await != "success" || fixture.state("fails").await != "failed" {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("they end in time");
    assert_eq!(fixture.state("waits").await, "running");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killed");
    fixture.wait_until_none_is_active().await;
    assert_eq!(fixture.state("waits").await, "failed");
    assert!(fixture.log("waits").contains("Likely out of memory error (OOM)"), "{}", fixture.log("waits"));
    fixture.stop().await;
}
