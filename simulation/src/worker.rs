//! `worker/src/`: takes attempts from the queue, keeps them alive, reports how they end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use chrono::TimeDelta;
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use crate::database::{InstanceRow, Result, RunId, Transaction};
use crate::metadata::attempt::{self, Accepted, Refused, Report};
use crate::metadata::queue;
use crate::scheduler::Ear;
use crate::world::{Millis, Process, ProcessId, World};

/// `[tradewind] worker_poll_interval`.
const POLL_INTERVAL: Millis = 5_000;

/// `[workers] min_heartbeat_interval`.
const HEARTBEAT_INTERVAL: Millis = 5_000;

/// How long the writing of a final state is tried again.
const WRITE_PATIENCE: Millis = 300_000;

/// The attempts that run, with the process of each and whether it was told to end.
type Attempts = Rc<RefCell<BTreeMap<Uuid, Attempt>>>;

struct Attempt {
    pid: Option<u64>,
    actor: u64,
    is_revoked: bool,
}

#[derive(Clone)]
struct Worker {
    process: Process,
    attempts: Attempts,
    /// The actor that takes attempts.
    taker: u64,
}

/// Starts a worker.
pub(crate) fn start(world: &World, number: usize, at: Millis) {
    let process = Process { world: world.clone(), id: ProcessId::Worker(number) };
    world.spawn(process.id, at, run(process));
}

async fn run(process: Process) {
    let world = process.world.clone();
    let ear = Ear::open(&world);
    let worker = Worker { process: process.clone(), attempts: Attempts::default(), taker: world.current() };
    process.spawn(beat(worker.clone()));
    let slots = world.scenario().slots;
    loop {
        let free = slots.saturating_sub(worker.attempts.borrow().len());
        let taken = worker.take(free).await.unwrap_or_default();
        let may_be_more = free > 0 && taken.len() == free;
        for id in taken {
            worker.attempts.borrow_mut().insert(id, Attempt { pid: None, actor: 0, is_revoked: false });
            process.spawn(supervise(worker.clone(), id));
        }
        if may_be_more && worker.attempts.borrow().len() < slots {
            continue;
        }
        let before = worker.attempts.borrow().len();
        let deadline = world.now() + POLL_INTERVAL;
        let has_room = before < slots;
        world.wait_for(deadline, || worker.attempts.borrow().len() < before || has_room && ear.has_heard()).await;
        ear.take();
    }
}

impl Worker {
    async fn take(&self, free: usize) -> Result<Vec<Uuid>> {
        if free == 0 {
            return Ok(Vec::new());
        }
        let transaction = Transaction::begin(&self.process);
        let taken = queue::claim(&self.process, &transaction, free).await?;
        transaction.commit().await?;
        Ok(taken)
    }
}

/// `worker/src/heartbeat.rs`: who is not alive any more is told to end.
async fn beat(worker: Worker) {
    let world = worker.process.world.clone();
    loop {
        world.until(world.now() + HEARTBEAT_INTERVAL).await;
        let due: Vec<(Uuid, u64)> =
            worker.attempts.borrow().iter().filter_map(|(id, attempt)| Some((*id, attempt.pid?))).collect();
        if due.is_empty() {
            continue;
        }
        let Ok(kept) = attempt::heartbeats(&worker.process, &due).await else { continue };
        let mut told = Vec::new();
        for (id, attempt) in &mut *worker.attempts.borrow_mut() {
            if due.iter().any(|(beaten, _)| beaten == id) && !kept.contains(id) {
                attempt.is_revoked = true;
                told.push(attempt.actor);
            }
        }
        told.into_iter().for_each(|actor| world.wake(actor));
    }
}

/// Removes an attempt when its supervision ends, however it ends.
struct Supervision {
    worker: Worker,
    id: Uuid,
    pid: u64,
}

impl Drop for Supervision {
    fn drop(&mut self) {
        let world = &self.worker.process.world;
        world.observer(|observer| observer.process_ended(self.pid));
        self.worker.attempts.borrow_mut().remove(&self.id);
        world.wake(self.worker.taker);
    }
}

/// `worker/src/attempt.rs`.
async fn supervise(worker: Worker, id: Uuid) {
    let process = worker.process.clone();
    let world = process.world.clone();
    let supervision = Supervision { pid: world.number(), worker, id };
    world.count("work:attempts");
    world.dawdle(1, 200).await;
    let row =
        world.database(|database| database.instances.committed().values().find(|row| row.facts.id == id).cloned());
    // The claim gave these facts.
    let Some(row) = row else { return };
    let may_retry = match attempt::start(&process, id, supervision.pid).await {
        Ok(may_retry) => may_retry,
        Err(Refused::NotYours) => return world.count("work:starts refused"),
        Err(Refused::Database(_)) => {
            let report = if attempt::may_retry(&row) { Report::Retry } else { failed() };
            return write_ending(&process, id, report).await;
        }
    };
    if let Some(violation) = world.observer(|observer| observer.process_started(supervision.pid, id)) {
        world.fail(violation);
    }
    if let Some(attempt) = supervision.worker.attempts.borrow_mut().get_mut(&id) {
        (attempt.pid, attempt.actor) = (Some(supervision.pid), world.current());
    }
    supervision.run(&row, may_retry).await;
}

fn failed() -> Report {
    Report::Finish(TaskInstanceState::Failed)
}

