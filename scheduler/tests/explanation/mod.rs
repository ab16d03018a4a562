//! Every reason to wait, on a real database, with the scheduler itself as the judge of its truth.

mod attempts;
mod dependencies;
mod limits;
mod runs;
mod schedules;

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};
use tradewind_metadata::attempt::{self, Deferral};
use tradewind_metadata::explanation::{Options, Situation};
use tradewind_metadata::queue::Claim;
use tradewind_metadata::serialized_dag::Cache;
use tradewind_model::explanation::{Explanation, Reason};

use crate::support::World;

/// How long a reason may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the scheduler of the tests is told, too.
fn options() -> Options {
    Options {
        parallelism: Some(32),
        max_retry_delay: TimeDelta::days(1),
        scheduler_threshold: TimeDelta::seconds(30),
        triggerer_threshold: TimeDelta::seconds(30),
        heartbeat_timeout: TimeDelta::seconds(300),
        queued_timeout: TimeDelta::seconds(600),
    }
}

/// Explains a run.
async fn explain(world: &World, dag_id: &str, run_id: &str) -> Explanation {
    let (pool, dags) = (world.database.pool(), Cache::default());
    let situation = Situation::load(pool, &dags, &options(), dag_id, run_id).await.expect("facts").expect("a run");
    situation.explainer().run(0, 1_000)
}

/// The codes of some reasons.
fn codes(reasons: &[Reason]) -> Vec<&'static str> {
    reasons.iter().map(Reason::code).collect()
}

/// The reasons of the first group of a task; none when all its instances have ended.
fn of_task<'e>(explanation: &'e Explanation, task_id: &str) -> &'e [Reason] {
    let group = explanation.task_instances.iter().find(|group| group.task_id == task_id);
    group.map_or(&[], |group| group.reasons.as_slice())
}

/// Waits until a task tells the reasons wanted, and gives them.
async fn reasons_until(world: &World, dag_id: &str, run_id: &str, task_id: &str, wanted: &[&str]) -> Vec<Reason> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let explanation = explain(world, dag_id, run_id).await;
        let reasons = of_task(&explanation, task_id);
        if codes(reasons) == wanted {
            return reasons.to_vec();
        }
        assert!(Instant::now() < deadline, "{task_id} never told {wanted:?}: {explanation:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The parameters of a reason.
fn parameters(reason: &Reason) -> Value {
    json!(reason)
}

/// Reports that an attempt waits for a trigger.
async fn defer(world: &World, claim: &Claim) {
    let mut connection = world.database.pool().acquire().await.expect("a connection");
    let report = Deferral {
        id: claim.id,
        classpath: "pkg.SomeTrigger".to_owned(),
        trigger_kwargs: None,
        trigger_timeout: Some(TimeDelta::hours(1)),
        queue: None,
        next_method: "go_on".to_owned(),
        next_kwargs: Map::new(),
    };
    attempt::defer(&mut connection, &report).await.expect("an accepted report");
}

/// Does something to the database by hand.
async fn by_hand(world: &World, statement: &'static str) {
    sqlx::query(statement).execute(world.database.pool()).await.expect("a statement that fits the schema");
}
