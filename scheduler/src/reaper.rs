//! Finds what nobody reports: attempts whose worker went silent, task instances cleared while they ran, and queued task
//! instances without a message (invariant I5).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::counter;
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row, query, query_scalar};
use tradewind_metadata::attempt::{self, AttemptError, Retry};
use tradewind_metadata::audit_log::{self, Entry};
use tradewind_metadata::queue::{self, Message};
use tradewind_metadata::task_instance::{Transition, transition};
use tradewind_metadata::{Database, Result};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

/// A queued task instance must have its message within this time; younger ones may be in a transaction of another
/// process.
const MESSAGE_GRACE: TimeDelta = TimeDelta::seconds(30);

/// A task instance that was cleared while it ran starts anew after this time: its worker finds out at its next heartbeat
/// and needs seconds to end the process.
const RESTART_GRACE: TimeDelta = TimeDelta::seconds(30);

/// Lets task instances start anew that were cleared while they ran. Returns how many.
pub(crate) async fn release_restarting(database: &Database, now: DateTime<Utc>) -> Result<usize> {
    let mut transaction = database.pool().begin().await?;
    let ids: Vec<Uuid> = query_scalar(include_str!("../queries/restarting.sql"))
        .bind(now - RESTART_GRACE)
        .fetch_all(&mut *transaction)
        .await?;
    let from = [Some(TaskInstanceState::Restarting)];
    let transitions: Vec<Transition> = ids.into_iter().map(|id| Transition::new(id, &from, None)).collect();
    let released = transition(&mut transaction, &transitions).await?.len();
    transaction.commit().await?;
    Ok(released)
}

/// Ends attempts that have not been heard of within the time-out: they fail, or wait for their retry, as Airflow
/// decides. Returns how many.
pub(crate) async fn end_silent_attempts(database: &Database, timeout: Duration, now: DateTime<Utc>) -> Result<usize> {
    let Some(deadline) = TimeDelta::from_std(timeout).ok().and_then(|timeout| now.checked_sub_signed(timeout)) else {
        return Ok(0);
    };
    let mut transaction = database.pool().begin().await?;
    let rows =
        query(include_str!("../queries/overdue_attempts.sql")).bind(deadline).fetch_all(&mut *transaction).await?;
    let mut ended = 0;
    for row in &rows {
        let silent = Silent::read(row)?;
        match silent.end(&mut transaction, timeout, now).await {
            Ok(()) => ended += 1,
            Err(AttemptError::Metadata(error)) => return Err(error),
            Err(error) => tracing::warn!(id = %silent.id, %error, "a silent attempt could not be ended"),
        }
    }
    transaction.commit().await?;
    Ok(ended)
}

struct Silent {
    id: Uuid,
    dag_id: String,
    task_id: String,
    run_id: String,
    map_index: i32,
    try_number: i32,
    max_tries: i32,
}

impl Silent {
    fn read(row: &PgRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            dag_id: row.try_get("dag_id")?,
            task_id: row.try_get("task_id")?,
            run_id: row.try_get("run_id")?,
            map_index: row.try_get("map_index")?,
            try_number: row.try_get("try_number")?,
            max_tries: row.try_get("max_tries")?,
        })
    }

    async fn end(
        &self,
        connection: &mut PgConnection,
        timeout: Duration,
        now: DateTime<Utc>,
    ) -> Result<(), AttemptError> {
        let mut savepoint = connection.begin().await?;
        audit_log::write(&mut savepoint, &[self.entry(timeout)]).await?;
        if self.max_tries > 0 && self.try_number <= self.max_tries {
            let report = Retry {
                id: self.id,
                end_date: now,
                rendered_map_index: None,
                retry_delay_seconds: None,
                retry_reason: None,
            };
            attempt::retry(&mut savepoint, &report).await?;
        } else {
            attempt::fail(&mut savepoint, self.id, now).await?;
        }
        savepoint.commit().await?;
        tracing::error!(
            dag_id = self.dag_id,
            task_id = self.task_id,
            run_id = self.run_id,
            map_index = self.map_index,
            try_number = self.try_number,
            "an attempt was not heard of within [scheduler] task_instance_heartbeat_timeout"
        );
        counter!("task_instances_without_heartbeats_killed", "dag_id" => self.dag_id.clone(), "task_id" => self.task_id.clone())
            .increment(1);
        Ok(())
    }

    fn entry(&self, timeout: Duration) -> Entry<'_> {
        Entry {
            event: "heartbeat timeout",
            dag_id: &self.dag_id,
            run_id: &self.run_id,
            task_id: &self.task_id,
            map_index: self.map_index,
            try_number: self.try_number,
            logical_date: None,
            owner: None,
            extra: Some(format!(
                "no heartbeat within {} seconds ([scheduler] task_instance_heartbeat_timeout): the attempt was ended",
                timeout.as_secs()
            )),
        }
    }
}

/// Writes messages anew for queued task instances that have none. Returns how many.
pub(crate) async fn resend_lost_messages(database: &Database, now: DateTime<Utc>) -> Result<usize> {
    let mut transaction = database.pool().begin().await?;
    let rows = query(include_str!("../queries/queued_without_message.sql"))
        .bind(now - MESSAGE_GRACE)
        .fetch_all(&mut *transaction)
        .await?;
    let messages = rows
        .iter()
        .map(|row| {
            Ok(Message {
                ti_id: row.try_get("id")?,
                queue: row.try_get("queue")?,
                priority_weight: row.try_get("priority_weight")?,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    queue::send(&mut transaction, &messages).await?;
    transaction.commit().await?;
    if !messages.is_empty() {
        tracing::warn!(count = messages.len(), "queued task instances had no message; sent again");
    }
    Ok(messages.len())
}
