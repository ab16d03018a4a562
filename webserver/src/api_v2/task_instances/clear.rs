//! `POST /dags/{dag_id}/clearTaskInstances`: task instances shall run again.

use super::list::{Collection, TaskInstance, by_ids};
use super::relatives::Search;
use super::selection::{Runs, Selected, Tasks, select};
use crate::api_v2::dag_runs::RunKey;
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::request_body::RequestBody;
use crate::serialized_dag::{Direction, SerializedDag};
use crate::state::App;
use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use tradewind_metadata::MetadataError;
use tradewind_metadata::clear::{Clearing, clear as clear_run};
use tradewind_metadata::output_length;
use uuid::Uuid;

/// What a request to clear asks for.
struct Wanted {
    dry_run: bool,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
    only_failed: bool,
    only_running: bool,
    reset_dag_runs: bool,
    task_ids: Option<Vec<(String, Option<i64>)>>,
    run_id: Option<String>,
    upstream: bool,
    downstream: bool,
    future: bool,
    past: bool,
    run_on_latest_version: Option<bool>,
    prevent_running_task: bool,
    note: Option<String>,
}

impl Wanted {
    fn read(body: &mut Body) -> ApiResult<Self> {
        let flag = |body: &mut Body, name: &str, default: bool| body.bool_or(name, default);
        let dry_run = flag(body, "dry_run", true);
        let start_date = body.optional_aware_time("start_date");
        let end_date = body.optional_aware_time("end_date");
        let only_failed = flag(body, "only_failed", true);
        let only_running = flag(body, "only_running", false);
        let reset_dag_runs = flag(body, "reset_dag_runs", true);
        let task_ids = body.optional_task_markers("task_ids");
        let run_id = body.optional_text("dag_run_id");
        let upstream = flag(body, "include_upstream", false);
        let downstream = flag(body, "include_downstream", false);
        let future = flag(body, "include_future", false);
        let past = flag(body, "include_past", false);
        let run_on_latest_version = body.optional_bool("run_on_latest_version");
        let prevent_running_task = flag(body, "prevent_running_task", false);
        let note = body.optional_text("note");
        body.limit_length("note", 1000);
        let both = body.fields().get("only_failed") == Some(&Value::Bool(true)) && only_running;
        let ordered = start_date.zip(end_date).is_none_or(|(start, end)| start <= end);
        let broken = if both {
            Some("only_failed and only_running both are set to True")
        } else if !ordered {
            Some("end_date is sooner than start_date")
        } else if start_date.is_some() && end_date.is_some() && run_id.is_some() {
            Some("Exactly one of dag_run_id or (start_date and end_date) must be provided")
        } else if start_date.is_some() && run_id.is_some() {
            Some("Exactly one of dag_run_id or start_date must be provided")
        } else if end_date.is_some() && run_id.is_some() {
            Some("Exactly one of dag_run_id or end_date must be provided")
        } else if task_ids.as_ref().is_some_and(Vec::is_empty) {
            Some("task_ids list should have at least 1 element.")
        } else {
            None
        };
        body.finish_with(broken)?;
        Ok(Self {
            dry_run,
            start_date,
            end_date,
            only_failed,
            only_running,
            reset_dag_runs,
            task_ids,
            run_id,
            upstream,
            downstream,
            future,
            past,
            run_on_latest_version,
            prevent_running_task,
            note,
        })
    }

    fn states(&self) -> Vec<&'static str> {
        let mut states = Vec::new();
        if self.only_failed {
            states.extend(["failed", "upstream_failed"]);
        }
        if self.only_running {
            states.push("running");
        }
        states
    }

    /// The named tasks; `None` for all.
    fn named(&self) -> Option<Tasks> {
        let mut tasks = Tasks::default();
        for (task_id, map_index) in self.task_ids.as_ref()? {
            match map_index {
                None => drop(tasks.ids.insert(task_id.clone())),
                Some(index) => tasks.mapped.push((task_id.clone(), i32::try_from(*index).unwrap_or(-1))),
            }
        }
        Some(tasks)
    }
}

