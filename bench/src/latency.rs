//! How long it takes from a committed success to the message of the successor.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tradewind_metadata::notify;
use tradewind_metadata::queue::Claim;

use crate::deployment::{Deployment, PATIENCE, dag};

/// Tasks of a chain.
const LENGTH: usize = 50;

/// Milliseconds.
#[derive(Debug)]
pub(crate) struct Delays {
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

/// Runs chains side by side, `rate` successes a second in all, until so many successes had a successor.
pub(crate) async fn measure(deployment: &Deployment, rate: u32, successes: usize) -> anyhow::Result<Delays> {
    let chains = successes.div_ceil(LENGTH - 1);
    add_chains(deployment, chains).await?;
    let mut listener = notify::listen(deployment.database().pool(), &[notify::QUEUE]).await?;
    for chain in 0..chains {
        deployment.trigger("chain", &format!("run_{chain}")).await?;
    }
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut claimed: VecDeque<Claim> = deployment.claim(chains).await?.into();
    let mut committed: HashMap<i32, Instant> = HashMap::new();
    let mut delays = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while delays.len() < chains * (LENGTH - 1) {
        anyhow::ensure!(Instant::now() < deadline, "the chains do not end in time: {} of {successes}", delays.len());
        tokio::select! {
            biased;
            told = listener.recv() => {
                told?;
                let told_at = Instant::now();
                for claim in deployment.claim(chains).await? {
                    if let Some(before) = committed.remove(&claim.dag_run_id) {
                        delays.push(told_at.duration_since(before).as_secs_f64() * 1000.0);
                    }
                    claimed.push_back(claim);
                }
            }
            _ = ticks.tick() => {
                let Some(claim) = claimed.pop_front() else { continue };
                deployment.succeed(claim.id).await?;
                committed.insert(claim.dag_run_id, Instant::now());
            }
        }
    }
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays.get((delays.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    Ok(Delays { median: at(0.5), p99: at(0.99) })
}

async fn add_chains(deployment: &Deployment, chains: usize) -> anyhow::Result<()> {
    let name = |task: usize| format!("task_{task}");
    let tasks: Vec<(String, Vec<String>)> = (0..LENGTH)
        .map(|task| (name(task), if task + 1 < LENGTH { vec![name(task + 1)] } else { Vec::new() }))
        .collect();
    let document = dag("chain", &tasks, &json!({}), &json!({"max_active_runs": chains}));
    deployment.add_dags(vec![document]).await
}
