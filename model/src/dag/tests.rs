use proptest::prelude::*;

use super::*;
use crate::mapping::{ExpandArgument, ExpandInput, XComArg};

/// `a>b` is an edge, `a` alone a task.
fn tasks(text: &str) -> Vec<Task> {
    let mut tasks: IndexMap<String, Task> = IndexMap::new();
    for word in text.split_whitespace() {
        let mut names = word.split('>').peekable();
        while let Some(name) = names.next() {
            let task = tasks.entry(name.to_owned()).or_insert_with(|| Task::new(name));
            task.downstream_task_ids.extend(names.peek().map(|next| (*next).to_owned()));
        }
    }
    tasks.into_values().collect()
}

fn dag(tasks: Vec<Task>) -> Dag {
    Dag::new("d".to_owned(), DagSettings::default(), tasks, Vec::new()).unwrap_or_else(|error| panic!("{error}"))
}

fn weights(text: &str, rule: &WeightRule) -> Vec<(String, i32)> {
    let mut tasks = tasks(text);
    for (place, task) in tasks.iter_mut().enumerate() {
        task.weight_rule = rule.clone();
        task.priority_weight = 10_i32.pow(u32::try_from(place).unwrap_or(0));
    }
    let dag = dag(tasks);
    dag.tasks().map(|(index, task)| (task.task_id.clone(), dag.priority_weight(index))).collect()
}

#[test]
fn a_diamond_counts_each_task_once() {
    let expected =
        |weights: [i32; 4]| ["a", "b", "c", "d"].map(str::to_owned).into_iter().zip(weights).collect::<Vec<_>>();
    let diamond = "a>b a>c b>d c>d";
    assert_eq!(weights(diamond, &WeightRule::Downstream), expected([1111, 1010, 1100, 1000]));
    assert_eq!(weights(diamond, &WeightRule::Upstream), expected([1, 11, 101, 1111]));
    assert_eq!(weights(diamond, &WeightRule::Absolute), expected([1, 10, 100, 1000]));
}

#[test]
fn a_weight_stays_within_its_column() {
    let mut tasks = tasks("a>b");
    tasks[0].priority_weight = i32::MAX;
    assert_eq!(dag(tasks).priority_weight(TaskIndex::new(0)), i32::MAX);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let refused = |tasks| Dag::new("d".to_owned(), DagSettings::default(), tasks, Vec::new()).err();
    assert!(matches!(refused(tasks("a>b b>a")), Some(DagError::Cycle(_))));
    let mut unknown = tasks("a");
    unknown[0].downstream_task_ids.push("b".to_owned());
    assert!(matches!(refused(unknown), Some(DagError::UnknownDownstream { .. })));
    assert!(matches!(refused(vec![Task::new("a"), Task::new("a")]), Some(DagError::DuplicateTask(_))));
    let mut mapped = tasks("a");
    let nowhere = XComArg::Task { task_id: "x".to_owned(), key: "return_value".to_owned() };
    mapped[0].expand_input = Some(ExpandInput::ListOfDicts(ExpandArgument::XCom(nowhere)));
    assert!(matches!(refused(mapped), Some(DagError::UnknownMappingSource { .. })));
    let mut lost = tasks("a");
    lost[0].group = GroupIndex(3);
    assert!(matches!(refused(lost), Some(DagError::UnknownGroup { .. })));
}

proptest! {
    /// Edges from lower to higher numbers make no cycle.
    #[test]
    fn weights_are_sums_over_all_that_can_be_reached(
        edges in prop::collection::vec((0_usize..70, 0_usize..70), 0..200)
    ) {
        let mut tasks: Vec<Task> = (0..70).map(|number| Task::new(number.to_string())).collect();
        for (a, b) in edges.into_iter().filter(|(a, b)| a != b) {
            let next = a.max(b).to_string();
            let downstream = &mut tasks[a.min(b)].downstream_task_ids;
            if !downstream.contains(&next) {
                downstream.push(next);
            }
        }
        let dag = dag(tasks);
        for (index, _) in dag.tasks() {
            let mut reached = std::collections::HashSet::new();
            let mut open = vec![index];
            while let Some(task) = open.pop() {
                open.extend(dag.downstream(task).filter(|next| reached.insert(*next)));
            }
            prop_assert_eq!(dag.priority_weight(index), 1 + i32::try_from(reached.len()).unwrap_or(0));
        }
    }
}
