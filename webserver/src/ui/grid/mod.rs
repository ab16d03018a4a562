//! `/ui/grid`: rows, columns and cells of the grid.

mod summaries;

use super::graph::{GridNode, grid_nodes, merge};
use crate::api_v2::dag_runs::timetable;
use crate::api_v2::dag_versions::{self, DagVersion};
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Filter, Order, Page, Params, SortKey, key};
use crate::serialized_dag::{SerializedDag, Subset};
use crate::state::App;
use crate::states::{dag_run_states, dag_run_types};
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::{FromRow, Postgres, QueryBuilder};
use std::borrow::Cow;
use std::sync::Arc;
use uuid::Uuid;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/grid/structure/{dag_id}", get(structure))
        .route("/grid/runs/{dag_id}", get(runs))
        .route("/grid/ti_summaries/{dag_id}", get(summaries::stream))
}

const SORT_KEYS: &[SortKey] = &[
    key("id", &[("dr.id", "integer")]),
    key("run_after", &[("dr.run_after", "timestamptz")]),
    key("logical_date", &[("dr.logical_date", "timestamptz")]),
    key("start_date", &[("dr.start_date", "timestamptz")]),
    key("end_date", &[("dr.end_date", "timestamptz")]),
    key("data_interval_end", &[("dr.data_interval_end", "timestamptz")]),
];

/// The columns that are shown: which runs, in what order.
struct Columns {
    filter: Filter,
    order: Order,
    page: Page,
}

impl Columns {
    fn from_params(app: &App, params: &mut Params, dag_id: &str, order: &[String]) -> ApiResult<Self> {
        let mut filter = Filter::new();
        filter.equal_text("dr.dag_id", dag_id);
        filter.time_range(params, "run_after", "dr.run_after");
        let types = params.states("run_type", "run type", &dag_run_types(), &["none"]);
        filter.states(types, "dr.run_type");
        let states = params.states("state", "state", &dag_run_states(), &["none"]);
        filter.states(states, "dr.state");
        filter.search(params, "triggering_user", "triggering_user_prefix", "dr.triggering_user_name", true);
        let page = params.page(app);
        let order = Order::from_names(params, SORT_KEYS, order);
        params.check()?;
        Ok(Self { filter, order, page })
    }

    fn push_to(&self, query: &mut QueryBuilder<Postgres>) {
        self.filter.push_to(query);
        self.order.push_to(query);
        query.push(" LIMIT ").push_bind(self.page.limit).push(" OFFSET ").push_bind(self.page.offset);
    }
}

/// The wish for an order of the columns; empty without one.
fn wished_order(params: &mut Params) -> Vec<String> {
    let given = params.texts("order_by");
    if given == ["id"] { Vec::new() } else { given }
}

/// Without a wish the timetable says in what order its runs follow each other.
fn own_order(dag: &SerializedDag) -> ApiResult<Vec<String>> {
    Ok(timetable(dag)?.run_ordering().iter().map(|name| (*name).to_owned()).collect())
}

async fn latest(app: &App, dag_id: &str) -> ApiResult<Arc<SerializedDag>> {
    let dag = app.dags.find_latest(&app.pool, dag_id).await?;
    dag.ok_or_else(|| ApiError::not_found(format!("Dag with id {dag_id} was not found")))
}

async fn structure(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<Json<Vec<GridNode>>> {
    user.may_read(Resource::Dag)?;
    let subset = subset(&mut params);
    let dag = latest(&app, &dag_id).await?;
    let wished = wished_order(&mut params);
    let order = if wished.is_empty() { own_order(&dag)? } else { wished };
    let columns = Columns::from_params(&app, &mut params, &dag_id, &order)?;
    let rows = |dag: &SerializedDag| {
        let shown = subset.as_ref().map_or(Cow::Borrowed(dag), |subset| Cow::Owned(dag.subset(subset)));
        grid_nodes(&shown, app.options.topological_order)
    };
    let mut nodes = rows(&dag);
    for version in other_versions(&app, &columns, &dag).await? {
        if let Some(other) = app.dags.version(&app.pool, version).await? {
            merge(&mut nodes, rows(&other));
        }
    }
    Ok(Json(nodes))
}

/// The part of a Dag that is asked for by `root` and its companions.
pub(super) fn subset(params: &mut Params) -> Option<Subset> {
    let include_upstream = params.bool("include_upstream").unwrap_or_default();
    let include_downstream = params.bool("include_downstream").unwrap_or_default();
    let depth = params.int("depth");
    let root = params.text("root").filter(|root| !root.is_empty())?;
    Some(Subset { root, include_upstream, include_downstream, depth })
}

/// The versions besides the latest that task instances of the shown runs have run with.
async fn other_versions(app: &App, columns: &Columns, latest: &SerializedDag) -> ApiResult<Vec<Uuid>> {
    let mut query: QueryBuilder<Postgres> =
        QueryBuilder::new("SELECT DISTINCT ti.dag_version_id FROM (SELECT dr.dag_id, dr.run_id FROM dag_run dr");
    columns.push_to(&mut query);
    query.push(
        ") AS shown JOIN task_instance ti ON ti.dag_id = shown.dag_id AND ti.run_id = shown.run_id \
         WHERE ti.dag_version_id <> ",
    );
    query.push_bind(latest.dag_version_id);
    Ok(query.build_query_scalar().fetch_all(&app.pool).await?)
}

/// A column of the grid.
#[derive(Serialize)]
struct GridRun {
    #[serde(flatten)]
    row: GridRow,
    dag_versions: Vec<DagVersion>,
    duration: f64,
}

#[derive(Serialize, FromRow)]
struct GridRow {
    #[serde(skip)]
    id: i32,
    dag_id: String,
    run_id: String,
    queued_at: Option<Timestamp>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    run_after: Timestamp,
    state: Option<String>,
    run_type: String,
    has_missed_deadline: bool,
    has_note: bool,
}

const RUN_COLUMNS: &str = "dr.id, dr.dag_id, dr.run_id, dr.queued_at, dr.start_date, dr.end_date, dr.run_after, \
     dr.state, dr.run_type, \
     EXISTS (SELECT FROM deadline dl WHERE dl.dagrun_id = dr.id AND dl.missed) AS has_missed_deadline, \
     EXISTS (SELECT FROM dag_run_note n WHERE n.dag_run_id = dr.id AND n.content IS NOT NULL) AS has_note";

async fn runs(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<Json<serde_json::Value>> {
    user.may_read(Resource::Dag)?;
    // Runs in an order that is wished for need no Dag: of an unknown one there are none.
    let mut order = wished_order(&mut params);
    if order.is_empty() {
        let dag = latest(&app, &dag_id).await?;
        order = own_order(&dag)?;
    }
    let columns = Columns::from_params(&app, &mut params, &dag_id, &order)?;
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!("SELECT {RUN_COLUMNS} FROM dag_run dr"));
    columns.push_to(&mut query);
    let rows: Vec<GridRow> = query.build_query_as().fetch_all(&app.pool).await?;
    let mut versions = dag_versions::of_runs(&app.pool, rows.iter().map(|row| row.id).collect()).await?;
    let now = Timestamp::now();
    let column = |row: GridRow| GridRun {
        duration: row.start_date.map_or(0.0, |start| row.end_date.unwrap_or(now).seconds_since(start)),
        dag_versions: versions.remove(&row.id).unwrap_or_default(),
        row,
    };
    let runs: Vec<GridRun> = rows.into_iter().map(column).collect();
    let runs = serde_json::to_value(runs).map_err(|error| ApiError::internal(&error))?;
    Ok(Json(super::dags::without_nulls(runs)))
}
