//! `…/explain`: why a Dag run or a task instance waits, and why no run is made of a Dag.

use crate::api_v2::{dag_runs, task_instances};
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::state::App;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use tradewind_metadata::explanation::{self, Situation};
use tradewind_model::explanation::{DagExplanation, Explanation, TaskInstanceExplanation};

pub(super) fn routes() -> Router<App> {
    const RUN: &str = "/dags/{dag_id}/dagRuns/{dag_run_id}";
    Router::new()
        .route("/dags/{dag_id}/explain", get(dag))
        .route(&format!("{RUN}/explain"), get(run))
        .route(&format!("{RUN}/taskInstances/{{task_id}}/explain"), get(task_instance))
}

async fn dag(State(app): State<App>, user: User, Path(dag_id): Path<String>) -> ApiResult<Json<DagExplanation>> {
    user.may_read(Resource::Dag)?;
    let mut connection = app.pool.acquire().await?;
    let schedule = explanation::schedule(&mut connection, &app.options.explanation, &dag_id).await;
    let schedule =
        schedule?.ok_or_else(|| ApiError::not_found(format!("The Dag with ID: `{dag_id}` was not found")))?;
    Ok(Json(schedule.explain()))
}

async fn run(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> ApiResult<Json<Explanation>> {
    user.may_read(Resource::Dag)?;
    let page = params.page(&app);
    params.check()?;
    let situation = situation(&app, &user, &dag_id, &run_id).await?;
    let count = |number| usize::try_from(number).unwrap_or_default();
    Ok(Json(situation.explainer().run(count(page.offset), count(page.limit))))
}

async fn task_instance(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
) -> ApiResult<Json<TaskInstanceExplanation>> {
    user.may_read(Resource::Dag)?;
    let map_index = params.int_from("map_index", -1).unwrap_or(-1);
    params.check()?;
    let situation = situation(&app, &user, &dag_id, &run_id).await?;
    let map_index = i32::try_from(map_index).unwrap_or(i32::MAX);
    let told = situation.explainer().task_instance(&task_id, map_index);
    told.map(Json).ok_or_else(|| ApiError::not_found(task_instances::missing(&dag_id, &run_id, &task_id, map_index)))
}

/// Everything that decides whether the run moves, or 404.
async fn situation(app: &App, user: &User, dag_id: &str, run_id: &str) -> ApiResult<Situation> {
    let options = &app.options.explanation;
    let situation = Situation::load(&app.pool, &app.scheduled_dags, options, dag_id, run_id).await;
    let situation = situation?.ok_or_else(|| dag_runs::not_found(dag_id, run_id))?;
    Ok(situation.naming_only(|dag_id| user.readable().contains(dag_id)))
}
