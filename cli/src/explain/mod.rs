//! `tradewind tasks explain`: why a Dag run or a task instance waits. `tradewind dags explain`: why no run is made.

mod plain;
mod table;

use anyhow::{Result, bail};
use serde::Serialize;
use tradewind_airflow::config::Config;
use tradewind_metadata::explanation::{self, Options, Situation};
use tradewind_metadata::serialized_dag::Cache;
use tradewind_metadata::{Database, MetadataError, migrate};
use tradewind_model::explanation::{Explainer, Explanation, TaskInstanceExplanation};

use crate::arguments::{Explain, ExplainDag, Output};
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
    let database = connect(config).await?;
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

/// Tells why no run is made of a Dag.
pub(crate) async fn dag(config: &Config, what: &ExplainDag) -> Result<()> {
    let options = Options::from_config(config)?;
    let mut connection = connect(config).await?.pool().acquire().await?;
    let Some(schedule) = explanation::schedule(&mut connection, &options, &what.dag_id).await? else {
        bail!(MetadataError::NotFound(format!(
            "there is no Dag {:?}\nhint: `airflow dags list` lists those that there are",
            what.dag_id
        )));
    };
    let told = schedule.explain();
    match what.output {
        Output::Plain => say(format_args!("{}", plain::Dag(&told))),
        Output::Table => say(format_args!("{}", table::of_dag(&told))),
        output => say_data(output, &told)?,
    }
    Ok(())
}

/// Connects to the metadata database and checks that its schema is the one we know.
async fn connect(config: &Config) -> Result<Database> {
    let database = Database::connect(config, "tradewind explain").await?;
    migrate::check(database.pool()).await?;
    Ok(database)
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

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeZone, Utc};
    use tradewind_model::explanation::{Explanation, Reason, TaskInstances};
    use tradewind_model::state::{DagRunState, TaskInstanceState};

    use super::{plain, table};

    fn now() -> DateTime<Utc> {
        Utc.timestamp_opt(1_700_000_000, 0).single().unwrap_or_default()
    }

    fn group(task_id: &str, map_indexes: Vec<i32>, count: usize, reason: Reason) -> TaskInstances {
        TaskInstances {
            task_id: task_id.to_owned(),
            map_index: map_indexes[0],
            map_indexes,
            count,
            state: Some(TaskInstanceState::Scheduled),
            try_number: 1,
            reasons: vec![reason],
        }
    }

    fn told() -> Explanation {
        let limit = Reason::MaxActiveTasks { dag_id: "d".to_owned(), limit: 1, active: 1 };
        let retry = Reason::RetryPeriod { until: now(), try_number: 1, max_tries: 1 };
        Explanation {
            dag_id: "d".to_owned(),
            run_id: "r".to_owned(),
            state: DagRunState::Running,
            run_after: now(),
            start_date: Some(now()),
            at: now(),
            reasons: vec![Reason::DagPaused { dag_id: "d".to_owned() }],
            remarks: Vec::new(),
            states: Vec::new(),
            task_instances: vec![group("a", vec![-1], 1, retry), group("b", (0..20).collect(), 500, limit)],
            total_entries: 5,
        }
    }

    #[test]
    fn lines_tell_of_the_run_and_then_of_its_task_instances() {
        let lines = "\
d r: running
  - Dag \"d\" is paused: nothing starts until it is unpaused
a (scheduled)
  - attempt 1 of 2 failed: the next one does not start before 2023-11-14T22:13:20Z
b[0, 1, 2, 3, 4, …], 500 task instances (scheduled)
  - max_active_tasks of Dag \"d\" is 1, and 1 task instance of this run is queued or running
and 3 more: name a task, or raise --limit";
        assert_eq!(plain::Run(&told()).to_string(), lines);
    }

    #[test]
    fn a_table_has_a_row_for_each_reason() {
        let table = table::of_run(&told());
        let rows: Vec<&str> = table.lines().collect();
        assert_eq!(rows.len(), 5);
        assert!(rows[0].starts_with("task_instance ") && rows[1].starts_with("======"), "{table}");
        let cells: Vec<&str> = rows[3].split(" | ").map(str::trim).collect();
        assert_eq!(cells[..4], ["a", "scheduled", "retry_period", "2023-11-14T22:13:20+00:00"]);
    }
}
