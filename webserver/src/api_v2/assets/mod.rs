//! `/assets`, their aliases, events and queued events.

mod events;
mod materialize;
mod queued;

use crate::auth::{Dags, Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Clause, Filter, Listing, Order, Params, PathInt, SortKey, key};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, PgPool};
use std::collections::HashMap;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/assets", get(list))
        .route("/assets/aliases", get(list_aliases))
        .route("/assets/aliases/{asset_alias_id}", get(read_alias))
        .route("/assets/events", get(events::list).post(events::create))
        .route("/assets/{asset_id}", get(read))
        .route("/assets/{asset_id}/materialize", post(materialize::materialize))
        .route("/assets/{asset_id}/queuedEvents", get(queued::of_asset).delete(queued::delete_of_asset))
        .route("/dags/{dag_id}/assets/queuedEvents", get(queued::of_dag).delete(queued::delete_of_dag))
        .route("/dags/{dag_id}/assets/{asset_id}/queuedEvents", get(queued::one).delete(queued::delete_one))
        .route("/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents", get(events::upstream_of_run))
}

#[derive(FromRow)]
struct AssetRow {
    id: i32,
    name: String,
    uri: String,
    group: String,
    extra: Option<Value>,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_event_id: Option<i32>,
    last_event_timestamp: Option<Timestamp>,
}

/// An asset with who schedules by it, makes it and reads it.
#[derive(Serialize)]
struct Asset {
    id: i32,
    name: String,
    uri: String,
    group: String,
    extra: Option<Value>,
    created_at: Timestamp,
    updated_at: Timestamp,
    scheduled_dags: Vec<Reference>,
    producing_tasks: Vec<Reference>,
    consuming_tasks: Vec<Reference>,
    aliases: Vec<Alias>,
    watchers: Vec<Watcher>,
    last_asset_event: LastEvent,
}

#[derive(Serialize)]
struct LastEvent {
    id: Option<i32>,
    timestamp: Option<Timestamp>,
}

/// A Dag or task that refers to an asset.
#[derive(Debug, Clone, Serialize, FromRow)]
struct Reference {
    #[serde(skip)]
    asset_id: i32,
    #[serde(skip)]
    kind: String,
    dag_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, FromRow)]
struct Alias {
    #[serde(skip)]
    #[sqlx(default)]
    asset_id: i32,
    id: i32,
    name: String,
    group: String,
}

#[derive(Debug, Clone, Serialize, FromRow)]
struct Watcher {
    #[serde(skip)]
    asset_id: i32,
    name: String,
    trigger_id: i32,
    created_date: Timestamp,
}

#[derive(Serialize)]
struct Collection {
    assets: Vec<Asset>,
    total_entries: i64,
}

const COLUMNS: &str = "a.id, a.name, a.uri, a.\"group\", a.extra, a.created_at, a.updated_at, \
     last_event.id AS last_event_id, last_event.timestamp AS last_event_timestamp";
const SOURCE: &str = "asset a LEFT JOIN LATERAL (SELECT e.id, e.timestamp FROM asset_event e \
     WHERE e.asset_id = a.id ORDER BY e.timestamp DESC, e.id DESC LIMIT 1) last_event ON TRUE";
const SORT_KEYS: &[SortKey] = &[
    key("id", &[("a.id", "integer")]),
    key("name", &[("a.name", "text")]),
    key("uri", &[("a.uri", "text")]),
    key("created_at", &[("a.created_at", "timestamptz")]),
    key("updated_at", &[("a.updated_at", "timestamptz")]),
];
const ACTIVE: &str = "EXISTS (SELECT FROM asset_active act WHERE act.name = a.name AND act.uri = a.uri)";

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Asset)?;
    let mut filter = Filter::new();
    if params.bool("only_active").unwrap_or(true) {
        filter.push(Clause::sql(ACTIVE));
    }
    filter.pattern(&params, "name", "a.name");
    filter.pattern(&params, "uri", "a.uri");
    let mut dag_ids = params.texts("dag_ids");
    if let [only] = dag_ids.as_slice() {
        dag_ids = only.split(',').map(str::to_owned).collect();
    }
    if !dag_ids.is_empty() {
        dag_ids.retain(|dag_id| user.readable().contains(dag_id));
        let tables = ["dag_schedule_asset_reference", "task_outlet_asset_reference", "task_inlet_asset_reference"];
        filter.push(Clause::any(tables.map(|table| {
            Clause::sql(format!("EXISTS (SELECT FROM {table} r WHERE r.asset_id = a.id AND r.dag_id = ANY("))
                .bind_texts(dag_ids.clone())
                .then("))")
        })));
    }
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["id"]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    let (rows, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { assets: complete(&app, user.readable(), rows).await?, total_entries }))
}

