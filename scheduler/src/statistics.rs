//! Postgres's picture of the tables that grow fastest.
//!
//! Postgres looks at a table that has changed about once a minute. Until then it takes what has grown since for a handful:
//! it walks through all that a Dag ever ran to find one run, and joins thousands of rows pair by pair. A new table it takes
//! for empty, whatever its size. So the scheduler has it look as soon as much has changed.

use std::time::Duration;

use sqlx::{AssertSqlSafe, query, query_as, query_scalar};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tradewind_metadata::{Database, Result};

/// Tables of which there is much to know and that many statements join.
const TABLES: [&str; 2] = ["task_instance", "dag_run"];

/// Has Postgres analyse the tables if it never did and there is something to see. Returns whether that is settled: a
/// table that it takes for empty is joined so badly that not even seconds should pass.
pub(crate) async fn settle(database: &Database) -> Result<bool> {
    // An analysis while the first rows are being written takes the table for empty, too.
    let (is_unknown, is_filled): (bool, bool) = query_as(
        "SELECT reltuples <= 0, EXISTS (SELECT FROM task_instance) FROM pg_class WHERE oid = 'task_instance'::regclass",
    )
    .fetch_one(database.pool())
    .await?;
    if is_unknown && is_filled {
        for table in TABLES {
            analyse(database, table).await?;
        }
    }
    // Who does not own the tables is only warned, and must not try for ever.
    Ok(!is_unknown || is_filled)
}

/// Keeps the picture fresh until the shutdown, beside all else: a look takes as long as many turns of the scheduler.
pub(crate) async fn keep_fresh(database: Database, every: Duration, shutdown: CancellationToken) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = refresh(&database).await {
            tracing::warn!(%error, "the statistics of tables could not be refreshed");
        }
    }
}

/// Has Postgres analyse the tables that have changed much since it last did.
async fn refresh(database: &Database) -> Result<()> {
    let outdated: Vec<String> = query_scalar(include_str!("../queries/outdated_statistics.sql"))
        .bind(&TABLES[..])
        .fetch_all(database.pool())
        .await?;
    for table in outdated {
        analyse(database, &table).await?;
    }
    Ok(())
}

/// One that somebody else analyses is passed over.
async fn analyse(database: &Database, table: &str) -> Result<()> {
    query(AssertSqlSafe(format!("ANALYZE (SKIP_LOCKED) {table}"))).execute(database.pool()).await?;
    Ok(())
}
