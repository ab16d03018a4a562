//! The store of an asset.

use super::{parsed, value};
use crate::auth::{Dags, Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::no_content::NoContent;
use crate::python;
use crate::query::{Clause, Filter, Listing, Order, Params, PathInt, SortKey, key};
use crate::request_body::RequestBody;
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use chrono::Utc;
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/assets/{asset_id}/state-store", get(list).delete(clear))
        .route("/assets/{asset_id}/state-store/{*key}", get(read).put(set).delete(delete))
}

/// A value with its key.
#[derive(Serialize)]
struct Entry {
    key: String,
    value: Value,
    updated_at: Timestamp,
    last_updated_by: Option<Writer>,
}

/// Who wrote a value: a task, a watcher or the API.
#[derive(Serialize)]
struct Writer {
    kind: String,
    dag_id: Option<String>,
    run_id: Option<String>,
    task_id: Option<String>,
    map_index: Option<i32>,
}

impl Entry {
    /// Does not say who wrote it when that is a task of a Dag that may not be read.
    fn hide_writer(&mut self, readable: &Dags) {
        self.last_updated_by.take_if(|writer| writer.dag_id.as_ref().is_some_and(|dag_id| !readable.contains(dag_id)));
    }
}

impl FromRow<'_, PgRow> for Entry {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let writer = match row.try_get("last_updated_by_kind")? {
            None => None,
            Some(kind) => Some(Writer {
                kind,
                dag_id: row.try_get("last_updated_by_dag_id")?,
                run_id: row.try_get("last_updated_by_run_id")?,
                task_id: row.try_get("last_updated_by_task_id")?,
                map_index: row.try_get("last_updated_by_map_index")?,
            }),
        };
        Ok(Self {
            key: row.try_get("key")?,
            value: parsed(row.try_get("value")?)?,
            updated_at: row.try_get("updated_at")?,
            last_updated_by: writer,
        })
    }
}

#[derive(Serialize)]
struct Collection {
    asset_state_store: Vec<Entry>,
    total_entries: i64,
}

const COLUMNS: &str = "key, value, updated_at, last_updated_by_kind, last_updated_by_dag_id, last_updated_by_run_id, \
     last_updated_by_task_id, last_updated_by_map_index";
const SORT_KEYS: &[SortKey] = &[key("key", &[("key", "text")])];

/// The id of an asset that exists.
async fn asset(app: &App, text: &str) -> ApiResult<i32> {
    let id = PathInt::parse("asset_id", text)?;
    let found: Option<i32> =
        sqlx::query_scalar("SELECT id FROM asset WHERE id = $1").bind(id).fetch_optional(&app.pool).await?;
    found.ok_or_else(|| ApiError::not_found(format!("Asset with id {id} not found")))
}

async fn list(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(asset_id): Path<String>,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Asset)?;
    let page = params.page(&app);
    let order = Order::from_names(&mut params, SORT_KEYS, &["key".to_owned()]);
    params.check()?;
    let mut filter = Filter::new();
    filter.push(Clause::sql("asset_id = ").bind_int(asset(&app, &asset_id).await?.into()));
    let listing = Listing { columns: COLUMNS, source: "asset_state_store", filter, order };
    let (mut asset_state_store, total_entries) = listing.page::<Entry>(&app.pool, page).await?;
    asset_state_store.iter_mut().for_each(|entry| entry.hide_writer(user.readable()));
    Ok(Json(Collection { asset_state_store, total_entries }))
}

async fn read(
    State(app): State<App>,
    user: User,
    Path((asset_id, key)): Path<(String, String)>,
) -> ApiResult<Json<Entry>> {
    user.may_read(Resource::Asset)?;
    let statement = "SELECT * FROM asset_state_store WHERE asset_id = $1 AND key = $2";
    let asset_id = asset(&app, &asset_id).await?;
    let mut entry: Option<Entry> =
        sqlx::query_as(statement).bind(asset_id).bind(&key).fetch_optional(&app.pool).await?;
    entry.iter_mut().for_each(|entry| entry.hide_writer(user.readable()));
    entry
        .map(Json)
        .ok_or_else(|| ApiError::not_found(format!("Asset state store key {} not found", python::repr(&key))))
}

async fn set(
    State(app): State<App>,
    user: User,
    Path((asset_id, key)): Path<(String, String)>,
    bytes: RequestBody,
) -> ApiResult<NoContent> {
    user.may_write(Resource::Asset)?;
    let mut body = Body::from_bytes(&bytes)?;
    let value = value(&app, &mut body)?;
    body.finish()?;
    sqlx::query(include_str!("set_of_asset.sql"))
        .bind(asset(&app, &asset_id).await?)
        .bind(&key)
        .bind(value)
        .bind(Utc::now())
        .execute(&app.pool)
        .await?;
    Ok(NoContent)
}

async fn delete(
    State(app): State<App>,
    user: User,
    Path((asset_id, key)): Path<(String, String)>,
) -> ApiResult<NoContent> {
    user.may_write(Resource::Asset)?;
    remove(&app, &asset_id, Some(&key)).await
}

async fn clear(State(app): State<App>, user: User, Path(asset_id): Path<String>) -> ApiResult<NoContent> {
    user.may_write(Resource::Asset)?;
    remove(&app, &asset_id, None).await
}

async fn remove(app: &App, asset_id: &str, key: Option<&str>) -> ApiResult<NoContent> {
    sqlx::query("DELETE FROM asset_state_store WHERE asset_id = $1 AND ($2::text IS NULL OR key = $2)")
        .bind(asset(app, asset_id).await?)
        .bind(key)
        .execute(&app.pool)
        .await?;
    Ok(NoContent)
}
