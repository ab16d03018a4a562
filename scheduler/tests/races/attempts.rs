//! Claims, reports, clears and the reaper that meet at one task instance.

use chrono::Utc;
use serde_json::json;
use sqlx::{query, query_scalar};
use tradewind_metadata::attempt::{self, Accepted, Retry, Start, Success};
use tradewind_metadata::clear::{Clearing, clear};
use tradewind_metadata::failpoint::Outcome;
use tradewind_metadata::queue::{Claimant, claim, claim_named};
use tradewind_metadata::{Database, serialized_dag};
use tradewind_scheduler::Scheduler;
use uuid::Uuid;

use super::Process;
use super::installation::{Ran, check, database, empty, recover, small};
use crate::support::{DagBuilder, World};

/// What somebody does to the task instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Claim(&'static str),
    /// Claims what a broker's message names.
    ClaimNamed,
    Start,
    Succeed,
    Retry,
    Clear,
    Reap,
    /// A scheduler's turn that finds that nobody takes the task instance.
    Unstick,
}

/// How the task instance stands when they meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Queued,
    /// Queued for so long that no worker seems to serve its queue.
    Stuck,
    /// Running, and not heard of for long.
    Silent,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// It holds the attempt now.
    Claimed,
    /// It took the attempt out of `running`.
    Ended,
    /// Something else, or nothing.
    Else,
}

impl Act {
    /// Where it may be held up.
    fn points(self) -> &'static [&'static str] {
        match self {
            Self::Claim(_) | Self::ClaimNamed => &["claim: taken", "claim: written"],
            Self::Start => &["start: written"],
            Self::Succeed | Self::Retry => &["report: held", "report: written"],
            Self::Clear => &["clear: held", "clear: written"],
            Self::Reap => &["end_silent_attempts: held", "end_silent_attempts: written", "run_scheduling: written"],
            Self::Unstick => &["handle_stuck_in_queued: held", "handle_stuck_in_queued: written", "dispatch: queued"],
        }
    }

    /// An act may be refused, but never because two wait for each other.
    async fn perform(self, database: Database, id: Uuid) -> Came {
        match self.try_to(&database, id).await {
            Ok(came) => came,
            Err(error) => {
                let chain: Vec<String> =
                    std::iter::successors(Some(&*error as &dyn std::error::Error), |error| error.source())
                        .map(ToString::to_string)
                        .collect();
                assert!(!chain.concat().contains("deadlock detected"), "{self:?}: {chain:?}");
                Came::Else
            }
        }
    }

    async fn try_to(self, database: &Database, id: Uuid) -> Result<Came, Box<dyn std::error::Error + Send + Sync>> {
        let mut connection = database.pool().acquire().await?;
        match self {
            Self::Claim(hostname) => {
                let mut transaction = database.pool().begin().await?;
                let claimant = Claimant { hostname: hostname.to_owned(), unixname: "test".to_owned() };
                let claims = claim(&mut transaction, &["default".to_owned()], 1, &claimant, Utc::now()).await?;
                transaction.commit().await?;
                return Ok(if claims.is_empty() { Came::Else } else { Came::Claimed });
            }
            Self::ClaimNamed => {
                let mut transaction = database.pool().begin().await?;
                let claimant = Claimant { hostname: "worker".to_owned(), unixname: "test".to_owned() };
                let claims = claim_named(&mut transaction, &[id], &claimant, Utc::now()).await?;
                transaction.commit().await?;
                return Ok(if claims.is_empty() { Came::Else } else { Came::Claimed });
            }
            Self::Start => {
                let (hostname, unixname) = ("worker".to_owned(), "test".to_owned());
                attempt::start(&mut connection, &Start { id, hostname, unixname, pid: 7, start_date: Utc::now() })
                    .await?;
            }
            Self::Succeed => {
                let report = Success {
                    id,
                    end_date: Utc::now(),
                    rendered_map_index: None,
                    task_outlets: Vec::new(),
                    outlet_events: Vec::new(),
                    clear_state_store: false,
                    max_partitions: 1000,
                };
                let accepted = attempt::succeed(&mut connection, &report).await?;
                return Ok(if accepted == Accepted::Written { Came::Ended } else { Came::Else });
            }
            Self::Retry => {
                let report = Retry {
                    id,
                    end_date: Utc::now(),
                    rendered_map_index: None,
                    retry_delay_seconds: Some(0.0),
                    retry_reason: None,
                };
                let next = attempt::retry(&mut connection, &report).await?;
                return Ok(if next.is_some() { Came::Ended } else { Came::Else });
            }
            Self::Clear => {
                let clearing =
                    Clearing { dag_id: "d", run_id: "r", ids: None, run_on_latest_version: false, reset_dag_run: true };
                clear(&mut connection, &serialized_dag::Cache::default(), clearing).await?;
            }
            Self::Reap | Self::Unstick => {
                drop(connection);
                Scheduler::new(database.clone(), small()).await?.take_whole_turn().await?;
            }
        }
        Ok(Came::Else)
    }
}

