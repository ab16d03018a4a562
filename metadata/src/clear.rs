//! Clearing: task instances of a run shall run again.
//!
//! Source: `clear_task_instances` in `airflow/models/taskinstance.py`.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, FromRow, PgConnection, query, query_as, query_scalar};
use tradewind_model::dag::Dag;
use tradewind_model::scheduling::RunFacts;
use tradewind_model::state::{DagRunState, TaskInstanceState};
use uuid::Uuid;

use crate::dag_run_version::{self, VersionedRun};
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
    /// Whether they move to the newest version of the Dag, and their run with them.
    pub run_on_latest_version: bool,
    /// Whether the run is counted as cleared and, when it has ended, queued again. Without this the task instances wait
    /// for somebody to queue it.
    pub reset_dag_run: bool,
}

#[derive(FromRow)]
struct Run {
    id: i32,
    run_id: String,
    run_type: String,
    state: String,
    logical_date: Option<DateTime<Utc>>,
    created_dag_version_id: Option<Uuid>,
    bundle_version: Option<String>,
    context_carrier: Option<Value>,
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
    let run = run_of(&mut transaction, clearing.dag_id, clearing.run_id).await?;
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
    let carrier = if clearing.reset_dag_run { trace_context::new_root() } else { run.carrier() };
    let renewed = renew(&mut transaction, &ids, &carrier).await?;
    let weighed = cleared.iter().zip(renewed).filter(|(cleared, _)| version.has_custom_weight(cleared));
    priority_weight::want(&mut transaction, &weighed.map(|(_, id)| id).collect::<Vec<_>>()).await?;
    if clearing.reset_dag_run {
        reset(&mut transaction, clearing.dag_id, &run, &version, &carrier).await?;
    }
    failpoint::reach("clear: written").await?;
    transaction.commit().await?;
    Ok(ids.len())
}

async fn run_of(connection: &mut PgConnection, dag_id: &str, run_id: &str) -> Result<Run> {
    let run =
        query_as(include_str!("../queries/clear/run.sql")).bind(dag_id).bind(run_id).fetch_optional(connection).await?;
    run.ok_or_else(|| MetadataError::NotFound(format!("Dag run with run_id: '{run_id}' not found")))
}

impl Run {
    fn state(&self) -> Result<DagRunState> {
        self.state.parse().map_err(|error| MetadataError::Corrupt(format!("dag_run {}: {error}", self.id)))
    }

    /// What the model must know of the run, in this state.
    fn facts(&self, state: DagRunState) -> Result<RunFacts> {
        let run_type = self.run_type.parse();
        Ok(RunFacts {
            run_id: self.run_id.clone(),
            run_type: run_type.map_err(|error| MetadataError::Corrupt(format!("dag_run {}: {error}", self.id)))?,
            state,
            logical_date: self.logical_date,
            start_date: None,
            is_first_of_backfill: false,
        })
    }

