//! A scheduler on a database of its own, and what workers and users do to that database.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::Utc;
use serde_json::Value;
use sqlx::query;
use tempfile::TempDir;
use tradewind_bench::dags::{self, BUNDLE};
use tradewind_metadata::attempt::{self, Success};
use tradewind_metadata::dag_run::{self, NewDagRun};
use tradewind_metadata::queue::{Claim, Claimant, claim};
use tradewind_metadata::testing::TestDatabase;
use tradewind_metadata::{dag_bundle, serialized_dag};
use tradewind_model::state::{DagRunState, DagRunTriggeredBy, DagRunType};
use uuid::Uuid;

/// How long anything may take before the benchmark gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A running scheduler with its database.
pub(crate) struct Deployment {
    database: TestDatabase,
    scheduler: Child,
    /// The scheduler's `AIRFLOW_HOME`.
    _home: TempDir,
}

impl Deployment {
    /// Makes a database and starts a scheduler on it, without a limit on what runs at once.
    pub(crate) async fn start(binary: &Path) -> anyhow::Result<Self> {
        let database = TestDatabase::migrated().await;
        dag_bundle::sync(database.pool(), &[BUNDLE.to_owned()]).await?;
        query("UPDATE slot_pool SET slots = -1 WHERE pool = 'default_pool'").execute(database.pool()).await?;
        let home = TempDir::new()?;
        let scheduler = Command::new(binary)
            .arg("scheduler")
            .env("AIRFLOW_HOME", home.path())
            .env("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", database.sql_alchemy_conn())
            .env("AIRFLOW__CORE__PARALLELISM", "0")
            .env("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be started; build it first", binary.display()))?;
        let deployment = Self { database, scheduler, _home: home };
        deployment
            .until("the scheduler is alive", "SELECT count(*) FROM job WHERE job_type = 'SchedulerJob'", |jobs| {
                jobs > 0
            })
            .await?;
        Ok(deployment)
    }

    /// Ends the scheduler.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.scheduler.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let deadline = Instant::now() + PATIENCE;
        while self.scheduler.try_wait()?.is_none() {
            anyhow::ensure!(Instant::now() < deadline, "the scheduler does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(crate) fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// Resident memory of the scheduler.
    pub(crate) fn resident_megabytes(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.scheduler.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the scheduler is gone")?;
        let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes / 1024.0)
    }

    /// Stores Dags as the Dag processor does.
    pub(crate) async fn add_dags(&self, documents: Vec<Value>) -> anyhow::Result<()> {
        dags::store(self.database.pool(), documents).await
    }

    /// Triggers a run by hand.
    pub(crate) async fn trigger(&self, dag_id: &str, run_id: &str) -> anyhow::Result<i32> {
        let mut transaction = self.database.pool().begin().await?;
        let dag = serialized_dag::Cache::default().latest(&mut transaction, dag_id).await?.context("no such Dag")?;
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
        let created = dag_run::create(&mut transaction, &dag, &run, now).await?;
        transaction.commit().await?;
        Ok(created.id)
    }

    /// Ends the runs of a Dag without running them: their task instances and all messages go, so that nobody claims these in
    /// what is measured next.
    pub(crate) async fn forget(&self, dag_id: &str) -> anyhow::Result<()> {
        let pool = self.database.pool();
        query("DELETE FROM dag_run WHERE dag_id = $1").bind(dag_id).execute(pool).await?;
        query("DELETE FROM tradewind.outbox").execute(pool).await?;
        query("ANALYZE").execute(pool).await?;
        Ok(())
    }

    /// Claims up to `limit` attempts, as a worker does.
    pub(crate) async fn claim(&self, limit: usize) -> anyhow::Result<Vec<Claim>> {
        let claimant = Claimant { hostname: "worker".to_owned(), unixname: "bench".to_owned() };
        let mut transaction = self.database.pool().begin().await?;
        let claims = claim(&mut transaction, &["default".to_owned()], limit, &claimant, Utc::now()).await?;
        transaction.commit().await?;
        Ok(claims)
    }

    /// Reports that an attempt succeeded, as a worker does.
    pub(crate) async fn succeed(&self, id: Uuid) -> anyhow::Result<()> {
        let report = Success {
            id,
            end_date: Utc::now(),
            rendered_map_index: None,
            task_outlets: Vec::new(),
            outlet_events: Vec::new(),
            clear_state_store: false,
            max_partitions: 1000,
        };
        let mut connection = self.database.pool().acquire().await?;
        attempt::succeed(&mut connection, &report).await?;
        Ok(())
    }

    /// Waits until a count is as wanted; returns when that was seen.
    pub(crate) async fn until(
        &self,
        what: &str,
        count: &'static str,
        wanted: impl Fn(i64) -> bool,
    ) -> anyhow::Result<Instant> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found: i64 = sqlx::query_scalar(count).fetch_one(self.database.pool()).await?;
            if wanted(found) {
                return Ok(Instant::now());
            }
            anyhow::ensure!(Instant::now() < deadline, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.scheduler.kill();
        let _ = self.scheduler.wait();
    }
}