/// A run with one task instance that is queued. Returns its id.
async fn queued(world: &World) -> Uuid {
    empty(world).await;
    world.add_dag(&DagBuilder::new("d").task("a", &[], json!({"retries": 2, "retry_delay": 0.0}))).await;
    world.trigger("d", "r").await;
    let mut scheduler = Scheduler::new(world.database.database().clone(), small()).await.expect("a scheduler");
    scheduler.take_whole_turn().await.expect("a turn");
    query_scalar("SELECT id FROM task_instance WHERE state = 'queued'")
        .fetch_one(world.database.pool())
        .await
        .expect("a queued task instance")
}

/// The same, and nobody has taken it for long.
async fn stuck(world: &World) -> Uuid {
    let id = queued(world).await;
    query("UPDATE task_instance SET queued_dttm = now() - interval '2 hours' WHERE id = $1")
        .bind(id)
        .execute(world.database.pool())
        .await
        .expect("a long time");
    id
}

/// The same, running, and not heard of for long.
async fn silent(world: &World) -> Uuid {
    let id = queued(world).await;
    let claim = world.claim(1).await.pop().expect("a claim");
    assert_eq!(claim.id, id);
    query("UPDATE task_instance SET last_heartbeat_at = now() - interval '1 hour' WHERE id = $1")
        .bind(id)
        .execute(world.database.pool())
        .await
        .expect("silence");
    id
}

/// Holds the first up at each of its points while the second acts; then the first goes on, or dies.
async fn meet(world: &World, stands: Stands, first: Act, second: Act) {
    for point in first.points() {
        for dies in [false, true] {
            let case =
                format!("{first:?} at {point} / {second:?}, the first {}", if dies { "dies" } else { "goes on" });
            let id = match stands {
                Stands::Queued => queued(world).await,
                Stands::Stuck => stuck(world).await,
                Stands::Silent => silent(world).await,
            };
            let database = world.database.database();
            let one = Process::start(Some(point), first.perform(database.clone(), id));
            one.arrive(point).await;
            let other = Process::start(None, second.perform(database.clone(), id));
            other.settle().await;
            let mut came = Vec::new();
            if dies {
                one.kill().await;
            } else {
                one.release(Outcome::GoesOn).await;
                came.push(one.end().await);
            }
            came.push(other.end().await);
            let ran = settle(world, id, &came, &case).await;
            recover_one(world, ran, &case).await;
        }
    }
}

/// At most one claim and one end of an attempt, whoever met whom.
async fn settle(world: &World, id: Uuid, came: &[Came], case: &str) -> Ran {
    check(world, case).await;
    let of = |wanted: Came| came.iter().filter(|came| **came == wanted).count();
    assert!(of(Came::Claimed) <= 1, "I1: two workers hold {id} ({case})");
    assert!(of(Came::Ended) <= 1, "two reports ended {id} ({case})");
    let mut ran = Ran::default();
    if of(Came::Claimed) == 1 {
        ran.note(id, case);
        // Its worker is gone for what follows.
        query("UPDATE task_instance SET last_heartbeat_at = now() - interval '1 hour' WHERE id = $1")
            .bind(id)
            .execute(world.database.pool())
            .await
            .expect("silence");
    }
    ran
}

/// A scheduler and a worker bring the run to its end, however the task instance stands.
async fn recover_one(world: &World, mut ran: Ran, case: &str) {
    query(
        "UPDATE task_instance SET last_heartbeat_at = now() - interval '1 hour' WHERE state IN ('running', 'restarting')",
    )
    .execute(world.database.pool())
    .await
    .expect("silence");
    recover(world, &mut ran, 1, case).await;
    assert_eq!(world.count("SELECT count(*) FROM dag_run WHERE state = 'success'").await, 1, "{case}");
}

#[tokio::test]
async fn who_meets_at_a_queued_task_instance() {
    let world = database().await;
    let claims = [Act::Claim("one"), Act::Claim("other")];
    for (first, second) in [
        (claims[0], claims[1]),
        (claims[0], Act::ClaimNamed),
        (Act::ClaimNamed, claims[0]),
        (Act::ClaimNamed, Act::ClaimNamed),
        (claims[0], Act::Clear),
        (Act::ClaimNamed, Act::Clear),
        (Act::Clear, Act::ClaimNamed),
        (Act::Clear, claims[0]),
        (claims[0], Act::Reap),
        (Act::Clear, Act::Reap),
    ] {
        meet(&world, Stands::Queued, first, second).await;
    }
}

/// Who sets it back holds it, and then takes its message back.
#[tokio::test]
async fn who_meets_at_a_task_instance_that_is_stuck() {
    let world = database().await;
    for claim in [Act::Claim("one"), Act::ClaimNamed] {
        meet(&world, Stands::Stuck, claim, Act::Unstick).await;
        meet(&world, Stands::Stuck, Act::Unstick, claim).await;
    }
}

#[tokio::test]
async fn who_meets_at_a_running_task_instance() {
    let world = database().await;
    let acts = [Act::Start, Act::Succeed, Act::Retry, Act::Clear, Act::Reap];
    for first in acts {
        for second in acts {
            meet(&world, Stands::Silent, first, second).await;
        }
    }
}