/// Adds the relatives of named tasks. In a run, those of a mapped task instance are the ones of the same expansion; over
/// several runs it counts as its whole task, since every run is expanded its own way.
async fn add_relatives(
    app: &App,
    dag: &SerializedDag,
    run: Option<(&str, &RunKey)>,
    wanted: &Wanted,
    tasks: &mut Tasks,
) -> ApiResult<()> {
    let directions = [(wanted.upstream, Direction::Upstream), (wanted.downstream, Direction::Downstream)];
    let directions = directions.into_iter().filter_map(|(is_wanted, direction)| is_wanted.then_some(direction));
    match run {
        Some((run_id, run)) if !tasks.mapped.is_empty() => {
            let mut connection = app.pool.acquire().await?;
            let model = app.scheduled_dags.version(&mut connection, dag.dag_version_id).await.map_err(refusal)?;
            let lengths = output_length::load(&mut connection, &model, run.id, run_id).await.map_err(refusal)?;
            for direction in directions {
                let search = Search { dag, model: &model, lengths: &lengths, direction };
                tasks.add(search.relatives(tasks));
            }
        }
        _ => tasks.add_related(dag, wanted.upstream, wanted.downstream),
    }
    tasks.add_related(dag, false, false);
    Ok(())
}

pub(super) async fn post_clear(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(dag_id): Path<String>,
    bytes: RequestBody,
) -> ApiResult<Json<Collection>> {
    let mut body = Body::from_bytes(&bytes)?;
    let change = Change {
        event: "post_clear_task_instances",
        method: "POST",
        path: &[("dag_id", &dag_id)],
        body: Some(body.fields()),
    };
    if body.fields().get("dry_run").and_then(Value::as_bool) == Some(false) {
        change.record(&app, &user, &params).await?;
    }
    user.may_write(Resource::Dag)?;
    let wanted = Wanted::read(&mut body)?;
    let mut dag = app.dags.latest(&app.pool, &dag_id).await?;
    let mut of_run = None;
    let runs = match &wanted.run_id {
        None => Runs::Between(wanted.start_date.filter(|_| !wanted.past), wanted.end_date.filter(|_| !wanted.future)),
        Some(run_id) => {
            let run = RunKey::find(&app.pool, &dag_id, run_id).await?;
            let run =
                run.ok_or_else(|| ApiError::not_found(format!("Dag Run id {run_id} not found in dag {dag_id}")))?;
            if (wanted.past || wanted.future) && run.logical_date.is_none() {
                return Err(ApiError::bad_request(
                    "Cannot use include_past or include_future with no logical_date(e.g. manually or asset-triggered).",
                ));
            }
            dag = app.dags.of_run(&app.pool, &dag_id, run.pinned_dag_version()).await?;
            let runs = Runs::around(run_id, &run, wanted.past, wanted.future);
            of_run = Some((run_id.as_str(), run));
            runs
        }
    };
    let mut tasks = wanted.named();
    if let Some(tasks) = &mut tasks {
        add_relatives(&app, &dag, of_run.as_ref().map(|(run_id, run)| (*run_id, run)), &wanted, tasks).await?;
    }
    let selected = select(&app.pool, &dag_id, &runs, tasks.as_ref(), &wanted.states()).await?;
    if wanted.dry_run {
        return Ok(Json(Collection::whole(shown(&app, &selected).await?)));
    }
    let runs_now = selected.iter().any(|selected| selected.state.as_deref() == Some("running"));
    if wanted.prevent_running_task && runs_now {
        return Err(ApiError::conflict(
            "AirflowClearRunningTaskException: Disable 'prevent_running_task' to proceed, or wait until the task is not \
             running, queued, or scheduled state.",
        ));
    }
    let latest = run_on_latest_version(&app, &dag, wanted.run_on_latest_version)?;
    let how = How { run_on_latest_version: latest, reset_dag_runs: wanted.reset_dag_runs };
    let mut transaction = app.pool.begin().await?;
    let ids = clear(&app, &mut transaction, &dag_id, &selected, how).await?;
    // As in Airflow the answer is what the clear left, before a scheduler hears of it, and without the note.
    let cleared = by_ids(&mut *transaction, &ids).await?;
    if let Some(note) = &wanted.note {
        set_notes(&mut transaction, &user, &ids, Some(note)).await?;
    }
    transaction.commit().await?;
    Ok(Json(Collection::whole(cleared)))
}

