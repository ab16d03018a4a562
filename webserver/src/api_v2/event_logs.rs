//! `/eventLogs`: the audit log.

use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Clause, Filter, Listing, Order, Params, SortKey, key};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::{FromRow, Postgres, QueryBuilder};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/eventLogs", get(list)).route("/eventLogs/{event_log_id}", get(read))
}

#[derive(Serialize, FromRow)]
struct EventLog {
    event_log_id: i32,
    when: Timestamp,
    dag_id: Option<String>,
    task_id: Option<String>,
    run_id: Option<String>,
    map_index: Option<i32>,
    try_number: Option<i32>,
    event: String,
    logical_date: Option<Timestamp>,
    owner: Option<String>,
    extra: Option<String>,
    dag_display_name: Option<String>,
    task_display_name: Option<String>,
}

#[derive(Serialize)]
struct Collection {
    event_logs: Vec<EventLog>,
    total_entries: i64,
}

const COLUMNS: &str = "l.id AS event_log_id, l.dttm AS \"when\", l.dag_id, l.task_id, l.run_id, l.map_index, \
     l.try_number, l.event, l.logical_date, l.owner, l.extra, \
     COALESCE(d.dag_display_name, d.dag_id) AS dag_display_name, \
     CASE WHEN ti.id IS NOT NULL THEN COALESCE(ti.task_display_name, ti.task_id) END AS task_display_name";
/// A record belongs to the task instance it names in full; the map index of one that is not mapped may be missing.
const SOURCE: &str = "log l LEFT JOIN dag d ON d.dag_id = l.dag_id \
     LEFT JOIN task_instance ti ON ti.dag_id = l.dag_id AND ti.task_id = l.task_id AND ti.run_id = l.run_id \
     AND ti.map_index = l.map_index";
const SORT_KEYS: &[SortKey] = &[
    key("id", &[("l.id", "integer")]),
    key("event_log_id", &[("l.id", "integer")]),
    key("dttm", &[("l.dttm", "timestamptz")]),
    key("when", &[("l.dttm", "timestamptz")]),
    key("dag_id", &[("l.dag_id", "text")]),
    key("task_id", &[("l.task_id", "text")]),
    key("run_id", &[("l.run_id", "text")]),
    key("event", &[("l.event", "text")]),
    key("logical_date", &[("l.logical_date", "timestamptz")]),
    key("owner", &[("l.owner", "text")]),
    key("extra", &[("l.extra", "text")]),
];

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::View)?;
    let mut filter = Filter::new();
    filter.of_dags_or_none(user.readable(), "l.dag_id");
    filter.push(Clause::sql("l.dttm IS NOT NULL"));
    // Records of Dags that are gone are not shown.
    filter.push(Clause::sql("l.dag_id IS NULL OR d.dag_id IS NOT NULL"));
    let columns = [
        ("dag_id", "l.dag_id"),
        ("task_id", "l.task_id"),
        ("run_id", "l.run_id"),
        ("owner", "l.owner"),
        ("event", "l.event"),
    ];
    for (name, column) in columns {
        filter.text(&params, name, column);
        filter.pattern(&params, name, column);
    }
    filter.int(&mut params, "map_index", "l.map_index");
    filter.int(&mut params, "try_number", "l.try_number");
    filter.none_of(&params, "excluded_events", "l.event");
    filter.texts(&params, "included_events", "l.event");
    if let Some(before) = params.time("before") {
        filter.time_bound("l.dttm", "<", before, false);
    }
    if let Some(after) = params.time("after") {
        filter.time_bound("l.dttm", ">", after, false);
    }
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["id"]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    let (event_logs, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { event_logs, total_entries }))
}

async fn read(State(app): State<App>, user: User, Path(id): Path<String>) -> ApiResult<Json<EventLog>> {
    user.may_read(Resource::View)?;
    let id: i64 = id.parse().map_err(|_| ApiError::bad_request("'event_log_id' must be an integer"))?;
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!("SELECT {COLUMNS} FROM {SOURCE} WHERE l.id = "));
    let log: Option<EventLog> = query.push_bind(id).build_query_as().fetch_optional(&app.pool).await?;
    let log = log.ok_or_else(|| ApiError::not_found(format!("The Event Log with id: `{id}` not found")))?;
    if let Some(dag_id) = &log.dag_id {
        user.may_read_dag(dag_id)?;
    }
    Ok(Json(log))
}
