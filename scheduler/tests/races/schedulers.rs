use serde_json::json;
use sqlx::query;
use tradewind_metadata::failpoint::Outcome;
use tradewind_scheduler::Scheduler;

use super::Process;
use super::installation::{check, database, empty, furnish, recover_all, small};
use crate::support::{DagBuilder, World};

/// Where a scheduler may be held up in one turn of the furnished installation.
const POINTS: [&str; 15] = [
    "end_silent_attempts: held",
    "report: written",
    "end_silent_attempts: written",
    "release_restarting: held",
    "resend_lost_messages: written",
    "run_creation: held",
    "run_creation: written",
    "run_start: held",
    "run_start: written",
    "run_scheduling: held",
    "run_scheduling: decided",
    "run_scheduling: written",
    "dispatch: counted",
    "dispatch: queued",
    "dispatch: sent",
];

/// A scheduler that takes one turn.
async fn start(world: &World, stop_at: Option<&'static str>) -> Process<tradewind_metadata::Result<()>> {
    let mut scheduler = Scheduler::new(world.database.database().clone(), small()).await.expect("a scheduler");
    Process::start(stop_at, async move { scheduler.take_whole_turn().await })
}

#[tokio::test]
async fn a_scheduler_may_die_anywhere() {
    let world = database().await;
    for point in POINTS {
        let case = format!("killed at {point}");
        furnish(&world).await;
        let first = start(&world, Some(point)).await;
        first.arrive(point).await;
        first.kill().await;
        check(&world, &case).await;
        recover_all(&world, &case).await;
    }
}

#[tokio::test]
async fn a_scheduler_may_lose_its_connection_anywhere() {
    let world = database().await;
    for point in POINTS {
        let case = format!("connection lost at {point}");
        furnish(&world).await;
        let first = start(&world, Some(point)).await;
        first.arrive(point).await;
        first.release(Outcome::LosesConnection).await;
        // The turn may fail or be tried again; what was committed is whole.
        let _ = first.end().await;
        check(&world, &case).await;
        recover_all(&world, &case).await;
    }
}

#[tokio::test]
async fn postgres_may_end_a_session_anywhere() {
    let world = database().await;
    for point in POINTS {
        let case = format!("session ended at {point}");
        furnish(&world).await;
        let first = start(&world, Some(point)).await;
        first.arrive(point).await;
        query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND state LIKE 'idle in transaction%' AND pid <> pg_backend_pid()",
        )
        .execute(world.database.pool())
        .await
        .expect("an ended session");
        first.release(Outcome::GoesOn).await;
        // The turn may fail or be tried again; what was committed is whole.
        let _ = first.end().await;
        check(&world, &case).await;
        recover_all(&world, &case).await;
    }
}

/// Holds two schedulers up, the first at one of the points named, the second at that or a later one; then lets them go on
/// in the order in which they came.
async fn meet(points: std::ops::Range<usize>) {
    let world = database().await;
    for place in points {
        let first_point = POINTS[place];
        for second_point in &POINTS[place..] {
            let case = format!("{first_point} / {second_point}");
            furnish(&world).await;
            let first = start(&world, Some(first_point)).await;
            first.arrive(first_point).await;
            let second = start(&world, Some(second_point)).await;
            second.settle().await;
            first.release(Outcome::GoesOn).await;
            second.release(Outcome::GoesOn).await;
            first.end().await.expect("a turn");
            second.end().await.expect("a turn");
            check(&world, &case).await;
            recover_all(&world, &case).await;
        }
    }
}

#[tokio::test]
async fn schedulers_meet_while_one_reaps() {
    meet(0..5).await;
}

#[tokio::test]
async fn schedulers_meet_while_one_makes_and_starts_runs() {
    meet(5..9).await;
}

#[tokio::test]
async fn schedulers_meet_while_one_schedules_and_dispatches() {
    meet(9..POINTS.len()).await;
}

/// One is killed while another waits for it.
#[tokio::test]
async fn a_scheduler_may_die_while_another_waits() {
    let world = database().await;
    for point in POINTS {
        let case = format!("killed at {point}, while another waits");
        furnish(&world).await;
        let first = start(&world, Some(point)).await;
        first.arrive(point).await;
        let second = start(&world, None).await;
        second.settle().await;
        first.kill().await;
        second.end().await.expect("a turn");
        check(&world, &case).await;
        recover_all(&world, &case).await;
    }
}

/// A run takes too long while a worker takes its queued task instance: the run must not end around it.
#[tokio::test]
async fn a_claim_overtakes_the_time_out_of_its_run() {
    let world = database().await;
    empty(&world).await;
    world.add_dag(&DagBuilder::new("slow").with("dagrun_timeout", json!(60.0)).task("a", &[], json!({}))).await;
    let run = world.trigger("slow", "r").await;
    start(&world, None).await.end().await.expect("a turn");
    query("UPDATE dag_run SET start_date = now() - interval '1 hour'")
        .execute(world.database.pool())
        .await
        .expect("a change");
    let scheduler = start(&world, Some("run_scheduling: decided")).await;
    scheduler.arrive("run_scheduling: decided").await;
    assert_eq!(world.claim(1).await.len(), 1);
    scheduler.release(Outcome::GoesOn).await;
    scheduler.end().await.expect("a turn");
    check(&world, "a claim overtakes the time-out").await;
    assert_eq!(world.run_state(run).await, "failed");
    assert_eq!(world.states(run).await[&("a".to_owned(), -1)].as_deref(), Some("skipped"));
}
