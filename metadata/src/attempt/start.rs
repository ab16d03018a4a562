//! The start of an attempt, and its heartbeats.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, Row, query, query_as, query_scalar};
use tradewind_airflow::supervisor_protocol::task::TiRunContext;
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use super::{AttemptError, Held, is_archived};
use crate::MetadataError;
use crate::failpoint;
use crate::task_instance::{Transition, transition};

/// Who starts an attempt, and when.
#[derive(Debug, Clone)]
pub struct Start {
    /// `task_instance.id`.
    pub id: Uuid,
    /// The worker's host name.
    pub hostname: String,
    /// The operating-system user of the worker.
    pub unixname: String,
    /// The process that runs the task.
    pub pid: i32,
    /// When it starts; kept from before when the attempt resumes from a deferral.
    pub start_date: DateTime<Utc>,
}

/// Records that an attempt runs in a process and gathers what its task runner needs to know.
///
/// The attempt is `queued` (or `restarting`), or this worker has claimed it from the queue: `running` on this host
/// with no process yet. The same start reported twice is accepted twice.
pub async fn start(connection: &mut PgConnection, start: &Start) -> Result<TiRunContext, AttemptError> {
    let mut transaction = connection.begin().await?;
    let held = Held::lock(&mut transaction, start.id).await?;
    let previous_state = held.state()?;
    match previous_state {
        Some(TaskInstanceState::Queued | TaskInstanceState::Restarting) => {
            enter_running(&mut transaction, &held, start, previous_state).await?;
            held.log(&mut transaction, TaskInstanceState::Running, Some(&start.hostname)).await?;
        }
        Some(TaskInstanceState::Running) if held.is_claimed_by(start) => {
            record_process(&mut transaction, start).await?;
            held.log(&mut transaction, TaskInstanceState::Running, Some(&start.hostname)).await?;
        }
        Some(TaskInstanceState::Running) if held.runs_in(start) => {
            tracing::info!(id = %start.id, hostname = start.hostname, "duplicate start");
        }
        _ => return Err(AttemptError::InvalidState { previous_state, wanted: TaskInstanceState::Running }),
    }
    failpoint::reach("start: written").await?;
    let context = context(&mut transaction, &held, previous_state).await?;
    transaction.commit().await?;
    Ok(context)
}

impl Held {
    fn is_of(&self, start: &Start) -> bool {
        self.hostname.as_deref() == Some(&start.hostname) && self.unixname.as_deref() == Some(&start.unixname)
    }

    fn is_claimed_by(&self, start: &Start) -> bool {
        self.is_of(start) && self.pid.is_none()
    }

    fn runs_in(&self, start: &Start) -> bool {
        self.is_of(start) && self.pid == Some(start.pid)
    }

    fn resumes(&self) -> bool {
        self.next_kwargs.as_ref().is_some_and(|kwargs| !is_empty(kwargs))
    }
}

/// Python's notion of a false value: a deferral without arguments starts its clock anew.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

async fn enter_running(
    connection: &mut PgConnection,
    held: &Held,
    start: &Start,
    previous_state: Option<TaskInstanceState>,
) -> Result<(), AttemptError> {
    let mut wanted = Transition::new(start.id, &[previous_state], Some(TaskInstanceState::Running))
        .with("end_date", Value::Null)
        .with("hostname", start.hostname.as_str())
        .with("unixname", start.unixname.as_str())
        .with("pid", start.pid)
        .with("last_heartbeat_at", json!(Utc::now()))
        .with("retry_delay_override", Value::Null)
        .with("retry_reason", Value::Null);
    if !held.resumes() {
        wanted = wanted.with("start_date", json!(start.start_date));
    }
    transition(connection, &[wanted]).await?;
    Ok(())
}

/// The claim has set everything else.
async fn record_process(connection: &mut PgConnection, start: &Start) -> Result<(), AttemptError> {
    query("UPDATE task_instance SET pid = $2, last_heartbeat_at = now(), updated_at = now() WHERE id = $1")
        .bind(start.id)
        .bind(start.pid)
        .execute(connection)
        .await?;
    Ok(())
}

