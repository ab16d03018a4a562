use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::dag::TaskIndex;
use crate::state::{DagRunState, TaskInstanceState};

/// A task instance whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The task instance.
    pub id: Uuid,
    /// Its task.
    pub task: TaskIndex,
    /// The state it leaves.
    pub from: Option<TaskInstanceState>,
    /// `try_number` from now on.
    pub try_number: i32,
}

/// A task instance that ends without running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateChange {
    /// The task instance.
    pub id: Uuid,
    /// The state it leaves.
    pub from: Option<TaskInstanceState>,
    /// `skipped`, `upstream_failed` or `removed`.
    pub to: TaskInstanceState,
    /// Whether it gets a start and an end date, if it has none: Airflow dates what a dependency ends, and leaves
    /// undated what an expansion, the run's time-out or the leaving of a task ends.
    pub is_dated: bool,
}

/// The unexpanded task instance of a mapped task becomes its first mapped one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expansion {
    /// The task instance with map index −1.
    pub id: Uuid,
    /// Its state, which does not change.
    pub state: Option<TaskInstanceState>,
    /// Whether a task instance with map index 0 exists already: then the unexpanded one is deleted, else its
    /// map index becomes 0.
    pub is_deleted: bool,
}

/// Task instances that must be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// Their task.
    pub task: TaskIndex,
    /// Their map indexes.
    pub map_indexes: Vec<i32>,
    /// The state they start in.
    pub state: Option<TaskInstanceState>,
}

/// Why a Dag run ends. The name is what Airflow tells callbacks and listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEndReason {
    /// All leaves succeeded or were skipped.
    Success,
    /// A leaf failed.
    TaskFailure,
    /// Task instances wait for what cannot come.
    AllTasksDeadlocked,
    /// It took longer than `dagrun_timeout`.
    TimedOut,
}

impl RunEndReason {
    /// Text that Airflow gives to callbacks and listeners.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::TaskFailure => "task_failure",
            Self::AllTasksDeadlocked => "all_tasks_deadlocked",
            Self::TimedOut => "timed_out",
        }
    }
}

/// The end of a Dag run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunEnd {
    /// `success` or `failed`.
    pub state: DagRunState,
    /// Why.
    pub reason: RunEndReason,
    /// The task instance that a callback of the Dag is told about.
    pub relevant_task_instance: Option<Uuid>,
}

/// What should happen to a run and its task instances.
///
/// Every list names other task instances than the others, except that `end_run` counts with all of them
/// applied. `again` asks for a new step with fresh facts, because task instances were made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// To `scheduled`.
    pub schedule: Vec<Start>,
    /// Straight to `success`: nothing to run.
    pub succeed: Vec<Start>,
    /// Straight to `deferred`, with [`crate::dag::Task::start_trigger`].
    pub defer: Vec<Start>,
    /// To a final state without running.
    pub end: Vec<StateChange>,
    /// Unexpanded task instances that become mapped ones.
    pub expand: Vec<Expansion>,
    /// Task instances to make.
    pub create: Vec<Creation>,
    /// The run's end.
    pub end_run: Option<RunEnd>,
    /// Whether to step again at once, with facts loaded anew.
    pub again: bool,
    /// When time alone may change the outcome: a retry, a reschedule or the run's time-out.
    pub wake_at: Option<DateTime<Utc>>,
    /// Whether a task instance waits for the run before, so that the end of that run must wake this one.
    pub waits_for_previous_run: bool,
}

impl Step {
    /// Whether nothing has to be written.
    pub fn is_idle(&self) -> bool {
        self.schedule.is_empty()
            && self.succeed.is_empty()
            && self.defer.is_empty()
            && self.end.is_empty()
            && self.expand.is_empty()
            && self.create.is_empty()
            && self.end_run.is_none()
    }

    /// What of the step may be written while the Dag is paused: nothing starts. A task that succeeds without running has
    /// consequences in the same step, perhaps the run's end; they wait with it.
    #[must_use]
    pub fn while_suspended(self) -> Self {
        if self.succeed.is_empty() {
            return Self { schedule: Vec::new(), defer: Vec::new(), ..self };
        }
        Self { wake_at: self.wake_at, waits_for_previous_run: self.waits_for_previous_run, ..Self::default() }
    }
}
