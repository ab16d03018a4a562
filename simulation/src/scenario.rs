//! A random installation: Dags, pools, limits, and how many of whom work on them.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use tradewind_model::dag::{Dag, DagSettings, Task};
use tradewind_model::scheduling::random_dag::any_parts;
use tradewind_model::timetable::{DagRunInfo, DateRange, TimeRestriction, Timetable, next_run};

use crate::dice::Dice;
use crate::world::{Millis, moment};

/// A Dag with what its row in `dag` says.
#[derive(Debug)]
pub(crate) struct DagPlan {
    pub(crate) dag: Dag,
    pub(crate) max_active_runs: i64,
    pub(crate) max_active_tasks: i64,
    pub(crate) has_task_limits: bool,
    pub(crate) timetable: Timetable,
    pub(crate) restriction: TimeRestriction,
    pub(crate) first_run: Option<DagRunInfo>,
}

/// A row of `slot_pool`.
#[derive(Debug)]
pub(crate) struct PoolPlan {
    pub(crate) name: String,
    pub(crate) slots: i64,
    pub(crate) include_deferred: bool,
}

/// An installation.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) dags: Vec<DagPlan>,
    pub(crate) pools: Vec<PoolPlan>,
    pub(crate) parallelism: i64,
    pub(crate) schedulers: usize,
    pub(crate) workers: usize,
    pub(crate) slots: usize,
    pub(crate) users: usize,
    /// Runs that each user triggers.
    pub(crate) manual_runs: usize,
    /// How long things go wrong.
    pub(crate) trouble: Millis,
}

/// `[scheduler] task_instance_heartbeat_timeout`.
pub(crate) const HEARTBEAT_TIMEOUT: TimeDelta = TimeDelta::seconds(60);

impl Scenario {
    pub(crate) fn random(dice: &mut Dice) -> Self {
        let pools: Vec<PoolPlan> = (0..dice.between(1, 3))
            .map(|number| PoolPlan {
                name: format!("pool_{number}"),
                slots: dice.between(1, 4),
                include_deferred: dice.per_mille(300),
            })
            .collect();
        let mut runner = runner(dice);
        let dags = (0..dice.between(1, 3)).map(|number| DagPlan::random(number, &pools, &mut runner, dice)).collect();
        Self {
            dags,
            pools,
            parallelism: dice.between(1, 8),
            schedulers: count(dice, 1, 4),
            workers: count(dice, 1, 4),
            slots: count(dice, 1, 4),
            users: count(dice, 0, 2),
            manual_runs: count(dice, 1, 3),
            trouble: dice.between(60, 900) * 1_000,
        }
    }
}

fn count(dice: &mut Dice, low: i64, high: i64) -> usize {
    usize::try_from(dice.between(low, high)).unwrap_or(0)
}

fn runner(dice: &mut Dice) -> TestRunner {
    let chance = TestRng::from_seed(RngAlgorithm::ChaCha, &dice.bytes());
    TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, chance)
}

impl DagPlan {
    fn random(number: i64, pools: &[PoolPlan], runner: &mut TestRunner, dice: &mut Dice) -> Self {
        let (mut tasks, groups) = any_parts().new_tree(runner).map(|tree| tree.current()).unwrap_or_default();
        let remembers = dice.per_mille(200);
        tasks.iter_mut().for_each(|task| furnish(task, pools, remembers, dice));
        let has_task_limits =
            tasks.iter().any(|task| task.max_active_tis_per_dag.or(task.max_active_tis_per_dagrun).is_some());
        let is_scheduled = dice.per_mille(600);
        let start = moment(0) - TimeDelta::minutes(dice.between(0, 3));
        let settings = DagSettings {
            start_date: is_scheduled.then_some(start),
            end_date: is_scheduled.then(|| moment(0) + TimeDelta::minutes(dice.between(0, 4))),
            catchup: dice.per_mille(800),
            dagrun_timeout: dice.per_mille(100).then(|| TimeDelta::seconds(dice.between(60, 900))),
            ..DagSettings::default()
        };
        let (max_active_tasks, max_active_runs) = (dice.between(1, 5), dice.between(1, 3));
        let restriction = restriction_of(&settings, &tasks);
        let timetable = timetable(is_scheduled, dice);
        let dag = Dag::new(format!("dag_{number}"), settings, tasks, groups);
        let dag = dag.unwrap_or_else(|error| panic!("a random Dag is none: {error}"));
        let first_run = first_run(&timetable, restriction, moment(0));
        Self { dag, max_active_runs, max_active_tasks, has_task_limits, timetable, restriction, first_run }
    }
}

/// Gives a task what decides when it may run.
fn furnish(task: &mut Task, pools: &[PoolPlan], remembers: bool, dice: &mut Dice) {
    let limit = |dice: &mut Dice| i32::try_from(dice.between(1, 2)).ok();
    let place = usize::try_from(dice.between(0, pools.len() as i64 - 1)).unwrap_or(0);
    task.pool.clone_from(&pools[place].name);
    task.pool_slots = i32::try_from(dice.between(1, pools[place].slots.min(2))).unwrap_or(1);
    task.priority_weight = i32::try_from(dice.between(1, 5)).unwrap_or(1);
    task.retry_delay = TimeDelta::seconds(dice.between(0, 30));
    task.retry_exponential_backoff = if dice.per_mille(200) { 2.0 } else { 0.0 };
    task.max_active_tis_per_dag = if dice.per_mille(250) { limit(dice) } else { None };
    task.max_active_tis_per_dagrun = if dice.per_mille(100) { limit(dice) } else { None };
    task.depends_on_past = remembers && dice.per_mille(500);
}

fn timetable(is_scheduled: bool, dice: &mut Dice) -> Timetable {
    if !is_scheduled {
        return Timetable::Null;
    }
    let expression = dice.pick(&["* * * * *", "*/2 * * * *"]);
    let class = dice.pick(&["interval.CronDataIntervalTimetable", "trigger.CronTriggerTimetable"]);
    let document = json!({
        "__type": format!("airflow.timetables.{}", class.unwrap_or_default()),
        "__var": {"expression": expression, "timezone": "UTC", "interval": 0.0, "run_immediately": true},
    });
    Timetable::from_serialized(&document).unwrap_or_else(|error| panic!("a timetable is none: {error}"))
}

/// As `scheduler/src/run_creation.rs` works it out.
fn restriction_of(settings: &DagSettings, tasks: &[Task]) -> TimeRestriction {
    let own = DateRange { start: settings.start_date, end: settings.end_date };
    let of_task = |task: &Task| DateRange {
        start: task.start_date.or(settings.start_date),
        end: task.end_date.or(settings.end_date),
    };
    TimeRestriction::of_dag(own, settings.catchup, tasks.iter().map(of_task))
}

fn first_run(timetable: &Timetable, restriction: TimeRestriction, now: DateTime<Utc>) -> Option<DagRunInfo> {
    next_run(timetable, restriction, None, now).unwrap_or_else(|error| panic!("no first run: {error}"))
}
