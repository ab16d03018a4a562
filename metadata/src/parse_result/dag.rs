//! Rows of `dag`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, query};
use tradewind_model::timetable::{self, TimetableError};

use super::asset::AssetIds;
use super::facts::DagFacts;
use super::{ParsedDag, ParsedFile, Schedule, WriteOptions};
use crate::Result;

/// Creates or updates the rows of the file's Dags (`DagModelOperation.update_dags`).
pub(super) async fn upsert(
    connection: &mut PgConnection,
    file: &ParsedFile,
    facts: &HashMap<String, DagFacts>,
    assets: &AssetIds,
    options: &WriteOptions,
    now: DateTime<Utc>,
) -> Result<()> {
    let rows: Vec<Value> = file
        .dags
        .iter()
        .map(|dag| {
            let facts = &facts[dag.dag_id()];
            let mut row = row(file, dag, assets, options, now);
            set_schedule(&mut row, &dag.schedule, facts, now);
            row
        })
        .collect();
    query(include_str!("../../queries/parse_result/upsert_dag.sql"))
        .bind(Value::Array(rows))
        .execute(connection)
        .await?;
    Ok(())
}

fn row(file: &ParsedFile, dag: &ParsedDag, assets: &AssetIds, options: &WriteOptions, now: DateTime<Utc>) -> Value {
    json!({
        "dag_id": dag.dag_id(),
        "is_paused": dag.is_paused_upon_creation.unwrap_or(options.paused_at_creation),
        "last_parsed_time": now,
        "last_parse_duration": file.duration.as_secs_f64(),
        "fileloc": dag.fileloc,
        "relative_fileloc": dag.relative_fileloc,
        "bundle_name": file.bundle_name,
        "bundle_version": file.bundle_version,
        "owners": dag.owners,
        "dag_display_name": dag.display_name,
        "description": dag.description,
        "timetable_type": dag.schedule.timetable.type_name(),
        "timetable_summary": dag.schedule.timetable.summary(),
        "timetable_description": dag.schedule.timetable.description(),
        "timetable_partitioned": dag.schedule.timetable.partitioned(),
        "timetable_periodic": dag.schedule.timetable.periodic(),
        "partition_mapper_info": dag.partition_mapper_info,
        "asset_expression": dag.asset_expression.clone().map(|expression| assets.number(expression)),
        "deadline": dag.deadline,
        "max_active_tasks": dag.max_active_tasks,
        "max_active_runs": dag.schedule.max_active_runs,
        "max_consecutive_failed_dag_runs": dag.max_consecutive_failed_dag_runs,
        "has_task_concurrency_limits": dag.has_task_concurrency_limits,
        "fail_fast": dag.fail_fast,
        "allowed_run_types": dag.allowed_run_types,
    })
}

/// The columns that say whether and when the Dag runs next (`DagModel.calculate_dagrun_date_fields`). The `next_dagrun…`
/// columns are emptied where the timetable gives no answer, and stay as they are where only Python knows the timetable and
/// was not asked about the run that is now the latest.
pub(super) fn set_schedule(row: &mut Value, dag: &Schedule, facts: &DagFacts, now: DateTime<Utc>) {
    row["exceeds_max_non_backfill"] =
        json!(dag.timetable.can_be_scheduled() && facts.active_runs >= i64::from(dag.max_active_runs));
    let next = match &dag.custom_next_run {
        Some(asked) if asked.after == facts.latest_run => Ok(asked.next.clone()),
        _ => timetable::next_run(&dag.timetable, dag.restriction, facts.latest_run.as_ref(), now),
    };
    row["next_run_is_known"] = json!(!matches!(next, Err(TimetableError::Custom { .. })));
    match next {
        Ok(Some(next)) => {
            row["next_dagrun"] = json!(next.logical_date());
            row["next_dagrun_data_interval_start"] = json!(next.data_interval.map(|interval| interval.start));
            row["next_dagrun_data_interval_end"] = json!(next.data_interval.map(|interval| interval.end));
            row["next_dagrun_create_after"] = json!(next.run_after);
            row["next_dagrun_partition_key"] = json!(next.partition_key);
            row["next_dagrun_partition_date"] = json!(next.partition_date);
        }
        Ok(None) | Err(TimetableError::Custom { .. }) => {}
        Err(error) => tracing::warn!(dag_id = dag.dag_id, %error, "next run of the Dag cannot be computed"),
    }
}
