//! Part of a Dag: some tasks, those related to them, and the groups that still hold any.

use super::group::Child;
use super::relatives::Direction;
use super::{ROOT, SerializedDag};
use indexmap::IndexSet;

/// Which part of a Dag is wanted (`SerializedDAG.partial_subset`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Subset {
    /// Text that the ids of the tasks contain.
    pub root: String,
    /// Also those before.
    pub include_upstream: bool,
    /// Also those after.
    pub include_downstream: bool,
    /// At most so many steps away.
    pub depth: Option<i64>,
}

impl SerializedDag {
    /// The tasks whose id contains the text, with relatives.
    pub(crate) fn subset(&self, wanted: &Subset) -> Self {
        let matched = self.tasks.keys().filter(|id| id.contains(&wanted.root)).cloned().collect();
        let related = self.related(&matched, wanted.include_upstream, wanted.include_downstream, wanted.depth);
        self.only(&matched.into_iter().chain(related).collect())
    }

    /// What must come along with some tasks: relatives in the wanted directions, setups and teardowns in any case.
    pub(crate) fn related(
        &self,
        matched: &IndexSet<String>,
        include_upstream: bool,
        include_downstream: bool,
        depth: Option<i64>,
    ) -> IndexSet<String> {
        let mut related = IndexSet::new();
        for task in matched.iter().filter_map(|id| self.tasks.get(id)) {
            let is_fixture = task.flag("is_setup") || task.flag("is_teardown");
            if include_downstream {
                for id in self.flat_relatives(task, Direction::Downstream, depth) {
                    let relative = &self.tasks[&id];
                    if !matched.contains(&id) && !relative.flag("is_setup") && !relative.flag("is_teardown") {
                        related.extend(self.needed_setups_and_teardowns(relative));
                    }
                    related.insert(id);
                }
            }
            if include_upstream {
                related.extend(self.upstreams_with_teardowns(task, depth));
            } else if !is_fixture {
                related.extend(self.needed_setups_and_teardowns(task));
            }
            if task.flag("is_setup") && !include_downstream {
                let teardowns = task.downstream.iter().filter(|id| self.tasks[*id].flag("is_teardown"));
                related.extend(teardowns.cloned());
            }
        }
        related
    }

    /// The Dag reduced to some tasks; groups left empty go.
    fn only(&self, ids: &IndexSet<String>) -> Self {
        let mut dag = self.clone();
        dag.tasks.retain(|id, _| ids.contains(id));
        // Children come after their parents, so going backwards empties inner groups first.
        let group_ids: Vec<String> = dag.groups.keys().rev().cloned().collect();
        for group_id in group_ids {
            let kept: Vec<Child> = dag.groups[&group_id]
                .children
                .iter()
                .filter(|child| match child {
                    Child::Task(id) => dag.tasks.contains_key(id),
                    Child::Group(id) => dag.groups.contains_key(id),
                })
                .cloned()
                .collect();
            if kept.is_empty() && group_id != ROOT {
                dag.groups.shift_remove(&group_id);
            } else if let Some(group) = dag.groups.get_mut(&group_id) {
                group.children = kept;
            }
        }
        let group_ids: IndexSet<String> = dag.groups.keys().cloned().collect();
        for group in dag.groups.values_mut() {
            group.upstream_group_ids.retain(|id| group_ids.contains(id));
            group.downstream_group_ids.retain(|id| group_ids.contains(id));
            group.upstream_task_ids.retain(|id| ids.contains(id));
            group.downstream_task_ids.retain(|id| ids.contains(id));
        }
        for task in dag.tasks.values_mut() {
            task.upstream.retain(|id| ids.contains(id));
            task.downstream.retain(|id| ids.contains(id));
        }
        dag
    }
}
