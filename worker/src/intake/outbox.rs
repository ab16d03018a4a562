//! Takes task instances from the outbox as soon as a notification tells of them.

use std::time::Duration;

use chrono::Utc;
use sqlx::Connection;
use sqlx::postgres::PgListener;
use tokio::time::sleep;
use tradewind_metadata::queue::{Claim, Claimant, claim};
use tradewind_metadata::{Database, Result, notify};

/// The outbox, listened to.
pub(crate) struct Outbox {
    database: Database,
    queues: Vec<String>,
    claimant: Claimant,
    listener: PgListener,
}

impl Outbox {
    pub(super) async fn open(database: Database, queues: Vec<String>, claimant: Claimant) -> Result<Self> {
        let listener = notify::listen(database.pool(), &[notify::QUEUE]).await?;
        Ok(Self { database, queues, claimant, listener })
    }

    /// Claims as many task instances as there are free slots; none while the database is away.
    pub(super) async fn take(&self, free: usize) -> Vec<Claim> {
        if free == 0 {
            return Vec::new();
        }
        self.try_take(free).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "nothing can be taken from the queue now; it will be tried again");
            Vec::new()
        })
    }

    async fn try_take(&self, free: usize) -> Result<Vec<Claim>> {
        let mut connection = self.database.pool().acquire().await?;
        let mut transaction = connection.begin().await?;
        let claims = claim(&mut transaction, &self.queues, free, &self.claimant, Utc::now()).await?;
        transaction.commit().await?;
        Ok(claims)
    }

    pub(super) async fn news(&mut self) {
        if let Err(error) = self.listener.recv().await {
            tracing::warn!(%error, "the connection that listens to the queue broke and is opened again");
            sleep(Duration::from_millis(200)).await;
        }
    }
}
