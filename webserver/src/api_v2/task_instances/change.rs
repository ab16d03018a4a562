//! Marking task instances as success, failed or skipped, and their notes.

use super::clear::{How, clear, refusal, set_notes};
use super::list::{Collection, by_ids};
use super::missing;
use super::selection::{Runs, Selected, Tasks, select};
use crate::api_v2::dag_runs::RunKey;
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::query::{Params, PathInt};
use crate::request_body::RequestBody;
use crate::serialized_dag::SerializedDag;
use crate::state::App;
use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;
use tradewind_metadata::dag_run_range;
use tradewind_metadata::task_instance::{Transition, transition};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

/// What a request changes.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) new_state: Option<TaskInstanceState>,
    note: Option<Option<String>>,
    upstream: bool,
    downstream: bool,
    future: bool,
    past: bool,
}

impl Wanted {
    /// Reads the fields that an update mask leaves in.
    pub(super) fn read(body: &mut Body, mask: &[String]) -> ApiResult<Self> {
        let states = [TaskInstanceState::Success, TaskInstanceState::Failed, TaskInstanceState::Skipped];
        let mut new_state = None;
        if body.has("new_state") {
            let text = body.optional_text("new_state").map(|text| text.to_ascii_lowercase());
            new_state = states.into_iter().find(|state| Some(state.as_str()) == text.as_deref());
            match text {
                None => body.break_rule("new_state", "'new_state' should not be empty"),
                Some(text) if new_state.is_none() => {
                    let rule = format!("'{text}' is not one of ['success', 'failed', 'skipped']");
                    body.break_rule("new_state", &rule);
                }
                Some(_) => {}
            }
        }
        let note_given = body.has("note");
        let note = body.optional_text("note");
        body.limit_length("note", 1000);
        let flag = |body: &mut Body, name: &str| body.bool_or(name, false);
        let upstream = flag(body, "include_upstream");
        let downstream = flag(body, "include_downstream");
        let future = flag(body, "include_future");
        let past = flag(body, "include_past");
        body.finish()?;
        let keep = |name: &str| mask.is_empty() || mask.iter().any(|field| field == name);
        let new_state = new_state.filter(|_| keep("new_state"));
        let note = note_given.then_some(note).filter(|_| keep("note"));
        Ok(Self { new_state, note, upstream, downstream, future, past })
    }
}

/// The task instances that a request names, and their Dag.
pub(super) struct Named {
    dag: Arc<SerializedDag>,
    tasks: Tasks,
    instances: Vec<Selected>,
}

pub(super) async fn named(
    app: &App,
    dag_id: &str,
    run_id: &str,
    task_id: &str,
    map_index: Option<i32>,
) -> ApiResult<Named> {
    let dag = app.dags.latest(&app.pool, dag_id).await?;
    if !dag.tasks.contains_key(task_id) {
        return Err(ApiError::not_found(format!("Task '{task_id}' not found in Dag '{dag_id}'")));
    }
    let tasks = Tasks::one(task_id, map_index);
    let instances = select(&app.pool, dag_id, &Runs::One(run_id.to_owned()), Some(&tasks), &[]).await?;
    if instances.is_empty() {
        let map_index = map_index.map_or_else(|| "None".to_owned(), |index| index.to_string());
        // As in Airflow the detail is a list here.
        return Err(ApiError::not_found(json!([missing(dag_id, run_id, task_id, map_index)])));
    }
    Ok(Named { dag, tasks, instances })
}

async fn named_group(app: &App, dag_id: &str, run_id: &str, group_id: &str) -> ApiResult<Named> {
    let dag = app.dags.latest(&app.pool, dag_id).await?;
    let group = dag.groups.get(group_id).filter(|group| !group.is_root());
    let group =
        group.ok_or_else(|| ApiError::not_found(format!("Task group '{group_id}' not found in DAG '{dag_id}'")))?;
    let tasks = Tasks { ids: dag.task_ids_within(group), ..Tasks::default() };
    let instances = select(&app.pool, dag_id, &Runs::One(run_id.to_owned()), Some(&tasks), &[]).await?;
    if instances.is_empty() {
        let detail = format!("No task instances found for task group '{group_id}' in dag run '{run_id}'");
        return Err(ApiError::not_found(detail));
    }
    Ok(Named { dag, tasks, instances })
}

/// The task instances that would get the new state: those named and their relatives, unless they have it already.
async fn affected(
    app: &App,
    run_id: &str,
    named: &Named,
    wanted: &Wanted,
    state: TaskInstanceState,
) -> ApiResult<Vec<Selected>> {
    let dag = &named.dag;
    let mut tasks = named.tasks.clone();
    let ids = tasks.all_ids();
    let relatives = dag.relatives(&ids, wanted.upstream, wanted.downstream);
    tasks.ids.extend(relatives.into_iter().filter(|id| !ids.contains(id)));
    let mut connection = app.pool.acquire().await?;
    let model = app.scheduled_dags.version(&mut connection, dag.dag_version_id).await.map_err(refusal)?;
    let runs = dag_run_range::around(&mut connection, &model, run_id, wanted.past, wanted.future, Utc::now());
    let runs = Runs::Several(runs.await.map_err(refusal)?);
    drop(connection);
    let mut found = select(&app.pool, &dag.dag_id, &runs, Some(&tasks), &[]).await?;
    found.retain(|found| found.state.as_deref() != Some(state.as_str()));
    Ok(found)
}

