use super::*;
use crate::state::TaskInstanceState::{
    Deferred, Failed, Queued, Removed, Running, Scheduled, Skipped, Success, UpForReschedule, UpForRetry,
    UpstreamFailed,
};

fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}

#[test]
fn a_chain_runs_one_after_another() {
    let mut world = world("a>b>c", |_| {});
    for task in ["a", "b", "c"] {
        world.settle();
        assert_eq!(world.run.state, DagRunState::Running);
        world.finish(task, -1, Success);
    }
    world.settle();
    assert_eq!(world.end.map(|end| (end.state, end.reason)), Some((DagRunState::Success, RunEndReason::Success)));
    assert_eq!(world.end.and_then(|end| end.relevant_task_instance), Some(world.find("c", -1).id));
}

#[test]
fn a_dag_of_empty_operators_ends_in_one_step() {
    let world = world("a>b>c", |task| task.is_empty = true);
    let step = step(&world.view());
    assert_eq!(step.succeed.len(), 3);
    assert!(step.succeed.iter().all(|start| start.try_number == 1));
    assert_eq!(step.end_run.map(|end| end.state), Some(DagRunState::Success));
}

#[test]
fn an_empty_operator_with_a_callback_runs() {
    let world = world("a", |task| (task.is_empty, task.has_on_success_callback) = (true, true));
    assert_eq!(step(&world.view()).schedule.len(), 1);
}

#[test]
fn a_skip_goes_down_a_chain_at_once() {
    let mut world = world("a>b>c>d d:all_done", |_| {});
    world.settle();
    world.finish("a", -1, Skipped);
    world.settle();
    assert_eq!(world.state("b"), [(-1, Some(Skipped))]);
    assert_eq!(world.state("c"), [(-1, Some(Skipped))]);
    assert_eq!(world.state("d"), [(-1, Some(Scheduled))]);
}

#[test]
fn what_comes_first_decides_as_in_airflows_loop() {
    // In Airflow's first loop `d` sees only that `b` was skipped; that `c` cannot run shows a loop later.
    let mut world = world("a>c>d b>d", |_| {});
    world.settle();
    world.finish("a", -1, Failed);
    world.finish("b", -1, Skipped);
    world.settle();
    assert_eq!(world.state("c"), [(-1, Some(UpstreamFailed))]);
    assert_eq!(world.state("d"), [(-1, Some(Skipped))]);
    assert_eq!(world.end.map(|end| end.state), Some(DagRunState::Success), "only the leaf counts");
}

#[test]
fn a_retry_waits_for_its_time() {
    let mut world = world("a", |task| (task.retries, task.retry_delay) = (1, minutes(5)));
    world.settle();
    world.finish("a", -1, UpForRetry);
    let waiting = step(&world.view());
    assert!(waiting.is_idle());
    assert_eq!(waiting.wake_at, Some(start() + minutes(5)));
    assert_eq!(explain(&world.view(), world.instances[0].id), [Unmet::RetryPeriod { until: start() + minutes(5) }]);
    world.now += minutes(5);
    let ready = step(&world.view());
    assert_eq!(ready.schedule.first().map(|start| (start.from, start.try_number)), Some((Some(UpForRetry), 2)));
}

#[test]
fn a_reschedule_keeps_its_attempt() {
    let mut world = world("a", |task| (task.is_sensor, task.reschedule) = (true, true));
    world.settle();
    world.finish("a", -1, UpForReschedule);
    world.find("a", -1).next_reschedule_at = Some(start() + minutes(1));
    assert_eq!(step(&world.view()).wake_at, Some(start() + minutes(1)));
    world.now += minutes(1);
    assert_eq!(step(&world.view()).schedule.first().map(|start| start.try_number), Some(1));
}

#[test]
fn a_task_that_starts_with_a_trigger_is_deferred() {
    let trigger = crate::dag::StartTrigger {
        trigger_cls: "t".to_owned(),
        trigger_kwargs: None,
        next_method: "m".to_owned(),
        next_kwargs: None,
        timeout: None,
    };
    let mut world = world("a", |task| task.start_trigger = Some(Box::new(trigger.clone())));
    assert_eq!(step(&world.view()).defer.len(), 1);
    world.settle();
    assert_eq!(world.state("a"), [(-1, Some(Deferred))]);
    assert_eq!(world.run.state, DagRunState::Running);
}

#[test]
fn a_mapped_task_is_expanded_over_an_output() {
    let mut world = world("a>b>c", |task| {
        if task.task_id == "b" {
            task.expand_input = Some(output("a"));
        }
    });
    assert!(xcom_needs(&world.dag, &world.instances).is_empty(), "nothing is known before a has ended");
    world.settle();
    world.finish("a", -1, Success);
    assert_eq!(xcom_needs(&world.dag, &world.instances).task_map_lengths, ["a"]);
    world.xcoms.task_map_lengths.insert("a".to_owned(), 3);
    let first = step(&world.view());
    assert!(first.again && first.schedule.is_empty());
    assert_eq!(first.create.iter().map(|creation| creation.map_indexes.clone()).collect::<Vec<_>>(), [vec![1, 2]]);
    world.settle();
    assert_eq!(world.state("b"), [(0, Some(Scheduled)), (1, Some(Scheduled)), (2, Some(Scheduled))]);
    for map_index in 0..3 {
        world.settle();
        assert_eq!(world.state("c"), [(-1, None)]);
        world.finish("b", map_index, Success);
    }
    world.settle();
    assert_eq!(world.state("c"), [(-1, Some(Scheduled))]);
}

