//! Publishing the outbox: its messages are handed to a broker, and again while nobody claims them.
//!
//! A message belongs to one publisher at a time, by a lease rather than by a lock, so that no transaction is open while a
//! broker is asked.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool, query, query_as, query_scalar};
use uuid::Uuid;

use crate::Result;

/// A message that is due to be published.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Due {
    /// `task_instance.id`.
    pub ti_id: Uuid,
    /// The queue it goes to.
    pub queue: String,
    /// More urgent first.
    pub priority_weight: i32,
    /// When it was queued.
    pub created_at: DateTime<Utc>,
    /// How often it was published before.
    pub publications: i32,
}

/// Takes up to `limit` messages that are due, the most urgent first. They are another publisher's when the lease is over.
pub async fn take_due(pool: &PgPool, limit: i64, lease: Duration) -> Result<Vec<Due>> {
    let mut due: Vec<Due> = query_as(include_str!("../queries/queue/take_due.sql"))
        .bind(limit)
        .bind(lease.as_secs_f64())
        .fetch_all(pool)
        .await?;
    due.sort_by(|one, other| {
        other.priority_weight.cmp(&one.priority_weight).then(one.created_at.cmp(&other.created_at))
    });
    Ok(due)
}

/// Notes that messages were published. What nobody claims within `republish_after` is due again, then after twice that time.
pub async fn mark_published(pool: &PgPool, ids: &[Uuid], republish_after: Duration) -> Result<()> {
    query(include_str!("../queries/queue/mark_published.sql"))
        .bind(ids)
        .bind(republish_after.as_secs_f64())
        .execute(pool)
        .await?;
    Ok(())
}

/// Gives messages back that could not be published; they are due after the pause.
pub async fn postpone(pool: &PgPool, ids: &[Uuid], pause: Duration) -> Result<()> {
    query(include_str!("../queries/queue/postpone.sql")).bind(ids).bind(pause.as_secs_f64()).execute(pool).await?;
    Ok(())
}

/// Makes messages due that were written for workers to take: by an official scheduler's bridge, or under another
/// configuration.
pub async fn adopt(pool: &PgPool) -> Result<u64> {
    let adopted =
        query("UPDATE tradewind.outbox SET publish_at = now() WHERE publish_at IS NULL").execute(pool).await?;
    Ok(adopted.rows_affected())
}

/// For how long from now on nothing is due; `None` when nothing will be.
pub async fn time_to_next(pool: &PgPool) -> Result<Option<Duration>> {
    let seconds: Option<f64> =
        query_scalar("SELECT extract(epoch FROM min(publish_at) - now())::float8 FROM tradewind.outbox")
            .fetch_one(pool)
            .await?;
    Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}

/// What waits in a queue.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Waiting {
    /// The queue.
    pub queue: String,
    /// Messages that nobody has claimed.
    pub messages: i64,
    /// For how many seconds the oldest of them has waited.
    pub oldest: f64,
}

/// What waits in all queues.
pub async fn waiting(pool: &PgPool) -> Result<Vec<Waiting>> {
    Ok(query_as(include_str!("../queries/queue/waiting.sql")).fetch_all(pool).await?)
}
