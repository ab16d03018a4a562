use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::dag::{Dag, TaskIndex};
use crate::mapping::OutputLengths;
use crate::state::{DagRunState, DagRunType, TaskInstanceState};

/// What the step must know of a Dag run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFacts {
    /// Name of the run, unique in its Dag.
    pub run_id: String,
    /// What made the run.
    pub run_type: DagRunType,
    /// Where it stands; only a running run has anything to schedule.
    pub state: DagRunState,
    /// Logical date; runs without one exist.
    pub logical_date: Option<DateTime<Utc>>,
    /// When it started to run.
    pub start_date: Option<DateTime<Utc>>,
    /// Whether it is the first run of its backfill (`backfill_dag_run.sort_ordinal` is 1).
    pub is_first_of_backfill: bool,
}

/// What the step must know of a task instance.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskInstanceFacts {
    /// `task_instance.id`.
    pub id: Uuid,
    /// The task.
    pub task_id: String,
    /// −1 unless it is one of the instances of a mapped task.
    pub map_index: i32,
    /// Where it stands.
    pub state: Option<TaskInstanceState>,
    /// Attempts so far, the current one included.
    pub try_number: i32,
    /// The attempt after which it is not retried.
    pub max_tries: i32,
    /// When the last attempt started.
    pub start_date: Option<DateTime<Utc>>,
    /// When the last attempt ended.
    pub end_date: Option<DateTime<Utc>>,
    /// `reschedule_date` of its newest row in `task_reschedule`; needed in state `up_for_reschedule` only.
    pub next_reschedule_at: Option<DateTime<Utc>>,
    /// `task_instance.retry_delay_override`, in seconds.
    pub retry_delay_override: Option<f64>,
}

/// The same task in the run before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PreviousTask {
    /// Task instances there.
    pub total: u64,
    /// Those in another state than `success` and `skipped`.
    pub unsuccessful: u64,
}

/// The run before, for tasks with `depends_on_past`. Load it only when [`Dag::depends_on_past`] says so.
///
/// The run before is the one with the greatest earlier logical date; with `catchup`, among runs that are not
/// manual. A run without a logical date has none before it. Source: `PrevDagrunDep` and
/// `DagRun.get_previous_dagrun`, `get_previous_scheduled_dagrun`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PreviousRunFacts {
    /// Its name.
    pub run_id: String,
    /// Its logical date.
    pub logical_date: Option<DateTime<Utc>>,
    /// Its task instances, by task id; tasks without any may be absent.
    pub tasks: HashMap<String, PreviousTask>,
    /// Tasks with a task instance in any run with an earlier logical date; needed for tasks with
    /// `ignore_first_depends_on_past` that the run before does not have.
    pub seen_before: HashSet<String>,
}

/// What an operator that can skip its downstream tasks decided (its XCom `skipmixin_key`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipDecision {
    /// Skip every downstream task but these.
    Followed(HashSet<String>),
    /// Skip these.
    Skipped(HashSet<String>),
}

impl SkipDecision {
    /// Whether a downstream task is to be skipped.
    pub fn skips(&self, task_id: &str) -> bool {
        match self {
            Self::Followed(tasks) => !tasks.contains(task_id),
            Self::Skipped(tasks) => tasks.contains(task_id),
        }
    }
}

/// Facts from XComs. Load what [`xcom_needs`] names, and nothing when it names nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct XComFacts {
    /// For plain tasks: `length` of their row in `task_map` with map index −1, where it exists.
    pub task_map_lengths: HashMap<String, u64>,
    /// For mapped tasks: number of their `return_value` XComs with map index ≥ 0; absent is 0.
    pub return_value_counts: HashMap<String, u64>,
    /// Decisions in `skipmixin_key`, by task id and map index.
    pub skip_decisions: HashMap<(String, i32), SkipDecision>,
}

/// What to load into [`XComFacts`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct XComNeeds {
    /// Plain tasks whose length in `task_map` matters.
    pub task_map_lengths: Vec<String>,
    /// Mapped tasks whose number of return values matters.
    pub return_value_counts: Vec<String>,
    /// Tasks whose decision to skip matters.
    pub skip_decisions: Vec<String>,
}

impl XComNeeds {
    /// Whether nothing has to be loaded.
    pub fn is_empty(&self) -> bool {
        self.task_map_lengths.is_empty() && self.return_value_counts.is_empty() && self.skip_decisions.is_empty()
    }
}

/// Everything [`super::step`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct RunView<'a> {
    /// The Dag, in the version of the run.
    pub dag: &'a Dag,
    /// The run.
    pub run: &'a RunFacts,
    /// Every task instance of the run, in any order.
    pub task_instances: &'a [TaskInstanceFacts],
    /// What [`xcom_needs`] asked for.
    pub xcoms: &'a XComFacts,
    /// The run before; `None` when there is none or no task depends on the past.
    pub previous: Option<&'a PreviousRunFacts>,
    /// Longest wait that exponential back-off may reach: `[core] max_task_retry_delay`, a day by default.
    pub max_retry_delay: TimeDelta,
    /// The present.
    pub now: DateTime<Utc>,
}

/// Which facts from XComs a step of a run will look at.
///
/// Empty for a run in which nothing that waits is mapped over an output or below an operator that skips, so
/// that such a run costs no query.
pub fn xcom_needs(dag: &Dag, task_instances: &[TaskInstanceFacts]) -> XComNeeds {
    let mut waits = vec![false; dag.task_count()];
    let mut finished = vec![false; dag.task_count()];
    for instance in task_instances {
        let Some(task) = dag.index_of(&instance.task_id) else {
            continue;
        };
        match instance.state {
            Some(state) if state.is_finished() => finished[task.index()] = true,
            state => waits[task.index()] |= TaskInstanceState::SCHEDULEABLE.contains(&state),
        }
    }
    let mut needs = XComNeeds::default();
    let mut is_source = vec![false; dag.task_count()];
    for (index, _) in dag.tasks().filter(|(index, _)| waits[index.index()]) {
        for source in dag.structure().all_mapping_sources(index) {
            is_source[source.index()] = true;
        }
    }
    for (index, task) in dag.tasks().filter(|(index, _)| finished[index.index()]) {
        if is_source[index.index()] {
            let lengths = if task.is_mapped() { &mut needs.return_value_counts } else { &mut needs.task_map_lengths };
            lengths.push(task.task_id.clone());
        }
        if task.can_skip_downstream && dag.downstream(index).any(|next| waits[next.index()]) {
            needs.skip_decisions.push(task.task_id.clone());
        }
    }
    needs
}

/// Lengths as they are known in a run: `unfinished` tells how many instances of each task have not ended.
pub(super) struct Lengths<'a> {
    pub(super) dag: &'a Dag,
    pub(super) xcoms: &'a XComFacts,
    pub(super) unfinished: &'a [u64],
}

impl OutputLengths for Lengths<'_> {
    fn length(&self, task: TaskIndex) -> Option<u64> {
        let source = self.dag.at(task);
        if !source.is_mapped() {
            return self.xcoms.task_map_lengths.get(&source.task_id).copied();
        }
        if self.unfinished[task.index()] > 0 {
            return None;
        }
        Some(self.xcoms.return_value_counts.get(&source.task_id).copied().unwrap_or(0))
    }
}
