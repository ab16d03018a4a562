//! What OpenTelemetry is told: every name with its attributes, added up since it began or since it was told last.
//!
//! Source: `airflow/_shared/observability/metrics/otel_logger.py` for kinds, units and names; the specification of
//! OpenTelemetry's metrics SDK for the limit of attributes and for what adding up means.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fancy_regex::Regex;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets as ToldBuckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Metric, NumberDataPoint, Sum,
};

use super::histogram::{Buckets, Histogram};
use crate::names;
use crate::sample::{Sample, Value};
use crate::selection::Selection;

/// The longest name.
const NAME_LENGTH: usize = 255;

/// The longest name that is shortened to that, of those that may be.
const LONG_NAME_LENGTH: usize = 999;

/// The one that goes up and down, where official Airflow counts and does not measure.
const UP_AND_DOWN: &str = "dag_processing.processes";

/// The one that is counted here, where official Airflow measures how many there are at a time.
const COUNTED: &str = "scheduler.tasks.executable";

/// Sets of attributes that a name may have; what further ones have is told as that of [`OVERFLOW`].
const ATTRIBUTE_SETS: usize = 2_000;

/// The attribute of what has no room.
const OVERFLOW: &str = "otel.metric.overflow";

/// Names that there may be. Older names have ids in them.
const NAMES: usize = 20_000;

/// A sum that has not grown for so many looks is forgotten, and begins anew when it grows: Dags that are gone take no memory.
const STALE: u32 = 60;

type Attributes = Vec<(String, String)>;

/// How a name is told.
#[derive(Debug, Clone, PartialEq)]
enum Total {
    /// It only grows.
    Count(u64),
    /// It goes up and down.
    Difference(i64),
    /// It is what it was last.
    Level(f64),
    /// It is how much was counted since the last look.
    Recent(u64),
    /// In milliseconds.
    Times(Histogram),
}

/// What comes to it.
#[derive(Debug, Clone, Copy)]
enum New<'a> {
    Count(u64),
    Difference(i64),
    Level(f64),
    Recent(u64),
    /// In seconds.
    Times(&'a [f64]),
}

#[derive(Debug)]
struct Point {
    total: Total,
    /// In nanoseconds since 1970.
    since: u64,
    /// For how many looks nothing has come.
    idle: u32,
}

/// All that is told.
#[derive(Debug)]
pub(super) struct Series {
    prefix: String,
    selection: Selection,
    has_legacy_names: bool,
    /// Whether sums are those since the last time.
    is_delta: bool,
    points: BTreeMap<String, BTreeMap<Attributes, Point>>,
    /// When it was looked last, in nanoseconds since 1970.
    last: u64,
    /// What had no room among the names.
    dropped: u64,
}

impl Series {
    /// None yet, at a time in nanoseconds since 1970.
    pub(super) fn new(prefix: &str, selection: Selection, has_legacy_names: bool, is_delta: bool, now: u64) -> Self {
        let (prefix, points) = (prefix.to_owned(), BTreeMap::new());
        Self { prefix, selection, has_legacy_names, is_delta, points, last: now, dropped: 0 }
    }

    /// Begins to add what was recorded since the last look.
    pub(super) fn look(&mut self) {
        let is_delta = self.is_delta;
        self.points.retain(|_, points| {
            points.retain(|_, point| {
                point.idle += 1;
                match &mut point.total {
                    // What is there still is told anew.
                    Total::Level(_) | Total::Difference(_) => false,
                    Total::Recent(counted) => {
                        *counted = 0;
                        true
                    }
                    Total::Count(_) | Total::Times(_) => !is_delta && point.idle < STALE,
                }
            });
            !points.is_empty()
        });
    }

    /// Adds what a counter or a gauge was.
    pub(super) fn add(&mut self, sample: &Sample) {
        let new = match sample.value {
            Value::Count(grown) if sample.name == COUNTED => New::Recent(grown),
            Value::Count(grown) => New::Count(grown),
            #[expect(clippy::cast_possible_truncation, reason = "a number of processes")]
            Value::Level(level) if sample.name == UP_AND_DOWN => New::Difference(level as i64),
            Value::Level(level) => New::Level(level),
            Value::Spread(_) => return,
        };
        for (name, labels) in names::all(&sample.name, &sample.labels, self.has_legacy_names) {
            self.put(&name, labels, new);
        }
    }

