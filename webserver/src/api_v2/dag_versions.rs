//! `/dags/{dag_id}/dagVersions`.

use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Filter, Listing, Order, Params, PathInt, SortKey, key};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, PgPool, Row as _};
use std::collections::HashMap;
use uuid::Uuid;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/dags/{dag_id}/dagVersions", get(list))
        .route("/dags/{dag_id}/dagVersions/{version_number}", get(read))
}

/// A version of a Dag.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DagVersion {
    pub(crate) id: Uuid,
    version_number: i32,
    dag_id: String,
    bundle_name: Option<String>,
    bundle_version: Option<String>,
    created_at: Timestamp,
    dag_display_name: String,
    bundle_url: Option<String>,
}

#[derive(Serialize)]
struct Collection {
    dag_versions: Vec<DagVersion>,
    total_entries: i64,
}

/// Columns of a version that is joined as `v`, with its Dag as `vd`; `version_id` is null when there is none.
pub(crate) const COLUMNS: &str = "v.id AS version_id, v.version_number AS version_number, v.dag_id AS version_dag_id, \
     v.bundle_name AS version_bundle_name, v.bundle_version AS version_bundle_version, \
     v.created_at AS version_created_at, COALESCE(vd.dag_display_name, vd.dag_id) AS version_dag_display_name";
const SOURCE: &str = "dag_version v JOIN dag vd ON vd.dag_id = v.dag_id";
const SORT_KEYS: &[SortKey] = &[
    key("id", &[("v.id", "uuid")]),
    key("version_number", &[("v.version_number", "integer")]),
    key("bundle_name", &[("v.bundle_name", "text")]),
    key("bundle_version", &[("v.bundle_version", "text")]),
];

impl FromRow<'_, PgRow> for DagVersion {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("version_id")?,
            version_number: row.try_get("version_number")?,
            dag_id: row.try_get("version_dag_id")?,
            bundle_name: row.try_get("version_bundle_name")?,
            bundle_version: row.try_get("version_bundle_version")?,
            created_at: row.try_get("version_created_at")?,
            dag_display_name: row.try_get("version_dag_display_name")?,
            bundle_url: None,
        })
    }
}

impl DagVersion {
    /// The version of a row that may have none.
    pub(crate) fn optional(row: &PgRow) -> sqlx::Result<Option<Self>> {
        let id: Option<Uuid> = row.try_get("version_id")?;
        id.map(|_| Self::from_row(row)).transpose()
    }

    /// The versions with these ids.
    pub(crate) async fn of_ids(executor: impl PgExecutor<'_>, ids: &[Uuid]) -> ApiResult<HashMap<Uuid, Self>> {
        let mut query = sqlx::QueryBuilder::new(format!("SELECT {COLUMNS} FROM {SOURCE} WHERE v.id = ANY("));
        let versions: Vec<Self> = query.push_bind(ids).push(")").build_query_as().fetch_all(executor).await?;
        Ok(versions.into_iter().map(|version| (version.id, version)).collect())
    }

    /// The latest version of a Dag.
    pub(crate) async fn latest(pool: &PgPool, dag_id: &str) -> ApiResult<Option<Self>> {
        let mut query = sqlx::QueryBuilder::new(format!("SELECT {COLUMNS} FROM {SOURCE} WHERE v.dag_id = "));
        query.push_bind(dag_id).push(" ORDER BY v.created_at DESC LIMIT 1");
        Ok(query.build_query_as().fetch_optional(pool).await?)
    }
}

/// The versions that the task instances of runs have run with, by `dag_run.id`.
pub(crate) async fn of_runs(
    executor: impl PgExecutor<'_>,
    dag_run_ids: Vec<i32>,
) -> ApiResult<HashMap<i32, Vec<DagVersion>>> {
    let rows = sqlx::query(include_str!("dag_runs/versions.sql")).bind(dag_run_ids).fetch_all(executor).await?;
    let mut versions: HashMap<i32, Vec<DagVersion>> = HashMap::new();
    for row in &rows {
        versions.entry(row.try_get("dag_run_id")?).or_default().push(DagVersion::from_row(row)?);
    }
    Ok(versions)
}

async fn list(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let mut filter = Filter::new();
    filter.of_dags(user.readable(), "v.dag_id");
    filter.path("v.dag_id", &dag_id);
    filter.int(&mut params, "version_number", "v.version_number");
    filter.text(&params, "bundle_name", "v.bundle_name");
    filter.text(&params, "bundle_version", "v.bundle_version");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["id"]);
    params.check()?;
    if dag_id != "~" {
        app.dags.latest(&app.pool, &dag_id).await?;
    }
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    let (dag_versions, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { dag_versions, total_entries }))
}

async fn read(
    State(app): State<App>,
    user: User,
    Path((dag_id, version_number)): Path<(String, String)>,
) -> ApiResult<Json<DagVersion>> {
    user.may_read(Resource::Dag)?;
    let version_number = PathInt::parse("version_number", &version_number)?;
    let mut query = sqlx::QueryBuilder::new(format!("SELECT {COLUMNS} FROM {SOURCE} WHERE v.dag_id = "));
    query.push_bind(&dag_id).push(" AND v.version_number = ").push_bind(version_number);
    let version = query.build_query_as().fetch_optional(&app.pool).await?;
    version.map(Json).ok_or_else(|| {
        ApiError::not_found(format!(
            "The DagVersion with dag_id: `{dag_id}` and version_number: `{version_number}` was not found"
        ))
    })
}
