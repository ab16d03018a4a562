//! Several schedulers and workers, killed again and again in the middle of their work: nothing is lost, nothing runs
//! twice, no limit is exceeded, and nothing is left at the end.
//!
//! `CHAOS_TASKS` says how many task instances there are, `CHAOS_SEED` repeats the choice of victims of an earlier run.
#![forbid(unsafe_code)]

mod evidence;
mod limits;
mod storm;
mod workload;

use std::time::{Duration, Instant};

use sqlx::{PgPool, query_as, query_scalar};
use tokio::time::sleep;
use tradewind_tests::component::Component;
use tradewind_tests::deployment::{Deployment, PASSWORD, USER};
use tradewind_tests::patience::eventually;
use tradewind_tests::process;
use tradewind_tests::program::workspace;
use tradewind_tests::rest::Rest;
use tradewind_tests::sqs::{Done, FaultProxy, Faults, Sqs};

use evidence::Evidence;
use limits::Limits;
use storm::Storm;
use workload::Workload;

/// Task instances, unless told otherwise.
const TASKS: u32 = 250;

/// Task instances that are `queued` or `running` at once; fewer than the workers could run.
const PARALLELISM: i64 = 12;

/// A quiet machine runs ten a second; a busy one, with all that is killed, may need this much for each.
const PATIENCE_PER_TASK: Duration = Duration::from_secs(1);

/// For what does not depend on the number of tasks: starts, silent attempts, the last restart.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the broker does: often enough that every kind of fault meets every other.
const FAULTS: Faults = Faults {
    repeated: 0.3,
    delayed: 0.2,
    longest_delay: 3,
    kept: 0.15,
    unanswered: 0.03,
    throttled: 0.03,
    denied: Vec::new(),
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_left_behind() {
    let workload = Workload::of(number("CHAOS_TASKS").unwrap_or(TASKS));
    let seed = number("CHAOS_SEED").unwrap_or_else(rand::random);
    show(&format!("CHAOS_TASKS={} CHAOS_SEED={seed}", workload.tasks()));
    let deployment = deployment().await;
    let mut storm = Storm::new(seed, &deployment);
    storm.start_all();
    trigger(&deployment, &workload, &Workload::default()).await;
    let figures = outlast(&mut storm, &deployment, &workload).await;
    assert_nothing_is_left(&deployment, &mut storm).await;
    show(&figures);
}

/// An official scheduler on the same database, whose executor hands to the same workers: both make steps of the same runs
/// and queue for the same slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_official_scheduler_shares_the_work() {
    let deployment = deployment().await;
    let pool = deployment.database().pool();
    let mut official = Component::official_scheduler(&deployment, "tradewind_queue.TradewindQueue");
    official.start();
    let mut storm = Storm::new(0, &deployment);
    storm.start_all();
    let jobs = "SELECT count(*) FROM job WHERE job_type = 'SchedulerJob' AND state = 'running'";
    eventually("four schedulers", async || {
        let running: i64 = query_scalar(jobs).fetch_one(pool).await.expect("a count");
        (running == 4).then_some(())
    })
    .await;

    // Who queues what is chance: there is more to do until both have queued, and until something waited for each limit.
    let limits = Limits::watch(pool.clone(), Limits::shared_with_others());
    let deadline = Instant::now() + PATIENCE;
    let mut workload = Workload::default();
    let (by_official, by_ours) = loop {
        let more = workload.and(&Workload::of(TASKS / 3));
        trigger(&deployment, &more, &workload).await;
        workload = more;
        while workload.unfinished_runs(pool).await.all > 0 {
            assert!(Instant::now() < deadline, "not in time: {}", workload.left(pool).await);
            sleep(Duration::from_millis(200)).await;
        }
        let queued = queued_by(pool).await;
        if queued.0 > 0 && queued.1 > 0 && limits.are_reached() {
            break queued;
        }
        assert!(Instant::now() < deadline, "official Airflow and Tradewind queued {queued:?}; {}", limits.report());
    };
    workload.assert_complete(pool).await;
    let evidence = Evidence::read(&folder(&deployment));
    evidence.assert_no_attempt_ran_twice();
    assert_eq!(evidence.attempts(), evidence.task_instances(), "nothing was killed, so nothing is tried again");
    evidence.assert_limits(&limits::SLOTS);
    let usage = limits.assert_kept_and_reached().await;
    show(&format!(
        "{} task instances, queued by the official scheduler: {by_official}, by ours: {by_ours}\n{usage}",
        workload.tasks()
    ));
    official.kill();
    assert_nothing_is_left(&deployment, &mut storm).await;
}

