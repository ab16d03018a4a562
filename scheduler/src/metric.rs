//! The scheduler's metrics under Airflow's names. Times are in seconds.
//!
//! Source: `_emit_pool_metrics`, `_emit_ti_metrics`, `_emit_running_dags_metric` in `airflow/jobs/scheduler_job_runner.py`;
//! `_emit_duration_stats_for_finished_state` and `_emit_true_scheduling_delay_stats_for_finished_state` in
//! `airflow/models/dagrun.py`.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use metrics::{gauge, histogram};
use sqlx::{FromRow, PgConnection, PgPool, query_as, query_scalar};
use tradewind_metadata::Result;
use tradewind_model::state::{DagRunState, DagRunType};

/// Task instances of one kind that are in one state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, FromRow)]
struct Kind {
    state: String,
    dag_id: String,
    task_id: String,
    queue: String,
}

/// Gauges that are counted in the database at intervals.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// What was shown last: what is gone since then is shown as 0.
    shown: Mutex<HashSet<Kind>>,
}

#[derive(FromRow)]
struct Pool {
    pool: String,
    slots: i32,
    include_deferred: bool,
    scheduled: i64,
    queued: i64,
    running: i64,
    deferred: i64,
    starving: i64,
}

impl Pool {
    /// A pool may have no limit.
    fn open(&self) -> f64 {
        if self.slots < 0 {
            return f64::INFINITY;
        }
        let deferred = if self.include_deferred { self.deferred } else { 0 };
        number(i64::from(self.slots) - self.queued - self.running - deferred)
    }
}

impl Gauges {
    /// Slots of pools, and tasks that find none.
    pub(crate) async fn count_pools(&self, pool: &PgPool) -> Result<()> {
        let pools: Vec<Pool> = query_as(include_str!("../queries/metric/pools.sql")).fetch_all(pool).await?;
        for pool in &pools {
            let set = |name: &'static str, value: f64| gauge!(name, "pool_name" => pool_name(&pool.pool)).set(value);
            set("pool.open_slots", pool.open());
            set("pool.queued_slots", number(pool.queued));
            set("pool.running_slots", number(pool.running));
            set("pool.deferred_slots", number(pool.deferred));
            set("pool.scheduled_slots", number(pool.scheduled));
            set("pool.starving_tasks", number(pool.starving));
        }
        gauge!("scheduler.tasks.starving").set(number(pools.iter().map(|pool| pool.starving).sum()));
        Ok(())
    }

    /// Task instances by state.
    pub(crate) async fn count_task_instances(&self, pool: &PgPool) -> Result<()> {
        let counted: Vec<(String, String, String, String, i64)> =
            query_as(include_str!("../queries/metric/task_instances.sql")).fetch_all(pool).await?;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = std::mem::take(&mut *shown);
        for (state, dag_id, task_id, queue, count) in counted {
            let kind = Kind { state, dag_id, task_id, queue };
            kind.show(count);
            gone.remove(&kind);
            shown.insert(kind);
        }
        gone.iter().for_each(|kind| kind.show(0));
        Ok(())
    }

    /// Running Dag runs.
    pub(crate) async fn count_dag_runs(&self, pool: &PgPool) -> Result<()> {
        let running: i64 = query_scalar("SELECT count(*) FROM dag_run WHERE state = 'running'").fetch_one(pool).await?;
        gauge!("scheduler.dagruns.running").set(number(running));
        Ok(())
    }
}

impl Kind {
    fn show(&self, count: i64) {
        let Self { state, dag_id, task_id, queue } = self.clone();
        gauge!(format!("ti.{state}"), "dag_id" => dag_id, "task_id" => task_id, "queue" => queue).set(number(count));
    }
}

/// The name as Airflow gives it to metrics (`normalize_pool_name_for_stats`).
fn pool_name(name: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.');
    name.chars().map(|character| if is_plain(character) { character } else { '_' }).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn number(count: i64) -> f64 {
    count as f64
}

fn seconds(time: TimeDelta) -> f64 {
    time.as_seconds_f64()
}

/// A run starts: how late, where its timetable expected it.
pub(crate) fn run_started(dag_id: &str, expected: Option<DateTime<Utc>>, now: DateTime<Utc>) {
    if let Some(expected) = expected {
        histogram!("dagrun.schedule_delay", "dag_id" => dag_id.to_owned()).record(seconds(now - expected));
    }
}

/// A run that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndedRun<'a> {
    pub(crate) id: i32,
    pub(crate) dag_id: &'a str,
    pub(crate) run_type: DagRunType,
    pub(crate) state: DagRunState,
    pub(crate) start_date: Option<DateTime<Utc>>,
}

/// A run ends: how long it took, and how long its first task had to wait.
pub(crate) async fn run_ended(connection: &mut PgConnection, run: EndedRun<'_>, now: DateTime<Utc>) -> Result<()> {
    let name = if run.state == DagRunState::Failed { "dagrun.duration.failed" } else { "dagrun.duration.success" };
    let labels = [("dag_id", run.dag_id.to_owned()), ("run_type", run.run_type.as_str().to_owned())];
    if let Some(start_date) = run.start_date {
        histogram!(name, &labels).record(seconds(now - start_date));
    }
    if run.run_type != DagRunType::Scheduled {
        return Ok(());
    }
    let delays: Option<(Option<f64>, Option<f64>)> = query_as(include_str!("../queries/metric/first_task_delay.sql"))
        .bind(run.id)
        .fetch_optional(connection)
        .await?;
    let (scheduling, start) = delays.unwrap_or_default();
    if let Some(delay) = scheduling.filter(|delay| *delay > 0.0) {
        histogram!("dagrun.first_task_scheduling_delay", &labels).record(delay);
    }
    if let Some(delay) = start.filter(|delay| *delay > 0.0) {
        histogram!("dagrun.first_task_start_delay", &labels).record(delay);
    }
    Ok(())
}
