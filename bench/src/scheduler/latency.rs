//! How long it takes from a committed success to the message of the successor.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::postgres::PgListener;
use tokio::time::{MissedTickBehavior, interval};
use tradewind_metadata::notify;
use tradewind_metadata::queue::Claim;

use tradewind_bench::dags::dag;

use crate::deployment::{Deployment, PATIENCE};

/// Tasks of a chain.
const LENGTH: usize = 50;

/// Tasks of a wide run that run at once: Airflow's default of `max_active_tasks`.
const ABREAST: usize = 16;

/// Attempts claimed at once, at most.
const AT_ONCE: usize = 256;

/// Milliseconds.
#[derive(Debug)]
pub(crate) struct Delays {
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

/// Runs chains side by side, `rate` successes a second in all, until so many successes had a successor.
pub(crate) async fn of_chains(deployment: &Deployment, rate: u32, successes: usize) -> anyhow::Result<Delays> {
    let chains = successes.div_ceil(LENGTH - 1);
    add_chains(deployment, chains).await?;
    let mut listener = notify::listen(deployment.database().pool(), &[notify::QUEUE]).await?;
    for chain in 0..chains {
        deployment.trigger("chain", &format!("run_{chain}")).await?;
    }
    begun(deployment, chains).await?;
    let delays = measure(deployment, &mut listener, rate, chains * (LENGTH - 1)).await?;
    deployment.forget("chain").await?;
    Ok(delays)
}

/// Runs so many independent tasks in one run, [`ABREAST`] at once: a success makes room for the next one.
pub(crate) async fn of_a_wide_run(
    deployment: &Deployment,
    rate: u32,
    successes: usize,
    tasks: usize,
) -> anyhow::Result<Delays> {
    let tasks: Vec<(String, Vec<String>)> = (0..tasks).map(|task| (format!("task_{task}"), Vec::new())).collect();
    let document = dag("wide", &tasks, &json!({}), &json!({"max_active_tasks": ABREAST}));
    deployment.add_dags(vec![document]).await?;
    let mut listener = notify::listen(deployment.database().pool(), &[notify::QUEUE]).await?;
    deployment.trigger("wide", "run").await?;
    begun(deployment, ABREAST).await?;
    let delays = measure(deployment, &mut listener, rate, successes.min(tasks.len() - ABREAST)).await?;
    deployment.forget("wide").await?;
    Ok(delays)
}

/// Waits until so many first messages are there: how runs start is another question.
async fn begun(deployment: &Deployment, messages: usize) -> anyhow::Result<()> {
    let wanted = i64::try_from(messages)?;
    deployment.until("the first are queued", "SELECT count(*) FROM tradewind.outbox", |found| found >= wanted).await?;
    Ok(())
}

/// Reports successes at a steady rate until so many had a successor: a message of the same run.
async fn measure(
    deployment: &Deployment,
    listener: &mut PgListener,
    rate: u32,
    wanted: usize,
) -> anyhow::Result<Delays> {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut claimed: VecDeque<Claim> = deployment.claim(AT_ONCE).await?.into();
    let mut committed: HashMap<i32, VecDeque<Instant>> = HashMap::new();
    let mut delays = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while delays.len() < wanted {
        anyhow::ensure!(Instant::now() < deadline, "not in time: {} of {wanted} successes", delays.len());
        tokio::select! {
            biased;
            told = listener.recv() => {
                told?;
                let told_at = Instant::now();
                for claim in deployment.claim(AT_ONCE).await? {
                    if let Some(before) = committed.get_mut(&claim.dag_run_id).and_then(VecDeque::pop_front) {
                        delays.push(told_at.duration_since(before).as_secs_f64() * 1000.0);
                    }
                    claimed.push_back(claim);
                }
            }
            _ = ticks.tick() => {
                let Some(claim) = claimed.pop_front() else { continue };
                deployment.succeed(claim.id).await?;
                committed.entry(claim.dag_run_id).or_default().push_back(Instant::now());
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
