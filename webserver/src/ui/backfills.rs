//! `/ui/backfills`.

use crate::api_v2::backfills::{COLUMNS, Collection, SORT_KEYS, SOURCE};
use crate::auth::{Resource, User};
use crate::error::ApiResult;
use crate::query::{Clause, Filter, Listing, Order, Params};
use crate::state::App;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/backfills", get(list))
}

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let mut filter = Filter::new();
    filter.of_dags(user.readable(), "b.dag_id");
    filter.text(&params, "dag_id", "b.dag_id");
    if let Some(active) = params.bool("active") {
        filter.push(Clause::sql(if active { "b.completed_at IS NULL" } else { "b.completed_at IS NOT NULL" }));
    }
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["id"]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    let (backfills, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { backfills, total_entries }))
}
