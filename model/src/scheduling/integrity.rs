//! Which task instances a run should have: when it is made, and when its Dag has changed.
//!
//! Source: `DagRun.verify_integrity` and what it calls.

use std::collections::HashSet;

use uuid::Uuid;

use super::facts::{Lengths, RunFacts, TaskInstanceFacts, XComFacts, XComNeeds};
use crate::dag::{Dag, Task, TaskIndex};
use crate::mapping::{LiteralsOnly, MappedCount, OutputLengths, mapped_count};
use crate::state::{DagRunState, DagRunType, TaskInstanceState};

/// A task instance to make, without a state. Pool, queue, priority and so on are the task's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewTaskInstance {
    /// Its task.
    pub task: TaskIndex,
    /// −1 unless the task is mapped and its length is known.
    pub map_index: i32,
}

/// How the task instances of a run differ from what its Dag asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Integrity {
    /// To make.
    pub create: Vec<NewTaskInstance>,
    /// To `removed`: their task left the Dag, or their map index is not used any more. With the state each
    /// leaves.
    pub remove: Vec<(Uuid, Option<TaskInstanceState>)>,
    /// From `removed` back to no state: their task is in the Dag again.
    pub restore: Vec<Uuid>,
}

/// The task instances of a new run.
pub fn initial_task_instances(dag: &Dag, run: &RunFacts) -> Vec<NewTaskInstance> {
    missing(dag, run, &HashSet::new(), &LiteralsOnly)
}

/// Which facts from XComs [`verify_integrity`] looks at: the lengths that mapped tasks are mapped over, whether or not
/// these tasks have ended.
pub fn integrity_needs(dag: &Dag) -> XComNeeds {
    let sources: HashSet<TaskIndex> =
        dag.tasks().flat_map(|(index, _)| dag.structure().all_mapping_sources(index).iter().copied()).collect();
    let mut needs = XComNeeds::default();
    for task in sources.into_iter().map(|source| dag.at(source)) {
        let lengths = if task.is_mapped() { &mut needs.return_value_counts } else { &mut needs.task_map_lengths };
        lengths.push(task.task_id.clone());
    }
    needs
}

/// What must change in a run whose Dag has another version than when its task instances were made. `xcoms` holds what
/// [`integrity_needs`] asked for.
pub fn verify_integrity(dag: &Dag, run: &RunFacts, instances: &[TaskInstanceFacts], xcoms: &XComFacts) -> Integrity {
    let unfinished = unfinished(dag, instances);
    let lengths = Lengths { dag, xcoms, unfinished: &unfinished };
    let mut integrity = Integrity::default();
    let mut present = HashSet::new();
    for facts in instances {
        let target = match dag.index_of(&facts.task_id) {
            Some(task) => {
                present.insert(task);
                fitted(dag, task, facts, &lengths)
            }
            None if run.state == DagRunState::Running => facts.state,
            None => Some(TaskInstanceState::Removed),
        };
        match target {
            target if target == facts.state => {}
            Some(_) => integrity.remove.push((facts.id, facts.state)),
            None => integrity.restore.push(facts.id),
        }
    }
    integrity.create = missing(dag, run, &present, &lengths);
    integrity
}

/// The state of a task instance whose task is in the Dag: as it was, restored or removed.
fn fitted(dag: &Dag, task: TaskIndex, facts: &TaskInstanceFacts, lengths: &Lengths<'_>) -> Option<TaskInstanceState> {
    const REMOVED: Option<TaskInstanceState> = Some(TaskInstanceState::Removed);
    let kept = if facts.state == REMOVED { None } else { facts.state };
    let is_beyond = |count: u64| u64::try_from(facts.map_index).is_ok_and(|index| index >= count);
    let is_removed = match mapped_count(dag, task, &LiteralsOnly) {
        MappedCount::NotMapped => false,
        MappedCount::Known(count) => facts.map_index < 0 || is_beyond(count),
        MappedCount::NotPopulated => match mapped_count(dag, task, lengths) {
            MappedCount::Known(count) => is_beyond(count),
            MappedCount::NotPopulated | MappedCount::NotMapped => facts.map_index >= 0,
        },
    };
    if is_removed { REMOVED } else { kept }
}

fn missing(
    dag: &Dag,
    run: &RunFacts,
    present: &HashSet<TaskIndex>,
    outputs: &impl OutputLengths,
) -> Vec<NewTaskInstance> {
    let mut created = Vec::new();
    for (index, task) in dag.tasks() {
        if present.contains(&index) || !is_active(task, run) {
            continue;
        }
        match mapped_count(dag, index, outputs) {
            MappedCount::Known(count @ 1..) => {
                let map_indexes = 0..i32::try_from(count).unwrap_or(i32::MAX);
                created.extend(map_indexes.map(|map_index| NewTaskInstance { task: index, map_index }));
            }
            _ => created.push(NewTaskInstance { task: index, map_index: -1 }),
        }
    }
    created
}

/// Whether the dates of a task include the run.
fn is_active(task: &Task, run: &RunFacts) -> bool {
    let Some(date) = run.logical_date else {
        return true;
    };
    run.run_type == DagRunType::Backfill
        || (task.start_date.is_none_or(|start| start <= date) && task.end_date.is_none_or(|end| date <= end))
}

fn unfinished(dag: &Dag, instances: &[TaskInstanceFacts]) -> Vec<u64> {
    let mut unfinished = vec![0; dag.task_count()];
    for facts in instances {
        let is_finished = facts.state.is_some_and(TaskInstanceState::is_finished);
        if let Some(task) = dag.index_of(&facts.task_id).filter(|_| !is_finished) {
            unfinished[task.index()] += 1;
        }
    }
    unfinished
}
