//! `scheduler/src/lib.rs`: a scheduler's turns.

mod dispatch;
mod reaper;
pub(crate) mod run_creation;
mod run_scheduling;
mod run_start;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use tradewind_model::limits::Room;
use tradewind_model::state::DagRunState;

use crate::database::{Broken, COMMITTED, Database, Notification, Result, RowId, RunId, Transaction};
use crate::world::{Millis, Process, ProcessId, World};

/// `[tradewind] scheduler_poll_interval`.
pub(crate) const POLL_INTERVAL: Millis = 5_000;

/// `[scheduler] task_instance_heartbeat_timeout_detection_interval`.
pub(crate) const REAP_INTERVAL: Millis = 10_000;

/// Attempts at a transaction that a conflict broke.
const TRIES: usize = 5;

/// `runs_per_sweep`, small enough to matter.
const RUNS_PER_SWEEP: usize = 4;

/// Starts a scheduler.
pub(crate) fn start(world: &World, number: usize, at: Millis) {
    let process = Process { world: world.clone(), id: ProcessId::Scheduler(number) };
    world.spawn(process.id, at, run(process));
}

/// Notifications for as long as a process lives.
pub(crate) struct Ear {
    world: World,
    number: u64,
}

impl Ear {
    /// Listens for the actor that acts now.
    pub(crate) fn open(world: &World) -> Self {
        let number = world.number();
        world.database(|database| database.listen(number, world.current()));
        Self { world: world.clone(), number }
    }

    pub(crate) fn has_heard(&self) -> bool {
        self.world.database(|database| database.has_heard(self.number))
    }

    pub(crate) fn take(&self) -> BTreeSet<Notification> {
        self.world.database(|database| database.hear(self.number))
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.world.database(|database| database.stop_listening(self.number));
    }
}

struct Scheduler {
    process: Process,
    ear: Ear,
    /// Runs that time alone moves on.
    alarms: BTreeMap<RunId, DateTime<Utc>>,
    next_due: Option<DateTime<Utc>>,
}

/// What came of looking at a run.
#[derive(Default)]
pub(crate) struct Outcome {
    ended: bool,
    wake_at: Option<DateTime<Utc>>,
    successors: Vec<RunId>,
}

async fn run(process: Process) {
    let world = process.world.clone();
    let ear = Ear::open(&world);
    let mut scheduler = Scheduler { process, ear, alarms: BTreeMap::new(), next_due: None };
    let (mut sweep, mut reap) = (world.now(), world.now() + REAP_INTERVAL);
    loop {
        let alarm = scheduler.alarm().unwrap_or(Millis::MAX);
        world.wait_for(sweep.min(reap).min(alarm), || scheduler.ear.has_heard()).await;
        let sweeps = world.now() >= sweep;
        let reaps = world.now() >= reap;
        if sweeps {
            sweep = world.now() + POLL_INTERVAL;
        }
        if reaps {
            reap = world.now() + REAP_INTERVAL;
        }
        world.count("work:turns of a scheduler");
        if scheduler.turn(sweeps && world.safeguards().sweep, reaps).await.is_err() {
            world.until(world.now() + 200).await;
        }
    }
}

impl Scheduler {
    /// When the first alarm rings, in the world's time.
    fn alarm(&self) -> Option<Millis> {
        let first = self.alarms.values().min().copied().into_iter().chain(self.next_due).min()?;
        let world = &self.process.world;
        Some(world.now() + (first - self.process.now()).num_milliseconds().max(0))
    }

    async fn turn(&mut self, everything: bool, reap: bool) -> Result<()> {
        let heard = self.ear.take();
        let now = self.process.now();
        if reap {
            retried(&self.process, || reaper::end_silent_attempts(&self.process)).await?;
            retried(&self.process, || reaper::release_restarting(&self.process, now)).await?;
            retried(&self.process, || reaper::resend_lost_messages(&self.process, now)).await?;
        }
        let due = self.next_due.is_some_and(|due| due <= now);
        let mut runs: BTreeSet<RunId> = BTreeSet::new();
        for notification in &heard {
            if let Notification::DagRun(run) = notification {
                runs.insert(*run);
            }
        }
        runs.extend(self.alarms.extract_if(.., |_, at| *at <= now).map(|(run, _)| run));
        let creates = everything || due || heard.contains(&Notification::Dag);
        if self.look_at(runs, everything, creates).await? {
            self.look_at(BTreeSet::new(), false, true).await?;
        }
        while retried(&self.process, || dispatch::dispatch(&self.process)).await? {}
        Ok(())
    }

