//! Task instances that were cleared while they ran.

use chrono::{DateTime, Utc};
use sqlx::query_scalar;
use tradewind_metadata::attempt::RESTART_GRACE;
use tradewind_metadata::task_instance::{Transition, transition};
use tradewind_metadata::{Result, failpoint};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use super::Reaper;

impl Reaper {
    /// Lets task instances start anew that were cleared while they ran.
    pub(super) async fn release_restarting(&self, now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.database.pool().begin().await?;
        let ids: Vec<Uuid> = query_scalar(include_str!("../../queries/reaper/restarting.sql"))
            .bind(now - RESTART_GRACE)
            .fetch_all(&mut *transaction)
            .await?;
        failpoint::reach("release_restarting: held").await?;
        let from = [Some(TaskInstanceState::Restarting)];
        let transitions: Vec<Transition> = ids.into_iter().map(|id| Transition::new(id, &from, None)).collect();
        transition(&mut transaction, &transitions).await?;
        transaction.commit().await?;
        Ok(())
    }
}
