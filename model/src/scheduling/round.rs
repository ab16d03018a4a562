//! The rounds of a step.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::board::{Board, Change, Place};
use super::dependency::Judge;
use super::effect::{Start, StateChange, Step};
use super::facts::RunView;
use super::unmet::Unmet;
use super::{expansion, run_state};
use crate::dag::{Task, TaskIndex};
use crate::mapping::MappedCount;
use crate::state::{DagRunState, TaskInstanceState};

/// What a round changes; counted at its end only, as Airflow's loop works on counts from its beginning.
pub(super) struct Round {
    changes: Vec<Change>,
    /// Task instances that this step has changed, in this round or before.
    is_changed: Vec<bool>,
}

impl Round {
    /// Gives a task instance a new state, unless this step has changed it already.
    pub(super) fn set(&mut self, place: Place, task: TaskIndex, to: TaskInstanceState) {
        self.change(Change { place, task, to, is_dated: true });
    }

    /// The same for what an expansion ends, which Airflow gives no dates.
    pub(super) fn set_undated(&mut self, place: Place, task: TaskIndex, to: TaskInstanceState) {
        self.change(Change { place, task, to, is_dated: false });
    }

    fn change(&mut self, change: Change) {
        if !std::mem::replace(&mut self.is_changed[change.place], true) {
            self.changes.push(change);
        }
    }
}

/// Tasks to look at in a round, by their rank.
type Agenda = BTreeSet<usize>;

/// Why an unfinished task instance did not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing keeps it, or it has started.
    No,
    /// Time alone.
    Until(DateTime<Utc>),
    /// Something else, perhaps besides time.
    Blocked,
}

/// Decides what should happen to a Dag run now.
///
/// A run that is not `running` has nothing to decide. The cost is linear in tasks, edges and task instances,
/// plus, for each round, the instances of the tasks that observe a change of the round before; there are at
/// most as many rounds as tasks on the longest path.
pub fn step(view: &RunView<'_>) -> Step {
    if view.run.state != DagRunState::Running {
        return Step::default();
    }
    if let Some(step) = run_state::time_out(view) {
        return step;
    }
    let mut decision = Decision::new(*view);
    decision.remove_strangers();
    let mut agenda: Agenda = (0..view.dag.task_count()).collect();
    while !agenda.is_empty() {
        agenda = decision.round(agenda);
        if decision.step.again {
            break;
        }
        if agenda.is_empty() {
            agenda = decision.end_what_is_stuck();
        }
    }
    decision.conclude()
}

/// What keeps a task instance from starting: nothing, if it is not known or has started.
pub fn explain(view: &RunView<'_>, id: Uuid) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    let Some(place) = view.task_instances.iter().position(|facts| facts.id == id) else {
        return unmet;
    };
    let Some(task) = view.dag.index_of(&view.task_instances[place].task_id) else {
        return unmet;
    };
    let board = Board::new(*view);
    if board.is_schedulable(place) {
        Judge::new(&board, task).judge(place, &mut unmet);
    }
    unmet
}

struct Decision<'a> {
    board: Board<'a>,
    round: Round,
    waits: Vec<Wait>,
    step: Step,
}

impl<'a> Decision<'a> {
    fn new(view: RunView<'a>) -> Self {
        let instances = view.task_instances.len();
        Self {
            board: Board::new(view),
            round: Round { changes: Vec::new(), is_changed: vec![false; instances] },
            waits: vec![Wait::No; instances],
            step: Step::default(),
        }
    }

    /// Task instances whose task left the Dag are removed, wherever they stand.
    fn remove_strangers(&mut self) {
        let to = TaskInstanceState::Removed;
        for facts in self.board.strangers().iter().map(|place| self.board.facts(*place)) {
            if facts.state != Some(to) {
                self.step.end.push(StateChange { id: facts.id, from: facts.state, to, is_dated: false });
            }
        }
    }

    /// Judges the waiting instances of some tasks; gives the tasks that may judge differently afterwards.
    fn round(&mut self, mut agenda: Agenda) -> Agenda {
        let structure = self.board.view.dag.structure();
        while let Some(rank) = agenda.pop_first() {
            let task = structure.order_of_names()[rank];
            let before = self.round.changes.len();
            self.judge_task(task);
            self.board.note(&self.round.changes[before..]);
            if self.round.changes.len() > before {
                // Mapping looks at the present: who is mapped over this task and comes later sees the change.
                let mapped =
                    structure.observers(task).iter().filter(|next| self.board.view.dag.needs_expansion(**next));
                agenda.extend(mapped.map(|next| structure.rank(*next)).filter(|next| *next > rank));
            }
        }
        self.finish()
    }

    /// Ends a round; gives the tasks that may judge differently now.
    fn finish(&mut self) -> Agenda {
        for &Change { place, to, is_dated, .. } in &self.round.changes {
            // Starts are in the step already; what else a round changed ends without running.
            if matches!(to, TaskInstanceState::Skipped | TaskInstanceState::UpstreamFailed | TaskInstanceState::Removed)
            {
                let from = self.board.state(place);
                self.step.end.push(StateChange { id: self.board.facts(place).id, from, to, is_dated });
            }
        }
        let changed = self.board.apply(&self.round.changes);
        self.round.changes.clear();
        let structure = self.board.view.dag.structure();
        let observers = changed.iter().flat_map(|task| structure.observers(*task));
        observers.map(|task| structure.rank(*task)).collect()
    }

