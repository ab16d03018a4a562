//! What follows from the shape of a Dag and is asked for in every scheduling step.

use indexmap::IndexMap;
use petgraph::algo::toposort;
use petgraph::graph::DiGraph;

use super::descendants::Descendants;
use super::{DagError, GroupIndex, Task, TaskGroup, TaskIndex, WeightRule};
use crate::mapping::ExpandInput;

/// Facts about every task that depend on the Dag alone.
#[derive(Debug, Clone)]
pub struct Structure {
    sorted: Vec<TaskIndex>,
    by_name: Vec<TaskIndex>,
    places: Vec<Place>,
}

#[derive(Debug, Clone, Default)]
struct Place {
    rank: usize,
    priority_weight: i32,
    closest_mapped_group: Option<GroupIndex>,
    mapping_sources: Vec<TaskIndex>,
    group_mapping_sources: Vec<TaskIndex>,
    indirect_setups: Vec<TaskIndex>,
    teardown_scope: Vec<TaskIndex>,
    observers: Vec<TaskIndex>,
}

impl Structure {
    pub(super) fn of(
        tasks: &IndexMap<String, Task>,
        groups: &[TaskGroup],
        graph: &DiGraph<(), (), u32>,
    ) -> Result<Self, DagError> {
        let sorted =
            toposort(graph, None).map_err(|cycle| DagError::Cycle(tasks[cycle.node_id().index()].task_id.clone()))?;
        let mut by_name = sorted.clone();
        by_name.sort_unstable_by_key(|task| &tasks[task.index()].task_id);
        let mut structure = Self { sorted, by_name, places: vec![Place::default(); tasks.len()] };
        for (rank, task) in structure.by_name.iter().enumerate() {
            structure.places[task.index()].rank = rank;
        }
        structure.find_mapped_groups(tasks, groups);
        structure.find_mapping_sources(tasks, groups)?;
        let descendants = Descendants::of(graph, &structure.sorted);
        structure.weigh(tasks, &descendants);
        structure.find_setups(tasks, graph, &descendants);
        structure.find_observers(tasks, graph);
        Ok(structure)
    }

    /// Every task, upstream before downstream.
    pub fn topological_order(&self) -> &[TaskIndex] {
        &self.sorted
    }

    /// Every task, by its id: the order in which Airflow looks at them.
    pub fn order_of_names(&self) -> &[TaskIndex] {
        &self.by_name
    }

    /// Place of a task in [`Self::order_of_names`].
    pub fn rank(&self, task: TaskIndex) -> usize {
        self.places[task.index()].rank
    }

    /// See [`super::Dag::priority_weight`].
    pub fn priority_weight(&self, task: TaskIndex) -> i32 {
        self.places[task.index()].priority_weight
    }

    /// The innermost mapped group around a task.
    pub fn closest_mapped_group(&self, task: TaskIndex) -> Option<GroupIndex> {
        self.places[task.index()].closest_mapped_group
    }

    /// Tasks whose output decides how often this task is expanded: those named by its own `expand`, or, for a
    /// plain task, by the closest mapped group around it.
    pub fn mapping_sources(&self, task: TaskIndex) -> &[TaskIndex] {
        &self.places[task.index()].mapping_sources
    }

    /// Tasks whose output decides how often the task and all mapped groups around it are expanded.
    pub fn all_mapping_sources(&self, task: TaskIndex) -> &[TaskIndex] {
        &self.places[task.index()].group_mapping_sources
    }

    /// Setups that a task must wait for although they are not directly upstream: those further up that have no
    /// teardown, or one downstream of the task.
    pub fn indirect_setups(&self, task: TaskIndex) -> &[TaskIndex] {
        &self.places[task.index()].indirect_setups
    }

    /// Tasks between the setups of a teardown and the teardown, without those directly upstream of it.
    pub fn teardown_scope(&self, task: TaskIndex) -> &[TaskIndex] {
        &self.places[task.index()].teardown_scope
    }

    /// Tasks whose readiness may change when this task's state changes.
    pub fn observers(&self, task: TaskIndex) -> &[TaskIndex] {
        &self.places[task.index()].observers
    }

    fn find_mapped_groups(&mut self, tasks: &IndexMap<String, Task>, groups: &[TaskGroup]) {
        let mut closest: Vec<Option<GroupIndex>> = Vec::with_capacity(groups.len());
        for (index, group) in groups.iter().enumerate() {
            let own = group.expand_input.is_some().then_some(GroupIndex(index));
            closest.push(own.or_else(|| group.parent.and_then(|parent| closest[parent.0])));
        }
        for (place, task) in self.places.iter_mut().zip(tasks.values()) {
            place.closest_mapped_group = closest[task.group.0];
        }
    }

