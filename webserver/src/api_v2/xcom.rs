//! `…/taskInstances/{task_id}/xcomEntries`: what tasks leave for each other.

use crate::api_v2::dag_runs::RunKey;
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult, Problem};
use crate::no_content::NoContent;
use crate::python;
use crate::query::{Filter, Listing, Order, Page, Params, SortKey, key};
use crate::request_body::RequestBody;
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use chrono::Utc;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{FromRow, Postgres, QueryBuilder};

pub(super) fn routes() -> Router<App> {
    const ENTRIES: &str = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries";
    Router::new()
        .route(ENTRIES, get(list).post(create))
        .route(&format!("{ENTRIES}/{{*xcom_key}}"), get(read).patch(update).delete(delete))
}

/// An entry without its value.
#[derive(Debug, Serialize, FromRow)]
struct Entry {
    key: String,
    timestamp: Timestamp,
    logical_date: Option<Timestamp>,
    map_index: i32,
    task_id: String,
    dag_id: String,
    run_id: String,
    dag_display_name: String,
    task_display_name: String,
    run_after: Timestamp,
}

#[derive(Debug, Serialize, FromRow)]
struct EntryWithValue {
    #[serde(flatten)]
    #[sqlx(flatten)]
    entry: Entry,
    value: Option<Value>,
}

#[derive(Serialize)]
struct Collection {
    xcom_entries: Vec<Entry>,
    total_entries: i64,
}

const COLUMNS: &str = "x.key, x.timestamp, dr.logical_date, x.map_index, x.task_id, x.dag_id, x.run_id, \
     COALESCE(d.dag_display_name, d.dag_id) AS dag_display_name, \
     COALESCE(NULLIF(ti.task_display_name, ''), ti.task_id, x.task_id) AS task_display_name, dr.run_after";
const SOURCE: &str = "xcom x JOIN dag_run dr ON dr.dag_id = x.dag_id AND dr.run_id = x.run_id \
     JOIN dag d ON d.dag_id = x.dag_id LEFT JOIN task_instance ti ON ti.dag_id = x.dag_id AND ti.run_id = x.run_id \
     AND ti.task_id = x.task_id AND ti.map_index = x.map_index";
const SORT_KEYS: &[SortKey] = &[
    key("dag_run_id", &[("x.dag_run_id", "integer")]),
    key("key", &[("x.key", "text")]),
    key("dag_id", &[("x.dag_id", "text")]),
    key("run_id", &[("x.run_id", "text")]),
    key("task_id", &[("x.task_id", "text")]),
    key("map_index", &[("x.map_index", "integer")]),
    key("timestamp", &[("x.timestamp", "timestamptz")]),
    key("run_after", &[("dr.run_after", "timestamptz")]),
];
const DEFAULT_ORDER: [&str; 5] = ["dag_id", "task_id", "run_id", "map_index", "key"];
/// Keys by which Airflow marks serialized objects; a value that has one could make Python load any class.
const FORBIDDEN_KEYS: [&str; 8] =
    ["__cache__", "__classname__", "__data__", "__id__", "__source", "__type", "__var", "__version__"];

/// The task instance that entries belong to.
type Owner = (String, String, String);

async fn list(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id)): Path<Owner>,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let mut filter = Filter::new();
    filter.of_dags(user.readable(), "x.dag_id");
    filter.path("x.dag_id", &dag_id);
    filter.path("x.run_id", &run_id);
    filter.path("x.task_id", &task_id);
    filter.int(&mut params, "map_index", "x.map_index");
    filter.int(&mut params, "map_index_filter", "x.map_index");
    filter.text(&params, "xcom_key", "x.key");
    filter.pattern(&params, "xcom_key", "x.key");
    filter.pattern(&params, "dag_display_name", "COALESCE(d.dag_display_name, d.dag_id)");
    filter.pattern(&params, "run_id", "x.run_id");
    filter.pattern(&params, "task_id", "x.task_id");
    filter.time_range(&mut params, "logical_date", "dr.logical_date");
    filter.time_range(&mut params, "run_after", "dr.run_after");
    let page: Page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &DEFAULT_ORDER);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    let (xcom_entries, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { xcom_entries, total_entries }))
}

