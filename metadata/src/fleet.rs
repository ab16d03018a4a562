//! Workers that a scheduler or a service has started (`tradewind.fleet_worker`), and what they are asked to do.

use sqlx::{FromRow, PgConnection, PgPool, query, query_as, query_scalar};
use uuid::Uuid;

use crate::Result;
use crate::worker::HEARTBEAT_THRESHOLD;

/// The advisory lock that the scheduler holds which decides on the fleet; "fleet" in ASCII.
const LOCK: i64 = 0x66_6c_65_65_74;

/// What a worker is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To take task instances.
    Work,
    /// To take nothing more, and to wait.
    Drain,
    /// To end.
    End,
}

impl Asked {
    fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Drain => "drain",
            Self::End => "end",
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "drain" => Self::Drain,
            "end" => Self::End,
            _ => Self::Work,
        }
    }
}

/// Task instances of a queue.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Demand {
    /// The queue.
    pub queue: String,
    /// Those that wait for a worker.
    pub queued: i64,
    /// Those that run.
    pub running: i64,
}

/// A worker of a fleet. Times are in seconds.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Member {
    /// What names it.
    pub id: Uuid,
    /// The queue that it serves.
    pub queue: String,
    /// What its driver knows it by.
    pub handle: Option<String>,
    /// Whether it has ever said that it lives.
    pub was_seen: bool,
    asked: String,
    /// Since it was launched.
    pub age: f64,
    /// Since it was asked what it is asked.
    pub asked_for: f64,
    /// Whether it has said so of late.
    pub lives: bool,
    /// Whether it takes task instances.
    pub takes: bool,
    /// Those that it runs.
    pub running: i32,
}

impl Member {
    /// What it is asked to do.
    #[must_use]
    pub fn asked(&self) -> Asked {
        Asked::parse(&self.asked)
    }
}

/// Tries to become the one that decides, for as long as the connection lives.
pub async fn try_lead(connection: &mut PgConnection) -> Result<bool> {
    Ok(query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(connection).await?)
}

/// What is to be done in these queues; those with nothing are left out.
pub async fn demand(connection: &mut PgConnection, queues: &[String]) -> Result<Vec<Demand>> {
    Ok(query_as(include_str!("../queries/fleet/demand.sql")).bind(queues).fetch_all(connection).await?)
}

/// The workers of a driver, the youngest first.
pub async fn members(connection: &mut PgConnection, driver: &str) -> Result<Vec<Member>> {
    Ok(query_as(include_str!("../queries/fleet/members.sql"))
        .bind(HEARTBEAT_THRESHOLD.as_seconds_f64())
        .bind(driver)
        .fetch_all(connection)
        .await?)
}

/// Notes that a worker is about to be launched.
pub async fn add(pool: &PgPool, id: Uuid, queue: &str, driver: &str) -> Result<()> {
    query("INSERT INTO tradewind.fleet_worker (id, queue, driver) VALUES ($1, $2, $3)")
        .bind(id)
        .bind(queue)
        .bind(driver)
        .execute(pool)
        .await?;
    Ok(())
}

/// Notes a worker that nobody has launched by its id, under what its driver knows it by. One that was known so is gone.
pub async fn join(pool: &PgPool, id: Uuid, queue: &str, driver: &str, handle: &str) -> Result<()> {
    query(include_str!("../queries/fleet/join.sql"))
        .bind(id)
        .bind(queue)
        .bind(driver)
        .bind(handle)
        .execute(pool)
        .await?;
    Ok(())
}

/// Notes what a worker's driver knows it by.
pub async fn set_handle(pool: &PgPool, id: Uuid, handle: &str) -> Result<()> {
    query("UPDATE tradewind.fleet_worker SET handle = $2 WHERE id = $1").bind(id).bind(handle).execute(pool).await?;
    Ok(())
}

/// Notes that workers have said that they live.
pub async fn set_seen(pool: &PgPool, ids: &[Uuid]) -> Result<()> {
    query("UPDATE tradewind.fleet_worker SET was_seen = TRUE WHERE id = ANY ($1)").bind(ids).execute(pool).await?;
    Ok(())
}

/// Asks a worker for something; it hears of it with its next sign of life.
pub async fn ask(pool: &PgPool, id: Uuid, asked: Asked) -> Result<()> {
    query("UPDATE tradewind.fleet_worker SET asked = $2, asked_at = now() WHERE id = $1")
        .bind(id)
        .bind(asked.as_str())
        .execute(pool)
        .await?;
    Ok(())
}

/// Forgets workers that are gone, here and among the living.
pub async fn forget(pool: &PgPool, ids: &[Uuid]) -> Result<()> {
    query("DELETE FROM tradewind.worker WHERE id = ANY ($1)").bind(ids).execute(pool).await?;
    query("DELETE FROM tradewind.fleet_worker WHERE id = ANY ($1)").bind(ids).execute(pool).await?;
    Ok(())
}
