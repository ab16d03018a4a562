//! `scheduler/src/reaper/`.

use chrono::{DateTime, TimeDelta, Utc};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use crate::database::{InstanceRow, Result, RowId, Transaction};
use crate::metadata::attempt::{self, Refused, Report};
use crate::metadata::queue;
use crate::metadata::task_instance::{Transition, hold_free, transition};
use crate::scenario::HEARTBEAT_TIMEOUT;
use crate::world::{Process, moment};

/// A queued task instance must have its message within this time.
const MESSAGE_GRACE: TimeDelta = TimeDelta::seconds(30);

/// A task instance that was cleared while it ran starts anew after this time.
const RESTART_GRACE: TimeDelta = TimeDelta::seconds(30);

/// Ends attempts that have not been heard of (`scheduler/queries/reaper/silent_attempts.sql`).
pub(super) async fn end_silent_attempts(process: &Process) -> Result<()> {
    let world = &process.world;
    if !world.safeguards().reaper {
        return Ok(());
    }
    let transaction = Transaction::begin(process);
    transaction.statement("silent_attempts.sql").await?;
    // By the clock of Postgres, as heartbeats are.
    let deadline = moment(world.now()) - HEARTBEAT_TIMEOUT;
    let is_silent = |row: &InstanceRow| {
        row.state() == Some(TaskInstanceState::Running)
            && row.last_heartbeat_at.or(row.facts.start_date).or(row.queued_at) < Some(deadline)
    };
    let silent = hold_free(&transaction, 100, |_, _, row| is_silent(row));
    for row in rows(&transaction, &silent) {
        let retry = attempt::may_retry(&row);
        let report = if retry { Report::Retry } else { Report::Finish(TaskInstanceState::Failed) };
        world.count("work:silent attempts ended");
        match attempt::write(process, &transaction, row.facts.id, report).await {
            Ok(_) | Err(Refused::NotYours) => {}
            Err(Refused::Database(broken)) => return Err(broken),
        }
    }
    transaction.commit().await
}

fn rows(transaction: &Transaction, keys: &[RowId]) -> Vec<InstanceRow> {
    transaction.read(|database, id| keys.iter().filter_map(|key| database.instances.get(id, key).cloned()).collect())
}

/// Lets task instances start anew that were cleared while they ran (`scheduler/queries/reaper/restarting.sql`).
pub(super) async fn release_restarting(process: &Process, now: DateTime<Utc>) -> Result<()> {
    let transaction = Transaction::begin(process);
    transaction.statement("restarting.sql").await?;
    let deadline = now - RESTART_GRACE;
    let restarting = Some(TaskInstanceState::Restarting);
    let is_due = |row: &InstanceRow| row.state() == restarting && row.last_heartbeat_at.unwrap_or(moment(0)) < deadline;
    let due = hold_free(&transaction, 500, |_, _, row| is_due(row));
    let ids = rows(&transaction, &due).into_iter().map(|row| row.facts.id);
    let transitions: Vec<Transition> = ids.map(|id| Transition::new(id, &[restarting], None)).collect();
    transition(&process.world, &transaction, &transitions).await?;
    transaction.commit().await
}

/// Writes messages anew for queued task instances that have none (`scheduler/queries/reaper/lost_messages.sql`).
pub(super) async fn resend_lost_messages(process: &Process, now: DateTime<Utc>) -> Result<()> {
    if !process.world.safeguards().resend {
        return Ok(());
    }
    let transaction = Transaction::begin(process);
    transaction.statement("lost_messages.sql").await?;
    let deadline = now - MESSAGE_GRACE;
    let lost = hold_free(&transaction, 500, |database, id, row| {
        row.state() == Some(TaskInstanceState::Queued)
            && row.queued_at < Some(deadline)
            && database.outbox.get(id, &row.facts.id).is_none()
    });
    let messages: Vec<(Uuid, i32)> =
        rows(&transaction, &lost).into_iter().map(|row| (row.facts.id, row.priority_weight)).collect();
    messages.iter().for_each(|_| process.world.count("work:messages written anew"));
    queue::send(&transaction, &messages).await?;
    transaction.commit().await
}
