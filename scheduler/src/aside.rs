//! Looks beside the turns, one at a time: at runs that a sweep has found, and at those of thousands of task instances.
//! What is told of other runs never waits for them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tradewind_metadata::Result;

use crate::agenda::News;
use crate::retried;
use crate::run_scheduling::{Looked, RunScheduler};

/// A look that was taken.
#[derive(Debug)]
pub(crate) struct Look {
    /// The run's id.
    pub(crate) run: i32,
    /// When that was told of for which it was looked at.
    pub(crate) heard: Option<DateTime<Utc>>,
    pub(crate) began: DateTime<Utc>,
    pub(crate) ended: DateTime<Utc>,
    pub(crate) looked: Result<Looked>,
}

impl Look {
    /// Takes a look at a run.
    pub(crate) async fn at(run: i32, heard: Option<DateTime<Utc>>, runs: &RunScheduler) -> Self {
        let began = Utc::now();
        let looked = retried(|| runs.schedule(run, heard, Utc::now())).await;
        Self { run, heard, began, ended: Utc::now(), looked }
    }
}

/// The runs that wait for a look beside the turns, and the one that is looked at.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    waiting: IndexMap<i32, Option<DateTime<Utc>>>,
    current: Option<(i32, oneshot::Receiver<Look>)>,
}

impl Aside {
    /// Adds a run, unless it waits already.
    pub(crate) fn add(&mut self, run: i32, heard: Option<DateTime<Utc>>) {
        // What must be looked at in any case stays so.
        self.waiting.entry(run).and_modify(|known| *known = known.and(heard)).or_insert(heard);
    }

    /// Whether the run is being looked at: it cannot be looked at elsewhere meanwhile.
    pub(crate) fn looks_at(&self, run: i32) -> bool {
        self.current.as_ref().is_some_and(|(current, _)| *current == run)
    }

    /// Begins the next look, unless one is being taken; its end is news.
    pub(crate) fn begin(&mut self, runs: &Arc<RunScheduler>, news: &News) {
        if self.current.is_some() {
            return;
        }
        let Some((run, heard)) = self.take_waiting() else { return };
        let (done, receiver) = oneshot::channel();
        let (runs, news) = (Arc::clone(runs), news.clone());
        tokio::spawn(async move {
            let look = Look::at(run, heard, &runs).await;
            // Nobody waits for it any more when the scheduler has ended.
            let _ = done.send(look);
            news.remind();
        });
        self.current = Some((run, receiver));
    }

    /// The look that has ended since the last question.
    pub(crate) fn take_ended(&mut self) -> Option<Look> {
        let (run, receiver) = self.current.as_mut()?;
        let look = match receiver.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Closed) => {
                tracing::error!(dag_run_id = *run, "the look at a run was broken off; the next sweep finds the run");
                None
            }
            Ok(look) => Some(look),
        };
        self.current = None;
        look
    }

    /// The run that has waited longest.
    pub(crate) fn take_waiting(&mut self) -> Option<(i32, Option<DateTime<Utc>>)> {
        self.waiting.shift_remove_index(0)
    }

    /// Waits for the end of the look that is being taken, so that its transaction is whole.
    pub(crate) async fn settle(&mut self) {
        if let Some((_, receiver)) = self.current.take() {
            receiver.await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_waits_once_and_in_its_turn() {
        let now = Utc::now();
        let mut aside = Aside::default();
        aside.add(2, Some(now));
        aside.add(1, None);
        aside.add(2, None);
        aside.add(1, Some(now));
        assert_eq!(aside.take_waiting(), Some((2, None)), "it must be looked at in any case");
        assert_eq!(aside.take_waiting(), Some((1, None)));
        assert_eq!(aside.take_waiting(), None);
        let later = now + chrono::TimeDelta::seconds(1);
        aside.add(3, Some(now));
        aside.add(3, Some(later));
        assert_eq!(aside.take_waiting(), Some((3, Some(later))), "what was told last counts");
    }
}
