//! `…/taskInstances/{task_id}/links`: the links that operators add to their task instances.

use super::tasks::extra_links;
use crate::api_v2::dag_runs::RunKey;
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::state::App;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/links", get(list))
}

async fn list(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
) -> ApiResult<Json<Value>> {
    user.may_read(Resource::Dag)?;
    let map_index = params.int("map_index").unwrap_or(-1);
    let try_number = params.int("try_number");
    params.check()?;
    let latest: Option<i32> = sqlx::query_scalar(
        "SELECT try_number FROM task_instance WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND map_index = $4",
    )
    .bind(&dag_id)
    .bind(&run_id)
    .bind(&task_id)
    .bind(map_index)
    .fetch_optional(&app.pool)
    .await?;
    let latest = latest.ok_or_else(|| ApiError::not_found("TaskInstance not found"))?;
    let run = RunKey::require(&app.pool, &dag_id, &run_id).await?;
    let dag = app.dags.of_run(&app.pool, &dag_id, run.pinned_dag_version()).await?;
    let task = dag.tasks.get(&task_id);
    let task = task.ok_or_else(|| ApiError::not_found(format!("Task with ID = {task_id} not found")))?;
    if let Some(attempt) = try_number.filter(|attempt| *attempt != i64::from(latest)) {
        require_earlier(&app, (&dag_id, &run_id, &task_id, map_index), attempt).await?;
    }
    let mut links = Map::new();
    for name in extra_links(task) {
        let xcom = task.field("_operator_extra_links").and_then(|links| links.get(&name)).and_then(Value::as_str);
        links.insert(name.clone(), link(&app, xcom.unwrap_or_default(), &dag_id, &run_id, &task_id, map_index).await?);
    }
    Ok(Json(json!({"total_entries": links.len(), "extra_links": links})))
}

/// Refuses an attempt that never was. The links of an earlier one are those of the latest: the XComs that hold them belong to
/// the task instance.
async fn require_earlier(
    app: &App,
    (dag_id, run_id, task_id, map_index): (&str, &str, &str, i64),
    attempt: i64,
) -> ApiResult<()> {
    let known: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM task_instance_history WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 \
         AND map_index = $4 AND try_number = $5)",
    )
    .bind(dag_id)
    .bind(run_id)
    .bind(task_id)
    .bind(map_index)
    .bind(attempt)
    .fetch_one(&app.pool)
    .await?;
    if known {
        Ok(())
    } else {
        Err(ApiError::not_found(format!("TaskInstanceHistory not found for try_number={attempt}")))
    }
}

/// The task leaves the address of a link in an XCom.
async fn link(app: &App, key: &str, dag_id: &str, run_id: &str, task_id: &str, map_index: i64) -> ApiResult<Value> {
    let value: Option<Option<Value>> = sqlx::query_scalar(
        "SELECT value FROM xcom WHERE key = $1 AND dag_id = $2 AND run_id = $3 AND task_id = $4 AND map_index = $5",
    )
    .bind(key)
    .bind(dag_id)
    .bind(run_id)
    .bind(task_id)
    .bind(map_index)
    .fetch_optional(&app.pool)
    .await?;
    Ok(value.flatten().filter(|value| value.as_str() != Some("")).unwrap_or_default())
}