#[test]
fn an_empty_output_skips_and_an_unknown_one_fails() {
    let mapped = |length: Option<u64>| {
        let mut world = world("a>b", |task| {
            if task.task_id == "b" {
                task.expand_input = Some(output("a"));
            }
        });
        world.settle();
        world.finish("a", -1, Success);
        world.xcoms.task_map_lengths.extend(length.map(|length| ("a".to_owned(), length)));
        world.settle();
        (world.state("b"), world.run.state)
    };
    assert_eq!(mapped(Some(0)), (vec![(-1, Some(Skipped))], DagRunState::Success));
    assert_eq!(mapped(None), (vec![(-1, Some(UpstreamFailed))], DagRunState::Failed));
}

#[test]
fn a_mapped_task_fits_itself_to_a_new_length() {
    let mut world = world("a>b", |task| {
        if task.task_id == "b" {
            task.expand_input = Some(output("a"));
        }
    });
    world.settle();
    world.finish("a", -1, Success);
    world.xcoms.task_map_lengths.insert("a".to_owned(), 3);
    world.settle();
    // The user clears everything; now the output is shorter, then longer.
    for (length, expected) in [
        (2, vec![(0, Scheduled), (1, Scheduled), (2, Removed)]),
        (4, vec![(0, Scheduled), (1, Scheduled), (2, Removed), (3, Scheduled)]),
    ] {
        for facts in world.instances.iter_mut().filter(|facts| facts.task_id == "b") {
            if facts.state != Some(Removed) {
                facts.state = None;
            }
        }
        world.xcoms.task_map_lengths.insert("a".to_owned(), length);
        world.settle();
        let expected: Vec<_> = expected.into_iter().map(|(index, state)| (index, Some(state))).collect();
        assert_eq!(world.state("b"), expected);
    }
}

#[test]
fn instances_of_a_mapped_group_go_their_own_way() {
    let groups = vec![
        TaskGroup::root(),
        TaskGroup {
            group_id: "g".to_owned(),
            display_name: None,
            parent: Some(GroupIndex::ROOT),
            expand_input: Some(ExpandInput::ListOfDicts(ExpandArgument::Literal(2))),
        },
    ];
    let mut tasks = tasks("a>b>c c:all_done");
    tasks[0].group = GroupIndex(1);
    tasks[1].group = GroupIndex(1);
    let mut world = World::new(dag_of(tasks, groups));
    world.settle();
    world.finish("a", 0, Success);
    world.finish("a", 1, Failed);
    world.settle();
    assert_eq!(world.state("b"), [(0, Some(Scheduled)), (1, Some(UpstreamFailed))]);
    assert_eq!(world.state("c"), [(-1, None)]);
    world.finish("b", 0, Success);
    world.settle();
    assert_eq!(world.state("c"), [(-1, Some(Scheduled))]);
}

#[test]
fn what_was_skipped_before_is_skipped_again() {
    let mut world = world("branch>a branch>b", |task| task.can_skip_downstream = task.task_id == "branch");
    world.settle();
    world.finish("branch", -1, Success);
    assert_eq!(xcom_needs(&world.dag, &world.instances).skip_decisions, ["branch"]);
    let followed = SkipDecision::Followed(["a".to_owned()].into_iter().collect());
    world.xcoms.skip_decisions.insert(("branch".to_owned(), -1), followed);
    world.settle();
    assert_eq!((world.state("a"), world.state("b")), (vec![(-1, Some(Scheduled))], vec![(-1, Some(Skipped))]));
}

#[test]
fn a_run_waits_for_the_one_before() {
    let mut world = world("a>b", |task| (task.depends_on_past, task.wait_for_downstream) = (true, true));
    let before = |a: u64, b: u64| PreviousRunFacts {
        tasks: [("a", a), ("b", b)]
            .into_iter()
            .map(|(task, unsuccessful)| (task.to_owned(), PreviousTask { total: 1, unsuccessful }))
            .collect(),
        ..PreviousRunFacts::default()
    };
    for (previous, unmet) in [
        (PreviousRunFacts::default(), PreviousRunUnmet::NotRun),
        (before(1, 0), PreviousRunUnmet::Unsuccessful { count: 1 }),
        (before(0, 1), PreviousRunUnmet::DownstreamUnsuccessful),
    ] {
        world.previous = Some(previous);
        let waiting = step(&world.view());
        assert!(waiting.is_idle() && waiting.waits_for_previous_run, "never a deadlock");
        assert_eq!(explain(&world.view(), world.instances[0].id), [Unmet::PreviousRun(unmet)]);
    }
    world.previous = Some(before(0, 0));
    assert_eq!(step(&world.view()).schedule.len(), 1);
    world.previous = None;
    assert_eq!(step(&world.view()).schedule.len(), 1, "the first run of all waits for none");
}

