//! `fail_fast`: the first failure of a Dag run stops everything else in it.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, query_as};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use super::{AttemptError, Held};
use crate::MetadataError;
use crate::audit_log::{self, Entry};
use crate::dag_document;
use crate::task_instance::{Transition, transition};

#[derive(FromRow)]
struct Other {
    id: Uuid,
    task_id: String,
    map_index: i32,
    try_number: i32,
    state: Option<String>,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
}

/// Fails what runs and skips what has not ended, except teardowns and task instances of the failed task itself.
pub(super) async fn stop_remaining(connection: &mut PgConnection, failed: &Held) -> Result<(), AttemptError> {
    let Some(document) = dag_document::of_run(&mut *connection, failed.dag_run_id).await? else { return Ok(()) };
    let teardowns: HashSet<&str> = document.tasks().filter(|task| task.is_teardown()).map(|task| task.id()).collect();
    let others: Vec<Other> = query_as(
        "SELECT id, task_id, map_index, try_number, state, start_date, end_date FROM task_instance \
         WHERE dag_id = $1 AND run_id = $2 AND task_id <> $3 AND (state IS NULL OR state NOT IN ('success', 'failed')) \
         ORDER BY id FOR UPDATE",
    )
    .bind(&failed.dag_id)
    .bind(&failed.run_id)
    .bind(&failed.task_id)
    .fetch_all(&mut *connection)
    .await?;
    let stopped: Vec<Other> = others.into_iter().filter(|other| !teardowns.contains(other.task_id.as_str())).collect();
    let transitions = stopped.iter().map(Other::stop).collect::<Result<Vec<_>, _>>()?;
    transition(&mut *connection, &transitions).await?;
    let entries: Vec<Entry<'_>> = stopped.iter().map(|other| other.log_entry(failed)).collect();
    Ok(audit_log::write(connection, &entries).await?)
}

impl Other {
    fn is_running(&self) -> bool {
        self.state.as_deref() == Some(TaskInstanceState::Running.as_str())
    }

    fn stop(&self) -> Result<Transition, AttemptError> {
        let state = self.state.as_deref().map(str::parse).transpose();
        let state: Option<TaskInstanceState> = state.map_err(|error| MetadataError::Corrupt(format!("{error}")))?;
        if self.is_running() {
            return Ok(Transition::new(self.id, &[state], Some(TaskInstanceState::Failed)));
        }
        let now = Utc::now();
        let skipped = Transition::new(self.id, &[state], Some(TaskInstanceState::Skipped));
        if state == Some(TaskInstanceState::Skipped) {
            return Ok(skipped);
        }
        let date = |date: Option<DateTime<Utc>>| -> Value { json!(date.unwrap_or(now)) };
        Ok(skipped.with("start_date", date(self.start_date)).with("end_date", date(self.end_date)))
    }

    /// Airflow writes these entries without the logical date and the owner.
    fn log_entry<'a>(&'a self, failed: &'a Held) -> Entry<'a> {
        let (event, extra) = if self.is_running() {
            ("fail task", "Forcing task to fail due to dag's `fail_fast` setting.")
        } else {
            ("skip task", "Skipping task due to dag's `fail_fast` setting.")
        };
        Entry {
            event,
            dag_id: &failed.dag_id,
            run_id: &failed.run_id,
            task_id: &self.task_id,
            map_index: self.map_index,
            try_number: self.try_number,
            logical_date: None,
            owner: None,
            extra: Some(extra.to_owned()),
        }
    }
}
