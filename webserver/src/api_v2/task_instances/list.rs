//! Task instances and lists of them.

use crate::api_v2::dag_runs::RunKey;
use crate::api_v2::dag_versions::DagVersion;
use crate::api_v2::jobs::Job;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::python;
use crate::query::{Clause, Filter, Listing, Order, Page, Params, RANGE, SortKey, Tables, key};
use crate::request_body::RequestBody;
use crate::state::App;
use crate::states::task_instance_states;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, Row as _};
use std::collections::HashMap;
use tradewind_airflow::executor_config;
use uuid::Uuid;

/// The columns of a task instance; see [`SOURCE`].
pub(crate) const COLUMNS: &str = include_str!("columns.sql");
/// The tables of a task instance `ti`, its run `dr`, its Dag `d` and what else is shown.
pub(crate) const SOURCE: &str = include_str!("source.sql");

/// What conditions and orders speak of. Every task instance has a run.
const TABLES: Tables = Tables {
    table: "task_instance ti",
    key: "ti.id",
    joins: &[
        ("dr", "JOIN dag_run dr ON dr.dag_id = ti.dag_id AND dr.run_id = ti.run_id"),
        ("v", "LEFT JOIN dag_version v ON v.id = ti.dag_version_id"),
    ],
};

const SORT_KEYS: &[SortKey] = &[
    key("id", &[("ti.id", "uuid")]),
    key("state", &[("ti.state", "text")]),
    key("duration", &[("ti.duration", "float8")]),
    key("start_date", &[("ti.start_date", "timestamptz")]),
    key("end_date", &[("ti.end_date", "timestamptz")]),
    key("map_index", &[("ti.map_index", "integer")]),
    key("try_number", &[("ti.try_number", "integer")]),
    key("logical_date", &[("dr.logical_date", "timestamptz")]),
    key("run_after", &[("dr.run_after", "timestamptz")]),
    key("data_interval_start", &[("dr.data_interval_start", "timestamptz")]),
    key("data_interval_end", &[("dr.data_interval_end", "timestamptz")]),
    key("rendered_map_index", &[("ti.rendered_map_index", "text"), ("ti.map_index", "integer")]),
    key("operator", &[("ti.operator", "text")]),
];

/// A task instance as the API shows it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TaskInstance {
    pub(crate) id: Uuid,
    pub(crate) task_id: String,
    pub(crate) dag_id: String,
    #[serde(rename = "dag_run_id")]
    run_id: String,
    pub(crate) map_index: i32,
    logical_date: Option<Timestamp>,
    run_after: Timestamp,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    duration: Option<f64>,
    state: Option<String>,
    try_number: i32,
    max_tries: i32,
    task_display_name: String,
    dag_display_name: String,
    hostname: Option<String>,
    unixname: Option<String>,
    pool: String,
    pool_slots: i32,
    queue: Option<String>,
    priority_weight: Option<i32>,
    operator: Option<String>,
    operator_name: Option<String>,
    #[serde(rename = "queued_when")]
    queued_dttm: Option<Timestamp>,
    #[serde(rename = "scheduled_when")]
    scheduled_dttm: Option<Timestamp>,
    pid: Option<i32>,
    executor: Option<String>,
    executor_config: String,
    note: Option<String>,
    rendered_map_index: Option<String>,
    rendered_fields: Value,
    trigger: Option<Trigger>,
    triggerer_job: Option<Job>,
    dag_version: Option<DagVersion>,
}

/// The trigger that a deferred task instance waits for; its arguments may hold secrets and are never shown.
#[derive(Debug, Clone, Serialize)]
struct Trigger {
    id: i32,
    classpath: String,
    kwargs: &'static str,
    created_date: Timestamp,
    queue: Option<String>,
    triggerer_id: Option<i32>,
}

impl FromRow<'_, PgRow> for TaskInstance {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            task_id: row.try_get("task_id")?,
            dag_id: row.try_get("dag_id")?,
            run_id: row.try_get("run_id")?,
            map_index: row.try_get("map_index")?,
            logical_date: row.try_get("logical_date")?,
            run_after: row.try_get("run_after")?,
            start_date: row.try_get("start_date")?,
            end_date: row.try_get("end_date")?,
            duration: row.try_get("duration")?,
            state: row.try_get("state")?,
            try_number: row.try_get("try_number")?,
            max_tries: row.try_get("max_tries")?,
            task_display_name: row.try_get("task_display_name")?,
            dag_display_name: row.try_get("dag_display_name")?,
            hostname: row.try_get("hostname")?,
            unixname: row.try_get("unixname")?,
            pool: row.try_get("pool")?,
            pool_slots: row.try_get("pool_slots")?,
            queue: row.try_get("queue")?,
            priority_weight: row.try_get("priority_weight")?,
            operator: row.try_get("operator")?,
            operator_name: row.try_get("operator_name")?,
            queued_dttm: row.try_get("queued_dttm")?,
            scheduled_dttm: row.try_get("scheduled_dttm")?,
            pid: row.try_get("pid")?,
            executor: row.try_get("executor")?,
            executor_config: executor_config(row)?,
            note: row.try_get("note")?,
            rendered_map_index: row.try_get("rendered_map_index")?,
            rendered_fields: row.try_get::<Option<Value>, _>("rendered_fields")?.unwrap_or_else(|| json!({})),
            trigger: Trigger::optional(row)?,
            triggerer_job: Job::optional(row)?,
            dag_version: DagVersion::optional(row)?,
        })
    }
}

