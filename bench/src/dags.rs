//! Dags for benchmarks, as the Dag processor stores them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use tradewind_airflow::fernet::Fernet;
use tradewind_dag_processor::parsed_dag::{self, DagDefaults};
use tradewind_metadata::parse_result::{self, ParsedFile, WriteOptions};

/// The bundle of all Dags; `dag_bundle::sync` makes it.
pub const BUNDLE: &str = "dags-folder";

/// Stores Dags as the Dag processor does.
///
/// # Errors
/// What the database says, or what of a document cannot be read.
pub async fn store(pool: &PgPool, documents: Vec<Value>) -> anyhow::Result<()> {
    let defaults = DagDefaults {
        owner: "airflow".to_owned(),
        max_active_tasks: 16,
        max_active_runs: 16,
        max_consecutive_failed_dag_runs: 0,
    };
    let options = WriteOptions {
        paused_at_creation: false,
        compress: false,
        min_update_interval: chrono::Duration::zero(),
        fernet: Arc::new(Fernet::new("")?),
    };
    for document in documents {
        let path = document["dag"]["relative_fileloc"].as_str().unwrap_or_default().to_owned();
        let mut dag = parsed_dag::read(document, &defaults).map_err(anyhow::Error::msg)?;
        // There is no file to read.
        dag.source_code = Ok(String::new());
        let file = ParsedFile {
            bundle_name: BUNDLE.to_owned(),
            bundle_version: None,
            relative_fileloc: path,
            duration: Duration::ZERO,
            dags: vec![dag],
            import_errors: BTreeMap::new(),
            warnings: Vec::new(),
        };
        let outcome = parse_result::write(pool, &file, &options).await?;
        anyhow::ensure!(outcome.import_errors == 0, "a Dag of the benchmark is refused");
    }
    Ok(())
}

/// A serialized Dag; each task names the tasks after it.
pub fn dag(dag_id: &str, tasks: &[(String, Vec<String>)], task_fields: &Value, dag_fields: &Value) -> Value {
    let children: serde_json::Map<String, Value> =
        tasks.iter().map(|(task_id, _)| (task_id.clone(), json!(["operator", task_id]))).collect();
    let tasks: Vec<Value> = tasks
        .iter()
        .map(|(task_id, downstream)| {
            let task = json!({
                "task_id": task_id, "task_type": "PythonOperator", "downstream_task_ids": downstream,
                "_task_module": "airflow.providers.standard.operators.python", "template_fields": [],
                "_needs_expansion": false,
            });
            json!({"__type": "operator", "__var": overlaid(task, task_fields)})
        })
        .collect();
    let path = format!("{dag_id}.py");
    let dag = json!({
        "dag_id": dag_id, "fileloc": format!("/dags/{path}"), "relative_fileloc": path, "timezone": "UTC",
        "timetable": {"__type": "airflow.timetables.simple.NullTimetable", "__var": {}}, "tasks": tasks,
        "task_group": {
            "_group_id": null, "prefix_group_id": true, "children": children, "tooltip": "", "ui_color": "",
            "ui_fgcolor": "", "upstream_group_ids": [], "downstream_group_ids": [], "upstream_task_ids": [],
            "downstream_task_ids": [],
        },
        "params": [], "dag_dependencies": [], "edge_info": {}, "deadline": null, "allowed_run_types": null,
    });
    json!({"__version": 3, "dag": overlaid(dag, dag_fields)})
}

fn overlaid(mut below: Value, above: &Value) -> Value {
    for (field, value) in above.as_object().into_iter().flatten() {
        below[field] = value.clone();
    }
    below
}
