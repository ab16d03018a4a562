//! What was worked out from the database, kept for as long as nothing in the database changes.
//!
//! Postgres tells with each statement which transactions it sees. Two statements that see the same ones see the same rows, so
//! what was read under one snapshot holds under an equal one: nobody gets an answer that is older than their question. One
//! commit anywhere, be it the heartbeat of a scheduler, ends it; what this spares is asking the same again between commits.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tradewind_metadata::weighted_lru::WeightedLru;

use crate::single_flight::SingleFlight;

/// How many values are kept.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// How many bytes the values take together.
const BYTES: usize = 16 << 20;

/// For how long a value is used at most: some tell how long something has been going on.
const LONGEST: Duration = Duration::from_secs(1);

/// The transactions that a statement sees, as `pg_current_snapshot()` tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot(String);

impl Snapshot {
    /// What a statement sees now.
    pub(crate) async fn now(pool: &PgPool) -> sqlx::Result<Self> {
        sqlx::query_scalar("SELECT pg_current_snapshot()::text").fetch_one(pool).await.map(Self)
    }
}

impl From<String> for Snapshot {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Work that is done once for all who ask for it at once ([`SingleFlight`]), and whose outcome is used again while it holds.
#[derive(Debug)]
pub(crate) struct SharedWork<K: Hash + Eq, V> {
    flights: SingleFlight<K, V>,
    kept: Mutex<WeightedLru<K, Kept<V>>>,
}

#[derive(Debug)]
struct Kept<V> {
    read_under: Snapshot,
    since: Instant,
    value: V,
}

impl<K: Hash + Eq, V> Default for SharedWork<K, V> {
    fn default() -> Self {
        Self { flights: SingleFlight::default(), kept: Mutex::new(WeightedLru::new(CAPACITY, BYTES)) }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> SharedWork<K, V> {
    /// What `work` gives: what it gave before, if that holds under `snapshot`, which was taken since the caller was asked.
    /// `bytes` says how much memory an outcome takes; none keeps it from being used again.
    ///
    /// # Errors
    /// Those of `work`.
    pub(crate) async fn get<E>(
        &self,
        pool: &PgPool,
        key: &K,
        snapshot: Snapshot,
        work: impl Future<Output = Result<V, E>>,
        bytes: impl FnOnce(&V) -> Option<usize>,
    ) -> Result<V, E> {
        if let Some(value) = self.kept(key, &snapshot) {
            return Ok(value);
        }
        let work = async {
            // Somebody else may have been faster.
            if let Some(value) = self.kept(key, &snapshot) {
                return Ok(value);
            }
            let value = work.await?;
            if let Some(bytes) = bytes(&value)
                && Snapshot::now(pool).await.is_ok_and(|now| now == snapshot)
            {
                let kept = Kept { read_under: snapshot, since: Instant::now(), value: value.clone() };
                self.lock().put(key.clone(), kept, bytes);
            }
            Ok(value)
        };
        self.flights.run(key, work).await
    }

    fn kept(&self, key: &K, snapshot: &Snapshot) -> Option<V> {
        let mut kept = self.lock();
        let kept = kept.get(key)?;
        (kept.read_under == *snapshot && kept.since.elapsed() < LONGEST).then(|| kept.value.clone())
    }

    fn lock(&self) -> MutexGuard<'_, WeightedLru<K, Kept<V>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tradewind_metadata::testing::TestDatabase;

    use super::*;

    /// Asks how many variables there are.
    struct Desk {
        database: TestDatabase,
        work: SharedWork<&'static str, i64>,
        asked_database: AtomicUsize,
    }

    impl Desk {
        async fn open() -> Self {
            let database = TestDatabase::migrated().await;
            Self { database, work: SharedWork::default(), asked_database: AtomicUsize::new(0) }
        }

        async fn ask(&self, snapshot: Snapshot) -> i64 {
            let pool = self.database.pool();
            let work = async {
                self.asked_database.fetch_add(1, Ordering::Relaxed);
                sqlx::query_scalar("SELECT count(*) FROM variable").fetch_one(pool).await
            };
            self.work.get(pool, &"variables", snapshot, work, |_| Some(8)).await.expect("a count")
        }

        async fn ask_now(&self) -> i64 {
            self.ask(Snapshot::now(self.database.pool()).await.expect("a snapshot")).await
        }

        async fn add(&self, key: String) {
            sqlx::query("INSERT INTO variable (key, val, is_encrypted) VALUES ($1, '', false)")
                .bind(key)
                .execute(self.database.pool())
                .await
                .expect("a variable");
        }
    }

    #[tokio::test]
    async fn what_was_changed_before_the_question_is_in_the_answer() {
        let desk = Desk::open().await;
        for number in 1..=50 {
            desk.ask_now().await;
            desk.add(number.to_string()).await;
            assert_eq!(desk.ask_now().await, number);
        }
    }

    #[tokio::test]
    async fn what_changes_while_it_is_read_is_not_kept() {
        let desk = Desk::open().await;
        let before = Snapshot::now(desk.database.pool()).await.expect("a snapshot");
        desk.add("new".to_owned()).await;
        assert_eq!(desk.ask(before.clone()).await, 1);
        assert_eq!(desk.ask(before).await, 1);
        assert_eq!(desk.asked_database.load(Ordering::Relaxed), 2, "it was read under another snapshot");
    }

    /// Other tests write to databases of the same server, which ends what is kept here.
    #[tokio::test]
    async fn what_nothing_has_changed_is_used_again() {
        let desk = Desk::open().await;
        for _ in 0..2000 {
            desk.ask_now().await;
            let before = desk.asked_database.load(Ordering::Relaxed);
            desk.ask_now().await;
            if desk.asked_database.load(Ordering::Relaxed) == before {
                return;
            }
        }
        panic!("nothing was ever used again");
    }
}
