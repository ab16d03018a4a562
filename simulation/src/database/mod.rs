//! Postgres as far as the product leans on it: READ COMMITTED, row locks, notifications, and all that can go wrong.
//!
//! - A statement sees what is committed at its beginning and what its own transaction wrote.
//! - A row that another transaction holds is waited for, or passed over (`SKIP LOCKED`). Who waited looks at the row
//!   again as it is then; whatever else the statement had read by then stays as it was.
//! - Whoever waits in a circle gets a deadlock. Any statement may fail otherwise, too.
//! - A commit whose answer is lost may have happened or not.
//! - A transaction whose client died ends at once, or only when Postgres notices.

mod row;
mod table;
mod transaction;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

pub(crate) use row::{
    DagId, DagRow, EndedBy, InstanceRow, Lock, MessageRow, Notification, OutputKey, RowId, RunId, RunRow,
};
pub(crate) use table::Table;
pub(crate) use transaction::{Broken, Result, Transaction};

use crate::scenario::Scenario;

/// Names a transaction.
pub(crate) type TransactionId = u64;

/// A transaction that has written nothing, and so sees what is committed.
pub(crate) const COMMITTED: TransactionId = 0;

/// The tables, and who holds what.
#[derive(Debug, Default)]
pub(crate) struct Database {
    pub(crate) dags: Table<DagId, DagRow>,
    pub(crate) runs: Table<RunId, RunRow>,
    pub(crate) instances: Table<RowId, InstanceRow>,
    pub(crate) outbox: Table<Uuid, MessageRow>,
    /// `task_map`: lengths of the outputs of plain tasks.
    pub(crate) lengths: Table<(RunId, String), u64>,
    /// `xcom`: outputs of mapped task instances.
    pub(crate) outputs: Table<OutputKey, ()>,
    held: BTreeMap<Lock, TransactionId>,
    waits: BTreeMap<TransactionId, (Lock, u64)>,
    listeners: Vec<Listener>,
}

/// Who listens: the actor to wake, and what it has not taken yet.
#[derive(Debug)]
struct Listener {
    number: u64,
    actor: u64,
    heard: BTreeSet<Notification>,
}

/// Rows that a commit changed, as they were and as they are.
pub(crate) struct Changes {
    pub(crate) runs: Vec<(RunId, Option<RunRow>, Option<RunRow>)>,
    pub(crate) instances: Vec<(RowId, Option<InstanceRow>, Option<InstanceRow>)>,
}

impl Database {
    /// A database with the Dags of the scenario.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let mut database = Self::default();
        for (id, dag) in scenario.dags.iter().enumerate() {
            let row = DagRow { is_paused: false, exceeds_max_non_backfill: false, next: dag.first_run.clone() };
            database.dags.write(0, id, Some(row));
        }
        database.commit(0);
        database
    }

    fn commit(&mut self, transaction: TransactionId) -> Changes {
        self.dags.commit(transaction);
        self.outbox.commit(transaction);
        self.lengths.commit(transaction);
        self.outputs.commit(transaction);
        Changes { runs: self.runs.commit(transaction), instances: self.instances.commit(transaction) }
    }

    /// What fate writes is there at once.
    pub(crate) fn commit_by_fate(&mut self, transaction: TransactionId) {
        self.outbox.commit(transaction);
    }

    /// Whether a transaction holds it.
    pub(crate) fn is_held(&self, lock: Lock) -> bool {
        self.held.contains_key(&lock)
    }

    fn roll_back(&mut self, transaction: TransactionId) {
        self.dags.roll_back(transaction);
        self.outbox.roll_back(transaction);
        self.lengths.roll_back(transaction);
        self.outputs.roll_back(transaction);
        self.runs.roll_back(transaction);
        self.instances.roll_back(transaction);
    }

    /// Lets go of all that a transaction holds. Returns the actors that wait for something.
    fn release(&mut self, transaction: TransactionId) -> Vec<u64> {
        self.waits.remove(&transaction);
        self.held.retain(|_, holder| *holder != transaction);
        self.waits.values().map(|(_, actor)| *actor).collect()
    }

    /// Whether `transaction`, waiting for `lock`, would wait for itself.
    fn is_deadlock(&self, transaction: TransactionId, lock: Lock) -> bool {
        let mut next = self.held.get(&lock).copied();
        let mut seen = BTreeSet::new();
        while let Some(holder) = next {
            if holder == transaction {
                return true;
            }
            if !seen.insert(holder) {
                return false;
            }
            next = self.waits.get(&holder).and_then(|(lock, _)| self.held.get(lock)).copied();
        }
        false
    }

    /// Begins to listen. What is heard is kept under the number returned.
    pub(crate) fn listen(&mut self, number: u64, actor: u64) {
        self.listeners.push(Listener { number, actor, heard: BTreeSet::new() });
    }

    pub(crate) fn stop_listening(&mut self, number: u64) {
        self.listeners.retain(|listener| listener.number != number);
    }

    /// Whether something has been heard.
    pub(crate) fn has_heard(&self, number: u64) -> bool {
        self.listeners.iter().any(|listener| listener.number == number && !listener.heard.is_empty())
    }

    /// Takes what has been heard.
    pub(crate) fn hear(&mut self, number: u64) -> BTreeSet<Notification> {
        let listener = self.listeners.iter_mut().find(|listener| listener.number == number);
        listener.map(|listener| std::mem::take(&mut listener.heard)).unwrap_or_default()
    }
}
