//! The states of a run as they stand between two rounds, with the counts that trigger rules ask for.

use super::facts::{Lengths, RunView, TaskInstanceFacts};
use crate::dag::TaskIndex;
use crate::mapping::RelevantIndexes;
use crate::state::TaskInstanceState;
use crate::trigger_rule::UpstreamStates;

/// Place of a task instance in [`RunView::task_instances`].
pub(super) type Place = usize;

/// A new state for a task instance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) place: Place,
    pub(super) task: TaskIndex,
    pub(super) to: TaskInstanceState,
    pub(super) is_dated: bool,
}

/// The states of all task instances of a run.
pub(super) struct Board<'a> {
    pub(super) view: RunView<'a>,
    /// State of each task instance, in the order of the view, at the end of the last round.
    states: Vec<Option<TaskInstanceState>>,
    /// The same, with the changes of the current round so far.
    live: Vec<Option<TaskInstanceState>>,
    /// Places of each task's instances, by map index.
    instances: Vec<Vec<Place>>,
    /// Counts of each task's own instances.
    tallies: Vec<UpstreamStates>,
    /// Counts of what is directly upstream of each task, all instances taken together.
    upstream: Vec<UpstreamStates>,
    /// Instances of each task that have not ended, with the changes of the current round so far.
    unfinished: Vec<u64>,
    /// Task instances whose task is no longer in the Dag.
    strangers: Vec<Place>,
}

impl<'a> Board<'a> {
    pub(super) fn new(view: RunView<'a>) -> Self {
        let tasks = view.dag.task_count();
        let mut board = Self {
            view,
            states: view.task_instances.iter().map(|facts| facts.state).collect(),
            live: view.task_instances.iter().map(|facts| facts.state).collect(),
            instances: vec![Vec::new(); tasks],
            tallies: vec![UpstreamStates::default(); tasks],
            upstream: Vec::new(),
            unfinished: vec![0; tasks],
            strangers: Vec::new(),
        };
        for (place, facts) in view.task_instances.iter().enumerate() {
            match view.dag.index_of(&facts.task_id) {
                Some(task) => board.seat(place, task),
                None => board.strangers.push(place),
            }
        }
        for places in &mut board.instances {
            places.sort_by_key(|place| view.task_instances[*place].map_index);
        }
        board.upstream = view.dag.tasks().map(|(task, _)| board.all_of(view.dag.upstream(task))).collect();
        board
    }

    fn seat(&mut self, place: Place, task: TaskIndex) {
        let is_setup = self.view.dag.at(task).is_setup;
        self.instances[task.index()].push(place);
        let tally = &mut self.tallies[task.index()];
        tally.upstream += 1;
        tally.upstream_setup += u64::from(is_setup);
        match self.states[place] {
            Some(state) if state.is_finished() => tally.count(state, is_setup),
            _ => self.unfinished[task.index()] += 1,
        }
    }

