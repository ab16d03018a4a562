//! The scheduler at work on a real database.

mod deadlines;
mod explanation;
mod metrics;
mod operations;
mod plugins;
mod reaping;
mod support;

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use support::{DagBuilder, World, options};

#[tokio::test]
async fn a_chain_runs_one_after_the_other() {
    let mut world = World::new().await;
    let dag =
        DagBuilder::new("chain").task("a", &["b"], json!({})).task("b", &["c"], json!({})).task("c", &[], json!({}));
    world.add_dag(&dag).await;
    let run = world.trigger("chain", "r").await;
    world.start_scheduler(options()).await;
    for task_id in ["a", "b", "c"] {
        let claim = world.next_claim().await;
        assert_eq!((claim.task_id.as_str(), claim.try_number), (task_id, 1));
        assert!(world.claim(5).await.is_empty(), "nothing else may run beside {task_id}");
        world.succeed(&claim).await;
    }
    world.await_run_state(run, "success").await;
    assert_eq!(world.count("SELECT count(*) FROM tradewind.outbox").await, 0);
    world.stop().await;
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_and_its_failure_goes_downstream() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("retry")
        .task("a", &["b", "c"], json!({"retries": 1, "retry_delay": 0.3}))
        .task("b", &[], json!({}))
        .task("c", &[], json!({"trigger_rule": "one_failed"}));
    world.add_dag(&dag).await;
    let run = world.trigger("retry", "r").await;
    world.start_scheduler(options()).await;
    let first = world.next_claim().await;
    world.fail(&first, true).await;
    let second = world.next_claim().await;
    assert_eq!((second.task_id.as_str(), second.try_number), ("a", 2));
    assert_ne!(first.id, second.id, "every attempt has an id of its own");
    world.fail(&second, false).await;
    let cleanup = world.next_claim().await;
    assert_eq!(cleanup.task_id, "c");
    world.succeed(&cleanup).await;
    world.await_run_state(run, "failed").await;
    let states = world.states(run).await;
    assert_eq!(states[&("b".to_owned(), -1)].as_deref(), Some("upstream_failed"));
    assert_eq!(world.count("SELECT count(*) FROM task_instance_history").await, 1);
    world.stop().await;
}

