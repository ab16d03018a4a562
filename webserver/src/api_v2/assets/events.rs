//! Asset events and the runs they started.

use crate::api_v2::dag_runs::RunKey;
use crate::audit::Change;
use crate::auth::{Dags, Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::query::{Clause, Filter, Listing, Order, Page, Params, SortKey, key, tie_break};
use crate::request_body::RequestBody;
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{FromRow, Postgres, QueryBuilder};
use std::collections::HashMap;
use tradewind_metadata::asset_event;

#[derive(Debug, Serialize, FromRow)]
pub(super) struct Event {
    id: i32,
    asset_id: i32,
    uri: Option<String>,
    name: Option<String>,
    group: Option<String>,
    extra: Option<Value>,
    source_task_id: Option<String>,
    source_dag_id: Option<String>,
    source_run_id: Option<String>,
    source_map_index: Option<i32>,
    #[sqlx(skip)]
    created_dagruns: Vec<StartedRun>,
    timestamp: Timestamp,
    partition_key: Option<String>,
}

/// A run that consumed an event; `triggering`: the event was the last that it waited for.
#[derive(Debug, Serialize, FromRow)]
struct StartedRun {
    #[serde(skip)]
    event_id: i32,
    run_id: String,
    dag_id: String,
    logical_date: Option<Timestamp>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    state: Option<String>,
    data_interval_start: Option<Timestamp>,
    data_interval_end: Option<Timestamp>,
    partition_key: Option<String>,
    triggering: bool,
}

#[derive(Serialize)]
pub(super) struct Collection {
    asset_events: Vec<Event>,
    total_entries: i64,
}

const COLUMNS: &str = "e.id, e.asset_id, a.uri, a.name, a.\"group\", e.extra, e.source_task_id, e.source_dag_id, \
     e.source_run_id, e.source_map_index, e.timestamp, e.partition_key";
const SOURCE: &str = "asset_event e LEFT JOIN asset a ON a.id = e.asset_id";
const SORT_KEYS: &[SortKey] = &[
    tie_break(&[("e.id", "integer")]),
    key("source_task_id", &[("e.source_task_id", "text")]),
    key("source_dag_id", &[("e.source_dag_id", "text")]),
    key("source_run_id", &[("e.source_run_id", "text")]),
    key("source_map_index", &[("e.source_map_index", "integer")]),
    key("timestamp", &[("e.timestamp", "timestamptz")]),
];

pub(super) async fn list(State(app): State<App>, user: User, mut params: Params) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Asset)?;
    let mut filter = Filter::new();
    filter.of_dags_or_none(user.readable(), "e.source_dag_id");
    filter.int(&mut params, "asset_id", "e.asset_id");
    filter.text(&params, "source_dag_id", "e.source_dag_id");
    filter.text(&params, "source_task_id", "e.source_task_id");
    filter.text(&params, "source_run_id", "e.source_run_id");
    filter.int(&mut params, "source_map_index", "e.source_map_index");
    filter.pattern(&params, "name", "a.name");
    filter.time_range(&mut params, "timestamp", "e.timestamp");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["timestamp"]);
    params.check()?;
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    let (events, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { asset_events: complete(&app, user.readable(), events).await?, total_entries }))
}

pub(super) async fn upstream_of_run(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Asset)?;
    user.may_read(Resource::Dag)?;
    let run = RunKey::require(&app.pool, &dag_id, &run_id).await?;
    let mut filter = Filter::new();
    filter.of_dags_or_none(user.readable(), "e.source_dag_id");
    let consumed = Clause::sql("e.id IN (SELECT event_id FROM dagrun_asset_event WHERE dag_run_id = ");
    filter.push(consumed.bind_int(run.id.into()).then(")"));
    let order = Order::from_names(&mut params, &[key("id", &[("e.id", "integer")])], &["id".to_owned()]);
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    let (events, total_entries) = listing.page(&app.pool, Page { limit: i64::MAX, offset: 0 }).await?;
    Ok(Json(Collection { asset_events: complete(&app, user.readable(), events).await?, total_entries }))
}

/// An event that a person reports.
pub(super) async fn create(
    State(app): State<App>,
    user: User,
    params: Params,
    bytes: RequestBody,
) -> ApiResult<Json<Event>> {
    user.may_write(Resource::Asset)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "create_asset_event", method: "POST", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let reported = Reported::read(&mut body)?;
    let missing = || ApiError::not_found(format!("Asset with ID: `{}` was not found", reported.asset_id));
    let asset_id = i32::try_from(reported.asset_id).map_err(|_| missing())?;
    let mut transaction = app.pool.begin().await?;
    let asset: Option<i32> = sqlx::query_scalar("SELECT id FROM asset WHERE id = $1")
        .bind(asset_id)
        .fetch_optional(&mut *transaction)
        .await?;
    let asset = asset.ok_or_else(missing)?;
    let max_partitions = asset_event::max_partitions(&app.config).map_err(|error| ApiError::internal(&error))?;
    let Reported { extra, partition_key, .. } = reported;
    let id = asset_event::register_by_hand(&mut transaction, asset, extra, partition_key, max_partitions).await?;
    transaction.commit().await?;
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!("SELECT {COLUMNS} FROM {SOURCE} WHERE e.id = "));
    let mut event: Event = query.push_bind(id).build_query_as().fetch_one(&app.pool).await?;
    event.extra = event.extra.map(|extra| app.masker.redact(extra));
    Ok(Json(event))
}

struct Reported {
    asset_id: i64,
    extra: Map<String, Value>,
    partition_key: Option<String>,
}

impl Reported {
    fn read(body: &mut Body) -> ApiResult<Self> {
        body.require("asset_id");
        let asset_id = body.optional_int("asset_id").unwrap_or_default();
        let partition_key = body.optional_text("partition_key");
        if partition_key.as_ref().is_some_and(|key| key.trim().is_empty()) {
            body.break_pattern("partition_key", r"\S");
        }
        body.limit_length("partition_key", 250);
        body.refuse_null("extra", "dict_type", "Input should be a valid dictionary");
        // As in Airflow, only an event that says something more is marked.
        let extra = body.optional_object("extra").map(|mut extra| {
            extra.insert("from_rest_api".to_owned(), true.into());
            extra
        });
        // Only read with teams, which are off.
        body.optional_object("access_control");
        body.finish()?;
        Ok(Self { asset_id, extra: extra.unwrap_or_default(), partition_key })
    }
}

/// Adds the runs that each event started, as far as they may be read.
async fn complete(app: &App, readable: &Dags, mut events: Vec<Event>) -> ApiResult<Vec<Event>> {
    let ids: Vec<i32> = events.iter().map(|event| event.id).collect();
    let runs: Vec<StartedRun> = sqlx::query_as(include_str!("started_runs.sql")).bind(ids).fetch_all(&app.pool).await?;
    let mut by_event: HashMap<i32, Vec<StartedRun>> = HashMap::new();
    for run in runs.into_iter().filter(|run| readable.contains(&run.dag_id)) {
        by_event.entry(run.event_id).or_default().push(run);
    }
    for event in &mut events {
        event.created_dagruns = by_event.remove(&event.id).unwrap_or_default();
        event.extra = event.extra.take().map(|extra| app.masker.redact(extra));
    }
    Ok(events)
}
