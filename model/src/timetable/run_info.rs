//! What timetables are asked with and answer with (`airflow/timetables/base.py`).

use chrono::{DateTime, Utc};

/// The stretch of time whose data a run works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataInterval {
    /// Inclusive.
    pub start: DateTime<Utc>,
    /// Exclusive, unless it equals `start`.
    pub end: DateTime<Utc>,
}

impl DataInterval {
    /// An "interval" of one point in time.
    pub fn exact(at: DateTime<Utc>) -> Self {
        Self { start: at, end: at }
    }
}

/// The bounds a Dag sets to its runs, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRestriction {
    /// No run before this time.
    pub earliest: Option<DateTime<Utc>>,
    /// No run after this time.
    pub latest: Option<DateTime<Utc>>,
    /// Whether missed runs are made up for.
    pub catchup: bool,
}

/// The start and end date of a Dag or of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DateRange {
    /// `start_date`.
    pub start: Option<DateTime<Utc>>,
    /// `end_date`.
    pub end: Option<DateTime<Utc>>,
}

impl TimeRestriction {
    /// The bounds of a Dag with its tasks (`SerializedDAG._time_restriction`): from the earliest start date to
    /// the latest end date. A task without a date has the Dag's; a task without an end leaves the end open to
    /// the Dag's own.
    pub fn of_dag(dag: DateRange, catchup: bool, tasks: impl IntoIterator<Item = DateRange>) -> Self {
        let mut earliest = dag.start;
        let mut latest = dag.end;
        let mut all_tasks_end = true;
        for task in tasks {
            earliest = [earliest, task.start].into_iter().flatten().min();
            match task.end.or(dag.end) {
                Some(end) => latest = latest.max(Some(end)),
                None => all_tasks_end = false,
            }
        }
        Self { earliest, latest: if all_tasks_end { latest } else { dag.end }, catchup }
    }
}

/// A run that a timetable wants: the next one of a Dag, as stored in the `next_dagrun…` columns of `dag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DagRunInfo {
    /// The run is not made before this time (`next_dagrun_create_after`).
    pub run_after: DateTime<Utc>,
    /// The data interval, absent for partitioned runs.
    pub data_interval: Option<DataInterval>,
    /// Point in time of the partition.
    pub partition_date: Option<DateTime<Utc>>,
    /// Key of the partition.
    pub partition_key: Option<String>,
}

impl DagRunInfo {
    /// A run at one point in time.
    pub fn exact(at: DateTime<Utc>) -> Self {
        Self::interval(at, at)
    }

    /// A run after the end of an interval.
    pub fn interval(start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        let data_interval = Some(DataInterval { start, end });
        Self { run_after: end, data_interval, partition_date: None, partition_key: None }
    }

    /// The logical date (`next_dagrun`): the start of the data interval.
    pub fn logical_date(&self) -> Option<DateTime<Utc>> {
        self.data_interval.map(|interval| interval.start)
    }
}

/// The last scheduled or backfilled run of a Dag, from which the next one follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutomatedRun {
    /// `dag_run.run_after`.
    pub run_after: DateTime<Utc>,
    /// `dag_run.data_interval_start` and `data_interval_end`.
    pub data_interval: Option<DataInterval>,
    /// `dag_run.partition_key`.
    pub partition_key: Option<String>,
}
