//! `/ui/dags/{dag_id}/dagRuns/{dag_run_id}/deadlines` and `/ui/dags/{dag_id}/deadlineAlerts`.

use crate::api_v2::dag_runs::RunKey;
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Clause, Filter, Listing, Order, Params, SortKey, key};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/dags/{dag_id}/dagRuns/{dag_run_id}/deadlines", get(list))
        .route("/dags/{dag_id}/deadlineAlerts", get(list_alerts))
}

#[derive(Serialize, FromRow)]
struct Deadline {
    id: Uuid,
    deadline_time: Timestamp,
    missed: bool,
    created_at: Timestamp,
    dag_id: String,
    dag_run_id: String,
    alert_id: Option<Uuid>,
    alert_name: Option<String>,
}

#[derive(Serialize)]
struct Deadlines {
    deadlines: Vec<Deadline>,
    total_entries: i64,
}

const COLUMNS: &str = "dl.id, dl.deadline_time, dl.missed, dl.created_at, dr.dag_id, dr.run_id AS dag_run_id, \
     dl.deadline_alert_id AS alert_id, a.name AS alert_name";
const SOURCE: &str = "deadline dl JOIN dag_run dr ON dr.id = dl.dagrun_id \
     LEFT JOIN deadline_alert a ON a.id = dl.deadline_alert_id";
const SORT_KEYS: &[SortKey] = &[
    key("id", &[("dl.id", "uuid")]),
    key("deadline_time", &[("dl.deadline_time", "timestamptz")]),
    key("created_at", &[("dl.created_at", "timestamptz")]),
    key("last_updated_at", &[("dl.last_updated_at", "timestamptz")]),
    key("missed", &[("dl.missed", "boolean")]),
    key("dag_id", &[("dr.dag_id", "text")]),
    key("dag_run_id", &[("dr.run_id", "text")]),
    key("alert_name", &[("a.name", "text")]),
];

async fn list(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> ApiResult<Json<Deadlines>> {
    user.may_read(Resource::Dag)?;
    let mut filter = Filter::new();
    filter.of_dags(user.readable(), "dr.dag_id");
    filter.path("dr.dag_id", &dag_id);
    filter.path("dr.run_id", &run_id);
    filter.bool(&mut params, "missed", "dl.missed");
    filter.time_range(&mut params, "deadline_time", "dl.deadline_time");
    filter.time_range(&mut params, "last_updated_at", "dl.last_updated_at");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["deadline_time"]);
    params.check()?;
    if run_id != "~" && dag_id == "~" {
        return Err(ApiError::bad_request("dag_id is required when dag_run_id is specified"));
    }
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    let (deadlines, total_entries) = listing.page(&app.pool, page).await?;
    if run_id != "~" && total_entries == 0 && RunKey::find(&app.pool, &dag_id, &run_id).await?.is_none() {
        let detail = format!("DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found");
        return Err(ApiError::not_found(detail));
    }
    Ok(Json(Deadlines { deadlines, total_entries }))
}

#[derive(Serialize, FromRow)]
struct Alert {
    id: Uuid,
    name: Option<String>,
    reference_type: Option<String>,
    interval: Option<f64>,
    created_at: Timestamp,
}

#[derive(Serialize)]
struct Alerts {
    deadline_alerts: Vec<Alert>,
    total_entries: i64,
}

/// An interval is a number of seconds, or an object that holds one; a dynamic one is not known before its time.
const ALERT_COLUMNS: &str = "a.id, a.name, a.reference->>'reference_type' AS reference_type, \
     CASE WHEN jsonb_typeof(a.interval::jsonb) = 'number' THEN (a.interval::jsonb)::float8 \
          WHEN jsonb_typeof(a.interval::jsonb->'__data__') = 'number' THEN (a.interval::jsonb->'__data__')::float8 \
     END AS interval, a.created_at";
const ALERT_SORT_KEYS: &[SortKey] = &[
    key("id", &[("a.id", "uuid")]),
    key("created_at", &[("a.created_at", "timestamptz")]),
    key("name", &[("a.name", "text")]),
];

async fn list_alerts(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<Json<Alerts>> {
    user.may_read(Resource::Dag)?;
    let version = params.int("version_number");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, ALERT_SORT_KEYS, &["created_at"]);
    params.check()?;
    let serialized: Option<Uuid> = sqlx::query_scalar(
        "SELECT s.id FROM serialized_dag s JOIN dag_version v ON v.id = s.dag_version_id \
         WHERE s.dag_id = $1 AND ($2::bigint IS NULL OR v.version_number = $2) ORDER BY v.version_number DESC LIMIT 1",
    )
    .bind(&dag_id)
    .bind(version)
    .fetch_optional(&app.pool)
    .await?;
    let serialized = serialized.ok_or_else(|| not_found(&dag_id, version))?;
    let mut filter = Filter::new();
    filter.push(Clause::sql("a.serialized_dag_id = ").bind_uuid(serialized));
    let listing = Listing { columns: ALERT_COLUMNS, source: "deadline_alert a", filter, order };
    let (deadline_alerts, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Alerts { deadline_alerts, total_entries }))
}

/// 404 of a Dag or of one of its versions.
pub(super) fn not_found(dag_id: &str, version: Option<i64>) -> ApiError {
    let version = version.map_or_else(String::new, |number| format!(" and version number {number}"));
    ApiError::not_found(format!("Dag with id {dag_id}{version} was not found"))
}
