//! How full the broker's queues are, under MWAA's names.
//!
//! `QueuedTasks` and `RunningTasks` are what the broker counts: messages that wait, and messages that workers hold. The age of
//! the oldest comes from the outbox, since a message that was published again is younger than what it stands for.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval};
use tradewind_broker::{Broker, Depth};
use tradewind_metadata::publication::{self, Waiting};
use tradewind_metadata::{Database, Result};

/// Between two counts. Brokers take a request for each queue.
const INTERVAL: Duration = Duration::from_secs(15);

/// Counts until it is dropped.
pub(super) async fn count(database: &Database, broker: &dyn Broker) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Queues that are empty now are shown as such.
    let mut ages: BTreeMap<String, f64> = BTreeMap::new();
    loop {
        ticks.tick().await;
        if let Err(error) = look(database, &mut ages).await {
            tracing::warn!(%error, "the waiting messages cannot be counted now");
            continue;
        }
        for (queue, age) in &ages {
            gauge!("ApproximateAgeOfOldestTask", "queue" => queue.clone()).set(*age);
            match broker.depth(queue).await {
                Ok(depth) => show(queue, depth),
                // Publishing says so too, where it matters.
                Err(error) => tracing::debug!(queue, %error, "the queue cannot be counted"),
            }
        }
    }
}

async fn look(database: &Database, ages: &mut BTreeMap<String, f64>) -> Result<()> {
    let waiting = publication::waiting(database.pool()).await?;
    ages.values_mut().for_each(|age| *age = 0.0);
    ages.extend(waiting.into_iter().map(|Waiting { queue, oldest, .. }| (queue, oldest)));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn show(queue: &str, depth: Depth) {
    gauge!("QueuedTasks", "queue" => queue.to_owned()).set(depth.waiting as f64);
    gauge!("RunningTasks", "queue" => queue.to_owned()).set(depth.in_flight as f64);
}