async fn context(
    connection: &mut PgConnection,
    held: &Held,
    previous_state: Option<TaskInstanceState>,
) -> Result<TiRunContext, AttemptError> {
    let resumed_method = held.next_method.as_deref().filter(|method| !method.is_empty());
    let row = query(include_str!("../../queries/attempt/context.sql"))
        .bind(held.id)
        .bind(resumed_method.is_some())
        .fetch_one(connection)
        .await?;
    let dag_run: Value = row.try_get("dag_run")?;
    let dag_run = serde_json::from_value(dag_run)
        .map_err(|error| MetadataError::Corrupt(format!("dag_run {}: {error}", held.dag_run_id)))?;
    Ok(TiRunContext {
        dag_run,
        task_reschedule_count: row.try_get("reschedules")?,
        max_tries: held.max_tries,
        next_kwargs: held.next_kwargs.clone().filter(|kwargs| resumed_method.is_some() && !kwargs.is_null()),
        start_date: held.start_date.filter(|_| resumed_method.is_some()),
        next_method: resumed_method.map(str::to_owned),
        xcom_keys_to_clear: row.try_get("xcom_keys")?,
        should_retry: should_retry(previous_state, held.try_number, held.max_tries),
    })
}

/// Whether a failure of the attempt leads to another one. A task instance cleared while it ran is always tried again.
fn should_retry(previous_state: Option<TaskInstanceState>, try_number: i32, max_tries: i32) -> bool {
    previous_state == Some(TaskInstanceState::Restarting) || (max_tries != 0 && try_number <= max_tries)
}

/// Keeps many attempts of one host alive, given by id and process id. Returns those that were; [`heartbeat`] tells why
/// another one was not.
pub async fn heartbeats(
    connection: &mut PgConnection,
    hostname: &str,
    attempts: &[(Uuid, i32)],
) -> Result<HashSet<Uuid>, AttemptError> {
    let (ids, pids): (Vec<Uuid>, Vec<i32>) = attempts.iter().copied().unzip();
    let kept: Vec<Uuid> = query_scalar(
        "UPDATE task_instance ti SET last_heartbeat_at = now() FROM unnest($1::uuid[], $2::int[]) AS beat (id, pid) \
         WHERE ti.id = beat.id AND ti.state = 'running' AND ti.hostname = $3 AND ti.pid = beat.pid RETURNING ti.id",
    )
    .bind(ids)
    .bind(pids)
    .bind(hostname)
    .fetch_all(connection)
    .await?;
    Ok(kept.into_iter().collect())
}

/// Keeps an attempt alive.
///
/// # Errors
/// The attempt must end its process when it was archived, runs elsewhere, or is no longer running.
pub async fn heartbeat(connection: &mut PgConnection, id: Uuid, hostname: &str, pid: i32) -> Result<(), AttemptError> {
    let kept = query(
        "UPDATE task_instance SET last_heartbeat_at = now() \
         WHERE id = $1 AND state = 'running' AND hostname = $2 AND pid = $3",
    )
    .bind(id)
    .bind(hostname)
    .bind(pid)
    .execute(&mut *connection)
    .await?;
    if kept.rows_affected() > 0 {
        return Ok(());
    }
    Err(why_not_alive(connection, id, hostname, pid).await?)
}

async fn why_not_alive(
    connection: &mut PgConnection,
    id: Uuid,
    hostname: &str,
    pid: i32,
) -> Result<AttemptError, AttemptError> {
    let row: Option<(Option<String>, Option<String>, Option<i32>)> =
        query_as("SELECT state, hostname, pid FROM task_instance WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
    let Some((state, current_hostname, current_pid)) = row else {
        let archived = is_archived(connection, id).await?;
        return Ok(if archived { AttemptError::Archived } else { AttemptError::NotFound });
    };
    if (current_hostname.as_deref(), current_pid) != (Some(hostname), Some(pid)) {
        return Ok(AttemptError::RunningElsewhere { hostname: current_hostname, pid: current_pid });
    }
    let previous_state = state.and_then(|state| state.parse().ok());
    Ok(AttemptError::InvalidState { previous_state, wanted: TaskInstanceState::Running })
}