    async fn look_at(&mut self, mut runs: BTreeSet<RunId>, everything: bool, create: bool) -> Result<bool> {
        let now = self.process.now();
        if create {
            retried(&self.process, || run_creation::create_due_runs(&self.process, now)).await?;
            self.next_due = run_creation::next_due(&self.process).await?;
        }
        runs.extend(retried(&self.process, || run_start::start_queued_runs(&self.process)).await?);
        if everything {
            runs.extend(self.runs_to_examine().await?);
        }
        let mut any_ended = false;
        while let Some(run) = runs.pop_first() {
            let outcome = retried(&self.process, || run_scheduling::schedule(&self.process, run)).await?;
            self.alarms.remove(&run);
            if let Some(at) = outcome.wake_at {
                self.alarms.insert(run, at);
            }
            any_ended |= outcome.ended;
            runs.extend(outcome.successors);
        }
        Ok(any_ended)
    }

    /// `scheduler/queries/runs_to_examine.sql`.
    async fn runs_to_examine(&self) -> Result<Vec<RunId>> {
        let transaction = Transaction::begin(&self.process);
        transaction.statement("runs_to_examine.sql").await?;
        Ok(transaction.read(|database, id| {
            let rows = database.runs.rows(id);
            let mut running: Vec<_> = rows.iter().filter(|(_, row)| row.state == DagRunState::Running).collect();
            running.sort_by_key(|(run, row)| (row.last_scheduling_decision, row.run_after, **run));
            running.into_iter().take(RUNS_PER_SWEEP).map(|(run, _)| **run).collect()
        }))
    }
}

/// Does something again when a conflict or a lost connection broke its transaction.
async fn retried<T, F: Future<Output = Result<T>>>(process: &Process, mut attempt: impl FnMut() -> F) -> Result<T> {
    for _ in 1..TRIES {
        match attempt().await {
            Err(Broken::Conflict | Broken::Connection) => {
                process.world.count("work:transactions tried again");
                process.world.until(process.world.now() + 20).await;
            }
            outcome => return outcome,
        }
    }
    attempt().await
}

/// What is left of pools and `parallelism`, of what is committed.
pub(crate) fn room(world: &World, database: &Database) -> Room {
    dispatch::room(world, database, COMMITTED)
}

/// Scheduled task instances that could be queued, each as if it were alone, and how to name them.
pub(crate) fn ready(world: &World, database: &Database) -> BTreeMap<RowId, String> {
    dispatch::ready(world, database, COMMITTED)
}

/// Whether a run that has not ended may stay so: it waits for the run before, whose tasks did not end well, or for a run
/// that does.
pub(crate) fn waits_for_the_past(world: &World, database: &Database, run: RunId) -> bool {
    let Some(row) = database.runs.committed().get(&run) else { return false };
    let plan = &world.scenario().dags[row.dag];
    if row.state == DagRunState::Running {
        return run_scheduling::waits_for_the_past(database, COMMITTED, run, row, &plan.dag);
    }
    let of_dag = database.runs.committed().iter().filter(|(_, other)| other.dag == row.dag);
    let running: Vec<RunId> =
        of_dag.filter(|(_, other)| other.state == DagRunState::Running).map(|(run, _)| *run).collect();
    running.len() as i64 >= plan.max_active_runs && running.iter().all(|run| waits_for_the_past(world, database, *run))
}

/// A run that a timetable should have made by now.
pub(crate) fn missing_run(world: &World, database: &Database) -> Option<String> {
    database.dags.committed().iter().find_map(|(dag, row)| {
        let next = row.next.as_ref()?;
        let active = run_creation::active_runs(database, COMMITTED, *dag);
        let has_room = active < world.scenario().dags[*dag].max_active_runs;
        has_room.then(|| format!("dag_{dag} should have a run after {}", next.run_after))
    })
}
