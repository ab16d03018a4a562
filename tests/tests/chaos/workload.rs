//! What there is to do, and whether it was done.

use std::collections::BTreeMap;

use sqlx::{PgPool, query_as};

/// A Dag of `tests/chaos/dags`: how its task instances have to end, per run.
struct Kind {
    dag_id: &'static str,
    success: u32,
    skipped: u32,
}

const KINDS: [Kind; 4] = [
    Kind { dag_id: "chain", success: 8, skipped: 0 },
    Kind { dag_id: "narrow", success: 8, skipped: 0 },
    Kind { dag_id: "mapped", success: 7, skipped: 0 },
    Kind { dag_id: "branches", success: 7, skipped: 1 },
];

/// Has one task, which outlives the time-out of silent attempts.
const PATIENT: Kind = Kind { dag_id: "patient", success: 1, skipped: 0 };

/// One run of each Dag, with one of the patient one for every so many.
const RUNS_PER_PATIENT_RUN: u32 = 4;

/// Runs that are queued or running.
pub(crate) struct Unfinished {
    pub(crate) all: i64,
    /// Without those of the patient Dag.
    pub(crate) impatient: i64,
}

/// Runs of all Dags.
#[derive(Default)]
pub(crate) struct Workload {
    runs: u32,
}

impl Workload {
    /// As many runs as have so many task instances, at least.
    pub(crate) fn of(tasks: u32) -> Self {
        let per_run: u32 = KINDS.iter().map(|kind| kind.success + kind.skipped).sum();
        Self { runs: tasks.div_ceil(per_run) }
    }

    /// This and more.
    pub(crate) fn and(&self, more: &Self) -> Self {
        Self { runs: self.runs + more.runs }
    }

    /// Runs by Dag.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.kinds().map(|(kind, runs)| (kind.dag_id, runs))
    }

    fn kinds(&self) -> impl Iterator<Item = (&'static Kind, u32)> {
        let usual = KINDS.iter().map(|kind| (kind, self.runs));
        usual.chain([(&PATIENT, self.runs.div_ceil(RUNS_PER_PATIENT_RUN))])
    }

    /// Task instances in all.
    pub(crate) fn tasks(&self) -> u32 {
        self.kinds().map(|(kind, runs)| runs * (kind.success + kind.skipped)).sum()
    }

    pub(crate) async fn unfinished_runs(&self, pool: &PgPool) -> Unfinished {
        let (all, impatient) = query_as(
            "SELECT count(*), count(*) FILTER (WHERE dag_id <> $1) FROM dag_run WHERE state IN ('queued', 'running')",
        )
        .bind(PATIENT.dag_id)
        .fetch_one(pool)
        .await
        .expect("the runs");
        Unfinished { all, impatient }
    }

    /// Asserts that every run succeeded, and that its task instances are as they should be, none missing, none more.
    pub(crate) async fn assert_complete(&self, pool: &PgPool) {
        let runs: Vec<(String, String, i64)> =
            query_as("SELECT dag_id, state, count(*) FROM dag_run GROUP BY dag_id, state")
                .fetch_all(pool)
                .await
                .expect("the runs");
        let wanted = self.kinds().map(|(kind, runs)| ((kind.dag_id.to_owned(), "success".to_owned()), i64::from(runs)));
        assert_eq!(counted(runs), wanted.collect(), "runs");

        let task_instances: Vec<(String, String, i64)> =
            query_as("SELECT dag_id, coalesce(state, 'none'), count(*) FROM task_instance GROUP BY dag_id, state")
                .fetch_all(pool)
                .await
                .expect("the task instances");
        let wanted = self.kinds().flat_map(|(kind, runs)| {
            [("success", kind.success), ("skipped", kind.skipped)]
                .map(|(state, count)| ((kind.dag_id.to_owned(), state.to_owned()), i64::from(runs * count)))
        });
        assert_eq!(counted(task_instances), wanted.filter(|(_, count)| *count > 0).collect(), "task instances");
    }

    /// What waits, for the message of a test that waited in vain.
    pub(crate) async fn left(&self, pool: &PgPool) -> String {
        let left: Vec<(String, String, String, i32, String, i32)> = query_as(
            "SELECT dag_id, run_id, task_id, map_index, coalesce(state, 'none'), try_number FROM task_instance \
             WHERE state IS NULL OR state NOT IN ('success', 'skipped') ORDER BY dag_id, run_id, task_id LIMIT 50",
        )
        .fetch_all(pool)
        .await
        .expect("the task instances");
        format!("{left:?}")
    }
}

fn counted(rows: Vec<(String, String, i64)>) -> BTreeMap<(String, String), i64> {
    rows.into_iter().map(|(dag_id, state, count)| ((dag_id, state), count)).collect()
}
