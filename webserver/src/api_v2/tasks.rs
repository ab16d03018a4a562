//! `/dags/{dag_id}/tasks`: the tasks of a Dag's latest version.

use crate::auth::{Resource, User};
use crate::dag_params;
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::serialized_dag::{SerializedDag, Task, timestamp};
use crate::state::App;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::cmp::Ordering;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/dags/{dag_id}/tasks", get(list)).route("/dags/{dag_id}/tasks/{task_id}", get(read))
}

const SORTABLE: [&str; 20] = [
    "task_id",
    "task_display_name",
    "owner",
    "start_date",
    "end_date",
    "trigger_rule",
    "depends_on_past",
    "wait_for_downstream",
    "retries",
    "queue",
    "pool",
    "pool_slots",
    "execution_timeout",
    "retry_delay",
    "retry_exponential_backoff",
    "priority_weight",
    "weight_rule",
    "ui_color",
    "ui_fgcolor",
    "operator_name",
];

async fn list(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<Json<Value>> {
    user.may_read(Resource::Dag)?;
    let dag = app.dags.latest(&app.pool, &dag_id).await?;
    let order = params.text("order_by").unwrap_or_else(|| "task_id".to_owned());
    let name = order.trim_start_matches('-');
    if !SORTABLE.contains(&name) {
        return Err(ApiError::bad_request(format!(
            "Ordering with '{name}' is disallowed or the attribute does not exist on the model"
        )));
    }
    let mut tasks: Vec<Value> = dag.tasks.values().map(|task| render(&dag, task)).collect();
    tasks.sort_by(|left, right| compare(&left[name], &right[name]));
    if order.starts_with('-') {
        tasks.sort_by(|left, right| compare(&right[name], &left[name]));
    }
    Ok(Json(json!({"total_entries": tasks.len(), "tasks": tasks})))
}

/// Null comes last; numbers by value, all else as text.
fn compare(left: &Value, right: &Value) -> Ordering {
    let number = |value: &Value| {
        value.as_f64().or_else(|| Some(value.get("seconds")?.as_f64()? + value["days"].as_f64()? * 86_400.0))
    };
    match (number(left), number(right)) {
        (Some(left), Some(right)) => left.total_cmp(&right),
        _ => (left.is_null(), left.to_string()).cmp(&(right.is_null(), right.to_string())),
    }
}

async fn read(
    State(app): State<App>,
    user: User,
    Path((dag_id, task_id)): Path<(String, String)>,
) -> ApiResult<Json<Value>> {
    user.may_read(Resource::Dag)?;
    let dag = app.dags.latest(&app.pool, &dag_id).await?;
    let task = dag.tasks.get(&task_id);
    let task = task.ok_or_else(|| ApiError::not_found(format!("Task with id {task_id} was not found")))?;
    Ok(Json(render(&dag, task)))
}

/// A task with the defaults of `airflow/serialization/definitions/baseoperator.py` filled in.
fn render(dag: &SerializedDag, task: &Task) -> Value {
    let text = |name: &str, default: &str| task.text(name).unwrap_or(default).to_owned();
    let number = |name: &str, default: f64| task.field(name).and_then(Value::as_f64).unwrap_or(default);
    let date = |name: &str| task.field(name).or_else(|| dag.field(name)).and_then(timestamp);
    let seconds =
        |name: &str| task.field(name).and_then(|value| value.as_f64().or_else(|| value.get("__var")?.as_f64()));
    let backoff = match task.field("retry_exponential_backoff") {
        Some(Value::Bool(true)) => 2.0,
        value => value.and_then(Value::as_f64).unwrap_or_default(),
    };
    let mut downstream: Vec<&String> = task.downstream.iter().collect();
    downstream.sort();
    json!({
        "task_id": task.id,
        "task_display_name": task.display_name(),
        "owner": text("owner", "airflow"),
        "start_date": date("start_date"),
        "end_date": date("end_date"),
        "trigger_rule": text("trigger_rule", "all_success"),
        "depends_on_past": task.flag("depends_on_past"),
        "wait_for_downstream": task.flag("wait_for_downstream"),
        "retries": number("retries", 0.0),
        "queue": text("queue", "default"),
        "pool": text("pool", "default_pool"),
        "pool_slots": number("pool_slots", 1.0),
        "execution_timeout": seconds("execution_timeout").map(time_delta),
        "retry_delay": time_delta(seconds("retry_delay").unwrap_or(300.0)),
        "retry_exponential_backoff": backoff,
        "priority_weight": number("priority_weight", 1.0),
        "weight_rule": weight_rule(task),
        "ui_color": text("ui_color", "#fff"),
        "ui_fgcolor": text("ui_fgcolor", "#000"),
        "template_fields": task.field("template_fields").cloned().unwrap_or_else(|| json!([])),
        "downstream_task_ids": downstream,
        "doc_md": task.text("doc_md"),
        "operator_name": task.operator_name(),
        "params": dag_params::Params::parse(task.field("params")).dump(),
        "class_ref": {"module_path": task.text("_task_module"), "class_name": task.text("task_type")},
        "is_mapped": task.is_mapped(),
        "extra_links": [],
    })
}

fn weight_rule(task: &Task) -> String {
    let rule = task.field("_weight_rule").or_else(|| task.field("weight_rule"));
    match rule {
        Some(Value::String(rule)) => rule.clone(),
        Some(encoded) => encoded.get("__type").and_then(Value::as_str).unwrap_or("downstream").to_owned(),
        None => "downstream".to_owned(),
    }
}

/// `datetime.timedelta` in parts.
fn time_delta(seconds: f64) -> Value {
    let micros = (seconds * 1e6).round() as i64;
    let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    json!({"__type": "TimeDelta", "days": days, "seconds": rest / 1_000_000, "microseconds": rest % 1_000_000})
}

/// The names of the links that an operator adds to its task instances.
pub(super) fn extra_links(task: &Task) -> Vec<String> {
    let links = task.field("_operator_extra_links").and_then(Value::as_object);
    let mut names: Vec<String> = links.into_iter().flatten().map(|(name, _)| name.clone()).collect();
    names.sort();
    names
}
