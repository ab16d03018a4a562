//! A Dag as the scheduler needs it: settings, tasks, groups and the graph between them.
//!
//! The serialized form is read by `tradewind_airflow::serialized_dag`; nothing here knows how a Dag is
//! written down. Everything that follows from the structure alone (priority weights, setups that a task must
//! wait for, scope of a teardown, closest mapped group) is computed once, in [`Dag::new`].

mod descendants;
mod settings;
mod structure;
mod task;
mod task_group;

use indexmap::IndexMap;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

pub use settings::{DagSettings, Param, TimetableSpec};
pub use structure::Structure;
pub use task::{StartTrigger, Task, WeightRule};
pub use task_group::{GroupIndex, TaskGroup};

/// Position of a task in its Dag: its node in the graph and its place in [`Dag::tasks`].
pub type TaskIndex = NodeIndex<u32>;

/// Why tasks and groups do not make a Dag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DagError {
    /// Two tasks share an id.
    #[error("task {0:?} appears twice")]
    DuplicateTask(String),
    /// A task names a downstream task that does not exist.
    #[error("task {task:?} has an unknown downstream task {downstream:?}")]
    UnknownDownstream {
        /// The task that names it.
        task: String,
        /// The name that leads nowhere.
        downstream: String,
    },
    /// A mapped task or group takes its length from a task that does not exist.
    #[error("{node:?} is mapped over the output of an unknown task {source_task:?}")]
    UnknownMappingSource {
        /// The mapped task or group.
        node: String,
        /// The name that leads nowhere.
        source_task: String,
    },
    /// A task or group names a parent group that does not exist (yet): parents come first.
    #[error("{node:?} belongs to a task group that does not exist")]
    UnknownGroup {
        /// The task or group.
        node: String,
    },
    /// The edges form a cycle.
    #[error("the Dag has a cycle through task {0:?}")]
    Cycle(String),
}

/// A Dag: immutable once made.
#[derive(Debug, Clone)]
pub struct Dag {
    /// Unique name of the Dag.
    pub dag_id: String,
    /// Everything a Dag has besides its tasks.
    pub settings: DagSettings,
    tasks: IndexMap<String, Task>,
    groups: Vec<TaskGroup>,
    graph: DiGraph<(), (), u32>,
    structure: Structure,
}

impl Dag {
    /// Joins tasks and groups into a Dag.
    ///
    /// Tasks keep the order given; a task without dates gets those of the Dag. `groups[0]` is the root group; a parent precedes its children.
    ///
    /// # Errors
    /// Names that lead nowhere, an id used twice, or a cycle.
    pub fn new(
        dag_id: String,
        settings: DagSettings,
        tasks: Vec<Task>,
        mut groups: Vec<TaskGroup>,
    ) -> Result<Self, DagError> {
        if groups.is_empty() {
            groups.push(TaskGroup::root());
        }
        let mut tasks = keyed(tasks)?;
        for task in tasks.values_mut() {
            task.start_date = task.start_date.or(settings.start_date);
            task.end_date = task.end_date.or(settings.end_date);
        }
        check_groups(&tasks, &groups)?;
        let graph = connect(&tasks)?;
        let structure = Structure::of(&tasks, &groups, &graph)?;
        Ok(Self { dag_id, settings, tasks, groups, graph, structure })
    }