/// The same on Amazon SQS, which repeats, delays and reorders messages, keeps some that were deleted, loses answers and refuses
/// requests, while workers, tasks and schedulers are killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_repeats_and_reorders_does_no_harm() {
    let workload = Workload::of(number("CHAOS_TASKS").unwrap_or(TASKS));
    let seed = number("CHAOS_SEED").unwrap_or_else(rand::random);
    show(&format!("CHAOS_TASKS={} CHAOS_SEED={seed}", workload.tasks()));
    let sqs = Sqs::start();
    let proxy = FaultProxy::start(sqs.url(), seed, FAULTS).await;
    let deployment = deployment()
        .await
        .with_sqs(proxy.url())
        .with("AIRFLOW__TRADEWIND__SQS_CREATE_QUEUES", "True")
        .with("AIRFLOW__TRADEWIND__SQS_VISIBILITY_TIMEOUT", "2")
        .with("AIRFLOW__TRADEWIND__SQS_REPUBLISH_AFTER", "5");
    let mut storm = Storm::new(seed, &deployment);
    storm.start_all();
    trigger(&deployment, &workload, &Workload::default()).await;
    let figures = outlast(&mut storm, &deployment, &workload).await;
    // Copies of what is done with are deleted, whenever they come.
    proxy.change(Faults::default());
    eventually("the last message", async || (sqs.messages("default").await == Some(0)).then_some(())).await;
    assert_nothing_is_left(&deployment, &mut storm).await;
    let done = proxy.done();
    for fault in [Done::Repeated, Done::Delayed, Done::Shuffled, Done::Kept, Done::Unanswered, Done::Throttled] {
        assert!(done.contains_key(&fault), "{fault:?} was not tried: {done:?}");
    }
    assert!(!done.contains_key(&Done::Denied), "{done:?}");
    show(&format!("{figures}\nmessages: {done:?}"));
}

/// Kills one after the other until the work is done, asserts that it was done as it should be, and tells the figures.
async fn outlast(storm: &mut Storm, deployment: &Deployment, workload: &Workload) -> String {
    let pool = deployment.database().pool();
    let began = Instant::now();
    let limits = Limits::watch(pool.clone(), Limits::of_one_installation(PARALLELISM));
    let deadline = began + PATIENCE + PATIENCE_PER_TASK * workload.tasks();
    let unfinished = async || {
        assert!(Instant::now() < deadline, "not in time: {}", workload.left(pool).await);
        workload.unfinished_runs(pool).await
    };
    while unfinished().await.impatient > 0 {
        storm.rage(pool).await;
    }
    // Those that go on for long would be killed again and again, now that there is little else to kill.
    storm.calm();
    while unfinished().await.all > 0 {
        sleep(Duration::from_millis(200)).await;
    }
    let took = began.elapsed();

    workload.assert_complete(pool).await;
    let evidence = Evidence::read(&folder(deployment));
    evidence.assert_no_attempt_ran_twice();
    evidence.assert_every_success_happened(pool).await;
    evidence.assert_limits(&limits::SLOTS);
    let usage = limits.assert_kept_and_reached().await;
    format!(
        "{} task instances in {:.1} s: {:.1} a second; {} attempts ({} more than needed)\n{}\n{usage}",
        workload.tasks(),
        took.as_secs_f64(),
        f64::from(workload.tasks()) / took.as_secs_f64(),
        evidence.attempts(),
        evidence.attempts().saturating_sub(evidence.task_instances()),
        storm.kills(),
    )
}

