//! `scheduler/src/run_scheduling.rs` and `run_facts.rs`: what [`tradewind_model::scheduling::step`] says is written down.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use tradewind_model::dag::Dag;
use tradewind_model::scheduling::{
    self, PreviousRunFacts, PreviousTask, RunEnd, RunView, Start, Step, TaskInstanceFacts, XComFacts, xcom_needs,
};
use tradewind_model::state::{DagRunState, DagRunType, TaskInstanceState};

use super::Outcome;
use super::run_creation::set_exceeds_max_active_runs;
use crate::database::{Database, EndedBy, InstanceRow, Lock, Result, RunId, RunRow, Transaction};
use crate::metadata::dag_run::{facts, set_state_silently};
use crate::metadata::task_instance::{New, Transition, create, expand, transition_silently};
use crate::world::{Millis, Process, World};

/// Steps taken in one transaction.
const ROUNDS: usize = 8;

/// `[core] max_task_retry_delay`.
pub(crate) const MAX_RETRY_DELAY: TimeDelta = TimeDelta::days(1);

/// Takes every step that the run is ready for.
pub(super) async fn schedule(process: &Process, run: RunId) -> Result<Outcome> {
    let (world, now) = (&process.world, process.now());
    let transaction = Transaction::begin(process);
    transaction.statement("run.sql").await?;
    let held = || {
        let row = transaction.read(|database, id| database.runs.get(id, &run).cloned())?;
        (row.state == DagRunState::Running).then_some(row)
    };
    if held().is_none() || world.safeguards().step_holds_run && !transaction.try_lock(Lock::Run(run)) {
        return Ok(Outcome::default());
    }
    let Some(row) = held() else { return Ok(Outcome::default()) };
    let is_suspended =
        transaction.read(|database, id| database.dags.get(id, &row.dag).is_some_and(|dag| dag.is_paused));
    let mut outcome = Outcome::default();
    let held = HeldRun { world, transaction: &transaction, run, row, is_suspended, now };
    for _ in 0..ROUNDS {
        if !held.step(&mut outcome).await? {
            break;
        }
    }
    transaction.statement("last_scheduling_decision").await?;
    transaction.lock(Lock::Run(run)).await?;
    transaction.write(|database, id| {
        database.runs.change(id, &run, |row| row.last_scheduling_decision = Some(now));
    });
    transaction.commit().await?;
    Ok(outcome)
}

struct HeldRun<'a> {
    world: &'a World,
    transaction: &'a Transaction,
    run: RunId,
    row: RunRow,
    is_suspended: bool,
    now: DateTime<Utc>,
}

impl HeldRun<'_> {
    fn dag(&self) -> &Dag {
        &self.world.scenario().dags[self.row.dag].dag
    }

    async fn step(&self, outcome: &mut Outcome) -> Result<bool> {
        let dag = self.dag();
        self.transaction.statement("task_instances.sql").await?;
        let task_instances = self.transaction.read(|database, id| instances(database, id, self.run));
        let seen_at = self.world.now();
        self.transaction.statement("task_map_lengths.sql, return_value_counts.sql").await?;
        let xcoms = self.transaction.read(|database, id| xcoms(database, id, self.run, dag, &task_instances));
        let previous = if dag.depends_on_past() {
            self.transaction.statement("previous_run.sql, previous_tasks.sql").await?;
            self.transaction.read(|database, id| previous(database, id, &self.row, dag))
        } else {
            None
        };
        let view = RunView {
            dag,
            run: &facts(&self.row),
            task_instances: &task_instances,
            xcoms: &xcoms,
            previous: previous.as_ref(),
            max_retry_delay: MAX_RETRY_DELAY,
            now: self.now,
        };
        self.world.count("work:scheduling steps");
        let mut step = scheduling::step(&view);
        if self.is_suspended && self.world.safeguards().end_waits_for_step {
            step = step.while_suspended();
        }
        outcome.wake_at = step.wake_at;
        let is_whole = self.apply(&step, seen_at, outcome).await?;
        Ok(!is_whole || step.again && !step.is_idle())
    }

    async fn apply(&self, step: &Step, seen_at: Millis, outcome: &mut Outcome) -> Result<bool> {
        let (world, now) = (self.world, self.now);
        let mut transitions: Vec<Transition> = step
            .end
            .iter()
            .map(|end| {
                let is_dated = end.is_dated;
                Transition::new(end.id, &[end.from], Some(end.to)).with(move |row: &mut InstanceRow| {
                    if is_dated {
                        (row.facts.start_date, row.facts.end_date) = (Some(now), Some(now));
                    }
                })
            })
            .collect();
        if !self.is_suspended {
            transitions.extend(step.schedule.iter().map(scheduled));
            transitions.extend(step.succeed.iter().map(|start| succeeded(start, now)));
        }
        let changed = transition_silently(world, self.transaction, &transitions).await?;
        if changed.len() < transitions.len() && world.safeguards().end_waits_for_step {
            world.count("work:steps overtaken");
            return Ok(false);
        }
        expand(self.transaction, &step.expand).await?;
        let new: Vec<New> = step
            .create
            .iter()
            .flat_map(|creation| {
                let of = |map_index: &i32| New { task: creation.task, map_index: *map_index, state: creation.state };
                creation.map_indexes.iter().map(of)
            })
            .collect();
        create(world, self.transaction, self.row.dag, self.run, &new).await?;
        if let Some(end) = &step.end_run {
            self.end_run(end, seen_at, outcome).await?;
        }
        Ok(true)
    }

    async fn end_run(&self, end: &RunEnd, seen_at: Millis, outcome: &mut Outcome) -> Result<()> {
        let to = (end.state, Some(EndedBy::Scheduler(end.reason, seen_at)));
        let ended = set_state_silently(self.transaction, &[self.run], &[DagRunState::Running], to, self.now).await?;
        if ended.is_empty() {
            return Ok(());
        }
        outcome.ended = true;
        set_exceeds_max_active_runs(self.world, self.transaction, self.row.dag).await?;
        if self.dag().depends_on_past() {
            self.transaction.statement("running runs of the Dag").await?;
            outcome.successors = self.transaction.read(|database, id| {
                let rows = database.runs.rows(id);
                let of_dag =
                    rows.iter().filter(|(_, row)| row.dag == self.row.dag && row.state == DagRunState::Running);
                of_dag.map(|(run, _)| **run).collect()
            });
        }
        Ok(())
    }
}

