//! CloudWatch: what was recorded, once a minute.

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tradewind_aws::cloudwatch::CloudWatch as Client;

use crate::container::Meter;
use crate::mwaa::{self, SERVICE};
use crate::options::CloudWatch;
use crate::recorder::Samples;
use crate::selection::Selection;

/// Set for workers that a fleet has started, and for web servers beside a first one.
const ADDITIONAL: [&str; 2] = ["TRADEWIND_WORKER_ID", "TRADEWIND_WEBSERVER_ID"];

/// Sends until it is told to stop, and once more then. What cannot be sent is dropped and counted.
pub(crate) async fn send(
    samples: Samples,
    client: Client,
    options: CloudWatch,
    selection: Selection,
    stop: CancellationToken,
) {
    let is_additional = ADDITIONAL.iter().any(|name| std::env::var_os(name).is_some());
    let mut meter = Meter::new();
    let mut ticks = interval_at(Instant::now() + options.interval, options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        let is_last = tokio::select! {
            _ = ticks.tick() => false,
            () = stop.cancelled() => true,
        };
        let mut taken = samples.take();
        taken.retain(|sample| selection.has(&sample.name));
        let mut data = mwaa::data(&options.environment, &taken);
        // The number of a container's samples is the number of containers, so there is none between two minutes.
        if let (Some(cluster), Some(load)) = (options.cluster.filter(|_| !is_last), meter.load()) {
            let container = mwaa::container(&options.environment, cluster, is_additional, load);
            data.entry(SERVICE).or_default().extend(container);
        }
        for (namespace, data) in data {
            let outcome = client.put(namespace, &data).await;
            metrics::counter!("tradewind.cloudwatch.sent").increment(outcome.sent as u64);
            metrics::counter!("tradewind.cloudwatch.dropped").increment((data.len() - outcome.sent) as u64);
            match outcome.error {
                Some(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(%error, namespace, "metrics cannot be sent to CloudWatch, and are dropped");
                }
                Some(_) => {}
                None if is_failing => {
                    is_failing = false;
                    tracing::info!(namespace, "metrics are sent to CloudWatch again");
                }
                None => {}
            }
        }
        if is_last {
            return;
        }
    }
}
