//! The requests that are measured: what the pages of the UI and usual clients ask for.

use serde_json::{Value, json};

use crate::fill::{RUN, WIDE, dag_id};

/// A kind of request, of which each one differs a little.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    /// Path and query of the request with a number.
    pub(crate) path: fn(usize) -> String,
    /// Whether it is the trigger of a run.
    pub(crate) is_trigger: bool,
}

impl Shape {
    /// The body of those that have one.
    pub(crate) fn body(&self) -> Option<Value> {
        self.is_trigger.then(|| json!({"logical_date": null}))
    }
}

const fn get(name: &'static str, path: fn(usize) -> String) -> Shape {
    Shape { name, path, is_trigger: false }
}

/// All of them; the trigger last, since it adds to the database.
pub(crate) const SHAPES: &[Shape] = &[
    get("version", |_| "/api/v2/version".to_owned()),
    get("Dags", |_| "/api/v2/dags?limit=50".to_owned()),
    get("Dags with their runs (UI)", |_| "/ui/dags?dag_runs_limit=14&limit=50&exclude_stale=true".to_owned()),
    get("runs of a Dag", |number| format!("/api/v2/dags/{}/dagRuns?limit=50&order_by=-run_after", of(number))),
    get("grid: runs", |number| format!("/ui/grid/runs/{}?limit=14&order_by=-run_after", of(number))),
    get("grid: structure", |number| format!("/ui/grid/structure/{}?limit=14&order_by=-run_after", of(number))),
    get("grid: states", |number| format!("/ui/grid/ti_summaries/{}?run_ids={RUN}", of(number))),
    get("grid: structure, wide run", |_| format!("/ui/grid/structure/{WIDE}?limit=14&order_by=-run_after")),
    get("grid: states, wide run", |_| format!("/ui/grid/ti_summaries/{WIDE}?run_ids={RUN}")),
    get("task instances, wide run", |_| format!("/api/v2/dags/{WIDE}/dagRuns/{RUN}/taskInstances?limit=100")),
    get("task instances of all Dags", |_| {
        "/api/v2/dags/~/dagRuns/~/taskInstances?limit=100&order_by=-start_date".to_owned()
    }),
    get("log", |number| {
        format!("/api/v2/dags/{}/dagRuns/{RUN}/taskInstances/task_0/logs/1?full_content=true", of(number % LOGS))
    }),
    Shape { name: "trigger", path: |number| format!("/api/v2/dags/{}/dagRuns", of(number)), is_trigger: true },
];

/// Dags that have a log.
pub(crate) const LOGS: usize = 20;

/// The Dag that a request is about; there may be fewer than these only when the benchmark is told so.
fn of(number: usize) -> String {
    dag_id(number % crate::DAGS_ASKED_FOR)
}