async fn read(State(app): State<App>, user: User, Path(id): Path<String>) -> ApiResult<Json<Asset>> {
    user.may_read(Resource::Asset)?;
    let id = PathInt::parse("asset_id", &id)?;
    let mut query = sqlx::QueryBuilder::new(format!("SELECT {COLUMNS} FROM {SOURCE} WHERE a.id = "));
    let rows = query.push_bind(id).build_query_as().fetch_all(&app.pool).await?;
    let asset = complete(&app, user.readable(), rows).await?.into_iter().next();
    asset.map(Json).ok_or_else(|| ApiError::not_found(format!("The Asset with ID: `{id}` was not found")))
}

/// Adds what refers to each asset, as far as it may be read, with one statement per kind.
async fn complete(app: &App, readable: &Dags, rows: Vec<AssetRow>) -> ApiResult<Vec<Asset>> {
    let ids: Vec<i32> = rows.iter().map(|row| row.id).collect();
    let mut references: Vec<Reference> = fetch(&app.pool, include_str!("references.sql"), &ids).await?;
    references.retain(|reference| readable.contains(&reference.dag_id));
    let aliases: Vec<Alias> = fetch(
        &app.pool,
        "SELECT aa.asset_id, al.id, al.name, al.\"group\" FROM asset_alias_asset aa \
         JOIN asset_alias al ON al.id = aa.alias_id WHERE aa.asset_id = ANY($1) ORDER BY al.id",
        &ids,
    )
    .await?;
    let watchers: Vec<Watcher> = fetch(
        &app.pool,
        "SELECT w.asset_id, w.name, w.trigger_id, t.created_date FROM asset_watcher w \
         JOIN trigger t ON t.id = w.trigger_id WHERE w.asset_id = ANY($1) ORDER BY w.trigger_id",
        &ids,
    )
    .await?;
    let mut references = group(references, |reference| (reference.asset_id, reference.kind.clone()));
    let mut aliases = group(aliases, |alias| alias.asset_id);
    let mut watchers = group(watchers, |watcher| watcher.asset_id);
    let asset = |row: AssetRow| {
        let mut of_kind = |kind: &str| references.remove(&(row.id, kind.to_owned())).unwrap_or_default();
        Asset {
            id: row.id,
            scheduled_dags: of_kind("schedule"),
            producing_tasks: of_kind("outlet"),
            consuming_tasks: of_kind("inlet"),
            aliases: aliases.remove(&row.id).unwrap_or_default(),
            watchers: watchers.remove(&row.id).unwrap_or_default(),
            last_asset_event: LastEvent { id: row.last_event_id, timestamp: row.last_event_timestamp },
            name: row.name,
            uri: row.uri,
            group: row.group,
            extra: row.extra.map(|extra| app.masker.redact(extra)),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    };
    Ok(rows.into_iter().map(asset).collect())
}

async fn fetch<T>(pool: &PgPool, statement: &'static str, ids: &[i32]) -> ApiResult<Vec<T>>
where
    T: for<'r> FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    Ok(sqlx::query_as(statement).bind(ids).fetch_all(pool).await?)
}

fn group<T, K: Eq + std::hash::Hash>(items: Vec<T>, key: impl Fn(&T) -> K) -> HashMap<K, Vec<T>> {
    let mut groups: HashMap<K, Vec<T>> = HashMap::new();
    for item in items {
        groups.entry(key(&item)).or_default().push(item);
    }
    groups
}

#[derive(Serialize)]
struct Aliases {
    asset_aliases: Vec<Alias>,
    total_entries: i64,
}

const ALIAS_SORT_KEYS: &[SortKey] = &[key("id", &[("al.id", "integer")]), key("name", &[("al.name", "text")])];

async fn list_aliases(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Aliases>> {
    user.may_read(Resource::Asset)?;
    let mut filter = Filter::new();
    filter.pattern(&params, "name", "al.name");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, ALIAS_SORT_KEYS, &["id"]);
    params.check()?;
    let listing = Listing { columns: "al.id, al.name, al.\"group\"", source: "asset_alias al", filter, order };
    let (asset_aliases, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Aliases { asset_aliases, total_entries }))
}

async fn read_alias(State(app): State<App>, user: User, Path(id): Path<String>) -> ApiResult<Json<Alias>> {
    user.may_read(Resource::Asset)?;
    let id = PathInt::parse("asset_alias_id", &id)?;
    let alias: Option<Alias> = sqlx::query_as("SELECT id, name, \"group\" FROM asset_alias WHERE id = $1")
        .bind(id)
        .fetch_optional(&app.pool)
        .await?;
    alias.map(Json).ok_or_else(|| ApiError::not_found(format!("The Asset Alias with ID: `{id}` was not found")))
}
