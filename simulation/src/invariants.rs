//! The invariants of `ARCHITECTURE.md`, each a function, checked on what is committed after every commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tradewind_model::dag::{Dag, Task};
use tradewind_model::limits::Room;
use tradewind_model::scheduling::RunEndReason;
use tradewind_model::state::{DagRunState, DagRunType, TaskInstanceState};
use uuid::Uuid;

use crate::database::{Changes, Database, EndedBy, InstanceRow, RowId, RunId, RunRow};
use crate::scheduler;
use crate::world::{Millis, World};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// I1: at most one live attempt per task instance.
    OneAttempt,
    /// I2: only legal state edges.
    LegalEdges,
    /// I3: no limit is exceeded.
    Limits,
    /// I4: a ready task instance never waits while its own limits have room.
    NoStarvation,
    /// I5: every queued task instance has a message.
    Messages,
    /// I6: a report that was accepted is durable.
    DurableReports,
    /// I7: a run's state is a function of its task instances.
    RunState,
    /// I8: a timetable is strictly increasing.
    Timetable,
    /// When nothing goes wrong any more, everything ends.
    Termination,
}

/// An invariant that does not hold, and how that shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// What was seen.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(invariant: Invariant, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.what)
    }
}

/// How long a task instance may wait while its limits have room: some polls of the schedulers.
const STARVATION: Millis = 4 * scheduler::POLL_INTERVAL;

/// How long what went wrong may have its effects: locks of dead clients, slow statements, processes that start again.
const RECOVERY: Millis = 90_000;

/// What cannot be read from the tables.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    /// Processes that run an attempt.
    live: BTreeMap<u64, Uuid>,
    /// Attempts whose task began to run and did not pause since.
    begun: BTreeSet<Uuid>,
    /// Every state that an attempt left `running` for, by commit.
    left: BTreeSet<(Uuid, TaskInstanceState)>,
    /// What was answered to attempts.
    accepted: Vec<(Uuid, TaskInstanceState)>,
    /// Messages that fate took away.
    pub(crate) lost: BTreeSet<Uuid>,
    /// Whether everything that was to happen after the trouble has happened.
    pub(crate) is_tidy: bool,
    /// When users last marked task instances of a run.
    pub(crate) marked: BTreeMap<RunId, Millis>,
    /// Since when a task instance could be queued.
    ready_since: BTreeMap<RowId, Millis>,
}

impl Observer {
    /// A task begins to run in a process (invariant I1).
    pub(crate) fn process_started(&mut self, pid: u64, id: Uuid) -> Option<Violation> {
        let twin = self.live.iter().find(|(_, other)| **other == id).map(|(pid, _)| *pid);
        self.live.insert(pid, id);
        if let Some(twin) = twin {
            return Some(Violation::new(
                Invariant::OneAttempt,
                format!("attempt {id} runs in processes {twin} and {pid}"),
            ));
        }
        let is_new = self.begun.insert(id);
        (!is_new).then(|| Violation::new(Invariant::OneAttempt, format!("attempt {id} began to run a second time")))
    }

    pub(crate) fn process_ended(&mut self, pid: u64) {
        self.live.remove(&pid);
    }

    /// A report was answered with success.
    pub(crate) fn accepted(&mut self, id: Uuid, state: TaskInstanceState) {
        self.accepted.push((id, state));
    }
}

/// Checks everything after a commit.
pub(crate) fn check(world: &World, changes: &Changes) {
    follow(world, changes);
    let checks = [limits, messages, durable_reports, run_states, timetables];
    let violation = world.database(|database| checks.iter().find_map(|check| check(world, database, changes)));
    if let Some(violation) = violation {
        world.fail(violation);
    }
    if world.quiet_for() > RECOVERY
        && let Some(violation) = no_starvation(world)
    {
        world.fail(violation);
    }
}

/// Takes note of what the commit says about attempts.
fn follow(world: &World, changes: &Changes) {
    for (_, before, after) in &changes.instances {
        let Some(before) = before else { continue };
        let state = after.as_ref().and_then(InstanceRow::state);
        if before.state() != Some(TaskInstanceState::Running) {
            continue;
        }
        world.observer(|observer| {
            if let Some(state) = state {
                observer.left.insert((before.facts.id, state));
            }
            if matches!(state, Some(TaskInstanceState::Deferred | TaskInstanceState::UpForReschedule)) {
                observer.begun.remove(&before.facts.id);
            }
        });
    }
    for (run, before, after) in &changes.runs {
        let state = |row: &Option<RunRow>| row.as_ref().map(|row| row.state);
        if let Some(row) = after.as_ref().filter(|row| row.state.is_finished() && state(before) != Some(row.state)) {
            let by = match row.ended_by {
                Some(EndedBy::Scheduler(reason, _)) => reason.as_str(),
                Some(EndedBy::User) | None => "by a user",
            };
            world.count(&format!("end:{} ({by})", row.state));
            world.trace(|| format!("        run {run} ends as {} ({by})", row.state));
        }
    }
}

