//! What schedulers that are gone had queued.
//!
//! A worker and its queue outlive the scheduler that queued, so a task instance only changes hands: this keeps an official
//! scheduler on the same database from resetting what one of our workers runs, and gets what a dead official scheduler
//! had queued for itself a message (see `lost_message`). Attempts that died with their scheduler are found by their
//! heartbeats.
//!
//! Source: `adopt_or_reset_orphaned_tasks` in `airflow/jobs/scheduler_job_runner.py`.

use chrono::{DateTime, Utc};
use metrics::counter;
use sqlx::query;
use tradewind_metadata::{Result, job};

use super::Reaper;

impl Reaper {
    pub(super) async fn adopt_orphans(&self, now: DateTime<Utc>) -> Result<()> {
        let mut connection = self.database.pool().acquire().await?;
        let died = job::fail_silent_schedulers(&mut connection, self.oldest_sign_of_life(now)).await?;
        if died > 0 {
            tracing::warn!(count = died, "schedulers without heartbeat are taken for dead");
            counter!("schedulerjobrunner_end").increment(died);
        }
        let mut adopted = 0;
        loop {
            let batch = query(include_str!("../../queries/reaper/adopt_orphans.sql"))
                .bind(self.job_id)
                .bind(now)
                .execute(&mut *connection)
                .await?
                .rows_affected();
            adopted += batch;
            if batch == 0 {
                break;
            }
        }
        counter!("scheduler.orphaned_tasks.adopted").increment(adopted);
        counter!("scheduler.orphaned_tasks.cleared").increment(0);
        if adopted > 0 {
            tracing::info!(count = adopted, "adopted what schedulers that are gone had queued");
        }
        Ok(())
    }
}
