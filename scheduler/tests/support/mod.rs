//! A scheduler on a real database, with workers that run nothing but report as told.

#![expect(clippy::expect_used, reason = "a test ends where its set-up fails")]

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use sqlx::{Row, query, query_scalar};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tradewind_metadata::attempt::{self, Retry, Success};
use tradewind_metadata::dag_run::{self, NewDagRun};
use tradewind_metadata::queue::{Carrier, Claim, Claimant, claim};
use tradewind_metadata::serialized_dag;
use tradewind_metadata::testing::TestDatabase;
use tradewind_model::state::{DagRunState, DagRunTriggeredBy, DagRunType};
use tradewind_scheduler::{MetricIntervals, Options, Scheduler, Timeouts};
use tradewind_supervisor::evaluator::Evaluator;
use uuid::Uuid;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A database with schedulers at work.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    shutdown: CancellationToken,
    schedulers: Vec<JoinHandle<()>>,
}

/// Options that make tests quick.
pub(crate) fn options() -> Options {
    Options {
        hostname: "test".to_owned(),
        parallelism: 32,
        max_retry_delay: chrono::TimeDelta::days(1),
        heartbeat_interval: Duration::from_secs(5),
        poll_interval: Duration::from_millis(500),
        task_heartbeat_timeout: Duration::from_secs(300),
        reap_interval: Duration::from_millis(200),
        asset_upkeep_interval: Duration::from_millis(200),
        runs_per_sweep: 200,
        carrier: Carrier::Outbox,
        timeouts: Timeouts::default(),
        metrics: MetricIntervals::default(),
    }
}

