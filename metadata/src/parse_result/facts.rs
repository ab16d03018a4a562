//! What the database knows about the Dags of a file before they are written.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool, query, query_as};
use tradewind_model::timetable::{AutomatedRun, DataInterval};
use uuid::Uuid;

use super::Schedule;
use crate::Result;

/// The newest version of a Dag.
#[derive(Debug, Clone)]
pub(super) struct LatestVersion {
    pub(super) id: Uuid,
    pub(super) number: i32,
    pub(super) bundle_name: Option<String>,
    pub(super) bundle_version: Option<String>,
    /// Whether a task instance belongs to it, so that it must stay as it is.
    pub(super) is_used: bool,
}

/// What is stored of a Dag.
#[derive(Debug, Clone, Default)]
pub(super) struct DagFacts {
    /// Whether the Dag has a row, and the row is not stale.
    pub(super) is_active: bool,
    pub(super) latest_run: Option<AutomatedRun>,
    pub(super) active_runs: i64,
    pub(super) version: Option<LatestVersion>,
    /// Hash and time of the newest serialized Dag.
    pub(super) serialized: Option<(String, DateTime<Utc>)>,
    /// Hash of the newest stored code.
    pub(super) code_hash: Option<String>,
    /// Whether rows refer to assets for it.
    pub(super) has_references: bool,
}

#[derive(FromRow)]
struct Row {
    dag_id: String,
    is_active: bool,
    run_after: Option<DateTime<Utc>>,
    data_interval_start: Option<DateTime<Utc>>,
    data_interval_end: Option<DateTime<Utc>>,
    partition_key: Option<String>,
    active_runs: i64,
    version_id: Option<Uuid>,
    version_number: Option<i32>,
    bundle_name: Option<String>,
    bundle_version: Option<String>,
    version_is_used: bool,
    dag_hash: Option<String>,
    last_updated: Option<DateTime<Utc>>,
    source_code_hash: Option<String>,
    has_references: bool,
}

/// Locks the rows of the Dags, and reads what is known about them.
pub(super) async fn read(
    connection: &mut PgConnection,
    dags: impl Iterator<Item = &Schedule>,
) -> Result<HashMap<String, DagFacts>> {
    let dags: Vec<&Schedule> = dags.collect();
    let ids: Vec<&str> = dags.iter().map(|dag| dag.dag_id.as_str()).collect();
    query("SELECT 1 FROM dag WHERE dag_id = ANY($1) ORDER BY dag_id FOR UPDATE")
        .bind(&ids)
        .execute(&mut *connection)
        .await?;
    load(connection, &dags).await
}

/// The latest automated run of each Dag, for whoever works out the next one before the rows are locked.
pub async fn latest_automated_runs(pool: &PgPool, dags: &[&Schedule]) -> Result<HashMap<String, AutomatedRun>> {
    let mut connection = pool.acquire().await?;
    let facts = load(&mut connection, dags).await?;
    Ok(facts.into_iter().filter_map(|(dag_id, facts)| Some((dag_id, facts.latest_run?))).collect())
}

async fn load(connection: &mut PgConnection, dags: &[&Schedule]) -> Result<HashMap<String, DagFacts>> {
    let ids: Vec<&str> = dags.iter().map(|dag| dag.dag_id.as_str()).collect();
    let scheduled: Vec<bool> = dags.iter().map(|dag| dag.timetable.can_be_scheduled()).collect();
    let partitioned: Vec<bool> = dags.iter().map(|dag| dag.timetable.partitioned()).collect();
    let rows: Vec<Row> = query_as(include_str!("../../queries/parse_result/facts.sql"))
        .bind(&ids)
        .bind(&scheduled)
        .bind(&partitioned)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.dag_id.clone(), row.into())).collect())
}

impl From<Row> for DagFacts {
    fn from(row: Row) -> Self {
        let version = row.version_id.zip(row.version_number).map(|(id, number)| LatestVersion {
            id,
            number,
            bundle_name: row.bundle_name,
            bundle_version: row.bundle_version,
            is_used: row.version_is_used,
        });
        let data_interval =
            row.data_interval_start.zip(row.data_interval_end).map(|(start, end)| DataInterval { start, end });
        Self {
            is_active: row.is_active,
            latest_run: row.run_after.map(|run_after| AutomatedRun {
                run_after,
                data_interval,
                partition_key: row.partition_key,
            }),
            active_runs: row.active_runs,
            version,
            serialized: row.dag_hash.zip(row.last_updated),
            code_hash: row.source_code_hash,
            has_references: row.has_references,
        }
    }
}
