//! Deadlines of Dag runs: made with the run, removed when it succeeds in time, missed otherwise.
//!
//! Source: `airflow/models/deadline.py`, `_process_dagrun_deadline_alerts` in `airflow/serialization/definitions/dag.py`,
//! `_recalculate_dagrun_queued_at_deadlines` in `airflow/models/taskinstance.py`.

mod alert;
pub mod callback;
mod miss;
pub mod request;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use metrics::counter;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgPool, query, query_as, query_scalar};
use tradewind_model::dag::Dag;
use uuid::Uuid;

use crate::Result;
use alert::{Alert, Reference};
pub use alert::{AlertError, Interval};
pub use miss::handle_missed;

/// A run as its deadlines see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunDates<'a> {
    /// `dag_run.id`.
    pub(crate) id: i32,
    /// The run's id within the Dag.
    pub(crate) run_id: &'a str,
    /// The version of the Dag that it was made of.
    pub(crate) dag_version_id: Option<Uuid>,
    /// Its logical date.
    pub(crate) logical_date: Option<DateTime<Utc>>,
    /// When it was queued.
    pub(crate) queued_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, FromRow)]
struct StoredAlert {
    id: Uuid,
    reference: Value,
    interval: Value,
    callback_def: Value,
    bundle_name: Option<String>,
}

/// Makes the deadlines that a new run has by the alerts of its Dag, and asks for those that depend on what only a process with
/// plugins and secrets knows ([`request`]). An alert that cannot be evaluated is logged: it keeps no run from being made.
pub(crate) async fn create(
    connection: &mut PgConnection,
    dag: &Dag,
    run: RunDates<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    if !has_alerts(dag) {
        return Ok(());
    }
    let stored: Vec<StoredAlert> = query_as(include_str!("../../queries/deadline/alerts.sql"))
        .bind(run.dag_version_id)
        .bind(&dag.dag_id)
        .fetch_all(&mut *connection)
        .await?;
    let mut rows = Vec::new();
    let mut requested = Vec::new();
    for stored in &stored {
        let log =
            tracing::error_span!("deadline", dag_id = dag.dag_id, run_id = run.run_id, deadline_alert_id = %stored.id);
        let made = match stored.alert() {
            Ok(Alert { reference: Reference::Custom, .. } | Alert { interval: Interval::Variable(_), .. }) => {
                requested.push(stored.id);
                continue;
            }
            Ok(alert @ Alert { interval: Interval::Length(interval), .. }) => {
                let from = counts_from(&mut *connection, alert.reference, &dag.dag_id, run, now).await?;
                deadline_time(from, interval).map(|time| time.map(|time| stored.row(&alert, &dag.dag_id, time)))
            }
            Err(error) => Err(error),
        };
        match made {
            Ok(Some(row)) => rows.push(row),
            Ok(None) => log.in_scope(|| {
                tracing::warn!(reference = %stored.reference, "the run has no such deadline, because what it counts from is not known");
            }),
            Err(error) => log.in_scope(|| tracing::error!(%error, "the run has no such deadline")),
        }
    }
    request::insert(&mut *connection, run.id, &requested, now).await?;
    insert(connection, &dag.dag_id, run.id, rows, now).await
}

async fn insert(
    connection: &mut PgConnection,
    dag_id: &str,
    dag_run_id: i32,
    rows: Vec<Value>,
    now: DateTime<Utc>,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    counter!("deadline_alerts.deadline_created", "dag_id" => dag_id.to_owned()).increment(rows.len() as u64);
    query(include_str!("../../queries/deadline/insert.sql"))
        .bind(Value::Array(rows))
        .bind(dag_run_id)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

fn has_alerts(dag: &Dag) -> bool {
    dag.settings.deadline.as_ref().and_then(Value::as_array).is_some_and(|alerts| !alerts.is_empty())
}

impl StoredAlert {
    fn alert(&self) -> Result<Alert, AlertError> {
        Alert::read(&self.reference, &self.interval, &self.callback_def)
    }

    /// The rows of the deadline and of its callback.
    fn row(&self, alert: &Alert, dag_id: &str, deadline_time: DateTime<Utc>) -> Value {
        json!({
            "id": Uuid::now_v7(),
            // As text it would be rounded to what the column holds, as a parameter it is cut.
            "deadline_time": deadline_time.trunc_subsecs(6),
            "deadline_alert_id": self.id,
            "callback_id": Uuid::now_v7(),
            "callback_type": alert.callback.kind,
            "data": alert.callback.data(dag_id),
            "bundle_name": self.bundle_name,
        })
    }
}

/// The moment that one of Airflow's own references names for a run; `None` when it is not known.
async fn counts_from(
    connection: &mut PgConnection,
    reference: Reference,
    dag_id: &str,
    run: RunDates<'_>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    Ok(match reference {
        Reference::FixedDatetime(date) => Some(date),
        Reference::LogicalDate => run.logical_date,
        Reference::QueuedAt => run.queued_at,
        Reference::AverageRuntime { max_runs, min_runs } => {
            average_runtime(connection, dag_id, max_runs, min_runs).await?.map(|average| now + average)
        }
        Reference::Custom => None,
    })
}

fn deadline_time(from: Option<DateTime<Utc>>, interval: TimeDelta) -> Result<Option<DateTime<Utc>>, AlertError> {
    from.map(|from| from.checked_add_signed(interval).ok_or(AlertError::OutOfRange)).transpose()
}

/// The average duration of the last successful runs; `None` when there are too few.
async fn average_runtime(
    connection: &mut PgConnection,
    dag_id: &str,
    max_runs: i64,
    min_runs: i64,
) -> Result<Option<TimeDelta>> {
    let (runs, seconds): (i64, Option<f64>) = query_as(include_str!("../../queries/deadline/average_runtime.sql"))
        .bind(dag_id)
        .bind(max_runs)
        .fetch_one(connection)
        .await?;
    Ok(seconds.filter(|_| runs >= min_runs).and_then(alert::seconds))
}

/// Removes the deadlines that a run which succeeded at `end_date` has met.
pub async fn prune(
    connection: &mut PgConnection,
    dag: &Dag,
    dag_run_id: i32,
    run_id: &str,
    end_date: DateTime<Utc>,
) -> Result<()> {
    if !has_alerts(dag) {
        return Ok(());
    }
    let met = query(include_str!("../../queries/deadline/prune.sql"))
        .bind(dag_run_id)
        .bind(end_date)
        .execute(connection)
        .await?
        .rows_affected();
    counter!("deadline_alerts.deadline_not_missed", "dag_id" => dag.dag_id.clone(), "dagrun_id" => run_id.to_owned())
        .increment(met);
    Ok(())
}

/// Counts the deadlines of a run that is queued anew from that moment on, unless they are missed already.
pub(crate) async fn recalculate(
    connection: &mut PgConnection,
    dag_run_id: i32,
    queued_at: DateTime<Utc>,
) -> Result<()> {
    query(include_str!("../../queries/deadline/recalculate.sql"))
        .bind(dag_run_id)
        .bind(queued_at)
        .execute(connection)
        .await?;
    Ok(())
}

/// When the next deadline passes.
pub async fn next(pool: &PgPool) -> Result<Option<DateTime<Utc>>> {
    Ok(query_scalar("SELECT min(deadline_time) FROM deadline WHERE NOT missed").fetch_one(pool).await?)
}
