//! `POST …/dagRuns/{dag_run_id}/clear` and `POST /dags/{dag_id}/clearDagRuns`: runs shall run again.

use super::change::MARKED_STATES;
use super::change::set_note;
use super::partitions::Selector;
use super::{RunKey, by_id_on, not_found};
use crate::api_v2::task_instances::clear::{How, clear as clear_instances, refusal, run_on_latest_version};
use crate::api_v2::task_instances::selection::{Runs, Tasks, select};
use crate::api_v2::task_instances::{Collection, by_ids};
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::request_body::RequestBody;
use crate::state::App;
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::collections::HashSet;
use tradewind_metadata::clear;
use uuid::Uuid;

/// How runs are cleared.
struct Wanted {
    dry_run: bool,
    only_failed: bool,
    only_new: bool,
    run_on_latest_version: Option<bool>,
    note: Option<String>,
}

impl Wanted {
    /// Reads the fields without complaining about others.
    fn read(body: &mut Body) -> Self {
        let wanted = Self {
            dry_run: body.bool_or("dry_run", true),
            only_failed: body.bool_or("only_failed", false),
            only_new: body.bool_or("only_new", false),
            run_on_latest_version: body.optional_bool("run_on_latest_version"),
            note: body.optional_text("note"),
        };
        body.limit_length("note", 1000);
        wanted
    }

    fn broken_rule(&self) -> Option<&'static str> {
        (self.only_new && self.only_failed).then_some("only_new and only_failed are mutually exclusive")
    }

    fn states(&self) -> &'static [&'static str] {
        if self.only_failed { &["failed", "upstream_failed"] } else { &[] }
    }
}

pub(super) async fn clear_one(
    State(app): State<App>,
    user: User,
    params: Params,
    Path((dag_id, run_id)): Path<(String, String)>,
    bytes: RequestBody,
) -> ApiResult<Json<Value>> {
    user.may_write(Resource::Dag)?;
    let mut body = Body::from_bytes(&bytes)?;
    let path = [("dag_id", dag_id.as_str()), ("dag_run_id", run_id.as_str())];
    let change = Change { event: "clear_dag_run", method: "POST", path: &path, body: Some(body.fields()) };
    if body.fields().get("dry_run").and_then(Value::as_bool) == Some(false) {
        change.record(&app, &user, &params).await?;
    }
    let wanted = Wanted::read(&mut body);
    body.finish_with(wanted.broken_rule())?;
    let run = RunKey::find(&app.pool, &dag_id, &run_id).await?.ok_or_else(|| not_found(&dag_id, &run_id))?;
    if wanted.dry_run {
        let affected = preview(&app, &dag_id, &run_id, &wanted).await?;
        return Ok(Json(json!({"total_entries": affected.len(), "task_instances": affected})));
    }
    perform(&app, &user, &dag_id, &run_id, &run, &wanted).await.map(Json)
}

pub(super) async fn clear_many(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(dag_id): Path<String>,
    bytes: RequestBody,
) -> ApiResult<Json<Value>> {
    user.may_write(Resource::Dag)?;
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "clear_dag_runs", method: "POST", path: &[("dag_id", &dag_id)], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let wanted = Wanted::read(&mut body);
    body.refuse_null("dag_runs", "list_type", "Input should be a valid list");
    let runs = body.optional_list("dag_runs").unwrap_or_default();
    let partitions = Selector::read(&mut body);
    let broken_rule = wanted.broken_rule().map(str::to_owned);
    let broken_rule = broken_rule.or_else(|| partitions.broken_rule("dag_runs (non-empty)", !runs.is_empty()));
    let runs = read_list(&dag_id, runs);
    let body = body.finish_with(broken_rule.as_deref().filter(|_| runs.is_ok()));
    let ((), runs) = ApiError::both(body, runs).map_err(ApiError::repeated)?;
    for (of_dag, _) in runs.iter().filter(|(of_dag, _)| of_dag != "~") {
        user.may_write_dag(of_dag)?;
    }
    let named = if partitions.is_used() {
        of_partitions(&app, &dag_id, &partitions).await?
    } else {
        of_list(&app, &dag_id, &runs).await?
    };
    let mut affected = Vec::new();
    for (dag_id, run_id, run) in &named {
        if wanted.dry_run {
            affected.extend(preview(&app, dag_id, run_id, &wanted).await?);
        } else {
            affected.push(perform(&app, &user, dag_id, run_id, run, &wanted).await?);
        }
    }
    let total = affected.len();
    Ok(Json(if wanted.dry_run {
        json!({"task_instances": affected, "total_entries": total})
    } else {
        json!({
            "dag_runs": affected, "total_entries": total, "total_entries_limit": null, "next_cursor": null,
            "previous_cursor": null,
        })
    }))
}

/// A run with its Dag's id and its own.
type Named = (String, String, RunKey);

async fn of_partitions(app: &App, dag_id: &str, partitions: &Selector) -> ApiResult<Vec<Named>> {
    if dag_id == "~" {
        let detail = "Partition selectors require a concrete dag_id; '~' is not supported.";
        return Err(ApiError::bad_request(detail));
    }
    let mut named = Vec::new();
    for run_id in partitions.run_ids(app, dag_id).await? {
        // One that was deleted meanwhile needs no clearing.
        if let Some(run) = RunKey::find(&app.pool, dag_id, &run_id).await? {
            named.push((dag_id.to_owned(), run_id, run));
        }
    }
    Ok(named)
}

