//! Attempts that end for good.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{Connection, PgConnection, query};
use tradewind_airflow::supervisor_protocol::to_supervisor::{AssetProfile, OutletEvent};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use super::{Accepted, AttemptError, Held, fail_fast, patch};
use crate::asset_event::{self, Source};

/// A report that an attempt failed, was skipped, or left the Dag.
#[derive(Debug, Clone)]
pub struct Finish {
    /// `task_instance.id`.
    pub id: Uuid,
    /// `failed`, `skipped`, `removed` or `upstream_failed`.
    pub state: TaskInstanceState,
    /// When it ended.
    pub end_date: DateTime<Utc>,
    /// Label of the mapped task instance; none removes an earlier one.
    pub rendered_map_index: Option<String>,
}

/// A report that an attempt succeeded.
#[derive(Debug, Clone)]
pub struct Success {
    /// `task_instance.id`.
    pub id: Uuid,
    /// When it ended.
    pub end_date: DateTime<Utc>,
    /// Label of the mapped task instance; none removes an earlier one.
    pub rendered_map_index: Option<String>,
    /// Outlets which the task declares.
    pub task_outlets: Vec<AssetProfile>,
    /// What the task said about its outlets.
    pub outlet_events: Vec<OutletEvent>,
    /// `[state_store] clear_on_success`: forget what the task kept in its state store.
    pub clear_state_store: bool,
    /// `[scheduler] partition_mapper_max_downstream_keys`: partitions of a Dag that one asset event is for at most.
    pub max_partitions: usize,
}

/// Ends an attempt that failed with no attempt left.
pub async fn fail(connection: &mut PgConnection, id: Uuid, end_date: DateTime<Utc>) -> Result<Accepted, AttemptError> {
    let report = Finish { id, state: TaskInstanceState::Failed, end_date, rendered_map_index: None };
    finish(connection, &report).await
}

/// Ends an attempt in a state other than success. When the Dag is `fail_fast`, a failure stops the rest of the run.
pub async fn finish(connection: &mut PgConnection, report: &Finish) -> Result<Accepted, AttemptError> {
    let mut transaction = connection.begin().await?;
    let Some(held) = Held::reporting(&mut transaction, report.id, report.state).await? else {
        return Ok(Accepted::Duplicate);
    };
    if report.state == TaskInstanceState::Failed && held.fail_fast {
        fail_fast::stop_remaining(&mut transaction, &held).await?;
    }
    let columns = patch(json!({
        "end_date": report.end_date,
        "rendered_map_index": report.rendered_map_index,
        "next_method": null,
        "next_kwargs": null,
    }));
    held.leave_running(&mut transaction, report.state, columns).await?;
    transaction.commit().await?;
    Ok(Accepted::Written)
}

/// Ends an attempt that succeeded, and records the asset events it causes.
pub async fn succeed(connection: &mut PgConnection, report: &Success) -> Result<Accepted, AttemptError> {
    let mut transaction = connection.begin().await?;
    let Some(held) = Held::reporting(&mut transaction, report.id, TaskInstanceState::Success).await? else {
        return Ok(Accepted::Duplicate);
    };
    check_partition_keys(&report.outlet_events)?;
    if !report.task_outlets.is_empty() || !report.outlet_events.is_empty() {
        let source = Source {
            dag_id: &held.dag_id,
            run_id: &held.run_id,
            task_id: &held.task_id,
            map_index: held.map_index,
            partition_key: held.partition_key.as_deref(),
            partition_date: held.partition_date,
        };
        let (outlets, said) = (&report.task_outlets, &report.outlet_events);
        asset_event::register(&mut transaction, &source, outlets, said, report.max_partitions).await?;
    }
    let columns = patch(json!({
        "end_date": report.end_date,
        "rendered_map_index": report.rendered_map_index,
        "next_method": null,
        "next_kwargs": null,
    }));
    held.leave_running(&mut transaction, TaskInstanceState::Success, columns).await?;
    if report.clear_state_store {
        clear_state_store(&mut transaction, &held).await?;
    }
    transaction.commit().await?;
    Ok(Accepted::Written)
}

async fn clear_state_store(connection: &mut PgConnection, held: &Held) -> Result<(), AttemptError> {
    query("DELETE FROM task_state_store WHERE dag_run_id = $1 AND task_id = $2 AND map_index = $3")
        .bind(held.dag_run_id)
        .bind(&held.task_id)
        .bind(held.map_index)
        .execute(connection)
        .await?;
    Ok(())
}

/// Longest partition key: the width of Airflow's id columns, in characters.
const PARTITION_KEY_LENGTH: usize = 250;

fn check_partition_keys(events: &[OutletEvent]) -> Result<(), AttemptError> {
    for key in events.iter().filter_map(|event| event.partition_key.as_deref()) {
        if key.trim().is_empty() {
            let message = format!("partition_key in outlet event must not be empty or whitespace-only; got {key:?}.");
            return Err(AttemptError::Invalid(message));
        }
        let length = key.chars().count();
        if length > PARTITION_KEY_LENGTH {
            let message = format!(
                "partition_key in outlet event must be at most {PARTITION_KEY_LENGTH} characters; got {length}."
            );
            return Err(AttemptError::Invalid(message));
        }
    }
    Ok(())
}
