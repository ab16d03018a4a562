//! Loads what decides whether a run is made of a Dag.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;
use sqlx::{PgConnection, Row, query, query_as};
use tradewind_model::asset::{AssetCondition, AssetKey, KnownAssets};
use tradewind_model::explanation::{
    DagFacts, PartitionSchedule, Schedule, TimetableQuestion, UnmappedEvents, WaitingPartition,
};
use tradewind_model::partition::PartitionMappers;
use tradewind_model::timetable::Timetable;

use super::options::Options;
use super::surroundings::component;
use crate::{Result, asset, dag_document};

/// Waiting partitions that are looked at; more are counted.
const PARTITIONS: i64 = 100;

/// What decides whether a run is made of a Dag; `None` when there is no such Dag.
pub async fn schedule(connection: &mut PgConnection, options: &Options, dag_id: &str) -> Result<Option<Schedule>> {
    let row = query(include_str!("../../queries/explanation/schedule.sql"))
        .bind(dag_id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let now = Utc::now().trunc_subsecs(6);
    let expression = row.try_get::<Option<Value>, _>("asset_condition")?.filter(|value| !value.is_null());
    let mut is_unreadable = false;
    let asset_condition = expression.and_then(|expression| {
        AssetCondition::from_expression(&expression)
            .map_err(|error| {
                tracing::error!(dag_id, %error, "the asset condition cannot be read");
                is_unreadable = true;
            })
            .ok()
    });
    let (known_assets, updated) = match &asset_condition {
        Some(condition) => {
            (asset::known(connection, std::iter::once(condition)).await?, updated(connection, dag_id).await?)
        }
        None => (KnownAssets::default(), BTreeSet::new()),
    };
    let timetable = match dag_document::latest(connection, dag_id).await? {
        Some(document) => document.as_value().pointer("/dag/timetable").cloned().unwrap_or_default(),
        None => Value::Null,
    };
    let partitions = partitions(connection, dag_id, &timetable, &mut is_unreadable).await?;
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
        asset_condition,
        known_assets,
        updated,
        partitions,
        is_unreadable,
        unmapped: unmapped(connection, dag_id).await?,
        custom_timetable: custom_timetable(connection, dag_id, &timetable).await?,
        scheduler: component(&row, "scheduler", options.scheduler_threshold, now)?,
        now,
    }))
}

/// Assets whose events wait for a run of the Dag.
async fn updated(connection: &mut PgConnection, dag_id: &str) -> Result<BTreeSet<AssetKey>> {
    let statement = "SELECT asset.name, asset.uri FROM asset_dag_run_queue \
                     JOIN asset ON asset.id = asset_dag_run_queue.asset_id WHERE target_dag_id = $1";
    let keys: Vec<(String, String)> = query_as(statement).bind(dag_id).fetch_all(connection).await?;
    Ok(keys.into_iter().map(|(name, uri)| AssetKey { name, uri }).collect())
}

/// The partitions that a Dag waits for, where it is scheduled by those of assets. Mappers that cannot be read are logged.
async fn partitions(
    connection: &mut PgConnection,
    dag_id: &str,
    timetable: &Value,
    is_unreadable: &mut bool,
) -> Result<Option<PartitionSchedule>> {
    let class = timetable.get("__type").and_then(Value::as_str).unwrap_or_default();
    if !class.ends_with(".PartitionedAssetTimetable") {
        return Ok(None);
    }
    let arguments = timetable.get("__var").unwrap_or(&Value::Null);
    let mappers = PartitionMappers::from_serialized(arguments);
    let mappers = match mappers {
        Ok(mappers) => mappers,
        Err(error) => {
            tracing::error!(dag_id, %error, "the partition mappers cannot be read");
            *is_unreadable = true;
            return Ok(None);
        }
    };
    let rows = query(include_str!("../../queries/explanation/waiting_partitions.sql"))
        .bind(dag_id)
        .bind(PARTITIONS)
        .fetch_all(connection)
        .await?;
    let (mut waiting, mut count): (Vec<WaitingPartition>, i64) = (Vec::new(), 0);
    let mut last = None;
    for row in &rows {
        count = row.try_get("count")?;
        let id: i32 = row.try_get("id")?;
        if last.replace(id) != Some(id) {
            waiting.push(WaitingPartition { key: row.try_get("partition_key")?, received: BTreeMap::new() });
        }
        let asset: Option<(String, String)> = row.try_get::<Option<_>, _>("name")?.zip(row.try_get("uri")?);
        if let (Some((name, uri)), Some(partition)) = (asset, waiting.last_mut()) {
            let keys: Vec<String> = row.try_get("keys")?;
            partition.received.insert(AssetKey { name, uri }, keys.into_iter().collect());
        }
    }
    Ok(Some(PartitionSchedule { mappers, waiting, count: u64::try_from(count).unwrap_or_default() }))
}

async fn unmapped(connection: &mut PgConnection, dag_id: &str) -> Result<UnmappedEvents> {
    let statement = "SELECT count(*), min(event.timestamp) FROM tradewind.partition_event AS waiting \
                     JOIN asset_event AS event ON event.id = waiting.asset_event_id WHERE waiting.target_dag_id = $1";
    let (count, since): (i64, Option<DateTime<Utc>>) = query_as(statement).bind(dag_id).fetch_one(connection).await?;
    Ok(UnmappedEvents { count: u64::try_from(count).unwrap_or_default(), since })
}

/// The timetable where it is a plugin's, and the question that it is asked.
async fn custom_timetable(
    connection: &mut PgConnection,
    dag_id: &str,
    timetable: &Value,
) -> Result<Option<TimetableQuestion>> {
    let timetable = Timetable::from_serialized(timetable).ok();
    let Some(custom) = timetable.as_ref().and_then(Timetable::custom) else { return Ok(None) };
    let statement = "SELECT asked_at, claimed_at IS NOT NULL FROM tradewind.evaluation \
                     WHERE dag_id = $1 AND question ->> 'type' = 'create_run' AND reply IS NULL \
                     ORDER BY asked_at LIMIT 1";
    let asked: Option<(DateTime<Utc>, bool)> = query_as(statement).bind(dag_id).fetch_optional(connection).await?;
    let (asked_at, is_taken) = asked.map_or((None, false), |(at, is_taken)| (Some(at), is_taken));
    Ok(Some(TimetableQuestion { class: custom.type_name.clone(), asked_at, is_taken }))
}
