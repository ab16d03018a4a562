//! Tasks that a running task decides to skip: branches and short circuits.

use chrono::Utc;
use serde_json::json;
use sqlx::{Connection, PgConnection, query_as};
use tradewind_airflow::supervisor_protocol::to_supervisor::SkippedTask;
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use super::{AttemptError, Held};
use crate::MetadataError;
use crate::task_instance::{Transition, transition};

/// Skips tasks of the attempt's Dag run, unless they run or have ended by themselves. Returns how many were skipped.
pub async fn skip_downstream(
    connection: &mut PgConnection,
    id: Uuid,
    tasks: &[SkippedTask],
) -> Result<usize, AttemptError> {
    let mut transaction = connection.begin().await?;
    let held = Held::lock(&mut transaction, id).await?;
    let (task_ids, map_indexes): (Vec<&str>, Vec<i32>) = tasks
        .iter()
        .map(|task| match task {
            SkippedTask::Task(task_id) => (task_id.as_str(), -1),
            SkippedTask::Mapped(task_id, map_index) => (task_id.as_str(), *map_index),
        })
        .unzip();
    let found: Vec<(Uuid, Option<String>)> = query_as(include_str!("../../queries/attempt/skippable.sql"))
        .bind(&held.dag_id)
        .bind(&held.run_id)
        .bind(task_ids)
        .bind(map_indexes)
        .fetch_all(&mut *transaction)
        .await?;
    let now = json!(Utc::now());
    let transitions = found
        .into_iter()
        .map(|(id, state)| {
            let state: Option<TaskInstanceState> = state.as_deref().map(str::parse).transpose()?;
            let skipped = Transition::new(id, &[state], Some(TaskInstanceState::Skipped));
            Ok(skipped.with("start_date", now.clone()).with("end_date", now.clone()))
        })
        .collect::<Result<Vec<_>, tradewind_model::state::UnknownName>>()
        .map_err(|error| MetadataError::Corrupt(error.to_string()))?;
    let skipped = transition(&mut transaction, &transitions).await?;
    transaction.commit().await?;
    Ok(skipped.len())
}
