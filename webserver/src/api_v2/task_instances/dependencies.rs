//! `…/taskInstances/{task_id}/dependencies`: what keeps a task instance from being scheduled.

use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Params, PathInt};
use crate::state::App;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::FromRow;

#[derive(Serialize)]
struct Dependency {
    name: &'static str,
    reason: String,
}

#[derive(FromRow)]
struct Facts {
    state: Option<String>,
    is_paused: bool,
    run_state: Option<String>,
    pool: String,
    pool_exists: bool,
    open_slots: Option<i64>,
    pool_slots: i32,
    unfinished_upstream: Vec<String>,
}

/// As far as the database tells: whether the Dag is paused, the run is active, the pool has room and what comes before
/// has ended. The rules of single operators are the scheduler's.
async fn failed(app: &App, dag_id: &str, run_id: &str, task_id: &str, map_index: i32) -> ApiResult<Json<Value>> {
    let run = crate::api_v2::dag_runs::RunKey::find(&app.pool, dag_id, run_id).await?;
    let version = run.and_then(|run| run.created_dag_version_id);
    let upstream: Vec<String> = match app.dags.of_run(&app.pool, dag_id, version).await {
        Ok(dag) => dag.tasks.get(task_id).map(|task| task.upstream.iter().cloned().collect()).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let facts: Option<Facts> = sqlx::query_as(include_str!("dependencies.sql"))
        .bind(dag_id)
        .bind(run_id)
        .bind(task_id)
        .bind(map_index)
        .bind(upstream)
        .fetch_optional(&app.pool)
        .await?;
    let facts =
        facts.ok_or_else(|| ApiError::not_found(json!([super::missing(dag_id, run_id, task_id, map_index)])))?;
    let mut dependencies = Vec::new();
    if matches!(facts.state.as_deref(), None | Some("scheduled")) {
        dependencies = reasons(&facts, dag_id, task_id);
    }
    Ok(Json(json!({"dependencies": dependencies})))
}

fn reasons(facts: &Facts, dag_id: &str, task_id: &str) -> Vec<Dependency> {
    let mut dependencies = Vec::new();
    if facts.is_paused {
        dependencies.push(Dependency { name: "Dag Not Paused", reason: format!("Task's DAG '{dag_id}' is paused.") });
    }
    if facts.run_state.as_deref() != Some("running") {
        let state = facts.run_state.as_deref().unwrap_or("None");
        let reason = format!("Task instance's dagrun was not in the 'running' state but in the state '{state}'.");
        dependencies.push(Dependency { name: "Dagrun Running", reason });
    }
    let pool = &facts.pool;
    match facts.open_slots {
        _ if !facts.pool_exists => {
            let reason = format!("Tasks using non-existent pool '{pool}' will not be scheduled");
            dependencies.push(Dependency { name: "Pool Slots Available", reason });
        }
        Some(open) if open < i64::from(facts.pool_slots) => {
            let reason = format!("Not scheduling since there are {open} open slots in pool {pool}");
            dependencies.push(Dependency { name: "Pool Slots Available", reason });
        }
        _ => {}
    }
    if facts.state.is_none() {
        let reason = "Task is in the 'None' state.".to_owned();
        dependencies.push(Dependency { name: "Task Instance State", reason });
    }
    if !facts.unfinished_upstream.is_empty() {
        let waiting = crate::python::repr_list(&facts.unfinished_upstream);
        let reason = format!("Task '{task_id}' waits for upstream tasks that have not ended: {waiting}");
        dependencies.push(Dependency { name: "Trigger Rule", reason });
    }
    dependencies.sort_by_key(|dependency| dependency.name);
    dependencies
}

pub(super) async fn read(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
) -> ApiResult<Json<Value>> {
    user.may_read(Resource::Dag)?;
    let map_index = i32::try_from(params.int("map_index").unwrap_or(-1)).unwrap_or(-1);
    params.check()?;
    failed(&app, &dag_id, &run_id, &task_id, map_index).await
}

pub(super) async fn read_mapped(
    State(app): State<App>,
    user: User,
    Path((dag_id, run_id, task_id, map_index)): Path<(String, String, String, String)>,
) -> ApiResult<Json<Value>> {
    user.may_read(Resource::Dag)?;
    let map_index = PathInt::parse("map_index", &map_index)?;
    failed(&app, &dag_id, &run_id, &task_id, map_index).await
}