#[tokio::test]
async fn no_limit_is_exceeded_and_a_full_pool_keeps_nobody_waiting() {
    let mut world = World::new().await;
    sqlx::query("INSERT INTO slot_pool (pool, slots, description, include_deferred) VALUES ('narrow', 2, '', false)")
        .execute(world.database.pool())
        .await
        .expect("a pool");
    let mut narrow = DagBuilder::new("narrow");
    for index in 0..20 {
        narrow = narrow.task(&format!("n{index:02}"), &[], json!({"pool": "narrow", "priority_weight": 100}));
    }
    let wide = DagBuilder::new("wide").column("max_active_tasks", json!(3));
    let wide = (0..9).fold(wide, |dag, index| dag.task(&format!("w{index}"), &[], json!({})));
    world.add_dag(&narrow).await;
    world.add_dag(&wide).await;
    let runs = [world.trigger("narrow", "r").await, world.trigger("wide", "r").await];
    world.start_scheduler(options()).await;
    let mut claimed = 0;
    while claimed < 29 {
        let mut active = Vec::new();
        for _ in 0..4 {
            active.extend(world.claim(50).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut by_dag: HashMap<&str, usize> = HashMap::new();
        for claim in &active {
            *by_dag.entry(claim.dag_id.as_str()).or_default() += 1;
        }
        assert!(by_dag.get("narrow").is_none_or(|count| *count <= 2), "{by_dag:?}");
        assert!(by_dag.get("wide").is_none_or(|count| *count <= 3), "{by_dag:?}");
        claimed += active.len();
        for claim in &active {
            world.succeed(claim).await;
        }
    }
    for run in runs {
        world.await_run_state(run, "success").await;
    }
    world.stop().await;
}

/// More task instances than one page of candidates holds want more slots than are open.
#[tokio::test]
async fn who_wants_too_many_slots_keeps_nobody_waiting() {
    let mut world = World::new().await;
    sqlx::query("INSERT INTO slot_pool (pool, slots, description, include_deferred) VALUES ('small', 1, '', false)")
        .execute(world.database.pool())
        .await
        .expect("a pool");
    let greedy = json!({"pool": "small", "pool_slots": 2, "priority_weight": 100});
    let greedy = (0..2_100).fold(DagBuilder::new("greedy").column("max_active_tasks", json!(5_000)), |dag, index| {
        dag.task(&format!("g{index}"), &[], greedy.clone())
    });
    world.add_dag(&greedy).await;
    world.add_dag(&DagBuilder::new("modest").task("m", &[], json!({"pool": "small"}))).await;
    world.trigger("greedy", "r").await;
    let modest = world.trigger("modest", "r").await;
    world.start_scheduler(options()).await;
    assert_eq!(world.run_to_end(modest).await, "success");
    world.stop().await;
}

#[tokio::test]
async fn task_limits_hold_over_runs() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("limited").column("has_task_concurrency_limits", json!(true)).task(
        "a",
        &[],
        json!({"max_active_tis_per_dag": 1}),
    );
    world.add_dag(&dag).await;
    let runs = [world.trigger("limited", "r1").await, world.trigger("limited", "r2").await];
    world.start_scheduler(options()).await;
    for _ in 0..2 {
        let claim = world.next_claim().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(world.claim(5).await.is_empty());
        world.succeed(&claim).await;
    }
    for run in runs {
        world.await_run_state(run, "success").await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_task_at_its_limit_stands_in_nobodys_way() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("limited")
        .column("has_task_concurrency_limits", json!(true))
        .column("max_active_tasks", json!(1))
        .task("limited", &[], json!({"max_active_tis_per_dag": 1, "priority_weight": 10}))
        .task("other", &[], json!({}));
    world.add_dag(&dag).await;
    world.start_scheduler(options()).await;
    let first = world.trigger("limited", "first").await;
    let limited = world.next_claim().await;
    assert_eq!(limited.task_id, "limited");
    // The second run has room for one: not for the more urgent task, which runs already, but for the other.
    let second = world.trigger("limited", "second").await;
    let other = world.next_claim().await;
    assert_eq!((other.run_id.as_str(), other.task_id.as_str()), ("second", "other"));
    for claim in [&limited, &other] {
        world.succeed(claim).await;
    }
    for run in [first, second] {
        assert_eq!(world.run_to_end(run).await, "success");
    }
    world.stop().await;
}

#[tokio::test]
async fn an_empty_operator_and_a_skipped_branch_cost_no_worker() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("empty")
        .task("a", &["b"], json!({"_is_empty": true, "task_type": "EmptyOperator"}))
        .task("b", &[], json!({"_is_empty": true, "task_type": "EmptyOperator"}));
    world.add_dag(&dag).await;
    let run = world.trigger("empty", "r").await;
    world.start_scheduler(options()).await;
    world.await_run_state(run, "success").await;
    assert_eq!(world.count("SELECT count(*) FROM tradewind.outbox").await, 0);
    assert_eq!(world.count("SELECT min(try_number)::bigint FROM task_instance").await, 1);
    world.stop().await;
}

#[tokio::test]
async fn a_silent_attempt_is_tried_again() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("silent").task("a", &[], json!({"retries": 1, "retry_delay": 0.0}));
    world.add_dag(&dag).await;
    let run = world.trigger("silent", "r").await;
    world
        .start_scheduler(tradewind_scheduler::Options {
            task_heartbeat_timeout: Duration::from_millis(400),
            ..options()
        })
        .await;
    let lost = world.next_claim().await;
    let second = world.next_claim().await;
    assert_eq!((second.task_id.as_str(), second.try_number), ("a", 2));
    assert_ne!(lost.id, second.id);
    world.succeed(&second).await;
    world.await_run_state(run, "success").await;
    assert_eq!(world.count("SELECT count(*) FROM log WHERE event = 'heartbeat timeout'").await, 1);
    world.stop().await;
}

#[tokio::test]
async fn a_task_instance_cleared_while_it_ran_starts_anew() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("cleared").task("a", &[], json!({}))).await;
    let run = world.trigger("cleared", "r").await;
    world.start_scheduler(options()).await;
    let first = world.next_claim().await;
    sqlx::query(
        "UPDATE task_instance SET state = 'restarting', last_heartbeat_at = now() - interval '1 minute' WHERE id = $1",
    )
    .bind(first.id)
    .execute(world.database.pool())
    .await
    .expect("a change");
    let second = world.next_claim().await;
    assert_eq!((second.task_id.as_str(), second.try_number), ("a", 2));
    world.succeed(&second).await;
    world.await_run_state(run, "success").await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_written_without_a_notification_is_found() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("quiet").task("a", &["b"], json!({})).task("b", &[], json!({}));
    world.add_dag(&dag).await;
    let run = world.trigger("quiet", "r").await;
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    // As an official worker's API server would write it.
    sqlx::query("UPDATE task_instance SET state = 'success', end_date = now(), updated_at = now() WHERE id = $1")
        .bind(claim.id)
        .execute(world.database.pool())
        .await
        .expect("a change");
    assert_eq!(world.run_to_end(run).await, "success");
    world.stop().await;
}

