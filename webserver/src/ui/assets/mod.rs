//! `/ui/next_run_assets/{dag_id}`: which of the assets that start a Dag have news.

use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/next_run_assets/{dag_id}", get(read))
}

/// An asset that starts the Dag. Counts and keys matter to partitioned Dags only.
#[derive(Serialize, FromRow)]
struct Event {
    id: i32,
    name: Option<String>,
    uri: String,
    last_update: Option<Timestamp>,
    #[sqlx(skip)]
    received_count: i64,
    #[sqlx(default)]
    required_count: i32,
    #[sqlx(skip)]
    received_keys: Vec<String>,
    #[sqlx(skip)]
    required_keys: Vec<String>,
    #[sqlx(skip)]
    is_rollup: bool,
    #[sqlx(skip)]
    mapper_error: bool,
    asset_inactive: bool,
}

#[derive(Serialize)]
struct NextRunAssets {
    asset_expression: Option<Value>,
    events: Vec<Event>,
    pending_partition_count: Option<i64>,
}

async fn read(State(app): State<App>, user: User, Path(dag_id): Path<String>) -> ApiResult<Json<NextRunAssets>> {
    user.may_read(Resource::Asset)?;
    user.may_read(Resource::Dag)?;
    let dag: Option<(Option<Value>, bool)> =
        sqlx::query_as("SELECT asset_expression, timetable_partitioned FROM dag WHERE dag_id = $1")
            .bind(&dag_id)
            .fetch_optional(&app.pool)
            .await?;
    let (asset_expression, is_partitioned) =
        dag.ok_or_else(|| ApiError::not_found(format!("Dag with id {dag_id} was not found")))?;
    let events = sqlx::query_as(include_str!("next_run.sql")).bind(&dag_id).fetch_all(&app.pool).await?;
    let pending_partition_count = if is_partitioned {
        let statement = "SELECT count(*) FROM asset_partition_dag_run \
                         WHERE target_dag_id = $1 AND created_dag_run_id IS NULL";
        Some(sqlx::query_scalar(statement).bind(&dag_id).fetch_one(&app.pool).await?)
    } else {
        None
    };
    Ok(Json(NextRunAssets { asset_expression, events, pending_partition_count }))
}
