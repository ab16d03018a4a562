//! The cells of the grid: the state of each task and group in each run, one line of JSON per run.

use crate::auth::{Resource, User};
use crate::error::ApiResult;
use crate::query::Params;
use crate::serialized_dag::{Child, Group, ROOT, SerializedDag};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};
use serde::Serialize;
use sqlx::FromRow;
use std::io;
use std::sync::Arc;
use uuid::Uuid;

/// The state of a group is the first of these that one of its task instances has.
const PRIORITY: [Option<&str>; 14] = [
    Some("failed"),
    Some("upstream_failed"),
    Some("up_for_retry"),
    Some("up_for_reschedule"),
    Some("running"),
    Some("restarting"),
    Some("deferred"),
    Some("awaiting_input"),
    Some("queued"),
    Some("scheduled"),
    None,
    Some("success"),
    Some("skipped"),
    Some("removed"),
];

#[derive(FromRow)]
struct Instance {
    task_id: String,
    state: Option<String>,
    dag_version_id: Option<Uuid>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    version_number: Option<i32>,
    has_note: bool,
}

/// What the task instances of a task or group have in common.
#[derive(Debug, Clone, Default)]
struct Summary {
    states: IndexMap<Option<String>, i64>,
    min_start_date: Option<Timestamp>,
    max_end_date: Option<Timestamp>,
    dag_version_number: Option<i32>,
    has_note: bool,
}

impl Summary {
    fn merge(&mut self, other: &Self) {
        for (state, count) in &other.states {
            *self.states.entry(state.clone()).or_default() += count;
        }
        self.min_start_date = [self.min_start_date, other.min_start_date].into_iter().flatten().min();
        self.max_end_date = self.max_end_date.max(other.max_end_date);
        self.dag_version_number = self.dag_version_number.max(other.dag_version_number);
        self.has_note |= other.has_note;
    }

    fn of(instance: &Instance) -> Self {
        Self {
            states: IndexMap::from([(instance.state.clone(), 1)]),
            min_start_date: instance.start_date,
            max_end_date: instance.end_date,
            dag_version_number: instance.version_number,
            has_note: instance.has_note,
        }
    }

    fn state(&self) -> Option<String> {
        let found = PRIORITY.into_iter().find(|state| self.states.contains_key(&state.map(str::to_owned)));
        found.flatten().map(str::to_owned)
    }
}

/// A cell.
#[derive(Debug, Serialize)]
struct Cell {
    task_id: String,
    task_display_name: String,
    state: Option<String>,
    child_states: Option<IndexMap<String, i64>>,
    min_start_date: Option<Timestamp>,
    max_end_date: Option<Timestamp>,
    dag_version_number: Option<i32>,
    has_note: bool,
}

impl Cell {
    fn new(id: &str, name: &str, summary: &Summary, with_children: bool) -> Self {
        let counts = summary.states.iter();
        let states = counts.map(|(state, count)| (state.clone().unwrap_or_else(|| "none".to_owned()), *count));
        Self {
            task_id: id.to_owned(),
            task_display_name: name.to_owned(),
            state: summary.state(),
            child_states: with_children.then(|| states.collect()),
            min_start_date: summary.min_start_date,
            max_end_date: summary.max_end_date,
            dag_version_number: summary.dag_version_number,
            has_note: summary.has_note,
        }
    }
}

#[derive(Serialize)]
struct Column {
    run_id: String,
    dag_id: String,
    task_instances: Vec<Cell>,
}

pub(super) async fn stream(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<Response> {
    user.may_read(Resource::Dag)?;
    let lines = async_stream::stream! {
        for run_id in params.texts("run_ids") {
            match line(&app, &dag_id, run_id).await {
                Ok(Some(line)) => yield Ok(line),
                Ok(None) => {}
                Err(error) => {
                    yield Err(io::Error::other(error.detail().to_string()));
                    return;
                }
            }
        }
    };
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

async fn line(app: &App, dag_id: &str, run_id: String) -> ApiResult<Option<Bytes>> {
    let statement = include_str!("instances.sql");
    let instances: Vec<Instance> = sqlx::query_as(statement).bind(dag_id).bind(&run_id).fetch_all(&app.pool).await?;
    let version = instances.iter().find_map(|instance| instance.dag_version_id);
    let mut summaries: IndexMap<String, Summary> = IndexMap::new();
    for instance in &instances {
        summaries.entry(instance.task_id.clone()).or_default().merge(&Summary::of(instance));
    }
    if summaries.is_empty() {
        return Ok(None);
    }
    let Some(dag) = dag_of(app, dag_id, version).await? else { return Ok(None) };
    let task_instances = cells(&dag, &summaries, app.options.topological_order);
    let column = Column { run_id, dag_id: dag_id.to_owned(), task_instances };
    let mut text = serde_json::to_string(&column).map_err(|error| crate::error::ApiError::internal(&error))?;
    text.push('\n');
    Ok(Some(text.into()))
}

/// The Dag as the run knew it; runs from before versions existed get the oldest one.
async fn dag_of(app: &App, dag_id: &str, version: Option<Uuid>) -> ApiResult<Option<Arc<SerializedDag>>> {
    let version = match version {
        Some(version) => Some(version),
        None => {
            sqlx::query_scalar("SELECT id FROM dag_version WHERE dag_id = $1 ORDER BY id LIMIT 1")
                .bind(dag_id)
                .fetch_optional(&app.pool)
                .await?
        }
    };
    match version {
        Some(version) => app.dags.version(&app.pool, version).await,
        None => Ok(None),
    }
}

/// A cell for each task and group, members before their group, then those of tasks the Dag no longer has.
fn cells(dag: &SerializedDag, summaries: &IndexMap<String, Summary>, topological: bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    if let Some(root) = dag.groups.get(ROOT) {
        group_cells(dag, root, summaries, topological, &mut cells);
    }
    let known: IndexSet<&String> = dag.tasks.keys().collect();
    let mut gone: Vec<&String> = summaries.keys().filter(|id| !known.contains(id)).collect();
    gone.sort();
    let gone = gone.into_iter().filter(|id| !dag.groups.contains_key(*id));
    cells.extend(gone.map(|id| Cell::new(id, id, &summaries[id], false)));
    cells
}

fn group_cells(
    dag: &SerializedDag,
    group: &Group,
    summaries: &IndexMap<String, Summary>,
    topological: bool,
    cells: &mut Vec<Cell>,
) -> Summary {
    let mut whole = Summary::default();
    for child in dag.ordered_children(group, topological) {
        match child {
            Child::Task(id) => {
                let task = &dag.tasks[&id];
                let mut summary = summaries.get(&id).cloned().unwrap_or_default();
                if task.is_mapped() && summary.states.is_empty() {
                    summary.states.insert(None, 1);
                }
                whole.merge(&summary);
                cells.push(Cell::new(&id, task.display_name(), &summary, task.is_mapped()));
            }
            Child::Group(id) => {
                let inner = group_cells(dag, &dag.groups[&id], summaries, topological, cells);
                whole.merge(&inner);
            }
        }
    }
    if !group.is_root() {
        cells.push(Cell::new(&group.id, &group.id, &whole, true));
    }
    whole
}