/// `str()` of the executor configuration, which is stored as a Python pickle. One that only Python can read is shown as
/// empty.
pub(super) fn executor_config(row: &PgRow) -> sqlx::Result<String> {
    let pickled: Option<Vec<u8>> = row.try_get("executor_config")?;
    let Some(pickled) = pickled else { return Ok("None".to_owned()) };
    Ok(executor_config::unpickle(&pickled).map_or_else(|| "{}".to_owned(), |config| python::str_value(&config)))
}

impl Trigger {
    fn optional(row: &PgRow) -> sqlx::Result<Option<Self>> {
        let Some(id) = row.try_get("trigger_id")? else { return Ok(None) };
        Ok(Some(Self {
            id,
            classpath: row.try_get("trigger_classpath")?,
            kwargs: "{}",
            created_date: row.try_get("trigger_created_date")?,
            queue: row.try_get("trigger_queue")?,
            triggerer_id: row.try_get("trigger_triggerer_id")?,
        }))
    }
}

/// A list of task instances.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Collection {
    pub(crate) task_instances: Vec<TaskInstance>,
    pub(crate) total_entries: Option<i64>,
    total_entries_limit: Option<i64>,
    next_cursor: Option<String>,
    previous_cursor: Option<String>,
}

impl Collection {
    /// A list that is complete.
    pub(crate) fn whole(task_instances: Vec<TaskInstance>) -> Self {
        let total_entries = i64::try_from(task_instances.len()).ok();
        Self { task_instances, total_entries, ..Self::default() }
    }
}

/// The task instances of these ids, in their order.
pub(crate) async fn by_ids(executor: impl PgExecutor<'_>, ids: &[Uuid]) -> ApiResult<Vec<TaskInstance>> {
    let mut query = sqlx::QueryBuilder::new(format!("SELECT {COLUMNS} FROM {SOURCE} WHERE ti.id = ANY("));
    let found: Vec<TaskInstance> = query.push_bind(ids).push(")").build_query_as().fetch_all(executor).await?;
    let mut found: HashMap<Uuid, TaskInstance> = found.into_iter().map(|instance| (instance.id, instance)).collect();
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

pub(super) async fn list(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let mut filter = Filter::new();
    filter.of_dags(user.readable(), "ti.dag_id");
    filter.path("ti.run_id", &run_id);
    filter.path("ti.dag_id", &dag_id);
    filter.text(&params, "task_id", "ti.task_id");
    filter.pattern(&params, "task_display_name", "COALESCE(ti.task_display_name, ti.task_id)");
    filter.pattern(&params, "dag_id", "ti.dag_id");
    filter.pattern(&params, "run_id", "ti.run_id");
    instance_filter(&mut filter, &mut params);
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["map_index"]);
    params.check()?;
    let run = if run_id == "~" { None } else { Some(run_of(&app, &dag_id, &run_id).await?) };
    if dag_id != "~" {
        let version = run.and_then(|run| run.pinned_dag_version());
        let dag = app.dags.of_run(&app.pool, &dag_id, version).await?;
        if let Some(group_id) = params.text("task_group_id") {
            let group = dag.groups.get(&group_id).ok_or_else(|| {
                let message = format!("Task group {group_id} not found");
                ApiError::not_found(json!({"reason": "not_found", "message": message}))
            })?;
            let ids = dag.task_ids_within(group).into_iter().collect();
            filter.push(Clause::sql("ti.task_id = ANY(").bind_texts(ids).then(")"));
        }
    }
    page_of(&app, &params, filter, order, page).await.map(Json)
}

async fn page_of(app: &App, params: &Params, filter: Filter, order: Order, page: Page) -> ApiResult<Collection> {
    let listing = Listing { columns: COLUMNS, source: SOURCE, filter, order };
    if let Some(cursor) = params.text("cursor") {
        let page = listing.at_cursor::<TaskInstance>(&app.pool, &cursor, page.limit).await?;
        return Ok(Collection {
            task_instances: page.rows,
            total_entries: Some(page.total_entries),
            total_entries_limit: Some(page.total_entries_limit),
            next_cursor: page.next_cursor,
            previous_cursor: page.previous_cursor,
        });
    }
    let (task_instances, total) = listing.page_of(&TABLES, &app.pool, page).await?;
    Ok(Collection { task_instances, total_entries: Some(total), ..Collection::default() })
}

async fn run_of(app: &App, dag_id: &str, run_id: &str) -> ApiResult<RunKey> {
    if dag_id == "~" {
        return Err(ApiError::bad_request("dag_id is required when dag_run_id is specified"));
    }
    RunKey::find(&app.pool, dag_id, run_id).await?.ok_or_else(|| {
        ApiError::not_found(format!("DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"))
    })
}

