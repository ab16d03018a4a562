use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::dag::{Dag, DagSettings, Task};
use crate::scheduling::{RunFacts, RunView, TaskInstanceFacts, XComFacts};
use crate::state::{DagRunState, DagRunType, TaskInstanceState};
use crate::trigger_rule::TriggerRule;

fn now() -> DateTime<Utc> {
    Utc.timestamp_opt(1_700_000_000, 0).single().unwrap_or_default()
}

/// A run of a Dag of three tasks: `a` before `b`, and `c` on its own.
struct Fixture {
    dag: Dag,
    run: RunFacts,
    task_instances: Vec<TaskInstanceFacts>,
    surroundings: Surroundings,
}

impl Fixture {
    fn new(run_state: DagRunState) -> Self {
        let (mut a, b, c) = (Task::new("a"), Task::new("b"), Task::new("c"));
        a.downstream_task_ids.push("b".to_owned());
        let dag = Dag::new("d".to_owned(), DagSettings::default(), vec![a, b, c], Vec::new()).expect("a Dag");
        let run = RunFacts {
            run_id: "r".to_owned(),
            run_type: DagRunType::Manual,
            state: run_state,
            logical_date: None,
            start_date: Some(now()),
            is_first_of_backfill: false,
        };
        let instance = |(place, index)| TaskInstanceFacts::new(Uuid::from_u128(place), &dag, index, -1, None);
        let task_instances = (0..).zip(dag.tasks().map(|(index, _)| index)).map(instance).collect();
        let alive = Component { is_alive: true, last_heartbeat: Some(now()) };
        let surroundings = Surroundings {
            dag: DagFacts { max_active_runs: 1, max_active_tasks: 16, ..DagFacts::default() },
            run_after: now(),
            scheduler: alive,
            triggerer: alive,
            heartbeat_timeout: TimeDelta::seconds(300),
            ..Surroundings::default()
        };
        Self { dag, run, task_instances, surroundings }
    }

    /// Gives a task instance a state and says more about it.
    fn set(&mut self, place: usize, state: TaskInstanceState, attempt: Attempt) {
        self.task_instances[place].state = Some(state);
        self.surroundings.attempts.insert(self.task_instances[place].id, attempt);
    }

    fn with<T>(&self, look: impl FnOnce(&Explainer<'_>) -> T) -> T {
        let xcoms = XComFacts::default();
        let view = RunView {
            dag: &self.dag,
            run: &self.run,
            task_instances: &self.task_instances,
            xcoms: &xcoms,
            previous: None,
            max_retry_delay: TimeDelta::days(1),
            now: now(),
        };
        look(&Explainer::new(view, &self.surroundings))
    }

    fn explain(&self) -> Explanation {
        self.with(|explainer| explainer.run(0, 100))
    }

    fn run_codes(&self) -> Vec<&'static str> {
        self.explain().reasons.iter().map(Reason::code).collect()
    }

    fn codes(&self, task_id: &str) -> Vec<&'static str> {
        let told = self.with(|explainer| explainer.task_instance(task_id, -1)).expect("a task instance");
        let grouped = self.with(|explainer| explainer.task(task_id, 100)).expect("task instances");
        assert!(
            grouped.task_instances.iter().all(|group| group.reasons == told.reasons),
            "both ways to ask give the same answer"
        );
        told.reasons.iter().map(Reason::code).collect()
    }
}

fn pooled(pool: &str, pool_slots: i64) -> Attempt {
    Attempt { pool: pool.to_owned(), pool_slots, ..Attempt::default() }
}

