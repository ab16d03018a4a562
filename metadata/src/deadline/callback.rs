//! Callbacks of missed deadlines on their way through a Dag processor: taken, held while they run, ended.
//!
//! Official schedulers give them to an executor (`SchedulerJobRunner._enqueue_executor_callbacks`), which takes those that are
//! `pending`. Those of our schedulers are `queued` at once, so nobody else takes them.

use std::time::Duration;

use serde_json::Value;
use sqlx::{FromRow, PgConnection, PgPool, query, query_as};
use uuid::Uuid;

use crate::Result;

/// For how long somebody takes a callback before it has to be extended.
pub const LEASE: Duration = Duration::from_secs(60);

/// How long an official scheduler may leave a callback waiting before it is taken over.
const ADOPTION_AGE_SECONDS: f64 = 60.0;

/// A callback that was taken to be run.
#[derive(Debug, Clone, FromRow)]
pub struct Claimed {
    /// `callback.id`.
    pub id: Uuid,
    /// How often it was taken, this time included.
    pub attempts: i32,
    /// `callback.data`, in the encoding of its column: the path and the arguments.
    pub data: Value,
    /// The Dag of the run that missed its deadline; none: the run was deleted.
    pub dag_id: Option<String>,
    /// The run.
    pub run_id: Option<String>,
    /// The version of the bundle that the run is pinned to.
    pub bundle_version: Option<String>,
    /// The bundle of the Dag.
    pub bundle_name: Option<String>,
    /// The file of the Dag, relative to the bundle.
    pub relative_fileloc: Option<String>,
}

/// Takes up to `limit` callbacks for Dags of the bundles, the most urgent first.
pub async fn claim(pool: &PgPool, bundles: &[String], limit: i64) -> Result<Vec<Claimed>> {
    Ok(query_as(include_str!("../../queries/deadline/claim_callbacks.sql"))
        .bind(bundles)
        .bind(limit)
        .bind(LEASE.as_secs_f64())
        .fetch_all(pool)
        .await?)
}

/// Takes over what official schedulers have left of Dags in the bundles. Returns how many callbacks these were.
pub async fn adopt(pool: &PgPool, bundles: &[String]) -> Result<u64> {
    let adopted = query(include_str!("../../queries/deadline/adopt_callbacks.sql"))
        .bind(ADOPTION_AGE_SECONDS)
        .bind(bundles)
        .execute(pool)
        .await?;
    Ok(adopted.rows_affected())
}

/// Leaves a callback for whoever takes it next.
pub(super) async fn enqueue(connection: &mut PgConnection, id: Uuid) -> Result<()> {
    query("INSERT INTO tradewind.deadline_callback (callback_id) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

impl Claimed {
    /// Keeps it for another [`LEASE`]. False when it belongs to somebody else by now, or is gone.
    pub async fn extend(&self, pool: &PgPool) -> Result<bool> {
        let extended = query(
            "UPDATE tradewind.deadline_callback SET claimed_until = now() + make_interval(secs => $3) \
             WHERE callback_id = $1 AND attempts = $2",
        )
        .bind(self.id)
        .bind(self.attempts)
        .bind(LEASE.as_secs_f64())
        .execute(pool)
        .await?;
        Ok(extended.rows_affected() > 0)
    }

    /// Gives it back as if it had not been taken, to be taken again at once, or when the lease ends.
    pub async fn release(&self, pool: &PgPool, at_once: bool) -> Result<()> {
        query(
            "WITH released AS (\
                 UPDATE tradewind.deadline_callback \
                 SET claimed_until = CASE WHEN NOT $3 THEN claimed_until END, attempts = attempts - 1 \
                 WHERE callback_id = $1 AND attempts = $2 RETURNING callback_id\
             ) \
             UPDATE callback SET state = 'queued' FROM released WHERE callback.id = released.callback_id",
        )
        .bind(self.id)
        .bind(self.attempts)
        .bind(at_once)
        .execute(pool)
        .await?;
        Ok(())
    }

    /// Ends it: `Err` holds what is to be read in `callback.output`. Nothing happens when it belongs to somebody else by now.
    pub async fn end(&self, pool: &PgPool, result: Result<(), &str>) -> Result<()> {
        query(include_str!("../../queries/deadline/end_callback.sql"))
            .bind(self.id)
            .bind(self.attempts)
            .bind(if result.is_ok() { "success" } else { "failed" })
            .bind(result.err())
            .execute(pool)
            .await?;
        Ok(())
    }
}
