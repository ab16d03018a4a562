//! What a worker does that runs in a task of Amazon ECS.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;
use tradewind_airflow::config::Config;
use tradewind_aws::agent::Agent;
use tradewind_fleet::EcsServices;
use tradewind_metadata::{Database, fleet};
use tradewind_worker::{Pace, Protection};
use uuid::Uuid;

/// How often the agent is asked which task this is, and how long after a failure.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// The protection of a worker, if it runs in a task, from being ended while it is busy.
pub(crate) fn protection(config: &Config) -> Result<Protection> {
    let pace = Pace::from_config(config)?;
    Ok(Agent::from_environment()?.map_or_else(Protection::default, |agent| Protection::new(agent, pace)))
}

/// Makes a worker known to its fleet where a service has started it, which knows nothing of ids. Returns the id that it has there.
pub(crate) async fn join_service(config: &Config, database: &Database, queues: &[String]) -> Result<Option<Uuid>> {
    if config.optional("tradewind", "ecs_service")?.is_none() {
        return Ok(None);
    }
    let Some(agent) = Agent::from_environment()? else {
        tracing::info!("the worker runs in no task of ECS: its fleet counts what it runs, and does not know it");
        return Ok(None);
    };
    let [queue] = queues else {
        tracing::warn!(
            ?queues,
            "a worker of a service takes from the one queue that the service is named for in [tradewind] ecs_service; this one is \
             unknown to its fleet, since it takes from several"
        );
        return Ok(None);
    };
    let Some(arn) = task(&agent).await else { return Ok(None) };
    let id = Uuid::now_v7();
    fleet::join(database.pool(), id, queue, EcsServices::NAME, &arn).await?;
    tracing::info!(worker = %id, queue, task = arn, "the worker is known to its fleet");
    Ok(Some(id))
}

/// The task that this process runs in. Without it the worker works, and its fleet does not know it.
async fn task(agent: &Agent) -> Option<String> {
    for attempt in 1..=TRIES {
        match agent.task_arn().await {
            Ok(Some(arn)) => return Some(arn),
            Ok(None) => break,
            Err(error) => tracing::warn!(%error, attempt, "the agent of ECS does not say which task this is"),
        }
        sleep(PAUSE).await;
    }
    tracing::error!("the worker is unknown to its fleet, since it does not know its task");
    None
}