#[test]
fn a_queued_run_tells_what_keeps_it() {
    let mut fixture = Fixture::new(DagRunState::Queued);
    assert_eq!((fixture.run_codes(), fixture.codes("a")), (vec!["ready"], vec!["run_queued"]));
    fixture.surroundings.queued_run = QueuedRun { running: 0, before: 1 };
    assert_eq!(fixture.run_codes(), ["max_active_runs"], "the run before it takes the only place");
    fixture.surroundings.queued_run = QueuedRun { running: 1, before: 0 };
    assert_eq!(fixture.run_codes(), ["max_active_runs"]);
    fixture.surroundings.backfill = Some(Backfill { id: 7, is_paused: true, max_active_runs: 2 });
    assert_eq!(fixture.run_codes(), ["backfill_paused"], "a backfill has a limit of its own");
    fixture.surroundings.queued_run.before = 1;
    assert_eq!(fixture.run_codes(), ["backfill_paused", "backfill_max_active_runs"]);
    fixture.surroundings.backfill = None;
    fixture.surroundings.queued_run = QueuedRun::default();
    fixture.surroundings.run_after = now() + TimeDelta::hours(1);
    fixture.surroundings.dag.is_paused = true;
    fixture.surroundings.scheduler.is_alive = false;
    assert_eq!(fixture.run_codes(), ["dag_paused", "run_after", "no_scheduler"]);
}

#[test]
fn a_paused_dag_starts_nothing_new() {
    let mut fixture = Fixture::new(DagRunState::Running);
    assert_eq!((fixture.run_codes(), fixture.codes("c")), (vec![], vec!["ready"]));
    fixture.surroundings.dag.is_paused = true;
    fixture.set(0, TaskInstanceState::Running, Attempt::default());
    assert_eq!(fixture.run_codes(), ["dag_paused"]);
    assert_eq!(fixture.codes("b"), ["dag_paused", "trigger_rule"]);
    assert_eq!(fixture.codes("a"), ["running"], "what runs goes on");
    fixture.task_instances[0].state = Some(TaskInstanceState::Failed);
    assert_eq!(fixture.codes("b"), ["trigger_rule", "ends_without_running"], "what cannot run ends all the same");
}

#[test]
fn without_a_scheduler_nothing_is_about_to_move() {
    let mut fixture = Fixture::new(DagRunState::Running);
    fixture.surroundings.scheduler.is_alive = false;
    assert_eq!((fixture.run_codes(), fixture.codes("c")), (vec!["no_scheduler"], vec!["no_scheduler"]));
}

#[test]
fn a_scheduled_task_instance_tells_every_limit_in_its_way() {
    let mut fixture = Fixture::new(DagRunState::Running);
    fixture.set(2, TaskInstanceState::Scheduled, pooled("p", 2));
    assert_eq!(fixture.codes("c"), ["pool_missing"]);
    let pool = Pool { slots: Some(1), ..Pool::default() };
    fixture.surroundings.pools.insert("p".to_owned(), pool.clone());
    assert_eq!(fixture.codes("c"), ["pool_too_small"]);
    fixture.surroundings.pools.insert("p".to_owned(), Pool { slots: Some(2), running: 1, ..pool });
    assert_eq!(fixture.codes("c"), ["pool_full"]);
    fixture.surroundings.pools.insert("p".to_owned(), Pool::default());
    assert_eq!(fixture.codes("c"), ["ready"], "no slots at all is no limit");
    fixture.surroundings.parallelism = Some(3);
    fixture.surroundings.active = Active { total: 3, in_run: 16, of_tasks: HashMap::new() };
    assert_eq!(fixture.codes("c"), ["parallelism", "max_active_tasks"]);
}

#[test]
fn a_task_that_limits_itself_tells_so() {
    let mut fixture = Fixture::new(DagRunState::Running);
    let mut c = fixture.dag.task("c").expect("a task").clone();
    (c.max_active_tis_per_dag, c.max_active_tis_per_dagrun) = (Some(2), Some(1));
    let tasks = vec![Task::new("a"), Task::new("b"), c];
    fixture.dag = Dag::new("d".to_owned(), DagSettings::default(), tasks, Vec::new()).expect("a Dag");
    fixture.surroundings.pools.insert("p".to_owned(), Pool::default());
    fixture.set(2, TaskInstanceState::Scheduled, pooled("p", 1));
    for (active, codes) in [
        ((1, 0), vec!["ready"]),
        ((2, 0), vec!["max_active_tis_per_dag"]),
        ((1, 1), vec!["max_active_tis_per_dagrun"]),
        ((2, 1), vec!["max_active_tis_per_dag", "max_active_tis_per_dagrun"]),
    ] {
        fixture.surroundings.active.of_tasks.insert("c".to_owned(), active);
        assert_eq!(fixture.codes("c"), codes, "{active:?}");
    }
}