/// I3: no limit is exceeded.
fn limits(world: &World, database: &Database, _: &Changes) -> Option<Violation> {
    let exceeded = |what: String| Some(Violation::new(Invariant::Limits, what));
    let room: Room = scheduler::room(world, database);
    if room.parallelism < 0 {
        return exceeded(format!("parallelism by {}", -room.parallelism));
    }
    if let Some((pool, open)) = room.pools.iter().filter(|(_, open)| **open < 0).min() {
        return exceeded(format!("{pool} by {}", -open));
    }
    let instances = database.instances.committed();
    for (id, plan) in world.scenario().dags.iter().enumerate() {
        let runs = database.runs.committed().iter().filter(|(_, run)| run.dag == id);
        let running: Vec<RunId> =
            runs.filter(|(_, run)| run.state == DagRunState::Running).map(|(run, _)| *run).collect();
        if running.len() as i64 > plan.max_active_runs {
            return exceeded(format!(
                "max_active_runs of {}: {} of {}",
                plan.dag.dag_id,
                running.len(),
                plan.max_active_runs
            ));
        }
        let mut by_run: BTreeMap<RunId, i64> = BTreeMap::new();
        let mut by_task: BTreeMap<&str, i32> = BTreeMap::new();
        let mut by_both: BTreeMap<(RunId, &str), i32> = BTreeMap::new();
        for row in instances.values().filter(|row| row.dag == id && row.is_active()) {
            *by_run.entry(row.run).or_default() += 1;
            *by_task.entry(&row.facts.task_id).or_default() += 1;
            *by_both.entry((row.run, &row.facts.task_id)).or_default() += 1;
        }
        if let Some((run, active)) = by_run.iter().find(|(_, active)| **active > plan.max_active_tasks) {
            return exceeded(format!("max_active_tasks of {} by run {run}: {active}", plan.dag.dag_id));
        }
        let limit = |task: &str, of: fn(&Task) -> Option<i32>| plan.dag.task(task).and_then(of).unwrap_or(i32::MAX);
        if let Some((task, active)) =
            by_task.iter().find(|(task, active)| **active > limit(task, |task| task.max_active_tis_per_dag))
        {
            return exceeded(format!("max_active_tis_per_dag of {task}: {active}"));
        }
        let per_run = |task: &str| limit(task, |task| task.max_active_tis_per_dagrun);
        if let Some(((run, task), active)) = by_both.iter().find(|((_, task), active)| **active > per_run(task)) {
            return exceeded(format!("max_active_tis_per_dagrun of {task} in run {run}: {active}"));
        }
    }
    None
}

/// I5: every queued task instance has a message, unless fate took it.
fn messages(world: &World, database: &Database, _: &Changes) -> Option<Violation> {
    let outbox = database.outbox.committed();
    let queued = database.instances.committed().values().filter(|row| row.state() == Some(TaskInstanceState::Queued));
    let missing = queued.map(|row| row.facts.id).find(|id| !outbox.contains_key(id));
    let missing = missing.filter(|id| !world.observer(|observer| observer.lost.contains(id)))?;
    Some(Violation::new(Invariant::Messages, format!("queued task instance {missing} has no message")))
}

/// I6: what was answered is committed.
fn durable_reports(world: &World, _: &Database, _: &Changes) -> Option<Violation> {
    world.observer(|observer| {
        let lacking = observer.accepted.iter().find(|report| !observer.left.contains(report)).copied();
        observer.accepted.clear();
        let (id, state) = lacking?;
        Some(Violation::new(Invariant::DurableReports, format!("{state} of {id} was accepted, but never committed")))
    })
}

/// I7: a run that the scheduler ended has the state that its task instances give.
fn run_states(world: &World, database: &Database, changes: &Changes) -> Option<Violation> {
    changes.runs.iter().find_map(|(run, _, after)| {
        let row = after.as_ref()?;
        let Some(EndedBy::Scheduler(reason, seen_at)) = row.ended_by else { return None };
        let is_remarked = world.observer(|observer| observer.marked.get(run).is_some_and(|at| *at >= seen_at));
        let dag = &world.scenario().dags[row.dag].dag;
        let instances: Vec<&InstanceRow> =
            database.instances.committed().values().filter(|instance| instance.run == *run).collect();
        let wrong = |what: String| {
            Some(Violation::new(Invariant::RunState, format!("run {run} ended as {}, but {what}", row.state)))
        };
        let open = instances.iter().find(|instance| !instance.is_finished());
        match (open, reason) {
            (Some(_), RunEndReason::AllTasksDeadlocked) => {
                let works = |instance: &&&InstanceRow| {
                    instance.is_active() || instance.state() == Some(TaskInstanceState::Scheduled)
                };
                instances
                    .iter()
                    .find(works)
                    .and_then(|instance| wrong(format!("{} is at work", instance.facts.task_id)))
            }
            (Some(open), _) => {
                let state = crate::metadata::task_instance::name(open.state());
                wrong(format!("{} [{}] is {state}", open.facts.task_id, open.facts.map_index))
            }
            (None, RunEndReason::TimedOut) => {
                (row.state != DagRunState::Failed).then(|| wrong("it timed out".to_owned()))?
            }
            // A user marked one that had ended, as if after the run's end.
            (None, _) if is_remarked => None,
            (None, _) => {
                let expected = state_of(dag, &instances);
                (row.state != expected).then(|| wrong(format!("its task instances make it {expected}")))?
            }
        }
    })
}

