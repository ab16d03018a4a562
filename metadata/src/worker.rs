//! Workers, as they tell of themselves in `tradewind.worker`: which queues they take from, and how many slots are taken.
//!
//! It is how a person learns that a queue has no worker, and how a fleet learns what its workers do ([`crate::fleet`]).

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgPool, query, query_scalar};
use uuid::Uuid;

use crate::Result;
use crate::fleet::Asked;

/// How often a worker says that it lives.
pub const HEARTBEAT_INTERVAL: TimeDelta = TimeDelta::seconds(5);

/// A worker that was silent for longer is not alive.
pub const HEARTBEAT_THRESHOLD: TimeDelta = TimeDelta::seconds(30);

/// A worker that was silent for longer will not come back, and is forgotten.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::days(1);

/// What a worker says of itself.
#[derive(Debug, Clone)]
pub struct Presence {
    /// Names the process.
    pub id: Uuid,
    /// The host, as `[core] hostname_callable` gives it.
    pub hostname: String,
    /// The queues it takes from.
    pub queues: Vec<String>,
    /// Attempts it can run at once.
    pub slots: usize,
    /// Attempts it runs.
    pub running: usize,
    /// Whether it takes more.
    pub takes: bool,
}

/// Says that a worker lives, and what it does; forgets workers that have long been silent. Returns what its fleet asks of it.
pub async fn heartbeat(pool: &PgPool, presence: &Presence, now: DateTime<Utc>) -> Result<Asked> {
    let asked: Option<String> = query_scalar(include_str!("../queries/worker/heartbeat.sql"))
        .bind(presence.id)
        .bind(&presence.hostname)
        .bind(&presence.queues)
        .bind(i32::try_from(presence.slots).unwrap_or(i32::MAX))
        .bind(i32::try_from(presence.running).unwrap_or(i32::MAX))
        .bind(presence.takes)
        .bind(now)
        .bind(now - FORGOTTEN_AFTER)
        .fetch_one(pool)
        .await?;
    // One that no fleet has started is asked for nothing else.
    Ok(asked.map_or(Asked::Work, |asked| Asked::parse(&asked)))
}

/// Takes leave: the worker ends.
pub async fn leave(pool: &PgPool, id: Uuid) -> Result<()> {
    query("DELETE FROM tradewind.worker WHERE id = $1").bind(id).execute(pool).await?;
    Ok(())
}
