use std::collections::HashMap;

use super::*;
use crate::dag::{DagSettings, Task, TaskGroup};

struct Known(HashMap<TaskIndex, u64>);

impl OutputLengths for Known {
    fn length(&self, task: TaskIndex) -> Option<u64> {
        self.0.get(&task).copied()
    }
}

fn output(task: &str) -> XComArg {
    XComArg::Task { task_id: task.to_owned(), key: "return_value".to_owned() }
}

fn over(argument: ExpandArgument) -> Option<ExpandInput> {
    Some(ExpandInput::DictOfLists([("x".to_owned(), argument)].into_iter().collect()))
}

/// Tasks `a` and `b`, whose outputs have the lengths 2 and 3, and a task mapped over `input`.
fn length(input: ExpandInput) -> Option<u64> {
    let mut mapped = Task::new("m");
    mapped.expand_input = Some(input.clone());
    let dag = dag(vec![Task::new("a"), Task::new("b"), Task::new("unknown"), mapped], Vec::new());
    let lengths = ["a", "b"].into_iter().zip([2, 3]).filter_map(|(task, length)| Some((dag.index_of(task)?, length)));
    input.length(&dag, &Known(lengths.collect()))
}

fn dag(tasks: Vec<Task>, groups: Vec<TaskGroup>) -> Dag {
    Dag::new("d".to_owned(), DagSettings::default(), tasks, groups).unwrap_or_else(|error| panic!("{error}"))
}

fn xcom(arg: XComArg) -> ExpandInput {
    ExpandInput::ListOfDicts(ExpandArgument::XCom(arg))
}

#[test]
fn lengths_follow_the_shape_of_the_input() {
    let both = || vec![output("a"), output("b")];
    assert_eq!(length(xcom(output("a"))), Some(2));
    assert_eq!(length(xcom(XComArg::Map(Box::new(output("b"))))), Some(3));
    assert_eq!(length(xcom(XComArg::Concat(both()))), Some(5));
    assert_eq!(length(xcom(XComArg::Zip { args: both(), filled: false })), Some(2));
    assert_eq!(length(xcom(XComArg::Zip { args: both(), filled: true })), Some(3));
    assert_eq!(length(xcom(XComArg::Concat(vec![output("a"), output("unknown")]))), None);
    assert_eq!(length(ExpandInput::ListOfDicts(ExpandArgument::Literal(0))), Some(0));
    assert_eq!(length(ExpandInput::DictOfLists(IndexMap::new())), Some(0));
    let product = [("x", ExpandArgument::XCom(output("a"))), ("y", ExpandArgument::Literal(4))];
    let product = product.into_iter().map(|(name, argument)| (name.to_owned(), argument)).collect();
    assert_eq!(length(ExpandInput::DictOfLists(product)), Some(8));
}

/// Group `g` is expanded 3 times, group `n` in it twice; `a` and `b` are in `g`, `c` and `d` in `n`, `e` in neither.
fn nested() -> Dag {
    let group = |id: &str, parent, length| TaskGroup {
        group_id: id.to_owned(),
        display_name: None,
        parent: Some(GroupIndex(parent)),
        expand_input: over(ExpandArgument::Literal(length)),
    };
    let task = |id: &str, group| {
        let mut task = Task::new(id);
        task.group = GroupIndex(group);
        task
    };
    let tasks = vec![task("a", 1), task("b", 1), task("c", 2), task("d", 2), task("e", 0)];
    dag(tasks, vec![TaskGroup::root(), group("g", 0, 3), group("n", 1, 2)])
}

fn relation(dag: &Dag, task: &str, upstream: &str) -> MappingRelation {
    let index = |id| dag.index_of(id).unwrap_or_else(|| panic!("{id}"));
    let count = mapped_count(dag, index(task), &LiteralsOnly);
    MappingRelation::between(dag, index(task), count, index(upstream), &LiteralsOnly)
}

fn range(start: i64, count: u64) -> RelevantIndexes {
    RelevantIndexes::Range { start, count }
}

#[test]
fn groups_multiply() {
    let dag = nested();
    let counts: Vec<_> = dag.tasks().map(|(index, _)| mapped_count(&dag, index, &LiteralsOnly)).collect();
    let known = MappedCount::Known;
    assert_eq!(counts, [known(3), known(3), known(6), known(6), MappedCount::NotMapped]);
}

#[test]
fn instances_of_one_expansion_see_each_other() {
    let dag = nested();
    assert_eq!(relation(&dag, "b", "a").relevant_indexes(2), range(2, 1));
    assert_eq!(relation(&dag, "d", "c").relevant_indexes(5), range(5, 1));
    // Instance 5 of the inner task belongs to expansion 2 of the outer group.
    assert_eq!(relation(&dag, "c", "a").relevant_indexes(5), range(2, 1));
    assert_eq!(relation(&dag, "e", "a").relevant_indexes(-1), RelevantIndexes::All);
    assert_eq!(relation(&dag, "a", "e").relevant_indexes(1), RelevantIndexes::All);
}

#[test]
fn an_unexpanded_instance_sees_no_expanded_one() {
    let dag = nested();
    assert_eq!(relation(&dag, "b", "a").relevant_indexes(-1), range(-1, 1));
    assert_eq!(relation(&dag, "c", "a").relevant_indexes(-1), range(-1, 1));
}
