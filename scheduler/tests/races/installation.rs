//! An installation in which one turn of a scheduler has everything to do, and what must hold of it.

use std::collections::HashSet;

use serde_json::json;
use sqlx::{AssertSqlSafe, query, query_scalar};
use tokio::time::Instant;
use tradewind_scheduler::{Options, Scheduler};
use uuid::Uuid;

use crate::support::{DagBuilder, PATIENCE, World, options};

/// Tables that a case fills.
const TABLES: &str = "dag, dag_run, task_instance, task_instance_history, dag_version, serialized_dag, log, job, \
                      task_map, xcom, tradewind.outbox";

/// How many runs there are in the end.
const RUNS: i64 = 5;

pub(super) fn small() -> Options {
    Options { parallelism: 5, ..options() }
}

/// A database with a narrow pool.
pub(super) async fn database() -> World {
    let world = World::new().await;
    query("INSERT INTO slot_pool (pool, slots, description, include_deferred) VALUES ('narrow', 1, '', false)")
        .execute(world.database.pool())
        .await
        .expect("a pool");
    world
}

/// Empties the database and fills it anew: a Dag whose timetable wants runs; one with two queued runs, of which one may
/// run; one whose task instances are silent, restarting, queued without a message, and scheduled.
pub(super) async fn furnish(world: &World) {
    empty(world).await;
    world.add_dag(&timed()).await;
    world.add_dag(&limited()).await;
    let mut old = DagBuilder::new("old").task("silent", &[], json!({"retries": 1, "retry_delay": 0.0}));
    for task_id in ["restarting", "lost", "ready"] {
        old = old.task(task_id, &[], json!({}));
    }
    world.add_dag(&old).await;
    for run in ["r1", "r2"] {
        world.trigger("limited", run).await;
    }
    let run = world.trigger("old", "r").await;
    query("UPDATE dag_run SET state = 'running', start_date = now() WHERE id = $1")
        .bind(run)
        .execute(world.database.pool())
        .await
        .expect("a running run");
    for (task_id, state) in
        [("silent", "running"), ("restarting", "restarting"), ("lost", "queued"), ("ready", "scheduled")]
    {
        query(
            "UPDATE task_instance SET state = $2, try_number = 1, start_date = now() - interval '2 hours', \
             queued_dttm = now() - interval '2 hours', last_heartbeat_at = now() - interval '1 hour', \
             hostname = 'gone', pid = 1 WHERE dag_id = 'old' AND task_id = $1",
        )
        .bind(task_id)
        .bind(state)
        .execute(world.database.pool())
        .await
        .expect("a task instance");
    }
}

pub(super) async fn empty(world: &World) {
    query(AssertSqlSafe(format!("TRUNCATE {TABLES} CASCADE"))).execute(world.database.pool()).await.expect("no rows");
}

fn timed() -> DagBuilder {
    DagBuilder::new("timed")
        .with("catchup", json!(true))
        .with("start_date", json!(1_704_067_200.0))
        .with("end_date", json!(1_704_153_600.0))
        .with(
            "timetable",
            json!({
                "__type": "airflow.timetables.interval.CronDataIntervalTimetable",
                "__var": {"expression": "0 0 * * *", "timezone": "UTC"},
            }),
        )
        .column("max_active_runs", json!(1))
        .column("next_dagrun", json!("2024-01-01T00:00:00Z"))
        .column("next_dagrun_data_interval_start", json!("2024-01-01T00:00:00Z"))
        .column("next_dagrun_data_interval_end", json!("2024-01-02T00:00:00Z"))
        .column("next_dagrun_create_after", json!("2024-01-02T00:00:00Z"))
        .task("a", &[], json!({}))
}

fn limited() -> DagBuilder {
    DagBuilder::new("limited")
        .column("max_active_runs", json!(1))
        .column("max_active_tasks", json!(3))
        .column("has_task_concurrency_limits", json!(true))
        .task("a", &["b"], json!({}))
        .task("b", &[], json!({"max_active_tis_per_dag": 1}))
        .task("c", &[], json!({"pool": "narrow"}))
        .task("d", &[], json!({"pool": "narrow"}))
}