async fn deployment() -> Deployment {
    let deployment = Deployment::new(&[workspace().join("tests/chaos/dags")]).await;
    let folder = folder(&deployment);
    std::fs::create_dir(&folder).expect("a folder");
    for (pool, slots) in limits::POOLS {
        sqlx::query("INSERT INTO slot_pool (pool, slots, description, include_deferred) VALUES ($1, $2, '', false)")
            .bind(pool)
            .bind(slots)
            .execute(deployment.database().pool())
            .await
            .expect("a pool");
    }
    deployment
        .with("CHAOS_FOLDER", folder)
        .with("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        .with("AIRFLOW__CORE__PARALLELISM", PARALLELISM.to_string())
        .with("AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC", "1")
        .with("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "1")
        .with("AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT", "10")
        .with("AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL", "1")
        .with("AIRFLOW__TRADEWIND__SCHEDULER_POLL_INTERVAL", "1")
        .with("AIRFLOW__TRADEWIND__WORKER_DRAIN_TIMEOUT", "0")
}

/// Where tasks leave their evidence.
fn folder(deployment: &Deployment) -> std::path::PathBuf {
    deployment.path().join("evidence")
}

/// How many task instances the official scheduler has queued, and how many ours.
async fn queued_by(pool: &PgPool) -> (i64, i64) {
    let queued = "SELECT count(*) FILTER (WHERE queued_by_job_id IS NOT NULL), \
                         count(*) FILTER (WHERE queued_by_job_id IS NULL AND queued_dttm IS NOT NULL) FROM task_instance";
    query_as(queued).fetch_one(pool).await.expect("counts")
}

/// Makes all runs that are not made yet, through the REST API.
async fn trigger(deployment: &Deployment, workload: &Workload, made: &Workload) {
    let name = format!("webserver-{}", made.tasks());
    let mut webserver = Component::new(deployment, &name, &["webserver", "--port", "0"]);
    webserver.start();
    let url = eventually("the web server", async || {
        let said = webserver.said();
        let (_, rest) = said.split_once("serving ")?;
        rest.split_once(',').map(|(url, _)| url.to_owned())
    })
    .await;
    let rest = Rest::log_in(&url, USER, PASSWORD).await;
    for ((dag_id, runs), (_, made)) in workload.runs().zip(made.runs()) {
        rest.unpause(dag_id).await;
        for run in made..runs {
            rest.trigger(dag_id, &format!("run_{run}")).await;
        }
    }
    webserver.end();
}

/// No message, no process and no connection outlives the work.
async fn assert_nothing_is_left(deployment: &Deployment, storm: &mut Storm) {
    let pool = deployment.database().pool();
    let messages: i64 = query_scalar("SELECT count(*) FROM tradewind.outbox").fetch_one(pool).await.expect("a count");
    assert_eq!(messages, 0, "messages are left");
    storm.end_all();
    let mut left = process::started_for(&deployment.home());
    left.retain(|pid| process::is_running(*pid));
    let titles: Vec<String> = left.iter().map(|pid| process::title(*pid)).collect();
    assert!(left.is_empty(), "left behind: {left:?} {titles:?}");
    eventually("the end of the last connection", async || {
        let connections: i64 = query_scalar(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name LIKE 'tradewind %'",
        )
        .fetch_one(pool)
        .await
        .expect("a count");
        (connections == 0).then_some(())
    })
    .await;
}

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[expect(clippy::print_stderr, reason = "the seed and the figures are worth seeing")]
fn show(text: &str) {
    eprintln!("{text}");
}
