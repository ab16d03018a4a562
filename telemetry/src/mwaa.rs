//! The metrics of Amazon MWAA: what CloudWatch knows each of Airflow's by, with which unit and dimensions.
//!
//! Source: the MWAA user guide, chapters on the namespaces `AmazonMWAA` and `AWS/MWAA`; names are theirs to the letter.

use std::collections::BTreeMap;

use tradewind_aws::cloudwatch::{Datum, Unit};

use crate::container::Load;
use crate::sample::{Sample, Spread, Value};

mod rows;

pub use rows::ROWS;

/// Airflow's metrics.
pub const AIRFLOW: &str = "AmazonMWAA";

/// Those of containers and queues.
pub const SERVICE: &str = "AWS/MWAA";

/// A metric of the guide, and where it comes from here.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// [`AIRFLOW`] or [`SERVICE`].
    pub namespace: &'static str,
    /// Its name in CloudWatch.
    pub metric: &'static str,
    /// Airflow's name for StatsD, with the names of labels in braces; empty where Airflow has none.
    pub statsd: &'static str,
    /// From what it is made.
    pub source: Source,
    /// Its unit.
    pub unit: Unit,
    /// Its dimensions besides `Environment`.
    pub dimensions: &'static [(&'static str, Dimension)],
}

/// From what a metric is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// What is recorded under this name.
    Recorded(&'static str),
    /// The load of the container.
    Container,
    /// Nothing: why it cannot be.
    None(&'static str),
}

/// The value of a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// Always this. What differs in nothing else is added up.
    Is(&'static str),
    /// That of the label with this name.
    Label(&'static str),
}

/// What kind of container a process runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cluster {
    /// Schedulers, with their Dag processor.
    Scheduler,
    /// Workers that are always there, and those that come and go with the load.
    Worker,
    /// Web servers.
    WebServer,
}

impl Cluster {
    /// That of a component. The Dag processor runs in the scheduler's container, which is counted by its scheduler.
    pub(crate) fn of(component: &str) -> Option<Self> {
        match component {
            "scheduler" => Some(Self::Scheduler),
            "worker" => Some(Self::Worker),
            "webserver" => Some(Self::WebServer),
            _ => None,
        }
    }

    /// The value of the dimension `Cluster`. A worker that a fleet has started is one of its additional ones.
    fn name(self, is_additional: bool) -> &'static str {
        match (self, is_additional) {
            (Self::Scheduler, _) => "Scheduler",
            (Self::Worker, false) => "BaseWorker",
            (Self::Worker, true) => "AdditionalWorker",
            (Self::WebServer, false) => "WebServer",
            (Self::WebServer, true) => "AdditionalWebservers",
        }
    }
}

type Dimensions = Vec<(&'static str, String)>;

/// What CloudWatch is told of these samples, by namespace.
#[must_use]
pub(crate) fn data(environment: &str, samples: &[Sample]) -> BTreeMap<&'static str, Vec<Datum>> {
    let mut merged: BTreeMap<(&'static str, &'static str, Dimensions), (Unit, Value)> = BTreeMap::new();
    for row in ROWS {
        let Source::Recorded(source) = row.source else { continue };
        for sample in samples.iter().filter(|sample| sample.name == source) {
            let Some(mut dimensions) = dimensions(row, sample) else { continue };
            dimensions.push(("Environment", environment.to_owned()));
            let value = in_unit(row.unit, sample.value);
            merged
                .entry((row.namespace, row.metric, dimensions))
                .and_modify(|(_, known)| *known = known.with(value))
                .or_insert((row.unit, value));
        }
    }
    let mut data: BTreeMap<&'static str, Vec<Datum>> = BTreeMap::new();
    for ((namespace, metric, dimensions), (unit, value)) in merged {
        data.entry(namespace).or_default().push(Datum { metric, unit, dimensions, value: value.into() });
    }
    data
}

/// What CloudWatch is told of a container. One of each a minute: their number is the number of containers.
#[must_use]
pub(crate) fn container(environment: &str, cluster: Cluster, is_additional: bool, load: Load) -> Vec<Datum> {
    let datum = |metric, percent| Datum {
        metric,
        unit: Unit::Percent,
        dimensions: vec![("Cluster", cluster.name(is_additional).to_owned()), ("Environment", environment.to_owned())],
        value: tradewind_aws::cloudwatch::Value::One(percent),
    };
    vec![datum("CPUUtilization", load.cpu), datum("MemoryUtilization", load.memory)]
}