/// Sets the state, then lets failed tasks after the named ones run again.
async fn set_state(
    app: &App,
    run_id: &str,
    named: &Named,
    wanted: &Wanted,
    state: TaskInstanceState,
) -> ApiResult<Vec<Selected>> {
    let altered = affected(app, run_id, named, wanted, state).await?;
    if altered.is_empty() {
        return Ok(altered);
    }
    let dag = &named.dag;
    let ids = named.tasks.all_ids();
    let mut after = Tasks::default();
    after.ids.extend(dag.related(&ids, false, true, None).into_iter().filter(|id| !ids.contains(id)));
    let run = RunKey::require(&app.pool, &dag.dag_id, run_id).await?;
    let runs = Runs::around(run_id, &run, wanted.past, wanted.future);
    let mut transaction = app.pool.begin().await?;
    mark(&mut transaction, &altered, state).await?;
    let failed = select(&mut *transaction, &dag.dag_id, &runs, Some(&after), &["failed", "upstream_failed"]).await?;
    let how = How { run_on_latest_version: false, reset_dag_runs: true };
    clear(app, &mut transaction, &dag.dag_id, &failed, how).await?;
    transaction.commit().await?;
    Ok(altered)
}

/// A task instance with its start and its end.
type Dates = (Uuid, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Gives task instances an end state, with the dates that follow from it.
pub(crate) async fn mark(
    connection: &mut PgConnection,
    instances: &[Selected],
    state: TaskInstanceState,
) -> ApiResult<()> {
    let now = Utc::now();
    let dates: Vec<Dates> = sqlx::query_as("SELECT id, start_date, end_date FROM task_instance WHERE id = ANY($1)")
        .bind(instances.iter().map(|instance| instance.id).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await?;
    let dates: HashMap<Uuid, Dates> = dates.into_iter().map(|dates| (dates.0, dates)).collect();
    let mut transitions = Vec::new();
    for instance in instances {
        let from = instance.state.as_deref().map(str::parse).transpose();
        let from: Option<TaskInstanceState> = from.map_err(|error| ApiError::internal(&error))?;
        let mut wanted = Transition::new(instance.id, &[from], Some(state));
        if let Some((_, start, end)) = dates.get(&instance.id) {
            if start.is_none() {
                wanted = wanted.with("start_date", json!(now));
            }
            // Also where it is there already, for the duration follows from it.
            wanted = wanted.with("end_date", json!(end.unwrap_or(now)));
        }
        transitions.push(wanted);
    }
    transition(connection, &transitions).await.map_err(refusal)?;
    Ok(())
}

async fn collection(app: &App, instances: &[Selected]) -> ApiResult<Json<Collection>> {
    let ids: Vec<Uuid> = instances.iter().map(|instance| instance.id).collect();
    Ok(Json(Collection::whole(by_ids(&app.pool, &ids).await?)))
}

/// The map index that a request names, if any.
#[derive(Clone, Copy)]
enum MapIndex<'a> {
    /// In the query, where it was read.
    Query(Option<i32>),
    /// In the path, where it may be no number.
    Path(&'a str),
}

impl MapIndex<'_> {
    fn text(self) -> Option<String> {
        match self {
            Self::Query(index) => index.map(|index| index.to_string()),
            Self::Path(text) => Some(text.to_owned()),
        }
    }

    fn parse(self) -> ApiResult<Option<i32>> {
        match self {
            Self::Query(index) => Ok(index),
            Self::Path(text) => PathInt::parse("map_index", text).map(Some),
        }
    }
}

async fn perform(
    app: &App,
    user: &User,
    params: &Params,
    (dag_id, run_id, task_id): (&str, &str, &str),
    map_index: MapIndex<'_>,
    bytes: &RequestBody,
) -> ApiResult<Json<Collection>> {
    let mut body = Body::from_bytes(bytes)?;
    let index = map_index.text();
    let mut path = vec![("dag_id", dag_id), ("dag_run_id", run_id), ("task_id", task_id)];
    path.extend(index.as_deref().map(|index| ("map_index", index)));
    Change { event: "patch_task_instance", method: "PATCH", path: &path, body: Some(body.fields()) }
        .record(app, user, params)
        .await?;
    user.may_write(Resource::Dag)?;
    let (map_index, wanted) = ApiError::both(map_index.parse(), Wanted::read(&mut body, &params.texts("update_mask")))?;
    let named = named(app, dag_id, run_id, task_id, map_index).await?;
    apply(app, user, run_id, &named, &wanted, || {
        format!("Task id {task_id} is already in {} state", wanted.new_state.map_or("", TaskInstanceState::as_str))
    })
    .await?;
    collection(app, &named.instances).await
}

pub(super) async fn apply(
    app: &App,
    user: &User,
    run_id: &str,
    named: &Named,
    wanted: &Wanted,
    unchanged: impl FnOnce() -> String,
) -> ApiResult<Vec<Selected>> {
    if let Some(note) = &wanted.note {
        let ids: Vec<Uuid> = named.instances.iter().map(|instance| instance.id).collect();
        if note.is_some() {
            set_notes(&mut *app.pool.acquire().await?, user, &ids, note.as_deref()).await?;
        }
    }
    let Some(state) = wanted.new_state else { return Ok(named.instances.clone()) };
    let altered = set_state(app, run_id, named, wanted, state).await?;
    if altered.is_empty() { Err(ApiError::conflict(unchanged())) } else { Ok(altered) }
}

pub(super) async fn patch(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    bytes: RequestBody,
) -> ApiResult<Json<Collection>> {
    let map_index = params.int32("map_index");
    params.check()?;
    perform(&app, &user, &params, (&dag_id, &run_id, &task_id), MapIndex::Query(map_index), &bytes).await
}

pub(super) async fn patch_mapped(
    State(app): State<App>,
    user: User,
    params: Params,
    Path((dag_id, run_id, task_id, map_index)): Path<(String, String, String, String)>,
    bytes: RequestBody,
) -> ApiResult<Json<Collection>> {
    perform(&app, &user, &params, (&dag_id, &run_id, &task_id), MapIndex::Path(&map_index), &bytes).await
}

async fn preview(
    app: &App,
    user: &User,
    params: &Params,
    (dag_id, run_id, task_id): (&str, &str, &str),
    map_index: MapIndex<'_>,
    bytes: &RequestBody,
) -> ApiResult<Json<Collection>> {
    user.may_write(Resource::Dag)?;
    let wanted = Wanted::read(&mut Body::from_bytes(bytes)?, &params.texts("update_mask"));
    let (map_index, wanted) = ApiError::both(map_index.parse(), wanted)?;
    let named = named(app, dag_id, run_id, task_id, map_index).await?;
    match wanted.new_state {
        Some(state) => collection(app, &affected(app, run_id, &named, &wanted, state).await?).await,
        None => collection(app, &named.instances).await,
    }
}

pub(super) async fn dry_run(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    bytes: RequestBody,
) -> ApiResult<Json<Collection>> {
    let map_index = params.int32("map_index");
    params.check()?;
    preview(&app, &user, &params, (&dag_id, &run_id, &task_id), MapIndex::Query(map_index), &bytes).await
}

pub(super) async fn dry_run_mapped(
    State(app): State<App>,
    user: User,
    params: Params,
    Path((dag_id, run_id, task_id, map_index)): Path<(String, String, String, String)>,
    bytes: RequestBody,
) -> ApiResult<Json<Collection>> {
    preview(&app, &user, &params, (&dag_id, &run_id, &task_id), MapIndex::Path(&map_index), &bytes).await
}

pub(super) async fn patch_group(
    State(app): State<App>,
    user: User,
    params: Params,
    Path((dag_id, run_id, group_id)): Path<(String, String, String)>,
    bytes: RequestBody,
) -> ApiResult<Json<Collection>> {
    let mut body = Body::from_bytes(&bytes)?;
    let path = [("dag_id", dag_id.as_str()), ("dag_run_id", &run_id), ("group_id", &group_id)];
    Change { event: "patch_task_group_instances", method: "PATCH", path: &path, body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    user.may_write(Resource::Dag)?;
    let wanted = Wanted::read(&mut body, &params.texts("update_mask"))?;
    let named = named_group(&app, &dag_id, &run_id, &group_id).await?;
    let altered = apply(&app, &user, &run_id, &named, &wanted, || {
        let state = wanted.new_state.map_or("", TaskInstanceState::as_str);
        format!("All task instances in the group are already in {state} state")
    })
    .await?;
    collection(&app, &altered).await
}

pub(super) async fn dry_run_group(
    State(app): State<App>,
    user: User,
    Path((dag_id, run_id, group_id)): Path<(String, String, String)>,
    bytes: RequestBody,
) -> ApiResult<Json<Collection>> {
    user.may_write(Resource::Dag)?;
    let wanted = Wanted::read(&mut Body::from_bytes(&bytes)?, &[])?;
    let named = named_group(&app, &dag_id, &run_id, &group_id).await?;
    match wanted.new_state {
        Some(state) => collection(&app, &affected(&app, &run_id, &named, &wanted, state).await?).await,
        None => collection(&app, &named.instances).await,
    }
}
