//! Task instances that were cleared while they ran.

use chrono::{DateTime, Utc};
use sqlx::query_scalar;
use tradewind_metadata::attempt::RESTART_GRACE;
use tradewind_metadata::{Result, clear, failpoint};
use uuid::Uuid;

use super::Reaper;

impl Reaper {
    /// Lets task instances start anew that were cleared while they ran. Their worker does so itself when it has ended the
    /// process, unless it is gone or an official one.
    pub(super) async fn release_restarting(&self, now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.database.pool().begin().await?;
        let ids: Vec<Uuid> = query_scalar(include_str!("../../queries/reaper/restarting.sql"))
            .bind(now - RESTART_GRACE)
            .fetch_all(&mut *transaction)
            .await?;
        failpoint::reach("release_restarting: held").await?;
        clear::restart(&mut transaction, &self.dags, &ids).await?;
        Ok(transaction.commit().await?)
    }
}
