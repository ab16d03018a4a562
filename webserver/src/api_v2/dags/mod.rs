//! `/dags`: the list, one Dag, its details, pausing, favourites, deletion; `/dagTags`.

mod delete;
mod details;
mod list;
mod tags;

pub(crate) use list::{DagFilter, SORT_KEYS};

use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::no_content::NoContent;
use crate::query::Params;
use crate::request_body::RequestBody;
use crate::signed_token;
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use tradewind_metadata::notify;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/dags", get(list::list).patch(patch_many))
        .route("/dags/{dag_id}", get(read).patch(patch).delete(delete::delete))
        .route("/dags/{dag_id}/details", get(details::read))
        .route("/dags/{dag_id}/favorite", post(add_favorite))
        .route("/dags/{dag_id}/unfavorite", post(remove_favorite))
        .route("/dagTags", get(tags::list))
        .route("/parseDagFile/{file_token}", put(reparse))
}

/// The columns of a Dag that is selected as `d`.
pub(crate) const COLUMNS: &str = include_str!("columns.sql");

/// A Dag as stored.
#[derive(Debug, Clone, Serialize, FromRow)]
pub(crate) struct DagRow {
    pub(crate) dag_id: String,
    dag_display_name: String,
    is_paused: bool,
    is_stale: bool,
    last_parsed_time: Option<Timestamp>,
    last_parse_duration: Option<f64>,
    last_expired: Option<Timestamp>,
    bundle_name: Option<String>,
    bundle_version: Option<String>,
    relative_fileloc: Option<String>,
    fileloc: Option<String>,
    description: Option<String>,
    timetable_summary: Option<String>,
    timetable_description: Option<String>,
    timetable_partitioned: bool,
    timetable_periodic: bool,
    tags: Value,
    max_active_tasks: i32,
    max_active_runs: Option<i32>,
    max_consecutive_failed_dag_runs: i32,
    has_task_concurrency_limits: bool,
    has_import_errors: Option<bool>,
    next_dagrun_logical_date: Option<Timestamp>,
    next_dagrun_data_interval_start: Option<Timestamp>,
    next_dagrun_data_interval_end: Option<Timestamp>,
    next_dagrun_run_after: Option<Timestamp>,
    allowed_run_types: Option<Value>,
    owners: Vec<String>,
    #[serde(skip)]
    pub(crate) asset_expression: Option<Value>,
}

/// A Dag with what follows from its columns.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Dag {
    #[serde(flatten)]
    row: DagRow,
    #[serde(flatten)]
    computed: Computed,
}

/// What follows from the columns of a Dag.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Computed {
    is_backfillable: bool,
    file_token: String,
}

impl DagRow {
    /// Its bundle and the file within.
    pub(crate) fn file(&self) -> Option<(&str, &str)> {
        self.bundle_name.as_deref().zip(self.relative_fileloc.as_deref().filter(|file| !file.is_empty()))
    }

    pub(crate) fn computed(&self, app: &App) -> Computed {
        let allowed = self.allowed_run_types.as_ref().and_then(Value::as_array);
        let backfills_allowed = allowed.is_none_or(|allowed| allowed.contains(&Value::from("backfill")));
        let file = json!({"bundle_name": self.bundle_name, "relative_fileloc": self.relative_fileloc});
        Computed {
            is_backfillable: self.timetable_periodic && backfills_allowed,
            file_token: signed_token::sign(&app.options.secret_key, &file),
        }
    }

    pub(crate) fn with_computed(self, app: &App) -> Dag {
        Dag { computed: self.computed(app), row: self }
    }
}

/// The stored Dag of that id.
pub(crate) async fn find(pool: &PgPool, dag_id: &str) -> ApiResult<Option<DagRow>> {
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!("SELECT {COLUMNS} FROM dag d WHERE d.dag_id = "));
    Ok(query.push_bind(dag_id).build_query_as().fetch_optional(pool).await?)
}

async fn read(State(app): State<App>, user: User, Path(dag_id): Path<String>) -> ApiResult<Json<Dag>> {
    user.may_read(Resource::Dag)?;
    app.dags.latest(&app.pool, &dag_id).await?;
    let dag = find(&app.pool, &dag_id).await?;
    let dag = dag.ok_or_else(|| ApiError::not_found(format!("Unable to obtain dag with id {dag_id} from session")))?;
    Ok(Json(dag.with_computed(&app)))
}

async fn patch(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(dag_id): Path<String>,
    bytes: RequestBody,
) -> ApiResult<Json<Dag>> {
    user.may_write(Resource::Dag)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "patch_dag", method: "PATCH", path: &[("dag_id", &dag_id)], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let is_paused = pause_wanted(&mut body)?;
    let missing = || ApiError::not_found(format!("Dag with id: {dag_id} was not found"));
    find(&app.pool, &dag_id).await?.ok_or_else(missing)?;
    check_mask(&params)?;
    pause(&app, std::slice::from_ref(&dag_id), is_paused).await?;
    let dag = find(&app.pool, &dag_id).await?.ok_or_else(missing)?;
    Ok(Json(dag.with_computed(&app)))
}

