//! Task instances: the one guarded change of state (invariants I1 and I2), creation and expansion.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sqlx::{PgConnection, Row, query};
use tradewind_airflow::executor_config;
use tradewind_model::dag::{Dag, TaskIndex};
use tradewind_model::scheduling::{Expansion, NewTaskInstance};
use tradewind_model::state::{TaskInstanceState, is_legal_edge};
use uuid::Uuid;

use crate::{MetadataError, Result, notify, priority_weight};

/// Transitions from which on their statement is planned anew: a plan kept from the time when the table was small takes
/// minutes for thousands.
const PLANNED_ANEW: usize = 32;

/// Task instances written by one statement, so that thousands take no more memory than these.
pub const BATCH: usize = 1_000;

/// A change of state that happens only if the task instance is still in one of the states it may leave.
#[derive(Debug, Clone)]
pub struct Transition {
    /// `task_instance.id`: names the attempt, since a retry gets a new id.
    pub id: Uuid,
    /// The states it may leave.
    pub from: Vec<Option<TaskInstanceState>>,
    /// The state to set.
    pub to: Option<TaskInstanceState>,
    /// Other columns to set, by name. `duration` follows from `end_date` unless given.
    pub patch: Map<String, Value>,
}

impl Transition {
    /// A change of state alone.
    pub fn new(id: Uuid, from: &[Option<TaskInstanceState>], to: Option<TaskInstanceState>) -> Self {
        Self { id, from: from.to_vec(), to, patch: Map::new() }
    }

    /// The same change, with one more column set.
    #[must_use]
    pub fn with(mut self, column: &str, value: impl Into<Value>) -> Self {
        self.patch.insert(column.to_owned(), value.into());
        self
    }
}

/// A task instance whose state was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// `task_instance.id`.
    pub id: Uuid,
    /// `dag_run.id` of its run.
    pub dag_run_id: i32,
}

/// Changes states, many at once, and tells the schedulers when the transaction commits. Returns what really changed;
/// a task instance that had moved on is left alone.
///
/// # Errors
/// [`MetadataError::IllegalTransition`] when an edge is asked for that Airflow does not have.
pub async fn transition(connection: &mut PgConnection, transitions: &[Transition]) -> Result<Vec<Changed>> {
    let changed = transition_silently(connection, transitions).await?;
    let runs: BTreeSet<i32> = changed.iter().map(|changed| changed.dag_run_id).collect();
    notify::send(connection, notify::DAG_RUN, &runs.into_iter().collect::<Vec<_>>()).await?;
    Ok(changed)
}

/// The same as [`transition`] for the scheduler's own changes, of which it need not be told.
pub async fn transition_silently(connection: &mut PgConnection, transitions: &[Transition]) -> Result<Vec<Changed>> {
    if transitions.is_empty() {
        return Ok(Vec::new());
    }
    check_edges(transitions)?;
    // In the order of their ids over all batches, so that two of these never wait for each other in a circle.
    let mut ordered: Vec<&Transition> = transitions.iter().collect();
    ordered.sort_unstable_by_key(|wanted| wanted.id);
    let is_planned_anew = transitions.len() >= PLANNED_ANEW;
    let mut changed = Vec::with_capacity(transitions.len());
    for batch in ordered.chunks(BATCH) {
        changed.extend(write(connection, batch, is_planned_anew).await?);
    }
    Ok(changed)
}

async fn write(
    connection: &mut PgConnection,
    transitions: &[&Transition],
    is_planned_anew: bool,
) -> Result<Vec<Changed>> {
    let (ids, (sources, (targets, patches))): (Vec<_>, (Vec<_>, (Vec<_>, Vec<_>))) = transitions
        .iter()
        .map(|wanted| {
            let sources: Vec<&str> =
                wanted.from.iter().map(|state| state.map_or("none", TaskInstanceState::as_str)).collect();
            let target = wanted.to.map(TaskInstanceState::as_str);
            (wanted.id, (json!(sources), (target, Value::Object(wanted.patch.clone()))))
        })
        .unzip();
    let rows = query(include_str!("../queries/task_instance/transition.sql"))
        .bind(ids)
        .bind(sources)
        .bind(targets)
        .bind(patches)
        .persistent(!is_planned_anew)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok(Changed { id: row.try_get("id")?, dag_run_id: row.try_get("dag_run_id")? })).collect()
}

