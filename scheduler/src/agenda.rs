//! What the scheduler has to look at, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tradewind_metadata::notify;

/// Runs, or Dags, told of at most between two looks; with more, everything is looked at instead.
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
    /// Runs that changed, and when that was told of last.
    pub(crate) runs: BTreeMap<i32, DateTime<Utc>>,
    /// Dags that changed, were paused or un-paused.
    pub(crate) dags: BTreeSet<String>,
    /// Dags that may have the asset events they wait for.
    pub(crate) assets: BTreeSet<String>,
    /// Asset events wait for partition mappers of plugins.
    pub(crate) unmapped: bool,
    /// Runs may have to be made.
    pub(crate) create: bool,
    /// Something may have been missed: look at everything.
    pub(crate) everything: bool,
}

impl News {
    /// Waits until there is news.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Makes as if there were news: something is left to do.
    pub(crate) fn remind(&self) {
        self.arrived.notify_one();
    }

    /// Takes what has been gathered.
    pub(crate) fn take(&self) -> Gathered {
        std::mem::take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, channel: &str, payload: &str) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        match (channel, payload.parse()) {
            (notify::DAG_RUN, Ok(run)) if gathered.runs.len() < CAPACITY => {
                gathered.runs.insert(run, Utc::now());
            }
            (notify::DAG, _) if gathered.dags.len() < CAPACITY => {
                gathered.dags.insert(payload.to_owned());
                gathered.assets.insert(payload.to_owned());
            }
            (notify::ASSET, _) if gathered.assets.len() < CAPACITY => {
                gathered.assets.insert(payload.to_owned());
            }
            (notify::PARTITION_EVENT, _) => gathered.unmapped = true,
            _ => gathered.everything = true,
        }
        drop(gathered);
        self.arrived.notify_one();
    }

    /// A run may go on that waited for something within this process.
    pub(crate) fn add_run(&self, run: i32) {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner).runs.insert(run, Utc::now());
        self.arrived.notify_one();
    }

    /// A Dag may have a run made that waited for something within this process.
    pub(crate) fn add_dags(&self) {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner).create = true;
        self.arrived.notify_one();
    }

    /// The Dag's partitions may have what they wait for, which was worked out within this process.
    pub(crate) fn add_asset(&self, dag_id: String) {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner).assets.insert(dag_id);
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

/// What the next turn has to do. What a turn that fails did not get to stays for the one after.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    /// Runs to look at. One that was told of need not be looked at when another scheduler has decided on it since then;
    /// the others are looked at in any case.
    pub(crate) runs: BTreeMap<i32, Option<DateTime<Utc>>>,
    /// Dags whose running runs have to be looked at.
    pub(crate) dags: BTreeSet<String>,
    /// Dags that may have the asset events they wait for.
    pub(crate) assets: BTreeSet<String>,
    /// Any Dag may have them.
    pub(crate) all_assets: bool,
    /// Runs that have ended, behind which asset events may have waited.
    pub(crate) ended: Vec<i32>,
    /// Runs may have to be made.
    pub(crate) create: bool,
    /// Asset events may wait for partition mappers of plugins.
    pub(crate) unmapped: bool,
    /// Queued runs may have become ready to start.
    pub(crate) start: bool,
    /// Look at everything.
    pub(crate) everything: bool,
    /// Task instances may have become ready, or slots free.
    pub(crate) dispatch: bool,
}

impl Agenda {
    /// Adds what has been told.
    pub(crate) fn add(&mut self, gathered: Gathered) {
        for (run, heard) in gathered.runs {
            self.runs.entry(run).and_modify(|since| *since = since.map(|_| heard)).or_insert(Some(heard));
        }
        self.create |= gathered.create || !gathered.dags.is_empty();
        self.dags.extend(gathered.dags);
        self.assets.extend(gathered.assets);
        self.unmapped |= gathered.unmapped;
        self.everything |= gathered.everything;
    }

