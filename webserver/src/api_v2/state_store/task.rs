//! The store of a task instance; it outlives retries.

use super::{parsed, value};
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::no_content::NoContent;
use crate::python;
use crate::query::{Clause, Filter, Listing, Order, Params, SortKey, key};
use crate::request_body::RequestBody;
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};

pub(super) fn routes() -> Router<App> {
    let path = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store";
    Router::new()
        .route(path, get(list).delete(clear))
        .route(&format!("{path}/{{*key}}"), get(read).put(set).patch(change).delete(delete))
}

/// A value with its key.
#[derive(Serialize)]
struct Entry {
    key: String,
    value: Value,
    updated_at: Timestamp,
    expires_at: Option<Timestamp>,
}

impl FromRow<'_, PgRow> for Entry {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            key: row.try_get("key")?,
            value: parsed(row.try_get("value")?)?,
            updated_at: row.try_get("updated_at")?,
            expires_at: row.try_get("expires_at")?,
        })
    }
}

#[derive(Serialize)]
struct Collection {
    task_state_store: Vec<Entry>,
    total_entries: i64,
}

/// The task instance whose store is meant; it may be gone when only read.
struct Owner {
    dag_id: String,
    run_id: String,
    task_id: String,
    map_index: i32,
}

type OwnerPath = Path<(String, String, String)>;
type EntryPath = Path<(String, String, String, String)>;

const COLUMNS: &str = "key, value, updated_at, expires_at";
const SORT_KEYS: &[SortKey] = &[key("key", &[("key", "text")])];

impl Owner {
    fn read(params: &mut Params, (dag_id, run_id, task_id): (String, String, String)) -> Self {
        let map_index = params.int_from("map_index", -1).unwrap_or(-1);
        Self { dag_id, run_id, task_id, map_index: i32::try_from(map_index).unwrap_or(-1) }
    }

    /// 404 unless the task instance exists; with `any_index` any of its map indexes will do.
    async fn require(&self, app: &App, any_index: bool) -> ApiResult<()> {
        let exists: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM task_instance WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 \
             AND ($5 OR map_index = $4))",
        )
        .bind(&self.dag_id)
        .bind(&self.run_id)
        .bind(&self.task_id)
        .bind(self.map_index)
        .bind(any_index)
        .fetch_one(&app.pool)
        .await?;
        if exists {
            return Ok(());
        }
        let index = if any_index { "all_map_indices=True".to_owned() } else { format!("map_index={}", self.map_index) };
        Err(ApiError::not_found(format!(
            "Task instance not found for dag_id={}, run_id={}, task_id={}, {index}",
            python::repr(&self.dag_id),
            python::repr(&self.run_id),
            python::repr(&self.task_id)
        )))
    }

    async fn entry(&self, app: &App, key: &str) -> ApiResult<Entry> {
        let statement = "SELECT key, value, updated_at, expires_at FROM task_state_store \
             WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND map_index = $4 AND key = $5";
        let entry = sqlx::query_as(statement)
            .bind(&self.dag_id)
            .bind(&self.run_id)
            .bind(&self.task_id)
            .bind(self.map_index)
            .bind(key)
            .fetch_optional(&app.pool)
            .await?;
        entry.ok_or_else(|| ApiError::not_found(format!("Task state store key {} not found", python::repr(key))))
    }

    async fn store(&self, app: &App, key: &str, value: &str, expires_at: Option<DateTime<Utc>>) -> ApiResult<()> {
        sqlx::query(include_str!("set_of_task.sql"))
            .bind(&self.dag_id)
            .bind(&self.run_id)
            .bind(&self.task_id)
            .bind(self.map_index)
            .bind(key)
            .bind(value)
            .bind(Utc::now())
            .bind(expires_at)
            .execute(&app.pool)
            .await?;
        Ok(())
    }

    /// Removes the value under a key, or all values.
    async fn remove(&self, app: &App, key: Option<&str>, any_index: bool) -> ApiResult<()> {
        sqlx::query(
            "DELETE FROM task_state_store WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 \
             AND ($6 OR map_index = $4) AND ($5::text IS NULL OR key = $5)",
        )
        .bind(&self.dag_id)
        .bind(&self.run_id)
        .bind(&self.task_id)
        .bind(self.map_index)
        .bind(key)
        .bind(any_index)
        .execute(&app.pool)
        .await?;
        Ok(())
    }
}

