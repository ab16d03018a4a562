//! Tradewind's own API, `/tradewind/v1`: what Airflow's has no place for.
//!
//! Authentication, errors and pages are those of Airflow's REST API v2. `openapi.json` describes it.

mod explain;

use crate::state::App;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

/// Describes the API.
const OPENAPI: &str = include_str!("openapi.json");

/// Routes under `/tradewind/v1`.
pub(crate) fn routes() -> Router<App> {
    let document = async || ([(CONTENT_TYPE, "application/json")], OPENAPI);
    Router::new().route("/openapi.json", get(document)).merge(explain::routes())
}
