//! Heartbeats of all attempts of a worker, in one statement per interval.
//!
//! Source: `ActivitySubprocess._send_heartbeat_if_needed` in `airflow/sdk/execution_time/supervisor.py`, which sends
//! one request per task. Airflow gives up after `[workers] max_failed_heartbeats` failures in a row, each of which has
//! been tried again for a while already; so the database must have been away for three quarters of `[scheduler]
//! task_instance_heartbeat_timeout` too, before an attempt is ended that the scheduler would soon call dead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_metadata::Database;
use tradewind_metadata::attempt::{self, AttemptError};
use uuid::Uuid;

/// Why an attempt must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The metadata database says that it runs no more, or elsewhere.
    Revoked(String),
    /// It could not be kept alive for too long.
    Unreachable,
}

/// When to beat, and when to give up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    interval: Duration,
    max_failures: u32,
    patience: Duration,
}

impl Rhythm {
    pub(crate) fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let interval = config.seconds("workers", "min_heartbeat_interval")?;
        let max_failures = config.int("workers", "max_failed_heartbeats")?;
        Ok(Self {
            interval: interval.max(Duration::from_millis(100)),
            max_failures: u32::try_from(max_failures).unwrap_or(1),
            patience: config.seconds("scheduler", "task_instance_heartbeat_timeout")?.mul_f64(0.75),
        })
    }
}

#[derive(Debug)]
struct Beating {
    pid: i32,
    ended: Option<oneshot::Sender<Verdict>>,
}

/// The attempts that are kept alive. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heartbeats {
    attempts: Arc<Mutex<HashMap<Uuid, Beating>>>,
}

/// Keeps an attempt alive until it is dropped.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    id: Uuid,
    all: Heartbeats,
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

impl Heartbeats {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Beating>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to keep an attempt alive; the receiver learns when it must end.
    pub(crate) fn keep(&self, id: Uuid, pid: i32) -> (Heartbeat, oneshot::Receiver<Verdict>) {
        let (ended, verdict) = oneshot::channel();
        self.lock().insert(id, Beating { pid, ended: Some(ended) });
        (Heartbeat { id, all: self.clone() }, verdict)
    }

    fn end(&self, id: Uuid, verdict: Verdict) {
        let sender = self.lock().get_mut(&id).and_then(|beating| beating.ended.take());
        if let Some(sender) = sender {
            // Whoever listened may have ended by itself.
            let _ = sender.send(verdict);
        }
    }

    fn due(&self) -> Vec<(Uuid, i32)> {
        let attempts = self.lock();
        attempts.iter().filter(|(_, beating)| beating.ended.is_some()).map(|(id, beating)| (*id, beating.pid)).collect()
    }

    /// Beats until told to stop.
    pub(crate) async fn run(self, database: Database, hostname: String, rhythm: Rhythm, stop: CancellationToken) {
        let mut ticks = interval(rhythm.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures = 0_u32;
        let mut last_success = Instant::now();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let due = self.due();
            if due.is_empty() {
                (failures, last_success) = (0, Instant::now());
                continue;
            }
            match self.beat(&database, &hostname, &due).await {
                Ok(()) => (failures, last_success) = (0, Instant::now()),
                Err(error) => {
                    failures += 1;
                    metrics::counter!("tradewind.worker.failed_heartbeats").increment(1);
                    tracing::warn!(%error, failures, attempts = due.len(), "heartbeats failed and will be tried again");
                    if failures >= rhythm.max_failures && last_success.elapsed() >= rhythm.patience {
                        due.iter().for_each(|(id, _)| self.end(*id, Verdict::Unreachable));
                    }
                }
            }
        }
    }

    async fn beat(&self, database: &Database, hostname: &str, due: &[(Uuid, i32)]) -> Result<(), AttemptError> {
        let mut connection = database.pool().acquire().await?;
        let alive = attempt::heartbeats(&mut connection, hostname, due).await?;
        for (id, pid) in due.iter().filter(|(id, _)| !alive.contains(id)) {
            // Those that were not kept alive are few: each is asked for its reason.
            match attempt::heartbeat(&mut connection, *id, hostname, *pid).await {
                Ok(()) => {}
                Err(error @ AttemptError::Metadata(_)) => return Err(error),
                Err(reason) => self.end(*id, Verdict::Revoked(reason.to_string())),
            }
        }
        Ok(())
    }
}