async fn find(app: &App, owner: &Owner, key: &str, map_index: i32) -> ApiResult<Option<EntryWithValue>> {
    let (dag_id, run_id, task_id) = owner;
    let mut query: QueryBuilder<Postgres> =
        QueryBuilder::new(format!("SELECT {COLUMNS}, x.value FROM {SOURCE} WHERE x.dag_id = "));
    query.push_bind(dag_id).push(" AND x.run_id = ").push_bind(run_id);
    query.push(" AND x.task_id = ").push_bind(task_id).push(" AND x.key = ").push_bind(key);
    query.push(" AND x.map_index = ").push_bind(map_index);
    Ok(query.build_query_as().fetch_optional(&app.pool).await?)
}

/// `map_index`, -1 at least.
fn map_index(params: &mut Params) -> ApiResult<i32> {
    let index = params.int_from("map_index", -1).unwrap_or(-1);
    params.check()?;
    Ok(i32::try_from(index).unwrap_or(-1))
}

async fn read(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id, key)): Path<(String, String, String, String)>,
) -> ApiResult<Json<EntryWithValue>> {
    user.may_read(Resource::Dag)?;
    let stringify = params.bool("stringify").unwrap_or_default();
    params.bool("deserialize");
    let map_index = map_index(&mut params)?;
    let entry = find(&app, &(dag_id, run_id, task_id), &key, map_index).await?;
    let mut entry = entry.ok_or_else(|| ApiError::not_found(format!("XCom entry with key: `{key}` not found")))?;
    if stringify {
        entry.value = entry.value.filter(|value| !value.is_null()).map(|value| python::str_value(&value).into());
    }
    Ok(Json(entry))
}

