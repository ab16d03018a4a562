//! The cells of the grid: the state of each task and group in each run, one line of JSON per run.

use crate::auth::{Resource, User};
use crate::error::ApiResult;
use crate::kept::Snapshot;
use crate::query::Params;
use crate::serialized_dag::{Child, Group, ROOT, SerializedDag};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use indexmap::IndexMap;
use serde::Serialize;
use sqlx::FromRow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use uuid::Uuid;

/// States, the most telling first: that of a group is the first of these that one of its task instances has.
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
    /// How many have each state of [`PRIORITY`].
    states: [u32; PRIORITY.len()],
    min_start_date: Option<Timestamp>,
    max_end_date: Option<Timestamp>,
    dag_version_number: Option<i32>,
    has_note: bool,
}

impl Summary {
    fn merge(&mut self, other: &Self) {
        for (count, others) in self.states.iter_mut().zip(other.states) {
            *count += others;
        }
        self.min_start_date = [self.min_start_date, other.min_start_date].into_iter().flatten().min();
        self.max_end_date = self.max_end_date.max(other.max_end_date);
        self.dag_version_number = self.dag_version_number.max(other.dag_version_number);
        self.has_note |= other.has_note;
    }

    fn of(instance: &Instance) -> Self {
        let mut summary = Self {
            states: Default::default(),
            min_start_date: instance.start_date,
            max_end_date: instance.end_date,
            dag_version_number: instance.version_number,
            has_note: instance.has_note,
        };
        summary.count(instance.state.as_deref());
        summary
    }

    /// Counts a task instance; a state that Airflow does not know counts for nothing.
    fn count(&mut self, state: Option<&str>) {
        if let Some(place) = PRIORITY.iter().position(|known| *known == state) {
            self.states[place] += 1;
        }
    }

    /// The states there are, with their counts.
    fn states(&self) -> impl Iterator<Item = (Option<&'static str>, u32)> {
        PRIORITY.into_iter().zip(self.states).filter(|(_, count)| *count > 0)
    }
}

/// A cell.
#[derive(Debug, Serialize)]
struct Cell<'a> {
    task_id: &'a str,
    task_display_name: &'a str,
    state: Option<&'static str>,
    child_states: Option<IndexMap<&'static str, u32>>,
    min_start_date: Option<Timestamp>,
    max_end_date: Option<Timestamp>,
    dag_version_number: Option<i32>,
    has_note: bool,
}

impl<'a> Cell<'a> {
    fn new(id: &'a str, name: &'a str, summary: &Summary, with_children: bool) -> Self {
        let counts = || summary.states().map(|(state, count)| (state.unwrap_or("none"), count));
        Self {
            task_id: id,
            task_display_name: name,
            state: summary.states().next().and_then(|(state, _)| state),
            child_states: with_children.then(|| counts().collect()),
            min_start_date: summary.min_start_date,
            max_end_date: summary.max_end_date,
            dag_version_number: summary.dag_version_number,
            has_note: summary.has_note,
        }
    }
}

#[derive(Serialize)]
struct Column<'a> {
    run_id: &'a str,
    dag_id: &'a str,
    task_instances: Vec<Cell<'a>>,
}

pub(super) async fn stream(
    State(app): State<App>,
    snapshot: Snapshot,
    user: User,
    params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<Response> {
    user.may_read(Resource::Dag)?;
    let bytes = |line: &Option<Bytes>| line.as_ref().map(Bytes::len);
    let line = async move |run_id: String| {
        let key = (dag_id.clone(), run_id);
        let line = line(&app, &key.0, &key.1);
        app.grid_lines.get(&app.pool, &key, snapshot.clone(), line, bytes).await
    };
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let run_ids = params.texts("run_ids");
    if let [run_id] = run_ids.as_slice() {
        let body = line(run_id.clone()).await?.unwrap_or_default();
        return Ok((content_type, body).into_response());
    }
    let lines = async_stream::stream! {
        for run_id in run_ids {
            match line(run_id).await {
                Ok(Some(line)) => yield Ok(line),
                Ok(None) => {}
                Err(error) => {
                    yield Err(io::Error::other(error.detail().to_string()));
                    return;
                }
            }
        }
    };
    Ok((content_type, Body::from_stream(lines)).into_response())
}

async fn line(app: &App, dag_id: &str, run_id: &str) -> ApiResult<Option<Bytes>> {
    let statement = include_str!("instances.sql");
    let instances: Vec<Instance> = sqlx::query_as(statement).bind(dag_id).bind(run_id).fetch_all(&app.pool).await?;
    if instances.is_empty() {
        return Ok(None);
    }
    let versioned = instances.iter().filter(|instance| instance.dag_version_id.is_some());
    let version = versioned.min_by_key(|instance| &instance.task_id).and_then(|instance| instance.dag_version_id);
    let Some(dag) = dag_of(app, dag_id, version).await? else { return Ok(None) };
    let mut summaries: HashMap<&str, Summary> = HashMap::new();
    for instance in &instances {
        summaries.entry(&instance.task_id).or_default().merge(&Summary::of(instance));
    }
    let task_instances = cells(&dag, &summaries, app.options.topological_order);
    let mut line = serde_json::to_vec(&Column { run_id, dag_id, task_instances })
        .map_err(|error| crate::error::ApiError::internal(&error))?;
    line.push(b'\n');
    Ok(Some(line.into()))
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
fn cells<'a>(dag: &'a SerializedDag, summaries: &HashMap<&'a str, Summary>, topological: bool) -> Vec<Cell<'a>> {
    let mut cells = Vec::with_capacity(dag.tasks.len() + dag.groups.len());
    if let Some(root) = dag.groups.get(ROOT) {
        group_cells(dag, root, summaries, topological, &mut cells);
    }
    let is_gone = |id: &&str| !dag.tasks.contains_key(*id) && !dag.groups.contains_key(*id);
    let mut gone: Vec<&str> = summaries.keys().copied().filter(is_gone).collect();
    gone.sort_unstable();
    cells.extend(gone.into_iter().map(|id| Cell::new(id, id, &summaries[id], false)));
    cells
}

fn group_cells<'a>(
    dag: &'a SerializedDag,
    group: &'a Group,
    summaries: &HashMap<&'a str, Summary>,
    topological: bool,
    cells: &mut Vec<Cell<'a>>,
) -> Summary {
    let mut whole = Summary::default();
    for child in dag.ordered_children(group, topological) {
        match child {
            Child::Task(id) => {
                let task = &dag.tasks[id];
                let mut summary = summaries.get(id.as_str()).cloned().unwrap_or_default();
                if task.is_mapped() && summary.states().next().is_none() {
                    summary.count(None);
                }
                whole.merge(&summary);
                cells.push(Cell::new(&task.id, task.display_name(), &summary, task.is_mapped()));
            }
            Child::Group(id) => {
                let inner = group_cells(dag, &dag.groups[id], summaries, topological, cells);
                whole.merge(&inner);
            }
        }
    }
    if !group.is_root() {
        cells.push(Cell::new(&group.id, &group.id, &whole, true));
    }
    whole
}
