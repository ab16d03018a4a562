//! `/ui/dags`: the list of Dags with their latest runs.

use crate::api_v2::dags::{COLUMNS, DagFilter, DagRow, SORT_KEYS};
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Clause, Listing, Order, Params};
use crate::state::App;
use crate::states::dag_run_states;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{FromRow, PgPool};
use std::collections::{HashMap, HashSet};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/dags", get(list)).route("/dags/{dag_id}/latest_run", get(latest_run))
}

/// A run in few words.
#[derive(Debug, Clone, Serialize)]
struct LightRun {
    #[serde(flatten)]
    row: LightRow,
    duration: Option<f64>,
}

#[derive(Debug, Clone, Serialize, FromRow)]
struct LightRow {
    id: i32,
    dag_id: String,
    run_id: String,
    logical_date: Option<Timestamp>,
    run_after: Timestamp,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    state: Option<String>,
}

impl From<LightRow> for LightRun {
    fn from(row: LightRow) -> Self {
        Self { duration: row.end_date.zip(row.start_date).map(|(end, start)| end.seconds_since(start)), row }
    }
}

const PENDING_ACTIONS: &str = "EXISTS (SELECT FROM hitl_detail h JOIN task_instance ti ON ti.id = h.ti_id \
     WHERE ti.dag_id = d.dag_id AND h.responded_at IS NULL AND ti.state IN ('deferred', 'awaiting_input'))";

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Value>> {
    user.may_read(Resource::Dag)?;
    let mut wanted = DagFilter::from_params(&mut params, &user, user.readable());
    wanted.filter.texts(&params, "dag_ids", "d.dag_id");
    if let Some(state) = params.word("dag_run_state", &dag_run_states()) {
        let having = Clause::sql("EXISTS (SELECT FROM dag_run dr WHERE dr.dag_id = d.dag_id AND dr.state = ");
        wanted.filter.push(having.bind_text(state).then(")"));
    }
    let pending = params.bool("has_pending_actions");
    if let Some(pending) = pending {
        wanted.filter.push(Clause::sql(format!("{}{PENDING_ACTIONS}", if pending { "" } else { "NOT " })));
    }
    let runs_limit = params.int("dag_runs_limit").unwrap_or(10);
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["dag_id"]);
    params.check()?;
    let source = wanted.source();
    let listing = Listing { columns: COLUMNS, source, filter: wanted.filter, order };
    let (dags, total_entries) = listing.page::<DagRow>(&app.pool, page).await?;

    let dag_ids: Vec<String> = dags.iter().map(|dag| dag.dag_id.clone()).collect();
    let mut runs = latest_runs(&app.pool, &dag_ids, runs_limit).await?;
    let favorites = favorites(&app.pool, &dag_ids, &user).await?;
    let mut actions = if pending == Some(true) {
        crate::api_v2::hitl_details::pending_by_dag(&app.pool, &dag_ids).await?
    } else {
        HashMap::new()
    };
    let mut shown = Vec::with_capacity(dags.len());
    for dag in dags {
        let dag_id = dag.dag_id.clone();
        let asset_expression = dag.asset_expression.clone();
        let mut dag = without_nulls(to_value(dag.with_computed(&app))?);
        if let Some(expression) = asset_expression {
            dag["asset_expression"] = expression;
        }
        let runs = runs.remove(&dag_id).unwrap_or_default();
        dag["latest_dag_runs"] = without_nulls(to_value(runs)?);
        dag["pending_actions"] = without_nulls(actions.remove(&dag_id).unwrap_or_default().into());
        dag["is_favorite"] = favorites.contains(&dag_id).into();
        shown.push(dag);
    }
    Ok(Json(json!({"total_entries": total_entries, "dags": shown})))
}

fn to_value(value: impl Serialize) -> ApiResult<Value> {
    serde_json::to_value(value).map_err(|error| ApiError::internal(&error))
}

/// What users wrote is shown with its nulls.
const USER_DATA: [&str; 3] = ["params", "params_input", "rendered_fields"];

/// Null fields left out, as the UI's own answers have it.
pub(super) fn without_nulls(mut value: Value) -> Value {
    drop_nulls(&mut value);
    value
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Object(fields) => fields.retain(|name, value| {
            if !USER_DATA.contains(&name.as_str()) {
                drop_nulls(value);
            }
            !value.is_null()
        }),
        _ => {}
    }
}

/// The latest runs of each Dag, latest first.
async fn latest_runs(pool: &PgPool, dag_ids: &[String], limit: i64) -> ApiResult<HashMap<String, Vec<LightRun>>> {
    let statement = include_str!("latest_runs.sql");
    let rows: Vec<LightRow> = sqlx::query_as(statement).bind(dag_ids).bind(limit).fetch_all(pool).await?;
    let mut runs: HashMap<String, Vec<LightRun>> = HashMap::new();
    for row in rows {
        runs.entry(row.dag_id.clone()).or_default().push(row.into());
    }
    Ok(runs)
}

async fn favorites(pool: &PgPool, dag_ids: &[String], user: &User) -> ApiResult<HashSet<String>> {
    let statement = "SELECT dag_id FROM dag_favorite WHERE user_id = $1 AND dag_id = ANY($2)";
    let ids: Vec<String> = sqlx::query_scalar(statement).bind(&user.name).bind(dag_ids).fetch_all(pool).await?;
    Ok(ids.into_iter().collect())
}

async fn latest_run(
    State(app): State<App>,
    user: User,
    Path(dag_id): Path<String>,
) -> ApiResult<Json<Option<LightRun>>> {
    user.may_read(Resource::Dag)?;
    if dag_id == "~" {
        let detail = "`~` was supplied as dag_id, but querying multiple dags is not supported.";
        return Err(ApiError::bad_request(detail));
    }
    let mut runs = latest_runs(&app.pool, std::slice::from_ref(&dag_id), 1).await?;
    Ok(Json(runs.remove(&dag_id).and_then(|runs| runs.into_iter().next())))
}
