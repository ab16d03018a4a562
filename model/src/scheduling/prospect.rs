//! What the next step finds about single task instances, told without taking the step.

use super::board::{Board, Place};
use super::dependency::Judge;
use super::facts::RunView;
use super::run_state;
use super::unmet::Unmet;
use crate::dag::TaskIndex;
use crate::mapping::MappedCount;
use crate::state::TaskInstanceState;

/// What the next step finds about a task instance that may be scheduled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prospect {
    /// What keeps it from starting.
    pub unmet: Vec<Unmet>,
    /// The state in which it ends without running, if it does.
    pub becomes: Option<TaskInstanceState>,
    /// How many instances are made of it, if it stands for them and nothing keeps it.
    pub expands_to: Option<u64>,
}

impl Prospect {
    /// Whether the next step starts it.
    pub fn starts(&self) -> bool {
        self.unmet.is_empty() && self.becomes.is_none() && self.expands_to.is_none()
    }
}

/// A task that another one waits for, with its relevant task instances counted by state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The task.
    pub task: TaskIndex,
    /// Its task instances; no state comes first.
    pub states: Vec<(Option<TaskInstanceState>, u64)>,
}

/// The prospects of a run's task instances, as its facts stand: what a step does first may change them for others.
pub struct Prospects<'a> {
    board: Board<'a>,
}

impl<'a> Prospects<'a> {
    /// Looks at a run.
    pub fn new(view: RunView<'a>) -> Self {
        Self { board: Board::new(view) }
    }

    /// Whether the next step ends the run because it takes too long; then nothing else counts.
    pub fn times_out(&self) -> bool {
        run_state::times_out_at(&self.board.view).is_some_and(|at| at <= self.board.view.now)
    }

    /// Places of a task's instances in [`RunView::task_instances`], by map index.
    pub fn instances(&self, task: TaskIndex) -> &[Place] {
        self.board.instances(task)
    }

    /// Places of task instances whose task is no longer in the Dag.
    pub fn strangers(&self) -> &[Place] {
        self.board.strangers()
    }

    /// The prospects of those instances of a task that may be scheduled, by map index.
    pub fn of_task(&self, task: TaskIndex) -> Vec<(Place, Prospect)> {
        let mut judge = Judge::new(&self.board, task);
        let places = self.board.instances(task).iter().filter(|place| self.board.is_schedulable(**place));
        places.map(|place| (*place, self.judge(&mut judge, *place))).collect()
    }

    /// The prospect of one instance of a task; none when it may not be scheduled.
    pub fn of(&self, task: TaskIndex, place: Place) -> Option<Prospect> {
        self.board.is_schedulable(place).then(|| self.judge(&mut Judge::new(&self.board, task), place))
    }

    /// What a task instance in any state would wait for, if it had none.
    pub fn unmet(&self, task: TaskIndex, place: Place) -> Vec<Unmet> {
        let mut unmet = Vec::new();
        Judge::new(&self.board, task).judge(place, &mut unmet);
        unmet
    }

    fn judge(&self, judge: &mut Judge<'_, 'a>, place: Place) -> Prospect {
        use TaskInstanceState::{Removed, Skipped, UpstreamFailed};
        let mut prospect = Prospect::default();
        prospect.becomes = judge.judge(place, &mut prospect.unmet);
        if prospect.becomes.is_some() || !prospect.unmet.is_empty() {
            return prospect;
        }
        let map_index = self.board.facts(place).map_index;
        match (judge.count(), u64::try_from(map_index)) {
            (MappedCount::NotPopulated, Err(_)) => prospect.becomes = Some(UpstreamFailed),
            (MappedCount::Known(0), Err(_)) => prospect.becomes = Some(Skipped),
            (MappedCount::Known(count), Err(_)) => prospect.expands_to = Some(count),
            (MappedCount::Known(count), Ok(map_index)) if map_index >= count => prospect.becomes = Some(Removed),
            _ => {}
        }
        prospect
    }

    /// The tasks that an unmet dependency of a task instance is about.
    pub fn awaited(&self, task: TaskIndex, map_index: i32, unmet: &Unmet) -> Vec<Awaited> {
        let structure = self.board.view.dag.structure();
        match unmet {
            Unmet::TriggerRule { .. } => self.states(task, map_index, self.board.view.dag.upstream(task)),
            Unmet::Setups { .. } => self.states(task, map_index, structure.indirect_setups(task).iter().copied()),
            Unmet::TeardownScope { .. } => self.states(task, map_index, structure.teardown_scope(task).iter().copied()),
            Unmet::MappedDependency => self.states(task, -1, structure.mapping_sources(task).iter().copied()),
            _ => Vec::new(),
        }
    }

    /// The tasks whose output decides how often a task is expanded, with all their instances.
    pub fn mapping_sources(&self, task: TaskIndex) -> Vec<Awaited> {
        let sources = self.board.view.dag.structure().all_mapping_sources(task);
        // Their instances matter as a whole, whatever the map index.
        self.states(task, -1, sources.iter().copied())
    }

    fn states(&self, task: TaskIndex, map_index: i32, of: impl Iterator<Item = TaskIndex>) -> Vec<Awaited> {
        let mut judge = Judge::new(&self.board, task);
        of.map(|awaited| Awaited { task: awaited, states: judge.states_of(map_index, awaited).into_iter().collect() })
            .collect()
    }
}
