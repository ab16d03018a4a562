//! Who else works on the database: users, the triggerer, the Dag processor; and fate.

use tradewind_model::state::{DagRunState, DagRunType, TaskInstanceState};
use tradewind_model::timetable::DagRunInfo;
use uuid::Uuid;

use crate::database::{
    DagId, EndedBy, InstanceRow, Lock, MessageRow, Notification, Result, RunId, RunRow, Transaction,
};
use crate::metadata::clear::clear;
use crate::metadata::dag_run::{create, set_state_silently};
use crate::metadata::task_instance::{Transition, hold, transition};
use crate::scheduler::run_creation::{active_runs, next_of};
use crate::world::{Millis, Process, ProcessId, World};

/// Starts a user, who triggers some runs and then meddles for as long as there is trouble.
pub(crate) fn start_user(world: &World, number: usize) {
    let process = Process { world: world.clone(), id: ProcessId::User(number) };
    let runs = world.scenario().manual_runs;
    world.spawn(process.id, world.now(), async move {
        for _ in 0..runs {
            process.world.dawdle(0, 20_000).await;
            let dag = any_dag(&process);
            while trigger(&process, dag).await.is_err() {}
        }
        while process.world.has_faults() {
            process.world.dawdle(500, 25_000).await;
            if process.world.has_faults() {
                // What fails is not tried again: a user sees the error.
                let _ = meddle(&process).await;
            }
        }
    });
}

fn any_dag(process: &Process) -> DagId {
    let last = process.world.scenario().dags.len() as i64 - 1;
    usize::try_from(process.world.dice(|dice| dice.between(0, last))).unwrap_or(0)
}

async fn trigger(process: &Process, dag: DagId) -> Result<()> {
    let transaction = Transaction::begin(process);
    let info = DagRunInfo::exact(process.now());
    if create(&process.world, &transaction, dag, &info, DagRunType::Manual).await?.is_some() {
        process.world.count("user:run triggered");
    }
    transaction.commit().await
}

async fn meddle(process: &Process) -> Result<()> {
    match process.world.dice(|dice| dice.between(0, 9)) {
        0..=2 => clear_some(process).await,
        3..=5 => mark_some(process).await,
        6 => mark_run(process).await,
        7 => trigger(process, any_dag(process)).await,
        _ => set_paused(process, any_dag(process), process.world.dice(|dice| dice.per_mille(400))).await,
    }
}

/// Some run, with some of its task instances, as the user sees them now.
fn look(process: &Process) -> Option<(RunId, RunRow, Vec<InstanceRow>)> {
    let world = &process.world;
    let runs: Vec<RunId> = world.database(|database| database.runs.committed().keys().copied().collect());
    let run = world.dice(|dice| dice.pick(&runs))?;
    let (row, instances) = world.database(|database| {
        let rows = database.instances.committed().values().filter(|row| row.run == run).cloned();
        (database.runs.committed().get(&run).cloned(), rows.collect::<Vec<_>>())
    });
    let some = instances.into_iter().filter(|_| world.dice(|dice| dice.per_mille(500))).collect();
    Some((run, row?, some))
}

async fn clear_some(process: &Process) -> Result<()> {
    let Some((run, _, some)) = look(process) else { return Ok(()) };
    process.world.count("user:cleared");
    process.trace(|| format!("clears {} task instances of run {run}", some.len()));
    let ids: Vec<Uuid> = some.iter().map(|row| row.facts.id).collect();
    clear(process, run, &ids).await
}

/// `mark` of `webserver/src/api_v2/task_instances/change.rs`.
async fn mark(process: &Process, instances: &[InstanceRow], to: TaskInstanceState) -> Result<()> {
    let now = process.now();
    let transaction = Transaction::begin(process);
    let wanted: Vec<Transition> = instances
        .iter()
        .map(|row| {
            Transition::new(row.facts.id, &[row.state()], Some(to)).with(move |row: &mut InstanceRow| {
                row.facts.start_date.get_or_insert(now);
                row.facts.end_date.get_or_insert(now);
            })
        })
        .collect();
    transition(&process.world, &transaction, &wanted).await?;
    transaction.commit().await
}

