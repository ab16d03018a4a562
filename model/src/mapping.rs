//! Dynamic task mapping: what a task or group is expanded over, and how often.
//!
//! Source: `airflow/models/expandinput.py`, `airflow/serialization/definitions/xcom_arg.py` and
//! `get_mapped_ti_count` in `airflow/serialization/definitions/mappedoperator.py`.

use indexmap::IndexMap;

use crate::dag::{Dag, GroupIndex, TaskIndex};

/// What a mapped task or group is expanded over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpandInput {
    /// `expand(a=…, b=…)`: every combination of the arguments.
    DictOfLists(IndexMap<String, ExpandArgument>),
    /// `expand_kwargs(…)`: one task instance per element.
    ListOfDicts(ExpandArgument),
}

/// One thing to expand over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpandArgument {
    /// A value of the Dag file, of this length.
    Literal(usize),
    /// The output of other tasks.
    XCom(XComArg),
}

/// A reference to the output of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum XComArg {
    /// Output of one task; of all its task instances when it is mapped.
    Task {
        /// The task.
        task_id: String,
        /// Key of the XCom.
        key: String,
    },
    /// `map`: as long as what it maps (elements are dropped only when the value is read).
    Map(Box<Self>),
    /// `concat`: one after the other.
    Concat(Vec<Self>),
    /// `zip`: side by side, as long as the shortest, or as the longest when a fill value is given.
    Zip {
        /// What is zipped.
        args: Vec<Self>,
        /// Whether a fill value is given.
        filled: bool,
    },
}

/// Lengths of the outputs that mapped tasks and groups are expanded over, as far as they are known.
///
/// For a plain task: `length` of its row in `task_map` with map index −1. For a mapped task: number of its
/// `return_value` XComs with map index ≥ 0, and only once all its task instances have finished.
pub trait OutputLengths {
    /// Length of the output of a task; `None` while it is not known.
    fn length(&self, task: TaskIndex) -> Option<u64>;
}

/// No output is known: only literals have a length.
pub struct LiteralsOnly;

impl OutputLengths for LiteralsOnly {
    fn length(&self, _: TaskIndex) -> Option<u64> {
        None
    }
}

/// How many task instances a task has in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MappedCount {
    /// One, with map index −1: neither the task is mapped nor a group around it.
    NotMapped,
    /// Not known before the tasks that it is mapped over have finished.
    NotPopulated,
    /// So many, with map indexes from 0.
    Known(u64),
}

impl XComArg {
    /// Every task referred to.
    pub fn sources(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Task { task_id, .. } => Box::new(std::iter::once(task_id.as_str())),
            Self::Map(arg) => arg.sources(),
            Self::Concat(args) | Self::Zip { args, .. } => Box::new(args.iter().flat_map(Self::sources)),
        }
    }

    fn length(&self, dag: &Dag, outputs: &impl OutputLengths) -> Option<u64> {
        match self {
            Self::Task { task_id, .. } => outputs.length(dag.index_of(task_id)?),
            Self::Map(arg) => arg.length(dag, outputs),
            Self::Concat(args) => {
                args.iter().try_fold(0_u64, |sum, arg| Some(sum.saturating_add(arg.length(dag, outputs)?)))
            }
            Self::Zip { args, filled } => {
                let lengths = args.iter().map(|arg| arg.length(dag, outputs)).collect::<Option<Vec<_>>>()?;
                if *filled { lengths.into_iter().max() } else { lengths.into_iter().min() }
            }
        }
    }
}

impl ExpandArgument {
    fn length(&self, dag: &Dag, outputs: &impl OutputLengths) -> Option<u64> {
        match self {
            Self::Literal(length) => Some(*length as u64),
            Self::XCom(arg) => arg.length(dag, outputs),
        }
    }
}

impl ExpandInput {
    /// Every task referred to, possibly more than once.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        let arguments: Box<dyn Iterator<Item = &ExpandArgument>> = match self {
            Self::DictOfLists(arguments) => Box::new(arguments.values()),
            Self::ListOfDicts(argument) => Box::new(std::iter::once(argument)),
        };
        arguments.flat_map(|argument| match argument {
            ExpandArgument::Literal(_) => Box::new(std::iter::empty()),
            ExpandArgument::XCom(arg) => arg.sources(),
        })
    }

    /// How many instances the input makes; `None` while an output is not known.
    pub fn length(&self, dag: &Dag, outputs: &impl OutputLengths) -> Option<u64> {
        match self {
            Self::DictOfLists(arguments) if arguments.is_empty() => Some(0),
            Self::DictOfLists(arguments) => arguments
                .values()
                .try_fold(1_u64, |product, argument| Some(product.saturating_mul(argument.length(dag, outputs)?))),
            Self::ListOfDicts(argument) => argument.length(dag, outputs),
        }
    }
}