    /// Adds what a histogram was given, in seconds. What is below nothing is left out, as OpenTelemetry's SDKs leave it out.
    pub(super) fn add_times(&mut self, name: &str, labels: &[(String, String)], seconds: &[f64]) {
        let seconds: Vec<f64> = seconds.iter().copied().filter(|seconds| *seconds >= 0.0).collect();
        if seconds.is_empty() {
            return;
        }
        for (name, labels) in names::all(name, labels, self.has_legacy_names) {
            self.put(&name, labels, New::Times(&seconds));
        }
    }

    fn put(&mut self, name: &str, mut labels: Attributes, new: New<'_>) {
        let Some(name) = full_name(&self.prefix, name).filter(|_| self.selection.has(name)) else { return };
        if !self.points.contains_key(&name) && self.points.len() >= NAMES {
            self.dropped += 1;
            return;
        }
        let points = self.points.entry(name).or_default();
        labels.sort();
        if !points.contains_key(&labels) && points.len() >= ATTRIBUTE_SETS {
            labels = vec![(OVERFLOW.to_owned(), "true".to_owned())];
        }
        let since = self.last;
        let point = points.entry(labels).or_insert_with(|| Point { total: Total::nothing(new), since, idle: 0 });
        point.idle = 0;
        point.total.add(new);
    }

    /// Ends the look: what is told now, and how many points that are.
    pub(super) fn told(&mut self, now: u64) -> (Vec<Metric>, usize) {
        self.last = now;
        let number = self.points.values().map(BTreeMap::len).sum();
        (self.points.iter().filter_map(|(name, points)| metric(name, points, self.is_delta, now)).collect(), number)
    }

    /// How often something had no room since the last call.
    pub(super) fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

impl Total {
    fn nothing(new: New<'_>) -> Self {
        match new {
            New::Count(_) => Self::Count(0),
            New::Difference(_) => Self::Difference(0),
            New::Level(_) => Self::Level(0.0),
            New::Recent(_) => Self::Recent(0),
            New::Times(_) => Self::Times(Histogram::default()),
        }
    }

    fn add(&mut self, new: New<'_>) {
        match (self, new) {
            (Self::Count(known), New::Count(grown)) | (Self::Recent(known), New::Recent(grown)) => {
                *known = known.saturating_add(grown)
            }
            (Self::Difference(known), New::Difference(level)) => *known = level,
            (Self::Level(known), New::Level(level)) => *known = level,
            (Self::Times(known), New::Times(seconds)) => {
                seconds.iter().for_each(|seconds| known.record(seconds * 1000.0));
            }
            // A name is of one kind.
            _ => {}
        }
    }
}

/// The name that is told, in small letters as OpenTelemetry's Python SDK tells it; none where official Airflow tells nothing, since the name is too long or has other characters.
fn full_name(prefix: &str, name: &str) -> Option<String> {
    /// Names that are shortened instead.
    static SHORTENED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(concat!(
            r"^(?:.*_start|.*_end|.*_heartbeat_failure|local_task_job.task_exit\..*\..*\..*\..*",
            r"|operator_failures_.*|operator_successes_.*|ti.start..*\..*|ti.finish..*\..*\..*",
            r"|task_removed_from_dag\..*|task_restored_to_dag\..*|task_instance_created_.*",
            r"|dag_processing\.last_run\.seconds_ago\..*|dag_processing\.last_duration\..*",
            r"|pool\.(?:open_slots|queued_slots|running_slots|deferred_slots|starving_tasks)\..*",
            r"|dagrun\.(?:dependency-check|duration\.success|duration\.failed|schedule_delay)\..*",
            r"|dagrun\..*\.first_task_scheduling_delay",
            r"|dag\..*\..*\.(?:duration|queued_duration|scheduled_duration))$",
        ))
        .expect("a pattern")
    });
    let mut full = format!("{prefix}.{name}").to_ascii_lowercase();
    if name.is_empty() || !names::has_valid_characters(&full, false) {
        return None;
    }
    if full.len() > NAME_LENGTH {
        let is_shortened = full.len() <= LONG_NAME_LENGTH && SHORTENED.is_match(name).unwrap_or(false);
        full.truncate(NAME_LENGTH);
        return is_shortened.then_some(full);
    }
    Some(full)
}

