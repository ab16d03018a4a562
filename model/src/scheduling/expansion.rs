//! Making the instances of a mapped task, once it is known how many there are.

use super::board::{Board, Place};
use super::effect::{Creation, Expansion, Step};
use super::round::Round;
use crate::dag::TaskIndex;
use crate::mapping::MappedCount;
use crate::state::TaskInstanceState;

/// Expands a task whose unexpanded instance may start.
///
/// Source: `TaskMap.expand_mapped_task` in `airflow/models/taskmap.py`.
pub(super) fn expand(
    board: &Board<'_>,
    task: TaskIndex,
    unexpanded: Place,
    count: MappedCount,
    round: &mut Round,
    step: &mut Step,
) {
    let count = match count {
        MappedCount::NotMapped => return,
        MappedCount::NotPopulated => {
            round.set_undated(unexpanded, task, TaskInstanceState::UpstreamFailed);
            0
        }
        MappedCount::Known(0) => {
            round.set_undated(unexpanded, task, TaskInstanceState::Skipped);
            0
        }
        MappedCount::Known(count) => {
            convert(board, task, unexpanded, count, step);
            count
        }
    };
    for &place in board.instances(task) {
        let is_surplus = u64::try_from(board.facts(place).map_index).is_ok_and(|index| index >= count);
        if is_surplus && board.state(place) != Some(TaskInstanceState::Removed) {
            round.set_undated(place, task, TaskInstanceState::Removed);
        }
    }
}

fn convert(board: &Board<'_>, task: TaskIndex, unexpanded: Place, count: u64, step: &mut Step) {
    let map_index = |place: &Place| board.facts(*place).map_index;
    let places = board.instances(task);
    let state = board.state(unexpanded);
    let greatest = places.last().map_or(0, map_index).max(0);
    let map_indexes: Vec<i32> = (greatest + 1..up_to(count)).collect();
    let is_deleted = places.iter().any(|place| map_index(place) == 0);
    step.expand.push(Expansion { id: board.facts(unexpanded).id, state, is_deleted });
    if !map_indexes.is_empty() {
        step.create.push(Creation { task, map_indexes, state });
    }
    step.again = true;
}

/// Fits the instances of an expanded task to a length that may have changed since.
///
/// Source: `DagRun._revise_map_indexes_if_mapped`.
pub(super) fn revise(board: &Board<'_>, task: TaskIndex, count: MappedCount, round: &mut Round, step: &mut Step) {
    let MappedCount::Known(count) = count else {
        return;
    };
    let mut missing = 0..up_to(count);
    let mut map_indexes = Vec::new();
    for &place in board.instances(task) {
        let map_index = board.facts(place).map_index;
        if !(0..up_to(count)).contains(&map_index) {
            if board.state(place) != Some(TaskInstanceState::Removed) {
                round.set_undated(place, task, TaskInstanceState::Removed);
            }
            continue;
        }
        map_indexes.extend(missing.start..map_index);
        missing.start = map_index + 1;
    }
    map_indexes.extend(missing);
    if !map_indexes.is_empty() {
        step.create.push(Creation { task, map_indexes, state: None });
        step.again = true;
    }
}

/// Map indexes are 32-bit integers.
fn up_to(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