async fn create(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(owner): Path<Owner>,
    bytes: RequestBody,
) -> ApiResult<(StatusCode, Json<EntryWithValue>)> {
    let (dag_id, run_id, task_id) = &owner;
    let mut body = Body::from_bytes(&bytes)?;
    let path = [("dag_id", dag_id.as_str()), ("dag_run_id", run_id), ("task_id", task_id)];
    Change { event: "create_xcom_entry", method: "POST", path: &path, body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    user.may_write(Resource::Dag)?;
    let key = body.text("key").unwrap_or_default();
    let value = body.value("value").unwrap_or_default();
    let map_index = i32::try_from(body.int_or("map_index", -1)).unwrap_or(-1);
    body.finish()?;
    check_value(&value)?;
    let run = RunKey::find(&app.pool, dag_id, run_id).await?;
    let version = run.as_ref().and_then(|run| run.pinned_dag_version());
    let dag = app.dags.of_run(&app.pool, dag_id, version).await?;
    if !dag.tasks.contains_key(task_id) {
        let detail = format!("Task with ID: `{task_id}` not found in dag: `{dag_id}`");
        return Err(ApiError::not_found(detail));
    }
    let run =
        run.ok_or_else(|| ApiError::not_found(format!("Dag Run with ID: `{run_id}` not found for dag: `{dag_id}`")))?;
    if find(&app, &owner, &key, map_index).await?.is_some() {
        let detail = format!("The XCom with key: `{key}` with mentioned task instance already exists.");
        return Err(ApiError::conflict(detail));
    }
    sqlx::query(
        "INSERT INTO xcom (dag_run_id, dag_id, run_id, task_id, map_index, key, value, timestamp, dag_result) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, FALSE)",
    )
    .bind(run.id)
    .bind(dag_id)
    .bind(run_id)
    .bind(task_id)
    .bind(map_index)
    .bind(&key)
    .bind(&value)
    .bind(Utc::now())
    .execute(&app.pool)
    .await
    .map_err(|error| match error.as_database_error() {
        // Official Airflow answers 500.
        Some(cause) if cause.is_foreign_key_violation() => ApiError::not_found(format!(
            "Task instance of task `{task_id}` with map index {map_index} not found in Dag run `{run_id}`"
        )),
        _ => error.into(),
    })?;
    let entry = find(&app, &owner, &key, map_index).await?;
    let entry = entry.ok_or_else(|| ApiError::not_found(format!("XCom entry with key: `{key}` not found")))?;
    Ok((StatusCode::CREATED, Json(entry)))
}

async fn update(
    State(app): State<App>,
    user: User,
    params: Params,
    Path((dag_id, run_id, task_id, key)): Path<(String, String, String, String)>,
    bytes: RequestBody,
) -> ApiResult<Json<EntryWithValue>> {
    let mut body = Body::from_bytes(&bytes)?;
    let path = [("dag_id", dag_id.as_str()), ("dag_run_id", &run_id), ("task_id", &task_id), ("xcom_key", &key)];
    Change { event: "update_xcom_entry", method: "PATCH", path: &path, body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    user.may_write(Resource::Dag)?;
    let value = body.value("value").unwrap_or_default();
    let map_index = i32::try_from(body.int_or("map_index", -1)).unwrap_or(-1);
    body.finish()?;
    check_value(&value)?;
    let owner = (dag_id, run_id, task_id);
    sqlx::query(
        "UPDATE xcom SET value = $6, timestamp = $7 \
         WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND key = $4 AND map_index = $5",
    )
    .bind(&owner.0)
    .bind(&owner.1)
    .bind(&owner.2)
    .bind(&key)
    .bind(map_index)
    .bind(&value)
    .bind(Utc::now())
    .execute(&app.pool)
    .await?;
    let entry = find(&app, &owner, &key, map_index).await?;
    entry.map(Json).ok_or_else(|| missing(&key))
}

fn missing(key: &str) -> ApiError {
    ApiError::not_found(format!("The XCom with key: `{key}` with mentioned task instance doesn't exist."))
}

async fn delete(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id, key)): Path<(String, String, String, String)>,
) -> ApiResult<NoContent> {
    let path = [("dag_id", dag_id.as_str()), ("dag_run_id", &run_id), ("task_id", &task_id), ("xcom_key", &key)];
    Change { event: "delete_xcom_entry", method: "DELETE", path: &path, body: None }
        .record(&app, &user, &params)
        .await?;
    user.may_write(Resource::Dag)?;
    let map_index = map_index(&mut params)?;
    let deleted = sqlx::query(
        "DELETE FROM xcom WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND key = $4 AND map_index = $5",
    )
    .bind(&dag_id)
    .bind(&run_id)
    .bind(&task_id)
    .bind(&key)
    .bind(map_index)
    .execute(&app.pool)
    .await?;
    if deleted.rows_affected() == 0 { Err(missing(&key)) } else { Ok(NoContent) }
}

/// Refuses values that Airflow would take for serialized objects, also within texts that hold JSON.
fn check_value(value: &Value) -> ApiResult<()> {
    match forbidden(value, "value") {
        None => Ok(()),
        Some(rule) => {
            let message = format!("Value error, {rule}");
            let problem = Problem::new("value_error", &["body", "value"], message, value.clone());
            Err(ApiError::validation(vec![problem.context(json!({"error": {}}))]))
        }
    }
}

fn forbidden(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::String(text) => {
            let inner: Value = serde_json::from_str(text).ok()?;
            (inner.is_object() || inner.is_array()).then(|| forbidden(&inner, path)).flatten()
        }
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| forbidden(item, &format!("{path}[{index}]")))
        }
        Value::Object(fields) => {
            let found: Vec<&str> = FORBIDDEN_KEYS.into_iter().filter(|key| fields.contains_key(*key)).collect();
            if found.is_empty() {
                return fields.iter().find_map(|(name, value)| forbidden(value, &format!("{path}.{name}")));
            }
            let found = found.join(", ");
            Some(format!(
                "XCom {path} contains reserved serialization keys: {found}. These keys are reserved for internal use."
            ))
        }
        _ => None,
    }
}