/// A run on which nothing has changed costs the sweep nothing, unless whoever decided on it last is dead.
#[tokio::test]
async fn the_sweep_leaves_quiet_runs_alone() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("calm").task("a", &["b"], json!({})).task("b", &[], json!({}))).await;
    let runs = [world.trigger("calm", "quiet").await, world.trigger("calm", "orphaned").await];
    world.start_scheduler(options()).await;
    for _ in runs {
        world.next_claim().await;
    }
    let pool = world.database.pool();
    for change in [
        "UPDATE task_instance SET updated_at = now() - interval '1 minute'",
        "UPDATE dag_version SET created_at = now() - interval '1 minute'",
    ] {
        sqlx::query(change).execute(pool).await.expect("a change");
    }
    sqlx::query(
        "WITH dead AS (INSERT INTO job (job_type, state, latest_heartbeat) \
             VALUES ('SchedulerJob', 'running', now() - interval '1 hour') RETURNING id) \
         UPDATE dag_run SET scheduled_by_job_id = dead.id FROM dead WHERE run_id = 'orphaned'",
    )
    .execute(pool)
    .await
    .expect("a change");
    sqlx::query("UPDATE dag_run SET last_scheduling_decision = now() - interval '30 seconds'")
        .execute(pool)
        .await
        .expect("a change");
    let recent =
        "SELECT count(*) FROM dag_run WHERE last_scheduling_decision > now() - interval '20 seconds' AND run_id = ";
    let looked_at = async |run_id: &str| -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("{recent}'{run_id}'"))).fetch_one(pool).await.expect("a number")
    };
    while looked_at("orphaned").await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Two more sweeps.
    tokio::time::sleep(options().poll_interval * 5 / 2).await;
    assert_eq!(looked_at("quiet").await, 0);
    world.stop().await;
}

#[tokio::test]
async fn a_dag_that_is_unpaused_without_a_notification_goes_on() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("paused").task("a", &["b"], json!({})).task("b", &[], json!({}))).await;
    let run = world.trigger("paused", "r").await;
    world.start_scheduler(options()).await;
    let first = world.next_claim().await;
    let pause = async |is_paused: bool| {
        sqlx::query("UPDATE dag SET is_paused = $1").bind(is_paused).execute(world.database.pool()).await
    };
    pause(true).await.expect("a change");
    world.succeed(&first).await;
    tokio::time::sleep(options().poll_interval * 2).await;
    assert!(world.claim(1).await.is_empty(), "a paused Dag starts nothing");
    sqlx::query("UPDATE task_instance SET updated_at = now() - interval '1 minute'")
        .execute(world.database.pool())
        .await
        .expect("a change");
    pause(false).await.expect("a change");
    assert_eq!(world.run_to_end(run).await, "success");
    world.stop().await;
}

#[tokio::test]
async fn a_timetable_makes_runs_within_max_active_runs() {
    let mut world = World::new().await;
    let start = "2024-01-01T00:00:00Z";
    let dag = DagBuilder::new("daily")
        .with("catchup", json!(true))
        .with("start_date", json!(1_704_067_200.0))
        .with("end_date", json!(1_704_412_800.0))
        .with(
            "timetable",
            json!({
                "__type": "airflow.timetables.interval.CronDataIntervalTimetable",
                "__var": {"expression": "0 0 * * *", "timezone": "UTC"},
            }),
        )
        .column("max_active_runs", json!(2))
        .column("next_dagrun", json!(start))
        .column("next_dagrun_data_interval_start", json!(start))
        .column("next_dagrun_data_interval_end", json!("2024-01-02T00:00:00Z"))
        .column("next_dagrun_create_after", json!("2024-01-02T00:00:00Z"))
        .task("a", &[], json!({}));
    world.add_dag(&dag).await;
    world.start_scheduler(options()).await;
    for day in 1..=5 {
        let claim = world.next_claim().await;
        // A run is named after the end of its interval.
        assert_eq!(claim.run_id, format!("scheduled__2024-01-0{}T00:00:00+00:00", day + 1));
        let active = world.count("SELECT count(*) FROM dag_run WHERE state IN ('queued', 'running')").await;
        assert!(active <= 2, "{active} active runs");
        world.succeed(&claim).await;
    }
    while world.count("SELECT count(*) FROM dag_run WHERE state = 'success'").await < 5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.count("SELECT count(*) FROM dag WHERE next_dagrun IS NOT NULL").await, 0);
    world.stop().await;
}

