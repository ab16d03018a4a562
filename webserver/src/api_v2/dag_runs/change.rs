//! Marking runs as success, failed or queued, and their notes.

use super::{DagRun, RunKey, by_id_on};
use crate::api_v2::bulk::{BulkAction, BulkResponse, OnConflict, Operation, Outcome, actions_with};
use crate::api_v2::task_instances::change::mark;
use crate::api_v2::task_instances::clear::refusal;
use crate::api_v2::task_instances::selection::{Runs, select};
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::python::repr;
use crate::query::Params;
use crate::request_body::RequestBody;
use crate::serialized_dag::SerializedDag;
use crate::state::App;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::Utc;
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::collections::BTreeSet;
use tradewind_metadata::dag_run::set_state;
use tradewind_model::state::{DagRunState, TaskInstanceState};

/// The states that a run can be given by hand.
pub(super) const MARKED_STATES: [&str; 3] = ["queued", "success", "failed"];

/// States of task instances that are being worked on.
const RUNNING: [&str; 4] = ["running", "deferred", "up_for_reschedule", "awaiting_input"];

/// What a request changes.
struct Wanted {
    state: Option<DagRunState>,
    note: Option<Option<String>>,
}

impl Wanted {
    fn read(body: &mut Body, mask: &[String]) -> ApiResult<Self> {
        let state = body.optional_word("state", &MARKED_STATES);
        let note_given = body.has("note");
        let note = body.optional_text("note");
        body.limit_length("note", 1000);
        body.finish()?;
        let keep = |name: &str| mask.is_empty() || mask.iter().any(|field| field == name);
        let state = state.filter(|_| keep("state")).and_then(|state| state.parse().ok());
        Ok(Self { state, note: note_given.then_some(note).filter(|_| keep("note")) })
    }
}

pub(super) async fn patch(
    State(app): State<App>,
    user: User,
    params: Params,
    Path((dag_id, run_id)): Path<(String, String)>,
    bytes: RequestBody,
) -> ApiResult<Json<DagRun>> {
    user.may_write(Resource::Dag)?;
    let mut body = Body::from_bytes(&bytes)?;
    let path = [("dag_id", dag_id.as_str()), ("dag_run_id", run_id.as_str())];
    Change { event: "patch_dag_run", method: "PATCH", path: &path, body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let wanted = Wanted::read(&mut body, &params.texts("update_mask"))?;
    let run = RunKey::require(&app.pool, &dag_id, &run_id).await?;
    let mut transaction = app.pool.begin().await?;
    let target = Target { dag_id: &dag_id, run_id: &run_id, run: &run };
    target.apply(&app, &mut transaction, &user, &wanted).await?;
    let changed = by_id_on(&mut transaction, run.id).await?;
    transaction.commit().await?;
    Ok(Json(changed))
}

/// The run that is changed.
struct Target<'a> {
    dag_id: &'a str,
    run_id: &'a str,
    run: &'a RunKey,
}

impl Target<'_> {
    async fn apply(&self, app: &App, connection: &mut PgConnection, user: &User, wanted: &Wanted) -> ApiResult<()> {
        let ended = match wanted.state {
            Some(DagRunState::Success | DagRunState::Failed) => {
                let dag = app.dags.of_run(&app.pool, self.dag_id, self.run.pinned_dag_version()).await?;
                self.hold(connection).await?;
                Some(dag)
            }
            _ => None,
        };
        if let Some(note) = &wanted.note {
            set_note(connection, user, self.run.id, note.as_deref()).await?;
        }
        match (wanted.state, ended) {
            (Some(state), Some(dag)) => self.end(connection, &dag, state).await,
            (Some(state), None) => set_run_state(connection, self.run, state).await,
            (None, _) => Ok(()),
        }
    }

    /// Ends a run, which is held: what is being worked on gets the state, what has not started is skipped, teardowns still
    /// run and then end the run themselves (`airflow/api/common/mark_tasks.py`).
    async fn end(&self, connection: &mut PgConnection, dag: &SerializedDag, run_state: DagRunState) -> ApiResult<()> {
        let state = match run_state {
            DagRunState::Success => TaskInstanceState::Success,
            _ => TaskInstanceState::Failed,
        };
        let mut open = select(&mut *connection, self.dag_id, &Runs::One(self.run_id.to_owned()), None, &[]).await?;
        open.retain(|instance| dag.tasks.contains_key(&instance.task_id));
        let is_finished = |state: &str| state.parse().is_ok_and(TaskInstanceState::is_finished);
        open.retain(|instance| !instance.state.as_deref().is_some_and(is_finished));
        let is_teardown = |task_id: &str| dag.tasks[task_id].flag("is_teardown");
        let teardown_open = open.iter().any(|instance| is_teardown(&instance.task_id));
        open.retain(|instance| !is_teardown(&instance.task_id));
        let is_running = |state: &str| RUNNING.contains(&state);
        let (running, pending): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|instance| instance.state.as_deref().is_some_and(is_running));
        mark(connection, &pending, TaskInstanceState::Skipped).await?;
        mark(connection, &running, state).await?;
        if teardown_open { Ok(()) } else { set_run_state(connection, self.run, run_state).await }
    }

    /// Keeps the run and what is unfinished of it as they are, so that nothing is queued or claimed while it is ended.
    async fn hold(&self, connection: &mut PgConnection) -> ApiResult<()> {
        sqlx::query("SELECT FROM dag_run WHERE id = $1 FOR NO KEY UPDATE")
            .bind(self.run.id)
            .execute(&mut *connection)
            .await?;
        sqlx::query(
            "SELECT FROM task_instance WHERE dag_id = $1 AND run_id = $2 \
             AND (state IS NULL OR state NOT IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed')) \
             ORDER BY id FOR NO KEY UPDATE",
        )
        .bind(self.dag_id)
        .bind(self.run_id)
        .execute(connection)
        .await?;
        Ok(())
    }
}

