//! `metadata/src/queue.rs`.

use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use super::task_instance::{Transition, transition};
use crate::database::{InstanceRow, Lock, MessageRow, Notification, Result, Transaction};
use crate::world::{Process, ProcessId, moment};

/// Puts messages into the outbox.
pub(crate) async fn send(transaction: &Transaction, messages: &[(Uuid, i32)]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    transaction.statement("queue: insert into outbox").await?;
    for (message, priority_weight) in messages {
        // Who deletes the same row is waited for.
        transaction.lock(Lock::Message(*message)).await?;
        let row = MessageRow { priority_weight: *priority_weight, visible_at: 0 };
        transaction.write(|database, id| database.outbox.write(id, *message, Some(row)));
    }
    transaction.notify(Notification::Queue);
    Ok(())
}

/// Takes messages (`metadata/queries/queue/claim.sql`) and moves their task instances to `running`, all in the caller's
/// transaction. Returns the task instances taken. Messages come in any order, since other queues keep none.
pub(crate) async fn claim(process: &Process, transaction: &Transaction, limit: usize) -> Result<Vec<Uuid>> {
    let world = &process.world;
    transaction.statement("queue/claim.sql").await?;
    let mut visible: Vec<Uuid> = transaction.read(|database, id| {
        let rows = database.outbox.rows(id);
        let mut rows: Vec<_> = rows.into_iter().filter(|(_, row)| row.visible_at <= world.now()).collect();
        rows.sort_by_key(|(id, row)| (-row.priority_weight, **id));
        rows.into_iter().map(|(id, _)| *id).collect()
    });
    if visible.len() > 1 && world.goes_wrong(300) {
        world.count("fault:messages reordered");
        visible.reverse();
    }
    let taken: Vec<Uuid> =
        visible.into_iter().filter(|message| transaction.try_lock(Lock::Message(*message))).take(limit).collect();
    let known: Vec<Uuid> = transaction.write(|database, id| {
        taken.iter().for_each(|message| database.outbox.write(id, *message, None));
        let rows = database.instances.rows(id);
        taken.iter().copied().filter(|message| rows.iter().any(|(_, row)| row.facts.id == *message)).collect()
    });
    let transitions: Vec<Transition> = known.into_iter().map(|id| start_of(process, id)).collect();
    let changed = transition(world, transaction, &transitions).await?;
    Ok(changed.into_iter().map(|(id, _)| id).collect())
}

fn start_of(process: &Process, id: Uuid) -> Transition {
    let hostname = hostname_of(process);
    let (now, taken_at) = (process.now(), moment(process.world.now()));
    let from = [Some(TaskInstanceState::Queued)];
    let start = Transition::new(id, &from, Some(TaskInstanceState::Running)).with(move |row: &mut InstanceRow| {
        row.facts.end_date = None;
        row.facts.start_date = row.facts.start_date.filter(|_| row.resumes).or(Some(now));
        row.facts.retry_delay_override = None;
        row.hostname = hostname;
        row.pid = None;
        row.last_heartbeat_at = Some(taken_at);
    });
    let compares = process.world.safeguards().claim_compares;
    Transition { from: start.from.filter(|_| compares), ..start }
}

/// The host a worker runs on.
pub(crate) fn hostname_of(process: &Process) -> Option<usize> {
    match process.id {
        ProcessId::Worker(number) => Some(number),
        _ => None,
    }
}