#[tokio::test]
async fn three_schedulers_queue_nothing_twice() {
    let mut world = World::new().await;
    let mut dag = DagBuilder::new("many");
    for index in 0..30 {
        dag = dag.task(&format!("a{index}"), &["z"], json!({}));
    }
    world.add_dag(&dag.task("z", &[], json!({}))).await;
    for _ in 0..3 {
        world.start_scheduler(options()).await;
    }
    let run = world.trigger("many", "r").await;
    assert_eq!(world.run_to_end(run).await, "success");
    assert_eq!(world.count("SELECT max(try_number)::bigint FROM task_instance").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM log WHERE event = 'success'").await, 31);
    world.stop().await;
}

#[tokio::test]
async fn a_worker_takes_from_its_queues_or_from_all() {
    let mut world = World::new().await;
    world
        .add_dag(&DagBuilder::new("queues").task("own", &[], json!({"queue": "own"})).task("usual", &[], json!({})))
        .await;
    world.start_scheduler(options()).await;
    let run = world.trigger("queues", "r").await;
    let usual = world.next_claim().await;
    assert_eq!(usual.task_id, "usual");
    while world.count("SELECT count(*) FROM tradewind.outbox").await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(world.claim_from("default", 9).await.is_empty());
    let own = world.claim_from("*", 9).await;
    assert_eq!(own.iter().map(|claim| claim.task_id.as_str()).collect::<Vec<_>>(), ["own"]);
    for claim in own.iter().chain([&usual]) {
        world.succeed(claim).await;
    }
    assert_eq!(world.run_to_end(run).await, "success");
    world.stop().await;
}

/// Long before Postgres would look by itself: it takes what it has not seen for a handful of rows.
#[tokio::test]
async fn postgres_learns_soon_that_a_table_has_grown() {
    let mut world = World::new().await;
    let dag = (0..700).fold(DagBuilder::new("grown"), |dag, index| dag.task(&format!("g{index}"), &[], json!({})));
    world.add_dag(&dag).await;
    world.start_scheduler(options()).await;
    for (run_id, task_instances) in [("first", 700), ("second", 1_400)] {
        world.trigger("grown", run_id).await;
        let known = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'task_instance'::regclass";
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while world.count(known).await < task_instances {
            assert!(tokio::time::Instant::now() < deadline, "Postgres knows of {} rows", world.count(known).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    world.stop().await;
}

/// The run has room for one task instance; the one that deserves it most has run into a limit of its own.
#[tokio::test]
async fn who_ran_into_a_limit_of_its_own_keeps_nobody_of_its_run_waiting() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("starved")
        .column("has_task_concurrency_limits", json!(true))
        .column("max_active_tasks", json!(2))
        .task("first", &[], json!({"max_active_tis_per_dag": 1, "priority_weight": 100}))
        .task("other", &[], json!({}));
    world.add_dag(&dag).await;
    let earlier = world.trigger("starved", "r1").await;
    world.start_scheduler(options()).await;
    let first = world.next_claim().await;
    assert_eq!(first.task_id, "first");
    let other = world.next_claim().await;
    world.succeed(&other).await;
    sqlx::query("UPDATE dag SET max_active_tasks = 1").execute(world.database.pool()).await.expect("a change");
    let later = world.trigger("starved", "r2").await;
    let claim = world.next_claim().await;
    assert_eq!((claim.task_id.as_str(), claim.run_id.as_str()), ("other", "r2"));
    world.succeed(&claim).await;
    world.succeed(&first).await;
    for run in [earlier, later] {
        assert_eq!(world.run_to_end(run).await, "success");
    }
    world.stop().await;
}

/// A paused Dag starts nothing; so it also keeps what would follow from a start, the end of the run above all.
#[tokio::test]
async fn a_paused_dag_does_not_end_its_run_ahead_of_its_tasks() {
    let mut world = World::new().await;
    let dag = DagBuilder::new("paused").task("a", &["b"], json!({})).task(
        "b",
        &[],
        json!({"_is_empty": true, "task_type": "EmptyOperator"}),
    );
    world.add_dag(&dag).await;
    let run = world.trigger("paused", "r").await;
    world.start_scheduler(options()).await;
    let claim = world.next_claim().await;
    sqlx::query("UPDATE dag SET is_paused = true").execute(world.database.pool()).await.expect("a change");
    world.succeed(&claim).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.run_state(run).await, "running");
    assert_eq!(world.states(run).await[&("b".to_owned(), -1)], None);
    sqlx::query("UPDATE dag SET is_paused = false").execute(world.database.pool()).await.expect("a change");
    world.await_run_state(run, "success").await;
    assert_eq!(world.states(run).await[&("b".to_owned(), -1)].as_deref(), Some("success"));
    world.stop().await;
}
