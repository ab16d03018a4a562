//! Queued task instances that no message stands for (invariant I5).

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Row, query};
use tradewind_metadata::queue::{self, Message};
use tradewind_metadata::{Result, failpoint};

use super::Reaper;

/// A queued task instance must have its message within this time; younger ones may be in a transaction of another
/// process.
const MESSAGE_GRACE: TimeDelta = TimeDelta::seconds(30);

impl Reaper {
    /// Writes messages anew for queued task instances that have none. What a living official scheduler queued waits for
    /// that one's own executor.
    pub(super) async fn resend_lost_messages(&self, now: DateTime<Utc>) -> Result<()> {
        let mut transaction = self.database.pool().begin().await?;
        let rows = query(include_str!("../../queries/reaper/lost_messages.sql"))
            .bind(now - MESSAGE_GRACE)
            .bind(self.job_id)
            .bind(self.oldest_sign_of_life(now))
            .fetch_all(&mut *transaction)
            .await?;
        let messages = rows
            .iter()
            .map(|row| {
                Ok(Message {
                    ti_id: row.try_get("id")?,
                    queue: row.try_get("queue")?,
                    priority_weight: row.try_get("priority_weight")?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        queue::send(&mut transaction, &messages, self.options.carrier).await?;
        failpoint::reach("resend_lost_messages: written").await?;
        transaction.commit().await?;
        if !messages.is_empty() {
            tracing::warn!(count = messages.len(), "queued task instances had no message; sent again");
        }
        Ok(())
    }
}