async fn mark_some(process: &Process) -> Result<()> {
    let Some((run, _, some)) = look(process) else { return Ok(()) };
    let states = [TaskInstanceState::Success, TaskInstanceState::Failed, TaskInstanceState::Skipped];
    let to = process.world.dice(|dice| dice.pick(&states)).unwrap_or(TaskInstanceState::Success);
    process.world.count("user:task instances marked");
    process.trace(|| format!("marks {} task instances of run {run} as {to}", some.len()));
    let outcome = mark(process, &some, to).await;
    process.world.observer(|observer| observer.marked.insert(run, process.world.now()));
    outcome
}

/// `end` of `webserver/src/api_v2/dag_runs/change.rs`, without its care for teardowns.
async fn mark_run(process: &Process) -> Result<()> {
    use TaskInstanceState::{AwaitingInput, Deferred, Failed, Running, Skipped, Success, UpForReschedule};
    let Some((run, ..)) = look(process) else { return Ok(()) };
    let is_success = process.world.dice(|dice| dice.per_mille(500));
    let (state, run_state) = if is_success { (Success, DagRunState::Success) } else { (Failed, DagRunState::Failed) };
    process.world.count("user:run marked");
    process.trace(|| format!("marks run {run} as {run_state}"));
    let transaction = Transaction::begin(process);
    transaction.statement("mark a run: hold it").await?;
    transaction.lock(Lock::Run(run)).await?;
    transaction.statement("mark a run: hold its task instances").await?;
    let keys = hold(&transaction, |row| row.run == run && !row.is_finished()).await?;
    let open: Vec<InstanceRow> = transaction
        .read(|database, id| keys.iter().filter_map(|key| database.instances.get(id, key).cloned()).collect());
    let works = |row: &InstanceRow| matches!(row.state(), Some(Running | Deferred | UpForReschedule | AwaitingInput));
    let wanted: Vec<Transition> = open
        .iter()
        .map(|row| Transition::new(row.facts.id, &[row.state()], Some(if works(row) { state } else { Skipped })))
        .collect();
    transition(&process.world, &transaction, &wanted).await?;
    let to = (run_state, Some(EndedBy::User));
    set_state_silently(&transaction, &[run], DagRunState::ALL, to, process.now()).await?;
    transaction.notify(Notification::DagRun(run));
    transaction.commit().await
}

async fn set_paused(process: &Process, dag: DagId, is_paused: bool) -> Result<()> {
    process.world.count(if is_paused { "user:Dag paused" } else { "user:Dag un-paused" });
    process.trace(|| format!("sets paused of dag_{dag}: {is_paused}"));
    let transaction = Transaction::begin(process);
    transaction.statement("pause").await?;
    transaction.lock(Lock::Dag(dag)).await?;
    transaction.write(|database, id| database.dags.change(id, &dag, |row| row.is_paused = is_paused));
    transaction.notify(Notification::Dag);
    transaction.commit().await
}

/// How long a user waits after the trouble: others may be at work still, and what went wrong has its effects.
const CALM: Millis = 100_000;

/// When the trouble is over, a user un-pauses everything and triggers some more runs.
pub(crate) fn start_tidying(world: &World) {
    let process = Process { world: world.clone(), id: ProcessId::User(usize::MAX) };
    world.spawn(process.id, world.now(), async move {
        process.world.until(process.world.now() + CALM).await;
        for dag in 0..process.world.scenario().dags.len() {
            while set_paused(&process, dag, false).await.is_err() {}
            for _ in 0..2 {
                while trigger(&process, dag).await.is_err() {}
            }
        }
        process.world.observer(|observer| observer.is_tidy = true);
    });
}

