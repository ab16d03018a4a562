use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::scheduling::random_dag;
use crate::state::TaskInstanceState::{Failed, Removed, Scheduled, Skipped, Success, UpForRetry, UpstreamFailed};

pub(super) fn any_dag() -> impl Strategy<Value = Dag> {
    random_dag::any_parts().prop_map(|(tasks, groups)| dag_of(tasks, groups))
}

/// Decides like dice: how attempts end and how long outputs are.
pub(super) struct Dice(pub(super) std::vec::IntoIter<u8>);

impl Dice {
    fn roll(&mut self, sides: u8) -> u8 {
        self.0.next().unwrap_or(0) % sides
    }
}

impl World {
    /// Workers end some of the attempts that are scheduled; gives how many there were.
    pub(super) fn work(&mut self, dice: &mut Dice) -> usize {
        let waiting: Vec<usize> =
            (0..self.instances.len()).filter(|place| self.instances[*place].state == Some(Scheduled)).collect();
        for &place in &waiting {
            let facts = &mut self.instances[place];
            let outcome = match dice.roll(8) {
                0..=3 => Success,
                4 => Skipped,
                5 => continue,
                _ => {
                    let retries = may_retry(self.dag.task(&facts.task_id), facts);
                    if retries { UpForRetry } else { Failed }
                }
            };
            facts.state = Some(outcome);
            (facts.start_date, facts.end_date) = (Some(self.now), Some(self.now));
            if outcome == Success {
                let (task, length) = (facts.task_id.clone(), u64::from(dice.roll(4)));
                self.xcoms.task_map_lengths.entry(task.clone()).or_insert(length);
                *self.xcoms.return_value_counts.entry(task).or_default() += 1;
            }
        }
        waiting.len()
    }

    /// A step, with everything that must hold of any step.
    pub(super) fn checked_step(&mut self) -> Step {
        let step = step(&self.view());
        let known: HashMap<Uuid, Option<TaskInstanceState>> =
            self.instances.iter().map(|facts| (facts.id, facts.state)).collect();
        let mut seen = HashSet::new();
        let starts = [(&step.schedule, Scheduled), (&step.succeed, Success)];
        let started =
            starts.into_iter().flat_map(|(list, to)| list.iter().map(move |start| (start.id, start.from, to)));
        let ended = step.end.iter().map(|end| (end.id, end.from, end.to));
        for (id, from, to) in started.chain(ended) {
            assert!(seen.insert(id), "a task instance changes once in a step");
            assert_eq!(known.get(&id), Some(&from), "it leaves the state it is in");
            assert!(is_legal_edge(from, Some(to)), "{from:?} → {to}");
            assert_ne!(from, Some(to));
        }
        for end in &step.end {
            assert!(matches!(end.to, Skipped | UpstreamFailed | Removed));
        }
        self.apply(&step);
        let identities: HashSet<_> = self.instances.iter().map(|facts| (&facts.task_id, facts.map_index)).collect();
        assert_eq!(identities.len(), self.instances.len(), "no task has a map index twice");
        if !step.again {
            let again = super::super::step(&self.view());
            assert!(again.is_idle(), "a second step finds something to do: {again:?}");
        }
        step
    }
}

/// The state of a run whose task instances have all ended, worked out another way than the step does.
fn expected_end(world: &World) -> DagRunState {
    let ignored = |task: &Task| task.is_teardown && !task.on_failure_fail_dagrun;
    let tasks: Vec<&Task> = world.dag.tasks().map(|(_, task)| task).collect();
    let counts = |task: &&&Task| {
        !ignored(task) && task.downstream_task_ids.iter().all(|next| world.dag.task(next).is_some_and(ignored))
    };
    let mut leaves: HashSet<&str> = tasks.iter().filter(counts).map(|task| task.task_id.as_str()).collect();
    if leaves.is_empty() {
        let ends = tasks.iter().filter(|task| task.downstream_task_ids.is_empty());
        leaves = ends.map(|task| task.task_id.as_str()).collect();
    }
    let failed = world
        .instances
        .iter()
        .any(|facts| leaves.contains(facts.task_id.as_str()) && matches!(facts.state, Some(Failed | UpstreamFailed)));
    if failed { DagRunState::Failed } else { DagRunState::Success }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_run_ends_as_its_task_instances_say(dag in any_dag(), dice in prop::collection::vec(any::<u8>(), 200)) {
        let mut world = World::new(dag);
        let mut dice = Dice(dice.into_iter());
        for _ in 0..400 {
            let step = world.checked_step();
            if world.run.state.is_finished() {
                break;
            }
            if !step.again && world.work(&mut dice) == 0 {
                // Nothing runs: time must be what the run waits for.
                prop_assert!(step.wake_at.is_some(), "the run waits for nothing");
                world.now = step.wake_at.unwrap_or(world.now).max(world.now);
            }
        }
        prop_assert!(world.run.state.is_finished(), "the run never ends");
        let all_ended = world.instances.iter().all(|facts| facts.state.is_some_and(TaskInstanceState::is_finished));
        if all_ended {
            prop_assert_eq!(world.run.state, expected_end(&world));
        } else {
            prop_assert_eq!(world.end.map(|end| end.reason), Some(RunEndReason::AllTasksDeadlocked));
        }
    }

    #[test]
    fn the_order_of_task_instances_does_not_matter(
        dag in any_dag(), dice in prop::collection::vec(any::<u8>(), 100), rounds in 0..6
    ) {
        let mut world = World::new(dag);
        let mut dice = Dice(dice.into_iter());
        for _ in 0..rounds {
            world.checked_step();
            world.work(&mut dice);
        }
        let forwards = step(&world.view());
        world.instances.reverse();
        let backwards = step(&world.view());
        // Whom a callback is told about may depend on the order, between equals.
        let outcome = |mut step: Step| {
            if let Some(end) = &mut step.end_run {
                end.relevant_task_instance = None;
            }
            step
        };
        prop_assert_eq!(outcome(forwards), outcome(backwards));
    }
}
