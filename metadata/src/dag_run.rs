//! Dag runs: creation, and the one guarded change of state.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, Row, query, query_scalar};
use tradewind_model::dag::Dag;
use tradewind_model::scheduling::{RunFacts, initial_task_instances};
use tradewind_model::state::{DagRunState, DagRunTriggeredBy, DagRunType};
use uuid::Uuid;

use crate::{MetadataError, Result, deadline, notify, task_instance, trace_context};

/// What a new Dag run is made of; the fields are columns of `dag_run`.
#[derive(Debug, Clone)]
pub struct NewDagRun {
    /// Unique within the Dag.
    pub run_id: String,
    /// What made it.
    pub run_type: DagRunType,
    /// `queued` nearly always.
    pub state: DagRunState,
    /// Unique within the Dag; none for runs that no interval belongs to.
    pub logical_date: Option<DateTime<Utc>>,
    /// Start and end of the data interval; none without a logical date.
    pub data_interval: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// It does not start before.
    pub run_after: DateTime<Utc>,
    /// The run's parameters as given, an object.
    pub conf: Value,
    /// Who asked for it.
    pub triggered_by: DagRunTriggeredBy,
    /// The user who asked for it.
    pub triggering_user_name: Option<String>,
    /// The scheduler's job that made it.
    pub creating_job_id: Option<i32>,
    /// The backfill it belongs to.
    pub backfill_id: Option<i32>,
    /// The asset partition it stands for.
    pub partition_key: Option<String>,
    /// The date of that partition.
    pub partition_date: Option<DateTime<Utc>>,
    /// The user's note.
    pub note: Option<String>,
}

/// A Dag run that was made.
#[derive(Debug, Clone, Copy)]
pub struct Created {
    /// `dag_run.id`.
    pub id: i32,
    /// The version of the Dag its task instances run.
    pub dag_version_id: Option<Uuid>,
}

/// Makes a Dag run with its task instances and deadlines, and tells the schedulers when the transaction commits.
///
/// `dag` must be the Dag's latest version. The caller has validated `conf` against the Dag's parameters and the run id
/// against `[scheduler] allowed_run_id_pattern`.
///
/// # Errors
/// [`MetadataError::Conflict`] when the Dag has a run with this id or this logical date;
/// [`MetadataError::NotFound`] when the Dag was never serialized.
pub async fn create(connection: &mut PgConnection, dag: &Dag, run: &NewDagRun, now: DateTime<Utc>) -> Result<Created> {
    let carrier = trace_context::new_root();
    let bundle_version: Option<String> = if dag.settings.disable_bundle_versioning {
        None
    } else {
        query_scalar("SELECT bundle_version FROM dag WHERE dag_id = $1")
            .bind(&dag.dag_id)
            .fetch_optional(&mut *connection)
            .await?
            .flatten()
    };
    let row = query(include_str!("../queries/dag_run/insert.sql"))
        .bind(&dag.dag_id)
        .bind(&run.run_id)
        .bind(run.run_type.as_str())
        .bind(run.state.as_str())
        .bind(run.logical_date)
        .bind(run.data_interval.map(|(start, _)| start))
        .bind(run.data_interval.map(|(_, end)| end))
        .bind(run.run_after)
        .bind(if run.conf.is_null() { json!({}) } else { run.conf.clone() })
        .bind(run.triggered_by.as_str().to_uppercase())
        .bind(&run.triggering_user_name)
        .bind(now)
        .bind(None::<DateTime<Utc>>)
        .bind(run.creating_job_id)
        .bind(run.backfill_id)
        .bind(&run.partition_key)
        .bind(run.partition_date)
        .bind(bundle_version)
        .bind(&carrier)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Err(refusal(connection, dag, run).await?) };
    let created = Created { id: row.try_get("id")?, dag_version_id: row.try_get("created_dag_version_id")? };
    if let Some(note) = &run.note {
        query("INSERT INTO dag_run_note (dag_run_id, content, created_at, updated_at) VALUES ($1, $2, $3, $3)")
            .bind(created.id)
            .bind(note)
            .bind(now)
            .execute(&mut *connection)
            .await?;
    }
    let dates = deadline::RunDates {
        id: created.id,
        run_id: &run.run_id,
        dag_version_id: created.dag_version_id,
        logical_date: run.logical_date,
        queued_at: (run.state == DagRunState::Queued).then_some(now),
    };
    deadline::create(&mut *connection, dag, dates, now).await?;
    let facts = RunFacts {
        run_id: run.run_id.clone(),
        run_type: run.run_type,
        state: run.state,
        logical_date: run.logical_date,
        start_date: None,
        is_first_of_backfill: false,
    };
    let run = task_instance::RunIdentity {
        run_id: &run.run_id,
        dag_version_id: created.dag_version_id,
        context_carrier: Some(&carrier),
    };
    let new: Vec<_> = initial_task_instances(dag, &facts).into_iter().map(task_instance::New::from).collect();
    task_instance::create(connection, dag, &run, &new, now).await?;
    notify::send(connection, notify::DAG_RUN, &[created.id]).await?;
    Ok(created)
}

/// Says why no row could be inserted.
async fn refusal(connection: &mut PgConnection, dag: &Dag, run: &NewDagRun) -> Result<MetadataError> {
    let serialized: bool = query_scalar("SELECT EXISTS (SELECT FROM dag_version WHERE dag_id = $1)")
        .bind(&dag.dag_id)
        .fetch_one(connection)
        .await?;
    Ok(if serialized {
        MetadataError::Conflict(match run.logical_date {
            Some(date) => {
                format!("Dag {} has a run with id {} or logical date {}", dag.dag_id, run.run_id, date.to_rfc3339())
            }
            None => format!("Dag {} has a run with id {}", dag.dag_id, run.run_id),
        })
    } else {
        MetadataError::NotFound(format!("Dag {} was never serialized: is its file still being parsed?", dag.dag_id))
    })
}

/// Changes the state of Dag runs that are still in one of the states given, and the dates that follow from it. Returns
/// the ids that changed; schedulers are told when the transaction commits.
pub async fn set_state(
    connection: &mut PgConnection,
    ids: &[i32],
    from: &[DagRunState],
    to: DagRunState,
    now: DateTime<Utc>,
) -> Result<Vec<i32>> {
    let changed = set_state_silently(connection, ids, from, to, now).await?;
    notify::send(connection, notify::DAG_RUN, &changed).await?;
    Ok(changed)
}

/// The same as [`set_state`] for the scheduler's own changes, of which it need not be told.
pub async fn set_state_silently(
    connection: &mut PgConnection,
    ids: &[i32],
    from: &[DagRunState],
    to: DagRunState,
    now: DateTime<Utc>,
) -> Result<Vec<i32>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let changed: Vec<i32> = query_scalar(include_str!("../queries/dag_run/set_state.sql"))
        .bind(ids)
        .bind(to.as_str())
        .bind(from.iter().map(|state| state.as_str()).collect::<Vec<_>>())
        .bind(now)
        .fetch_all(connection)
        .await?;
    Ok(changed)
}

/// Fails those of the runs that are still queued. They never ran, so they get no end date, as in Airflow.
pub async fn set_state_of_cancelled(connection: &mut PgConnection, ids: &[i32], now: DateTime<Utc>) -> Result<()> {
    query("UPDATE dag_run SET state = 'failed', updated_at = $2 WHERE id = ANY ($1) AND state = 'queued'")
        .bind(ids)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}