/// How often a mapped group, with all mapped groups around it, is expanded.
pub fn group_count(dag: &Dag, group: GroupIndex, outputs: &impl OutputLengths) -> Option<u64> {
    dag.enclosing_groups(Some(group))
        .filter_map(|group| dag.groups()[group.0].expand_input.as_ref())
        .try_fold(1_u64, |product, input| Some(product.saturating_mul(input.length(dag, outputs)?)))
}

/// How many task instances a task has.
pub fn mapped_count(dag: &Dag, task: TaskIndex, outputs: &impl OutputLengths) -> MappedCount {
    let group = dag.structure().closest_mapped_group(task);
    let own = dag.at(task).expand_input.as_ref().map(|input| input.length(dag, outputs));
    let around = group.map(|group| group_count(dag, group, outputs));
    match (own, around) {
        (None, None) => MappedCount::NotMapped,
        (Some(None), _) | (_, Some(None)) => MappedCount::NotPopulated,
        (Some(Some(own)), Some(Some(around))) => MappedCount::Known(own.saturating_mul(around)),
        (Some(Some(count)), None) | (None, Some(Some(count))) => MappedCount::Known(count),
    }
}

/// Which task instances of an upstream task matter to one task instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelevantIndexes {
    /// All of them: the two tasks are in different mapping contexts.
    All,
    /// The one that is not expanded, and those with `start ≤ map index < start + count`.
    Range {
        /// First map index; negative when there is none.
        start: i64,
        /// How many.
        count: u64,
    },
}

/// The innermost mapped group that holds both tasks, looking outwards from `relative`.
pub fn common_mapped_group(dag: &Dag, task: TaskIndex, relative: TaskIndex) -> Option<GroupIndex> {
    let mut groups = dag.mapped_groups(relative);
    groups.find(|group| dag.mapped_groups(task).any(|other| other == *group))
}

/// How the instances of a task relate to those of a task upstream of it.
///
/// Source: `_get_relevant_map_indexes` in `airflow/models/taskinstance.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MappingRelation {
    /// Every instance matters to every instance.
    Unrelated,
    /// Both are expanded by a mapped group around them.
    SharedGroup {
        /// How often that group is expanded.
        ancestors: u64,
        /// How many instances the downstream task has.
        count: u64,
        /// How many upstream instances belong to one expansion of the group.
        further: u64,
    },
}

impl MappingRelation {
    /// The relation of a `task` with `count` instances to a task `upstream` of it.
    pub fn between(
        dag: &Dag,
        task: TaskIndex,
        count: MappedCount,
        upstream: TaskIndex,
        outputs: &impl OutputLengths,
    ) -> Self {
        let MappedCount::Known(count @ 1..) = count else {
            return Self::Unrelated;
        };
        let Some(group) = common_mapped_group(dag, task, upstream) else {
            return Self::Unrelated;
        };
        match group_count(dag, group, outputs) {
            None | Some(0) => Self::Unrelated,
            Some(ancestors) => {
                let further = if is_mapped_inside(dag, upstream, group) { count / ancestors } else { 1 };
                Self::SharedGroup { ancestors, count, further }
            }
        }
    }

    /// The instances that matter to the one with this map index.
    pub fn relevant_indexes(self, map_index: i32) -> RelevantIndexes {
        let Self::SharedGroup { ancestors, count, further } = self else {
            return RelevantIndexes::All;
        };
        let ancestor = (i128::from(map_index) * i128::from(ancestors)).div_euclid(i128::from(count));
        let start = i64::try_from(ancestor * i128::from(further)).unwrap_or(i64::MAX);
        RelevantIndexes::Range { start, count: further }
    }
}

/// Whether a task is mapped once more inside a group that holds it.
fn is_mapped_inside(dag: &Dag, task: TaskIndex, container: GroupIndex) -> bool {
    dag.at(task).is_mapped() || dag.structure().closest_mapped_group(task) != Some(container)
}

#[cfg(test)]
mod tests;
