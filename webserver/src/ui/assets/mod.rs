//! `/ui/next_run_assets/{dag_id}`: which of the assets that start a Dag have news.

use super::partitioned_dag_runs::progress::{AssetProgress, PartitionedDag, received};
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
use std::collections::BTreeSet;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/next_run_assets/{dag_id}", get(read))
}

/// An asset that starts the Dag.
#[derive(FromRow)]
struct AssetRow {
    id: i32,
    name: Option<String>,
    uri: String,
    last_update: Option<Timestamp>,
    asset_inactive: bool,
}

/// How far an asset is. Counts and keys matter to partitioned Dags only.
#[derive(Serialize)]
struct Event {
    id: i32,
    name: Option<String>,
    uri: String,
    last_update: Option<Timestamp>,
    received_count: usize,
    required_count: usize,
    received_keys: BTreeSet<String>,
    required_keys: BTreeSet<String>,
    is_rollup: bool,
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
    let rows: Vec<AssetRow> =
        sqlx::query_as(include_str!("next_run.sql")).bind(&dag_id).bind(is_partitioned).fetch_all(&app.pool).await?;
    let mut events: Vec<Event> = rows.into_iter().map(Event::of_whole_asset).collect();
    let mut pending_partition_count = None;
    if is_partitioned {
        let statement = "SELECT count(*) FROM asset_partition_dag_run \
                         WHERE target_dag_id = $1 AND created_dag_run_id IS NULL";
        pending_partition_count = Some(sqlx::query_scalar(statement).bind(&dag_id).fetch_one(&app.pool).await?);
        add_progress(&app, &dag_id, &mut events).await?;
    }
    Ok(Json(NextRunAssets { asset_expression, events, pending_partition_count }))
}

impl Event {
    fn of_whole_asset(row: AssetRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            uri: row.uri,
            last_update: row.last_update,
            received_count: 0,
            required_count: 1,
            received_keys: BTreeSet::new(),
            required_keys: BTreeSet::new(),
            is_rollup: false,
            mapper_error: false,
            asset_inactive: row.asset_inactive,
        }
    }

    /// As in Airflow every key that came counts, also where any one would do.
    fn add_progress(&mut self, progress: AssetProgress) {
        self.received_count = progress.received_keys.len();
        self.required_count = progress.required_count;
        if progress.mapper_error || self.received_count < self.required_count {
            self.last_update = None;
        }
        self.received_keys = progress.received_keys;
        self.required_keys = progress.required_keys;
        self.mapper_error = progress.mapper_error;
    }
}

/// Adds how far the partition is that has waited longest: the scheduler looks at it first.
async fn add_progress(app: &App, dag_id: &str, events: &mut [Event]) -> ApiResult<()> {
    let mut dags = PartitionedDag::load(app, [dag_id.to_owned()].into()).await?;
    let dag = dags.remove(dag_id).unwrap_or_default();
    let rollups = dag.rollups();
    for event in &mut *events {
        event.is_rollup = rollups.get(&event.id).copied().unwrap_or_default();
    }
    let statement = "SELECT id, partition_key FROM asset_partition_dag_run \
                     WHERE target_dag_id = $1 AND created_dag_run_id IS NULL ORDER BY created_at LIMIT 1";
    let next: Option<(i32, String)> = sqlx::query_as(statement).bind(dag_id).fetch_optional(&app.pool).await?;
    let Some((id, key)) = next else { return Ok(()) };
    let received = received(app, vec![id]).await?.remove(&id).unwrap_or_default();
    for progress in dag.progress(&key, &received) {
        if let Some(event) = events.iter_mut().find(|event| event.id == progress.asset_id) {
            event.add_progress(progress);
        }
    }
    Ok(())
}
