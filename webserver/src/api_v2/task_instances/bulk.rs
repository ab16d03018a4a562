//! `PATCH …/taskInstances`: changes and deletions of many at once.

use super::change::{Wanted, apply, named};
use super::selection::{Runs, Selected, Tasks, select};
use crate::api_v2::bulk::{BulkAction, BulkResponse, OnConflict, Operation, Outcome, actions_with};
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::python::repr;
use crate::request_body::RequestBody;
use crate::state::App;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

/// What an entity of a request names, with what shall become of it.
struct Entity {
    dag_id: String,
    run_id: String,
    task_id: String,
    map_index: Option<i32>,
    wanted: Wanted,
    /// Whether it is just the id of a task, as deletions may have it.
    is_text: bool,
}

pub(super) async fn patch_many(
    State(app): State<App>,
    user: User,
    Path((dag_id, run_id)): Path<(String, String)>,
    bytes: RequestBody,
) -> ApiResult<Json<BulkResponse>> {
    user.may_write(Resource::Dag)?;
    let mut body = Body::from_bytes(&bytes)?;
    let read = |action: &BulkAction, entity, place| Entity::read((&dag_id, &run_id), action, entity, place);
    let mut response = BulkResponse::default();
    for (action, entities) in actions_with(&mut body, read)? {
        let outcome = response.outcome(action.operation);
        if action.operation == Operation::Create {
            let detail = "Task instances bulk create is not supported";
            outcome.fail(&ApiError::new(StatusCode::METHOD_NOT_ALLOWED, detail));
        } else if let Err(error) = perform(&app, &user, &action, entities, outcome).await {
            outcome.fail(&error);
        }
    }
    Ok(Json(response))
}

/// Does what an action wants, up to the first that is missing or cannot be changed: first single task instances, then those
/// of whole tasks, each by itself.
async fn perform(
    app: &App,
    user: &User,
    action: &BulkAction,
    entities: Vec<Entity>,
    outcome: &mut Outcome,
) -> ApiResult<()> {
    let mut named = Vec::new();
    for entity in entities {
        match entity.require_run().and_then(|()| entity.require_right(user, action)) {
            Ok(()) => named.push(entity),
            Err(error) => outcome.fail(&error),
        }
    }
    let (single, whole): (Vec<Entity>, Vec<Entity>) = named.into_iter().partition(|entity| entity.map_index.is_some());
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for entity in single {
        let instances = entity.instances(app).await?;
        if instances.is_empty() {
            missing.push(entity.shown());
        }
        found.push((entity, instances));
    }
    if !missing.is_empty() && action.on_conflict == OnConflict::Fail {
        let missing = missing.join(", ");
        return Err(ApiError::not_found(format!(
            "The task instances with these identifiers: [{missing}] were not found"
        )));
    }
    for entity in whole {
        let instances = entity.instances(app).await?;
        found.push((entity, instances));
    }
    for (entity, instances) in found {
        if instances.is_empty() && action.on_conflict == OnConflict::Fail {
            let Entity { dag_id, run_id, task_id, .. } = &entity;
            let detail = format!("No task instances found for dag_id: {dag_id}, run_id: {run_id}, task_id: {task_id}");
            return Err(ApiError::not_found(detail));
        }
        if action.operation == Operation::Delete {
            let ids: Vec<Uuid> = instances.iter().map(|instance| instance.id).collect();
            sqlx::query("DELETE FROM task_instance WHERE id = ANY($1)").bind(ids).execute(&app.pool).await?;
        }
        for instance in instances {
            if action.operation == Operation::Update {
                entity.update(app, user, &instance).await?;
            }
            let Entity { dag_id, run_id, task_id, .. } = &entity;
            outcome.succeed(format!("{dag_id}.{run_id}.{task_id}[{}]", instance.map_index));
        }
    }
    Ok(())
}

impl Entity {
    fn read((dag_id, run_id): (&str, &str), action: &BulkAction, entity: Value, place: Vec<Value>) -> ApiResult<Self> {
        let is_text = entity.is_string() && action.operation == Operation::Delete;
        let entity = if is_text { json!({"task_id": entity}) } else { entity };
        let mut body = Body::from_value(entity, place)?;
        let task_id = body.text("task_id").unwrap_or_default();
        let map_index = body.optional_int("map_index").and_then(|index| i32::try_from(index).ok());
        let dag_id = body.optional_text("dag_id").unwrap_or_else(|| dag_id.to_owned());
        let run_id = body.optional_text("dag_run_id").unwrap_or_else(|| run_id.to_owned());
        let wanted = Wanted::read(&mut body, &action.update_mask)?;
        Ok(Self { dag_id, run_id, task_id, map_index, wanted, is_text })
    }

    fn require_run(&self) -> ApiResult<()> {
        if self.dag_id != "~" && self.run_id != "~" {
            return Ok(());
        }
        let place = if self.is_text { "BulkTaskInstanceBody object, not as string" } else { "request body" };
        let task_id = &self.task_id;
        Err(ApiError::bad_request(format!(
            "When using wildcard in path, dag_id and dag_run_id must be specified in {place} for task_id: {task_id}"
        )))
    }

    fn require_right(&self, user: &User, action: &BulkAction) -> ApiResult<()> {
        if user.editable().contains(&self.dag_id) {
            return Ok(());
        }
        let (doing, dag_id) = (action.operation.name(), &self.dag_id);
        Err(ApiError::forbidden(format!("User is not authorized to {doing} task instances for DAG '{dag_id}'")))
    }

    async fn instances(&self, app: &App) -> ApiResult<Vec<Selected>> {
        let tasks = Tasks::one(&self.task_id, self.map_index);
        select(&app.pool, &self.dag_id, &Runs::One(self.run_id.clone()), Some(&tasks), &[]).await
    }

    /// As Python shows it.
    fn shown(&self) -> String {
        format!(
            "{{'dag_id': {}, 'dag_run_id': {}, 'task_id': {}, 'map_index': {}}}",
            repr(&self.dag_id),
            repr(&self.run_id),
            repr(&self.task_id),
            self.map_index.unwrap_or(-1)
        )
    }

    async fn update(&self, app: &App, user: &User, instance: &Selected) -> ApiResult<()> {
        let named = named(app, &self.dag_id, &self.run_id, &self.task_id, Some(instance.map_index)).await?;
        let unchanged = || {
            let state = self.wanted.new_state.map_or("", TaskInstanceState::as_str);
            format!("Task id {} is already in {state} state", self.task_id)
        };
        apply(app, user, &self.run_id, &named, &self.wanted, unchanged).await.map(drop)
    }
}
