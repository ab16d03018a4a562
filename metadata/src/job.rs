//! Rows of the `job` table: how Airflow's health page and command line see which components live.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, query, query_scalar};

use crate::Result;

/// The kind of a component, by the name Airflow gives its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobType {
    /// The scheduler.
    Scheduler,
    /// The Dag processor.
    DagProcessor,
    /// The triggerer.
    Triggerer,
}

impl JobType {
    /// `job.job_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduler => "SchedulerJob",
            Self::DagProcessor => "DagProcessorJob",
            Self::Triggerer => "TriggererJob",
        }
    }
}

/// A registered component.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// `job.id`.
    pub id: i32,
}

impl Job {
    /// Registers a component that starts.
    pub async fn start(pool: &PgPool, kind: JobType, hostname: &str, unixname: &str) -> Result<Self> {
        let id = query_scalar(
            "INSERT INTO job (job_type, state, start_date, latest_heartbeat, hostname, unixname) \
             VALUES ($1, 'running', now(), now(), $2, $3) RETURNING id",
        )
        .bind(kind.as_str())
        .bind(hostname)
        .bind(unixname)
        .fetch_one(pool)
        .await?;
        Ok(Self { id })
    }

    /// Says that the component lives.
    pub async fn heartbeat(self, pool: &PgPool) -> Result<()> {
        query("UPDATE job SET latest_heartbeat = now() WHERE id = $1").bind(self.id).execute(pool).await?;
        Ok(())
    }

    /// Says that the component ended as it should.
    pub async fn end(self, connection: &mut PgConnection) -> Result<()> {
        query("UPDATE job SET state = 'success', end_date = now(), latest_heartbeat = now() WHERE id = $1")
            .bind(self.id)
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// Marks schedulers as failed whose last heartbeat is older. Returns how many.
pub async fn fail_silent_schedulers(connection: &mut PgConnection, oldest: DateTime<Utc>) -> Result<u64> {
    let failed = query(
        "UPDATE job SET state = 'failed' WHERE job_type = 'SchedulerJob' AND state = 'running' AND latest_heartbeat < $1",
    )
    .bind(oldest)
    .execute(connection)
    .await?;
    Ok(failed.rows_affected())
}
