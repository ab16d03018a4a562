//! Clearing: task instances of a run shall run again.
//!
//! Source: `clear_task_instances` in `airflow/models/taskinstance.py`.

use std::sync::Arc;

use chrono::Utc;
use serde_json::{Value, json};
use sqlx::{Connection, FromRow, PgConnection, query, query_as};
use tradewind_model::dag::Dag;
use tradewind_model::state::{DagRunState, TaskInstanceState};
use uuid::Uuid;

use crate::serialized_dag::Cache;
use crate::task_instance::{Transition, transition};
use crate::{MetadataError, Result, dag_run, deadline, failpoint, priority_weight, trace_context};

/// Which task instances to clear, all of one run.
#[derive(Debug, Clone, Copy)]
pub struct Clearing<'a> {
    /// The Dag.
    pub dag_id: &'a str,
    /// The run.
    pub run_id: &'a str,
    /// The task instances; none for all of the run.
    pub ids: Option<&'a [Uuid]>,
    /// Whether they move to the newest version of the Dag.
    pub run_on_latest_version: bool,
}

#[derive(FromRow)]
struct Run {
    id: i32,
    created_dag_version_id: Option<Uuid>,
    bundle_version: Option<String>,
}

#[derive(FromRow)]
struct Cleared {
    id: Uuid,
    task_id: String,
    state: Option<String>,
    try_number: i32,
    max_tries: i32,
    has_ended: bool,
    dag_version_id: Option<Uuid>,
}

/// Moves the attempts into the history and makes the task instances ready for their next one. What runs is asked to end
/// first (`restarting`). A finished run is queued again. Returns how many task instances were cleared.
///
/// # Errors
/// [`MetadataError::NotFound`] when there is no such run.
pub async fn clear(connection: &mut PgConnection, dags: &Cache, clearing: Clearing<'_>) -> Result<usize> {
    let mut transaction = connection.begin().await?;
    let run = run_of(&mut transaction, clearing).await?;
    let cleared: Vec<Cleared> = query_as(include_str!("../queries/clear/hold.sql"))
        .bind(clearing.dag_id)
        .bind(clearing.run_id)
        .bind(clearing.ids)
        .fetch_all(&mut *transaction)
        .await?;
    if cleared.is_empty() {
        return Ok(0);
    }
    failpoint::reach("clear: held").await?;
    let ids: Vec<Uuid> = cleared.iter().map(|cleared| cleared.id).collect();
    archive(&mut transaction, &ids).await?;
    let version = Version::of(&mut transaction, dags, clearing, &run).await?;
    let transitions = cleared.iter().map(|cleared| version.next(cleared)).collect::<Result<Vec<_>>>()?;
    transition(&mut transaction, &transitions).await?;
    let carrier = trace_context::new_root();
    let renewed = renew(&mut transaction, &ids, &carrier).await?;
    let weighed = cleared.iter().zip(renewed).filter(|(cleared, _)| version.has_custom_weight(cleared));
    priority_weight::want(&mut transaction, &weighed.map(|(_, id)| id).collect::<Vec<_>>()).await?;
    requeue(&mut transaction, &run, &carrier).await?;
    failpoint::reach("clear: written").await?;
    transaction.commit().await?;
    Ok(ids.len())
}

async fn run_of(connection: &mut PgConnection, clearing: Clearing<'_>) -> Result<Run> {
    let statement = "SELECT id, created_dag_version_id, nullif(bundle_version, '') AS bundle_version FROM dag_run \
                     WHERE dag_id = $1 AND run_id = $2 FOR UPDATE";
    let run = query_as(statement).bind(clearing.dag_id).bind(clearing.run_id).fetch_optional(connection).await?;
    run.ok_or_else(|| MetadataError::NotFound(format!("Dag run with run_id: '{}' not found", clearing.run_id)))
}

/// Copies attempts into the history, with what people answered to them; reschedules belong to the old attempts and go.
async fn archive(connection: &mut PgConnection, ids: &[Uuid]) -> Result<()> {
    query(include_str!("../queries/clear/archive.sql")).bind(ids).execute(&mut *connection).await?;
    query(include_str!("../queries/clear/archive_hitl_details.sql")).bind(ids).execute(&mut *connection).await?;
    query("DELETE FROM task_reschedule WHERE ti_id = ANY ($1)").bind(ids).execute(connection).await?;
    Ok(())
}

/// The version of the Dag that cleared task instances go on with.
struct Version {
    dag: Option<Arc<Dag>>,
    /// The version to move to, none to stay.
    id: Option<Uuid>,
    /// For task instances without a version.
    default: Option<Uuid>,
}

