//! A database of the size at which official Airflow's pages take seconds: many Dags, many runs, and one wide run.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::{PgPool, query};
use tradewind_bench::dags::{self, BUNDLE, dag};
use tradewind_metadata::dag_bundle;

use crate::Size;

/// Tasks of an ordinary Dag.
const TASKS: usize = 10;

/// Lines of the log of each attempt that is read.
const LINES: usize = 200;

/// The Dag with one run of many tasks.
pub(crate) const WIDE: &str = "wide";

/// The run of it, and the first run of every other Dag.
pub(crate) const RUN: &str = "run_0";

/// The ordinary Dag with this number.
pub(crate) fn dag_id(number: usize) -> String {
    format!("dag_{number:04}")
}

/// Fills the database.
pub(crate) async fn database(pool: &PgPool, size: &Size) -> anyhow::Result<()> {
    dag_bundle::sync(pool, &[BUNDLE.to_owned()]).await?;
    let chain: Vec<(String, Vec<String>)> = (0..TASKS)
        .map(|task| {
            (format!("task_{task}"), if task + 1 < TASKS { vec![format!("task_{}", task + 1)] } else { vec![] })
        })
        .collect();
    let fields = |number: usize| json!({"tags": [format!("team_{}", number % 20), "bench"]});
    let mut documents: Vec<Value> =
        (0..size.dags).map(|number| dag(&dag_id(number), &chain, &json!({}), &fields(number))).collect();
    let wide: Vec<(String, Vec<String>)> = (0..size.wide).map(|task| (format!("task_{task}"), vec![])).collect();
    documents.push(dag(WIDE, &wide, &json!({}), &json!({})));
    dags::store(pool, documents).await?;
    let runs = (size.task_instances / (size.dags * TASKS).max(1)).max(1);
    for (wide, runs, tasks) in [(false, runs, TASKS), (true, 1, size.wide)] {
        query(include_str!("../../queries/runs.sql"))
            .bind(WIDE)
            .bind(wide)
            .bind(i32::try_from(runs)?)
            .execute(pool)
            .await?;
        query(include_str!("../../queries/task_instances.sql"))
            .bind(WIDE)
            .bind(wide)
            .bind(i32::try_from(tasks)?)
            .execute(pool)
            .await?;
    }
    query("VACUUM ANALYZE").execute(pool).await?;
    Ok(())
}

/// Writes the log of the first task in the first run of a Dag, where Airflow looks for it.
pub(crate) fn log(base_log_folder: &Path, dag_id: &str) -> anyhow::Result<()> {
    let folder = base_log_folder.join(format!("dag_id={dag_id}/run_id={RUN}/task_id=task_0"));
    std::fs::create_dir_all(&folder)?;
    let line = |number: usize| {
        json!({
            "timestamp": "2026-01-01T00:00:00.000000Z", "level": "info", "logger": "task",
            "event": format!("Line {number} of what a task has to say about its work."),
        })
    };
    let text: String = (0..LINES).map(|number| format!("{}\n", line(number))).collect();
    std::fs::write(folder.join("attempt=1.log"), text)?;
    Ok(())
}
