//! Time-outs, and what is left by workers and schedulers that died.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{query, query_scalar};
use tradewind_scheduler::{Options, Scheduler, Timeouts};

use crate::support::{DagBuilder, World, options};

const SOON: Duration = Duration::from_millis(100);

/// Options with which every chore is done several times a second.
fn quick() -> Options {
    let timeouts = Timeouts {
        queued_timeout: Duration::from_millis(300),
        queued_check_interval: SOON,
        trigger_check_interval: SOON,
        orphans_check_interval: SOON,
        cleanup_interval: SOON,
        ..Timeouts::default()
    };
    Options { reap_interval: SOON, timeouts, ..options() }
}

/// Waits until a statement gives true.
async fn until(world: &World, statement: &'static str) {
    for _ in 0..600 {
        let is_so: bool = query_scalar(statement).fetch_one(world.database.pool()).await.expect("a truth value");
        if is_so {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not in time: {statement}");
}

/// The requests that wait for the Dag processor, the oldest first.
async fn requests(world: &World) -> Vec<Value> {
    let rows: Vec<String> = query_scalar(
        "SELECT data::jsonb -> '__var' ->> 'req_data' FROM callback WHERE type = 'dag_processor' ORDER BY created_at, id",
    )
    .fetch_all(world.database.pool())
    .await
    .expect("requests");
    rows.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect()
}

#[tokio::test]
async fn callbacks_and_mails_of_silent_attempts_are_left_to_the_dag_processor() {
    let mut world = World::new().await;
    let task = json!({
        "retries": 1, "retry_delay": 0.0, "has_on_retry_callback": true, "has_on_failure_callback": true,
        "email": ["someone@example.org"], "email_on_retry": false, "email_on_failure": true,
    });
    world.add_dag(&DagBuilder::new("silent").task("a", &[], task).column("relative_fileloc", json!("test.py"))).await;
    let run = world.trigger("silent", "r").await;
    let options = Options { task_heartbeat_timeout: Duration::from_millis(400), ..quick() };
    world.start_scheduler(options).await;
    let first = world.next_claim().await;
    let second = world.next_claim().await;
    world.await_run_state(run, "failed").await;
    let requests = requests(&world).await;
    let seen: Vec<_> = requests
        .iter()
        .map(|request| (request["type"].as_str(), request["task_callback_type"].as_str(), request["ti"]["id"].as_str()))
        .collect();
    let (first, second) = (first.id.to_string(), second.id.to_string());
    assert_eq!(
        seen,
        [
            (Some("TaskCallbackRequest"), Some("up_for_retry"), Some(first.as_str())),
            (Some("TaskCallbackRequest"), Some("failed"), Some(second.as_str())),
            (Some("EmailRequest"), None, Some(second.as_str())),
        ]
    );
    let request = &requests[0];
    assert_eq!(request["filepath"], "test.py");
    assert_eq!(request["bundle_name"], "dags-folder");
    assert_eq!(request["msg"], "{'DAG Id': 'silent', 'Task Id': 'a', 'Run Id': 'r', 'Hostname': 'worker'}");
    assert_eq!(request["context_from_server"]["max_tries"], 1);
    assert_eq!(request["context_from_server"]["dag_run"]["run_id"], "r");
    assert_eq!(requests[2]["email_type"], "failure");
    world.stop().await;
}

#[tokio::test]
async fn what_no_worker_takes_is_queued_anew_and_fails_at_last() {
    let mut world = World::new().await;
    let task = json!({"queue": "nobody", "retries": 3, "has_on_failure_callback": true});
    world.add_dag(&DagBuilder::new("stuck").task("a", &[], task)).await;
    let run = world.trigger("stuck", "r").await;
    world.start_scheduler(quick()).await;
    world.await_run_state(run, "failed").await;
    assert_eq!(world.count("SELECT count(*) FROM log WHERE event = 'stuck in queued reschedule'").await, 2);
    assert_eq!(world.count("SELECT count(*) FROM log WHERE event = 'stuck in queued tries exceeded'").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM tradewind.outbox").await, 0);
    let requests = requests(&world).await;
    assert_eq!(requests.len(), 1);
    assert_eq!(
        (&requests[0]["type"], &requests[0]["task_callback_type"]),
        (&json!("TaskCallbackRequest"), &Value::Null)
    );
    assert_eq!(world.count("SELECT try_number::bigint FROM task_instance WHERE end_date IS NOT NULL").await, 1);
    world.stop().await;
}

#[tokio::test]
async fn what_waits_for_busy_workers_is_not_stuck() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("busy").task("a", &[], json!({})).task("b", &[], json!({}))).await;
    let run = world.trigger("busy", "r").await;
    world.start_scheduler(quick()).await;
    let first = world.next_claim().await;
    until(
        &world,
        "SELECT count(*) = 1 FROM task_instance WHERE queued_dttm < now() - interval '1 s' AND state = 'queued'",
    )
    .await;
    world.succeed(&first).await;
    assert_eq!(world.run_to_end(run).await, "success");
    assert_eq!(world.count("SELECT count(*) FROM log WHERE event LIKE 'stuck%'").await, 0);
    world.stop().await;
}

#[tokio::test]
async fn a_trigger_that_does_not_fire_in_time_lets_its_task_go_on_to_fail() {
    let mut world = World::new().await;
    world.add_dag(&DagBuilder::new("deferred").task("a", &[], json!({})).task("b", &[], json!({}))).await;
    world.trigger("deferred", "r").await;
    world.start_scheduler(quick()).await;
    let claims = [world.next_claim().await, world.next_claim().await];
    for (claim, seconds) in claims.iter().zip([0, 300]) {
        query(
            "WITH new AS (INSERT INTO trigger (classpath, kwargs, created_date) VALUES ('t', '{}', now()) RETURNING id) \
             UPDATE task_instance SET state = 'deferred', trigger_id = (SELECT id FROM new), next_method = 'go_on', \
             trigger_timeout = now() + make_interval(secs => $2) WHERE id = $1",
        )
        .bind(claim.id)
        .bind(f64::from(seconds))
        .execute(world.database.pool())
        .await
        .expect("a deferral");
    }
    let resumed = world.next_claim().await;
    assert_eq!((resumed.id, resumed.try_number), (claims[0].id, 1));
    let (method, kwargs): (String, Value) =
        sqlx::query_as("SELECT next_method, next_kwargs::jsonb FROM task_instance WHERE id = $1")
            .bind(resumed.id)
            .fetch_one(world.database.pool())
            .await
            .expect("a task instance");
    assert_eq!((method.as_str(), kwargs), ("__fail__", json!({"error": "Trigger timeout"})));
    until(&world, "SELECT count(*) = 1 FROM trigger").await;
    assert_eq!(world.count("SELECT count(*) FROM task_instance WHERE trigger_id IS NOT NULL").await, 1);
    world.stop().await;
}

#[tokio::test]
async fn a_question_that_nobody_answers_in_time_is_resolved() {
    let mut world = World::new().await;
    let dag = ["answered", "default", "nothing"]
        .iter()
        .fold(DagBuilder::new("questions"), |dag, task_id| dag.task(task_id, &[], json!({})));
    world.add_dag(&dag).await;
    world.trigger("questions", "r").await;
    world.start_scheduler(quick()).await;
    for _ in 0..3 {
        let claim = world.next_claim().await;
        let defaults = (claim.task_id != "nothing").then(|| json!(["yes"]));
        query(
            "INSERT INTO hitl_detail (ti_id, options, subject, defaults, multiple, params, created_at, params_input, \
             chosen_options, responded_at) \
             VALUES ($1, '[\"yes\", \"no\"]', 's', $2, false, '{\"p\": {\"value\": 1}, \"q\": 2}', now(), '{}', $3, $4)",
        )
        .bind(claim.id)
        .bind(defaults)
        .bind((claim.task_id == "answered").then(|| json!(["no"])))
        .bind((claim.task_id == "answered").then(chrono::Utc::now))
        .execute(world.database.pool())
        .await
        .expect("a question");
        query(
            "UPDATE task_instance SET state = 'awaiting_input', trigger_timeout = now(), next_method = 'go_on', \
             next_kwargs = '{\"kept\": 1}' WHERE id = $1",
        )
        .bind(claim.id)
        .execute(world.database.pool())
        .await
        .expect("a wait");
    }
    for _ in 0..3 {
        let claim = world.next_claim().await;
        let kwargs: Value = query_scalar("SELECT next_kwargs::jsonb FROM task_instance WHERE id = $1")
            .bind(claim.id)
            .fetch_one(world.database.pool())
            .await
            .expect("a task instance");
        assert_eq!(kwargs["kept"], 1);
        let event = &kwargs["event"];
        match claim.task_id.as_str() {
            "answered" => assert_eq!((&event["chosen_options"], &event["timedout"]), (&json!(["no"]), &json!(false))),
            "default" => {
                assert_eq!((&event["chosen_options"], &event["timedout"]), (&json!(["yes"]), &json!(true)));
                assert_eq!(event["params_input"], json!({"p": 1, "q": 2}));
            }
            _ => assert_eq!(event["error_type"], "timeout"),
        }
    }
    assert_eq!(world.count("SELECT count(*) FROM hitl_detail WHERE responded_at IS NOT NULL").await, 2);
    world.stop().await;
}

#[tokio::test]
async fn what_a_dead_scheduler_queued_goes_on_and_what_a_living_one_queued_is_left_alone() {
    let mut world = World::new().await;
    for (dag_id, age) in [("of_dead", "1 hour"), ("of_living", "0 s")] {
        world.add_dag(&DagBuilder::new(dag_id).task("a", &[], json!({}))).await;
        world.trigger(dag_id, "r").await;
        // As an official scheduler would have left it.
        query(
            "WITH official AS (INSERT INTO job (job_type, state, latest_heartbeat) \
             VALUES ('SchedulerJob', 'running', now() - $2::interval) RETURNING id), \
             run AS (UPDATE dag_run SET state = 'running', start_date = now() WHERE dag_id = $1) \
             UPDATE task_instance SET state = 'queued', try_number = 1, queued_dttm = now() - interval '1 hour', \
             queued_by_job_id = (SELECT id FROM official) WHERE dag_id = $1",
        )
        .bind(dag_id)
        .bind(age)
        .execute(world.database.pool())
        .await
        .expect("what an official scheduler queued");
    }
    let options = quick();
    let timeouts = Timeouts { queued_timeout: Duration::from_secs(86_400), ..options.timeouts };
    world.start_scheduler(Options { timeouts, ..options }).await;
    let claim = world.next_claim().await;
    assert_eq!(claim.dag_id, "of_dead");
    assert_eq!(world.count("SELECT count(*) FROM job WHERE state = 'failed'").await, 1);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(world.claim(5).await.is_empty(), "an official executor still has it");
    let adopted =
        "SELECT count(*) FROM task_instance ti JOIN job ON job.id = ti.queued_by_job_id AND job.hostname = 'test'";
    assert_eq!(world.count(adopted).await, 1);
    world.stop().await;
}

#[tokio::test]
async fn a_backfill_is_complete_also_when_no_scheduler_saw_its_last_run_end() {
    let world = World::new().await;
    world.add_dag(&DagBuilder::new("d").task("t", &[], json!({}))).await;
    query(
        "INSERT INTO backfill (id, dag_id, from_date, to_date, dag_run_conf, is_paused, reprocess_behavior, max_active_runs, created_at, updated_at) \
         SELECT id, 'd', now(), now(), '{}', true, 'none', 1, now(), now() FROM generate_series(1, 3) AS id",
    )
    .execute(world.database.pool())
    .await
    .expect("backfills");
    // Of the first all runs have ended, of the second one has not, the third has none yet.
    for (run_id, backfill, state) in [("a", 1, "failed"), ("b", 1, "success"), ("c", 2, "success"), ("d", 2, "queued")]
    {
        world.trigger("d", run_id).await;
        query("UPDATE dag_run SET backfill_id = $2, run_type = 'backfill', state = $3 WHERE run_id = $1")
            .bind(run_id)
            .bind(backfill)
            .bind(state)
            .execute(world.database.pool())
            .await
            .expect("a run");
    }
    query(
        "INSERT INTO backfill_dag_run (backfill_id, dag_run_id, sort_ordinal, logical_date) \
         SELECT backfill_id, id, id, logical_date FROM dag_run",
    )
    .execute(world.database.pool())
    .await
    .expect("their backfills");
    let mut scheduler = Scheduler::new(world.database.database().clone(), options()).await.expect("a scheduler");
    scheduler.take_whole_turn().await.expect("a turn");
    let complete: Vec<i32> = query_scalar("SELECT id FROM backfill WHERE completed_at IS NOT NULL ORDER BY id")
        .fetch_all(world.database.pool())
        .await
        .expect("backfills");
    assert_eq!(complete, [1]);
}
