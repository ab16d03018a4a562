//! The audit log (table `log`): what happened to task instances.
//!
//! Source: `airflow/models/log.py`.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, query};

use crate::Result;

/// An entry about a task instance.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// What happened; for a change of state its name.
    pub event: &'a str,
    /// The Dag.
    pub dag_id: &'a str,
    /// The Dag run.
    pub run_id: &'a str,
    /// The task.
    pub task_id: &'a str,
    /// -1 when the task is not mapped.
    pub map_index: i32,
    /// The attempt.
    pub try_number: i32,
    /// The logical date of the run.
    pub logical_date: Option<DateTime<Utc>>,
    /// Owners of the Dag.
    pub owner: Option<&'a str>,
    /// More, as text; often JSON.
    pub extra: Option<String>,
}

/// Writes entries.
pub async fn write(connection: &mut PgConnection, entries: &[Entry<'_>]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let texts = |field: fn(&Entry<'_>) -> Option<String>| entries.iter().map(field).collect::<Vec<_>>();
    query(
        "INSERT INTO log (dttm, event, dag_id, run_id, task_id, owner, extra, map_index, try_number, logical_date) \
         SELECT now(), * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], \
         $7::int[], $8::int[], $9::timestamptz[])",
    )
    .bind(texts(|entry| Some(entry.event.to_owned())))
    .bind(texts(|entry| Some(entry.dag_id.to_owned())))
    .bind(texts(|entry| Some(entry.run_id.to_owned())))
    .bind(texts(|entry| Some(entry.task_id.to_owned())))
    .bind(texts(|entry| entry.owner.map(str::to_owned)))
    .bind(texts(|entry| entry.extra.clone()))
    .bind(entries.iter().map(|entry| entry.map_index).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.try_number).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.logical_date).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
