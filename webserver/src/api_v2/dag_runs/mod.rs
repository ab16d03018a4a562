//! `/dags/{dag_id}/dagRuns`: lists, one run, triggering, changes, clearing, waiting.

mod change;
mod clear;
mod creation;
mod list;
mod partitions;
pub(super) mod trigger;
mod wait;

pub(crate) use creation::NewRuns;
pub(crate) use trigger::{Lookup, timetable};

use crate::api_v2::dag_versions::{self, DagVersion};
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::no_content::NoContent;
use crate::query::Params;
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool, Postgres, QueryBuilder, Row as _};
use std::collections::HashMap;
use uuid::Uuid;

pub(super) fn routes() -> Router<App> {
    const RUN: &str = "/dags/{dag_id}/dagRuns/{dag_run_id}";
    Router::new()
        .route("/dags/{dag_id}/dagRuns", get(list::list).post(trigger::trigger).patch(change::patch_many))
        .route("/dags/{dag_id}/dagRuns/list", post(list::list_batch))
        .route("/dags/{dag_id}/clearDagRuns", post(clear::clear_many))
        .route("/dags/{dag_id}/clearPartitions", post(partitions::clear))
        .route(RUN, get(read).patch(change::patch).delete(delete))
        .route(&format!("{RUN}/clear"), post(clear::clear_one))
        .route(&format!("{RUN}/wait"), get(wait::wait))
}

/// The columns of a run that is selected as `dr`, with its Dag as `d` and its note as `n`.
pub(crate) const COLUMNS: &str = "dr.id, dr.run_id AS dag_run_id, dr.dag_id, dr.logical_date, dr.queued_at, \
     dr.start_date, dr.end_date, EXTRACT(EPOCH FROM dr.end_date - dr.start_date)::float8 AS duration, \
     dr.data_interval_start, dr.data_interval_end, dr.run_after, dr.last_scheduling_decision, dr.run_type, dr.state, \
     lower(dr.triggered_by) AS triggered_by, dr.triggering_user_name, dr.conf, n.content AS note, dr.bundle_version, \
     COALESCE(d.dag_display_name, d.dag_id) AS dag_display_name, dr.partition_key, dr.partition_date";
/// The tables of [`COLUMNS`].
pub(crate) const SOURCE: &str =
    "dag_run dr JOIN dag d ON d.dag_id = dr.dag_id LEFT JOIN dag_run_note n ON n.dag_run_id = dr.id";

/// A Dag run.
#[derive(Debug, Clone, Serialize, FromRow)]
pub(crate) struct DagRun {
    #[serde(skip)]
    pub(crate) id: i32,
    dag_run_id: String,
    dag_id: String,
    logical_date: Option<Timestamp>,
    queued_at: Option<Timestamp>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    duration: Option<f64>,
    data_interval_start: Option<Timestamp>,
    data_interval_end: Option<Timestamp>,
    run_after: Timestamp,
    last_scheduling_decision: Option<Timestamp>,
    run_type: String,
    pub(super) state: Option<String>,
    triggered_by: Option<String>,
    triggering_user_name: Option<String>,
    conf: Option<Value>,
    note: Option<String>,
    #[sqlx(skip)]
    dag_versions: Vec<DagVersion>,
    bundle_version: Option<String>,
    dag_display_name: String,
    partition_key: Option<String>,
    partition_date: Option<Timestamp>,
}

/// A run with what is needed to work on it.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct RunKey {
    pub(crate) id: i32,
    created_dag_version_id: Option<Uuid>,
    bundle_version: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) logical_date: Option<Timestamp>,
}

impl RunKey {
    /// The run of that id, if any.
    pub(crate) async fn find(pool: &PgPool, dag_id: &str, run_id: &str) -> ApiResult<Option<Self>> {
        let statement = "SELECT id, created_dag_version_id, nullif(bundle_version, '') AS bundle_version, state, \
                         logical_date FROM dag_run WHERE dag_id = $1 AND run_id = $2";
        Ok(sqlx::query_as(statement).bind(dag_id).bind(run_id).fetch_optional(pool).await?)
    }