#[test]
fn a_teardown_waits_for_its_scope_and_does_not_count() {
    let mut world = world("setup>work>rest setup>teardown work>teardown", |task| {
        task.is_setup = task.task_id == "setup";
        task.is_teardown = task.task_id == "teardown";
        if task.is_teardown {
            task.trigger_rule = TriggerRule::AllDoneSetupSuccess;
        }
    });
    world.settle();
    world.finish("setup", -1, Success);
    world.settle();
    world.finish("work", -1, Success);
    world.settle();
    world.finish("rest", -1, Success);
    world.finish("teardown", -1, Failed);
    world.settle();
    assert_eq!(world.run.state, DagRunState::Success);
}

#[test]
fn a_task_without_a_task_instance_upstream_is_a_deadlock() {
    let mut world = world("a>c b>c", |_| {});
    world.instances.retain(|facts| facts.task_id != "b");
    world.settle();
    world.finish("a", -1, Success);
    world.settle();
    let end = world.end;
    assert_eq!(end.map(|end| (end.state, end.reason)), Some((DagRunState::Failed, RunEndReason::AllTasksDeadlocked)));
    assert_eq!(end.and_then(|end| end.relevant_task_instance), Some(world.find("c", -1).id));
}

#[test]
fn what_is_at_work_is_no_deadlock() {
    let mut world = world("a>c b>c", |_| {});
    world.settle();
    world.finish("a", -1, Success);
    world.instances.retain(|facts| facts.task_id != "b");
    world.find("c", -1).state = Some(Scheduled);
    world.settle();
    assert_eq!(world.run.state, DagRunState::Running, "c may still come to an end");
    world.finish("c", -1, Success);
    world.settle();
    assert_eq!(world.run.state, DagRunState::Success);
}

#[test]
fn a_run_that_takes_too_long_fails() {
    let mut world = world("a>b", |_| {});
    world.dag.settings.dagrun_timeout = Some(minutes(10));
    world.settle();
    assert_eq!(step(&world.view()).wake_at, Some(start() + minutes(10)));
    world.find("a", -1).state = Some(Running);
    world.now += minutes(10);
    world.settle();
    assert_eq!(world.end.map(|end| end.reason), Some(RunEndReason::TimedOut));
    assert_eq!((world.state("a"), world.state("b")), (vec![(-1, Some(Skipped))], vec![(-1, Some(Skipped))]));
}

#[test]
fn a_task_that_left_the_dag_is_removed() {
    let mut world = world("a", |_| {});
    let id = world.new_id();
    let stranger = TaskInstanceFacts { id, task_id: "gone".to_owned(), ..world.instances[0].clone() };
    world.instances.push(stranger);
    assert_eq!(step(&world.view()).end, [StateChange { id, from: None, to: Removed, is_dated: false }]);
    let integrity = verify_integrity(&world.dag, &world.run, &world.instances, &world.xcoms);
    assert_eq!(integrity, Integrity::default(), "while the run is running the step removes it");
}

#[test]
fn a_run_follows_its_dag_to_a_new_version() {
    let mut world = world("a>b", |_| {});
    world.run.state = DagRunState::Queued;
    let [gone, back] = [world.new_id(), world.new_id()];
    let of = |id, task_id: &str, state| TaskInstanceFacts {
        state,
        task_id: task_id.to_owned(),
        ..TaskInstanceFacts::new(id, &world.dag, crate::dag::TaskIndex::new(0), -1, None)
    };
    let instances = [of(gone, "gone", Some(Success)), of(back, "a", Some(Removed))];
    let integrity = verify_integrity(&world.dag, &world.run, &instances, &world.xcoms);
    assert_eq!(integrity.remove, [(gone, Some(Success))]);
    assert_eq!(integrity.restore, [back]);
    assert_eq!(integrity.create.iter().map(|new| new.task.index()).collect::<Vec<_>>(), [1]);
}

#[test]
fn tasks_have_task_instances_between_their_dates() {
    let mut tasks = tasks("early late always");
    tasks[0].end_date = Some(start() - minutes(1));
    tasks[1].start_date = Some(start() + minutes(1));
    let world = World::new(dag_of(tasks, Vec::new()));
    assert_eq!(world.instances.iter().map(|facts| facts.task_id.as_str()).collect::<Vec<_>>(), ["always"]);
    let backfill = RunFacts { run_type: DagRunType::Backfill, ..world.run.clone() };
    assert_eq!(initial_task_instances(&world.dag, &backfill).len(), 3);
}

#[test]
fn only_a_running_run_is_scheduled() {
    let mut world = world("a", |_| {});
    world.run.state = DagRunState::Queued;
    assert_eq!(step(&world.view()), Step::default());
}

#[test]
fn what_has_started_is_left_alone() {
    let mut world = world("a>b", |_| {});
    world.find("a", -1).state = Some(Queued);
    assert!(step(&world.view()).is_idle());
}
