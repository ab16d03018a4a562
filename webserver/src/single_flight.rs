//! Work that many ask for at once is done once.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

/// Shares one outcome among all who ask for the same meanwhile.
///
/// Nobody gets an outcome that was begun before they asked, so that whoever has changed something sees it in the next
/// answer: while one is being worked out, all who come wait together for the one after it. Nothing is kept here.
#[derive(Debug)]
pub(crate) struct SingleFlight<K, V>(Mutex<HashMap<K, Arc<Line<V>>>>);

/// What is under way for one key.
#[derive(Debug)]
struct Line<V> {
    /// Held by the one that is being worked out.
    turn: tokio::sync::Mutex<()>,
    /// The one that has not begun.
    next: Mutex<Arc<OnceCell<V>>>,
}

impl<V> Line<V> {
    /// From here on others wait for the one after this.
    fn depart(&self, flight: &Arc<OnceCell<V>>) {
        let mut next = lock(&self.next);
        if Arc::ptr_eq(&next, flight) {
            *next = Arc::default();
        }
    }
}

impl<V> Default for Line<V> {
    fn default() -> Self {
        Self { turn: tokio::sync::Mutex::default(), next: Mutex::default() }
    }
}

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone, V: Clone> SingleFlight<K, V> {
    /// What `work` gives, done by this caller or by another that asked for `key` too.
    ///
    /// # Errors
    /// Those of `work`; each caller gets its own, since others then work it out for themselves.
    pub(crate) async fn run<E>(&self, key: &K, work: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let place = Place { flights: self, key, line: Arc::clone(lock(&self.0).entry(key.clone()).or_default()) };
        let next = Arc::clone(&lock(&place.line.next));
        let outcome = next.get_or_try_init(|| async {
            let _turn = place.line.turn.lock().await;
            place.line.depart(&next);
            work.await
        });
        outcome.await.cloned()
    }
}

/// A caller's place in the line for a key; the last one to leave takes the line away.
struct Place<'a, K: Hash + Eq, V> {
    flights: &'a SingleFlight<K, V>,
    key: &'a K,
    line: Arc<Line<V>>,
}

impl<K: Hash + Eq, V> Drop for Place<'_, K, V> {
    fn drop(&mut self) {
        let mut lines = lock(&self.flights.0);
        // The map's and this one: places are taken under the same lock.
        if Arc::strong_count(&self.line) == 2 {
            lines.remove(self.key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;
    use tokio::task::{JoinHandle, yield_now};

    /// Work that ends when it is let.
    #[derive(Clone)]
    struct Desk {
        flights: Arc<SingleFlight<&'static str, usize>>,
        begun: Arc<AtomicUsize>,
        gate: Arc<Semaphore>,
    }

    impl Desk {
        fn open() -> Self {
            Self { flights: Arc::default(), begun: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
        }

        /// Asks, and goes as far as that goes. Gives the number of the work it got the outcome of.
        async fn ask(&self) -> JoinHandle<usize> {
            let desk = self.clone();
            let asked = tokio::spawn(async move {
                let work = async {
                    let number = desk.begun.fetch_add(1, Ordering::Relaxed);
                    desk.gate.acquire().await.expect("open").forget();
                    Ok::<_, Infallible>(number)
                };
                desk.flights.run(&"key", work).await.expect("cannot fail")
            });
            settle().await;
            asked
        }

        async fn let_one_end(&self) {
            self.gate.add_permits(1);
            settle().await;
        }

        fn is_empty(&self) -> bool {
            lock(&self.flights.0).is_empty()
        }
    }

    /// Lets every task go as far as it can; there is one thread.
    async fn settle() {
        for _ in 0..20 {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_comes_while_it_is_under_way_shares_the_next() {
        let desk = Desk::open();
        let first = desk.ask().await;
        let second = [desk.ask().await, desk.ask().await, desk.ask().await];
        desk.let_one_end().await;
        let third = desk.ask().await;
        assert_eq!(first.await.expect("no panic"), 0);
        desk.let_one_end().await;
        for asked in second {
            assert_eq!(asked.await.expect("no panic"), 1);
        }
        assert!(!desk.is_empty());
        desk.let_one_end().await;
        assert_eq!(third.await.expect("no panic"), 2);
        assert!(desk.is_empty(), "nothing is kept");
    }

    #[tokio::test]
    async fn who_leaves_leaves_the_work_to_another() {
        let desk = Desk::open();
        let (leaver, stayer) = (desk.ask().await, desk.ask().await);
        leaver.abort();
        desk.let_one_end().await;
        assert_eq!(stayer.await.expect("no panic"), 1);
        assert!(desk.is_empty(), "nothing is kept");
    }

    #[tokio::test]
    async fn failures_are_not_shared() {
        let flights = SingleFlight::<&str, ()>::default();
        assert_eq!(flights.run(&"key", async { Err("failed") }).await, Err("failed"));
        assert_eq!(flights.run(&"key", async { Ok::<_, &str>(()) }).await, Ok(()));
    }
}
