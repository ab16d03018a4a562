//! `/importErrors`: Dag files that could not be parsed.

use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Filter, Listing, Order, Params, PathInt, SortKey, key};
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
    filter.pattern(&params, "filename", "i.filename");
    filter.text(&params, "filename", "i.filename");
    filter.text(&params, "bundle_name", "i.bundle_name");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["id"]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: "import_error i", filter, order };
    let (import_errors, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { import_errors, total_entries }))
}

async fn read(State(app): State<App>, user: User, Path(id): Path<String>) -> ApiResult<Json<ImportError>> {
    user.may_read(Resource::View)?;
    let id = PathInt::parse("import_error_id", &id)?;
    let mut query: QueryBuilder<Postgres> =
        QueryBuilder::new(format!("SELECT {COLUMNS} FROM import_error i WHERE i.id = "));
    let error = query.push_bind(id).build_query_as().fetch_optional(&app.pool).await?;
    error
        .map(Json)
        .ok_or_else(|| ApiError::not_found(format!("The ImportError with import_error_id: `{id}` was not found")))
}