async fn set_run_state(connection: &mut PgConnection, run: &RunKey, state: DagRunState) -> ApiResult<()> {
    set_state(connection, &[run.id], DagRunState::ALL, state, Utc::now()).await.map_err(refusal)?;
    Ok(())
}

/// Sets or, with an empty text, removes the note of a run.
pub(super) async fn set_note(
    connection: &mut PgConnection,
    user: &User,
    run: i32,
    note: Option<&str>,
) -> ApiResult<()> {
    if note == Some("") {
        sqlx::query("DELETE FROM dag_run_note WHERE dag_run_id = $1").bind(run).execute(connection).await?;
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO dag_run_note (dag_run_id, user_id, content, created_at, updated_at) \
         VALUES ($1, $2, $3, now(), now()) ON CONFLICT (dag_run_id) DO UPDATE SET content = EXCLUDED.content, \
         user_id = EXCLUDED.user_id, updated_at = EXCLUDED.updated_at",
    )
    .bind(run)
    .bind(&user.name)
    .bind(note)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn patch_many(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(dag_id): Path<String>,
    bytes: RequestBody,
) -> ApiResult<Json<BulkResponse>> {
    user.may_write(Resource::Dag)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "bulk_dag_runs", method: "PATCH", path: &[("dag_id", &dag_id)], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let mut response = BulkResponse::default();
    let read = |action: &BulkAction, entity, place| Entity::read(&dag_id, action, entity, place);
    let actions = actions_with(&mut body, read).map_err(ApiError::repeated)?;
    for entity in actions.iter().flat_map(|(_, entities)| entities).filter(|entity| entity.dag_id != "~") {
        user.may_write_dag(&entity.dag_id)?;
    }
    for (action, entities) in actions {
        let outcome = response.outcome(action.operation);
        if action.operation == Operation::Create {
            let detail = "Dag Runs bulk create is not supported. Use the trigger Dag Run endpoint instead.";
            outcome.fail(&ApiError::new(StatusCode::METHOD_NOT_ALLOWED, detail));
            continue;
        }
        if let Err(error) = perform(&app, &user, &action, entities, outcome).await {
            outcome.fail(&error);
        }
    }
    Ok(Json(response))
}

/// The run that an entity of a bulk request names, with what shall become of it.
struct Entity {
    dag_id: String,
    run_id: String,
    wanted: Wanted,
    /// Whether it is just the id of a run, as deletions may have it.
    is_text: bool,
}

impl Entity {
    fn read(dag_id: &str, action: &BulkAction, entity: Value, place: Vec<Value>) -> ApiResult<Self> {
        let is_text = entity.is_string() && action.operation == Operation::Delete;
        let entity = if is_text { json!({"dag_run_id": entity}) } else { entity };
        let mut body = Body::from_value(entity, place)?;
        let run_id = body.text("dag_run_id").unwrap_or_default();
        let dag_id = body.optional_text("dag_id").unwrap_or_else(|| dag_id.to_owned());
        let wanted = Wanted::read(&mut body, &action.update_mask)?;
        Ok(Self { dag_id, run_id, wanted, is_text })
    }

    fn require_dag(&self) -> ApiResult<()> {
        let Self { dag_id, run_id, .. } = self;
        if dag_id != "~" && run_id != "~" {
            return Ok(());
        }
        let place = if self.is_text { "BulkDAGRunBody object, not as string" } else { "request body" };
        Err(ApiError::bad_request(format!(
            "When using wildcard in path, dag_id must be specified in {place} for dag_run_id: {run_id}"
        )))
    }
}

/// Changes or deletes the runs that the entities of a bulk request name. One that is missing fails the whole action
/// unless missing ones are to be left out; one that cannot be deleted fails alone.
async fn perform(
    app: &App,
    user: &User,
    action: &BulkAction,
    entities: Vec<Entity>,
    outcome: &mut Outcome,
) -> ApiResult<()> {
    let keys: Vec<_> = entities.iter().map(|entity| (entity.dag_id.clone(), entity.run_id.clone())).collect();
    let found = RunKey::find_all(&app.pool, &keys).await?;
    let mut named = Vec::new();
    let mut missing = BTreeSet::new();
    for (entity, key) in entities.into_iter().zip(keys) {
        if let Err(error) = entity.require_dag() {
            outcome.fail(&error);
            continue;
        }
        match found.get(&key).cloned() {
            Some(run) => named.push((entity, run)),
            None => drop(missing.insert(format!("({}, {})", repr(&entity.dag_id), repr(&entity.run_id)))),
        }
    }
    if !missing.is_empty() && action.on_conflict != OnConflict::Skip {
        let missing = missing.into_iter().collect::<Vec<_>>().join(", ");
        return Err(ApiError::not_found(format!("The DagRuns with these identifiers: [{missing}] were not found")));
    }
    for (Entity { dag_id, run_id, wanted, .. }, run) in named {
        let done = async {
            if action.operation != Operation::Update {
                return super::delete_run(app, &dag_id, &run_id, &run).await;
            }
            let mut transaction = app.pool.begin().await?;
            let target = Target { dag_id: &dag_id, run_id: &run_id, run: &run };
            target.apply(app, &mut transaction, user, &wanted).await?;
            Ok(transaction.commit().await?)
        };
        match done.await {
            Ok(()) => outcome.succeed(format!("{dag_id}.{run_id}")),
            Err(error) => outcome.fail(&error),
        }
    }
    Ok(())
}
