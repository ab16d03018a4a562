//! Kills processes at random, and starts again what nobody else starts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use sqlx::{PgPool, query_scalar};
use tokio::time::sleep;
use tradewind_tests::component::Component;
use tradewind_tests::deployment::Deployment;
use tradewind_tests::process;

/// The components that are killed, and how they are started.
const COMPONENTS: [(&str, &[&str]); 6] = [
    ("scheduler-1", &["scheduler"]),
    ("scheduler-2", &["scheduler"]),
    ("scheduler-3", &["scheduler"]),
    ("worker-1", &["worker", "--slots", "8"]),
    ("worker-2", &["worker", "--slots", "8"]),
    ("dag-processor", &["dag-processor"]),
];

/// Between two kills, in milliseconds.
const PAUSE: std::ops::Range<u64> = 300..2_500;

/// Until a killed component starts again, in milliseconds.
const ABSENCE: std::ops::Range<u64> = 200..4_000;

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Scheduler,
    Worker,
    DagProcessor,
    /// The interpreter that forks tasks.
    PyHost,
    /// A worker together with its interpreter, so that nobody is left who knows of the tasks.
    WorkerAndPyHost,
    /// A running task.
    Task,
    /// A session of the database.
    Session,
}

/// What is dealt out in random order, again and again.
const ROUND: [Victim; 12] = [
    Victim::Scheduler,
    Victim::Scheduler,
    Victim::Scheduler,
    Victim::Worker,
    Victim::DagProcessor,
    Victim::PyHost,
    Victim::WorkerAndPyHost,
    Victim::Task,
    Victim::Task,
    Victim::Task,
    Victim::Session,
    Victim::Session,
];

/// All components, and what happens to them.
pub(crate) struct Storm {
    random: StdRng,
    components: Vec<Component>,
    /// Components that were killed, and when they start again.
    absent: BTreeMap<usize, Instant>,
    round: Vec<Victim>,
    kills: BTreeMap<Victim, usize>,
}

impl Storm {
    pub(crate) fn new(seed: u64, deployment: &Deployment) -> Self {
        let components =
            COMPONENTS.iter().map(|(name, arguments)| Component::new(deployment, name, arguments)).collect();
        Self {
            random: StdRng::seed_from_u64(seed),
            components,
            absent: BTreeMap::new(),
            round: Vec::new(),
            kills: BTreeMap::new(),
        }
    }

    pub(crate) fn start_all(&mut self) {
        self.components.iter_mut().for_each(Component::start);
    }

    /// Kills one more, and waits a little.
    pub(crate) async fn rage(&mut self, pool: &PgPool) {
        if self.round.is_empty() {
            self.round = ROUND.to_vec();
            self.round.shuffle(&mut self.random);
        }
        let Some(victim) = self.round.pop() else { return };
        if self.kill(victim, pool).await {
            *self.kills.entry(victim).or_default() += 1;
        }
        let until = Instant::now() + Duration::from_millis(self.random.random_range(PAUSE));
        while Instant::now() < until {
            sleep(Duration::from_millis(50)).await;
            self.restart(Instant::now());
        }
    }

    /// Whether there was one to kill.
    async fn kill(&mut self, victim: Victim, pool: &PgPool) -> bool {
        match victim {
            Victim::Scheduler => self.kill_component("scheduler", false),
            Victim::Worker => self.kill_component("worker", false),
            Victim::DagProcessor => self.kill_component("dag-processor", false),
            Victim::WorkerAndPyHost => self.kill_component("worker", true),
            Victim::PyHost => self.kill_pyhost(),
            Victim::Task => self.kill_task(pool).await,
            Victim::Session => kill_session(pool).await,
        }
    }

    fn kill_component(&mut self, kind: &str, with_pyhost: bool) -> bool {
        let Some(index) = self.pick(kind) else { return false };
        let absence = Duration::from_millis(self.random.random_range(ABSENCE));
        let component = &mut self.components[index];
        let pyhost = component.pid().filter(|_| with_pyhost).and_then(pyhost_of);
        pyhost.map(kill_process);
        component.kill();
        self.absent.insert(index, Instant::now() + absence);
        true
    }

    fn kill_pyhost(&mut self) -> bool {
        let kind = if self.random.random_bool(0.7) { "worker" } else { "dag-processor" };
        let component = self.pick(kind).and_then(|index| self.components[index].pid());
        component.and_then(pyhost_of).is_some_and(kill_process)
    }

    /// Process ids of tasks are in the database; that one is still the task's, the list of the worker's processes says.
    async fn kill_task(&mut self, pool: &PgPool) -> bool {
        let known: Vec<i32> =
            query_scalar("SELECT pid FROM task_instance WHERE state = 'running' AND pid IS NOT NULL ORDER BY pid")
                .fetch_all(pool)
                .await
                .expect("the running tasks");
        let workers = self.components.iter().filter(|component| component.name().starts_with("worker"));
        let processes: Vec<u32> = workers.filter_map(Component::pid).flat_map(process::descendants).collect();
        let tasks: Vec<u32> = known.into_iter().filter_map(|pid| u32::try_from(pid).ok()).collect();
        let tasks: Vec<u32> = tasks.into_iter().filter(|pid| processes.contains(pid)).collect();
        tasks.choose(&mut self.random).is_some_and(|pid| kill_process(*pid))
    }

    /// One of the running components of a kind.
    fn pick(&mut self, kind: &str) -> Option<usize> {
        let running = |index: &usize| {
            let component = &self.components[*index];
            component.name().starts_with(kind) && component.pid().is_some()
        };
        let candidates: Vec<usize> = (0..self.components.len()).filter(running).collect();
        candidates.choose(&mut self.random).copied()
    }

    /// Starts what has been away for long enough. A component ends by itself when it cannot reach the database while it
    /// starts: whoever runs it starts it again, and so does this.
    fn restart(&mut self, now: Instant) {
        for (index, component) in self.components.iter_mut().enumerate() {
            if component.ended().is_some() {
                component.kill();
                self.absent.insert(index, now + Duration::from_secs(1));
            }
        }
        for index in self.absent.extract_if(.., |_, at| *at <= now).map(|(index, _)| index).collect::<Vec<_>>() {
            self.components[index].start();
        }
    }

    /// Nothing is killed any more: what is away comes back.
    pub(crate) fn calm(&mut self) {
        for index in std::mem::take(&mut self.absent).into_keys() {
            self.components[index].start();
        }
    }

    pub(crate) fn end_all(&mut self) {
        self.components.iter_mut().for_each(Component::end);
    }

    /// What was killed, and how often.
    pub(crate) fn kills(&self) -> String {
        let total: usize = self.kills.values().sum();
        format!("{total} kills: {:?}", self.kills)
    }
}

/// The interpreter of a worker or Dag processor; tasks that an earlier one left behind are its children too.
fn pyhost_of(component: u32) -> Option<u32> {
    let children =
        process::descendants(component).into_iter().filter(|pid| process::parent_of(*pid) == Some(component));
    children.filter(|pid| process::title(*pid).contains("tradewind-pyhost")).max()
}

fn kill_process(pid: u32) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    // One that has ended meanwhile was not killed.
    kill(pid, Signal::SIGKILL).is_ok()
}

async fn kill_session(pool: &PgPool) -> bool {
    let killed: Option<bool> = query_scalar(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name LIKE 'tradewind %' ORDER BY random() LIMIT 1",
    )
    .fetch_optional(pool)
    .await
    .expect("the sessions");
    killed.unwrap_or(false)
}
