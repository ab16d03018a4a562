//! How metrics leave a process. They are recorded once, under Airflow's names, and told to whoever asks (Prometheus) and to
//! whom they are sent: StatsD or OpenTelemetry, under Airflow's names, and CloudWatch, under those of Amazon MWAA.
//!
//! Recording is a few atomic operations; sending happens beside the work, and what cannot be sent is dropped and counted.
#![forbid(unsafe_code)]

mod cloudwatch;
mod container;
pub mod mwaa;
mod names;
mod options;
mod otel;
pub mod process;
mod recorder;
mod sample;
mod selection;
mod statsd;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_util::layers::FanoutBuilder;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tradewind_aws::Account;
use tradewind_aws::cloudwatch::CloudWatch;

pub use options::Options;
pub use otel::CollectorError;

/// Why metrics are not recorded.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something else records the metrics of this process.
    #[error("the metrics of this process are recorded by something else already")]
    RecordedAlready,
    /// A collector of OpenTelemetry is to be told, and cannot be as configured.
    #[error(transparent)]
    Collector(#[from] CollectorError),
}

/// The metrics of this process, and where they go.
#[derive(Debug)]
pub struct Telemetry {
    prometheus: PrometheusHandle,
    senders: JoinSet<()>,
    stop: CancellationToken,
}

impl Telemetry {
    /// Records the metrics of this process from now on, and sends them where `options` say.
    ///
    /// # Errors
    /// Something else records them already, or certificates for a collector cannot be used.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let prometheus = PrometheusBuilder::new().build_recorder();
        let handle = prometheus.handle();
        let (mut recorders, mut senders) = (FanoutBuilder::default().add_recorder(prometheus), JoinSet::new());
        let stop = CancellationToken::new();
        if let Some(statsd) = options.statsd {
            let (recorder, samples) = recorder::pair();
            recorders = recorders.add_recorder(recorder);
            senders.spawn(statsd::send(samples, statsd, options.selection.clone(), stop.clone()));
        }
        if let Some(otel) = options.otel {
            let (recorder, samples) = recorder::pair();
            recorders = recorders.add_recorder(recorder);
            let sender = otel::Sender::new(otel, options.selection.clone())?;
            senders.spawn(sender.run(samples, stop.clone()));
        }
        if let Some(cloudwatch) = options.cloudwatch {
            let (recorder, samples) = recorder::pair();
            recorders = recorders.add_recorder(recorder);
            let client = CloudWatch::new(&Account::from_environment().await);
            senders.spawn(cloudwatch::send(samples, client, cloudwatch, options.selection, stop.clone()));
        }
        metrics::set_global_recorder(recorders.build()).map_err(|_| StartError::RecordedAlready)?;
        Ok(Self { prometheus: handle, senders, stop })
    }

    /// What Prometheus is told.
    #[must_use]
    pub fn prometheus(&self) -> PrometheusHandle {
        self.prometheus.clone()
    }

    /// Sends what was recorded last, for a few seconds at most.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.senders.join_next().await.is_some() {}
    }
}
