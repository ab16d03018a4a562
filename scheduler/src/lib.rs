//! The scheduler: makes Dag runs, moves their task instances on, and hands them to the queue.
//!
//! It is event driven: notifications name the runs that changed, and only those are looked at; alarms name the runs that
//! time alone moves on; a slow sweep finds what official components or a crash left behind. Nothing in memory decides
//! anything: every change compares the stored state before it sets a new one.
#![forbid(unsafe_code)]

mod agenda;
mod aside;
mod asset_runs;
mod asset_upkeep;
mod custom_partition;
mod custom_timetable;
mod custom_weight;
mod dispatch;
mod metric;
mod options;
mod partition_memory;
mod partition_runs;
mod publisher;
mod reaper;
mod run_creation;
mod run_scheduling;
mod run_start;
mod table_upkeep;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::{counter, histogram};
use sqlx::query_scalar;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;
use tradewind_metadata::job::{Job, JobType};
use tradewind_metadata::{Database, MetadataError, Result, deadline, notify, serialized_dag};
use tradewind_supervisor::evaluator::{Evaluator, service};

use agenda::{Agenda, Alarms, News, Rest};
use aside::{Aside, Look};
use custom_partition::{Mapping, States};
use custom_timetable::Plans;
use custom_weight::Weights;
use dispatch::Dispatcher;
pub use options::{MetricIntervals, Options, Timeouts};
use partition_runs::PartitionRuns;
pub use publisher::Publisher;
use reaper::Reaper;
use run_scheduling::{Looked, RunScheduler};

/// Attempts at a transaction that a deadlock or a serialisation failure broke.
const TRIES: usize = 5;

/// Missed deadlines handled in one transaction.
const DEADLINES: i64 = 100;

/// A running run on which nobody has decided for so long is looked at, whatever is known of it.
const UNDECIDED_FOR: TimeDelta = TimeDelta::minutes(2);

/// How much the clocks of those who write to the database may differ before the sweep overlooks a change until
/// [`UNDECIDED_FOR`] is over.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(10);

/// When to look again at a Dag that is due, or may have the asset events it waits for, but is held by another scheduler.
const PAUSE_FOR_HELD_DAGS: TimeDelta = TimeDelta::milliseconds(100);

/// A scheduler that has missed so many heartbeats is dead, and its runs are looked at by the others.
const DEAD_AFTER_HEARTBEATS: u32 = 3;

/// How long a question to a plugin waits for a Dag processor before a scheduler answers it.
const QUESTION_AGE: Duration = Duration::from_secs(2);

/// What tells a scheduler that there is something to do.
const CHANNELS: [&str; 4] = [notify::DAG_RUN, notify::DAG, notify::ASSET, notify::PARTITION_EVENT];

/// A scheduler; any number may run on one database.
#[derive(Debug)]
pub struct Scheduler {
    database: Database,
    options: Options,
    job: Job,
    dags: serialized_dag::Cache,
    runs: Arc<RunScheduler>,
    dispatcher: Dispatcher,
    reaper: Reaper,
    agenda: Agenda,
    aside: Aside,
    partitions: PartitionRuns,
    mapping: Mapping,
    alarms: Alarms,
    rest: Rest,
    news: News,
    plans: Plans,
    evaluator: Option<Evaluator>,
    publisher: Option<Publisher>,
    next_due: Option<DateTime<Utc>>,
    next_deadline: Option<DateTime<Utc>>,
    /// Dags that want a run by their assets, and whom somebody else held at the last look.
    held_elsewhere: BTreeSet<String>,
    tables_settled: bool,
}

