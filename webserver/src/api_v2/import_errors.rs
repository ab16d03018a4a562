//! `/importErrors`: Dag files that could not be parsed.

use crate::api_v2::dags;
use crate::auth::{Dags, Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Clause, Filter, Listing, Order, Params, PathInt, SortKey, key};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::{FromRow, Postgres, QueryBuilder};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/importErrors", get(list)).route("/importErrors/{import_error_id}", get(read))
}

#[derive(Serialize, FromRow)]
struct ImportError {
    import_error_id: i32,
    timestamp: Timestamp,
    filename: Option<String>,
    bundle_name: Option<String>,
    stack_trace: Option<String>,
}

#[derive(Serialize)]
struct Collection {
    import_errors: Vec<ImportError>,
    total_entries: i64,
}

const COLUMNS: &str = "i.id AS import_error_id, i.timestamp, i.filename, i.bundle_name, i.stacktrace AS stack_trace";
/// The Dags of the file of an error.
const OF_FILE: &str = "FROM dag d WHERE d.relative_fileloc = i.filename AND d.bundle_name = i.bundle_name";
/// What is shown of an error in a file that has more Dags than somebody may read.
const REDACTED: &str = "REDACTED - you do not have read permission on all Dags in the file";
const SORT_KEYS: &[SortKey] = &[
    key("id", &[("i.id", "integer")]),
    key("import_error_id", &[("i.id", "integer")]),
    key("timestamp", &[("i.timestamp", "timestamptz")]),
    key("filename", &[("i.filename", "text")]),
    key("bundle_name", &[("i.bundle_name", "text")]),
    key("stacktrace", &[("i.stacktrace", "text")]),
];

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::View)?;
    let mut filter = Filter::new();
    if let Some(readable) = user.readable().condition("d.dag_id") {
        let of_no_dag = format!("NOT EXISTS (SELECT {OF_FILE}) OR EXISTS (SELECT {OF_FILE} AND ");
        filter.push(Clause::sql(of_no_dag).join(readable).then(")"));
    }
    filter.pattern(&params, "filename", "i.filename");
    filter.text(&params, "filename", "i.filename");
    filter.text(&params, "bundle_name", "i.bundle_name");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["id"]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: "import_error i", filter, order };
    let (mut import_errors, total_entries) = listing.page(&app.pool, page).await?;
    redact(&app, user.readable(), &mut import_errors).await?;
    Ok(Json(Collection { import_errors, total_entries }))
}

async fn read(State(app): State<App>, user: User, Path(id): Path<String>) -> ApiResult<Json<ImportError>> {
    user.may_read(Resource::View)?;
    let id = PathInt::parse("import_error_id", &id)?;
    let mut query: QueryBuilder<Postgres> =
        QueryBuilder::new(format!("SELECT {COLUMNS} FROM import_error i WHERE i.id = "));
    let error: Option<ImportError> = query.push_bind(id).build_query_as().fetch_optional(&app.pool).await?;
    let mut error = error
        .ok_or_else(|| ApiError::not_found(format!("The ImportError with import_error_id: `{id}` was not found")))?;
    if !user.readable().are_all() {
        let of_file = dags::of_file(&app.pool, error.bundle_name.as_deref(), error.filename.as_deref()).await?;
        if !of_file.is_empty() && !of_file.iter().any(|dag_id| user.readable().contains(dag_id)) {
            return Err(ApiError::forbidden("You do not have read permission on any of the Dags in the file"));
        }
        redact(&app, user.readable(), std::slice::from_mut(&mut error)).await?;
    }
    Ok(Json(error))
}

/// Takes away what a file with Dags says that may not be read.
async fn redact(app: &App, readable: &Dags, errors: &mut [ImportError]) -> ApiResult<()> {
    let Some(condition) = readable.condition("d.dag_id") else { return Ok(()) };
    let ids: Vec<i64> = errors.iter().map(|error| error.import_error_id.into()).collect();
    let mut query: QueryBuilder<Postgres> =
        QueryBuilder::new(format!("SELECT i.id FROM import_error i WHERE EXISTS (SELECT {OF_FILE} AND NOT ("));
    condition.push_to(&mut query);
    query.push(")) AND i.id = ANY(").push_bind(ids).push(")");
    let redacted: Vec<i32> = query.build_query_scalar().fetch_all(&app.pool).await?;
    for error in errors.iter_mut().filter(|error| redacted.contains(&error.import_error_id)) {
        error.stack_trace = Some(REDACTED.to_owned());
    }
    Ok(())
}
