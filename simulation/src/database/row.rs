//! The columns of the metadata tables that decide anything here.

use chrono::{DateTime, Utc};
use tradewind_model::scheduling::{RunEndReason, TaskInstanceFacts};
use tradewind_model::state::{DagRunState, DagRunType, TaskInstanceState};
use tradewind_model::timetable::{DagRunInfo, DataInterval};
use uuid::Uuid;

use crate::world::Millis;

/// Place of a Dag in the scenario.
pub(crate) type DagId = usize;

/// `dag_run.id`.
pub(crate) type RunId = i32;

/// Names the row of a task instance, whose `id` changes with every attempt.
pub(crate) type RowId = u64;

/// A row of `dag`.
#[derive(Debug, Clone)]
pub(crate) struct DagRow {
    pub(crate) is_paused: bool,
    pub(crate) exceeds_max_non_backfill: bool,
    pub(crate) next: Option<DagRunInfo>,
}

/// Who ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedBy {
    /// By what it saw of the task instances at a moment.
    Scheduler(RunEndReason, Millis),
    User,
}

/// A row of `dag_run`.
#[derive(Debug, Clone)]
pub(crate) struct RunRow {
    pub(crate) dag: DagId,
    pub(crate) run_id: String,
    pub(crate) run_type: DagRunType,
    pub(crate) state: DagRunState,
    pub(crate) logical_date: Option<DateTime<Utc>>,
    pub(crate) data_interval: Option<DataInterval>,
    pub(crate) run_after: DateTime<Utc>,
    pub(crate) start_date: Option<DateTime<Utc>>,
    pub(crate) last_scheduling_decision: Option<DateTime<Utc>>,
    /// Not in Postgres: for invariant I7.
    pub(crate) ended_by: Option<EndedBy>,
}

/// A row of `task_instance`.
#[derive(Debug, Clone)]
pub(crate) struct InstanceRow {
    pub(crate) run: RunId,
    pub(crate) dag: DagId,
    pub(crate) facts: TaskInstanceFacts,
    pub(crate) pool: usize,
    pub(crate) pool_slots: i64,
    pub(crate) priority_weight: i32,
    pub(crate) hostname: Option<usize>,
    pub(crate) pid: Option<u64>,
    pub(crate) last_heartbeat_at: Option<DateTime<Utc>>,
    pub(crate) queued_at: Option<DateTime<Utc>>,
    /// `next_method` and `next_kwargs`: the attempt goes on after a deferral.
    pub(crate) resumes: bool,
}

impl InstanceRow {
    pub(crate) fn state(&self) -> Option<TaskInstanceState> {
        self.facts.state
    }

    /// Whether it takes slots: `state IN ('queued', 'running')`.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.facts.state, Some(TaskInstanceState::Queued | TaskInstanceState::Running))
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.facts.state.is_some_and(TaskInstanceState::is_finished)
    }
}

/// A row of `tradewind.outbox`.
#[derive(Debug, Clone)]
pub(crate) struct MessageRow {
    pub(crate) priority_weight: i32,
    /// Not in Postgres: a message that other queues would deliver late.
    pub(crate) visible_at: i64,
}

/// What a transaction tells when it commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Notification {
    /// `tradewind_dag_run`.
    DagRun(RunId),
    /// `tradewind_dag`.
    Dag,
    /// `tradewind_queue`.
    Queue,
}

/// Key of the outputs of mapped tasks: `xcom` with the key `return_value`.
pub(crate) type OutputKey = (RunId, String, i32);

/// What a transaction may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lock {
    /// `pg_advisory_xact_lock(2)`.
    CriticalSection,
    Dag(DagId),
    Run(RunId),
    Instance(RowId),
    Pool(usize),
    Message(Uuid),
}
