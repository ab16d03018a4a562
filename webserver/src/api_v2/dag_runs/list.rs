//! Lists of Dag runs.

use super::partitions::Days;
use super::{COLUMNS, DagRun, SOURCE, with_versions};
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::ApiResult;
use crate::query::{Clause, Filter, Listing, Order, Page, Params, RANGE, SortKey, key};
use crate::request_body::RequestBody;
use crate::state::App;
use crate::states::{dag_run_states, dag_run_types};
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

const SORT_KEYS: &[SortKey] = &[
    key("id", &[("dr.id", "integer")]),
    key("state", &[("dr.state", "text")]),
    key("dag_id", &[("dr.dag_id", "text")]),
    key("run_id", &[("dr.run_id", "text")]),
    key("dag_run_id", &[("dr.run_id", "text")]),
    key("logical_date", &[("dr.logical_date", "timestamptz")]),
    key("run_after", &[("dr.run_after", "timestamptz")]),
    key("start_date", &[("dr.start_date", "timestamptz")]),
    key("end_date", &[("dr.end_date", "timestamptz")]),
    key("updated_at", &[("dr.updated_at", "timestamptz")]),
    key("conf", &[("dr.conf", "jsonb")]),
    key("partition_date", &[("dr.partition_date", "timestamptz")]),
    key("duration", &[(DURATION, "numeric")]),
];
/// Those of them that a list by `POST` has, which come first.
const BATCH_SORT_KEYS: usize = 11;
const DURATION: &str = "EXTRACT(EPOCH FROM dr.end_date - dr.start_date)";

#[derive(Debug, Serialize, Default)]
pub(super) struct Collection {
    pub(super) dag_runs: Vec<DagRun>,
    pub(super) total_entries: Option<i64>,
    pub(super) total_entries_limit: Option<i64>,
    pub(super) next_cursor: Option<String>,
    pub(super) previous_cursor: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let mut filter = filter(&mut params, &dag_id);
    filter.of_dags(user.readable(), "dr.dag_id");
    let days = Days::read(&mut params);
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["id"]);
    params.check()?;
    days.narrow(&app, &dag_id, &mut filter).await?;
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    if let Some(cursor) = params.text("cursor") {
        let page = listing.at_cursor::<DagRun>(&app.pool, &cursor, page.limit).await?;
        return Ok(Json(Collection {
            dag_runs: with_versions(&app.pool, page.rows).await?,
            total_entries: Some(page.total_entries),
            total_entries_limit: Some(page.total_entries_limit),
            next_cursor: page.next_cursor,
            previous_cursor: page.previous_cursor,
        }));
    }
    collection(&app, &listing, page).await.map(Json)
}

async fn collection(app: &App, listing: &Listing<'_>, page: Page) -> ApiResult<Collection> {
    let (runs, total) = listing.page::<DagRun>(&app.pool, page).await?;
    let dag_runs = with_versions(&app.pool, runs).await?;
    Ok(Collection { dag_runs, total_entries: Some(total), ..Collection::default() })
}

fn filter(params: &mut Params, dag_id: &str) -> Filter {
    let mut filter = Filter::new();
    filter.path("dr.dag_id", dag_id);
    for name in ["run_after", "logical_date", "start_date", "end_date", "updated_at"] {
        filter.time_range(params, name, time_column(name));
    }
    filter.float_range(params, "duration", DURATION);
    contains_conf(&mut filter, params.text("conf_contains"));
    let states = params.states("state", "state", &dag_run_states(), &["none"]);
    filter.states(states, "dr.state");
    let types = params.states("run_type", "run type", &dag_run_types(), &["none"]);
    filter.states(types, "dr.run_type");
    let versions = params.ints("dag_version");
    if !versions.is_empty() {
        let numbers = versions.iter().map(ToString::to_string).collect();
        let clause = Clause::sql(
            "EXISTS (SELECT FROM dag_version v WHERE v.id = dr.created_dag_version_id AND v.version_number::text = ANY(",
        );
        filter.push(clause.bind_texts(numbers).then("))"));
    }
    filter.text(params, "bundle_version", "dr.bundle_version");
    filter.pattern(params, "run_id", "dr.run_id");
    filter.pattern(params, "triggering_user_name", "dr.triggering_user_name");
    filter.pattern(params, "dag_id", "dr.dag_id");
    filter.search(params, "partition_key_pattern", "partition_key_prefix_pattern", "dr.partition_key", false);
    if let Some(asset) = params.text("consuming_asset_pattern").filter(|asset| !asset.is_empty()) {
        filter.push(consumes(&asset));
    }
    filter
}

fn time_column(name: &str) -> &'static str {
    match name {
        "run_after" => "dr.run_after",
        "logical_date" => "dr.logical_date",
        "start_date" => "dr.start_date",
        "end_date" => "dr.end_date",
        _ => "dr.updated_at",
    }
}

fn contains_conf(filter: &mut Filter, text: Option<String>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        filter.push(Clause::sql("dr.conf::text LIKE '%' || ").bind_text(text).then(" || '%'"));
    }
}

/// Runs that an event of an asset of that name or URI started.
fn consumes(asset: &str) -> Clause {
    Clause::sql(
        "EXISTS (SELECT FROM dagrun_asset_event de JOIN asset_event e ON e.id = de.event_id \
         JOIN asset a ON a.id = e.asset_id WHERE de.dag_run_id = dr.id AND (strpos(lower(a.name), lower(",
    )
    .bind_text(asset)
    .then(")) > 0 OR strpos(lower(a.uri), lower(")
    .bind_text(asset)
    .then(")) > 0))")
}

pub(super) async fn list_batch(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(dag_id): Path<String>,
    bytes: RequestBody,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    super::super::bulk::require_wildcard("dag_id", &dag_id)?;
    let mut body = Body::from_bytes(&bytes)?;
    let names: Vec<String> = body.optional_text("order_by").into_iter().collect();
    let page = Page { offset: body.count_or("page_offset", 0), limit: body.count_or("page_limit", 100) };
    let mut filter = Filter::new();
    filter.of_dags(user.readable(), "dr.dag_id");
    filter.one_of(body.optional_texts("dag_ids").unwrap_or_default(), "dr.dag_id");
    filter.states(body.optional_words("states", &dag_run_states()).unwrap_or_default(), "dr.state");
    for name in ["run_after", "logical_date", "start_date", "end_date"] {
        for (suffix, operator) in RANGE {
            if let Some(time) = body.optional_aware_time(&format!("{name}_{suffix}")) {
                filter.time_bound(time_column(name), operator, time, false);
            }
        }
    }
    for (suffix, operator) in RANGE {
        if let Some(number) = body.optional_float(&format!("duration_{suffix}")).filter(|number| *number != 0.0) {
            filter.float_bound(DURATION, operator, number);
        }
    }
    contains_conf(&mut filter, body.optional_text("conf_contains"));
    body.finish()?;
    let names = if names.is_empty() { vec!["id".to_owned()] } else { names };
    let order = Order::from_names(&mut params, &SORT_KEYS[..BATCH_SORT_KEYS], &names);
    params.check()?;
    collection(&app, &Listing { columns: COLUMNS, source: SOURCE, filter, order }, page).await.map(Json)
}