/// An official triggerer: fires triggers, and tells nobody.
pub(crate) fn start_triggerer(world: &World) {
    let process = Process { world: world.clone(), id: ProcessId::Triggerer };
    world.spawn(process.id, world.now(), async move {
        loop {
            process.world.dawdle(1_000, 30_000).await;
            let _ = fire(&process).await;
        }
    });
}

async fn fire(process: &Process) -> Result<()> {
    let deferred = Some(TaskInstanceState::Deferred);
    let ids: Vec<Uuid> = process.world.database(|database| {
        let rows = database.instances.committed().values().filter(|row| row.state() == deferred);
        rows.map(|row| row.facts.id).collect()
    });
    let wanted: Vec<Transition> =
        ids.into_iter().map(|id| Transition::new(id, &[deferred], Some(TaskInstanceState::Scheduled))).collect();
    let transaction = Transaction::begin(process);
    transition(&process.world, &transaction, &wanted).await?;
    transaction.commit().await
}

/// The Dag processor writes the schedule of each Dag anew (`metadata/queries/parse_result/facts.sql`, `upsert_dag.sql`)
/// from what it read before it held the row.
pub(crate) fn start_dag_processor(world: &World) {
    let process = Process { world: world.clone(), id: ProcessId::DagProcessor };
    world.spawn(process.id, world.now(), async move {
        loop {
            process.world.dawdle(20_000, 60_000).await;
            for dag in 0..process.world.scenario().dags.len() {
                let _ = refresh(&process, dag).await;
            }
        }
    });
}

async fn refresh(process: &Process, dag: DagId) -> Result<()> {
    let world = &process.world;
    let plan = &world.scenario().dags[dag];
    let transaction = Transaction::begin(process);
    transaction.statement("parse_result/facts.sql").await?;
    let (latest, active) = transaction.read(|database, id| {
        let rows = database.runs.rows(id);
        let of_dag = rows.into_iter().filter(|(_, run)| run.dag == dag && run.run_type == DagRunType::Scheduled);
        (of_dag.max_by_key(|(_, run)| run.logical_date).map(|(_, run)| run.clone()), active_runs(database, id, dag))
    });
    let next = match latest {
        Some(run) => {
            let last = DagRunInfo {
                run_after: run.run_after,
                data_interval: run.data_interval,
                partition_date: None,
                partition_key: None,
            };
            next_of(world, dag, &last, process.now())
        }
        None => plan.first_run.clone(),
    };
    let exceeds = plan.timetable.can_be_scheduled() && active >= plan.max_active_runs;
    transaction.statement("parse_result/upsert_dag.sql").await?;
    transaction.lock(Lock::Dag(dag)).await?;
    transaction.write(|database, id| {
        database.dags.change(id, &dag, |row| {
            row.next = next;
            row.exceeds_max_non_backfill = exceeds;
        });
    });
    transaction.notify(Notification::Dag);
    transaction.commit().await
}

/// Fate: kills, stops and restarts processes, sets clocks, loses and repeats messages.
pub(crate) fn start_fate(world: &World) {
    let process = Process { world: world.clone(), id: ProcessId::Environment };
    world.spawn(ProcessId::Environment, world.now(), async move {
        while process.world.has_faults() {
            process.world.dawdle(500, 20_000).await;
            if process.world.has_faults() {
                strike(&process.world);
            }
        }
    });
}

fn any_process(world: &World) -> ProcessId {
    let scenario = world.scenario();
    let number = |count: usize| usize::try_from(world.dice(|dice| dice.between(0, count as i64 - 1))).unwrap_or(0);
    if world.dice(|dice| dice.per_mille(500)) {
        ProcessId::Scheduler(number(scenario.schedulers))
    } else {
        ProcessId::Worker(number(scenario.workers))
    }
}

