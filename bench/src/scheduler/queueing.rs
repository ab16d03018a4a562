//! How many task instances a second go from `scheduled` to `queued`.

use std::time::Instant;

use serde_json::json;
use sqlx::query;

use tradewind_bench::dags::dag;

use crate::deployment::Deployment;

/// Task instances a second.
#[derive(Debug)]
pub(crate) struct Rates {
    /// From `scheduled` to `queued` with their messages.
    pub(crate) queued_per_second: f64,
    /// From the trigger of the run to all messages.
    pub(crate) overall_per_second: f64,
}

/// Triggers a run of a Dag with so many independent tasks and waits until all are queued.
pub(crate) async fn measure(deployment: &Deployment, dag_id: &str, tasks: usize) -> anyhow::Result<Rates> {
    add_wide_dag(deployment, dag_id, tasks, "default_pool", 1).await?;
    let wanted = i64::try_from(tasks)?;
    let triggered = Instant::now();
    deployment.trigger(dag_id, "run").await?;
    let scheduled = deployment
        .until(
            "the run is scheduled",
            "SELECT count(*) FROM task_instance WHERE scheduled_dttm IS NOT NULL AND pool = 'default_pool'",
            |count| count >= wanted,
        )
        .await?;
    let queued =
        deployment.until("the run is queued", "SELECT count(*) FROM tradewind.outbox", |count| count >= wanted).await?;
    let per_second = |since: Instant| tasks as f64 / queued.duration_since(since).as_secs_f64().max(0.001);
    let rates = Rates { queued_per_second: per_second(scheduled), overall_per_second: per_second(triggered) };
    deployment.forget(dag_id).await?;
    Ok(rates)
}

/// Leaves so many scheduled task instances, more urgent than all others, waiting for a pool without slots.
pub(crate) async fn block(deployment: &Deployment, dag_id: &str, tasks: usize) -> anyhow::Result<()> {
    query("INSERT INTO slot_pool (pool, slots, description, include_deferred) VALUES ('closed', 0, '', false)")
        .execute(deployment.database().pool())
        .await?;
    add_wide_dag(deployment, dag_id, tasks, "closed", 1_000).await?;
    deployment.trigger(dag_id, "run").await?;
    let wanted = i64::try_from(tasks)?;
    deployment
        .until(
            "the blocked run is scheduled",
            "SELECT count(*) FROM task_instance WHERE state = 'scheduled' AND pool = 'closed'",
            |count| count >= wanted,
        )
        .await?;
    Ok(())
}

async fn add_wide_dag(
    deployment: &Deployment,
    dag_id: &str,
    tasks: usize,
    pool: &str,
    priority_weight: u32,
) -> anyhow::Result<()> {
    let names: Vec<(String, Vec<String>)> = (0..tasks).map(|task| (format!("task_{task}"), Vec::new())).collect();
    let fields = json!({"pool": pool, "priority_weight": priority_weight});
    let document = dag(dag_id, &names, &fields, &json!({"max_active_tasks": tasks}));
    deployment.add_dags(vec![document]).await
}