fn scheduled(start: &Start) -> Transition {
    let try_number = start.try_number;
    Transition::new(start.id, &[start.from], Some(TaskInstanceState::Scheduled))
        .with(move |row: &mut InstanceRow| row.facts.try_number = try_number)
}

fn succeeded(start: &Start, now: DateTime<Utc>) -> Transition {
    let try_number = start.try_number;
    Transition::new(start.id, &[start.from], Some(TaskInstanceState::Success)).with(move |row: &mut InstanceRow| {
        row.facts.try_number = try_number;
        (row.facts.start_date, row.facts.end_date) = (Some(now), Some(now));
    })
}

/// `metadata/queries/run_facts/task_instances.sql`.
pub(crate) fn instances(database: &Database, transaction: u64, run: RunId) -> Vec<TaskInstanceFacts> {
    let rows = database.instances.rows(transaction);
    rows.iter().filter(|(_, row)| row.run == run).map(|(_, row)| row.facts.clone()).collect()
}

/// `metadata/queries/run_facts/task_map_lengths.sql` and `return_value_counts.sql`.
pub(crate) fn xcoms(
    database: &Database,
    transaction: u64,
    run: RunId,
    dag: &Dag,
    instances: &[TaskInstanceFacts],
) -> XComFacts {
    let needs = xcom_needs(dag, instances);
    let length = |task: &String| {
        let key = (run, task.clone());
        Some((task.clone(), *database.lengths.get(transaction, &key)?))
    };
    let outputs = database.outputs.rows(transaction);
    let count = |task: &String| {
        let of_task =
            outputs.iter().filter(|((of, name, map_index), ())| *of == run && name == task && *map_index >= 0);
        (task.clone(), of_task.count() as u64)
    };
    XComFacts {
        task_map_lengths: needs.task_map_lengths.iter().filter_map(length).collect(),
        return_value_counts: needs.return_value_counts.iter().map(count).collect(),
        skip_decisions: HashMap::new(),
    }
}

/// `metadata/queries/run_facts/previous_run.sql` and `previous_tasks.sql`.
pub(crate) fn previous(database: &Database, transaction: u64, row: &RunRow, dag: &Dag) -> Option<PreviousRunFacts> {
    let rows = database.runs.rows(transaction);
    let (run, before) = rows
        .into_iter()
        .filter(|(_, other)| other.dag == row.dag && other.logical_date < row.logical_date)
        .filter(|(_, other)| other.logical_date.is_some())
        .filter(|(_, other)| !dag.settings.catchup || other.run_type != DagRunType::Manual)
        .max_by_key(|(_, other)| other.logical_date)?;
    let mut tasks: HashMap<String, PreviousTask> = HashMap::new();
    for (_, instance) in database.instances.rows(transaction).iter().filter(|(_, instance)| instance.run == *run) {
        let task = tasks.entry(instance.facts.task_id.clone()).or_default();
        task.total += 1;
        let is_well = matches!(instance.state(), Some(TaskInstanceState::Success | TaskInstanceState::Skipped));
        task.unsuccessful += u64::from(!is_well);
    }
    let (run_id, logical_date) = (before.run_id.clone(), before.logical_date);
    Some(PreviousRunFacts { run_id, logical_date, tasks, seen_before: HashSet::new() })
}

/// Whether a running run waits for nothing but tasks of the run before that did not end well.
pub(super) fn waits_for_the_past(database: &Database, transaction: u64, run: RunId, row: &RunRow, dag: &Dag) -> bool {
    let Some(before) = previous(database, transaction, row, dag) else { return false };
    let rows = database.instances.rows(transaction);
    let mut open = rows.iter().map(|(_, row)| *row).filter(|instance| instance.run == run && !instance.is_finished());
    let is_kept = |task_id: &str| {
        let depends = dag.task(task_id).is_some_and(|task| task.depends_on_past);
        depends && before.tasks.get(task_id).is_none_or(|task| task.unsuccessful > 0)
    };
    let waits = |instance: &&InstanceRow| TaskInstanceState::SCHEDULEABLE.contains(&instance.state());
    open.clone().any(|instance| is_kept(&instance.facts.task_id)) && open.all(|instance| waits(&instance))
}
