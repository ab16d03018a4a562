//! `…/taskInstances/{task_id}/dependencies`: what keeps a task instance from being scheduled, in official Airflow's words.
//!
//! Source: `SCHEDULER_QUEUED_DEPS` in `airflow/ti_deps/dependencies_deps.py`, and the dependencies that every operator has
//! (`airflow/serialization/definitions/baseoperator.py`). Official Airflow asks for task instances without state and
//! scheduled ones only. `/tradewind/v1/…/explain` tells more, of all states.

use super::dependency_wording as wording;
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::{Params, PathInt};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::FromRow;
use tradewind_metadata::explanation::Situation;
use tradewind_model::dag::{Dag, TaskIndex};
use tradewind_model::scheduling::{Prospects, RunView, TaskInstanceFacts};
use tradewind_model::state::{DagRunState, TaskInstanceState};

#[derive(Serialize)]
pub(super) struct Dependency {
    name: &'static str,
    reason: String,
}

impl Dependency {
    pub(super) fn new(name: &'static str, reason: impl Into<String>) -> Self {
        Self { name, reason: reason.into() }
    }
}

/// What the database counts for it.
#[derive(FromRow)]
struct Counts {
    pool: String,
    pool_exists: bool,
    pool_slots: i32,
    open_slots: Option<i64>,
    running_of_dag: i64,
    active: i64,
    active_in_run: i64,
}

async fn failed(app: &App, dag_id: &str, run_id: &str, task_id: &str, map_index: i32) -> ApiResult<Json<Value>> {
    let missing = || ApiError::not_found(json!([super::missing(dag_id, run_id, task_id, map_index)]));
    let options = &app.options.explanation;
    let situation = Situation::load(&app.pool, &app.scheduled_dags, options, dag_id, run_id).await;
    let situation = situation?.ok_or_else(missing)?;
    let view = situation.view();
    let mut instances = view.task_instances.iter();
    let place = instances.position(|facts| facts.task_id == task_id && facts.map_index == map_index);
    let place = place.ok_or_else(missing)?;
    let facts = &view.task_instances[place];
    let mut dependencies = Vec::new();
    let is_asked_for = matches!(facts.state, None | Some(TaskInstanceState::Scheduled));
    if let Some(task) = view.dag.index_of(task_id).filter(|_| is_asked_for) {
        let counts: Option<Counts> =
            sqlx::query_as(include_str!("dependencies.sql")).bind(facts.id).fetch_optional(&app.pool).await?;
        of_surroundings(&view, facts, task, situation.is_paused(), &counts.ok_or_else(missing)?, &mut dependencies);
        let prospects = Prospects::new(view);
        let unmet = prospects.unmet(task, place);
        dependencies.extend(unmet.iter().filter_map(|unmet| wording::of_unmet(view.dag, task, unmet)));
        dependencies.sort_by_key(|dependency| dependency.name);
    }
    Ok(Json(json!({"dependencies": dependencies})))
}

/// What the state, the run, the Dag and the limits say.
fn of_surroundings(
    view: &RunView<'_>,
    facts: &TaskInstanceFacts,
    task: TaskIndex,
    is_paused: bool,
    counts: &Counts,
    found: &mut Vec<Dependency>,
) {
    let dag = view.dag;
    if is_paused {
        found.push(Dependency::new("Dag Not Paused", format!("Task's DAG '{}' is paused.", dag.dag_id)));
    }
    if view.run.state != DagRunState::Running {
        let reason = format!(
            "Task instance's dagrun was not in the 'running' state but in the state '{}'.",
            view.run.state.as_str()
        );
        found.push(Dependency::new("Dagrun Running", reason));
    }
    if let Some(logical_date) = view.run.logical_date {
        of_logical_date(dag, task, logical_date, view.now, found);
    }
    if facts.state.is_none() {
        found.push(Dependency::new("Task Instance State", "Task is in the 'None' state."));
    }
    of_limits(dag, task, counts, found);
}

fn of_limits(dag: &Dag, task: TaskIndex, counts: &Counts, found: &mut Vec<Dependency>) {
    let Counts { pool, pool_slots, .. } = counts;
    if !counts.pool_exists {
        let reason = format!("Tasks using non-existent pool '{pool}' will not be scheduled");
        found.push(Dependency::new("Pool Slots Available", reason));
    } else if let Some(open) = counts.open_slots.filter(|open| *open < i64::from(*pool_slots)) {
        let reason = format!(
            "Not scheduling since there are {open} open slots in pool {pool} and require {pool_slots} pool slots"
        );
        found.push(Dependency::new("Pool Slots Available", reason));
    }
    let limit = dag.settings.max_active_tasks;
    if counts.running_of_dag >= i64::from(limit) {
        let dag_id = &dag.dag_id;
        let reason =
            format!("The maximum number of running tasks ({limit}) for this task's DAG '{dag_id}' has been reached.");
        found.push(Dependency::new("Task Instance Slots Available", reason));
    }
    let task = dag.at(task);
    let is_reached = |limit: Option<i32>, active: i64| limit.is_some_and(|limit| active >= i64::from(limit));
    if is_reached(task.max_active_tis_per_dag, counts.active) {
        found.push(Dependency::new("Task Concurrency", "The max task concurrency has been reached."));
    } else if is_reached(task.max_active_tis_per_dagrun, counts.active_in_run) {
        found.push(Dependency::new("Task Concurrency", "The max task concurrency per run has been reached."));
    }
}

fn of_logical_date(
    dag: &Dag,
    task: TaskIndex,
    logical_date: DateTime<Utc>,
    now: DateTime<Utc>,
    found: &mut Vec<Dependency>,
) {
    let iso = |date: DateTime<Utc>| Timestamp(date).isoformat();
    let (date, task, settings) = (iso(logical_date), dag.at(task), &dag.settings);
    let mut say = |reason: String| found.push(Dependency::new("Logical Date", reason));
    if logical_date > now {
        say(format!("Logical date {date} is in the future (the current date is {}).", iso(now)));
    }
    for (end, whose) in [(task.end_date, "end date"), (settings.end_date, "DAG's end date")] {
        if let Some(end) = end.filter(|end| logical_date > *end) {
            say(format!("The logical date is {date} but this is after the task's {whose} {}.", iso(end)));
        }
    }
    for (start, whose) in [(task.start_date, "start date"), (settings.start_date, "DAG's start date")] {
        if let Some(start) = start.filter(|start| logical_date < *start) {
            say(format!("The logical date is {date} but this is before the task's {whose} {}.", iso(start)));
        }
    }
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
