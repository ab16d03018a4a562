//! `/ui/teams`: there are none unless `[core] multi_team` is set.

use crate::auth::{TeamRights, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Clause, Filter, Listing, Order, Params, SortKey, key};
use crate::state::App;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::FromRow;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/teams", get(list))
}

#[derive(Serialize, FromRow)]
struct Team {
    name: String,
}

#[derive(Serialize)]
struct Collection {
    teams: Vec<Team>,
    total_entries: i64,
}

const SORT_KEYS: &[SortKey] = &[key("name", &[("t.name", "text")])];

async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["name"]);
    // Airflow looks at names to order by when it makes the statement, after all other checks.
    params.check_values()?;
    if !app.options.multi_team {
        return Err(ApiError::forbidden("Multi-team mode is not configured in the Airflow environment"));
    }
    params.check()?;
    let mut filter = Filter::new();
    if let TeamRights::Of(teams) = user.teams() {
        filter.push(Clause::sql("t.name = ANY(").bind_texts(teams.iter().cloned().collect()).then(")"));
    }
    let listing = Listing { columns: "t.name", source: "team t", filter, order };
    let (teams, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { teams, total_entries }))
}