    fn judge_task(&mut self, index: TaskIndex) {
        if !self.board.has_unfinished(index) {
            return;
        }
        let mut judge = Judge::new(&self.board, index);
        let mut is_revised = false;
        let mut unmet = Vec::new();
        for &place in self.board.instances(index) {
            if !self.board.is_schedulable(place) || self.round.is_changed[place] {
                continue;
            }
            unmet.clear();
            let becomes = judge.judge(place, &mut unmet);
            self.waits[place] = wait_of(&unmet);
            self.step.waits_for_previous_run |= unmet.iter().any(|unmet| matches!(unmet, Unmet::PreviousRun(_)));
            if let Some(state) = becomes {
                self.round.set(place, index, state);
                continue;
            }
            if !unmet.is_empty() {
                continue;
            }
            let count = judge.count();
            if self.board.facts(place).map_index < 0 && count != MappedCount::NotMapped {
                expansion::expand(&self.board, index, place, count, &mut self.round, &mut self.step);
                continue;
            }
            if !is_revised {
                is_revised = true;
                expansion::revise(&self.board, index, count, &mut self.round, &mut self.step);
            }
            if !self.round.is_changed[place] {
                start(&self.board, place, index, &mut self.round, &mut self.step);
            }
        }
    }

    /// Ends what has started although its dependencies are not met any more (a user cleared something upstream,
    /// which then ended otherwise), if nothing that comes before it can go on. Gives the tasks that may judge
    /// differently now, unless nothing at all can go on.
    ///
    /// Source: `DagRun._are_premature_tis`, with its order.
    fn end_what_is_stuck(&mut self) -> Agenda {
        let dag = self.board.view.dag;
        let mut unfinished = dag.tasks().filter(|(index, _)| self.board.has_unfinished(*index));
        if unfinished.any(|(index, task)| self.may_wait(index, task)) {
            return Agenda::new();
        }
        for &index in dag.structure().order_of_names() {
            let before = self.round.changes.len();
            let can_go_on = self.end_stuck_instances(index);
            self.board.note(&self.round.changes[before..]);
            if can_go_on {
                return self.finish();
            }
        }
        self.finish();
        Agenda::new()
    }

    /// Whether some instance of a task waits for what is no deadlock.
    fn may_wait(&self, index: TaskIndex, task: &Task) -> bool {
        let states = self.board.instances(index).iter().map(|place| self.board.state(*place));
        let mut unfinished = states.filter(|state| !state.is_some_and(TaskInstanceState::is_finished));
        unfinished.any(|state| !run_state::may_deadlock(task, state))
    }

    /// Gives whether an instance can go on; those before it that are stuck end.
    fn end_stuck_instances(&mut self, index: TaskIndex) -> bool {
        if !self.board.has_unfinished(index) {
            return false;
        }
        let is_news = !self.round.changes.is_empty();
        let mut judge = Judge::new(&self.board, index);
        let mut unmet = Vec::new();
        for &place in self.board.instances(index) {
            if self.board.state(place).is_some_and(TaskInstanceState::is_finished) {
                continue;
            }
            if self.board.is_schedulable(place) {
                if self.waits[place] != Wait::Blocked {
                    return true;
                }
                // Judged already, but mapping looks at the present.
                if !(self.board.view.dag.needs_expansion(index) && is_news) {
                    continue;
                }
            }
            unmet.clear();
            let becomes = judge.judge(place, &mut unmet);
            if wait_of(&unmet) != Wait::Blocked {
                return true;
            }
            self.waits[place] = Wait::Blocked;
            if let Some(state) = becomes {
                self.round.set(place, index, state);
            }
        }
        false
    }

    fn conclude(mut self) -> Step {
        let times = self.waits.iter().filter_map(|wait| match wait {
            Wait::Until(until) => Some(*until),
            Wait::No | Wait::Blocked => None,
        });
        self.step.wake_at = times.chain(run_state::times_out_at(&self.board.view)).min();
        if !self.step.again {
            self.step.end_run = run_state::end(&self.board, &self.waits);
        }
        self.step
    }
}

/// Source: `DagRun.schedule_tis`.
fn start(board: &Board<'_>, place: Place, index: TaskIndex, round: &mut Round, step: &mut Step) {
    let facts = board.facts(place);
    let from = board.state(place);
    let is_new_attempt = from != Some(TaskInstanceState::UpForReschedule);
    let try_number = facts.try_number + i32::from(is_new_attempt);
    let (starts, to) = start_of(board.view.dag.at(index), step);
    starts.push(Start { id: facts.id, task: index, from, try_number });
    round.set(place, index, to);
}

fn start_of<'s>(task: &Task, step: &'s mut Step) -> (&'s mut Vec<Start>, TaskInstanceState) {
    if task.succeeds_without_running() {
        (&mut step.succeed, TaskInstanceState::Success)
    } else if task.start_trigger.is_some() {
        (&mut step.defer, TaskInstanceState::Deferred)
    } else {
        (&mut step.schedule, TaskInstanceState::Scheduled)
    }
}

fn wait_of(unmet: &[Unmet]) -> Wait {
    let mut wait = Wait::No;
    for unmet in unmet {
        wait = match (unmet.until(), wait) {
            (None, _) | (_, Wait::Blocked) => return Wait::Blocked,
            (Some(until), Wait::Until(other)) => Wait::Until(until.max(other)),
            (Some(until), Wait::No) => Wait::Until(until),
        };
    }
    wait
}
