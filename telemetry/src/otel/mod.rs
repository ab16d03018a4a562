//! OpenTelemetry, under Airflow's names: a collector is told by OTLP over HTTP, in Protobuf's form.

mod collector;
mod histogram;
mod options;
mod series;

use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::recorder::{self, Samples};
use crate::selection::Selection;
use collector::{Accepted, Collector};
use series::{Series, told_attribute};

pub use collector::CollectorError;
pub(crate) use options::Otel;

/// How often it is said again that nothing can be sent.
const REMINDER: Duration = Duration::from_secs(3600);

/// Sends to a collector.
#[derive(Debug)]
pub(crate) struct Sender {
    collector: Collector,
    options: Otel,
    series: Series,
    /// When it was last said that something is wrong.
    complained: Option<Instant>,
}

impl Sender {
    /// Prepares to send.
    ///
    /// # Errors
    /// TLS is asked for and cannot be spoken.
    pub(crate) fn new(options: Otel, selection: Selection) -> Result<Self, CollectorError> {
        let collector = Collector::new(options.clone())?;
        let series = Series::new(&options.prefix, selection, options.has_legacy_names, options.is_delta, now());
        Ok(Self { collector, options, series, complained: None })
    }

    /// Sends until it is told to stop, and once more then. What cannot be sent is counted; sums are told with the next request,
    /// unless they are told as those since the last time.
    pub(crate) async fn run(mut self, samples: Samples, stop: CancellationToken) {
        tracing::info!(collector = self.options.place(), "metrics are sent to OpenTelemetry");
        let mut ticks = interval_at(Instant::now() + self.options.interval, self.options.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                _ = ticks.tick() => false,
                () = stop.cancelled() => true,
            };
            self.send(&samples, &stop).await;
            if is_last {
                return;
            }
        }
    }

    async fn send(&mut self, samples: &Samples, stop: &CancellationToken) {
        self.series.look();
        samples.take_numbers().iter().for_each(|sample| self.series.add(sample));
        samples.take_values(|key, values| self.series.add_times(key.name(), &recorder::labels(key), &values));
        let (metrics, points) = self.series.told(now());
        let mut dropped = self.series.dropped();
        if points > 0 {
            if self.options.is_shown {
                show(&metrics);
            }
            let outcome = self.collector.send(&self.request(metrics), stop).await;
            let lost = match &outcome {
                Ok(accepted) => accepted.rejected.min(points),
                Err(_) => points,
            };
            metrics::counter!("tradewind.otel.sent").increment((points - lost) as u64);
            dropped += lost as u64;
            self.say(outcome);
        }
        metrics::counter!("tradewind.otel.dropped").increment(dropped);
    }

    fn request(&self, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
        let attributes = self.options.resource.iter().map(|(name, value)| told_attribute(name, value)).collect();
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let of_scope = ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() };
        let resource = Resource { attributes, ..Resource::default() };
        let of_process =
            ResourceMetrics { resource: Some(resource), scope_metrics: vec![of_scope], ..ResourceMetrics::default() };
        ExportMetricsServiceRequest { resource_metrics: vec![of_process] }
    }

    /// Says once in a while what is wrong, and that it is no more.
    fn say(&mut self, outcome: Result<Accepted, CollectorError>) {
        let collector = self.options.place();
        let is_time = self.complained.is_none_or(|last| last.elapsed() >= REMINDER);
        match outcome {
            Ok(accepted) if accepted.rejected > 0 => {
                if is_time {
                    self.complained = Some(Instant::now());
                    let Accepted { rejected, reason } = accepted;
                    tracing::warn!(collector, rejected, reason, "the collector does not take all metrics");
                }
            }
            Ok(_) => {
                if self.complained.take().is_some() {
                    tracing::info!(collector, "metrics are sent to OpenTelemetry again");
                }
            }
            Err(error) => {
                if is_time {
                    self.complained = Some(Instant::now());
                    tracing::warn!(collector, %error, "metrics cannot be sent to OpenTelemetry");
                }
            }
        }
    }
}

/// What official Airflow's console shows.
fn show(metrics: &[Metric]) {
    for metric in metrics {
        tracing::info!(name = metric.name, unit = metric.unit, data = ?metric.data, "a metric is sent to OpenTelemetry");
    }
}

/// In nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
