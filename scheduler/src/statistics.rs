//! Postgres's picture of the tables that grow fastest.
//!
//! Until it has analysed a table once, Postgres takes `task_instance` for empty, whatever its size: the columns are
//! declared so wide that by its reckoning no row fits on a page. It then joins thousands of rows pair by pair. Its own
//! first look comes within minutes, too late for a new installation whose first Dag run is a large one.

use sqlx::{query, query_as};
use tradewind_metadata::{Database, Result};

/// Has Postgres analyse the tables if it never did and there is something to see. Returns whether that is settled.
pub(crate) async fn settle(database: &Database) -> Result<bool> {
    let sizes: (bool, bool) =
        query_as("SELECT relpages = 0, pg_relation_size(oid) > 0 FROM pg_class WHERE oid = 'task_instance'::regclass")
            .fetch_one(database.pool())
            .await?;
    match sizes {
        (true, false) => Ok(false),
        (true, true) => {
            query("ANALYZE task_instance, dag_run").execute(database.pool()).await?;
            // Who does not own the tables is only warned, and must not try for ever.
            Ok(true)
        }
        (false, _) => Ok(true),
    }
}
