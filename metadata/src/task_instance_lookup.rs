//! What tasks ask about task instances.
//!
//! Source: `airflow/api_fastapi/execution_api/routes/task_instances.py` and `task_reschedules.py`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, query_as, query_scalar};
use uuid::Uuid;

use crate::{MetadataError, Result, dag_document};

/// Which task instances of a Dag to look at; an empty list stands for all.
#[derive(Debug, Clone, Copy, Default)]
pub struct TaskInstanceFilter<'a> {
    /// The Dag.
    pub dag_id: &'a str,
    /// Index of a mapped task instance.
    pub map_index: Option<i32>,
    /// Tasks.
    pub task_ids: &'a [String],
    /// Task group whose tasks to look at, also those of groups within it.
    pub task_group_id: Option<&'a str>,
    /// Logical dates of the runs.
    pub logical_dates: &'a [DateTime<Utc>],
    /// Runs.
    pub run_ids: &'a [String],
}

/// A task instance found.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Found {
    /// Its run.
    pub run_id: String,
    /// Its task.
    pub task_id: String,
    /// -1 when the task is not mapped.
    pub map_index: i32,
    /// Its state.
    pub state: Option<String>,
}

/// How many task instances there are in given states: `null` stands for no state, an empty list for any.
///
/// With a task group, tasks count that have a task instance in the group; a group that has none yet counts the task
/// instance of its own name, as `ExternalTaskSensor` expects.
///
/// # Errors
/// [`MetadataError::NotFound`] when the Dag or the task group does not exist.
pub async fn count(connection: &mut PgConnection, filter: TaskInstanceFilter<'_>, states: &[String]) -> Result<i64> {
    let (mut task_ids, mut map_indexes) = (Vec::new(), Vec::new());
    if let Some(group_id) = filter.task_group_id {
        for found in of_group(&mut *connection, filter, group_id).await? {
            task_ids.push(found.task_id);
            map_indexes.push(found.map_index);
        }
        if task_ids.is_empty() {
            task_ids.push(group_id.to_owned());
            map_indexes.push(-1);
        }
    }
    let count = query_scalar(include_str!("../queries/lookup/count_task_instances.sql"))
        .bind(filter.dag_id)
        .bind(filter.map_index)
        .bind(filter.task_ids)
        .bind(filter.logical_dates)
        .bind(filter.run_ids)
        .bind(task_ids)
        .bind(map_indexes)
        .bind(states)
        .fetch_one(connection)
        .await?;
    Ok(count)
}

/// Task instances with their states. With a task group alone, those of the group; with tasks as well, both.
///
/// # Errors
/// [`MetadataError::NotFound`] when the Dag or the task group does not exist.
pub async fn states(connection: &mut PgConnection, filter: TaskInstanceFilter<'_>) -> Result<Vec<Found>> {
    let Some(group_id) = filter.task_group_id else {
        return find(connection, filter, filter.task_ids).await;
    };
    let mut found = of_group(&mut *connection, filter, group_id).await?;
    if !filter.task_ids.is_empty() {
        found.splice(0..0, find(connection, filter, filter.task_ids).await?);
    }
    Ok(found)
}

async fn of_group(connection: &mut PgConnection, filter: TaskInstanceFilter<'_>, group_id: &str) -> Result<Vec<Found>> {
    let dag_id = filter.dag_id;
    let document = dag_document::latest(&mut *connection, dag_id)
        .await?
        .ok_or_else(|| MetadataError::NotFound(format!("The Dag with ID: `{dag_id}` was not found")))?;
    let tasks = document
        .tasks_of_group(group_id)
        .ok_or_else(|| MetadataError::NotFound(format!("Task group {group_id} not found in DAG {dag_id}")))?;
    let tasks: Vec<String> = tasks.into_iter().map(str::to_owned).collect();
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    find(connection, filter, &tasks).await
}

async fn find(
    connection: &mut PgConnection,
    filter: TaskInstanceFilter<'_>,
    task_ids: &[String],
) -> Result<Vec<Found>> {
    let found = query_as(include_str!("../queries/lookup/find_task_instances.sql"))
        .bind(filter.dag_id)
        .bind(filter.map_index)
        .bind(task_ids)
        .bind(filter.logical_dates)
        .bind(filter.run_ids)
        .fetch_all(connection)
        .await?;
    Ok(found)
}

/// A task instance of an earlier run.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct PreviousTaskInstance {
    /// Its task.
    pub task_id: String,
    /// Its Dag.
    pub dag_id: String,
    /// Its run.
    pub run_id: String,
    /// Logical date of the run.
    pub logical_date: Option<DateTime<Utc>>,
    /// When it started.
    pub start_date: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_date: Option<DateTime<Utc>>,
    /// Its state.
    pub state: Option<String>,
    /// Its attempt.
    pub try_number: i32,
    /// -1 when the task is not mapped.
    pub map_index: i32,
    /// Seconds it took.
    pub duration: Option<f64>,
}

/// The task instance of the last run before a logical date (or of the last run), in any state or a given one.
pub async fn previous(
    connection: &mut PgConnection,
    dag_id: &str,
    task_id: &str,
    map_index: i32,
    logical_date: Option<DateTime<Utc>>,
    state: Option<&str>,
) -> Result<Option<PreviousTaskInstance>> {
    let found = query_as(include_str!("../queries/lookup/previous_task_instance.sql"))
        .bind(dag_id)
        .bind(task_id)
        .bind(map_index)
        .bind(logical_date)
        .bind(state)
        .fetch_optional(connection)
        .await?;
    Ok(found)
}

/// What is left of a finished task instance.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct Breadcrumb {
    /// Its task.
    pub task_id: String,
    /// -1 when the task is not mapped.
    pub map_index: i32,
    /// Its state.
    pub state: Option<String>,
    /// Class name of its operator.
    pub operator: Option<String>,
    /// Seconds it took.
    pub duration: Option<f64>,
}

/// The finished task instances of a run.
pub async fn breadcrumbs(connection: &mut PgConnection, dag_id: &str, run_id: &str) -> Result<Vec<Breadcrumb>> {
    let breadcrumbs = query_as(
        "SELECT task_id, map_index, state, operator, duration FROM task_instance \
         WHERE dag_id = $1 AND run_id = $2 \
         AND state IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed') \
         ORDER BY task_id, map_index",
    )
    .bind(dag_id)
    .bind(run_id)
    .fetch_all(connection)
    .await?;
    Ok(breadcrumbs)
}

/// When a sensor's attempt was first rescheduled.
pub async fn first_reschedule(connection: &mut PgConnection, ti_id: Uuid) -> Result<Option<DateTime<Utc>>> {
    let date = query_scalar("SELECT start_date FROM task_reschedule WHERE ti_id = $1 ORDER BY id LIMIT 1")
        .bind(ti_id)
        .fetch_optional(connection)
        .await?;
    Ok(date)
}

/// The task an attempt belongs to and its run; `None` when the attempt is gone.
pub async fn task_of(connection: &mut PgConnection, ti_id: Uuid) -> Result<Option<(String, i32)>> {
    let task = query_as(
        "SELECT ti.task_id, run.id FROM task_instance ti JOIN dag_run run USING (dag_id, run_id) WHERE ti.id = $1",
    )
    .bind(ti_id)
    .fetch_optional(connection)
    .await?;
    Ok(task)
}
