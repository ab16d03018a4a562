//! How long the outputs of a run are that tasks are mapped over.
//!
//! Source: `get_task_map_length` in `airflow/models/xcom_arg.py`.

use std::collections::{HashMap, HashSet};

use sqlx::{PgConnection, query_as, query_scalar};
use tradewind_model::dag::{Dag, TaskIndex};
use tradewind_model::mapping;
use tradewind_model::scheduling::{XComFacts, integrity_needs};

use crate::{MetadataError, Result};

/// The lengths that are known in a run.
#[derive(Debug, Default)]
pub struct OutputLengths(HashMap<TaskIndex, u64>);

impl mapping::OutputLengths for OutputLengths {
    fn length(&self, task: TaskIndex) -> Option<u64> {
        self.0.get(&task).copied()
    }
}

/// Loads the lengths of a run, `id` being `dag_run.id`. That of a mapped task is known when all its instances have ended.
pub async fn load(connection: &mut PgConnection, dag: &Dag, id: i32, run_id: &str) -> Result<OutputLengths> {
    let facts = facts(&mut *connection, dag, id, run_id).await?;
    let mapped = integrity_needs(dag).return_value_counts;
    let unfinished: HashSet<String> = if mapped.is_empty() {
        HashSet::new()
    } else {
        let statement = include_str!("../queries/output_length/unfinished.sql");
        let rows = query_scalar(statement).bind(&dag.dag_id).bind(run_id).bind(&mapped).fetch_all(connection).await?;
        rows.into_iter().collect()
    };
    let counts = mapped.into_iter().filter(|task_id| !unfinished.contains(task_id)).map(|task_id| {
        let count = facts.return_value_counts.get(&task_id).copied().unwrap_or(0);
        (task_id, count)
    });
    let lengths = counts.chain(facts.task_map_lengths.clone());
    Ok(OutputLengths(lengths.filter_map(|(task_id, length)| Some((dag.index_of(&task_id)?, length))).collect()))
}

/// The same as the model's facts, for [`tradewind_model::scheduling::verify_integrity`].
pub(crate) async fn facts(connection: &mut PgConnection, dag: &Dag, id: i32, run_id: &str) -> Result<XComFacts> {
    let needs = integrity_needs(dag);
    let mut facts = XComFacts::default();
    if !needs.task_map_lengths.is_empty() {
        let statement = "SELECT task_id, length::bigint FROM task_map \
                         WHERE dag_id = $1 AND run_id = $2 AND task_id = ANY ($3) AND map_index = -1";
        let rows = query_as(statement).bind(&dag.dag_id).bind(run_id).bind(needs.task_map_lengths);
        facts.task_map_lengths = by_task(rows.fetch_all(&mut *connection).await?)?;
    }
    if !needs.return_value_counts.is_empty() {
        let statement = "SELECT task_id, count(*) FROM xcom WHERE dag_run_id = $1 AND task_id = ANY ($2) \
                         AND map_index >= 0 AND key = 'return_value' GROUP BY task_id";
        let rows = query_as(statement).bind(id).bind(needs.return_value_counts);
        facts.return_value_counts = by_task(rows.fetch_all(connection).await?)?;
    }
    Ok(facts)
}

fn by_task(rows: Vec<(String, i64)>) -> Result<HashMap<String, u64>> {
    let length = |length: i64| u64::try_from(length).map_err(|error| MetadataError::Corrupt(error.to_string()));
    rows.into_iter().map(|(task_id, value)| Ok((task_id, length(value)?))).collect()
}
