use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::{Changes, Database, Lock, Notification, TransactionId};
use crate::world::{Millis, Process, ProcessId, World};

/// Why a transaction came to nothing, as far as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Deadlock or serialisation failure: `MetadataError::is_transient` says that it may be tried again.
    Conflict,
    /// The connection is gone.
    Connection,
}

/// The result of a statement.
pub(crate) type Result<T, E = Broken> = std::result::Result<T, E>;

/// How long a statement takes, in milliseconds.
const LATENCY: (Millis, Millis) = (1, 12);

/// A transaction; it is rolled back when it is dropped before its commit.
pub(crate) struct Transaction {
    process: Process,
    id: TransactionId,
    is_over: Cell<bool>,
    notifications: RefCell<BTreeSet<Notification>>,
}

impl Transaction {
    pub(crate) fn begin(process: &Process) -> Self {
        let id = process.world.number();
        Self { process: process.clone(), id, is_over: Cell::new(false), notifications: RefCell::default() }
    }

    /// Everything that can happen before a statement does what it should.
    pub(crate) async fn statement(&self, name: &'static str) -> Result<()> {
        let world = &self.process.world;
        world.count("work:statements");
        if world.goes_wrong(15) {
            world.count("fault:slow statement");
            world.dawdle(100, 10_000).await;
        } else {
            world.dawdle(LATENCY.0, LATENCY.1).await;
        }
        self.process.trace(|| format!("[{}] {name}", self.id));
        if world.goes_wrong(3) {
            world.count("fault:process killed within a transaction");
            self.process.trace(|| "is killed".to_owned());
            world.kill(self.process.id);
            std::future::pending::<()>().await;
        }
        if world.goes_wrong(3) {
            world.count("fault:deadlock or serialisation failure");
            return Err(self.breaks(Broken::Conflict));
        }
        if world.goes_wrong(3) {
            world.count("fault:connection lost");
            return Err(self.breaks(Broken::Connection));
        }
        Ok(())
    }

    fn breaks(&self, reason: Broken) -> Broken {
        self.process.trace(|| format!("[{}] breaks: {reason:?}", self.id));
        self.roll_back(reason == Broken::Connection);
        reason
    }

    /// Reads as a statement of this transaction.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Database, TransactionId) -> T) -> T {
        self.process.world.database(|database| look(database, self.id))
    }

    /// Writes as a statement of this transaction, which holds the rows concerned.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&mut Database, TransactionId) -> T) -> T {
        self.process.world.database(|database| write(database, self.id))
    }

    /// Takes a lock if nobody else holds it (`SKIP LOCKED`).
    pub(crate) fn try_lock(&self, lock: Lock) -> bool {
        self.process.world.database(|database| *database.held.entry(lock).or_insert(self.id) == self.id)
    }

    /// Takes a lock, waiting for whoever holds it.
    pub(crate) async fn lock(&self, lock: Lock) -> Result<()> {
        let world = &self.process.world;
        while !self.try_lock(lock) {
            if world.database(|database| database.is_deadlock(self.id, lock)) {
                world.count("work:deadlocks");
                return Err(self.breaks(Broken::Conflict));
            }
            world.count("work:waits for a lock");
            self.process.trace(|| format!("[{}] waits for {lock:?}", self.id));
            let actor = world.current();
            world.database(|database| database.waits.insert(self.id, (lock, actor)));
            let is_free = || world.database(|database| !database.held.contains_key(&lock));
            world.wait_for(Millis::MAX, is_free).await;
            world.database(|database| database.waits.remove(&self.id));
        }
        Ok(())
    }

    /// `NOTIFY`, heard when the transaction commits.
    pub(crate) fn notify(&self, notification: Notification) {
        self.notifications.borrow_mut().insert(notification);
    }

    /// Commits. An error may mean either: the answer is what got lost.
    pub(crate) async fn commit(self) -> Result<()> {
        self.statement("COMMIT").await?;
        self.process.world.count("work:commits");
        self.take_effect();
        if self.process.world.goes_wrong(20) {
            self.process.world.count("fault:commit whose answer got lost");
            return Err(Broken::Connection);
        }
        Ok(())
    }

    fn take_effect(&self) {
        let world = &self.process.world;
        self.is_over.set(true);
        let changes: Changes = world.database(|database| database.commit(self.id));
        self.deliver();
        let waiting = world.database(|database| database.release(self.id));
        waiting.into_iter().for_each(|actor| world.wake(actor));
        crate::invariants::check(world, &changes);
    }

    fn deliver(&self) {
        let world = &self.process.world;
        for notification in self.notifications.take() {
            if world.goes_wrong(20) {
                world.count("fault:notification lost");
                continue;
            }
            let actors: Vec<u64> = world.database(|database| {
                database
                    .listeners
                    .iter_mut()
                    .filter_map(|listener| listener.heard.insert(notification).then_some(listener.actor))
                    .collect()
            });
            actors.into_iter().for_each(|actor| world.wake(actor));
        }
    }

    /// Postgres forgets what the transaction wrote, at once or, when the client is gone, perhaps when it notices.
    fn roll_back(&self, client_is_gone: bool) {
        if self.is_over.replace(true) {
            return;
        }
        let (world, id) = (self.process.world.clone(), self.id);
        if !client_is_gone || !world.goes_wrong(300) {
            return end(&world, id);
        }
        world.count("fault:locks of a dead client");
        world.database(|database| database.waits.remove(&id));
        let at = world.now() + world.dice(|dice| dice.between(1_000, 60_000));
        let later = world.clone();
        world.spawn(ProcessId::Environment, at, async move { end(&later, id) });
    }
}

fn end(world: &World, id: TransactionId) {
    let waiting = world.database(|database| {
        database.roll_back(id);
        database.release(id)
    });
    waiting.into_iter().for_each(|actor| world.wake(actor));
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.roll_back(self.process.world.is_burying());
    }
}
