//! `…/hitlDetails`: questions that tasks ask people.

mod answer;
mod attempt;

use crate::api_v2::task_instances::{COLUMNS as INSTANCE_COLUMNS, SOURCE as INSTANCE_SOURCE, TaskInstance};
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Clause, Filter, Listing, Order, Params, PathInt, SortKey, key};
use crate::state::App;
use crate::states::task_instance_states;
use crate::timestamp::Timestamp;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder, Row as _};
use std::collections::HashMap;
use std::sync::LazyLock;
use uuid::Uuid;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/dags/{dag_id}/dagRuns/{dag_run_id}/hitlDetails", get(list))
        .route(
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails",
            get(read).patch(answer::answer),
        )
        .route(
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails/tries/{try_number}",
            get(attempt::read),
        )
}

/// A question and its answer so far.
#[derive(Debug, Serialize)]
struct Question {
    options: Value,
    subject: String,
    body: Option<String>,
    defaults: Option<Value>,
    multiple: bool,
    params: Value,
    assigned_users: Value,
    created_at: Timestamp,
    responded_by_user: Option<Value>,
    responded_at: Option<Timestamp>,
    chosen_options: Option<Value>,
    params_input: Value,
    response_received: bool,
}

impl FromRow<'_, PgRow> for Question {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let value = |name: &str| row.try_get::<Option<Value>, _>(name).map(Option::unwrap_or_default);
        let responded_at: Option<Timestamp> = row.try_get("hitl_responded_at")?;
        let not_null = |value: Value| Some(value).filter(|value| !value.is_null());
        Ok(Self {
            options: value("hitl_options")?,
            subject: row.try_get("hitl_subject")?,
            body: row.try_get("hitl_body")?,
            defaults: not_null(value("hitl_defaults")?),
            multiple: row.try_get::<Option<bool>, _>("hitl_multiple")?.unwrap_or_default(),
            params: params(value("hitl_params")?),
            assigned_users: not_null(value("hitl_assignees")?).unwrap_or_else(|| json!([])),
            created_at: row.try_get("hitl_created_at")?,
            responded_by_user: not_null(value("hitl_responded_by")?),
            responded_at,
            chosen_options: not_null(value("hitl_chosen_options")?),
            params_input: value("hitl_params_input")?,
            response_received: responded_at.is_some(),
        })
    }
}

/// A question and the task instance that asks it.
#[derive(Debug, Serialize)]
struct HitlDetail {
    #[serde(flatten)]
    question: Question,
    task_instance: TaskInstance,
}

impl FromRow<'_, PgRow> for HitlDetail {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self { question: Question::from_row(row)?, task_instance: TaskInstance::from_row(row)? })
    }
}

/// Plain values take the form of parameters.
fn params(value: Value) -> Value {
    let Value::Object(fields) = value else { return json!({}) };
    let whole = |value: Value| {
        let is_param = ["description", "schema", "value"].iter().all(|key| value.get(key).is_some());
        if is_param { value } else { json!({"value": value, "description": null, "schema": {}}) }
    };
    Value::Object(fields.into_iter().map(|(name, value)| (name, whole(value))).collect::<Map<_, _>>())
}

#[derive(Serialize)]
struct Collection {
    hitl_details: Vec<HitlDetail>,
    total_entries: i64,
}

/// The columns of a question `h`.
const QUESTION_COLUMNS: &str = "h.options AS hitl_options, h.subject AS hitl_subject, h.body AS hitl_body, \
     h.defaults AS hitl_defaults, h.multiple AS hitl_multiple, h.params AS hitl_params, h.assignees AS hitl_assignees, \
     h.created_at AS hitl_created_at, h.responded_at AS hitl_responded_at, h.responded_by AS hitl_responded_by, \
     h.chosen_options AS hitl_chosen_options, h.params_input AS hitl_params_input";
static COLUMNS: LazyLock<String> = LazyLock::new(|| format!("{QUESTION_COLUMNS}, {INSTANCE_COLUMNS}"));
static SOURCE: LazyLock<String> = LazyLock::new(|| format!("{INSTANCE_SOURCE} JOIN hitl_detail h ON h.ti_id = ti.id"));
const SORT_KEYS: &[SortKey] = &[
    key("ti_id", &[("h.ti_id", "uuid")]),
    key("subject", &[("h.subject", "text")]),
    key("responded_at", &[("h.responded_at", "timestamptz")]),
    key("created_at", &[("h.created_at", "timestamptz")]),
    key("responded_by_user_id", &[("h.responded_by->>'id'", "text")]),
    key("responded_by_user_name", &[("h.responded_by->>'name'", "text")]),
    key("dag_id", &[("ti.dag_id", "text")]),
    key("run_id", &[("ti.run_id", "text")]),
    key("task_display_name", &[("COALESCE(ti.task_display_name, ti.task_id)", "text")]),
    key("run_after", &[("dr.run_after", "timestamptz")]),
    key("rendered_map_index", &[("ti.rendered_map_index", "text")]),
    key("task_instance_operator", &[("ti.operator", "text")]),
    key("task_instance_state", &[("ti.state", "text")]),
];

