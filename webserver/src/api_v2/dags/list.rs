//! The list of Dags and its filters, shared by the public API and the UI's own.

use super::{COLUMNS, Dag, DagRow};
use crate::auth::{Dags, Resource, User};
use crate::error::ApiResult;
use crate::query::{Clause, Filter, Listing, Order, Params, SortKey, key};
use crate::state::App;
use crate::states::dag_run_states;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

/// Names that Dags can be sorted by.
pub(crate) const SORT_KEYS: &[SortKey] = &[
    key("dag_id", &[("d.dag_id", "text")]),
    key("dag_display_name", &[("COALESCE(d.dag_display_name, d.dag_id)", "text")]),
    key("next_dagrun", &[("d.next_dagrun", "timestamptz")]),
    key("last_run_state", &[("latest.state", "text")]),
    key("last_run_start_date", &[("latest.start_date", "timestamptz")]),
];

/// The latest run of each Dag is the one made last.
const WITH_LATEST_RUN: &str = "dag d LEFT JOIN LATERAL (SELECT dr.id, dr.state, dr.start_date, dr.end_date \
     FROM dag_run dr WHERE dr.dag_id = d.dag_id ORDER BY dr.id DESC LIMIT 1) latest ON TRUE";

#[derive(Serialize)]
pub(crate) struct Collection {
    pub(super) dags: Vec<Dag>,
    pub(super) total_entries: i64,
}

/// Which Dags are listed.
#[derive(Debug)]
pub(crate) struct DagFilter {
    pub(crate) filter: Filter,
    needs_latest_run: bool,
}

impl DagFilter {
    /// Reads the filters that all lists of Dags have; some of `dags` are listed.
    pub(crate) fn from_params(params: &mut Params, user: &User, dags: &Dags) -> Self {
        let mut filter = Filter::new();
        filter.of_dags(dags, "d.dag_id");
        if params.bool("exclude_stale").unwrap_or(true) {
            filter.push(Clause::sql("NOT d.is_stale"));
        }
        filter.bool(params, "paused", "d.is_paused");
        filter.bool(params, "has_import_errors", "d.has_import_errors");
        filter.pattern(params, "dag_id", "d.dag_id");
        filter.pattern(params, "dag_display_name", "COALESCE(d.dag_display_name, d.dag_id)");
        filter.text(params, "bundle_name", "d.bundle_name");
        filter.text(params, "bundle_version", "d.bundle_version");
        tags(params, &mut filter);
        owners(params, &mut filter);
        favorite(params, user, &mut filter);
        assets(params, &mut filter);
        let needs_latest_run = latest_run(params, &mut filter);
        Self { filter, needs_latest_run }
    }

    /// Reads the filters of a request that changes Dags; it has no others.
    pub(crate) fn of_changes(params: &mut Params, dags: &Dags) -> Self {
        let mut filter = Filter::new();
        filter.of_dags(dags, "d.dag_id");
        if params.bool("exclude_stale").unwrap_or(true) {
            filter.push(Clause::sql("NOT d.is_stale"));
        }
        filter.bool(params, "paused", "d.is_paused");
        filter.pattern(params, "dag_id", "d.dag_id");
        tags(params, &mut filter);
        owners(params, &mut filter);
        Self { filter, needs_latest_run: false }
    }

    /// The tables that the filter speaks of.
    pub(crate) fn source(&self) -> &'static str {
        if self.needs_latest_run { WITH_LATEST_RUN } else { "dag d" }
    }
}

fn tags(params: &mut Params, filter: &mut Filter) {
    let tags = params.texts("tags");
    let all = params.literal("tags_match_mode", &["any", "all"]).as_deref() == Some("all");
    if tags.is_empty() {
        return;
    }
    // One condition for however many tags.
    let operator = if all { "@>" } else { "&&" };
    let own = format!("ARRAY(SELECT t.name::text FROM dag_tag t WHERE t.dag_id = d.dag_id) {operator} ");
    filter.push(Clause::sql(own).bind_texts(tags));
}

fn owners(params: &Params, filter: &mut Filter) {
    let owners = params.texts("owners");
    if !owners.is_empty() {
        let contains = |owner: String| Clause::sql("d.owners ILIKE ").bind_text(format!("%{}%", escape_like(&owner)));
        filter.push(Clause::any(owners.into_iter().map(contains)));
    }
}

fn favorite(params: &mut Params, user: &User, filter: &mut Filter) {
    if let Some(wanted) = params.bool("is_favorite") {
        let negation = if wanted { "" } else { "NOT " };
        let favorite =
            format!("{negation}EXISTS (SELECT FROM dag_favorite f WHERE f.dag_id = d.dag_id AND f.user_id = ");
        filter.push(Clause::sql(favorite).bind_text(&user.name).then(")"));
    }
}

fn assets(params: &mut Params, filter: &mut Filter) {
    const REFERENCES: &str = "EXISTS (SELECT FROM dag_schedule_asset_reference r";
    if let Some(wanted) = params.bool("has_asset_schedule") {
        let negation = if wanted { "" } else { "NOT " };
        filter.push(Clause::sql(format!("{negation}{REFERENCES} WHERE r.dag_id = d.dag_id)")));
    }
    if let Some(asset) = params.text("asset_dependency") {
        let pattern = format!("%{}%", escape_like(&asset));
        let clause = Clause::sql(format!(
            "{REFERENCES} JOIN asset a ON a.id = r.asset_id WHERE r.dag_id = d.dag_id AND (a.name ILIKE "
        ))
        .bind_text(&pattern)
        .then(" OR a.uri ILIKE ")
        .bind_text(&pattern)
        .then("))");
        filter.push(clause);
    }
}

/// Filters on the latest run; true when there are any, or when the list is sorted by it.
fn latest_run(params: &mut Params, filter: &mut Filter) -> bool {
    let mut filtered = false;
    if let Some(state) = params.word("last_dag_run_state", &dag_run_states()) {
        filter.equal_text("latest.state", &state);
        filtered = true;
    }
    let ranges = [("dag_run_start_date", "latest.start_date"), ("dag_run_end_date", "latest.end_date")];
    for (name, column) in ranges {
        let given = params.pairs().iter().any(|(key, _)| key.starts_with(name));
        if given {
            filter.time_range(params, name, column);
            filtered = true;
        }
    }
    let sorts = params.texts("order_by");
    filtered || sorts.iter().any(|sort| sort.trim_start_matches('-').starts_with("last_run_"))
}

/// `%`, `_` and `\` of user input taken literally.
fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

pub(super) async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let mut filter = DagFilter::from_params(&mut params, &user, user.readable());
    let states = params.states("dag_run_state", "state", &dag_run_states(), &["none"]);
    if !states.is_empty() {
        filter.filter.states(states, "latest.state");
        filter.needs_latest_run = true;
    }
    filter.filter.texts(&params, "timetable_type", "d.timetable_type");
    page(&app, &mut params, filter).await.map(Json)
}

pub(super) async fn page(app: &App, params: &mut Params, filter: DagFilter) -> ApiResult<Collection> {
    let page = params.page(app);
    let order = Order::from_params(params, SORT_KEYS, &["dag_id"]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: filter.source(), filter: filter.filter, order };
    let (dags, total_entries) = listing.page::<DagRow>(&app.pool, page).await?;
    Ok(Collection { dags: dags.into_iter().map(|dag| dag.with_computed(app)).collect(), total_entries })
}