fn strike(world: &World) {
    match world.dice(|dice| dice.between(0, 9)) {
        0..=1 => {
            world.count("fault:process killed");
            let process = any_process(world);
            world.trace(|| format!("{process:?} is killed"));
            world.kill(process);
        }
        2..=3 => {
            world.count("fault:process stopped for a while");
            let (process, until) = (any_process(world), world.now() + world.dice(|dice| dice.between(1_000, 120_000)));
            world.trace(|| format!("{process:?} stops until {} s", until / 1000));
            world.pause(process, until);
        }
        4 => {
            world.count("fault:clock set");
            let (process, skew) = (any_process(world), world.dice(|dice| dice.between(-600_000, 600_000)));
            world.trace(|| format!("the clock of {process:?} is off by {skew} ms"));
            world.set_skew(process, skew);
        }
        5..=6 => lose_message(world),
        7 => delay_message(world),
        _ => repeat_message(world),
    }
}

fn any_message(world: &World) -> Option<Uuid> {
    let messages: Vec<Uuid> = world.database(|database| database.outbox.committed().keys().copied().collect());
    world.dice(|dice| dice.pick(&messages))
}

/// Fate writes to the outbox in a transaction of its own that nothing can stop.
fn write_message(world: &World, message: Uuid, row: Option<MessageRow>) {
    let number = world.number();
    world.database(|database| {
        database.outbox.write(number, message, row);
        database.commit_by_fate(number);
    });
}

fn lose_message(world: &World) {
    let Some(message) =
        any_message(world).filter(|message| !world.database(|database| database.is_held(Lock::Message(*message))))
    else {
        return;
    };
    world.count("fault:message lost");
    world.trace(|| format!("message {message} is lost"));
    world.observer(|observer| observer.lost.insert(message));
    write_message(world, message, None);
}

fn delay_message(world: &World) {
    let Some(message) =
        any_message(world).filter(|message| !world.database(|database| database.is_held(Lock::Message(*message))))
    else {
        return;
    };
    world.count("fault:message delayed");
    let visible_at = world.now() + world.dice(|dice| dice.between(1_000, 90_000));
    write_message(world, message, Some(MessageRow { priority_weight: 1, visible_at }));
}

/// A message comes again that was delivered before, whatever became of its task instance.
fn repeat_message(world: &World) {
    let ids: Vec<Uuid> = world.database(|database| {
        let rows = database.instances.committed().values();
        rows.map(|row| row.facts.id).filter(|id| !database.is_held(Lock::Message(*id))).collect()
    });
    let Some(id) = world.dice(|dice| dice.pick(&ids)) else { return };
    world.count("fault:message repeated");
    world.trace(|| format!("message {id} comes again"));
    write_message(world, id, Some(MessageRow { priority_weight: 1, visible_at: 0 }));
}

/// Starts anew what was killed, after a while.
pub(crate) fn start_keeper(world: &World) {
    let keeper = world.clone();
    world.spawn(ProcessId::Environment, world.now(), async move {
        loop {
            let scenario = keeper.scenario();
            for number in 0..scenario.schedulers {
                if !keeper.is_alive(ProcessId::Scheduler(number)) {
                    crate::scheduler::start(
                        &keeper,
                        number,
                        keeper.now() + keeper.dice(|dice| dice.between(0, 30_000)),
                    );
                }
            }
            for number in 0..scenario.workers {
                if !keeper.is_alive(ProcessId::Worker(number)) {
                    crate::worker::start(&keeper, number, keeper.now() + keeper.dice(|dice| dice.between(0, 30_000)));
                }
            }
            for number in 0..scenario.users {
                if keeper.has_faults() && !keeper.is_alive(ProcessId::User(number)) {
                    start_user(&keeper, number);
                }
            }
            if !keeper.is_alive(ProcessId::Triggerer) {
                start_triggerer(&keeper);
            }
            if !keeper.is_alive(ProcessId::DagProcessor) {
                start_dag_processor(&keeper);
            }
            keeper.until(keeper.now() + 1_000).await;
        }
    });
}
