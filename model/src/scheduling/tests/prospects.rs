//! What is said of a task instance agrees with what the step does.

use std::collections::HashSet;

use proptest::prelude::*;

use super::properties::{Dice, any_dag};
use super::*;
use crate::dag::TaskIndex;
use crate::state::TaskInstanceState::{Failed, Running, Scheduled, Success};

/// What a step does, by task instance.
struct Done {
    started: HashSet<Uuid>,
    expanded: HashSet<Uuid>,
    ended: HashMap<Uuid, TaskInstanceState>,
    changed: HashSet<String>,
}

impl Done {
    fn by(world: &World, step: &Step) -> Self {
        let starts = [&step.schedule, &step.succeed, &step.defer];
        let started: HashSet<Uuid> = starts.into_iter().flatten().map(|start| start.id).collect();
        let ended: HashMap<Uuid, TaskInstanceState> = step.end.iter().map(|end| (end.id, end.to)).collect();
        let is_changed = |facts: &&TaskInstanceFacts| started.contains(&facts.id) || ended.contains_key(&facts.id);
        let changed = world.instances.iter().filter(is_changed).map(|facts| facts.task_id.clone()).collect();
        Self { started, expanded: step.expand.iter().map(|expansion| expansion.id).collect(), ended, changed }
    }

    /// Whether the step changed something that a task looks at.
    fn touches(&self, dag: &Dag, task: TaskIndex) -> bool {
        let mut changed = self.changed.iter().filter_map(|task_id| dag.index_of(task_id));
        changed.any(|changed| dag.structure().observers(changed).contains(&task))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whom nothing keeps, the next step moves as was said; whom something keeps, it does not move, unless it changed
    /// before what that one waits for.
    #[test]
    fn the_step_does_what_was_said(
        dag in any_dag(), dice in prop::collection::vec(any::<u8>(), 100), rounds in 0..6
    ) {
        let mut world = World::new(dag);
        let mut dice = Dice(dice.into_iter());
        for _ in 0..rounds {
            world.checked_step();
            world.work(&mut dice);
        }
        if world.run.state.is_finished() {
            return Ok(());
        }
        let prospects = Prospects::new(world.view());
        let done = Done::by(&world, &step(&world.view()));
        for (task, _) in world.dag.tasks() {
            let may_differ = done.touches(&world.dag, task);
            for (place, prospect) in prospects.of_task(task) {
                let id = world.instances[place].id;
                let moved = done.started.contains(&id) || done.expanded.contains(&id) || done.ended.contains_key(&id);
                if prospect.starts() {
                    prop_assert!(done.started.contains(&id) || (may_differ && world.dag.needs_expansion(task)));
                } else if let Some(state) = prospect.becomes {
                    prop_assert!(done.ended.get(&id) == Some(&state) || may_differ);
                } else if prospect.expands_to.is_some() {
                    prop_assert!(done.expanded.contains(&id) || may_differ);
                } else {
                    prop_assert!(!prospect.unmet.is_empty());
                    prop_assert!(!moved || may_differ, "it moved although it was said to wait: {prospect:?}");
                }
            }
        }
    }

    /// When a step has nothing left to do, whatever may be scheduled has a reason to wait.
    #[test]
    fn what_rests_has_a_reason(dag in any_dag(), dice in prop::collection::vec(any::<u8>(), 100), rounds in 0..6) {
        let mut world = World::new(dag);
        let mut dice = Dice(dice.into_iter());
        for _ in 0..rounds {
            world.settle();
            world.work(&mut dice);
        }
        world.settle();
        if world.run.state.is_finished() {
            return Ok(());
        }
        let prospects = Prospects::new(world.view());
        for (task, _) in world.dag.tasks() {
            for (place, prospect) in prospects.of_task(task) {
                let facts = &world.instances[place];
                prop_assert!(!prospect.unmet.is_empty(), "{}[{}] rests without a reason", facts.task_id, facts.map_index);
                prop_assert_eq!(prospect.becomes, None);
            }
        }
    }
}

/// A task with its task instances by state.
type Seen = (String, Vec<(Option<TaskInstanceState>, u64)>);

fn states(awaited: &[Awaited], dag: &Dag) -> Vec<Seen> {
    awaited.iter().map(|task| (dag.at(task.task).task_id.clone(), task.states.clone())).collect()
}

#[test]
fn upstream_tasks_are_told_by_state() {
    let mut world = world("a>c b>c", |_| {});
    world.settle();
    world.finish("a", -1, Success);
    world.find("b", -1).state = Some(Running);
    let prospects = Prospects::new(world.view());
    let task = world.dag.index_of("c").expect("a task");
    let [(_, prospect)] = &prospects.of_task(task)[..] else { panic!("one task instance") };
    let mut awaited = states(&prospects.awaited(task, -1, &prospect.unmet[0]), &world.dag);
    awaited.sort();
    assert_eq!(
        awaited,
        [("a".to_owned(), vec![(Some(Success), 1)]), ("b".to_owned(), vec![(Some(Running), 1)])],
        "both are upstream"
    );
}

/// In a mapped group an instance waits for its own line of instances alone.
#[test]
fn only_relevant_instances_are_told_of() {
    let (mut first, mut second) = (Task::new("first"), Task::new("second"));
    (first.group, second.group) = (GroupIndex(1), GroupIndex(1));
    first.downstream_task_ids.push("second".to_owned());
    let group = TaskGroup {
        group_id: "g".to_owned(),
        display_name: None,
        parent: Some(GroupIndex::ROOT),
        expand_input: Some(ExpandInput::ListOfDicts(ExpandArgument::Literal(3))),
    };
    let mut world = World::new(dag_of(vec![first, second], vec![TaskGroup::root(), group]));
    world.settle();
    world.find("first", 1).state = Some(Running);
    let prospects = Prospects::new(world.view());
    let task = world.dag.index_of("second").expect("a task");
    for (place, prospect) in prospects.of_task(task) {
        let map_index = world.instances[place].map_index;
        let expected = if map_index == 1 { Running } else { Scheduled };
        let awaited = prospects.awaited(task, map_index, &prospect.unmet[0]);
        assert_eq!(states(&awaited, &world.dag), [("first".to_owned(), vec![(Some(expected), 1)])]);
    }
}

#[test]
fn an_end_without_running_is_foretold() {
    let mut world = world("a>b", |_| {});
    world.settle();
    world.finish("a", -1, Failed);
    let prospects = Prospects::new(world.view());
    let prospect = prospects.of(world.dag.index_of("b").expect("a task"), 1).expect("a prospect");
    assert_eq!(prospect.becomes, Some(TaskInstanceState::UpstreamFailed));
    assert!(!prospect.starts() && !prospect.unmet.is_empty());
}
