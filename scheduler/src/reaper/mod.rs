//! What is done at intervals, whatever happens: time-outs, the business of workers and schedulers that died, and counting.
//!
//! Every chore looks at a bounded number of rows that an index finds, passes over what another scheduler holds, and is
//! told the time.

mod lost_message;
mod orphan;
mod restarting;
mod silent_attempt;
mod stuck_in_queued;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::query;
use tokio::time::Instant;
use tradewind_metadata::{Database, Result, hitl, serialized_dag, trigger};

use crate::Options;
use crate::metric::Gauges;

/// Rows that one statement of a chore changes at most; a full batch is followed by another one.
const BATCH: i64 = 500;

/// Questions to people resolved in one transaction, as in Airflow.
const QUESTIONS: i64 = 100;

/// How often backfills are looked at, as in Airflow.
const BACKFILLS_INTERVAL: Duration = Duration::from_secs(30);

/// Something to do at an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chore {
    /// Adopts what schedulers that are gone had queued.
    Orphans,
    /// Ends attempts without heartbeat, releases those cleared while they ran, writes lost messages anew.
    Attempts,
    /// Sets back or fails task instances that no worker takes.
    StuckInQueued,
    /// Lets task instances go on whose trigger or person did not answer in time.
    Waits,
    /// Completes backfills whose last runs ended without telling.
    Backfills,
    /// Removes triggers that nothing waits for.
    UnreferencedTriggers,
    /// Counts the slots of pools.
    PoolMetrics,
    /// Counts task instances.
    TaskInstanceMetrics,
    /// Counts Dag runs.
    DagRunMetrics,
}

/// Does the chores when they are due.
#[derive(Debug)]
pub(crate) struct Reaper {
    database: Database,
    dags: serialized_dag::Cache,
    job_id: i32,
    options: Options,
    timers: Vec<Timer>,
    gauges: Gauges,
}

#[derive(Debug)]
struct Timer {
    chore: Chore,
    every: Duration,
    due: Instant,
}

impl Reaper {
    /// The orphans are looked after at once, everything else after its interval.
    pub(crate) fn new(database: Database, dags: serialized_dag::Cache, job_id: i32, options: Options) -> Self {
        let start = Instant::now();
        let timeouts = &options.timeouts;
        let timers = [
            (Chore::Orphans, timeouts.orphans_check_interval),
            (Chore::Attempts, options.reap_interval),
            (Chore::StuckInQueued, timeouts.queued_check_interval),
            (Chore::Waits, timeouts.trigger_check_interval),
            (Chore::Backfills, BACKFILLS_INTERVAL),
            (Chore::UnreferencedTriggers, timeouts.cleanup_interval),
            (Chore::PoolMetrics, options.metrics.pools),
            (Chore::TaskInstanceMetrics, options.metrics.task_instances),
            (Chore::DagRunMetrics, options.metrics.dag_runs),
        ];
        let timers = timers
            .into_iter()
            .map(|(chore, every)| {
                let due = if chore == Chore::Orphans { start } else { start + every };
                Timer { chore, every, due }
            })
            .collect();
        Self { database, dags, job_id, options, timers, gauges: Gauges::default() }
    }

    /// When the next chore is due.
    pub(crate) fn next(&self) -> Instant {
        self.timers.iter().map(|timer| timer.due).min().unwrap_or_else(Instant::now)
    }

    /// The chores that are due.
    pub(crate) fn due(&self) -> Vec<Chore> {
        let now = Instant::now();
        self.timers.iter().filter(|timer| timer.due <= now).map(|timer| timer.chore).collect()
    }

    /// Makes every chore due.
    pub(crate) fn make_all_due(&mut self) {
        let now = Instant::now();
        self.timers.iter_mut().for_each(|timer| timer.due = now);
    }

    /// Says that a chore has been done.
    pub(crate) fn done(&mut self, chore: Chore) {
        for timer in self.timers.iter_mut().filter(|timer| timer.chore == chore) {
            timer.due = Instant::now() + timer.every;
        }
    }

    /// Does a chore.
    pub(crate) async fn run(&self, chore: Chore, now: DateTime<Utc>) -> Result<()> {
        match chore {
            Chore::Orphans => self.adopt_orphans(now).await,
            Chore::Attempts => {
                self.end_silent_attempts(now).await?;
                self.release_restarting(now).await?;
                self.resend_lost_messages(now).await
            }
            Chore::StuckInQueued => self.handle_stuck_in_queued(now).await,
            Chore::Waits => self.end_waits(now).await,
            Chore::Backfills => self.complete_backfills(now).await,
            Chore::UnreferencedTriggers => self.remove_unreferenced_triggers().await,
            Chore::PoolMetrics => self.gauges.count_pools(self.database.pool()).await,
            Chore::TaskInstanceMetrics => self.gauges.count_task_instances(self.database.pool()).await,
            Chore::DagRunMetrics => self.gauges.count_dag_runs(self.database.pool()).await,
        }
    }

    /// A scheduler lives that has sent a heartbeat since then.
    fn oldest_sign_of_life(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        before(now, self.options.timeouts.scheduler_health_threshold)
    }

    async fn end_waits(&self, now: DateTime<Utc>) -> Result<()> {
        let (mut triggers, mut questions) = (0, 0);
        loop {
            let mut transaction = self.database.pool().begin().await?;
            let ended = trigger::time_out(&mut transaction, BATCH, now).await?;
            let resolved = hitl::time_out(&mut transaction, QUESTIONS, now).await?;
            transaction.commit().await?;
            triggers += ended;
            questions += resolved;
            if ended == 0 && resolved == 0 {
                break;
            }
        }
        if triggers > 0 {
            tracing::info!(
                count = triggers,
                "deferred task instances whose trigger did not fire in time go on to fail"
            );
        }
        if questions > 0 {
            tracing::info!(count = questions, "questions to people were not answered in time and are resolved");
        }
        Ok(())
    }

    async fn complete_backfills(&self, now: DateTime<Utc>) -> Result<()> {
        query(include_str!("../../queries/complete_backfills.sql")).bind(now).execute(self.database.pool()).await?;
        Ok(())
    }

    async fn remove_unreferenced_triggers(&self) -> Result<()> {
        let mut connection = self.database.pool().acquire().await?;
        while trigger::remove_unreferenced(&mut connection, BATCH).await? > 0 {}
        Ok(())
    }
}

/// The moment that lies so long before.
fn before(now: DateTime<Utc>, time: Duration) -> DateTime<Utc> {
    let time = TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
    now.checked_sub_signed(time).unwrap_or(DateTime::<Utc>::MIN_UTC)
}
