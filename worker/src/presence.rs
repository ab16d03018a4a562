//! Tells the database that this worker lives, so that a person can learn whether a queue has one, and hears whether its fleet
//! needs it.

use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tradewind_metadata::fleet::Asked;
use tradewind_metadata::worker::{self, HEARTBEAT_INTERVAL, Presence};
use tradewind_metadata::{Database, MetadataError};
use uuid::Uuid;

use crate::worker::Status;

/// Says at intervals what the worker does, and hears what it is asked to do; takes leave at the end.
pub(crate) async fn keep(
    database: Database,
    id: Uuid,
    hostname: String,
    queues: Vec<String>,
    mut status: watch::Receiver<Status>,
    asked: watch::Sender<Asked>,
    stop: CancellationToken,
) {
    let mut ticks = interval(HEARTBEAT_INTERVAL.to_std().unwrap_or(Duration::from_secs(5)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // Whoever has asked it to take nothing more waits for that.
            () = changed(&mut status, told) => {}
            () = stop.cancelled() => break,
        }
        let Status { slots, running, takes } = *status.borrow();
        let presence = Presence { id, hostname: hostname.clone(), queues: queues.clone(), slots, running, takes };
        told = Some(takes);
        match worker::heartbeat(database.pool(), &presence, Utc::now()).await {
            Ok(wish) => {
                asked.send_if_modified(|known| std::mem::replace(known, wish) != wish);
            }
            Err(error) => report(&error),
        }
    }
    if let Err(error) = worker::leave(database.pool(), id).await {
        report(&error);
    }
}

/// Only what people are told depends on it.
fn report(error: &MetadataError) {
    tracing::warn!(%error, "the worker could not say that it lives");
}

/// Waits until the worker takes attempts, or takes none, other than was told.
async fn changed(status: &mut watch::Receiver<Status>, told: Option<bool>) {
    // Nobody closes the other end while somebody waits here.
    let _ = status.wait_for(|status| told.is_some_and(|told| told != status.takes)).await;
}
