//! `/ui/gantt`: when each attempt of a run waited and ran.

use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::FromRow;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/gantt/{dag_id}/{run_id}", get(read))
}

#[derive(Serialize, FromRow)]
struct Bar {
    task_id: String,
    task_display_name: String,
    try_number: i32,
    state: Option<String>,
    scheduled_dttm: Option<Timestamp>,
    queued_dttm: Option<Timestamp>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    is_group: bool,
    is_mapped: bool,
}

#[derive(Serialize)]
struct Gantt {
    dag_id: String,
    run_id: String,
    task_instances: Vec<Bar>,
}

async fn read(
    State(app): State<App>,
    user: User,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> ApiResult<Json<Gantt>> {
    user.may_read(Resource::Dag)?;
    let statement = include_str!("gantt.sql");
    let task_instances: Vec<Bar> = sqlx::query_as(statement).bind(&dag_id).bind(&run_id).fetch_all(&app.pool).await?;
    if task_instances.is_empty() {
        return Err(ApiError::not_found(format!("No task instances for dag_id={dag_id} run_id={run_id}")));
    }
    Ok(Json(Gantt { dag_id, run_id, task_instances }))
}
