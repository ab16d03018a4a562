//! The queue: messages written with `queued`, taken with `running`. Workers take them from the outbox, or hear of them through
//! a broker and claim them here: see [`crate::publication`].

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row, query, query_as};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use crate::task_instance::{Transition, transition_silently};
use crate::{Result, failpoint, notify};

/// A message for a worker: run this task instance.
#[derive(Debug, Clone)]
pub struct Message {
    /// `task_instance.id`.
    pub ti_id: Uuid,
    /// The queue it goes to.
    pub queue: String,
    /// More urgent first.
    pub priority_weight: i32,
}

/// How messages come from the outbox to workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Carrier {
    /// Workers take them.
    #[default]
    Outbox,
    /// A publisher hands them to a broker.
    Broker,
}

/// Puts messages into the outbox and wakes those who wait for their queues when the transaction commits.
pub async fn send(connection: &mut PgConnection, messages: &[Message], carrier: Carrier) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    query(include_str!("../queries/queue/send.sql"))
        .bind(messages.iter().map(|message| message.ti_id).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| message.queue.clone()).collect::<Vec<_>>())
        .bind(messages.iter().map(|message| message.priority_weight).collect::<Vec<_>>())
        .bind(carrier == Carrier::Broker)
        .execute(&mut *connection)
        .await?;
    let mut queues: Vec<&str> = messages.iter().map(|message| message.queue.as_str()).collect();
    queues.sort_unstable();
    queues.dedup();
    notify::send(connection, notify::QUEUE, &queues).await
}

/// Takes back the messages of task instances that are no longer to run.
pub async fn revoke(connection: &mut PgConnection, ids: &[Uuid]) -> Result<()> {
    query("DELETE FROM tradewind.outbox WHERE ti_id = ANY ($1)").bind(ids).execute(connection).await?;
    Ok(())
}

/// Who claims.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// The worker's host name, as `[core] hostname_callable` gives it.
    pub hostname: String,
    /// The operating-system user of the worker.
    pub unixname: String,
}

/// A task instance that this worker now runs: the facts a supervisor needs to start it.
#[derive(Debug, Clone, FromRow)]
pub struct Claim {
    /// `task_instance.id`.
    pub id: Uuid,
    /// The Dag.
    pub dag_id: String,
    /// The task.
    pub task_id: String,
    /// The Dag run.
    pub run_id: String,
    /// -1 when the task is not mapped.
    pub map_index: i32,
    /// The number of this attempt, from 1.
    pub try_number: i32,
    /// The number of attempts allowed, less one.
    pub max_tries: i32,
    /// The host the attempt runs on.
    pub hostname: Option<String>,
    /// The queue it came through.
    pub queue: Option<String>,
    /// Pool slots it takes.
    pub pool_slots: i32,
    /// Its effective priority.
    pub priority_weight: Option<i32>,
    /// The version of the Dag it runs.
    pub dag_version_id: Option<Uuid>,
    /// OpenTelemetry context.
    pub context_carrier: Option<Value>,
    /// When the attempt started; earlier than the claim when it resumes from deferral.
    pub start_date: Option<DateTime<Utc>>,
    /// When it was queued.
    pub queued_dttm: Option<DateTime<Utc>>,
    /// When it was scheduled.
    pub scheduled_dttm: Option<DateTime<Utc>>,
    /// The operator's class name.
    pub operator: Option<String>,
    /// `dag_run.id`.
    pub dag_run_id: i32,
    /// The bundle version the run is pinned to.
    pub bundle_version: Option<String>,
    /// The run's logical date.
    pub logical_date: Option<DateTime<Utc>>,
    /// The time from which the run may start.
    pub run_after: DateTime<Utc>,
    /// The bundle the Dag comes from.
    pub bundle_name: String,
    /// The Dag file within the bundle.
    pub relative_fileloc: Option<String>,
    /// The Dag file on the host that parsed it.
    pub fileloc: Option<String>,
    /// The Dag's owners, comma-separated.
    pub owners: Option<String>,
}

/// Takes up to `limit` messages and moves their task instances from `queued` to `running`, in the caller's
/// transaction. A message whose task instance has moved on is dropped. The queue `*` stands for all of them.
pub async fn claim(
    connection: &mut PgConnection,
    queues: &[String],
    limit: usize,
    claimant: &Claimant,
    now: DateTime<Utc>,
) -> Result<Vec<Claim>> {
    let rows = query(include_str!("../queries/queue/claim.sql"))
        .bind(queues)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await?;
    start_taken(connection, &rows, claimant, now).await
}

/// Claims the task instances that a broker's messages name, in the caller's transaction: those that wait no longer were
/// claimed through another message, or are no longer to run, and are not among the claims.
pub async fn claim_named(
    connection: &mut PgConnection,
    ids: &[Uuid],
    claimant: &Claimant,
    now: DateTime<Utc>,
) -> Result<Vec<Claim>> {
    let rows = query(include_str!("../queries/queue/claim_named.sql")).bind(ids).fetch_all(&mut *connection).await?;
    start_taken(connection, &rows, claimant, now).await
}

/// Moves the task instances of messages that were taken from `queued` to `running`.
async fn start_taken(
    connection: &mut PgConnection,
    rows: &[PgRow],
    claimant: &Claimant,
    now: DateTime<Utc>,
) -> Result<Vec<Claim>> {
    failpoint::reach("claim: taken").await?;
    let mut transitions = Vec::with_capacity(rows.len());
    for row in rows {
        let start = start_of(row.try_get("id")?, claimant, row.try_get("taken_at")?);
        let resumes: bool = row.try_get("resumes")?;
        transitions.push(if resumes { start } else { start.with("start_date", json!(now)) });
    }
    // That an attempt runs lets nothing else go on.
    let changed = transition_silently(connection, &transitions).await?;
    failpoint::reach("claim: written").await?;
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let claims: Vec<Claim> = query_as(include_str!("../queries/queue/claims.sql"))
        .bind(changed.iter().map(|changed| changed.id).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(claims)
}

/// The transition with which an attempt starts; it sets the first heartbeat, so that no running task instance is ever
/// without one. That is by the clock of the database, as later ones are.
fn start_of(id: Uuid, claimant: &Claimant, taken_at: DateTime<Utc>) -> Transition {
    // What restarts has no message, and takes no slots until it is queued again.
    let from = [Some(TaskInstanceState::Queued)];
    Transition::new(id, &from, Some(TaskInstanceState::Running))
        .with("end_date", Value::Null)
        .with("hostname", claimant.hostname.as_str())
        .with("unixname", claimant.unixname.as_str())
        .with("pid", Value::Null)
        .with("last_heartbeat_at", json!(taken_at))
        .with("retry_delay_override", Value::Null)
        .with("retry_reason", Value::Null)
}
