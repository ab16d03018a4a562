//! Predecessors and successors (`airflow/_shared/dagnode/node.py`, `taskgroup.py`).

use super::{Group, SerializedDag, Task};
use indexmap::IndexSet;

/// The tasks of a group without a predecessor in the group.
pub(super) fn roots<'a>(dag: &'a SerializedDag, group: &Group) -> impl Iterator<Item = &'a Task> {
    let ids = dag.task_ids_within(group);
    let tasks: Vec<&Task> = ids.iter().map(|id| &dag.tasks[id]).collect();
    tasks.into_iter().filter(move |task| task.upstream.is_disjoint(&ids))
}

/// The tasks of a group without a successor in the group; a teardown gives way to the work before it.
pub(super) fn leaves(dag: &SerializedDag, group: &Group) -> Vec<String> {
    let ids = dag.task_ids_within(group);
    let mut leaves = Vec::new();
    for task in ids.iter().map(|id| &dag.tasks[id]).filter(|task| task.downstream.is_disjoint(&ids)) {
        if task.flag("is_teardown") {
            before_teardown(dag, task, &ids, &mut leaves);
        } else {
            leaves.push(task.id.clone());
        }
    }
    leaves
}

fn before_teardown(dag: &SerializedDag, task: &Task, ids: &IndexSet<String>, leaves: &mut Vec<String>) {
    for upstream in task.upstream.iter().filter(|id| ids.contains(*id)).map(|id| &dag.tasks[id]) {
        if upstream.flag("is_teardown") {
            before_teardown(dag, upstream, ids, leaves);
        } else if !(task.flag("is_teardown") && upstream.flag("is_setup")) {
            let others = upstream.downstream.iter().filter(|id| **id != task.id && ids.contains(*id));
            if others.map(|id| &dag.tasks[id]).all(|other| other.flag("is_teardown")) {
                leaves.push(upstream.id.clone());
            }
        }
    }
}

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To predecessors.
    Upstream,
    /// To successors.
    Downstream,
}

impl SerializedDag {
    /// All relatives in a direction, at most `depth` steps away.
    pub(crate) fn flat_relatives(&self, task: &Task, direction: Direction, depth: Option<i64>) -> IndexSet<String> {
        let next = |task: &Task| match direction {
            Direction::Upstream => task.upstream.clone(),
            Direction::Downstream => task.downstream.clone(),
        };
        let mut relatives = IndexSet::new();
        let mut level = next(task);
        let mut left = depth;
        while !level.is_empty() && left.is_none_or(|left| left > 0) {
            let mut following = IndexSet::new();
            for id in level {
                if relatives.insert(id.clone()) {
                    following.extend(next(&self.tasks[&id]));
                }
            }
            level = following;
            left = left.map(|left| left - 1);
        }
        relatives
    }

    /// All tasks before and after some tasks; teardowns after them are left out, since they run in any case.
    pub(crate) fn relatives(&self, ids: &IndexSet<String>, upstream: bool, downstream: bool) -> IndexSet<String> {
        let mut relatives = IndexSet::new();
        for task in ids.iter().filter_map(|id| self.tasks.get(id)) {
            if downstream {
                let after = self.flat_relatives(task, Direction::Downstream, None);
                relatives.extend(after.into_iter().filter(|id| !self.tasks[id].flag("is_teardown")));
            }
            if upstream {
                relatives.extend(self.flat_relatives(task, Direction::Upstream, None));
            }
        }
        relatives
    }

    /// All predecessors, and the teardowns of each setup among them.
    pub(super) fn upstreams_with_teardowns(&self, task: &Task, depth: Option<i64>) -> IndexSet<String> {
        let upstream = self.flat_relatives(task, Direction::Upstream, depth);
        let teardowns = upstream.iter().flat_map(|id| self.teardowns_of(id, task)).collect::<Vec<_>>();
        upstream.into_iter().chain(teardowns).collect()
    }

    /// The setups that a task needs, with their teardowns: those without a teardown or with one after the task.
    pub(super) fn needed_setups_and_teardowns(&self, task: &Task) -> IndexSet<String> {
        let downstream = self.flat_relatives(task, Direction::Downstream, None);
        let is_teardown = |id: &String| self.tasks[id].flag("is_teardown");
        let mut needed = IndexSet::new();
        for id in self.flat_relatives(task, Direction::Upstream, None) {
            let setup = &self.tasks[&id];
            if !setup.flag("is_setup") {
                continue;
            }
            let mut teardowns = setup.downstream.iter().filter(|id| is_teardown(id)).peekable();
            let needed_here = teardowns.peek().is_none() || teardowns.any(|teardown| downstream.contains(teardown));
            if needed_here {
                needed.extend(self.teardowns_of(&id, task));
                needed.insert(id);
            }
        }
        needed
    }

    fn teardowns_of(&self, id: &str, except: &Task) -> Vec<String> {
        let setup = &self.tasks[id];
        if !setup.flag("is_setup") {
            return Vec::new();
        }
        let teardowns = setup.downstream.iter().filter(|id| self.tasks[*id].flag("is_teardown"));
        teardowns.filter(|id| **id != except.id).cloned().collect()
    }
}