impl Version {
    async fn of(connection: &mut PgConnection, dags: &Cache, clearing: Clearing<'_>, run: &Run) -> Result<Self> {
        let moves = clearing.run_on_latest_version || run.created_dag_version_id.is_none();
        let pinned = run.created_dag_version_id.filter(|_| !moves && run.bundle_version.is_some());
        let dag = match pinned {
            Some(version) => Some(dags.version(&mut *connection, version).await?),
            None => dags.latest(&mut *connection, clearing.dag_id).await?,
        };
        let id = if moves { latest_id(connection, clearing.dag_id).await? } else { None };
        Ok(Self { dag, id, default: run.created_dag_version_id })
    }

    /// Whether only Python knows the weight of the task instance that goes on; what runs keeps its own.
    fn has_custom_weight(&self, cleared: &Cleared) -> bool {
        let task = self.dag.as_ref().and_then(|dag| Some((dag, dag.index_of(&cleared.task_id)?)));
        let is_running = cleared.state.as_deref() == Some(TaskInstanceState::Running.as_str());
        !is_running && task.is_some_and(|(dag, index)| dag.has_custom_weight(index))
    }

    fn next(&self, cleared: &Cleared) -> Result<Transition> {
        let state = cleared.state.as_deref().map(str::parse).transpose();
        let state: Option<TaskInstanceState> = state.map_err(|error| MetadataError::Corrupt(format!("{error}")))?;
        let mut wanted = if state == Some(TaskInstanceState::Running) {
            Transition::new(cleared.id, &[state], Some(TaskInstanceState::Restarting))
        } else {
            self.reset(cleared, state)
        };
        // As in Airflow an attempt that is archived before its end ends now, also where it goes on.
        if !cleared.has_ended && !state.is_some_and(TaskInstanceState::is_finished) {
            wanted = wanted.with("end_date", json!(Utc::now()));
        }
        Ok(wanted)
    }

    fn reset(&self, cleared: &Cleared, state: Option<TaskInstanceState>) -> Transition {
        let wanted = Transition::new(cleared.id, &[state], None)
            .with("external_executor_id", Value::Null)
            .with("next_method", Value::Null)
            .with("next_kwargs", Value::Null)
            .with("dag_version_id", json!(self.id.or(cleared.dag_version_id).or(self.default)));
        let task = self.dag.as_ref().and_then(|dag| Some((dag, dag.index_of(&cleared.task_id)?)));
        let Some((dag, index)) = task else {
            return wanted.with("max_tries", cleared.max_tries.max(cleared.try_number));
        };
        let task = dag.at(index);
        wanted
            .with("max_tries", cleared.try_number + task.retries)
            .with("pool", task.pool.as_str())
            .with("pool_slots", task.pool_slots)
            .with("queue", task.queue.as_str())
            .with("priority_weight", dag.priority_weight(index))
            .with("executor", json!(task.executor))
    }
}

async fn latest_id(connection: &mut PgConnection, dag_id: &str) -> Result<Option<Uuid>> {
    let statement = "SELECT id FROM dag_version WHERE dag_id = $1 ORDER BY version_number DESC LIMIT 1";
    Ok(sqlx::query_scalar(statement).bind(dag_id).fetch_optional(connection).await?)
}

/// Gives the task instances the ids of their next attempts. A worker that still runs an old one learns it from its
/// heartbeat.
async fn renew(connection: &mut PgConnection, ids: &[Uuid], carrier: &Value) -> Result<Vec<Uuid>> {
    let next: Vec<Uuid> = ids.iter().map(|_| Uuid::now_v7()).collect();
    query(
        "UPDATE task_instance ti SET id = renewed.next, context_carrier = $3 \
         FROM unnest($1::uuid[], $2::uuid[]) AS renewed (old, next) WHERE ti.id = renewed.old",
    )
    .bind(ids)
    .bind(&next)
    .bind(carrier)
    .execute(connection)
    .await?;
    Ok(next)
}

async fn requeue(connection: &mut PgConnection, run: &Run, carrier: &Value) -> Result<()> {
    let now = Utc::now();
    query(
        "UPDATE dag_run SET clear_number = clear_number + 1, queued_at = $2, context_carrier = $3, updated_at = $2, \
         last_scheduling_decision = CASE WHEN state IN ('success', 'failed') THEN NULL ELSE last_scheduling_decision END \
         WHERE id = $1",
    )
    .bind(run.id)
    .bind(now)
    .bind(carrier)
    .execute(&mut *connection)
    .await?;
    deadline::recalculate(&mut *connection, run.id, now).await?;
    let finished = [DagRunState::Success, DagRunState::Failed];
    dag_run::set_state(connection, &[run.id], &finished, DagRunState::Queued, now).await?;
    Ok(())
}
