//! Moves Dag runs from `queued` to `running` as `max_active_runs` allows.

use chrono::{DateTime, Utc};
use sqlx::{query_as, query_scalar};
use tradewind_metadata::{Database, Result, dag_run, failpoint};
use tradewind_model::state::DagRunState;

use crate::metric;

/// Starts every queued run there is room for. Returns the ids of the runs started.
pub(crate) async fn start_queued_runs(database: &Database, now: DateTime<Utc>) -> Result<Vec<i32>> {
    let mut transaction = database.pool().begin().await?;
    let dags: Vec<String> = query_scalar(include_str!("../queries/lock_dags_with_queued_runs.sql"))
        .bind(now)
        .fetch_all(&mut *transaction)
        .await?;
    if dags.is_empty() {
        return Ok(Vec::new());
    }
    failpoint::reach("run_start: held").await?;
    let startable: Vec<(i32, String, Option<DateTime<Utc>>)> = query_as(include_str!("../queries/startable_runs.sql"))
        .bind(now)
        .bind(&dags)
        .fetch_all(&mut *transaction)
        .await?;
    let ids: Vec<i32> = startable.iter().map(|(id, ..)| *id).collect();
    let started =
        dag_run::set_state_silently(&mut transaction, &ids, &[DagRunState::Queued], DagRunState::Running, now).await?;
    failpoint::reach("run_start: written").await?;
    transaction.commit().await?;
    for (_, dag_id, expected) in startable.iter().filter(|(id, ..)| started.contains(id)) {
        metric::run_started(dag_id, *expected, now);
    }
    Ok(started)
}
