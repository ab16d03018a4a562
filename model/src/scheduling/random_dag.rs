//! Random Dags for property tests and for the simulation: groups, mapping, trigger rules, setups and teardowns, retries.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::dag::{GroupIndex, Task, TaskGroup};
use crate::mapping::{ExpandArgument, ExpandInput, XComArg};
use crate::trigger_rule::TriggerRule;

/// How one task of a random Dag looks. Numbers are taken modulo what exists.
#[derive(Debug, Clone)]
struct Shape {
    rule: TriggerRule,
    upstream: Vec<usize>,
    is_empty: bool,
    retries: i32,
    in_group: bool,
    mapped: Option<Mapped>,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    Work,
    Setup,
    Teardown,
}

#[derive(Debug, Clone, Copy)]
enum Mapped {
    Literal(usize),
    Output(usize),
}

fn shape() -> impl Strategy<Value = Shape> {
    let mapped = prop_oneof![
        4 => Just(None),
        1 => (0_usize..4).prop_map(|length| Some(Mapped::Literal(length))),
        1 => (0_usize..8).prop_map(|source| Some(Mapped::Output(source))),
    ];
    let role = prop_oneof![8 => Just(Role::Work), 1 => Just(Role::Setup), 1 => Just(Role::Teardown)];
    let rule = prop::sample::select(TriggerRule::ALL);
    let upstream = prop::collection::vec(0_usize..8, 0..3);
    (rule, upstream, prop::bool::weighted(0.2), 0..2, prop::bool::weighted(0.3), mapped, role).prop_map(
        |(rule, upstream, is_empty, retries, in_group, mapped, role)| Shape {
            rule,
            upstream,
            is_empty,
            retries,
            in_group,
            mapped,
            role,
        },
    )
}

/// The tasks and groups of a Dag of one to seven tasks, of which some may sit in a mapped group.
pub fn any_parts() -> impl Strategy<Value = (Vec<Task>, Vec<TaskGroup>)> {
    (prop::collection::vec(shape(), 1..8), 0_usize..4).prop_map(|(shapes, length)| (tasks(&shapes), groups(length)))
}

/// What is mapped over the output of a task.
pub fn output(task: &str) -> ExpandInput {
    let arg = XComArg::Task { task_id: task.to_owned(), key: "return_value".to_owned() };
    ExpandInput::ListOfDicts(ExpandArgument::XCom(arg))
}

fn tasks(shapes: &[Shape]) -> Vec<Task> {
    let name = |number: usize| format!("t{number}");
    let mut tasks: Vec<Task> = Vec::new();
    for (number, shape) in shapes.iter().enumerate() {
        let mut task = Task::new(name(number));
        task.trigger_rule = shape.rule;
        task.is_empty = shape.is_empty;
        task.retries = shape.retries;
        task.is_setup = shape.role == Role::Setup;
        task.is_teardown = shape.role == Role::Teardown;
        let mut upstream: BTreeSet<usize> =
            shape.upstream.iter().filter(|_| number > 0).map(|up| up % number.max(1)).collect();
        if shape.in_group {
            task.group = GroupIndex(1);
        } else {
            task.expand_input = match shape.mapped {
                Some(Mapped::Output(source)) if number > 0 => {
                    upstream.insert(source % number);
                    Some(output(&name(source % number)))
                }
                Some(Mapped::Literal(length)) => Some(ExpandInput::ListOfDicts(ExpandArgument::Literal(length))),
                _ => None,
            };
        }
        for up in upstream {
            tasks[up].downstream_task_ids.push(name(number));
        }
        tasks.push(task);
    }
    tasks
}

fn groups(length: usize) -> Vec<TaskGroup> {
    let group = TaskGroup {
        group_id: "g".to_owned(),
        display_name: None,
        parent: Some(GroupIndex::ROOT),
        expand_input: Some(ExpandInput::ListOfDicts(ExpandArgument::Literal(length))),
    };
    vec![TaskGroup::root(), group]
}
