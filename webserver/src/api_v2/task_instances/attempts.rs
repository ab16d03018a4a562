//! Attempts of a task instance, past and present.

use super::list::executor_config;
use super::missing;
use crate::api_v2::dag_versions::DagVersion;
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Params, PathInt};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

/// An attempt as the API shows it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TaskAttempt {
    #[serde(skip)]
    pub(crate) id: Uuid,
    /// Whether it is in the history.
    #[serde(skip)]
    pub(crate) is_past: bool,
    task_id: String,
    dag_id: String,
    #[serde(rename = "dag_run_id")]
    run_id: String,
    map_index: i32,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    duration: Option<f64>,
    state: Option<String>,
    pub(crate) try_number: i32,
    max_tries: i32,
    task_display_name: String,
    dag_display_name: String,
    hostname: Option<String>,
    unixname: Option<String>,
    pool: String,
    pool_slots: i32,
    queue: Option<String>,
    priority_weight: Option<i32>,
    operator: Option<String>,
    operator_name: Option<String>,
    #[serde(rename = "queued_when")]
    queued_dttm: Option<Timestamp>,
    #[serde(rename = "scheduled_when")]
    scheduled_dttm: Option<Timestamp>,
    pid: Option<i32>,
    executor: Option<String>,
    executor_config: String,
    dag_version: Option<DagVersion>,
}

impl FromRow<'_, PgRow> for TaskAttempt {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            is_past: row.try_get("is_past")?,
            task_id: row.try_get("task_id")?,
            dag_id: row.try_get("dag_id")?,
            run_id: row.try_get("run_id")?,
            map_index: row.try_get("map_index")?,
            start_date: row.try_get("start_date")?,
            end_date: row.try_get("end_date")?,
            duration: row.try_get("duration")?,
            state: row.try_get("state")?,
            try_number: row.try_get("try_number")?,
            max_tries: row.try_get("max_tries")?,
            task_display_name: row.try_get("task_display_name")?,
            dag_display_name: row.try_get("dag_display_name")?,
            hostname: row.try_get("hostname")?,
            unixname: row.try_get("unixname")?,
            pool: row.try_get("pool")?,
            pool_slots: row.try_get("pool_slots")?,
            queue: row.try_get("queue")?,
            priority_weight: row.try_get("priority_weight")?,
            operator: row.try_get("operator")?,
            operator_name: row.try_get("custom_operator_name")?,
            queued_dttm: row.try_get("queued_dttm")?,
            scheduled_dttm: row.try_get("scheduled_dttm")?,
            pid: row.try_get("pid")?,
            executor: row.try_get("executor")?,
            executor_config: executor_config(row)?,
            dag_version: DagVersion::optional(row)?,
        })
    }
}

#[derive(Serialize)]
pub(super) struct Collection {
    task_instances: Vec<TaskAttempt>,
    total_entries: usize,
}

/// Past attempts first, then the present one unless it waits for its next try.
pub(crate) async fn all(
    app: &App,
    dag_id: &str,
    run_id: &str,
    task_id: &str,
    map_index: i32,
) -> ApiResult<Vec<TaskAttempt>> {
    let statement = include_str!("attempts.sql");
    let rows = sqlx::query_as(statement).bind(dag_id).bind(run_id).bind(task_id).bind(map_index);
    Ok(rows.fetch_all(&app.pool).await?)
}

async fn collection(
    app: &App,
    dag_id: &str,
    run_id: &str,
    task_id: &str,
    map_index: i32,
) -> ApiResult<Json<Collection>> {
    let mut task_instances = all(app, dag_id, run_id, task_id, map_index).await?;
    task_instances.retain(|attempt| attempt.state.as_deref() != Some("up_for_retry"));
    if task_instances.is_empty() {
        return Err(ApiError::not_found(missing(dag_id, run_id, task_id, map_index)));
    }
    Ok(Json(Collection { total_entries: task_instances.len(), task_instances }))
}

async fn one(
    app: &App,
    dag_id: &str,
    run_id: &str,
    task_id: &str,
    map_index: i32,
    try_number: i32,
) -> ApiResult<Json<TaskAttempt>> {
    let attempts = all(app, dag_id, run_id, task_id, map_index).await?;
    // The present attempt comes last and wins.
    let attempt = attempts.into_iter().rev().find(|attempt| attempt.try_number == try_number);
    attempt.map(Json).ok_or_else(|| {
        ApiError::not_found(format!(
            "The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}`, task_id: `{task_id}`, try_number: \
             `{try_number}` and map_index: `{map_index}` was not found"
        ))
    })
}

fn map_index(params: &mut Params) -> ApiResult<i32> {
    let index = params.int("map_index").unwrap_or(-1);
    params.check()?;
    Ok(i32::try_from(index).unwrap_or(-1))
}

pub(super) async fn list(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let map_index = map_index(&mut params)?;
    collection(&app, &dag_id, &run_id, &task_id, map_index).await
}

pub(super) async fn list_mapped(
    State(app): State<App>,
    user: User,
    Path((dag_id, run_id, task_id, map_index)): Path<(String, String, String, String)>,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let map_index = PathInt::parse("map_index", &map_index)?;
    collection(&app, &dag_id, &run_id, &task_id, map_index).await
}

pub(super) async fn read(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id, try_number)): Path<(String, String, String, String)>,
) -> ApiResult<Json<TaskAttempt>> {
    user.may_read(Resource::Dag)?;
    let try_number = PathInt::parse("task_try_number", &try_number)?;
    let map_index = map_index(&mut params)?;
    one(&app, &dag_id, &run_id, &task_id, map_index, try_number).await
}

pub(super) async fn read_mapped(
    State(app): State<App>,
    user: User,
    Path((dag_id, run_id, task_id, map_index, try_number)): Path<(String, String, String, String, String)>,
) -> ApiResult<Json<TaskAttempt>> {
    user.may_read(Resource::Dag)?;
    let map_index = PathInt::parse("map_index", &map_index)?;
    let try_number = PathInt::parse("task_try_number", &try_number)?;
    one(&app, &dag_id, &run_id, &task_id, map_index, try_number).await
}