impl Scheduler {
    /// Registers a scheduler with the database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn new(database: Database, options: Options) -> Result<Self> {
        let unixname = query_scalar("SELECT current_user::text").fetch_one(database.pool()).await?;
        let unixname: String = unixname;
        let job = Job::start(database.pool(), JobType::Scheduler, &options.hostname, &unixname).await?;
        let dags = serialized_dag::Cache::default();
        let news = News::default();
        let runs = Arc::new(RunScheduler {
            database: database.clone(),
            dags: dags.clone(),
            weights: Weights::new(database.clone(), news.clone()),
            job_id: job.id,
            max_retry_delay: options.max_retry_delay,
            poll_interval: TimeDelta::from_std(options.poll_interval).unwrap_or(UNDECIDED_FOR),
        });
        let dispatcher = Dispatcher {
            database: database.clone(),
            dags: dags.clone(),
            parallelism: options.parallelism,
            carrier: options.carrier,
        };
        let reaper = Reaper::new(database.clone(), dags.clone(), job.id, options.clone());
        let states = States::new(database.clone(), news.clone());
        let partitions = PartitionRuns::new(database.clone(), dags.clone(), job.id, states);
        Ok(Self {
            mapping: Mapping::new(database.clone()),
            plans: Plans::new(database.clone(), news.clone()),
            news,
            evaluator: None,
            publisher: None,
            database,
            options,
            job,
            dags,
            runs,
            dispatcher,
            reaper,
            agenda: Agenda::default(),
            aside: Aside::default(),
            partitions,
            alarms: Alarms::default(),
            rest: Rest::default(),
            next_due: None,
            next_deadline: None,
            held_elsewhere: BTreeSet::new(),
            tables_settled: false,
        })
    }

    /// The same, answering itself what plugins are asked when no Dag processor does.
    #[must_use]
    pub fn with_evaluator(self, evaluator: Evaluator) -> Self {
        Self { evaluator: Some(evaluator), ..self }
    }

    /// The same, handing messages to a broker.
    #[must_use]
    pub fn with_publisher(self, publisher: Publisher) -> Self {
        Self { publisher: Some(publisher), ..self }
    }

    /// Schedules until the shutdown.
    ///
    /// # Errors
    /// Only when the database cannot be listened to at the start; later failures are logged and tried again.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        let listener = notify::listen(self.database.pool(), &CHANNELS).await?;
        let news = self.news.clone();
        let gathering = tokio::spawn(news.clone().gather(listener, shutdown.clone()));
        let heartbeat = tokio::spawn(keep_alive(
            self.database.clone(),
            self.job,
            self.options.heartbeat_interval,
            shutdown.clone(),
        ));
        let table_upkeep =
            tokio::spawn(table_upkeep::keep(self.database.clone(), self.options.poll_interval, shutdown.clone()));
        let publishing = self.publisher.take().map(|publisher| tokio::spawn(publisher.run(shutdown.clone())));
        let mut sweep = interval(self.options.poll_interval);
        let upkeep_interval = self.options.asset_upkeep_interval;
        let mut upkeep = interval_at(Instant::now() + upkeep_interval, upkeep_interval);
        for ticks in [&mut sweep, &mut upkeep] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            self.aside.begin(&self.runs, &news);
            let mut everything = false;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = news.arrived() => {}
                () = self.alarm() => {}
                () = sleep_until(self.reaper.next()) => {}
                _ = sweep.tick() => everything = true,
                _ = upkeep.tick() => {
                    if let Err(error) = retried(|| asset_upkeep::update(&self.database, Utc::now())).await {
                        tracing::error!(%error, "assets that nobody names could not be retired; it will be tried again");
                    }
                    continue;
                }
            }
            if let Err(error) = self.turn(&news, everything).await {
                tracing::error!(%error, "a turn of the scheduler failed; it will be tried again");
                tokio::time::sleep(Duration::from_millis(200)).await;
                news.remind();
            }
        }
        self.aside.settle().await;
        gathering.await.ok();
        heartbeat.await.ok();
        table_upkeep.await.ok();
        if let Some(publishing) = publishing {
            publishing.await.ok();
        }
        let mut connection = self.database.pool().acquire().await?;
        self.job.end(&mut connection).await
    }

    /// One turn in which everything is looked at and everything is due; [`Scheduler::run`] takes turns by itself.
    ///
    /// # Errors
    /// When the database fails; the next turn makes up for it.
    pub async fn take_whole_turn(&mut self) -> Result<()> {
        self.reaper.make_all_due();
        self.turn(&News::default(), true).await?;
        while let Some((run, heard)) = self.aside.take_waiting() {
            let look = Look::at(run, heard, &self.runs).await;
            self.take_up(look)?;
            self.turn(&News::default(), false).await?;
        }
        Ok(())
    }

    /// Waits for the moment at which time alone changes something.
    async fn alarm(&self) {
        let held_elsewhere = (!self.held_elsewhere.is_empty()).then(|| Utc::now() + PAUSE_FOR_HELD_DAGS);
        let moments = [self.alarms.next(), self.next_due, self.next_deadline, held_elsewhere];
        let Some(at) = moments.into_iter().flatten().min() else {
            return std::future::pending().await;
        };
        tokio::time::sleep((at - Utc::now()).to_std().unwrap_or_default()).await;
    }

    /// One turn: everything that has become possible since the last one.
    async fn turn(&mut self, news: &News, sweep: bool) -> Result<()> {
        let started = Instant::now();
        self.agenda.add(news.take());
        let now = Utc::now();
        self.agenda.everything |= sweep;
        self.agenda.create |= self.next_due.is_some_and(|due| due <= now);
        self.agenda.add_runs(self.alarms.take_due(now));
        if let Some(look) = self.aside.take_ended() {
            self.take_up(look)?;
        }
        self.do_chores(now).await?;
        if self.agenda.everything || self.next_deadline.is_some_and(|deadline| deadline <= now) {
            self.handle_missed_deadlines(now).await?;
        }
        if self.agenda.everything {
            self.sweep(now).await?;
        }
        if sweep && let Some(evaluator) = &self.evaluator {
            service::answer_waiting(&self.database, evaluator, None, QUESTION_AGE).await?;
        }
        if std::mem::take(&mut self.agenda.unmapped) {
            self.mapping.begin();
        }
        self.look_at_dags().await?;
        self.agenda.assets.append(&mut self.held_elsewhere);
        while self.make_and_start_runs().await? {
            // A run that ended may make room for the next one of its Dag, which is looked at in the same turn.
            self.look_at_runs().await?;
        }
        if std::mem::take(&mut self.agenda.dispatch) {
            while retried(|| self.dispatcher.dispatch(Utc::now())).await? {}
        }
        histogram!("scheduler.scheduler_loop_duration").record(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Hands over the callbacks of deadlines that have passed. Those of runs made since the last sweep are found by the
    /// next one.
    async fn handle_missed_deadlines(&mut self, now: DateTime<Utc>) -> Result<()> {
        let mut next = deadline::next(self.database.pool()).await?;
        if next.is_some_and(|next| next < now) {
            let mut connection = self.database.pool().acquire().await?;
            while deadline::handle_missed(&mut connection, DEADLINES, now).await? > 0 {}
            next = deadline::next(self.database.pool()).await?;
        }
        // What has passed and is still there is being handled by another scheduler.
        self.next_deadline = next.filter(|next| *next > now);
        Ok(())
    }

    /// Does what is due at intervals. What goes wrong in one of the chores keeps nothing else waiting.
    async fn do_chores(&mut self, now: DateTime<Utc>) -> Result<()> {
        for chore in self.reaper.due() {
            match retried(|| self.reaper.run(chore, now)).await {
                Err(error @ MetadataError::Database(_)) => return Err(error),
                Err(error) => tracing::error!(?chore, %error, "a chore failed; it will be tried again"),
                Ok(()) => {}
            }
            self.reaper.done(chore);
        }
        Ok(())
    }

    /// Finds what nobody told of.
    async fn sweep(&mut self, now: DateTime<Utc>) -> Result<()> {
        let dead_since = now - DEAD_AFTER_HEARTBEATS * self.options.heartbeat_interval;
        let runs: Vec<i32> = query_scalar(include_str!("../queries/runs_to_examine.sql"))
            .bind(self.options.runs_per_sweep)
            .bind(now - UNDECIDED_FOR)
            .bind(CLOCK_TOLERANCE.as_seconds_f64())
            .bind(self.job.id)
            .bind(dead_since)
            .fetch_all(self.database.pool())
            .await?;
        counter!("tradewind.scheduler.runs_swept").increment(runs.len() as u64);
        for run in runs {
            self.aside.add(run, None);
        }
        (self.agenda.create, self.agenda.all_assets, self.agenda.dispatch) = (true, true, true);
        self.agenda.unmapped = true;
        self.agenda.everything = false;
        Ok(())
    }

    /// Looks at the runs of Dags that changed.
    async fn look_at_dags(&mut self) -> Result<()> {
        if self.agenda.dags.is_empty() {
            return Ok(());
        }
        let dags: Vec<&str> = self.agenda.dags.iter().map(String::as_str).collect();
        let runs: Vec<i32> = query_scalar("SELECT id FROM dag_run WHERE state = 'running' AND dag_id = ANY ($1)")
            .bind(dags)
            .fetch_all(self.database.pool())
            .await?;
        self.agenda.add_runs(runs);
        self.agenda.dags.clear();
        // What had been scheduled before its Dag was paused is queued now.
        self.agenda.dispatch = true;
        Ok(())
    }

    /// Makes the runs that asset events want. Returns whether there are any.
    async fn make_asset_runs(&mut self) -> Result<bool> {
        if !self.agenda.ended.is_empty() {
            self.agenda.assets.append(&mut asset_runs::waiting_behind(&self.database, &self.agenda.ended).await?);
            self.agenda.ended.clear();
        }
        if !self.agenda.all_assets && self.agenda.assets.is_empty() {
            return Ok(false);
        }
        let now = Utc::now();
        let of = (!self.agenda.all_assets).then_some(&self.agenda.assets);
        let partitions = retried(|| self.partitions.create(of, now)).await?;
        let made = retried(|| asset_runs::create(&self.database, &self.dags, self.job.id, of, now)).await?;
        self.agenda.assets.clear();
        self.agenda.all_assets = false;
        self.held_elsewhere.extend(made.held_elsewhere);
        counter!("tradewind.scheduler.runs_created").increment((partitions + made.runs) as u64);
        Ok(partitions + made.runs > 0)
    }

    /// Makes runs where that was asked for, and starts queued ones. Returns whether there are runs to look at.
    async fn make_and_start_runs(&mut self) -> Result<bool> {
        self.agenda.start |= self.make_asset_runs().await? || self.agenda.create;
        if self.agenda.create {
            let now = Utc::now();
            let created =
                retried(|| run_creation::create_due_runs(&self.database, &self.dags, &self.plans, self.job.id, now))
                    .await?;
            counter!("tradewind.scheduler.runs_created").increment(created as u64);
            // A Dag that is due still is held by another scheduler, which will make its run.
            let next = run_creation::next_due(&self.database, &self.plans).await?;
            self.next_due = next.map(|due| due.max(now + PAUSE_FOR_HELD_DAGS));
        }
        if self.agenda.start {
            let started = retried(|| run_start::start_queued_runs(&self.database, Utc::now())).await?;
            self.tables_settled &= started.is_empty();
            self.agenda.add_runs(started);
        }
        (self.agenda.create, self.agenda.start) = (false, false);
        Ok(!self.agenda.runs.is_empty())
    }

    /// Takes every step that the runs on the agenda are ready for, but of those at which a look takes long.
    async fn look_at_runs(&mut self) -> Result<()> {
        if !self.tables_settled {
            self.tables_settled = table_upkeep::settle(&self.database).await?;
        }
        while let Some((&run, &heard)) = self.agenda.runs.first_key_value() {
            if let Some(until) = self.rest.of(run, Utc::now()) {
                self.alarms.set_by(run, until);
                self.agenda.dispatch = true;
            } else if self.rest.takes_long(run) || self.aside.looks_at(run) {
                self.aside.add(run, heard);
                self.agenda.dispatch = true;
            } else {
                let look = Look::at(run, heard, &self.runs).await;
                self.take_up(look)?;
            }
            self.agenda.runs.remove(&run);
        }
        Ok(())
    }

    /// Takes up what a look at a run led to.
    fn take_up(&mut self, look: Look) -> Result<()> {
        let Look { run, heard, began, ended, looked } = look;
        match looked {
            Ok(Looked::At(outcome)) => {
                self.rest.after(run, began, ended);
                self.alarms.set(run, outcome.wake_at);
                self.agenda.add_runs(outcome.successors.into_iter().filter(|successor| *successor != run));
                self.agenda.create |= outcome.ended;
                // Who tells of a run may also have made room for others.
                self.agenda.dispatch |= heard.is_some() || outcome.moved;
                self.agenda.ended.extend(outcome.ended.then_some(run));
            }
            Ok(Looked::Queued) => self.agenda.start = true,
            // Whoever else decides on it also dispatches.
            Ok(Looked::ByAnother) => {}
            // A user may have ended it, which makes room for others.
            Ok(Looked::Gone) => (self.agenda.create, self.agenda.dispatch) = (true, true),
            Err(error @ MetadataError::Database(_)) => {
                self.agenda.runs.entry(run).or_insert(heard);
                return Err(error);
            }
            // One run that cannot be read never keeps others waiting.
            Err(error) => tracing::error!(dag_run_id = run, %error, "a run cannot be scheduled"),
        }
        Ok(())
    }
}

/// Does something again when a deadlock or a serialisation failure broke its transaction.
async fn retried<T, F: Future<Output = Result<T>>>(mut attempt: impl FnMut() -> F) -> Result<T> {
    for _ in 1..TRIES {
        match attempt().await {
            Err(error) if error.is_transient() => {
                counter!("tradewind.scheduler.transactions_retried").increment(1);
                tracing::debug!(%error, "a transaction is tried again");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
    attempt().await
}

/// Writes the heartbeat of the scheduler's job, by which the health page knows that it lives.
async fn keep_alive(database: Database, job: Job, every: Duration, shutdown: CancellationToken) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => match job.heartbeat(database.pool()).await {
                Ok(()) => counter!("scheduler_heartbeat").increment(1),
                Err(error) => tracing::warn!(%error, "the heartbeat could not be written"),
            },
        }
    }
}
