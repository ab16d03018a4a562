//! What the scheduler has to look at, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tradewind_metadata::notify;

/// Runs told of at most between two looks; with more, everything is looked at instead.
const CAPACITY: usize = 10_000;

/// News from other processes, gathered until the scheduler looks.
#[derive(Debug, Clone, Default)]
pub(crate) struct News {
    gathered: Arc<Mutex<Gathered>>,
    arrived: Arc<Notify>,
}

/// What has been told since the last look.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Runs that changed.
    pub(crate) runs: BTreeSet<i32>,
    /// Some Dag changed, was paused or un-paused.
    pub(crate) dags: bool,
    /// Something may have been missed: look at everything.
    pub(crate) everything: bool,
}

impl News {
    /// Waits until there is news.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes what has been gathered.
    pub(crate) fn take(&self) -> Gathered {
        std::mem::take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, channel: &str, payload: &str) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        match (channel, payload.parse()) {
            (notify::DAG_RUN, Ok(run)) if gathered.runs.len() < CAPACITY => {
                gathered.runs.insert(run);
            }
            (notify::DAG, _) => gathered.dags = true,
            _ => gathered.everything = true,
        }
        drop(gathered);
        self.arrived.notify_one();
    }

    fn add_everything(&self) {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner).everything = true;
        self.arrived.notify_one();
    }

    /// Gathers notifications until the shutdown. When the connection breaks, notifications are lost: then everything is
    /// looked at.
    pub(crate) async fn gather(self, mut listener: PgListener, shutdown: CancellationToken) {
        loop {
            let received = tokio::select! {
                () = shutdown.cancelled() => return,
                received = listener.try_recv() => received,
            };
            match received {
                Ok(Some(notification)) => self.add(notification.channel(), notification.payload()),
                Ok(None) => self.add_everything(),
                Err(error) => {
                    tracing::warn!(%error, "notifications are not received; polling meanwhile");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    self.add_everything();
                }
            }
        }
    }
}

/// Runs that time alone may move on: retries, reschedules, time-outs.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    by_time: BTreeMap<DateTime<Utc>, BTreeSet<i32>>,
    by_run: BTreeMap<i32, DateTime<Utc>>,
}

impl Alarms {
    /// Sets, moves or clears the alarm of a run.
    pub(crate) fn set(&mut self, run: i32, at: Option<DateTime<Utc>>) {
        if let Some(before) = self.by_run.remove(&run)
            && let Some(runs) = self.by_time.get_mut(&before)
        {
            runs.remove(&run);
            if runs.is_empty() {
                self.by_time.remove(&before);
            }
        }
        if let Some(at) = at {
            self.by_run.insert(run, at);
            self.by_time.entry(at).or_default().insert(run);
        }
    }

    /// When the first alarm rings.
    pub(crate) fn next(&self) -> Option<DateTime<Utc>> {
        self.by_time.keys().next().copied()
    }

    /// Takes the runs whose alarm has rung.
    pub(crate) fn take_due(&mut self, now: DateTime<Utc>) -> BTreeSet<i32> {
        let mut due = BTreeSet::new();
        while let Some(entry) = self.by_time.first_entry()
            && *entry.key() <= now
        {
            due.append(&mut entry.remove());
        }
        self.by_run.retain(|run, _| !due.contains(run));
        due
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn an_alarm_rings_once_at_its_last_setting() {
        let now = Utc::now();
        let at = |seconds| now + TimeDelta::seconds(seconds);
        let mut alarms = Alarms::default();
        alarms.set(1, Some(at(5)));
        alarms.set(2, Some(at(5)));
        alarms.set(1, Some(at(9)));
        alarms.set(3, Some(at(1)));
        alarms.set(3, None);
        assert_eq!(alarms.next(), Some(at(5)));
        assert_eq!(alarms.take_due(at(8)), BTreeSet::from([2]));
        assert_eq!(alarms.take_due(at(9)), BTreeSet::from([1]));
        assert_eq!((alarms.next(), alarms.take_due(at(99))), (None, BTreeSet::new()));
    }

    #[test]
    fn news_that_cannot_be_read_means_looking_at_everything() {
        let news = News::default();
        news.add(notify::DAG_RUN, "7");
        news.add(notify::DAG, "some_dag");
        let gathered = news.take();
        assert_eq!((gathered.runs, gathered.dags, gathered.everything), (BTreeSet::from([7]), true, false));
        news.add(notify::DAG_RUN, "seven");
        assert!(news.take().everything);
    }
}
