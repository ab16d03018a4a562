//! What others do with the database meanwhile.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};

/// Commits so many small changes a second, as heartbeats are, for as long as the database is there.
pub(crate) async fn commit(pool: PgPool, per_second: u32) {
    if per_second == 0 {
        return;
    }
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let change = "INSERT INTO log (dttm, event, owner) VALUES (now(), 'heartbeat', 'others')";
    loop {
        ticks.tick().await;
        if let Err(error) = sqlx::query(change).execute(&pool).await {
            eprintln!("nothing is committed any more: {error}");
            return;
        }
    }
}