/// A name with its points; none where there are none.
fn metric(name: &str, points: &BTreeMap<Attributes, Point>, is_delta: bool, now: u64) -> Option<Metric> {
    let kind = &points.values().next()?.total;
    let number = |(attributes, point): (&Attributes, &Point)| {
        let is_level = matches!(point.total, Total::Level(_) | Total::Recent(_));
        NumberDataPoint {
            attributes: told_attributes(attributes),
            start_time_unix_nano: if is_level { 0 } else { point.since },
            time_unix_nano: now,
            value: point.total.number(),
            ..NumberDataPoint::default()
        }
    };
    let temporality =
        |is_delta| if is_delta { AggregationTemporality::Delta } else { AggregationTemporality::Cumulative }.into();
    let sum = |is_monotonic, is_delta| Sum {
        data_points: points.iter().map(number).collect(),
        aggregation_temporality: temporality(is_delta),
        is_monotonic,
    };
    let (unit, data) = match kind {
        Total::Count(_) => ("", Data::Sum(sum(true, is_delta))),
        Total::Difference(_) => ("", Data::Sum(sum(false, false))),
        Total::Level(_) | Total::Recent(_) => {
            ("", Data::Gauge(Gauge { data_points: points.iter().map(number).collect() }))
        }
        Total::Times(_) => {
            let data_points = points.iter().filter_map(|(attributes, point)| spread(attributes, point, now)).collect();
            let aggregation_temporality = temporality(is_delta);
            ("ms", Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality }))
        }
    };
    Some(Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() })
}

impl Total {
    fn number(&self) -> Option<Number> {
        match self {
            Self::Count(count) => Some(Number::AsInt(i64::try_from(*count).unwrap_or(i64::MAX))),
            Self::Difference(level) => Some(Number::AsInt(*level)),
            Self::Level(level) => Some(Number::AsDouble(*level)),
            #[expect(clippy::cast_precision_loss, reason = "a number of task instances")]
            Self::Recent(counted) => Some(Number::AsDouble(*counted as f64)),
            Self::Times(_) => None,
        }
    }
}

fn spread(attributes: &Attributes, point: &Point, now: u64) -> Option<ExponentialHistogramDataPoint> {
    let Total::Times(histogram) = &point.total else { return None };
    Some(ExponentialHistogramDataPoint {
        attributes: told_attributes(attributes),
        start_time_unix_nano: point.since,
        time_unix_nano: now,
        count: histogram.count,
        sum: Some(histogram.sum),
        scale: histogram.told_scale(),
        zero_count: histogram.zeros,
        positive: told_buckets(&histogram.positive),
        min: Some(histogram.min),
        max: Some(histogram.max),
        ..ExponentialHistogramDataPoint::default()
    })
}

fn told_buckets(buckets: &Buckets) -> Option<ToldBuckets> {
    let offset = i32::try_from(buckets.offset).ok()?;
    (!buckets.counts.is_empty()).then(|| ToldBuckets { offset, bucket_counts: buckets.counts.clone() })
}

fn told_attributes(attributes: &Attributes) -> Vec<KeyValue> {
    attributes.iter().map(|(name, value)| told_attribute(name, value)).collect()
}

