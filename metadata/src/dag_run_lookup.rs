//! What tasks ask about Dags and Dag runs.
//!
//! Source: `airflow/api_fastapi/execution_api/routes/dag_runs.py` and `dags.py`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, PgConnection, query_as, query_scalar};
use tradewind_airflow::supervisor_protocol::task::DagRun;
use uuid::Uuid;

use crate::Result;

#[derive(FromRow)]
struct Stored {
    dag_id: String,
    run_id: String,
    logical_date: Option<DateTime<Utc>>,
    data_interval_start: Option<DateTime<Utc>>,
    data_interval_end: Option<DateTime<Utc>>,
    run_after: DateTime<Utc>,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
    clear_number: i32,
    run_type: String,
    state: Option<String>,
    conf: Option<Value>,
    triggering_user_name: Option<String>,
    partition_key: Option<String>,
    partition_date: Option<DateTime<Utc>>,
}

/// Asset events and the note are left out: the official server does not load them for these questions either.
impl From<Stored> for DagRun {
    fn from(run: Stored) -> Self {
        Self {
            dag_id: run.dag_id,
            run_id: run.run_id,
            logical_date: run.logical_date,
            data_interval_start: run.data_interval_start,
            data_interval_end: run.data_interval_end,
            run_after: run.run_after,
            start_date: run.start_date,
            end_date: run.end_date,
            clear_number: run.clear_number,
            run_type: run.run_type,
            state: run.state.unwrap_or_default(),
            conf: run.conf.and_then(|conf| conf.as_object().cloned()),
            triggering_user_name: run.triggering_user_name,
            consumed_asset_events: Vec::new(),
            partition_key: run.partition_key,
            partition_date: run.partition_date,
            note: None,
            team_name: None,
        }
    }
}

/// One Dag run.
pub async fn detail(connection: &mut PgConnection, dag_id: &str, run_id: &str) -> Result<Option<DagRun>> {
    let statement = "SELECT * FROM dag_run WHERE dag_id = $1 AND run_id = $2";
    let run: Option<Stored> = query_as(statement).bind(dag_id).bind(run_id).fetch_optional(connection).await?;
    Ok(run.map(DagRun::from))
}

/// The last run before a logical date, in any state or a given one.
pub async fn previous(
    connection: &mut PgConnection,
    dag_id: &str,
    logical_date: DateTime<Utc>,
    state: Option<&str>,
) -> Result<Option<DagRun>> {
    let run: Option<Stored> = query_as(
        "SELECT * FROM dag_run WHERE dag_id = $1 AND logical_date < $2 AND ($3::text IS NULL OR state = $3) \
         ORDER BY logical_date DESC LIMIT 1",
    )
    .bind(dag_id)
    .bind(logical_date)
    .bind(state)
    .fetch_optional(connection)
    .await?;
    Ok(run.map(DagRun::from))
}

/// The last successful run before the one a task instance belongs to.
pub async fn previous_successful(connection: &mut PgConnection, ti_id: Uuid) -> Result<Option<DagRun>> {
    let run: Option<Stored> = query_as(
        "SELECT earlier.* FROM task_instance ti JOIN dag_run run USING (dag_id, run_id) \
         JOIN dag_run earlier ON earlier.dag_id = run.dag_id AND earlier.logical_date < run.logical_date \
         WHERE ti.id = $1 AND earlier.state = 'success' ORDER BY earlier.logical_date DESC LIMIT 1",
    )
    .bind(ti_id)
    .fetch_optional(connection)
    .await?;
    Ok(run.map(DagRun::from))
}

/// The user who triggered the run that a task instance belongs to.
pub async fn triggering_user(connection: &mut PgConnection, ti_id: Uuid) -> Result<Option<String>> {
    let user: Option<Option<String>> = query_scalar(
        "SELECT triggering_user_name FROM dag_run JOIN task_instance ti USING (dag_id, run_id) WHERE ti.id = $1",
    )
    .bind(ti_id)
    .fetch_optional(connection)
    .await?;
    Ok(user.flatten())
}

/// Which runs to count; an empty list stands for all.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunFilter<'a> {
    /// Logical dates.
    pub logical_dates: &'a [DateTime<Utc>],
    /// Run ids.
    pub run_ids: &'a [String],
    /// States.
    pub states: &'a [String],
}

/// How many runs of a Dag there are.
pub async fn count(connection: &mut PgConnection, dag_id: &str, filter: RunFilter<'_>) -> Result<i64> {
    let count = query_scalar(
        "SELECT count(*) FROM dag_run WHERE dag_id = $1 \
         AND (cardinality($2::timestamptz[]) = 0 OR logical_date = ANY($2)) \
         AND (cardinality($3::text[]) = 0 OR run_id = ANY($3)) \
         AND (cardinality($4::text[]) = 0 OR state = ANY($4))",
    )
    .bind(dag_id)
    .bind(filter.logical_dates)
    .bind(filter.run_ids)
    .bind(filter.states)
    .fetch_one(connection)
    .await?;
    Ok(count)
}

/// A Dag as tasks see it.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct DagDetail {
    /// The Dag.
    pub dag_id: String,
    /// Whether its runs wait.
    pub is_paused: bool,
    /// The bundle it comes from.
    pub bundle_name: String,
    /// The bundle's version it was parsed from.
    pub bundle_version: Option<String>,
    /// Its file within the bundle.
    pub relative_fileloc: Option<String>,
    /// Its owners, comma-separated.
    pub owners: Option<String>,
    /// Its tags, in order.
    pub tags: Vec<String>,
    /// Logical date of its next run.
    pub next_dagrun: Option<DateTime<Utc>>,
}

/// One Dag.
pub async fn dag(connection: &mut PgConnection, dag_id: &str) -> Result<Option<DagDetail>> {
    let dag = query_as(
        "SELECT dag_id, is_paused, bundle_name, bundle_version, relative_fileloc, owners, next_dagrun, \
         ARRAY(SELECT name::text FROM dag_tag tag WHERE tag.dag_id = dag.dag_id ORDER BY name) AS tags \
         FROM dag WHERE dag_id = $1",
    )
    .bind(dag_id)
    .fetch_optional(connection)
    .await?;
    Ok(dag)
}