    /// Those of these Dags and runs that there are.
    pub(crate) async fn find_all(
        pool: &PgPool,
        runs: &[(String, String)],
    ) -> ApiResult<HashMap<(String, String), Self>> {
        let (dag_ids, run_ids): (Vec<&str>, Vec<&str>) =
            runs.iter().map(|(dag_id, run_id)| (dag_id.as_str(), run_id.as_str())).unzip();
        let statement = "SELECT dag_id, run_id, id, created_dag_version_id, nullif(bundle_version, '') AS bundle_version, state, \
                         logical_date FROM dag_run WHERE (dag_id, run_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))";
        let rows = sqlx::query(statement).bind(dag_ids).bind(run_ids).fetch_all(pool).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            found.insert((row.try_get("dag_id")?, row.try_get("run_id")?), Self::from_row(row)?);
        }
        Ok(found)
    }

    /// The version of the Dag that the run is pinned to; without a bundle version it follows the newest.
    pub(crate) fn pinned_dag_version(&self) -> Option<Uuid> {
        self.created_dag_version_id.filter(|_| self.bundle_version.is_some())
    }

    /// The run of that id, or 404.
    pub(crate) async fn require(pool: &PgPool, dag_id: &str, run_id: &str) -> ApiResult<Self> {
        Self::find(pool, dag_id, run_id).await?.ok_or_else(|| not_found(dag_id, run_id))
    }
}

/// 404 of a run.
pub(crate) fn not_found(dag_id: &str, run_id: &str) -> ApiError {
    ApiError::not_found(format!("The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"))
}

/// Adds the versions of each run.
pub(crate) async fn with_versions(executor: impl PgExecutor<'_>, mut runs: Vec<DagRun>) -> ApiResult<Vec<DagRun>> {
    let mut versions = dag_versions::of_runs(executor, runs.iter().map(|run| run.id).collect()).await?;
    for run in &mut runs {
        run.dag_versions = versions.remove(&run.id).unwrap_or_default();
    }
    Ok(runs)
}

/// The run of that `dag_run.id`.
pub(crate) async fn by_id(pool: &PgPool, id: i32) -> ApiResult<DagRun> {
    by_id_on(&mut *pool.acquire().await?, id).await
}

/// The run of that `dag_run.id`, as this connection sees it: within a transaction, before a scheduler hears of it.
pub(crate) async fn by_id_on(connection: &mut PgConnection, id: i32) -> ApiResult<DagRun> {
    let runs = without_versions(connection, &[id]).await?;
    let runs = with_versions(connection, runs).await?;
    runs.into_iter().next().ok_or_else(gone)
}

/// The runs of these `dag_run.id`s alone, in any order.
async fn without_versions(connection: &mut PgConnection, ids: &[i32]) -> ApiResult<Vec<DagRun>> {
    let mut query: QueryBuilder<Postgres> =
        QueryBuilder::new(format!("SELECT {COLUMNS} FROM {SOURCE} WHERE dr.id = ANY("));
    Ok(query.push_bind(ids).push(")").build_query_as().fetch_all(connection).await?)
}

fn gone() -> ApiError {
    ApiError::not_found("Dag run not found after update")
}

async fn read(
    State(app): State<App>,
    user: User,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> ApiResult<Json<DagRun>> {
    user.may_read(Resource::Dag)?;
    let run = RunKey::require(&app.pool, &dag_id, &run_id).await?;
    Ok(Json(by_id(&app.pool, run.id).await?))
}

async fn delete(
    State(app): State<App>,
    user: User,
    params: Params,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> ApiResult<NoContent> {
    user.may_write(Resource::Dag)?;
    let path = [("dag_id", dag_id.as_str()), ("dag_run_id", run_id.as_str())];
    Change { event: "delete_dag_run", method: "DELETE", path: &path, body: None }.record(&app, &user, &params).await?;
    let run = RunKey::require(&app.pool, &dag_id, &run_id).await?;
    delete_run(&app, &dag_id, &run_id, &run).await?;
    Ok(NoContent)
}

/// Deletes a run that is not being worked on.
async fn delete_run(app: &App, dag_id: &str, run_id: &str, run: &RunKey) -> ApiResult<()> {
    if !matches!(run.state.as_deref(), Some("queued" | "success" | "failed")) {
        let state = run.state.as_deref().unwrap_or_default();
        return Err(ApiError::conflict(format!(
            "The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` cannot be deleted in {state} state"
        )));
    }
    // The callbacks of its deadlines belong to it alone.
    let mut transaction = app.pool.begin().await?;
    let statement = "DELETE FROM deadline WHERE dagrun_id = $1 RETURNING callback_id";
    let callbacks: Vec<Uuid> = sqlx::query_scalar(statement).bind(run.id).fetch_all(&mut *transaction).await?;
    sqlx::query("DELETE FROM callback WHERE id = ANY($1)").bind(callbacks).execute(&mut *transaction).await?;
    sqlx::query("DELETE FROM dag_run WHERE id = $1").bind(run.id).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}