async fn patch_many(
    State(app): State<App>,
    user: User,
    mut params: Params,
    bytes: RequestBody,
) -> ApiResult<Json<list::Collection>> {
    user.may_write(Resource::Dag)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "patch_dags", method: "PATCH", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let is_paused = pause_wanted(&mut body)?;
    let filter = DagFilter::of_changes(&mut params, user.editable());
    params.page(&app);
    params.check()?;
    check_mask(&params)?;
    if params.text("dag_id_pattern").is_none() && params.text("dag_id_prefix_pattern").is_none() {
        // Airflow applies an absent pattern as the text "None" here, so that nothing is changed by accident.
        return Ok(Json(list::Collection { dags: Vec::new(), total_entries: 0 }));
    }
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!("SELECT d.dag_id FROM {}", filter.source()));
    filter.filter.push_to(&mut query);
    let dag_ids: Vec<String> = query.build_query_scalar().fetch_all(&app.pool).await?;
    pause(&app, &dag_ids, is_paused).await?;
    list::page(&app, &mut params, filter).await.map(Json)
}

fn pause_wanted(body: &mut Body) -> ApiResult<bool> {
    let is_paused = body.bool("is_paused").unwrap_or_default();
    body.finish()?;
    Ok(is_paused)
}

fn check_mask(params: &Params) -> ApiResult<()> {
    let mask = params.texts("update_mask");
    if mask.is_empty() || mask == ["is_paused"] {
        return Ok(());
    }
    Err(ApiError::bad_request("Only `is_paused` field can be updated through the REST API"))
}

/// Pauses or un-pauses Dags and tells the schedulers.
async fn pause(app: &App, dag_ids: &[String], is_paused: bool) -> ApiResult<()> {
    let mut transaction = app.pool.begin().await?;
    let changed: Vec<String> =
        sqlx::query_scalar("UPDATE dag SET is_paused = $2 WHERE dag_id = ANY($1) AND is_paused <> $2 RETURNING dag_id")
            .bind(dag_ids)
            .bind(is_paused)
            .fetch_all(&mut *transaction)
            .await?;
    notify::send(&mut transaction, notify::DAG, &changed).await?;
    Ok(transaction.commit().await?)
}

async fn add_favorite(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<NoContent> {
    user.may_read(Resource::Dag)?;
    Change { event: "favorite_dag", method: "POST", path: &[("dag_id", &dag_id)], body: None }
        .record(&app, &user, &params)
        .await?;
    require(&app, &dag_id).await?;
    sqlx::query("INSERT INTO dag_favorite (dag_id, user_id) VALUES ($1, $2)")
        .bind(&dag_id)
        .bind(&user.name)
        .execute(&app.pool)
        .await?;
    Ok(NoContent)
}

async fn remove_favorite(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<NoContent> {
    user.may_read(Resource::Dag)?;
    Change { event: "unfavorite_dag", method: "POST", path: &[("dag_id", &dag_id)], body: None }
        .record(&app, &user, &params)
        .await?;
    require(&app, &dag_id).await?;
    let removed = sqlx::query("DELETE FROM dag_favorite WHERE dag_id = $1 AND user_id = $2")
        .bind(&dag_id)
        .bind(&user.name)
        .execute(&app.pool)
        .await?;
    if removed.rows_affected() == 0 {
        return Err(ApiError::conflict("Dag is not marked as favorite"));
    }
    Ok(NoContent)
}

async fn require(app: &App, dag_id: &str) -> ApiResult<()> {
    let missing = || ApiError::not_found(format!("Dag with id '{dag_id}' not found"));
    find(&app.pool, dag_id).await?.map(|_| ()).ok_or_else(missing)
}

/// The Dags of a file in a bundle.
pub(crate) async fn of_file(pool: &PgPool, bundle: Option<&str>, file: Option<&str>) -> ApiResult<Vec<String>> {
    let statement = "SELECT dag_id FROM dag WHERE bundle_name = $1 AND relative_fileloc = $2";
    Ok(sqlx::query_scalar(statement).bind(bundle).bind(file).fetch_all(pool).await?)
}

/// Asks the Dag processor to parse a file at once.
async fn reparse(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(file_token): Path<String>,
) -> ApiResult<(StatusCode, Json<()>)> {
    let missing = || ApiError::not_found("File not found");
    let file = signed_token::verify(&app.options.secret_key, &file_token).ok_or_else(missing)?;
    let part = |name: &str| file.get(name).and_then(Value::as_str).map(str::to_owned);
    let (Some(bundle), Some(path)) = (part("bundle_name"), part("relative_fileloc")) else { return Err(missing()) };
    let dag_ids = of_file(&app.pool, Some(&bundle), Some(&path)).await?;
    if dag_ids.is_empty() {
        return Err(missing());
    }
    user.may_write(Resource::Dag)?;
    for dag_id in &dag_ids {
        user.may_write_dag(dag_id)?;
    }
    Change { event: "reparse_dag_file", method: "PUT", path: &[("file_token", &file_token)], body: None }
        .record(&app, &user, &params)
        .await?;
    sqlx::query(include_str!("reparse.sql")).bind(&bundle).bind(&path).execute(&app.pool).await?;
    Ok((StatusCode::CREATED, Json(())))
}