async fn shown(app: &App, selected: &[Selected]) -> ApiResult<Vec<TaskInstance>> {
    let ids: Vec<Uuid> = selected.iter().map(|selected| selected.id).collect();
    by_ids(&app.pool, &ids).await
}

/// How task instances are cleared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    pub(crate) run_on_latest_version: bool,
    pub(crate) reset_dag_runs: bool,
}

/// Clears task instances run by run and returns the ids of their next attempts.
pub(crate) async fn clear(
    app: &App,
    connection: &mut PgConnection,
    dag_id: &str,
    selected: &[Selected],
    how: How,
) -> ApiResult<Vec<Uuid>> {
    let mut by_run: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
    for selected in selected {
        by_run.entry(&selected.run_id).or_default().push(selected.id);
    }
    for (run_id, ids) in &by_run {
        let clearing = Clearing {
            dag_id,
            run_id,
            ids: Some(ids),
            run_on_latest_version: how.run_on_latest_version,
            reset_dag_run: how.reset_dag_runs,
        };
        clear_run(&mut *connection, &app.scheduled_dags, clearing).await.map_err(refusal)?;
    }
    let ids = sqlx::query_scalar(include_str!("current_ids.sql"))
        .bind(dag_id)
        .bind(selected.iter().map(|selected| selected.run_id.clone()).collect::<Vec<_>>())
        .bind(selected.iter().map(|selected| selected.task_id.clone()).collect::<Vec<_>>())
        .bind(selected.iter().map(|selected| selected.map_index).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(ids)
}

/// What the request says, then the Dag, then `[core] rerun_with_latest_version`, then no.
pub(crate) fn run_on_latest_version(app: &App, dag: &SerializedDag, explicit: Option<bool>) -> ApiResult<bool> {
    rerun_on_latest_version(app, dag, explicit).map(Option::unwrap_or_default)
}

/// The same, when anything says.
pub(crate) fn rerun_on_latest_version(
    app: &App,
    dag: &SerializedDag,
    explicit: Option<bool>,
) -> ApiResult<Option<bool>> {
    let of_dag = dag.field("rerun_with_latest_version").and_then(Value::as_bool);
    if let Some(value) = explicit.or(of_dag) {
        return Ok(Some(value));
    }
    let option = ("core", "rerun_with_latest_version");
    let set = app.config.optional(option.0, option.1).map_err(|error| ApiError::internal(&error))?;
    match set.filter(|text| !text.is_empty()) {
        Some(_) => app.config.bool(option.0, option.1).map(Some).map_err(|error| ApiError::internal(&error)),
        None => Ok(None),
    }
}

/// Sets or, with an empty text, removes the notes of task instances.
pub(super) async fn set_notes(
    connection: &mut PgConnection,
    user: &User,
    ids: &[Uuid],
    note: Option<&str>,
) -> ApiResult<()> {
    match note {
        Some("") => {
            sqlx::query("DELETE FROM task_instance_note WHERE ti_id = ANY($1)").bind(ids).execute(connection).await?;
        }
        note => {
            sqlx::query(
                "INSERT INTO task_instance_note (ti_id, user_id, content, created_at, updated_at) \
                 SELECT id, $2, $3, now(), now() FROM unnest($1::uuid[]) AS id \
                 ON CONFLICT (ti_id) DO UPDATE SET content = EXCLUDED.content, user_id = EXCLUDED.user_id, \
                 updated_at = EXCLUDED.updated_at",
            )
            .bind(ids)
            .bind(&user.name)
            .bind(note)
            .execute(connection)
            .await?;
        }
    }
    Ok(())
}

pub(crate) fn refusal(error: MetadataError) -> ApiError {
    match error {
        MetadataError::NotFound(detail) => ApiError::not_found(detail),
        MetadataError::Conflict(detail) => ApiError::conflict(detail),
        other => other.into(),
    }
}
