//! The limits, and how much of them is used at any moment.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::{PgPool, query_as};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Pools beside the default one.
pub(crate) const POOLS: [(&str, i32); 2] = [("one_slot", 1), ("two_slots", 2)];

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(150);

/// What is used of each limit, in one snapshot.
const USAGE: &str = "
WITH active AS (
    SELECT dag_id, run_id, task_id, pool, pool_slots FROM task_instance WHERE state IN ('queued', 'running')
)
SELECT 'parallelism' AS name, count(*)::bigint AS used FROM active
UNION ALL
SELECT 'pool ' || pool, sum(pool_slots)::bigint FROM active GROUP BY pool
UNION ALL
SELECT 'max_active_runs of ' || dag_id, count(*)::bigint FROM dag_run WHERE state = 'running' GROUP BY dag_id
UNION ALL
SELECT 'max_active_tasks of ' || dag_id, max(used)::bigint
FROM (SELECT dag_id, run_id, count(*) AS used FROM active GROUP BY dag_id, run_id) AS runs
GROUP BY dag_id
UNION ALL
SELECT 'max_active_tis_per_dag of ' || dag_id || '.' || task_id, count(*)::bigint
FROM active
GROUP BY dag_id, task_id";

/// A limit as the tasks' own evidence can show it.
pub(crate) struct Slot {
    pub(crate) name: &'static str,
    pub(crate) most: i64,
    /// What the name of a task instance begins with, after its Dag and run.
    dag_id: &'static str,
    task_id: &'static str,
}

pub(crate) const SLOTS: [Slot; 3] = [
    Slot { name: "pool one_slot", most: 1, dag_id: "narrow", task_id: "single_" },
    Slot { name: "pool two_slots", most: 2, dag_id: "narrow", task_id: "" },
    Slot { name: "max_active_tis_per_dag of mapped.square", most: 3, dag_id: "mapped", task_id: "square" },
];

impl Slot {
    /// What a task instance takes of it, given as `DAG.RUN.TASK.MAP_INDEX`.
    pub(crate) fn slots_of(&self, task_instance: &str) -> i64 {
        let mut parts = task_instance.split('.');
        let (dag_id, task_id) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
        if dag_id != self.dag_id || !task_id.starts_with(self.task_id) {
            return 0;
        }
        match (self.task_id, task_id) {
            ("", "large") => 2,
            ("", single) if single.starts_with("single_") => 0,
            _ => 1,
        }
    }
}

/// Watches the use of all limits.
pub(crate) struct Limits {
    limits: Vec<(String, i64)>,
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
    watcher: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    looks: usize,
    most: BTreeMap<String, i64>,
}

impl Limits {
    /// All limits.
    pub(crate) fn of_one_installation(parallelism: i64) -> Vec<(String, i64)> {
        let own =
            [("parallelism", parallelism), ("max_active_runs of chain", 3)].map(|(name, most)| (name.to_owned(), most));
        Self::shared_with_others().into_iter().chain(own).collect()
    }

    /// Those that an official scheduler counts in the same critical section: it has a `parallelism` of its own, and counts
    /// active runs while others start some.
    pub(crate) fn shared_with_others() -> Vec<(String, i64)> {
        let pools = POOLS.map(|(pool, slots)| (format!("pool {pool}"), i64::from(slots)));
        let others = [("max_active_tasks of branches", 2), ("max_active_tis_per_dag of mapped.square", 3)];
        pools.into_iter().chain(others.map(|(name, most)| (name.to_owned(), most))).collect()
    }

    /// Begins to watch.
    pub(crate) fn watch(pool: PgPool, limits: Vec<(String, i64)>) -> Self {
        let stop = CancellationToken::new();
        let seen = Arc::default();
        let watcher = tokio::spawn(watch(pool, Arc::clone(&seen), stop.clone()));
        Self { limits, seen, stop, watcher }
    }

    /// Whether each limit was reached by now.
    pub(crate) fn are_reached(&self) -> bool {
        let seen = self.seen.lock().expect("what was seen");
        self.limits.iter().all(|(name, limit)| seen.most.get(name) >= Some(limit))
    }

    /// The highest use of each by now.
    pub(crate) fn report(&self) -> String {
        let seen = self.seen.lock().expect("what was seen");
        let mut report = format!("highest use in {} looks:", seen.looks);
        for (name, limit) in &self.limits {
            let most = seen.most.get(name).copied().unwrap_or(0);
            write!(report, "\n  {name}: {most} of {limit}").expect("a string takes all");
        }
        report
    }

    /// Ends the watch and asserts that no limit was exceeded at any moment seen, and that each was reached: one that was
    /// not has proven nothing. Returns the highest use of each.
    pub(crate) async fn assert_kept_and_reached(self) -> String {
        self.stop.cancel();
        let report = self.report();
        self.watcher.await.expect("the watch");
        let seen = self.seen.lock().expect("what was seen");
        for (name, limit) in &self.limits {
            assert_eq!(seen.most.get(name), Some(limit), "{name}; {report}");
        }
        report
    }
}

async fn watch(pool: PgPool, seen: Arc<Mutex<Seen>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let usage: Vec<(String, i64)> = query_as(USAGE).fetch_all(&pool).await.expect("the use of limits");
        seen.lock().expect("what was seen").note(usage);
        sleep(PAUSE).await;
    }
}

impl Seen {
    fn note(&mut self, usage: Vec<(String, i64)>) {
        self.looks += 1;
        for (name, used) in usage {
            let most = self.most.entry(name).or_default();
            *most = used.max(*most);
        }
    }
}
