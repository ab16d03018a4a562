//! `/backfills`: reading, making, pausing and cancelling them.

mod create;

use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Filter, Listing, Order, Params, PathInt, SortKey, key};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use chrono::Utc;
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, Postgres, QueryBuilder};
use tradewind_metadata::{backfill, notify};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/backfills", get(list).post(create::create))
        .route("/backfills/dry_run", post(create::preview))
        .route("/backfills/{backfill_id}", get(read))
        .route("/backfills/{backfill_id}/pause", put(pause))
        .route("/backfills/{backfill_id}/unpause", put(unpause))
        .route("/backfills/{backfill_id}/cancel", put(cancel))
}

/// A backfill.
#[derive(Debug, Serialize, FromRow)]
pub(crate) struct Backfill {
    id: i32,
    dag_id: String,
    from_date: Timestamp,
    to_date: Timestamp,
    dag_run_conf: Option<Value>,
    is_paused: Option<bool>,
    reprocess_behavior: String,
    max_active_runs: i32,
    created_at: Timestamp,
    completed_at: Option<Timestamp>,
    updated_at: Timestamp,
    dag_display_name: String,
}

#[derive(Serialize)]
pub(crate) struct Collection {
    pub(crate) backfills: Vec<Backfill>,
    pub(crate) total_entries: i64,
}

pub(crate) const COLUMNS: &str = "b.id, b.dag_id, b.from_date, b.to_date, b.dag_run_conf, b.is_paused, \
     b.reprocess_behavior, b.max_active_runs, b.created_at, b.completed_at, b.updated_at, \
     COALESCE(d.dag_display_name, d.dag_id) AS dag_display_name";
pub(crate) const SOURCE: &str = "backfill b JOIN dag d ON d.dag_id = b.dag_id";
pub(crate) const SORT_KEYS: &[SortKey] = &[key("id", &[("b.id", "integer")])];

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let dag_id = params.text("dag_id");
    if dag_id.is_none() {
        params.missing("dag_id");
    }
    let mut filter = Filter::new();
    filter.equal_text("b.dag_id", &dag_id.unwrap_or_default());
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["id"]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    let (backfills, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { backfills, total_entries }))
}

async fn read(State(app): State<App>, user: User, Path(id): Path<String>) -> ApiResult<Json<Backfill>> {
    user.may_read(Resource::Dag)?;
    readable(&app, &user, &id).await.map(Json)
}

/// The backfill of an id in a path. Which ids there are is nobody's business who may not read its Dag.
async fn readable(app: &App, user: &User, id: &str) -> ApiResult<Backfill> {
    let backfill = find(app, PathInt::parse_count("backfill_id", id)?).await?;
    if user.readable().contains(&backfill.dag_id) { Ok(backfill) } else { Err(missing()) }
}

fn missing() -> ApiError {
    ApiError::not_found("Backfill not found")
}

async fn find(app: &App, id: i32) -> ApiResult<Backfill> {
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!("SELECT {COLUMNS} FROM {SOURCE} WHERE b.id = "));
    let backfill = query.push_bind(id).build_query_as().fetch_optional(&app.pool).await?;
    backfill.ok_or_else(missing)
}

/// Writes the audit log and returns the backfill, when it is not completed.
async fn changeable(app: &App, user: &User, params: &Params, id: &str, event: &str) -> ApiResult<Backfill> {
    Change { event, method: "PUT", path: &[("backfill_id", id)], body: None }.record(app, user, params).await?;
    user.may_write(Resource::Dag)?;
    let backfill = readable(app, user, id).await?;
    user.may_write_dag(&backfill.dag_id)?;
    match backfill.completed_at {
        None => Ok(backfill),
        Some(_) => Err(ApiError::conflict("Backfill is already completed.")),
    }
}

async fn set_paused(app: &App, id: i32, paused: bool) -> ApiResult<()> {
    sqlx::query("UPDATE backfill SET is_paused = $2, updated_at = $3 WHERE id = $1 AND is_paused IS DISTINCT FROM $2")
        .bind(id)
        .bind(paused)
        .bind(Utc::now())
        .execute(&app.pool)
        .await?;
    Ok(())
}

async fn pause(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(id): Path<String>,
) -> ApiResult<Json<Backfill>> {
    let backfill = changeable(&app, &user, &params, &id, "pause_backfill").await?;
    set_paused(&app, backfill.id, true).await?;
    Ok(Json(Backfill { is_paused: Some(true), ..backfill }))
}

async fn unpause(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(id): Path<String>,
) -> ApiResult<Json<Backfill>> {
    let backfill = changeable(&app, &user, &params, &id, "unpause_backfill").await?;
    set_paused(&app, backfill.id, false).await?;
    notify::send(&mut *app.pool.acquire().await?, notify::DAG, &[backfill.dag_id.as_str()]).await?;
    Ok(Json(Backfill { is_paused: Some(false), ..backfill }))
}

async fn cancel(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(id): Path<String>,
) -> ApiResult<Json<Backfill>> {
    let id = changeable(&app, &user, &params, &id, "cancel_backfill").await?.id;
    let mut connection = app.pool.acquire().await?;
    backfill::cancel(&mut connection, id, Utc::now()).await?;
    drop(connection);
    find(&app, id).await.map(Json)
}
