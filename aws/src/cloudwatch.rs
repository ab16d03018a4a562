//! CloudWatch's metrics.

use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::Builder;
use aws_sdk_cloudwatch::config::timeout::TimeoutConfig;
use aws_sdk_cloudwatch::error::DisplayErrorContext;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit, StatisticSet};

use crate::Account;

/// How many metrics a request may have.
const BATCH: usize = 1_000;

/// How long a request may take with its retries: a part of the minute until the next.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Characters of a dimension's value.
const LONGEST_VALUE: usize = 1_024;

/// The metrics of an account.
#[derive(Debug, Clone)]
pub struct CloudWatch {
    client: Client,
}

/// A metric at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Datum {
    /// Its name.
    pub metric: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// Its dimensions, of which no value may be empty.
    pub dimensions: Vec<(&'static str, String)>,
    /// Its value.
    pub value: Value,
}

/// The unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number.
    Count,
    /// A number in a second.
    CountPerSecond,
    /// Bytes.
    Bytes,
    /// Bytes in a second.
    BytesPerSecond,
    /// Hundredths.
    Percent,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// The value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// One value.
    One(f64),
    /// Several in short.
    Many {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
        /// All of them added up.
        sum: f64,
        /// How many.
        count: f64,
    },
}

/// What became of metrics.
#[derive(Debug)]
pub struct Outcome {
    /// How many arrived.
    pub sent: usize,
    /// Why the others did not, in words for an operator.
    pub error: Option<String>,
}

impl CloudWatch {
    /// That of an account.
    #[must_use]
    pub fn new(account: &Account) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(TIMEOUT).build();
        Self { client: Client::from_conf(Builder::from(account.config()).timeout_config(timeouts).build()) }
    }

    /// Puts metrics into a namespace, at the present time; the SDK packs what is large. The first request that fails is the
    /// last.
    pub async fn put(&self, namespace: &str, data: &[Datum]) -> Outcome {
        let now = DateTime::from(SystemTime::now());
        let mut sent = 0;
        for batch in data.chunks(BATCH) {
            let request = self.client.put_metric_data().namespace(namespace);
            let request = request.set_metric_data(Some(batch.iter().map(|datum| in_words(datum, now)).collect()));
            if let Err(error) = request.send().await {
                let hint =
                    "allow cloudwatch:PutMetricData to this process, and look at AWS_REGION and AWS_ENDPOINT_URL";
                return Outcome { sent, error: Some(format!("{}\nhint: {hint}", DisplayErrorContext(error))) };
            }
            sent += batch.len();
        }
        Outcome { sent, error: None }
    }
}

fn in_words(datum: &Datum, at: DateTime) -> MetricDatum {
    let short = |value: &str| value.chars().take(LONGEST_VALUE).collect::<String>();
    let dimension = |(name, value): &(&str, String)| Dimension::builder().name(*name).value(short(value)).build();
    let unit = match datum.unit {
        Unit::Count => StandardUnit::Count,
        Unit::CountPerSecond => StandardUnit::CountSecond,
        Unit::Bytes => StandardUnit::Bytes,
        Unit::BytesPerSecond => StandardUnit::BytesSecond,
        Unit::Percent => StandardUnit::Percent,
        Unit::Seconds => StandardUnit::Seconds,
        Unit::Milliseconds => StandardUnit::Milliseconds,
    };
    let words = MetricDatum::builder()
        .metric_name(datum.metric)
        .unit(unit)
        .timestamp(at)
        .set_dimensions(Some(datum.dimensions.iter().map(dimension).collect()));
    match datum.value {
        Value::One(value) => words.value(value).build(),
        Value::Many { min, max, sum, count } => {
            let set = StatisticSet::builder().minimum(min).maximum(max).sum(sum).sample_count(count);
            words.statistic_values(set.build()).build()
        }
    }
}