pub(super) async fn list_mapped(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let mut filter = Filter::new();
    filter.equal_text("ti.dag_id", &dag_id);
    filter.equal_text("ti.run_id", &run_id);
    filter.equal_text("ti.task_id", &task_id);
    filter.push(Clause::sql("ti.map_index >= 0"));
    instance_filter(&mut filter, &mut params);
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["map_index"]);
    params.check()?;
    check_mapped(&app, &dag_id, &run_id, &task_id).await?;
    page_of(&app, &Params::default(), filter, order, page).await.map(Json)
}

/// A task without mapped instances is either not there, not mapped, or not expanded yet.
async fn check_mapped(app: &App, dag_id: &str, run_id: &str, task_id: &str) -> ApiResult<()> {
    let expanded: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM task_instance WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND map_index >= 0)",
    )
    .bind(dag_id)
    .bind(run_id)
    .bind(task_id)
    .fetch_one(&app.pool)
    .await?;
    if expanded {
        return Ok(());
    }
    let run = RunKey::find(&app.pool, dag_id, run_id).await?;
    let dag = app.dags.of_run(&app.pool, dag_id, run.and_then(|run| run.pinned_dag_version())).await?;
    match dag.tasks.get(task_id) {
        None => Err(ApiError::not_found(format!("Task id {task_id} not found"))),
        Some(task) if !task.needs_expansion() => Err(ApiError::not_found(format!("Task id {task_id} is not mapped"))),
        Some(_) => Ok(()),
    }
}

/// The filters that all lists of task instances have.
fn instance_filter(filter: &mut Filter, params: &mut Params) {
    for name in ["run_after", "logical_date", "start_date", "end_date", "updated_at"] {
        filter.time_range(params, name, time_column(name));
    }
    filter.float_range(params, "duration", "ti.duration");
    let states = params.states("state", "state", &task_instance_states(), &["no_status", "none"]);
    filter.states(states, "ti.state");
    filter.texts(params, "pool", "ti.pool");
    filter.pattern(params, "pool_name", "ti.pool");
    filter.texts(params, "queue", "ti.queue");
    filter.pattern(params, "queue_name", "ti.queue");
    filter.texts(params, "executor", "ti.executor");
    filter.ints(params, "version_number", "v.version_number");
    filter.ints(params, "try_number", "ti.try_number");
    filter.texts(params, "operator", "ti.operator");
    filter.pattern(params, "operator_name", "ti.custom_operator_name");
    filter.ints(params, "map_index", "ti.map_index");
    filter.pattern(
        params,
        "rendered_map_index",
        "COALESCE(ti.rendered_map_index, CASE WHEN ti.map_index >= 0 THEN ti.map_index::text END)",
    );
}

fn time_column(name: &str) -> &'static str {
    match name {
        "run_after" => "dr.run_after",
        "logical_date" => "dr.logical_date",
        "start_date" => "ti.start_date",
        "end_date" => "ti.end_date",
        _ => "ti.updated_at",
    }
}

pub(super) async fn list_batch(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id)): Path<(String, String)>,
    bytes: RequestBody,
) -> ApiResult<Json<Collection>> {
    super::super::bulk::require_wildcard("dag_id", &dag_id)?;
    super::super::bulk::require_wildcard("dag_run_id", &run_id)?;
    let mut body = Body::from_bytes(&bytes)?;
    let path = [("dag_id", dag_id.as_str()), ("dag_run_id", run_id.as_str())];
    crate::audit::Change { event: "get_task_instances_batch", method: "POST", path: &path, body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    user.may_read(Resource::Dag)?;
    let mut filter = Filter::new();
    filter.of_dags(user.readable(), "ti.dag_id");
    let lists = [
        ("dag_ids", "ti.dag_id"),
        ("dag_run_ids", "ti.run_id"),
        ("task_ids", "ti.task_id"),
        ("pool", "ti.pool"),
        ("queue", "ti.queue"),
        ("executor", "ti.executor"),
    ];
    for (name, column) in lists {
        filter.one_of(body.optional_texts(name).unwrap_or_default(), column);
    }
    filter.states(body.optional_words("state", &task_instance_states()).unwrap_or_default(), "ti.state");
    for name in ["run_after", "logical_date", "start_date", "end_date"] {
        for (suffix, operator) in RANGE {
            if let Some(time) = body.optional_aware_time(&format!("{name}_{suffix}")) {
                filter.time_bound(time_column(name), operator, time, false);
            }
        }
    }
    for (suffix, operator) in RANGE {
        if let Some(number) = body.optional_float(&format!("duration_{suffix}")).filter(|number| *number != 0.0) {
            filter.float_bound("ti.duration", operator, number);
        }
    }
    let page = Page { offset: body.count_or("page_offset", 0), limit: body.count_or("page_limit", 100) };
    let name = body.optional_text("order_by").unwrap_or_else(|| "id".to_owned());
    body.finish()?;
    let order = Order::from_names(&mut params, &SORT_KEYS[..6], &[name]);
    params.check()?;
    page_of(&app, &Params::default(), filter, order, page).await.map(Json)
}
