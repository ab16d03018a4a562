//! What many ask for at once is done together.

use crate::error::{ApiError, ApiResult};
use futures::future::join_all;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Items of one batch at most.
const LARGEST: usize = 64;
/// Batches under way at once at most: fewer leave processors of the database idle.
const LANES: usize = 16;

/// Work that costs little more for many items than for one.
pub(crate) trait Work: Send + Sync + 'static {
    /// What is asked for.
    type Item: Send + Sync;
    /// What becomes of an item.
    type Outcome: Send;

    /// Works on a batch, as a whole or not at all. The outcomes are in the order of the items.
    ///
    /// # Errors
    /// Whatever fails the batch; each of its items is then worked on alone, so that none fails for another's sake.
    fn run(&self, items: &[Self::Item]) -> impl Future<Output = ApiResult<Vec<ApiResult<Self::Outcome>>>> + Send;
}

/// Gathers items while batches are under way, which make up the next one: an item that comes alone does not wait, and the more
/// come the less each of them costs.
///
/// What waits is bounded by the requests that are being answered. A batch goes on when who asked for it has left.
pub(crate) struct Batches<W: Work>(Arc<Line<W>>);

struct Line<W: Work> {
    work: W,
    queue: Mutex<Queue<W>>,
}

struct Queue<W: Work> {
    waiting: VecDeque<Waiting<W>>,
    under_way: usize,
}

struct Waiting<W: Work> {
    item: W::Item,
    answer: Answer<W>,
}

type Answer<W> = oneshot::Sender<ApiResult<<W as Work>::Outcome>>;

impl<W: Work> Batches<W> {
    /// Nothing waits yet.
    pub(crate) fn new(work: W) -> Self {
        let queue = Queue { waiting: VecDeque::new(), under_way: 0 };
        Self(Arc::new(Line { work, queue: Mutex::new(queue) }))
    }

    /// What becomes of an item.
    ///
    /// # Errors
    /// Those of its work.
    pub(crate) async fn submit(&self, item: W::Item) -> ApiResult<W::Outcome> {
        let (answer, outcome) = oneshot::channel();
        let departs = {
            let mut queue = self.0.lock();
            queue.waiting.push_back(Waiting { item, answer });
            let departs = queue.under_way < LANES;
            queue.under_way += usize::from(departs);
            departs
        };
        if departs {
            tokio::spawn(Departing(Arc::clone(&self.0)).work_off());
        }
        outcome.await.map_err(|_| ApiError::internal(&"what was asked for was given up"))?
    }
}

impl<W: Work> Line<W> {
    fn lock(&self) -> MutexGuard<'_, Queue<W>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch, empty where nothing waits: then this lane is free.
    fn next(&self) -> (Vec<W::Item>, Vec<Answer<W>>) {
        let mut queue = self.lock();
        let size = queue.waiting.len().min(LARGEST);
        if size == 0 {
            queue.under_way -= 1;
        }
        queue.waiting.drain(..size).map(|waiting| (waiting.item, waiting.answer)).unzip()
    }

    async fn run(&self, items: Vec<W::Item>) -> Vec<ApiResult<W::Outcome>> {
        match self.work.run(&items).await {
            Ok(outcomes) => outcomes,
            Err(error) if items.len() == 1 => vec![Err(error)],
            Err(_) => {
                // At once: where it is the database that fails, each would wait for it in turn.
                let alone = items.iter().map(|item| self.work.run(std::slice::from_ref(item)));
                let outcomes = join_all(alone).await.into_iter();
                outcomes.flat_map(|outcome| outcome.unwrap_or_else(|error| vec![Err(error)])).collect()
            }
        }
    }
}

/// Works off what waits. Should the work panic, who waits is told, and the next one departs anew.
struct Departing<W: Work>(Arc<Line<W>>);

impl<W: Work> Departing<W> {
    async fn work_off(self) {
        loop {
            let (items, answers) = self.0.next();
            if items.is_empty() {
                return;
            }
            let outcomes = self.0.run(items).await;
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // Who asked may have left.
                let _ = answer.send(outcome);
            }
        }
    }
}

impl<W: Work> Drop for Departing<W> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = self.0.lock();
            queue.waiting.clear();
            queue.under_way -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    /// Doubles numbers; a batch with a zero fails, one with a thousand panics.
    #[derive(Default)]
    struct Doubling {
        batches: Mutex<Vec<Vec<u32>>>,
    }

    impl Work for Arc<Doubling> {
        type Item = u32;
        type Outcome = u32;

        async fn run(&self, items: &[u32]) -> ApiResult<Vec<ApiResult<u32>>> {
            self.batches.lock().expect("no panic").push(items.to_vec());
            tokio::task::yield_now().await;
            assert!(!items.contains(&1_000), "a thousand");
            if items.contains(&0) {
                return Err(ApiError::bad_request("zero"));
            }
            Ok(items.iter().map(|item| Ok(item * 2)).collect())
        }
    }

    async fn submit_all(batches: &Batches<Arc<Doubling>>, items: impl IntoIterator<Item = u32>) -> Vec<Option<u32>> {
        join_all(items.into_iter().map(|item| batches.submit(item))).await.into_iter().map(Result::ok).collect()
    }

    #[tokio::test]
    async fn who_comes_meanwhile_goes_together() {
        let work = Arc::<Doubling>::default();
        let batches = Batches::new(Arc::clone(&work));
        assert_eq!(batches.submit(1).await.ok(), Some(2));
        let outcomes = submit_all(&batches, 1..=200).await;
        assert_eq!(outcomes, (1..=200).map(|item| Some(item * 2)).collect::<Vec<_>>());
        let sizes: Vec<usize> = work.batches.lock().expect("no panic").iter().map(Vec::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 201);
        assert!(sizes.len() <= 4 + 2 * LANES && sizes.iter().all(|size| *size <= LARGEST), "{sizes:?}");
    }

    #[tokio::test]
    async fn none_fails_for_another() {
        let batches = Batches::new(Arc::<Doubling>::default());
        assert_eq!(submit_all(&batches, [1, 0, 3]).await, [Some(2), None, Some(6)]);
        let error = batches.submit(0).await.expect_err("zero");
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn a_panic_is_told_and_forgotten() {
        let batches = Batches::new(Arc::<Doubling>::default());
        assert_eq!(submit_all(&batches, [1_000, 8]).await, [None, None]);
        assert_eq!(batches.submit(4).await.ok(), Some(8));
    }
}
