//! `metadata/src/attempt/`: start, heartbeats, and the ways in which an attempt ends or pauses.

use chrono::{DateTime, Utc};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use super::queue::hostname_of;
use super::task_instance::{Transition, hold, new_id, transition};
use crate::database::{Broken, InstanceRow, Lock, RowId, Transaction};
use crate::world::{Process, moment};

/// Why a report was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The attempt is not what it thinks it is.
    NotYours,
    /// The database failed.
    Database(Broken),
}

impl From<Broken> for Refused {
    fn from(broken: Broken) -> Self {
        Self::Database(broken)
    }
}

/// What an attempt reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Report {
    /// `success`, `failed` or `skipped`.
    Finish(TaskInstanceState),
    Retry,
    Reschedule(DateTime<Utc>),
    Defer,
}

impl Report {
    pub(crate) fn state(self) -> TaskInstanceState {
        match self {
            Self::Finish(state) => state,
            Self::Retry => TaskInstanceState::UpForRetry,
            Self::Reschedule(_) => TaskInstanceState::UpForReschedule,
            Self::Defer => TaskInstanceState::Deferred,
        }
    }

    /// Whether the same attempt goes on later, in another process.
    pub(crate) fn is_pause(self) -> bool {
        matches!(self, Self::Reschedule(_) | Self::Defer)
    }
}

/// `metadata/queries/attempt/hold.sql`.
async fn hold_one(transaction: &Transaction, id: Uuid) -> Result<(RowId, InstanceRow), Refused> {
    transaction.statement("attempt/hold.sql").await?;
    let keys = hold(transaction, |row| row.facts.id == id).await?;
    let key = *keys.first().ok_or(Refused::NotYours)?;
    let row = transaction.read(|database, id| database.instances.get(id, &key).cloned());
    Ok((key, row.ok_or(Refused::NotYours)?))
}

/// Records that a claimed attempt runs in a process. Returns whether a failure of it may lead to another attempt
/// (`metadata/src/attempt/start.rs`).
pub(crate) async fn start(process: &Process, id: Uuid, pid: u64) -> Result<bool, Refused> {
    let transaction = Transaction::begin(process);
    let (key, row) = hold_one(&transaction, id).await?;
    let is_claimed = row.state() == Some(TaskInstanceState::Running)
        && row.hostname == hostname_of(process)
        && (row.pid.is_none() || row.pid == Some(pid));
    if !is_claimed {
        return Err(Refused::NotYours);
    }
    transaction.statement("attempt: record the process").await?;
    let now = moment(process.world.now());
    transaction.write(|database, id| {
        database.instances.change(id, &key, |row| {
            row.pid = Some(pid);
            row.last_heartbeat_at = Some(now);
        });
    });
    transaction.statement("attempt/context.sql").await?;
    transaction.commit().await?;
    Ok(may_retry(&row))
}

/// `should_retry` of `metadata/src/attempt/start.rs`, and what the reaper decides by.
pub(crate) fn may_retry(row: &InstanceRow) -> bool {
    row.facts.max_tries > 0 && row.facts.try_number <= row.facts.max_tries
}

/// Keeps attempts alive, given by id and process id. Returns those that were.
pub(crate) async fn heartbeats(process: &Process, attempts: &[(Uuid, u64)]) -> Result<Vec<Uuid>, Broken> {
    let transaction = Transaction::begin(process);
    transaction.statement("attempt: heartbeats").await?;
    let hostname = hostname_of(process);
    let is_kept = |row: &InstanceRow| {
        row.state() == Some(TaskInstanceState::Running)
            && row.hostname == hostname
            && attempts.iter().any(|(id, pid)| row.facts.id == *id && row.pid == Some(*pid))
    };
    let keys = hold(&transaction, is_kept).await?;
    let now = moment(process.world.now());
    let kept = transaction.write(|database, id| {
        keys.iter().for_each(|key| database.instances.change(id, key, |row| row.last_heartbeat_at = Some(now)));
        keys.iter().filter_map(|key| Some(database.instances.get(id, key)?.facts.id)).collect()
    });
    transaction.commit().await?;
    Ok(kept)
}

/// What became of an accepted report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    Written,
    /// The attempt was in the reported state already.
    Duplicate,
}

/// A report in a transaction of its own.
pub(crate) async fn report(process: &Process, id: Uuid, report: Report) -> Result<Accepted, Refused> {
    let transaction = Transaction::begin(process);
    let accepted = write(process, &transaction, id, report).await?;
    if accepted == Accepted::Written && !process.world.safeguards().report_waits_for_commit {
        // The answer is on its way already when the transaction fails.
        process.world.observer(|observer| observer.accepted(id, report.state()));
    }
    transaction.commit().await?;
    Ok(accepted)
}

/// A report within the caller's transaction.
pub(crate) async fn write(
    process: &Process,
    transaction: &Transaction,
    id: Uuid,
    report: Report,
) -> Result<Accepted, Refused> {
    let (key, row) = hold_one(transaction, id).await?;
    if row.state() == Some(report.state()) {
        return Ok(Accepted::Duplicate);
    }
    let compares = process.world.safeguards().report_compares;
    if compares && row.state() != Some(TaskInstanceState::Running) {
        return Err(Refused::NotYours);
    }
    transaction.lock(Lock::Instance(key)).await?;
    let now = process.now();
    let running = [Some(TaskInstanceState::Running)];
    let wanted = Transition::new(id, &running, Some(report.state())).with(move |row: &mut InstanceRow| match report {
        Report::Finish(_) | Report::Retry => {
            row.facts.end_date = Some(now);
            row.resumes = false;
        }
        Report::Reschedule(at) => {
            row.facts.end_date = Some(now);
            row.facts.next_reschedule_at = Some(at);
            row.resumes = false;
        }
        Report::Defer => row.resumes = true,
    });
    let wanted = Transition { from: wanted.from.filter(|_| compares), ..wanted };
    if transition(&process.world, transaction, &[wanted]).await?.is_empty() {
        return Err(Refused::NotYours);
    }
    if report == Report::Retry {
        transaction.statement("attempt: renew the id").await?;
        let next = new_id(&process.world);
        transaction.write(|database, id| database.instances.change(id, &key, |row| row.facts.id = next));
    }
    Ok(Accepted::Written)
}