    fn find_mapping_sources(&mut self, tasks: &IndexMap<String, Task>, groups: &[TaskGroup]) -> Result<(), DagError> {
        let sources = |node: &str, input: Option<&ExpandInput>| -> Result<Vec<TaskIndex>, DagError> {
            let Some(input) = input else {
                return Ok(Vec::new());
            };
            let mut found = input
                .sources()
                .map(|source| {
                    tasks.get_index_of(source).map(TaskIndex::new).ok_or_else(|| DagError::UnknownMappingSource {
                        node: node.to_owned(),
                        source_task: source.to_owned(),
                    })
                })
                .collect::<Result<Vec<_>, _>>()?;
            found.sort_unstable();
            found.dedup();
            Ok(found)
        };
        let of_groups = groups
            .iter()
            .map(|group| sources(&group.group_id, group.expand_input.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        for (place, task) in self.places.iter_mut().zip(tasks.values()) {
            let own = sources(&task.task_id, task.expand_input.as_ref())?;
            let mut all = own.clone();
            let mut group = place.closest_mapped_group;
            while let Some(index) = group {
                all.extend(&of_groups[index.0]);
                group = groups[index.0].parent;
            }
            all.sort_unstable();
            all.dedup();
            place.mapping_sources = match place.closest_mapped_group {
                Some(closest) if !task.is_mapped() => of_groups[closest.0].clone(),
                _ => own,
            };
            place.group_mapping_sources = all;
        }
        Ok(())
    }

    /// Source: `airflow/task/priority_strategy.py`; a task reached by several ways counts once.
    fn weigh(&mut self, tasks: &IndexMap<String, Task>, descendants: &Descendants) {
        let own: Vec<i64> = tasks.values().map(|task| i64::from(task.priority_weight)).collect();
        let mut total = own.clone();
        for (from, task) in tasks.values().enumerate() {
            let adds_downstream = task.weight_rule == WeightRule::Downstream;
            for to in descendants.iter(TaskIndex::new(from)) {
                if adds_downstream {
                    total[from] += own[to.index()];
                }
                if tasks[to.index()].weight_rule == WeightRule::Upstream {
                    total[to.index()] += own[from];
                }
            }
        }
        for (place, total) in self.places.iter_mut().zip(total) {
            // The column is a 32-bit integer.
            place.priority_weight = i32::try_from(total).unwrap_or(if total < 0 { i32::MIN } else { i32::MAX });
        }
    }

    /// Source: `get_upstreams_only_setups` in `airflow/_shared/dagnode/node.py` and
    /// `_evaluate_teardown_scope` in `airflow/ti_deps/deps/trigger_rule_dep.py`.
    fn find_setups(&mut self, tasks: &IndexMap<String, Task>, graph: &DiGraph<(), (), u32>, descendants: &Descendants) {
        let is_teardown = |task: TaskIndex| tasks[task.index()].is_teardown;
        let setups = (0..tasks.len()).map(TaskIndex::new).filter(|task| tasks[task.index()].is_setup);
        for setup in setups {
            let teardowns: Vec<TaskIndex> = graph.neighbors(setup).filter(|next| is_teardown(*next)).collect();
            for task in descendants.iter(setup) {
                let is_direct = graph.contains_edge(setup, task);
                if is_teardown(task) || is_direct {
                    continue;
                }
                if teardowns.is_empty() || teardowns.iter().any(|teardown| descendants.contains(task, *teardown)) {
                    self.places[task.index()].indirect_setups.push(setup);
                }
            }
            for &teardown in &teardowns {
                let between = descendants
                    .iter(setup)
                    .filter(|task| descendants.contains(*task, teardown) && !graph.contains_edge(*task, teardown));
                self.places[teardown.index()].teardown_scope.extend(between);
            }
        }
        for place in &mut self.places {
            place.teardown_scope.sort_unstable();
            place.teardown_scope.dedup();
        }
    }

    fn find_observers(&mut self, tasks: &IndexMap<String, Task>, graph: &DiGraph<(), (), u32>) {
        for index in (0..tasks.len()).map(TaskIndex::new) {
            let place = &self.places[index.index()];
            let observed: Vec<TaskIndex> = graph
                .neighbors_directed(index, petgraph::Direction::Incoming)
                .chain(place.indirect_setups.iter().copied())
                .chain(place.teardown_scope.iter().copied())
                .chain(place.group_mapping_sources.iter().copied())
                .collect();
            for task in observed {
                let observers = &mut self.places[task.index()].observers;
                if observers.last() != Some(&index) {
                    observers.push(index);
                }
            }
        }
    }
}