/// None when a label that has to be there is not, or is empty, which CloudWatch refuses.
fn dimensions(row: &Row, sample: &Sample) -> Option<Dimensions> {
    let value = |dimension: Dimension| match dimension {
        Dimension::Is(value) => Some(value.to_owned()),
        Dimension::Label(label) => sample.label(label).filter(|value| !value.is_empty()).map(str::to_owned),
    };
    row.dimensions.iter().map(|(name, dimension)| Some((*name, value(*dimension)?))).collect()
}

/// Times are recorded in seconds.
fn in_unit(unit: Unit, value: Value) -> Value {
    match (unit, value) {
        (Unit::Milliseconds, Value::Spread(spread)) => Value::Spread(spread.times(1000.0)),
        (_, value) => value,
    }
}

impl From<Value> for tradewind_aws::cloudwatch::Value {
    fn from(value: Value) -> Self {
        match value {
            #[expect(clippy::cast_precision_loss, reason = "what grows by more than 2^53 in a minute does not exist")]
            Value::Count(grown) => Self::One(grown as f64),
            Value::Level(level) => Self::One(level),
            Value::Spread(Spread { min, max, sum, count }) => {
                #[expect(clippy::cast_precision_loss, reason = "the same")]
                let count = count as f64;
                Self::Many { min, max, sum, count }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, labels: &[(&str, &str)], value: Value) -> Sample {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Sample { name: name.to_owned(), labels, value }
    }

    fn told(samples: &[Sample]) -> Vec<String> {
        let data = data("env", samples);
        let line = |datum: &Datum| {
            let dimensions: Vec<String> =
                datum.dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {} {:?} {:?}", datum.metric, dimensions.join(","), datum.unit, datum.value)
        };
        data.values().flatten().map(line).collect()
    }

    #[test]
    fn what_is_counted_of_all_dags_is_added_up() {
        let started = |dag| sample("ti.start", &[("dag_id", dag), ("task_id", "t")], Value::Count(2));
        assert_eq!(
            told(&[started("a"), started("b")]),
            ["StartedTaskInstances DAG=All,Task=All,Environment=env Count One(4.0)"]
        );
    }

    #[test]
    fn what_is_counted_of_each_dag_is_not() {
        let labels = |dag| [("dag_id", dag), ("task_id", "t"), ("state", "success")];
        let finished = |dag| sample("ti.finish", &labels(dag), Value::Count(1));
        assert_eq!(
            told(&[finished("a"), finished("b")]),
            [
                "TaskInstanceFinished DAG=a,Task=t,State=success,Environment=env Count One(1.0)",
                "TaskInstanceFinished DAG=b,Task=t,State=success,Environment=env Count One(1.0)"
            ]
        );
    }

    #[test]
    fn one_source_may_have_two_names_and_times_are_milliseconds() {
        let open = sample("pool.open_slots", &[("pool_name", "p")], Value::Level(3.0));
        assert_eq!(
            told(&[open]),
            [
                "PoolFailures Pool=p,Environment=env Count One(3.0)",
                "PoolOpenSlots Pool=p,Environment=env Count One(3.0)"
            ]
        );
        let spread = Spread { min: 0.5, max: 2.0, sum: 2.5, count: 2 };
        assert_eq!(
            told(&[sample("scheduler.scheduler_loop_duration", &[], Value::Spread(spread))]),
            ["SchedulerLoopDuration Function=Scheduler,Environment=env Milliseconds \
              Many { min: 500.0, max: 2000.0, sum: 2500.0, count: 2.0 }"]
        );
    }

    #[test]
    fn what_lacks_a_label_is_not_told() {
        assert_eq!(told(&[sample("pool.open_slots", &[("pool_name", "")], Value::Level(3.0))]), [""; 0]);
    }

    #[test]
    fn rows_are_told_apart() {
        let mut keys: Vec<_> =
            ROWS.iter().map(|row| (row.namespace, row.metric, format!("{:?}", row.dimensions))).collect();
        let number = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), number);
    }
}
