//! When a Dag run ends, and how. Source: `DagRun.update_state`, and the time-out in
//! `SchedulerJobRunner._schedule_dag_run`.

use chrono::{DateTime, Utc};

use super::board::Board;
use super::effect::{RunEnd, RunEndReason, StateChange, Step};
use super::facts::{RunView, TaskInstanceFacts};
use super::round::Wait;
use crate::dag::{Dag, Task, TaskIndex};
use crate::state::{DagRunState, TaskInstanceState};

/// The step of a run that takes too long: what has not ended is skipped, and the run fails.
pub(super) fn time_out(view: &RunView<'_>) -> Option<Step> {
    if times_out_at(view)? > view.now {
        return None;
    }
    let unfinished = || view.task_instances.iter().filter(|facts| !is_finished(facts.state));
    let to = TaskInstanceState::Skipped;
    let end_run = RunEnd {
        state: DagRunState::Failed,
        reason: RunEndReason::TimedOut,
        relevant_task_instance: unfinished().max_by_key(|facts| facts.start_date).map(|facts| facts.id),
    };
    let end = unfinished().map(|facts| StateChange { id: facts.id, from: facts.state, to, is_dated: false }).collect();
    Some(Step { end, end_run: Some(end_run), ..Step::default() })
}

/// When the run takes too long.
pub(super) fn times_out_at(view: &RunView<'_>) -> Option<DateTime<Utc>> {
    view.run.start_date?.checked_add_signed(view.dag.settings.dagrun_timeout?)
}

/// How the run ends, if nothing is left to wait for.
pub(super) fn end(board: &Board<'_>, waits: &[Wait]) -> Option<RunEnd> {
    let mut unfinished = (0..waits.len()).filter(|place| !is_finished(board.state(*place))).peekable();
    if unfinished.peek().is_none() {
        return Some(verdict(board));
    }
    let is_deadlock = unfinished.clone().all(|place| {
        let task = board.view.dag.task(&board.facts(place).task_id);
        let state = board.state(place);
        waits[place] == Wait::Blocked && !is_at_work(state) && task.is_some_and(|task| may_deadlock(task, state))
    });
    if !is_deadlock {
        return None;
    }
    let waits_for_finished = |facts: &&TaskInstanceFacts| {
        let dag = board.view.dag;
        let task = dag.index_of(&facts.task_id);
        task.is_some_and(|task| dag.upstream(task).any(|upstream| board.has_finished(upstream)))
    };
    let blocking = unfinished.map(|place| board.facts(place)).find(waits_for_finished);
    Some(RunEnd {
        state: DagRunState::Failed,
        reason: RunEndReason::AllTasksDeadlocked,
        relevant_task_instance: blocking.map(|facts| facts.id),
    })
}

/// What waits for another run, for room, a trigger or a person is not called a deadlock.
pub(super) fn may_deadlock(task: &Task, state: Option<TaskInstanceState>) -> bool {
    !task.depends_on_past
        && task.max_active_tis_per_dag.is_none()
        && task.max_active_tis_per_dagrun.is_none()
        && !matches!(state, Some(TaskInstanceState::Deferred | TaskInstanceState::AwaitingInput))
}

/// What is at work comes to an end by itself, and the run is judged then. Airflow ends the run in the meantime when nothing
/// else can go on (docs/deviations.md).
fn is_at_work(state: Option<TaskInstanceState>) -> bool {
    use TaskInstanceState::{Queued, Restarting, Running, Scheduled};
    matches!(state, Some(Scheduled | Queued | Running | Restarting))
}

/// The end of a run in which every task instance has ended.
fn verdict(board: &Board<'_>) -> RunEnd {
    let leaves = leaves(board.view.dag);
    let has_failed = leaves.into_iter().any(|leaf| {
        let tally = board.tally(leaf);
        tally.failed > 0 || tally.upstream_failed > 0
    });
    let (state, reason, of) = if has_failed {
        (DagRunState::Failed, RunEndReason::TaskFailure, TaskInstanceState::Failed)
    } else {
        (DagRunState::Success, RunEndReason::Success, TaskInstanceState::Success)
    };
    let last = board
        .view
        .task_instances
        .iter()
        .enumerate()
        .filter(|(place, _)| board.state(*place) == Some(of))
        .max_by_key(|(_, facts)| facts.end_date);
    RunEnd { state, reason, relevant_task_instance: last.map(|(_, facts)| facts.id) }
}

/// Tasks whose states make the state of the run. A teardown is none, and does not keep what is upstream of it
/// from being one, unless `on_failure_fail_dagrun` is set. Source: `DagRun._tis_for_dagrun_state`.
pub(super) fn leaves(dag: &Dag) -> Vec<TaskIndex> {
    let counts = |index: &TaskIndex| {
        let task = dag.at(*index);
        !task.is_teardown || task.on_failure_fail_dagrun
    };
    let indexes = || dag.tasks().map(|(index, _)| index);
    let leaves: Vec<_> =
        indexes().filter(|index| counts(index) && !dag.downstream(*index).any(|next| counts(&next))).collect();
    if leaves.is_empty() {
        return indexes().filter(|index| dag.downstream(*index).next().is_none()).collect();
    }
    leaves
}

fn is_finished(state: Option<TaskInstanceState>) -> bool {
    state.is_some_and(TaskInstanceState::is_finished)
}
