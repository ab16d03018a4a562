//! `tradewind tasks explain`: why a Dag run or a task instance waits.

mod plain;
mod table;

use anyhow::{Result, bail};
use serde::Serialize;
use tradewind_airflow::config::Config;
use tradewind_metadata::explanation::{Options, Situation};
use tradewind_metadata::serialized_dag::Cache;
use tradewind_metadata::{Database, MetadataError, migrate};
use tradewind_model::explanation::{Explainer, Explanation, TaskInstanceExplanation};

use crate::arguments::{Explain, Output};
use crate::console::say;

/// What is told.
enum Told {
    /// Of a run, or of all instances of a task.
    Run(Explanation),
    /// Of one task instance.
    TaskInstance(TaskInstanceExplanation),
}

/// Reads the situation from the metadata database and tells of it.
pub(crate) async fn run(config: &Config, what: &Explain) -> Result<()> {
    let options = Options::from_config(config)?;
    let database = Database::connect(config, "tradewind tasks explain").await?;
    migrate::check(database.pool()).await?;
    let Explain { dag_id, run_id, .. } = what;
    let Some(situation) = Situation::load(database.pool(), &Cache::default(), &options, dag_id, run_id).await? else {
        bail!(MetadataError::NotFound(format!(
            "Dag {dag_id:?} has no run {run_id:?}\nhint: `airflow dags list-runs {dag_id}` lists those that there are"
        )));
    };
    let told = tell(&situation.explainer(), what)?;
    match (what.output, &told) {
        (Output::Plain, Told::Run(told)) => say(format_args!("{}", plain::Run(told))),
        (Output::Plain, Told::TaskInstance(told)) => say(format_args!("{}", plain::TaskInstance(told))),
        (Output::Table, Told::Run(told)) => say(format_args!("{}", table::of_run(told))),
        (Output::Table, Told::TaskInstance(told)) => say(format_args!("{}", table::of_task_instance(told))),
        (output, Told::Run(told)) => say_data(output, told)?,
        (output, Told::TaskInstance(told)) => say_data(output, told)?,
    }
    Ok(())
}

fn say_data(output: Output, told: &impl Serialize) -> Result<()> {
    match output {
        Output::Yaml => say(format_args!("{}", serde_yaml_ng::to_string(told)?.trim_end())),
        _ => say(format_args!("{}", serde_json::to_string_pretty(told)?)),
    }
    Ok(())
}

/// Tells of the run, of a task, or of one task instance, as asked.
fn tell(explainer: &Explainer<'_>, what: &Explain) -> Result<Told> {
    let Some(task_id) = &what.task_id else { return Ok(Told::Run(explainer.run(0, what.limit))) };
    if let Some(told) = explainer.task_instance(task_id, what.map_index.unwrap_or(-1)) {
        return Ok(Told::TaskInstance(told));
    }
    let Explain { dag_id, run_id, .. } = what;
    let told = explainer.task(task_id, what.limit);
    match (told, what.map_index) {
        (Some(told), None) => Ok(Told::Run(told)),
        (Some(_), Some(map_index)) => {
            bail!(MetadataError::NotFound(format!("task {task_id:?} has no map index {map_index} in run {run_id:?}")))
        }
        (None, _) => bail!(MetadataError::NotFound(format!(
            "run {run_id:?} of Dag {dag_id:?} has no task instance of a task {task_id:?}\nhint: `airflow tasks \
             states-for-dag-run {dag_id} {run_id}` lists those that there are"
        ))),
    }
}