    fn carrier(&self) -> Value {
        self.context_carrier.clone().unwrap_or_else(trace_context::new_root)
    }
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
        let id = if moves { dag_run_version::latest(connection, clearing.dag_id).await? } else { None };
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

/// Counts the clear and lets the run go on: with the newest version of the Dag when its task instances moved to it. A run
/// that has ended is queued again, with the task instances that the version asks for.
async fn reset(
    connection: &mut PgConnection,
    dag_id: &str,
    run: &Run,
    version: &Version,
    carrier: &Value,
) -> Result<()> {
    let now = Utc::now();
    query(include_str!("../queries/clear/reset_run.sql"))
        .bind(run.id)
        .bind(now)
        .bind(carrier)
        .bind(version.id)
        .bind(version.dag.as_ref().is_some_and(|dag| !dag.settings.disable_bundle_versioning))
        .execute(&mut *connection)
        .await?;
    deadline::recalculate(&mut *connection, run.id, now).await?;
    let finished = [DagRunState::Success, DagRunState::Failed];
    let requeued = dag_run::set_state(connection, &[run.id], &finished, DagRunState::Queued, now).await?;
    if let (Some(id), Some(dag)) = (version.id, &version.dag)
        && !requeued.is_empty()
    {
        let facts = run.facts(DagRunState::Queued)?;
        let run = VersionedRun { id: run.id, facts: &facts, context_carrier: Some(carrier) };
        dag_run_version::verify(connection, dag, &run, id, now).await?;
    }
    if let Some(pinned) = version.id.or(run.created_dag_version_id) {
        query(include_str!("../queries/clear/pin_versionless.sql"))
            .bind(dag_id)
            .bind(&run.run_id)
            .bind(pinned)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Moves a run to the newest version of its Dag, with the task instances that this version asks for. Returns the tasks
/// that the version of the run did not have, and nothing when the run stays as it is since there are none.
///
/// Source: `_get_new_task_ids` and `_update_dagrun_to_latest_version`.
///
/// # Errors
/// [`MetadataError::NotFound`] when there is no such run or its Dag was never serialized.
pub async fn add_new_tasks(
    connection: &mut PgConnection,
    dags: &Cache,
    dag_id: &str,
    run_id: &str,
) -> Result<Vec<String>> {
    let run = run_of(connection, dag_id, run_id).await?;
    let latest = dags.latest(&mut *connection, dag_id).await?;
    let id = dag_run_version::latest(&mut *connection, dag_id).await?;
    let (Some(latest), Some(id)) = (latest, id) else {
        return Err(MetadataError::NotFound(format!("Latest DAG version for '{dag_id}' not found")));
    };
    let Some(current) = run.created_dag_version_id else { return Ok(Vec::new()) };
    let current = dags.version(&mut *connection, current).await?;
    let new = latest.tasks().filter(|(_, task)| current.index_of(&task.task_id).is_none());
    let new: Vec<String> = new.map(|(_, task)| task.task_id.clone()).collect();
    if new.is_empty() {
        return Ok(new);
    }
    query(include_str!("../queries/clear/move_run.sql")).bind(run.id).bind(id).execute(&mut *connection).await?;
    query("UPDATE task_instance SET dag_version_id = $3 WHERE dag_id = $1 AND run_id = $2")
        .bind(dag_id)
        .bind(run_id)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    let facts = run.facts(run.state()?)?;
    let carrier = run.carrier();
    let versioned = VersionedRun { id: run.id, facts: &facts, context_carrier: Some(&carrier) };
    dag_run_version::verify(connection, &latest, &versioned, id, Utc::now()).await?;
    Ok(new)
}

#[derive(FromRow)]
struct Restarting {
    id: Uuid,
    dag_id: String,
    task_id: String,
    try_number: i32,
    max_tries: i32,
    pinned_dag_version_id: Option<Uuid>,
}

/// An attempt by what it is called, since a clear has given its task instance another id.
#[derive(Debug, Clone, Copy)]
pub struct AttemptName<'a> {
    /// The Dag.
    pub dag_id: &'a str,
    /// The run.
    pub run_id: &'a str,
    /// The task.
    pub task_id: &'a str,
    /// -1 when it is not mapped.
    pub map_index: i32,
    /// Which attempt it is.
    pub try_number: i32,
}

/// Lets the task instance start anew that was cleared while this attempt of it ran, now that its process has ended.
/// Returns whether there was one.
pub async fn restart_after(connection: &mut PgConnection, dags: &Cache, attempt: AttemptName<'_>) -> Result<bool> {
    let ids: Vec<Uuid> = query_scalar(include_str!("../queries/clear/restarting_attempt.sql"))
        .bind(attempt.dag_id)
        .bind(attempt.run_id)
        .bind(attempt.task_id)
        .bind(attempt.map_index)
        .bind(attempt.try_number)
        .fetch_all(&mut *connection)
        .await?;
    Ok(restart(connection, dags, &ids).await? > 0)
}

/// Lets task instances start anew that were cleared while they ran; they get all their retries again. Returns how many.
///
/// Source: `process_executor_events` of the scheduler.
pub async fn restart(connection: &mut PgConnection, dags: &Cache, ids: &[Uuid]) -> Result<usize> {
    let restarting: Vec<Restarting> =
        query_as(include_str!("../queries/clear/restarting.sql")).bind(ids).fetch_all(&mut *connection).await?;
    let mut transitions = Vec::new();
    for instance in restarting {
        let dag = match instance.pinned_dag_version_id {
            Some(version) => Some(dags.version(&mut *connection, version).await?),
            None => dags.latest(&mut *connection, &instance.dag_id).await?,
        };
        let retries = dag.and_then(|dag| Some(dag.at(dag.index_of(&instance.task_id)?).retries));
        let max_tries = retries.map_or(instance.max_tries, |retries| instance.try_number + retries);
        let from = [Some(TaskInstanceState::Restarting)];
        transitions.push(Transition::new(instance.id, &from, None).with("max_tries", max_tries));
    }
    Ok(transition(connection, &transitions).await?.len())
}
