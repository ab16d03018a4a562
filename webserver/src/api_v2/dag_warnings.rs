//! `/dagWarnings`.

use crate::auth::{Resource, User};
use crate::error::ApiResult;
use crate::query::{Filter, Listing, Order, Params, SortKey, key};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::FromRow;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/dagWarnings", get(list))
}

#[derive(Serialize, FromRow)]
struct Warning {
    dag_id: String,
    warning_type: String,
    message: String,
    timestamp: Timestamp,
    dag_display_name: String,
}

#[derive(Serialize)]
struct Collection {
    dag_warnings: Vec<Warning>,
    total_entries: i64,
}

const TYPES: [&str; 3] = ["asset conflict", "non-existent pool", "runtime varying value"];
const SORT_KEYS: &[SortKey] = &[
    key("dag_id", &[("w.dag_id", "text")]),
    key("warning_type", &[("w.warning_type", "text")]),
    key("message", &[("w.message", "text")]),
    key("timestamp", &[("w.timestamp", "timestamptz")]),
];

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let mut filter = Filter::new();
    filter.of_dags(user.readable(), "w.dag_id");
    if let Some(kind) = params.word("warning_type", &TYPES) {
        filter.equal_text("w.warning_type", &kind);
    }
    filter.text(&params, "dag_id", "w.dag_id");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["dag_id"]);
    params.check()?;
    let listing = Listing {
        columns: "w.dag_id, w.warning_type, w.message, w.timestamp, \
                  COALESCE(d.dag_display_name, d.dag_id) AS dag_display_name",
        source: "dag_warning w JOIN dag d ON d.dag_id = w.dag_id",
        filter,
        order,
    };
    let (dag_warnings, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { dag_warnings, total_entries }))
}
