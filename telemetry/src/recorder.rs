//! Keeps what is recorded until a sender takes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_util::registry::{AtomicStorage, Registry};

use crate::sample::{Sample, Spread, Value};

type Kept = Registry<Key, AtomicStorage>;

/// What a sender takes from.
#[derive(Debug)]
pub(crate) struct Samples(Arc<Kept>);

/// What records for it.
#[derive(Debug)]
pub(crate) struct SampleRecorder(Arc<Kept>);

/// A recorder, and the end at which its samples come out.
pub(crate) fn pair() -> (SampleRecorder, Samples) {
    let kept = Arc::new(Registry::new(AtomicStorage));
    (SampleRecorder(Arc::clone(&kept)), Samples(kept))
}

impl Samples {
    /// What was recorded since the last call: counters that grew, gauges, histograms that were given something.
    ///
    /// What stands at nothing and nobody holds is forgotten, so that Dags that are gone take no memory. While this looks at a
    /// metric nobody can come to hold it.
    pub(crate) fn take(&self) -> Vec<Sample> {
        let mut samples = self.take_numbers();
        self.take_values(|key, values| {
            samples.extend(Spread::of(values).map(|spread| sample(key, Value::Spread(spread))));
        });
        samples
    }

    /// The same of counters and gauges.
    pub(crate) fn take_numbers(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        self.0.retain_counters(|key, counter| {
            let grown = counter.swap(0, Ordering::AcqRel);
            if grown > 0 {
                samples.push(sample(key, Value::Count(grown)));
            }
            grown > 0 || Arc::strong_count(counter) > 1
        });
        self.0.retain_gauges(|key, gauge| {
            let level = f64::from_bits(gauge.load(Ordering::Acquire));
            if level.is_finite() {
                samples.push(sample(key, Value::Level(level)));
            }
            level != 0.0 || Arc::strong_count(gauge) > 1
        });
        samples
    }

    /// The same of histograms: every value, in no order.
    pub(crate) fn take_values(&self, mut taken: impl FnMut(&Key, Vec<f64>)) {
        self.0.retain_histograms(|key, histogram| {
            let mut values = Vec::new();
            histogram.clear_with(|some| values.extend(some.iter().copied().filter(|value| value.is_finite())));
            let is_given = !values.is_empty();
            if is_given {
                taken(key, values);
            }
            is_given || Arc::strong_count(histogram) > 1
        });
    }
}

/// The names and values of the labels of a metric.
pub(crate) fn labels(key: &Key) -> Vec<(String, String)> {
    key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect()
}

fn sample(key: &Key, value: Value) -> Sample {
    Sample { name: key.name().to_owned(), labels: labels(key), value }
}

impl Recorder for SampleRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0.get_or_create_counter(key, |counter| counter.clone().into())
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.0.get_or_create_gauge(key, |gauge| gauge.clone().into())
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.0.get_or_create_histogram(key, |histogram| histogram.clone().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_taken_once_and_what_is_over_forgotten() {
        let (recorder, samples) = pair();
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("grows", "dag_id" => "a").increment(2);
            metrics::gauge!("stands").set(3.0);
            [1.0, 4.0, 2.5].into_iter().for_each(|value| metrics::histogram!("spreads").record(value));
        });
        let value = |name: &str, taken: &[Sample]| taken.iter().find(|one| one.name == name).map(|one| one.value);
        let taken = samples.take();
        assert_eq!(value("grows", &taken), Some(Value::Count(2)));
        assert_eq!(taken.iter().find_map(|one| one.label("dag_id")), Some("a"));
        assert_eq!(value("spreads", &taken), Some(Value::Spread(Spread { min: 1.0, max: 4.0, sum: 7.5, count: 3 })));
        let taken = samples.take();
        assert_eq!((taken.len(), value("stands", &taken)), (1, Some(Value::Level(3.0))));

        metrics::with_local_recorder(&recorder, || metrics::gauge!("stands").set(0.0));
        assert_eq!(value("stands", &samples.take()), Some(Value::Level(0.0)), "it is told once that it is over");
        assert_eq!(samples.take(), []);
        assert_eq!(samples.0.get_counter_handles().len() + samples.0.get_histogram_handles().len(), 0);
    }
}