/// Statements that count what must not be, each with what it means.
const BROKEN: [(&str, &str); 8] = [
    (
        "I3: more running runs than max_active_runs",
        "SELECT count(*) FROM (SELECT FROM dag_run JOIN dag USING (dag_id) WHERE state = 'running' \
         GROUP BY dag_id, max_active_runs HAVING count(*) > max_active_runs) AS broken",
    ),
    (
        "I3: more active task instances than max_active_tasks",
        "SELECT count(*) FROM (SELECT FROM task_instance JOIN dag USING (dag_id) WHERE state IN ('queued', 'running') \
         GROUP BY dag_id, run_id, max_active_tasks HAVING count(*) > max_active_tasks) AS broken",
    ),
    (
        "I3: more slots taken than the pool has",
        "SELECT count(*) FROM (SELECT FROM task_instance JOIN slot_pool USING (pool) WHERE state IN ('queued', 'running') \
         GROUP BY pool, slots HAVING sum(pool_slots) > slots) AS broken",
    ),
    (
        "I3: max_active_tis_per_dag of b",
        "SELECT greatest(count(*) - 1, 0) FROM task_instance \
         WHERE dag_id = 'limited' AND task_id = 'b' AND state IN ('queued', 'running')",
    ),
    (
        "I3: more active task instances than parallelism",
        "SELECT greatest(count(*) - 5, 0) FROM task_instance WHERE state IN ('queued', 'running')",
    ),
    (
        "I5: a queued task instance without a message",
        "SELECT count(*) FROM task_instance WHERE state = 'queued' AND queued_dttm > now() - interval '1 hour' \
         AND NOT EXISTS (SELECT FROM tradewind.outbox WHERE ti_id = task_instance.id)",
    ),
    (
        "I7: a run that has ended, but not its task instances",
        "SELECT count(*) FROM task_instance JOIN dag_run USING (dag_id, run_id) \
         WHERE dag_run.state IN ('success', 'failed') AND (task_instance.state IS NULL OR task_instance.state NOT IN \
         ('success', 'failed', 'skipped', 'upstream_failed', 'removed'))",
    ),
    (
        "I8: two runs for one logical date",
        "SELECT count(*) FROM (SELECT FROM dag_run WHERE run_type = 'scheduled' \
         GROUP BY dag_id, logical_date HAVING count(*) > 1) AS broken",
    ),
];

/// Asserts the invariants on what is committed.
pub(super) async fn check(world: &World, case: &str) {
    for (invariant, statement) in BROKEN {
        let broken: i64 = query_scalar(statement).fetch_one(world.database.pool()).await.expect("a number");
        assert_eq!(broken, 0, "{invariant} ({case})");
    }
}

/// Attempts that ran, each once.
#[derive(Default)]
pub(super) struct Ran(HashSet<Uuid>);

impl Ran {
    pub(super) fn note(&mut self, id: Uuid, case: &str) {
        assert!(self.0.insert(id), "I1: attempt {id} ran twice ({case})");
    }
}

/// A scheduler that lives, and a worker, bring everything to its end.
pub(super) async fn recover(world: &World, ran: &mut Ran, runs: i64, case: &str) {
    let mut scheduler = Scheduler::new(world.database.database().clone(), small()).await.expect("a scheduler");
    let deadline = Instant::now() + PATIENCE;
    let ended = "SELECT count(*) FROM dag_run WHERE state IN ('success', 'failed')";
    while world.count(ended).await < runs {
        assert!(Instant::now() < deadline, "a task or a run was lost ({case})");
        scheduler.take_whole_turn().await.expect("a turn");
        check(world, case).await;
        for claim in world.claim(8).await {
            ran.note(claim.id, case);
            world.succeed(&claim).await;
        }
    }
    check(world, case).await;
    let left = "SELECT count(*) FROM tradewind.outbox JOIN task_instance ON task_instance.id = outbox.ti_id";
    assert_eq!(world.count(left).await, 0, "a message is left ({case})");
    assert_eq!(world.count("SELECT count(*) FROM dag_run").await, runs, "runs that nobody asked for ({case})");
}

/// The same for a furnished installation, in which everything succeeds.
pub(super) async fn recover_all(world: &World, case: &str) {
    recover(world, &mut Ran::default(), RUNS, case).await;
    assert_eq!(world.count("SELECT count(*) FROM dag_run WHERE state = 'success'").await, RUNS, "{case}");
    let silent = "SELECT count(*) FROM log WHERE event = 'heartbeat timeout'";
    assert_eq!(world.count(silent).await, 1, "the silent attempt is ended once ({case})");
}
