//! Tells the database that this worker lives, so that a person can learn whether a queue has one.

use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tradewind_metadata::worker::{self, HEARTBEAT_INTERVAL, Presence};
use tradewind_metadata::{Database, MetadataError};
use uuid::Uuid;

use crate::worker::Status;

/// Says at intervals what the worker does; takes leave at the end.
pub(crate) async fn keep(
    database: Database,
    hostname: String,
    queues: Vec<String>,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
) {
    let id = Uuid::now_v7();
    let mut ticks = interval(HEARTBEAT_INTERVAL.to_std().unwrap_or(Duration::from_secs(5)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => break,
        }
        let Status { slots, running, takes } = *status.borrow();
        let presence = Presence { id, hostname: hostname.clone(), queues: queues.clone(), slots, running, takes };
        report(worker::heartbeat(database.pool(), &presence, Utc::now()).await);
    }
    report(worker::leave(database.pool(), id).await);
}

/// Only what people are told depends on it.
fn report(outcome: Result<(), MetadataError>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "the worker could not say that it lives");
    }
}
