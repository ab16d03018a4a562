//! What a run's own facts do not tell: limits, pools, queues, and who lives.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::state::TaskInstanceState;

/// Everything around a run that may keep it, or a task instance of it, from moving.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Surroundings {
    /// The run's Dag.
    pub dag: DagFacts,
    /// `dag_run.id`.
    pub dag_run_id: i32,
    /// The run does not start before.
    pub run_after: DateTime<Utc>,
    /// Where the run stands among those that want to start; needed while it is queued.
    pub queued_run: QueuedRun,
    /// The backfill that the run belongs to.
    pub backfill: Option<Backfill>,
    /// Task instances of the run that a plugin's weight rule has still to weigh.
    pub unweighed: u64,
    /// The schedulers.
    pub scheduler: Component,
    /// The triggerers.
    pub triggerer: Component,
    /// An attempt silent for longer is ended by the scheduler.
    pub heartbeat_timeout: TimeDelta,
    /// What no worker takes for longer is stuck (`[scheduler] task_queued_timeout`).
    pub queued_timeout: TimeDelta,
    /// A task instance that was cleared while it ran starts anew after this silence.
    pub restart_grace: TimeDelta,
    /// `[core] parallelism`; none when there is no limit.
    pub parallelism: Option<i64>,
    /// Task instances that are queued or running.
    pub active: Active,
    /// Pools that scheduled task instances of the run want slots of; one that is missing does not exist.
    pub pools: HashMap<String, Pool>,
    /// Queues that queued task instances of the run wait in.
    pub queues: HashMap<String, Queue>,
    /// More about task instances that are scheduled or beyond, and have not ended.
    pub attempts: HashMap<Uuid, Attempt>,
}

/// The run's Dag.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DagFacts {
    /// No version of it is stored: nobody knows its tasks.
    pub was_never_serialized: bool,
    /// A user stopped it.
    pub is_paused: bool,
    /// It is gone from its file.
    pub is_stale: bool,
    /// Its file cannot be imported.
    pub has_import_errors: bool,
    /// `max_active_runs`.
    pub max_active_runs: i64,
    /// `max_active_tasks`.
    pub max_active_tasks: i64,
}

/// Runs that a queued run competes with: those of its backfill, or those of its Dag that belong to no backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueuedRun {
    /// Those that are running.
    pub running: i64,
    /// Those that are queued and come first.
    pub before: i64,
}

/// A backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backfill {
    /// `backfill.id`.
    pub id: i32,
    /// A user stopped it.
    pub is_paused: bool,
    /// Its own `max_active_runs`.
    pub max_active_runs: i64,
}

/// Processes of one kind, as their jobs tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Component {
    /// One was heard of lately.
    pub is_alive: bool,
    /// When one was last heard of.
    pub last_heartbeat: Option<DateTime<Utc>>,
}

/// Task instances that are queued or running.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Active {
    /// All.
    pub total: i64,
    /// Those of the run.
    pub in_run: i64,
    /// Those of each task that limits itself, over all runs and in this run, together with those that wait for a
    /// trigger or a person. A task without any may be absent.
    pub of_tasks: HashMap<String, (i64, i64)>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pool {
    /// Its slots; none when there is no limit.
    pub slots: Option<i64>,
    /// Slots of running task instances.
    pub running: i64,
    /// Slots of queued ones.
    pub queued: i64,
    /// Slots of deferred ones, where the pool counts them.
    pub deferred: i64,
    /// Who holds the slots, those with most first; not all of them.
    pub holders: Vec<Holder>,
}

impl Pool {
    /// Open slots; as many as a number can say where there is no limit.
    pub fn open(&self) -> i64 {
        self.slots.map_or(i64::MAX, |slots| slots - self.running - self.queued - self.deferred)
    }
}

/// A task instance that holds slots of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its Dag.
    pub dag_id: String,
    /// Its run.
    pub run_id: String,
    /// Its task.
    pub task_id: String,
    /// −1 unless it is one of the instances of a mapped task.
    pub map_index: i32,
    /// `queued`, `running` or `deferred`.
    pub state: TaskInstanceState,
    /// Its slots.
    pub slots: i64,
    /// When it got them, as far as is known.
    pub since: Option<DateTime<Utc>>,
}

/// A queue, as its workers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queue {
    /// Workers heard of lately that take from it.
    pub workers: i64,
    /// Attempts that they can run at once.
    pub slots: i64,
    /// Attempts that they run.
    pub running: i64,
    /// When a worker of this queue was last heard of.
    pub last_heartbeat: Option<DateTime<Utc>>,
}

/// More about a task instance that is scheduled or beyond, and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attempt {
    /// Its pool.
    pub pool: String,
    /// Slots it takes.
    pub pool_slots: i64,
    /// Its queue.
    pub queue: String,
    /// Scheduled task instances that come first; needed while it is scheduled.
    pub before: u64,
    /// The same among those of its pool.
    pub before_in_pool: u64,
    /// Messages of its queue that come first; none when its own is missing. Needed while it is queued.
    pub messages_before: Option<u64>,
    /// When it was queued.
    pub queued_at: Option<DateTime<Utc>>,
    /// The host it runs on.
    pub hostname: Option<String>,
    /// When its worker was last heard of.
    pub last_heartbeat: Option<DateTime<Utc>>,
    /// When its row was last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// What it waits for while it is deferred.
    pub trigger: Option<Trigger>,
    /// What it asks while it waits for a person.
    pub question: Option<Question>,
    /// When it stops waiting for either.
    pub timeout_at: Option<DateTime<Utc>>,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Importable name of its class.
    pub classpath: String,
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The question.
    pub subject: String,
    /// What can be answered.
    pub options: Vec<String>,
    /// Who may answer; everybody when empty.
    pub assignees: Vec<String>,
}