#[test]
fn a_queued_task_instance_tells_who_could_take_it() {
    let mut fixture = Fixture::new(DagRunState::Running);
    let attempt = Attempt { queue: "q".to_owned(), messages_before: Some(0), ..Attempt::default() };
    fixture.set(2, TaskInstanceState::Queued, attempt.clone());
    assert_eq!(fixture.codes("c"), ["no_worker"]);
    fixture
        .surroundings
        .queues
        .insert("q".to_owned(), Queue { workers: 1, slots: 4, running: 4, last_heartbeat: None });
    assert_eq!(fixture.codes("c"), ["waits_for_worker"]);
    fixture.set(2, TaskInstanceState::Queued, Attempt { messages_before: None, ..attempt });
    assert_eq!(fixture.codes("c"), ["message_missing"]);
}

#[test]
fn what_is_beyond_the_queue_tells_whom_it_waits_for() {
    let mut fixture = Fixture::new(DagRunState::Running);
    fixture.set(2, TaskInstanceState::Running, Attempt { last_heartbeat: Some(now()), ..Attempt::default() });
    assert_eq!(fixture.codes("c"), ["running"]);
    let silent = Attempt { last_heartbeat: Some(now() - TimeDelta::seconds(200)), ..Attempt::default() };
    fixture.set(2, TaskInstanceState::Running, silent);
    assert_eq!(fixture.codes("c"), ["running", "silent"]);
    fixture.set(2, TaskInstanceState::Restarting, Attempt::default());
    assert_eq!(fixture.codes("c"), ["restarting"]);
    fixture.set(2, TaskInstanceState::Deferred, Attempt::default());
    assert_eq!(fixture.codes("c"), ["deferred"]);
    fixture.surroundings.triggerer.is_alive = false;
    assert_eq!(fixture.codes("c"), ["deferred", "no_triggerer"]);
    fixture.set(2, TaskInstanceState::AwaitingInput, Attempt::default());
    assert_eq!(fixture.codes("c"), ["awaiting_input"]);
    fixture.set(2, TaskInstanceState::Success, Attempt::default());
    let told = fixture.with(|explainer| explainer.task_instance("c", -1)).expect("a task instance");
    assert_eq!(told.reasons[0].code(), "ended");
    let grouped = fixture.with(|explainer| explainer.task("c", 100)).expect("task instances");
    assert!(grouped.task_instances.is_empty(), "what has ended does not wait");
    assert_eq!(fixture.with(|explainer| explainer.task("unknown", 100)), None);
}

#[test]
fn a_run_that_plugins_have_still_to_weigh_says_so() {
    let mut fixture = Fixture::new(DagRunState::Running);
    fixture.surroundings.unweighed = 2;
    assert_eq!(fixture.explain().reasons, [Reason::WeightsAwaited { run_id: "r".to_owned(), count: 2 }]);
    assert_eq!(fixture.codes("c"), ["weights_awaited"]);
    fixture.surroundings.unweighed = 0;
    assert_eq!(fixture.codes("c"), ["ready"]);
}

#[test]
fn many_task_instances_that_wait_for_the_same_are_told_of_once() {
    let mut fixture = Fixture::new(DagRunState::Running);
    let c = fixture.dag.index_of("c").expect("a task");
    fixture.task_instances.pop();
    for map_index in 0..10_000_i32 {
        let id = Uuid::from_u128(100 + u128::from(map_index.unsigned_abs()));
        let state = Some(TaskInstanceState::Scheduled);
        fixture.task_instances.push(TaskInstanceFacts::new(id, &fixture.dag, c, map_index, state));
        fixture.surroundings.attempts.insert(id, pooled("p", 1));
    }
    let explanation = fixture.explain();
    assert_eq!(explanation.total_entries, 3, "a, b, and all of c together");
    let groups = &explanation.task_instances;
    let group = groups.iter().find(|group| group.task_id == "c").expect("a group");
    assert_eq!((group.task_id.as_str(), group.count, group.map_indexes.len()), ("c", 10_000, 20));
    assert_eq!(explanation.states.iter().map(|count| count.count).sum::<u64>(), 10_002);
    let cut = fixture.with(|explainer| explainer.run(1, 1));
    assert_eq!((cut.task_instances.len(), cut.total_entries), (1, 3));
    assert_eq!(cut.task_instances[0].task_id, explanation.task_instances[1].task_id);
}