    /// Adds runs to look at in any case.
    pub(crate) fn add_runs(&mut self, runs: impl IntoIterator<Item = i32>) {
        self.runs.extend(runs.into_iter().map(|run| (run, None)));
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

    /// Sets the alarm of a run unless it rings earlier anyway.
    pub(crate) fn set_by(&mut self, run: i32, at: DateTime<Utc>) {
        if self.by_run.get(&run).is_none_or(|known| at < *known) {
            self.set(run, Some(at));
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

/// How long a run rests after a look at it, in multiples of what the look took.
const REST: i32 = 2;

/// A look that took no longer needs no rest.
const QUICK: TimeDelta = TimeDelta::milliseconds(20);

/// How long it is remembered that a look took long.
const MEMORY: TimeDelta = TimeDelta::minutes(10);

/// Runs that are left alone for a while, because the last look at them took long: thousands of task instances are read
/// for it. What ends meanwhile is looked at together, so that one large run never takes all the time of the scheduler.
/// Free slots are given away at once all the same.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    until: BTreeMap<i32, DateTime<Utc>>,
}

impl Rest {
    /// Notes what a look at a run took.
    pub(crate) fn after(&mut self, run: i32, began: DateTime<Utc>, ended: DateTime<Utc>) {
        let took = ended - began;
        if took > QUICK {
            self.until.insert(run, ended + took * REST);
            self.until.retain(|_, until| ended - *until < MEMORY);
        } else {
            self.until.remove(&run);
        }
    }

    /// Whether the last look at a run took long, so that the next one will.
    pub(crate) fn takes_long(&self, run: i32) -> bool {
        self.until.contains_key(&run)
    }

    /// Until when a run rests still.
    pub(crate) fn of(&self, run: i32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.until.get(&run).copied().filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
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
        alarms.set_by(1, at(12));
        assert_eq!(alarms.next(), Some(at(5)));
        assert_eq!(alarms.take_due(at(8)), BTreeSet::from([2]));
        assert_eq!(alarms.take_due(at(9)), BTreeSet::from([1]));
        assert_eq!((alarms.next(), alarms.take_due(at(99))), (None, BTreeSet::new()));
    }

    #[test]
    fn a_run_rests_in_proportion_to_what_it_costs() {
        let now = Utc::now();
        let at = |milliseconds| now + TimeDelta::milliseconds(milliseconds);
        let mut rest = Rest::default();
        rest.after(1, now, at(10));
        rest.after(2, now, at(50));
        assert_eq!((rest.of(1, at(10)), rest.of(2, at(50))), (None, Some(at(150))));
        assert_eq!((rest.of(2, at(150)), rest.takes_long(2), rest.takes_long(1)), (None, true, false));
        rest.after(2, at(150), at(160));
        assert!(!rest.takes_long(2));
        rest.after(3, now, at(50));
        rest.after(4, at(700_000), at(700_050));
        assert!(rest.takes_long(4) && !rest.takes_long(3), "what nobody looks at any more is forgotten");
    }

    #[test]
    fn a_run_that_must_be_looked_at_in_any_case_stays_so() {
        let mut agenda = Agenda::default();
        let heard = |run| Gathered { runs: BTreeMap::from([(run, Utc::now())]), ..Gathered::default() };
        agenda.add_runs([1]);
        agenda.add(heard(1));
        assert_eq!(agenda.runs.get(&1), Some(&None));
        agenda.add(heard(2));
        let before = agenda.runs[&2];
        agenda.add(heard(2));
        assert!(before.is_some() && agenda.runs[&2] > before, "what was told last counts");
        agenda.add_runs([2]);
        assert_eq!(agenda.runs.get(&2), Some(&None));
    }

    #[test]
    fn news_that_cannot_be_read_means_looking_at_everything() {
        let news = News::default();
        news.add(notify::DAG_RUN, "7");
        news.add(notify::DAG, "some_dag");
        let gathered = news.take();
        assert!(gathered.runs.keys().eq(&[7]) && gathered.dags.iter().eq(["some_dag"]) && !gathered.everything);
        news.add(notify::ASSET, "other_dag");
        let gathered = news.take();
        assert!(gathered.dags.is_empty() && gathered.assets.iter().eq(["other_dag"]));
        news.add(notify::DAG_RUN, "seven");
        assert!(news.take().everything);
    }
}