async fn list(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(path): OwnerPath,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let owner = Owner::read(&mut params, path);
    let mut filter = Filter::new();
    filter.equal_text("dag_id", &owner.dag_id);
    filter.equal_text("run_id", &owner.run_id);
    filter.equal_text("task_id", &owner.task_id);
    filter.push(Clause::sql("map_index = ").bind_int(owner.map_index.into()));
    let page = params.page(&app);
    let order = Order::from_names(&mut params, SORT_KEYS, &["key".to_owned()]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: "task_state_store", filter, order };
    let (task_state_store, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { task_state_store, total_entries }))
}

async fn read(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id, key)): EntryPath,
) -> ApiResult<Json<Entry>> {
    user.may_read(Resource::Dag)?;
    let owner = Owner::read(&mut params, (dag_id, run_id, task_id));
    params.check()?;
    owner.entry(&app, &key).await.map(Json)
}

async fn set(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id, key)): EntryPath,
    bytes: RequestBody,
) -> ApiResult<NoContent> {
    user.may_write(Resource::Dag)?;
    let owner = Owner::read(&mut params, (dag_id, run_id, task_id));
    params.check()?;
    let mut body = Body::from_bytes(&bytes)?;
    let value = value(&app, &mut body)?;
    let by_default = body.fields().get("expires_at").is_none_or(|given| given == "default");
    let expires_at =
        if by_default { body.optional_text("expires_at").and(None) } else { body.optional_aware_time("expires_at") };
    body.finish()?;
    owner.require(&app, false).await?;
    let expires_at = if by_default { default_expiry(&app)? } else { expires_at };
    owner.store(&app, &key, &value, expires_at).await?;
    Ok(NoContent)
}

/// When values expire by `[state_store] default_retention_days`; zero days: never.
fn default_expiry(app: &App) -> ApiResult<Option<DateTime<Utc>>> {
    let days = app.config.int("state_store", "default_retention_days").map_err(|error| ApiError::internal(&error))?;
    if days < 0 {
        return Err(ApiError::bad_request(format!(
            "[state_store] default_retention_days must be >= 0, got {days}. Set to 0 to disable expiry."
        )));
    }
    let length = TimeDelta::try_days(days).filter(|_| days > 0);
    Ok(length.and_then(|length| Utc::now().checked_add_signed(length)))
}

async fn change(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id, key)): EntryPath,
    bytes: RequestBody,
) -> ApiResult<Json<()>> {
    user.may_write(Resource::Dag)?;
    let owner = Owner::read(&mut params, (dag_id, run_id, task_id));
    params.check()?;
    let mut body = Body::from_bytes(&bytes)?;
    let value = value(&app, &mut body)?;
    body.finish()?;
    owner.require(&app, false).await?;
    let entry = owner.entry(&app, &key).await?;
    owner.store(&app, &key, &value, entry.expires_at.map(|at| at.0)).await?;
    Ok(Json(()))
}

async fn delete(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id, key)): EntryPath,
) -> ApiResult<NoContent> {
    user.may_write(Resource::Dag)?;
    let owner = Owner::read(&mut params, (dag_id, run_id, task_id));
    params.check()?;
    owner.require(&app, false).await?;
    owner.remove(&app, Some(&key), false).await?;
    Ok(NoContent)
}

async fn clear(State(app): State<App>, user: User, mut params: Params, Path(path): OwnerPath) -> ApiResult<NoContent> {
    user.may_write(Resource::Dag)?;
    let owner = Owner::read(&mut params, path);
    let any_index = params.bool("all_map_indices").unwrap_or_default();
    params.check()?;
    owner.require(&app, any_index).await?;
    owner.remove(&app, None, any_index).await?;
    Ok(NoContent)
}