#[test]
fn a_reason_is_told_with_code_words_and_parameters() {
    let mut fixture = Fixture::new(DagRunState::Queued);
    fixture.surroundings.run_after = now() + TimeDelta::hours(1);
    let told = serde_json::to_value(fixture.explain()).expect("JSON");
    let expected = json!([{
        "code": "run_after",
        "message": "the run does not start before 2023-11-14T23:13:20Z",
        "until": "2023-11-14T23:13:20Z",
        "parameters": {"until": "2023-11-14T23:13:20Z"},
    }]);
    assert_eq!(told["reasons"], expected);
}

#[test]
fn every_code_is_its_own_and_documented() {
    let codes: HashSet<&str> = Reason::CODES.iter().copied().collect();
    assert_eq!(codes.len(), Reason::CODES.len());
    let document = include_str!("../../../docs/explain.md");
    let missing: Vec<&str> = codes.into_iter().filter(|code| !document.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "docs/explain.md does not tell of {missing:?}");
}

fn awaited(task_id: &str, states: &[(Option<TaskInstanceState>, u64)]) -> AwaitedTask {
    let states = states.iter().map(|(state, count)| StateCount { state: *state, count: *count }).collect();
    AwaitedTask { task_id: task_id.to_owned(), states }
}

#[test]
fn words_name_names_and_numbers() {
    use TaskInstanceState::{Running, Success};
    let holder = Holder {
        dag_id: "other".to_owned(),
        run_id: "r".to_owned(),
        task_id: "t".to_owned(),
        map_index: 3,
        state: Running,
        slots: 2,
        since: Some(now()),
    };
    for (reason, words) in [
        (
            Reason::MaxActiveRuns { dag_id: "d".to_owned(), limit: 1, running: 1, queued_before: 2 },
            "max_active_runs of Dag \"d\" is 1: 1 run is running, 2 runs are queued before this one",
        ),
        (
            Reason::TriggerRule {
                rule: TriggerRule::AllSuccess,
                upstream: 4,
                done: 1,
                tasks: vec![awaited("a", &[(None, 1), (Some(Running), 2)]), awaited("b", &[(Some(Success), 1)])],
                tasks_left_out: 1,
            },
            "trigger rule all_success: all upstream tasks must succeed; 1 of 4 upstream task instances ended: \"a\" (1 no \
             state, 2 running), \"b\" (success) and 1 more",
        ),
        (
            Reason::PoolFull {
                pool: "p".to_owned(),
                slots: 4,
                open: 1,
                wanted: 2,
                running: 3,
                queued: 0,
                deferred: 0,
                before: 1,
                holders: vec![holder],
            },
            "pool \"p\" has 1 of 4 slots open, and it wants 2; held by other r t[3] (2 slots, running since \
             2023-11-14T22:13:20Z) and others (1 slot); 1 scheduled task instance comes first",
        ),
        (
            Reason::RetryPeriod { until: now(), try_number: 1, max_tries: 2 },
            "attempt 1 of 3 failed: the next one does not start before 2023-11-14T22:13:20Z",
        ),
        (
            Reason::NoWorker { queue: "gpu".to_owned(), since: None, last_heartbeat: None, until: Some(now()) },
            "queued, but no worker that takes from queue \"gpu\" is alive; none was ever heard of; after \
             2023-11-14T22:13:20Z the scheduler queues it anew, and fails it in the end",
        ),
        (
            Reason::AwaitingInput {
                subject: Some("Deploy?".to_owned()),
                options: vec!["Yes".to_owned(), "No".to_owned()],
                assignees: Vec::new(),
                until: None,
            },
            "waits for anybody to answer \"Deploy?\" with \"Yes\", \"No\"",
        ),
        (Reason::Ready { before: 0 }, "nothing keeps it: it moves on at the next scheduling step"),
    ] {
        assert_eq!(reason.to_string(), words);
    }
}
