//! What was found, for a while: `SecretCache` in `airflow/sdk/execution_time/cache.py`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Asked;

/// What is remembered at most.
const MOST: usize = 10_000;

/// What was found of each name, and when.
type Entries<T> = HashMap<(Asked, String), (Instant, Option<T>)>;

/// Remembers for a while what was found, and that nothing was.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    for_: Duration,
    entries: Mutex<Entries<T>>,
}

impl<T: Clone> Cache<T> {
    pub(crate) fn new(for_: Duration) -> Self {
        Self { for_, entries: Mutex::default() }
    }

    /// What is known; the outer `None` where nothing is.
    pub(crate) fn get(&self, asked: Asked, name: &str) -> Option<Option<T>> {
        let entries = self.lock();
        let (at, found) = entries.get(&(asked, name.to_owned()))?;
        (at.elapsed() <= self.for_).then(|| found.clone())
    }

    pub(crate) fn set(&self, asked: Asked, name: &str, found: Option<T>) {
        let mut entries = self.lock();
        if entries.len() >= MOST {
            entries.retain(|_, (at, _)| at.elapsed() <= self.for_);
        }
        if entries.len() >= MOST {
            entries.clear();
        }
        entries.insert((asked, name.to_owned()), (Instant::now(), found));
    }

    pub(crate) fn forget(&self, name: &str) {
        let mut entries = self.lock();
        for asked in [Asked::Workers, Asked::Server] {
            entries.remove(&(asked, name.to_owned()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<T>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_forgotten_in_time_or_when_told() {
        let cache = Cache::new(Duration::from_secs(3_600));
        cache.set(Asked::Workers, "a", None);
        cache.set(Asked::Server, "a", Some(1));
        assert_eq!((cache.get(Asked::Workers, "a"), cache.get(Asked::Server, "a")), (Some(None), Some(Some(1))));
        cache.forget("a");
        assert_eq!((cache.get(Asked::Workers, "a"), cache.get(Asked::Server, "a")), (None, None));
        for number in 0..=MOST {
            cache.set(Asked::Server, &number.to_string(), Some(1));
        }
        assert!(cache.lock().len() <= MOST);

        let cache = Cache::new(Duration::ZERO);
        cache.set(Asked::Server, "a", Some(1));
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(cache.get(Asked::Server, "a"), None);
    }
}
