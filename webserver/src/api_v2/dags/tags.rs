//! `/dagTags`.

use crate::auth::{Resource, User};
use crate::error::ApiResult;
use crate::query::{Clause, Filter, Listing, Order, Params, SortKey, key};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

const SORT_KEYS: &[SortKey] = &[key("name", &[("t.name", "text")])];
const TAGGED: &str = "SELECT FROM dag_tag tag JOIN dag d ON d.dag_id = tag.dag_id";
/// Each tag of a Dag that is there, once.
const SOURCE: &str =
    "(SELECT DISTINCT tag.name FROM dag_tag tag JOIN dag d ON d.dag_id = tag.dag_id WHERE NOT d.is_stale) t";

#[derive(Serialize)]
pub(super) struct Collection {
    tags: Vec<String>,
    total_entries: i64,
}

pub(super) async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let mut filter = Filter::new();
    if let Some(readable) = user.readable().condition("tag.dag_id") {
        filter.push(
            Clause::sql(format!("EXISTS ({TAGGED} WHERE tag.name = t.name AND NOT d.is_stale AND "))
                .join(readable)
                .then(")"),
        );
    }
    filter.pattern(&params, "tag_name", "t.name");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["name"]);
    params.check()?;
    let listing = Listing { columns: "t.name", source: SOURCE, filter, order };
    let (tags, total_entries) = listing.page::<(String,)>(&app.pool, page).await?;
    Ok(Json(Collection { tags: tags.into_iter().map(|(name,)| name).collect(), total_entries }))
}
