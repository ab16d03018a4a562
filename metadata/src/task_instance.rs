//! Task instances: the one guarded change of state (invariants I1 and I2), creation and expansion.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sqlx::{PgConnection, Row as _, query};
use tradewind_airflow::executor_config;
use tradewind_model::dag::{Dag, Task, TaskIndex};
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

/// Task instances to make in one run.
#[derive(Debug, Clone)]
pub struct OfRun<'a> {
    /// The Dag they are of.
    pub dag: &'a Dag,
    /// Their run.
    pub run: RunIdentity<'a>,
    /// What to make.
    pub new: Vec<New>,
}

/// Makes task instances; those that exist are left alone.
pub async fn create(
    connection: &mut PgConnection,
    dag: &Dag,
    run: &RunIdentity<'_>,
    new: &[New],
    now: DateTime<Utc>,
) -> Result<()> {
    create_all(connection, &[OfRun { dag, run: *run, new: new.to_vec() }], now).await
}

/// Makes task instances of several runs; those that exist are left alone.
pub async fn create_all(connection: &mut PgConnection, runs: &[OfRun<'_>], now: DateTime<Utc>) -> Result<()> {
    let rows: Vec<Row<'_>> =
        runs.iter().flat_map(|run| run.new.iter().map(move |new| Row { run, new, id: Uuid::now_v7() })).collect();
    for batch in rows.chunks(BATCH) {
        insert(connection, batch, now).await?;
        let weighed: Vec<Uuid> =
            batch.iter().filter(|row| row.run.dag.has_custom_weight(row.new.task)).map(|row| row.id).collect();
        priority_weight::want(&mut *connection, &weighed).await?;
    }
    Ok(())
}

/// A task instance that is to have its row.
struct Row<'a> {
    run: &'a OfRun<'a>,
    new: &'a New,
    id: Uuid,
}

async fn insert(connection: &mut PgConnection, rows: &[Row<'_>], now: DateTime<Utc>) -> Result<()> {
    query(include_str!("../queries/task_instance/create.sql"))
        .bind(column(rows, |row| row.run.dag.dag_id.as_str()))
        .bind(column(rows, |row| row.run.run.run_id))
        .bind(column(rows, |row| row.run.run.dag_version_id))
        .bind(column(rows, |row| row.run.run.context_carrier))
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| row.task().task_id.as_str()))
        .bind(column(rows, |row| row.new.map_index))
        .bind(column(rows, |row| row.new.state.map(TaskInstanceState::as_str)))
        .bind(column(rows, |row| row.task().retries))
        .bind(column(rows, |row| row.task().pool.as_str()))
        .bind(column(rows, |row| row.task().pool_slots))
        .bind(column(rows, |row| row.task().queue.as_str()))
        .bind(column(rows, |row| row.run.dag.priority_weight(row.new.task)))
        .bind(column(rows, |row| row.task().task_type.as_str()))
        .bind(column(rows, |row| row.task().custom_operator_name()))
        .bind(column(rows, |row| row.new.is_named.then(|| row.task().task_display_name())))
        .bind(column(rows, |row| row.task().executor.as_deref()))
        .bind(column(rows, |row| row.executor_config()))
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

impl<'a> Row<'a> {
    fn task(&self) -> &'a Task {
        self.run.dag.at(self.new.task)
    }

    fn executor_config(&self) -> Vec<u8> {
        let own = self.task().executor_config.as_deref().and_then(executor_config::pickle);
        own.unwrap_or_else(|| EMPTY_EXECUTOR_CONFIG.to_vec())
    }
}

/// What all have in one column.
fn column<'a, T>(rows: &'a [Row<'a>], value: impl Fn(&'a Row<'a>) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
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
