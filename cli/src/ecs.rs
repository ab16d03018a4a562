//! What a worker does that runs in a task of Amazon ECS.

use anyhow::Result;
use tradewind_airflow::config::Config;
use tradewind_aws::agent::Agent;
use tradewind_worker::{Pace, Protection};

/// The protection of a worker, if it runs in a task, from being ended while it is busy.
pub(crate) fn protection(config: &Config) -> Result<Protection> {
    let pace = Pace::from_config(config)?;
    Ok(Agent::from_environment()?.map_or_else(Protection::default, |agent| Protection::new(agent, pace)))
}
