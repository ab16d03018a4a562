//! Loads what decides whether a run is made of a Dag.

use chrono::{SubsecRound, Utc};
use serde_json::Value;
use sqlx::{PgConnection, Row, query};
use tradewind_model::explanation::{AwaitedAsset, DagFacts, Schedule};

use super::options::Options;
use super::surroundings::component;
use crate::Result;

/// What decides whether a run is made of a Dag; `None` when there is no such Dag.
pub async fn schedule(connection: &mut PgConnection, options: &Options, dag_id: &str) -> Result<Option<Schedule>> {
    let row = query(include_str!("../../queries/explanation/schedule.sql"))
        .bind(dag_id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let now = Utc::now().trunc_subsecs(6);
    let assets = query(include_str!("../../queries/explanation/awaited_assets.sql"))
        .bind(dag_id)
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| {
            Ok(AwaitedAsset {
                name: row.try_get("name")?,
                uri: row.try_get("uri")?,
                has_event: row.try_get("has_event")?,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Some(Schedule {
        dag_id: dag_id.to_owned(),
        dag: DagFacts {
            was_never_serialized: row.try_get("was_never_serialized")?,
            is_paused: row.try_get("is_paused")?,
            is_stale: row.try_get("is_stale")?,
            has_import_errors: row.try_get("has_import_errors")?,
            max_active_runs: row.try_get("max_active_runs")?,
            max_active_tasks: row.try_get("max_active_tasks")?,
        },
        // Airflow's own summary of a Dag without a schedule.
        summary: row.try_get::<Option<String>, _>("timetable_summary")?.filter(|summary| summary != "None"),
        next_run_after: row.try_get("next_dagrun_create_after")?,
        may_be_scheduled: row.try_get("may_be_scheduled")?,
        active_runs: row.try_get("active_runs")?,
        assets,
        asset_condition: row.try_get::<Option<Value>, _>("asset_condition")?.filter(|value| !value.is_null()),
        scheduler: component(&row, "scheduler", options.scheduler_threshold, now)?,
        now,
    }))
}