impl World {
    /// A fresh database; no scheduler yet.
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::migrated().await;
        query("INSERT INTO dag_bundle (name, active) VALUES ('dags-folder', true)")
            .execute(database.pool())
            .await
            .expect("a bundle");
        Self { database, shutdown: CancellationToken::new(), schedulers: Vec::new() }
    }

    /// Starts a scheduler.
    pub(crate) async fn start_scheduler(&mut self, options: Options) {
        let scheduler = Scheduler::new(self.database.database().clone(), options).await.expect("a scheduler");
        self.run(scheduler);
    }

    /// Starts a scheduler that asks plugins itself.
    pub(crate) async fn start_scheduler_with(&mut self, options: Options, evaluator: Evaluator) {
        let scheduler = Scheduler::new(self.database.database().clone(), options).await.expect("a scheduler");
        self.run(scheduler.with_evaluator(evaluator));
    }

    fn run(&mut self, scheduler: Scheduler) {
        let shutdown = self.shutdown.clone();
        self.schedulers.push(tokio::spawn(async move { scheduler.run(shutdown).await.expect("a clean end") }));
    }

    /// Ends the schedulers.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        for scheduler in self.schedulers {
            scheduler.await.expect("a scheduler that does not panic");
        }
    }

    /// Stores a Dag as the Dag processor would. `columns` overlays columns of `dag`.
    pub(crate) async fn add_dag(&self, dag: &DagBuilder) {
        let (version, document) = (Uuid::now_v7(), dag.document());
        let mut columns = json!({
            "dag_id": dag.dag_id, "is_paused": false, "is_stale": false, "bundle_name": "dags-folder",
            "timetable_type": "", "partition_mapper_info": [], "max_active_tasks": 16, "max_active_runs": 16,
            "max_consecutive_failed_dag_runs": 0, "has_task_concurrency_limits": false, "exceeds_max_non_backfill": false,
            "timetable_partitioned": false, "timetable_periodic": false, "fail_fast": false,
        });
        for (column, value) in &dag.columns {
            columns[column] = value.clone();
        }
        let pool = self.database.pool();
        query("INSERT INTO dag SELECT * FROM jsonb_populate_record(NULL::dag, $1)")
            .bind(&columns)
            .execute(pool)
            .await
            .expect("a Dag");
        query(
            "INSERT INTO dag_version (id, version_number, dag_id, bundle_name, created_at, last_updated) \
             VALUES ($1, 1, $2, 'dags-folder', now(), now())",
        )
        .bind(version)
        .bind(&dag.dag_id)
        .execute(pool)
        .await
        .expect("a version");
        query(
            "INSERT INTO serialized_dag (id, dag_id, data, created_at, last_updated, dag_hash, dag_version_id) \
             VALUES ($1, $2, $3, now(), now(), $4, $1)",
        )
        .bind(version)
        .bind(&dag.dag_id)
        .bind(&document)
        .bind("0123456789abcdef0123456789abcdef")
        .execute(pool)
        .await
        .expect("a serialized Dag");
    }

    /// Triggers a run by hand.
    pub(crate) async fn trigger(&self, dag_id: &str, run_id: &str) -> i32 {
        let mut transaction = self.database.pool().begin().await.expect("a transaction");
        let dag =
            serialized_dag::Cache::default().latest(&mut transaction, dag_id).await.expect("a Dag").expect("a Dag");
        let now = Utc::now();
        let run = NewDagRun {
            run_id: run_id.to_owned(),
            run_type: DagRunType::Manual,
            state: DagRunState::Queued,
            logical_date: Some(now),
            data_interval: Some((now, now)),
            run_after: now,
            conf: Value::Null,
            triggered_by: DagRunTriggeredBy::RestApi,
            triggering_user_name: None,
            creating_job_id: None,
            backfill_id: None,
            partition_key: None,
            partition_date: None,
            note: None,
        };
        let created = dag_run::create(&mut transaction, &dag, &run, now).await.expect("a run");
        transaction.commit().await.expect("a commit");
        created.id
    }

    /// Claims up to `limit` attempts of the queue `default`.
    pub(crate) async fn claim(&self, limit: usize) -> Vec<Claim> {
        self.claim_from("default", limit).await
    }

    /// Claims up to `limit` attempts of a queue; `*` stands for all of them.
    pub(crate) async fn claim_from(&self, queue: &str, limit: usize) -> Vec<Claim> {
        let claimant = Claimant { hostname: "worker".to_owned(), unixname: "test".to_owned() };
        let mut transaction = self.database.pool().begin().await.expect("a transaction");
        let claims = claim(&mut transaction, &[queue.to_owned()], limit, &claimant, Utc::now()).await.expect("claims");
        transaction.commit().await.expect("a commit");
        claims
    }

    /// Waits for the next attempt to claim.
    pub(crate) async fn next_claim(&self) -> Claim {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(claim) = self.claim(1).await.pop() {
                return claim;
            }
            assert!(Instant::now() < deadline, "no attempt was queued in time");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Reports that an attempt succeeded.
    pub(crate) async fn succeed(&self, claim: &Claim) {
        let mut connection = self.database.pool().acquire().await.expect("a connection");
        let report = Success {
            id: claim.id,
            end_date: Utc::now(),
            rendered_map_index: None,
            task_outlets: Vec::new(),
            outlet_events: Vec::new(),
            clear_state_store: false,
            max_partitions: 1000,
        };
        attempt::succeed(&mut connection, &report).await.expect("an accepted report");
    }

    /// Reports that an attempt failed: for good, or to be tried again.
    pub(crate) async fn fail(&self, claim: &Claim, retry: bool) {
        let mut connection = self.database.pool().acquire().await.expect("a connection");
        if retry {
            let report = Retry {
                id: claim.id,
                end_date: Utc::now(),
                rendered_map_index: None,
                retry_delay_seconds: None,
                retry_reason: None,
            };
            attempt::retry(&mut connection, &report).await.expect("an accepted report");
        } else {
            attempt::fail(&mut connection, claim.id, Utc::now()).await.expect("an accepted report");
        }
    }

    /// Runs every attempt to success until the run ends, and gives its state.
    pub(crate) async fn run_to_end(&self, run: i32) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.run_state(run).await;
            if state == "success" || state == "failed" {
                return state;
            }
            for claim in self.claim(8).await {
                self.succeed(&claim).await;
            }
            assert!(Instant::now() < deadline, "the run did not end in time: {:?}", self.states(run).await);
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The state of a run.
    pub(crate) async fn run_state(&self, run: i32) -> String {
        query_scalar("SELECT state FROM dag_run WHERE id = $1")
            .bind(run)
            .fetch_one(self.database.pool())
            .await
            .expect("a state")
    }

    /// Waits until a run has a state.
    pub(crate) async fn await_run_state(&self, run: i32, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.run_state(run).await != wanted {
            assert!(Instant::now() < deadline, "the run did not become {wanted}: {:?}", self.states(run).await);
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The states of a run's task instances, by task id and map index.
    pub(crate) async fn states(&self, run: i32) -> BTreeMap<(String, i32), Option<String>> {
        query(
            "SELECT task_id, map_index, task_instance.state FROM task_instance \
             JOIN dag_run USING (dag_id, run_id) WHERE dag_run.id = $1",
        )
        .bind(run)
        .fetch_all(self.database.pool())
        .await
        .expect("task instances")
        .iter()
        .map(|row| ((row.get("task_id"), row.get("map_index")), row.get("state")))
        .collect()
    }

    /// A number from the database.
    pub(crate) async fn count(&self, statement: &'static str) -> i64 {
        query_scalar(statement).fetch_one(self.database.pool()).await.expect("a number")
    }
}

/// A Dag under construction.
pub(crate) struct DagBuilder {
    dag_id: String,
    settings: Value,
    tasks: Vec<(String, Value)>,
    columns: HashMap<&'static str, Value>,
}

impl DagBuilder {
    pub(crate) fn new(dag_id: &str) -> Self {
        Self { dag_id: dag_id.to_owned(), settings: json!({}), tasks: Vec::new(), columns: HashMap::new() }
    }

    /// Its name.
    pub(crate) fn dag_id(&self) -> &str {
        &self.dag_id
    }

    /// A field of the serialized Dag.
    pub(crate) fn with(mut self, field: &str, value: Value) -> Self {
        self.settings[field] = value;
        self
    }

    /// A column of the table `dag`.
    pub(crate) fn column(mut self, column: &'static str, value: Value) -> Self {
        self.columns.insert(column, value);
        self
    }

    /// A task; `fields` overlays its serialized fields.
    pub(crate) fn task(mut self, task_id: &str, downstream: &[&str], fields: Value) -> Self {
        let mut task = json!({
            "task_id": task_id, "task_type": "PythonOperator", "downstream_task_ids": downstream, "_needs_expansion": false,
            "_task_module": "airflow.providers.standard.operators.python", "template_fields": [],
        });
        for (field, value) in fields.as_object().into_iter().flatten() {
            task[field] = value.clone();
        }
        self.tasks.push((task_id.to_owned(), task));
        self
    }

    fn document(&self) -> Value {
        let children: serde_json::Map<String, Value> =
            self.tasks.iter().map(|(task_id, _)| (task_id.clone(), json!(["operator", task_id]))).collect();
        let tasks: Vec<Value> =
            self.tasks.iter().map(|(_, task)| json!({"__type": "operator", "__var": task})).collect();
        let mut dag = json!({
            "dag_id": self.dag_id, "fileloc": "/dags/test.py", "relative_fileloc": "test.py", "timezone": "UTC",
            "timetable": {"__type": "airflow.timetables.simple.NullTimetable", "__var": {}}, "tasks": tasks,
            "task_group": {
                "_group_id": null, "prefix_group_id": true, "children": children, "tooltip": "", "ui_color": "",
                "ui_fgcolor": "", "upstream_group_ids": [], "downstream_group_ids": [], "upstream_task_ids": [],
                "downstream_task_ids": [],
            },
            "params": [], "dag_dependencies": [], "edge_info": {}, "deadline": null, "allowed_run_types": null,
        });
        for (field, value) in self.settings.as_object().into_iter().flatten() {
            dag[field] = value.clone();
        }
        json!({"__version": 3, "dag": dag})
    }
}