/// An attribute in OpenTelemetry's words.
pub(super) fn told_attribute(name: &str, value: &str) -> KeyValue {
    let value = if name == OVERFLOW {
        any_value::Value::BoolValue(true)
    } else {
        any_value::Value::StringValue(value.to_owned())
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(is_delta: bool) -> Series {
        Series::new("airflow", Selection::default(), true, is_delta, 1)
    }

    fn sample(name: &str, labels: &[(&str, &str)], value: Value) -> Sample {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Sample { name: name.to_owned(), labels, value }
    }

    fn names(metrics: &[Metric]) -> Vec<&str> {
        metrics.iter().map(|metric| metric.name.as_str()).collect()
    }

    /// The number of the only point of a metric.
    fn number(metrics: &[Metric], name: &str) -> Option<Number> {
        match &metrics.iter().find(|metric| metric.name == name)?.data {
            Some(Data::Sum(sum)) => sum.data_points[0].value,
            Some(Data::Gauge(gauge)) => gauge.data_points[0].value,
            _ => None,
        }
    }

    #[test]
    fn sums_grow_or_are_those_since_the_last_time() {
        for (is_delta, expected) in [(false, 5), (true, 3)] {
            let mut series = series(is_delta);
            let mut told = Vec::new();
            for (grown, now) in [(2, 10), (3, 20)] {
                series.look();
                series.add(&sample("scheduler_heartbeat", &[], Value::Count(grown)));
                told = series.told(now).0;
            }
            assert_eq!(number(&told, "airflow.scheduler_heartbeat"), Some(Number::AsInt(expected)));
            series.look();
            let left = series.told(30).0;
            assert_eq!(number(&left, "airflow.scheduler_heartbeat"), (!is_delta).then_some(Number::AsInt(expected)));
        }
    }

    #[test]
    fn what_is_counted_in_place_of_a_measurement_is_told_of_each_interval() {
        let mut series = series(false);
        for (counted, expected) in [(Some(4), 4.0), (None, 0.0), (Some(2), 2.0)] {
            series.look();
            let sample = counted.map(|counted| sample(COUNTED, &[], Value::Count(counted)));
            sample.iter().for_each(|sample| series.add(sample));
            let told = series.told(2).0;
            assert_eq!(number(&told, "airflow.scheduler.tasks.executable"), Some(Number::AsDouble(expected)));
        }
    }

    #[test]
    fn what_has_gone_is_forgotten() {
        let mut series = series(false);
        series.look();
        series.add(&sample("ti.start", &[("dag_id", "a"), ("task_id", "b")], Value::Count(1)));
        series.add(&sample("dagbag_size", &[], Value::Level(1.0)));
        assert_eq!(names(&series.told(2).0), ["airflow.dagbag_size", "airflow.ti.start", "airflow.ti.start.a.b"]);
        series.look();
        assert_eq!(names(&series.told(3).0), ["airflow.ti.start", "airflow.ti.start.a.b"]);
        (0..STALE).for_each(|_| series.look());
        assert_eq!(series.told(4), (Vec::new(), 0));
    }

    #[test]
    fn what_has_no_room_is_told_together_or_counted() {
        let mut series = series(false);
        series.look();
        for dag in 0..ATTRIBUTE_SETS + 3 {
            series.add(&sample("ti_failures", &[("dag_id", &dag.to_string())], Value::Count(1)));
        }
        let (metrics, number) = series.told(2);
        assert_eq!((metrics.len(), number), (1, ATTRIBUTE_SETS + 1));
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("a sum") };
        let rest = sum.data_points.iter().find(|point| point.attributes[0].key == OVERFLOW).expect("the rest");
        assert_eq!(rest.value, Some(Number::AsInt(3)));

        for task in 0..NAMES + 2 {
            let task = task.to_string();
            series.add(&sample("ti.start", &[("dag_id", "a"), ("task_id", &task)], Value::Count(1)));
        }
        // One is that above, one that of all tasks.
        assert_eq!((series.points.len(), series.dropped()), (NAMES, 4));
    }

    #[test]
    fn names_are_told_as_official_airflow_tells_them() {
        let long = "a".repeat(250);
        let dotted = format!("{long}.b");
        assert_eq!(full_name("airflow", "operator_failures_A").as_deref(), Some("airflow.operator_failures_a"));
        assert_eq!(full_name("airflow", &long), None);
        assert_eq!(full_name("airflow", &format!("ti.start.{dotted}")).map(|name| name.len()), Some(NAME_LENGTH));
        assert_eq!(full_name("airflow", &format!("ti.start.{}", "a".repeat(999))), None);
        assert_eq!(full_name("airflow", "ti.start.größe.b"), None);
        assert_eq!(full_name("air flow", "ti.start"), None);
    }
}