/// The list `dag_runs`: the Dag and the run of each entry. What is wrong anywhere refuses the request.
fn read_list(dag_id: &str, entries: Vec<Value>) -> ApiResult<Vec<(String, String)>> {
    let mut runs = Ok(Vec::with_capacity(entries.len()));
    for (index, entry) in entries.into_iter().enumerate() {
        let entry =
            Body::from_value(entry, vec!["body".into(), "dag_runs".into(), index.into()]).and_then(|mut entry| {
                let run_id = entry.text("dag_run_id").unwrap_or_default();
                let of_dag = entry.optional_text("dag_id").unwrap_or_else(|| dag_id.to_owned());
                // The form is that of changes, of which nothing else counts.
                entry.optional_text("note");
                entry.optional_word("state", &MARKED_STATES);
                entry.finish().map(|()| (of_dag, run_id))
            });
        runs = ApiError::both(runs, entry).map(|(mut runs, entry): (Vec<_>, _)| {
            runs.push(entry);
            runs
        });
    }
    runs
}

/// The runs of the list `dag_runs`, each once.
async fn of_list(app: &App, dag_id: &str, runs: &[(String, String)]) -> ApiResult<Vec<Named>> {
    let mut found = RunKey::find_all(&app.pool, runs).await?;
    let mut named: Vec<Named> = Vec::new();
    let mut seen = HashSet::new();
    for (of_dag, run_id) in runs {
        if of_dag == "~" {
            let shown = crate::python::repr(run_id);
            return Err(ApiError::bad_request(format!(
                "When the URL dag_id is '~', every entry must provide a concrete dag_id (missing on dag_run_id: {shown})."
            )));
        }
        if dag_id != "~" && of_dag != dag_id {
            return Err(ApiError::bad_request(format!(
                "Entry dag_id '{of_dag}' does not match the URL dag_id '{dag_id}'."
            )));
        }
        let key = (of_dag.clone(), run_id.clone());
        if seen.insert(key.clone()) {
            let run = found.remove(&key).ok_or_else(|| not_found(of_dag, run_id))?;
            named.push((key.0, key.1, run));
        }
    }
    Ok(named)
}

/// What would be cleared.
async fn preview(app: &App, dag_id: &str, run_id: &str, wanted: &Wanted) -> ApiResult<Vec<Value>> {
    let runs = Runs::One(run_id.to_owned());
    if wanted.only_new {
        let dag = app.dags.latest(&app.pool, dag_id).await?;
        let known = select(&app.pool, dag_id, &runs, None, &[]).await?;
        let known: HashSet<String> = known.into_iter().map(|known| known.task_id).collect();
        let mut new: Vec<&String> = dag.tasks.keys().filter(|id| !known.contains(*id)).collect();
        new.sort();
        return Ok(new.into_iter().map(|id| json!({"task_id": id, "task_display_name": id})).collect());
    }
    let selected = select(&app.pool, dag_id, &runs, None, wanted.states()).await?;
    let ids: Vec<Uuid> = selected.iter().map(|selected| selected.id).collect();
    let instances = Collection::whole(by_ids(&app.pool, &ids).await?).task_instances;
    instances
        .iter()
        .map(|instance| serde_json::to_value(instance).map_err(|error| ApiError::internal(&error)))
        .collect()
}

async fn perform(
    app: &App,
    user: &User,
    dag_id: &str,
    run_id: &str,
    run: &RunKey,
    wanted: &Wanted,
) -> ApiResult<Value> {
    let dag = app.dags.of_run(&app.pool, dag_id, run.pinned_dag_version()).await?;
    let latest = run_on_latest_version(app, &dag, wanted.run_on_latest_version)?;
    let runs = Runs::One(run_id.to_owned());
    let mut transaction = app.pool.begin().await?;
    let tasks = if wanted.only_new { Some(add_new_tasks(app, &mut transaction, dag_id, run_id).await?) } else { None };
    let selected = match &tasks {
        Some(new) if new.is_empty() => Vec::new(),
        tasks => select(&mut *transaction, dag_id, &runs, tasks.as_ref(), wanted.states()).await?,
    };
    let how = How { run_on_latest_version: latest, reset_dag_runs: true };
    clear_instances(app, &mut transaction, dag_id, &selected, how).await?;
    if let Some(note) = &wanted.note {
        set_note(&mut transaction, user, run.id, Some(note)).await?;
    }
    let cleared = by_id_on(&mut transaction, run.id).await?;
    transaction.commit().await?;
    serde_json::to_value(cleared).map_err(|error| ApiError::internal(&error))
}

/// Makes the task instances that are new in the latest version of the Dag; with them come the setups and teardowns that
/// have to be cleared, too.
async fn add_new_tasks(app: &App, connection: &mut PgConnection, dag_id: &str, run_id: &str) -> ApiResult<Tasks> {
    let new = clear::add_new_tasks(connection, &app.scheduled_dags, dag_id, run_id).await.map_err(refusal)?;
    let mut tasks = Tasks { ids: new.into_iter().collect(), ..Tasks::default() };
    tasks.add_related(&*app.dags.latest(&app.pool, dag_id).await?, false, false);
    Ok(tasks)
}