async fn list(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Dag)?;
    let mut filter = Filter::new();
    filter.of_dags(user.readable(), "ti.dag_id");
    filter.path("ti.dag_id", &dag_id);
    filter.path("ti.run_id", &run_id);
    filter.pattern(&params, "dag_id", "ti.dag_id");
    filter.text(&params, "task_id", "ti.task_id");
    filter.pattern(&params, "task_id", "ti.task_id");
    filter.int(&mut params, "map_index", "ti.map_index");
    let states = params.states("state", "state", &task_instance_states(), &["no_status", "none"]);
    filter.states(states, "ti.state");
    if let Some(received) = params.bool("response_received") {
        let clause = if received { "h.responded_at IS NOT NULL" } else { "h.responded_at IS NULL" };
        filter.push(Clause::sql(clause));
    }
    filter.texts(&params, "responded_by_user_id", "h.responded_by->>'id'");
    filter.texts(&params, "responded_by_user_name", "h.responded_by->>'name'");
    filter.search(&params, "subject_search", "", "h.subject", true);
    filter.search(&params, "body_search", "", "h.body", true);
    filter.time_range(&mut params, "created_at", "h.created_at");
    let page = params.page(&app);
    let order = Order::from_params(&mut params, SORT_KEYS, &["ti_id"]);
    params.check()?;
    let listing = Listing { columns: &COLUMNS, source: &SOURCE, filter, order };
    let (hitl_details, total_entries) = listing.page(&app.pool, page).await?;
    Ok(Json(Collection { hitl_details, total_entries }))
}

async fn read(
    State(app): State<App>,
    user: User,
    Path((dag_id, run_id, task_id, map_index)): Path<(String, String, String, String)>,
) -> ApiResult<Json<HitlDetail>> {
    user.may_read(Resource::Dag)?;
    let map_index = PathInt::parse("map_index", &map_index)?;
    let instance = instance(&app, &dag_id, &run_id, &task_id, map_index).await?;
    let mut query: QueryBuilder<Postgres> =
        QueryBuilder::new(format!("SELECT {} FROM {} WHERE ti.id = ", *COLUMNS, *SOURCE));
    let detail = query.push_bind(instance).build_query_as().fetch_optional(&app.pool).await?;
    detail.map(Json).ok_or_else(|| without_question(instance))
}

/// The id of a task instance.
async fn instance(app: &App, dag_id: &str, run_id: &str, task_id: &str, map_index: i32) -> ApiResult<Uuid> {
    let id: Option<Uuid> = sqlx::query_scalar(
        "SELECT id FROM task_instance WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND map_index = $4",
    )
    .bind(dag_id)
    .bind(run_id)
    .bind(task_id)
    .bind(map_index)
    .fetch_optional(&app.pool)
    .await?;
    id.ok_or_else(|| ApiError::not_found(super::task_instances::missing(dag_id, run_id, task_id, map_index)))
}

fn without_question(instance: Uuid) -> ApiError {
    ApiError::not_found(format!("Human-in-the-loop detail does not exist for Task Instance with id {instance}"))
}

/// The unanswered questions of Dags.
pub(crate) async fn pending_by_dag(pool: &PgPool, dag_ids: &[String]) -> ApiResult<HashMap<String, Vec<Value>>> {
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!(
        "SELECT {} FROM {} WHERE h.responded_at IS NULL AND ti.state IN ('deferred', 'awaiting_input') AND ti.dag_id = ANY(",
        *COLUMNS, *SOURCE
    ));
    query.push_bind(dag_ids).push(") ORDER BY ti.dag_id, h.created_at");
    let details: Vec<HitlDetail> = query.build_query_as().fetch_all(pool).await?;
    let mut by_dag: HashMap<String, Vec<Value>> = HashMap::new();
    for detail in details {
        let dag_id = detail.task_instance.dag_id.clone();
        let detail = serde_json::to_value(detail).map_err(|error| ApiError::internal(&error))?;
        by_dag.entry(dag_id).or_default().push(detail);
    }
    Ok(by_dag)
}
