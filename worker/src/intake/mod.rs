//! Where a worker takes its attempts from: the outbox itself, or a broker that tells what waits there.

mod outbox;
mod reception;

use std::sync::Arc;
use std::time::Duration;

use tradewind_broker::Broker;
use tradewind_metadata::queue::{Claim, Claimant};
use tradewind_metadata::{Database, Result};

use outbox::Outbox;
use reception::Reception;

/// Where a worker takes its attempts from.
#[derive(Debug, Clone, Default)]
pub enum Source {
    /// The outbox in the metadata database.
    #[default]
    Outbox,
    /// A broker.
    Broker {
        /// It.
        broker: Arc<dyn Broker>,
        /// How long a message is hidden from other workers while this one claims its task instance; more is asked for when
        /// that takes longer.
        visibility: Duration,
    },
}

/// A source that is open.
pub(crate) enum Intake {
    Outbox(Outbox),
    Broker(Reception),
}

impl Intake {
    pub(crate) async fn open(
        source: &Source,
        database: Database,
        queues: Vec<String>,
        claimant: Claimant,
    ) -> Result<Self> {
        Ok(match source {
            Source::Outbox => Self::Outbox(Outbox::open(database, queues, claimant).await?),
            Source::Broker { broker, visibility } => {
                Self::Broker(Reception::open(Arc::clone(broker), *visibility, database, &queues, claimant))
            }
        })
    }

    /// Claims up to as many task instances as there are free slots; none while the database is away.
    pub(crate) async fn take(&mut self, free: usize) -> Vec<Claim> {
        match self {
            Self::Outbox(outbox) => outbox.take(free).await,
            Self::Broker(reception) => reception.take(free).await,
        }
    }

    /// Waits until there may be something to take.
    pub(crate) async fn news(&mut self, free: usize) {
        match self {
            Self::Outbox(outbox) if free > 0 => outbox.news().await,
            Self::Outbox(_) => std::future::pending().await,
            // What has come although there is no slot has to go back.
            Self::Broker(reception) => reception.news(free).await,
        }
    }

    /// Takes nothing more; what has come meanwhile goes back.
    pub(crate) async fn close(self) {
        if let Self::Broker(reception) = self {
            reception.close().await;
        }
    }
}