/// The state of a run whose task instances have all ended, worked out another way than the step does.
fn state_of(dag: &Dag, instances: &[&InstanceRow]) -> DagRunState {
    let is_ignored = |task: &Task| task.is_teardown && !task.on_failure_fail_dagrun;
    let ids = |is_leaf: &dyn Fn(&Task) -> bool| -> BTreeSet<&str> {
        dag.tasks().filter(|(_, task)| is_leaf(task)).map(|(_, task)| task.task_id.as_str()).collect()
    };
    let ends_in_ignored =
        |task: &Task| task.downstream_task_ids.iter().all(|next| dag.task(next).is_some_and(is_ignored));
    let mut leaves = ids(&|task| !is_ignored(task) && ends_in_ignored(task));
    if leaves.is_empty() {
        leaves = ids(&|task| task.downstream_task_ids.is_empty());
    }
    let has_failed = instances.iter().any(|instance| {
        leaves.contains(instance.facts.task_id.as_str())
            && matches!(instance.state(), Some(TaskInstanceState::Failed | TaskInstanceState::UpstreamFailed))
    });
    if has_failed { DagRunState::Failed } else { DagRunState::Success }
}

/// I8: the runs of a timetable follow each other, and none comes twice.
fn timetables(_: &World, database: &Database, changes: &Changes) -> Option<Violation> {
    let is_scheduled = |row: &RunRow| row.run_type == DagRunType::Scheduled;
    changes.runs.iter().filter(|(_, before, _)| before.is_none()).find_map(|(run, _, after)| {
        let row = after.as_ref().filter(|row| is_scheduled(row))?;
        let others = database.runs.committed().iter().filter(|(other, _)| *other != run);
        let mut earlier = others.filter(|(_, other)| other.dag == row.dag && is_scheduled(other));
        let (other, _) = earlier.find(|(_, other)| {
            let overlaps = other.data_interval.zip(row.data_interval).is_some_and(|(other, own)| own.start < other.end);
            row.run_after <= other.run_after || row.logical_date <= other.logical_date || overlaps
        })?;
        Some(Violation::new(Invariant::Timetable, format!("run {run} does not come after run {other}")))
    })
}

/// I4: since when could each scheduled task instance have been queued?
fn no_starvation(world: &World) -> Option<Violation> {
    let now = world.now();
    let ready = world.database(|database| scheduler::ready(world, database));
    world.observer(|observer| {
        observer.ready_since.retain(|row, _| ready.contains_key(row));
        for row in ready.keys() {
            observer.ready_since.entry(*row).or_insert(now);
        }
        let (row, since) = observer.ready_since.iter().find(|(_, since)| now - **since > STARVATION)?;
        let what = format!("{} has had room for {} s, but stays scheduled", ready[row], (now - since) / 1000);
        Some(Violation::new(Invariant::NoStarvation, what))
    })
}

/// What keeps a simulation that has settled from being over; `None` when everything has ended.
pub(crate) fn unfinished(world: &World) -> Option<String> {
    if !world.observer(|observer| observer.is_tidy) {
        return Some("users are at work".to_owned());
    }
    world.database(|database| {
        let instances = database.instances.committed();
        for (run, row) in database.runs.committed() {
            let open = instances.values().filter(|instance| instance.run == *run && !instance.is_finished());
            let open: Vec<String> = open.map(describe).collect();
            if !row.state.is_finished() && !scheduler::waits_for_the_past(world, database, *run) {
                return Some(format!("run {run} of dag_{} is {}: {}", row.dag, row.state, open.join(", ")));
            }
            let works = |instance: &&InstanceRow| instance.run == *run && instance.is_active();
            if row.state.is_finished()
                && let Some(instance) = instances.values().find(works)
            {
                return Some(format!("run {run} is {}, but {}", row.state, describe(instance)));
            }
        }
        scheduler::missing_run(world, database)
    })
}

fn describe(row: &InstanceRow) -> String {
    let state = crate::metadata::task_instance::name(row.state());
    format!("{} [{}] is {state}", row.facts.task_id, row.facts.map_index)
}