    /// Every task, in the order of the Dag file.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = (TaskIndex, &Task)> {
        self.tasks.values().enumerate().map(|(index, task)| (TaskIndex::new(index), task))
    }

    /// How many tasks there are.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// Place of the task with this id.
    pub fn index_of(&self, task_id: &str) -> Option<TaskIndex> {
        self.tasks.get_index_of(task_id).map(TaskIndex::new)
    }

    /// The task with this id.
    pub fn task(&self, task_id: &str) -> Option<&Task> {
        self.tasks.get(task_id)
    }

    /// The task at a place given by this Dag; panics for a place of another, larger Dag.
    pub fn at(&self, index: TaskIndex) -> &Task {
        &self.tasks[index.index()]
    }

    /// Tasks directly upstream.
    pub fn upstream(&self, index: TaskIndex) -> impl Iterator<Item = TaskIndex> {
        self.graph.neighbors_directed(index, Direction::Incoming)
    }

    /// Tasks directly downstream.
    pub fn downstream(&self, index: TaskIndex) -> impl Iterator<Item = TaskIndex> {
        self.graph.neighbors_directed(index, Direction::Outgoing)
    }

    /// The graph; node `n` is the `n`-th task.
    pub fn graph(&self) -> &DiGraph<(), (), u32> {
        &self.graph
    }

    /// Task groups; the first is the root, parents precede children.
    pub fn groups(&self) -> &[TaskGroup] {
        &self.groups
    }

    /// Mapped groups around a task, from the innermost outwards.
    pub fn mapped_groups(&self, index: TaskIndex) -> impl Iterator<Item = GroupIndex> {
        self.enclosing_groups(Some(self.at(index).group)).filter(|group| self.groups[group.0].expand_input.is_some())
    }

    /// A group and the groups around it, from the innermost outwards.
    pub fn enclosing_groups(&self, from: Option<GroupIndex>) -> impl Iterator<Item = GroupIndex> {
        std::iter::successors(from, |group| self.groups[group.0].parent)
    }

    /// Whether a task makes several task instances per run: it is mapped, or sits in a mapped group.
    ///
    /// Source: `get_needs_expansion` in `airflow/serialization/definitions/`.
    pub fn needs_expansion(&self, index: TaskIndex) -> bool {
        self.at(index).expand_input.is_some() || self.structure.closest_mapped_group(index).is_some()
    }

    /// What follows from the structure alone.
    pub fn structure(&self) -> &Structure {
        &self.structure
    }

    /// Weight that decides which of two waiting task instances starts first, as Airflow stores it in
    /// `task_instance.priority_weight`.
    pub fn priority_weight(&self, index: TaskIndex) -> i32 {
        self.structure.priority_weight(index)
    }

    /// Whether only Python knows the weight of a task's instances; until it was asked, [`Dag::priority_weight`] stands.
    pub fn has_custom_weight(&self, index: TaskIndex) -> bool {
        matches!(self.at(index).weight_rule, WeightRule::Custom(_))
    }

    /// Whether there is a task with such a weight.
    pub fn has_custom_weights(&self) -> bool {
        self.tasks().any(|(index, _)| self.has_custom_weight(index))
    }

    /// Owners of the tasks without repetition, in task order.
    pub fn owners(&self) -> Vec<&str> {
        let mut owners = indexmap::IndexSet::new();
        owners.extend(self.tasks.values().map(|task| task.owner.as_str()));
        owners.into_iter().collect()
    }

    /// Whether a step needs [`crate::scheduling::PreviousRunFacts`].
    pub fn depends_on_past(&self) -> bool {
        self.tasks.values().any(|task| task.depends_on_past)
    }
}

fn keyed(tasks: Vec<Task>) -> Result<IndexMap<String, Task>, DagError> {
    let mut keyed = IndexMap::with_capacity(tasks.len());
    for task in tasks {
        if let Some(previous) = keyed.insert(task.task_id.clone(), task) {
            return Err(DagError::DuplicateTask(previous.task_id));
        }
    }
    Ok(keyed)
}

fn check_groups(tasks: &IndexMap<String, Task>, groups: &[TaskGroup]) -> Result<(), DagError> {
    for (index, group) in groups.iter().enumerate() {
        if group.parent.is_some_and(|parent| parent.0 >= index) {
            return Err(DagError::UnknownGroup { node: group.group_id.clone() });
        }
    }
    match tasks.values().find(|task| task.group.0 >= groups.len()) {
        Some(task) => Err(DagError::UnknownGroup { node: task.task_id.clone() }),
        None => Ok(()),
    }
}

fn connect(tasks: &IndexMap<String, Task>) -> Result<DiGraph<(), (), u32>, DagError> {
    let mut graph = DiGraph::with_capacity(tasks.len(), tasks.len());
    for _ in tasks {
        graph.add_node(());
    }
    for (from, task) in tasks.values().enumerate() {
        for downstream in &task.downstream_task_ids {
            let to = tasks.get_index_of(downstream).ok_or_else(|| DagError::UnknownDownstream {
                task: task.task_id.clone(),
                downstream: downstream.clone(),
            })?;
            graph.add_edge(TaskIndex::new(from), TaskIndex::new(to), ());
        }
    }
    Ok(graph)
}

#[cfg(test)]
mod tests;
