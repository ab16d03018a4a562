//! `/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances`: lists, one instance, tries, changes, clearing.

pub(super) mod attempts;
mod bulk;
pub(super) mod change;
pub(super) mod clear;
mod dependencies;
mod dependency_wording;
mod list;
mod relatives;
pub(super) mod selection;

pub(crate) use list::{COLUMNS, Collection, SOURCE, TaskInstance, by_ids};

use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Params, PathInt};
use crate::state::App;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use sqlx::{Postgres, QueryBuilder};

pub(super) fn routes() -> Router<App> {
    const ALL: &str = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances";
    let route = |suffix: &str| format!("{ALL}/{{task_id}}{suffix}");
    Router::new()
        .route(ALL, get(list::list).patch(bulk::patch_many))
        .route(&format!("{ALL}/list"), post(list::list_batch))
        .route(&route(""), get(read).patch(change::patch).delete(delete))
        .route(&route("/dry_run"), patch(change::dry_run))
        .route(&route("/listMapped"), get(list::list_mapped))
        .route(&route("/dependencies"), get(dependencies::read))
        .route(&route("/tries"), get(attempts::list))
        .route(&route("/tries/{task_try_number}"), get(attempts::read))
        .route(&route("/{map_index}"), get(read_mapped).patch(change::patch_mapped))
        .route(&route("/{map_index}/dry_run"), patch(change::dry_run_mapped))
        .route(&route("/{map_index}/dependencies"), get(dependencies::read_mapped))
        .route(&route("/{map_index}/tries"), get(attempts::list_mapped))
        .route(&route("/{map_index}/tries/{task_try_number}"), get(attempts::read_mapped))
        .route("/dags/{dag_id}/clearTaskInstances", post(clear::post_clear))
        .route("/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}", patch(change::patch_group))
        .route(
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}/dry_run",
            patch(change::dry_run_group),
        )
}

/// The task instance of a task, the one of that map index, or of any.
async fn find(
    app: &App,
    dag_id: &str,
    run_id: &str,
    task_id: &str,
    map_index: Option<i32>,
) -> ApiResult<Option<TaskInstance>> {
    let mut query: QueryBuilder<Postgres> =
        QueryBuilder::new(format!("SELECT {COLUMNS} FROM {SOURCE} WHERE ti.dag_id = "));
    query.push_bind(dag_id).push(" AND ti.run_id = ").push_bind(run_id).push(" AND ti.task_id = ").push_bind(task_id);
    if let Some(map_index) = map_index {
        query.push(" AND ti.map_index = ").push_bind(map_index);
    }
    query.push(" ORDER BY ti.map_index LIMIT 1");
    Ok(query.build_query_as().fetch_optional(&app.pool).await?)
}

async fn read(
    State(app): State<App>,
    user: User,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
) -> ApiResult<Json<TaskInstance>> {
    user.may_read(Resource::Dag)?;
    let instance = find(&app, &dag_id, &run_id, &task_id, None).await?.ok_or_else(|| {
        ApiError::not_found(format!(
            "The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}` and task_id: `{task_id}` was not found"
        ))
    })?;
    if instance.map_index != -1 {
        return Err(ApiError::not_found("Task instance is mapped, add the map_index value to the URL"));
    }
    Ok(Json(instance))
}

async fn read_mapped(
    State(app): State<App>,
    user: User,
    Path((dag_id, run_id, task_id, map_index)): Path<(String, String, String, String)>,
) -> ApiResult<Json<TaskInstance>> {
    user.may_read(Resource::Dag)?;
    let map_index = PathInt::parse("map_index", &map_index)?;
    let instance = find(&app, &dag_id, &run_id, &task_id, Some(map_index)).await?;
    instance.map(Json).ok_or_else(|| {
        ApiError::not_found(format!(
            "The Mapped Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}`, task_id: `{task_id}`, and map_index: \
             `{map_index}` was not found"
        ))
    })
}

/// 404 of a task instance.
pub(crate) fn missing(dag_id: &str, run_id: &str, task_id: &str, map_index: impl std::fmt::Display) -> String {
    format!(
        "The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}`, task_id: `{task_id}` and map_index: \
         `{map_index}` was not found"
    )
}

async fn delete(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
) -> ApiResult<(StatusCode, Json<()>)> {
    user.may_write(Resource::Dag)?;
    let map_index = params.int("map_index").unwrap_or(-1);
    params.check()?;
    let deleted =
        sqlx::query("DELETE FROM task_instance WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND map_index = $4")
            .bind(&dag_id)
            .bind(&run_id)
            .bind(&task_id)
            .bind(map_index)
            .execute(&app.pool)
            .await?;
    if deleted.rows_affected() == 0 {
        return Err(ApiError::not_found(missing(&dag_id, &run_id, &task_id, map_index)));
    }
    Ok((StatusCode::OK, Json(())))
}