fn check_edges(transitions: &[Transition]) -> Result<()> {
    for wanted in transitions {
        if let Some(from) = wanted.from.iter().find(|from| !is_legal_edge(**from, wanted.to)) {
            return Err(MetadataError::IllegalTransition { from: *from, to: wanted.to });
        }
    }
    Ok(())
}

/// The run that new task instances belong to.
#[derive(Debug, Clone, Copy)]
pub struct RunIdentity<'a> {
    /// The run's id.
    pub run_id: &'a str,
    /// The version of the Dag they run.
    pub dag_version_id: Option<Uuid>,
    /// The run's OpenTelemetry context, which they share.
    pub context_carrier: Option<&'a Value>,
}

/// A task instance to make.
#[derive(Debug, Clone, Copy)]
pub struct New {
    /// Its task.
    pub task: TaskIndex,
    /// -1 when it is not mapped, or not yet.
    pub map_index: i32,
    /// The state it starts in: none, unless it is made already skipped or the like.
    pub state: Option<TaskInstanceState>,
    /// Whether the task's display name is stored with it: Airflow leaves it out of what an expansion makes.
    pub is_named: bool,
}

impl From<NewTaskInstance> for New {
    fn from(new: NewTaskInstance) -> Self {
        Self { task: new.task, map_index: new.map_index, state: None, is_named: true }
    }
}

/// Python's pickle of an empty dictionary, protocol 5: the `executor_config` of a task that sets none.
const EMPTY_EXECUTOR_CONFIG: &[u8] = b"\x80\x05}\x94.";

/// Makes task instances; those that exist are left alone.
pub async fn create(
    connection: &mut PgConnection,
    dag: &Dag,
    run: &RunIdentity<'_>,
    new: &[New],
    now: DateTime<Utc>,
) -> Result<()> {
    for batch in new.chunks(BATCH) {
        let ids: Vec<Uuid> = batch.iter().map(|_| Uuid::now_v7()).collect();
        let rows: Vec<Value> = batch.iter().zip(&ids).map(|(new, id)| row(dag, new, *id)).collect();
        query(include_str!("../queries/task_instance/create.sql"))
            .bind(Value::Array(rows))
            .bind(&dag.dag_id)
            .bind(run.run_id)
            .bind(run.dag_version_id)
            .bind(run.context_carrier)
            .bind(EMPTY_EXECUTOR_CONFIG)
            .bind(now)
            .execute(&mut *connection)
            .await?;
        let weighed: Vec<Uuid> =
            batch.iter().zip(ids).filter(|(new, _)| dag.has_custom_weight(new.task)).map(|(_, id)| id).collect();
        priority_weight::want(&mut *connection, &weighed).await?;
    }
    Ok(())
}

fn row(dag: &Dag, new: &New, id: Uuid) -> Value {
    let task = dag.at(new.task);
    json!({
        "id": id,
        "task_id": task.task_id,
        "map_index": new.map_index,
        "state": new.state,
        "max_tries": task.retries,
        "pool": task.pool,
        "pool_slots": task.pool_slots,
        "queue": task.queue,
        "priority_weight": dag.priority_weight(new.task),
        "operator": task.task_type,
        "custom_operator_name": task.custom_operator_name(),
        "task_display_name": new.is_named.then(|| task.task_display_name()),
        "executor": task.executor,
        "executor_config": task.executor_config.as_deref().and_then(executor_config::pickle).map(|pickled| hex(&pickled)),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Turns the unexpanded task instances of mapped tasks into their first mapped ones.
pub async fn expand(connection: &mut PgConnection, expansions: &[Expansion]) -> Result<()> {
    let (deleted, moved): (Vec<&Expansion>, Vec<&Expansion>) =
        expansions.iter().partition(|expansion| expansion.is_deleted);
    let ids = |expansions: &[&Expansion]| expansions.iter().map(|expansion| expansion.id).collect::<Vec<_>>();
    if !moved.is_empty() {
        query("UPDATE task_instance SET map_index = 0, updated_at = now() WHERE id = ANY ($1) AND map_index = -1")
            .bind(ids(&moved))
            .execute(&mut *connection)
            .await?;
    }
    if !deleted.is_empty() {
        query("DELETE FROM task_instance WHERE id = ANY ($1) AND map_index = -1")
            .bind(ids(&deleted))
            .execute(connection)
            .await?;
    }
    Ok(())
}