    pub(super) fn facts(&self, place: Place) -> &'a TaskInstanceFacts {
        &self.view.task_instances[place]
    }

    pub(super) fn state(&self, place: Place) -> Option<TaskInstanceState> {
        self.states[place]
    }

    /// State with the changes of the current round so far.
    pub(super) fn live_state(&self, place: Place) -> Option<TaskInstanceState> {
        self.live[place]
    }

    pub(super) fn is_schedulable(&self, place: Place) -> bool {
        TaskInstanceState::SCHEDULEABLE.contains(&self.states[place])
    }

    /// Task instances whose task is no longer in the Dag.
    pub(super) fn strangers(&self) -> &[Place] {
        &self.strangers
    }

    /// Instances of a task, by map index.
    pub(super) fn instances(&self, task: TaskIndex) -> &[Place] {
        &self.instances[task.index()]
    }

    /// Whether some instance of a task has ended.
    pub(super) fn has_finished(&self, task: TaskIndex) -> bool {
        self.tallies[task.index()].done() > 0
    }

    /// Whether some instance of a task has not ended.
    pub(super) fn has_unfinished(&self, task: TaskIndex) -> bool {
        self.unfinished[task.index()] > 0
    }

    /// The instance of a task that is not expanded.
    pub(super) fn unexpanded(&self, task: TaskIndex) -> Option<Place> {
        self.instances(task).first().copied().filter(|place| self.facts(*place).map_index < 0)
    }

    /// What is known of the lengths of outputs.
    pub(super) fn lengths(&self) -> Lengths<'_> {
        Lengths { dag: self.view.dag, xcoms: self.view.xcoms, unfinished: &self.unfinished }
    }

    /// Counts of everything directly upstream of a task.
    pub(super) fn direct_upstream(&self, task: TaskIndex) -> &UpstreamStates {
        &self.upstream[task.index()]
    }

    /// Counts of all instances of some tasks.
    pub(super) fn all_of(&self, tasks: impl Iterator<Item = TaskIndex>) -> UpstreamStates {
        self.gather(tasks, |board, task| board.tally(task))
    }

    /// Counts of those instances of some tasks which `relevant` counts.
    ///
    /// Tasks that are never expanded count once each, even when the run has no instance of them; so does
    /// Airflow, and a run with such a gap waits for it.
    pub(super) fn gather(
        &self,
        tasks: impl Iterator<Item = TaskIndex>,
        mut relevant: impl FnMut(&Self, TaskIndex) -> UpstreamStates,
    ) -> UpstreamStates {
        let mut states = UpstreamStates::default();
        let (mut total, mut setups, mut is_simple) = (0, 0, true);
        for task in tasks {
            total += 1;
            setups += u64::from(self.view.dag.at(task).is_setup);
            is_simple &= !self.view.dag.needs_expansion(task);
            states.add(&relevant(self, task));
        }
        if is_simple {
            states.upstream = total;
            states.upstream_setup = setups;
        }
        states
    }

    /// Counts of all instances of a task.
    pub(super) fn tally(&self, task: TaskIndex) -> UpstreamStates {
        self.tallies[task.index()]
    }

    /// Counts of the instances of a task with a map index in a range, and of the unexpanded one.
    pub(super) fn tally_range(&self, task: TaskIndex, start: i64, count: u64) -> UpstreamStates {
        let is_setup = self.view.dag.at(task).is_setup;
        let mut states = UpstreamStates::default();
        for place in self.relevant_instances(task, RelevantIndexes::Range { start, count }) {
            states.upstream += 1;
            states.upstream_setup += u64::from(is_setup);
            if let Some(state) = self.states[place] {
                states.count(state, is_setup);
            }
        }
        states
    }

    /// Those instances of a task that matter; the unexpanded one always does.
    pub(super) fn relevant_instances(&self, task: TaskIndex, indexes: RelevantIndexes) -> impl Iterator<Item = Place> {
        let places = self.instances(task);
        let map_index = |place: &Place| i64::from(self.facts(*place).map_index);
        let (start, end) = match indexes {
            RelevantIndexes::All => (0, i64::MAX),
            RelevantIndexes::Range { start, count } => (start.max(0), start.saturating_add_unsigned(count)),
        };
        let from = places.partition_point(|place| map_index(place) < start);
        let to = from + places[from..].partition_point(|place| map_index(place) < end);
        self.unexpanded(task).into_iter().chain(places[from..to].iter().copied())
    }

    /// Notes changes of the current round; what counts them does not see them yet.
    pub(super) fn note(&mut self, changes: &[Change]) {
        for &Change { place, task, to, .. } in changes {
            let from = self.live[place].replace(to);
            let was_finished = from.is_some_and(TaskInstanceState::is_finished);
            if to.is_finished() && !was_finished {
                self.unfinished[task.index()] -= 1;
            }
        }
    }

    /// Writes the noted changes of a round down and gives the tasks whose counts changed, each once. Changes of
    /// one task follow each other.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Vec<TaskIndex> {
        let mut changed: Vec<TaskIndex> = Vec::new();
        for of_task in changes.chunk_by(|a, b| a.task == b.task) {
            let task = of_task[0].task;
            let old = self.tallies[task.index()];
            of_task.iter().for_each(|change| self.count(*change));
            let new = self.tallies[task.index()];
            for next in self.view.dag.downstream(task) {
                self.upstream[next.index()].replace(&old, &new);
            }
            changed.push(task);
        }
        changed
    }

    fn count(&mut self, Change { place, task, to, .. }: Change) {
        let is_setup = self.view.dag.at(task).is_setup;
        let tally = &mut self.tallies[task.index()];
        if let Some(from) = self.states[place].replace(to).filter(|from| from.is_finished()) {
            tally.discount(from, is_setup);
        }
        if to.is_finished() {
            tally.count(to, is_setup);
        }
    }
}
