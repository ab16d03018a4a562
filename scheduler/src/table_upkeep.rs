//! The tables that change fastest, and Postgres's picture of them.
//!
//! Postgres looks after a table that has changed about once a minute. Until then it takes what has grown since for a
//! handful: it walks through all that a Dag ever ran to find one run, and joins thousands of rows pair by pair. A new table,
//! or one that was empty when it looked, it takes for empty, whatever its size. And it steps over every row that thousands
//! of changes of state have left dead, again and again. So the scheduler has it look as soon as much has changed.

use std::time::Duration;

use sqlx::{AssertSqlSafe, query, query_as};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tradewind_metadata::{Database, Result};

/// Tables that many statements join, or that are never large but always change.
const TABLES: [&str; 3] = ["task_instance", "dag_run", "tradewind.outbox"];

/// Has Postgres analyse the tables if it takes the largest for empty and there is something to see. Returns whether that is
/// settled: an empty table is joined so badly that not even seconds should pass.
pub(crate) async fn settle(database: &Database) -> Result<bool> {
    // An analysis while the first rows are being written takes the table for empty, too.
    let (is_unknown, is_filled): (bool, bool) = query_as(
        "SELECT reltuples <= 0, EXISTS (SELECT FROM task_instance) FROM pg_class WHERE oid = 'task_instance'::regclass",
    )
    .fetch_one(database.pool())
    .await?;
    if is_unknown && is_filled {
        for table in TABLES {
            look_after(database, "ANALYZE (SKIP_LOCKED)", table).await?;
        }
    }
    // Who does not own the tables is only warned, and must not try for ever.
    Ok(!is_unknown || is_filled)
}

/// Looks after the tables until the shutdown, beside all else: that takes as long as many turns of the scheduler.
pub(crate) async fn keep(database: Database, every: Duration, shutdown: CancellationToken) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = look_after_neglected(&database).await {
            tracing::warn!(%error, "tables could not be vacuumed or analysed");
        }
    }
}

/// Has Postgres look after the tables that have changed much since it last did.
async fn look_after_neglected(database: &Database) -> Result<()> {
    let neglected: Vec<(String, bool)> =
        query_as(include_str!("../queries/neglected_tables.sql")).bind(&TABLES[..]).fetch_all(database.pool()).await?;
    for (table, is_littered) in neglected {
        let action = if is_littered { "VACUUM (ANALYZE, SKIP_LOCKED, TRUNCATE off)" } else { "ANALYZE (SKIP_LOCKED)" };
        look_after(database, action, &table).await?;
    }
    Ok(())
}

/// One that somebody else looks after is passed over. It rests now and then, so that those who work have the processor.
async fn look_after(database: &Database, action: &'static str, table: &str) -> Result<()> {
    let mut connection = database.pool().acquire().await?;
    query("SET vacuum_cost_delay = '4ms'").execute(&mut *connection).await?;
    query(AssertSqlSafe(format!("{action} {table}"))).execute(&mut *connection).await?;
    Ok(())
}