/// How the process of an attempt ends.
enum End {
    /// It reports, and is answered.
    Says(Report),
    /// Its supervisor reports once it has ended.
    Leaves(Report),
}

impl Supervision {
    async fn run(&self, row: &InstanceRow, may_retry: bool) {
        let process = &self.worker.process;
        let world = &process.world;
        let longest = if world.dice(|dice| dice.per_mille(200)) { 90_000 } else { 20_000 };
        let until = world.now() + world.dice(|dice| dice.between(50, longest));
        let is_revoked = || self.worker.attempts.borrow().get(&self.id).is_none_or(|attempt| attempt.is_revoked);
        world.wait_for(until, is_revoked).await;
        if is_revoked() {
            return world.count("work:attempts revoked");
        }
        if world.has_faults() && world.dice(|dice| dice.per_mille(30)) {
            // Nobody writes anything; the heartbeats of its worker end with it.
            world.count("fault:attempt falls silent");
            if let Some(attempt) = self.worker.attempts.borrow_mut().get_mut(&self.id) {
                attempt.pid = None;
            }
            return world.dawdle(1, 120_000).await;
        }
        match self.end(may_retry) {
            End::Says(report) => {
                if report == Report::Finish(TaskInstanceState::Success)
                    && push(process, row.run, &row.facts.task_id, row.facts.map_index).await.is_err()
                {
                    return write_ending(process, self.id, if may_retry { Report::Retry } else { failed() }).await;
                }
                if report.is_pause() {
                    // The task's code is through when its process asks to pause: whoever goes on meets none of it.
                    world.observer(|observer| observer.process_ended(self.pid));
                }
                if !self.say(report).await {
                    // As in Airflow, a report that failed is made once more when the process has ended.
                    world.dawdle(10, 500).await;
                    world.observer(|observer| observer.process_ended(self.pid));
                    world.dawdle(10, 40_000).await;
                    if self.is_ours().await {
                        self.say(report).await;
                    }
                }
            }
            End::Leaves(report) => write_ending(process, self.id, report).await,
        }
    }

    /// What the task does.
    fn end(&self, may_retry: bool) -> End {
        let process = &self.worker.process;
        let world = &process.world;
        let again = if may_retry { Report::Retry } else { failed() };
        let seconds = world.dice(|dice| dice.between(1, 30));
        match world.dice(|dice| dice.between(0, 99)) {
            0..=59 => End::Says(Report::Finish(TaskInstanceState::Success)),
            60..=74 => End::Says(again).left_if(!may_retry),
            75..=80 => End::Leaves(Report::Finish(TaskInstanceState::Skipped)),
            81..=87 => End::Says(Report::Reschedule(process.now() + TimeDelta::seconds(seconds))),
            88..=94 => End::Says(Report::Defer),
            // Killed, or ended without a word.
            _ => End::Leaves(again),
        }
    }

    /// Whether the attempt still is this process's. One that paused and goes on elsewhere has the same id.
    async fn is_ours(&self) -> bool {
        let process = &self.worker.process;
        if !process.world.safeguards().report_is_fenced {
            return true;
        }
        attempt::heartbeats(process, &[(self.id, self.pid)]).await.is_ok_and(|kept| !kept.is_empty())
    }

    /// Makes a report. Returns whether it was answered.
    async fn say(&self, report: Report) -> bool {
        let process = &self.worker.process;
        let outcome = attempt::report(process, self.id, report).await;
        note(process, self.id, report, outcome)
    }
}

impl End {
    /// Failures without another attempt are reported by the supervisor.
    fn left_if(self, is_left: bool) -> Self {
        match self {
            Self::Says(report) if is_left => Self::Leaves(report),
            end => end,
        }
    }
}

/// What the child pushes before it reports success: its output, as long as the dice say.
async fn push(process: &Process, run: RunId, task_id: &str, map_index: i32) -> Result<()> {
    let transaction = Transaction::begin(process);
    transaction.statement("xcom/set.sql").await?;
    let length = u64::try_from(process.world.dice(|dice| dice.between(0, 3))).unwrap_or(0);
    transaction.write(|database, id| {
        if map_index < 0 {
            database.lengths.write(id, (run, task_id.to_owned()), Some(length));
        } else {
            database.outputs.write(id, (run, task_id.to_owned(), map_index), Some(()));
        }
    });
    transaction.commit().await
}

/// Whether a report was answered; invariant I6 holds the database to it.
fn note(process: &Process, id: Uuid, report: Report, outcome: Result<Accepted, Refused>) -> bool {
    process.trace(|| format!("report {report:?} of {id}: {outcome:?}"));
    match outcome {
        Ok(Accepted::Written) => process.world.observer(|observer| observer.accepted(id, report.state())),
        Ok(Accepted::Duplicate) => process.world.count("work:reports made twice"),
        Err(Refused::NotYours) => process.world.count("work:reports refused"),
        Err(Refused::Database(_)) => return false,
    }
    true
}

/// Writes how an attempt ended; tries again while the database is away.
async fn write_ending(process: &Process, id: Uuid, report: Report) {
    let world = &process.world;
    let until = world.now() + WRITE_PATIENCE;
    let mut pause = 200;
    while world.now() + pause < until {
        let outcome = attempt::report(process, id, report).await;
        if note(process, id, report, outcome) {
            return;
        }
        world.until(world.now() + pause).await;
        pause = (pause * 2).min(10_000);
    }
}
