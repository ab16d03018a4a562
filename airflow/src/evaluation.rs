//! What is asked of Python about plugins and what else only it knows, and what it answers.
//!
//! The other side is `pyhost/src/evaluator.py`, which calls official Airflow. A question travels as one frame to a child,
//! `[number, question]`; the answer comes back as `[number, {"answer": …}]` or `[number, {"error": …}]`. Who has no
//! child leaves the same question in the database (`tradewind_metadata::evaluation`).

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, FixedOffset, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_model::timetable::{AutomatedRun, DagRunInfo, DataInterval, TimeRestriction};
use uuid::Uuid;

use crate::config::ProvidedSection;

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Question {
    /// When a Dag runs, and how that is shown.
    Schedule(Schedule),
    /// How a scheduled run that is due is called, and which one comes after it.
    CreateRun(CreateRun),
    /// Data interval and id of a run by hand.
    ManualRun(ManualRun),
    /// The runs of a stretch of time.
    RunsBetween(RunsBetween),
    /// The runs of a backfill.
    BackfillRuns(BackfillRuns),
    /// Which partitions of a Dag an event is for.
    MapPartition(MapPartition),
    /// What is to be said of partitions that wait.
    PartitionStates(PartitionStates),
    /// Priority weights of task instances.
    PriorityWeights(PriorityWeights),
    /// What a deadline counts from.
    DeadlineReference(DeadlineReference),
    /// Which plugins, connection types and options of providers there are.
    Environment(Environment),
    /// Whether a connection works.
    ConnectionTest(ConnectionTest),
    /// What a secrets backend has. It is asked of one's own children only: no secret lies in the database as an answer.
    Secret(Secret),
}

/// One kind of question, with its kind of answer.
pub trait Ask: Into<Question> {
    /// What is answered.
    type Answer: DeserializeOwned;
}

macro_rules! ask {
    ($question:ident => $answer:ty) => {
        impl From<$question> for Question {
            fn from(question: $question) -> Self {
                Self::$question(question)
            }
        }

        impl Ask for $question {
            type Answer = $answer;
        }
    };
}

ask!(Schedule => ScheduleAnswer);
ask!(CreateRun => CreateRunAnswer);
ask!(ManualRun => ManualRunAnswer);
ask!(RunsBetween => RunsBetweenAnswer);
ask!(BackfillRuns => BackfillRunsAnswer);
ask!(MapPartition => MapPartitionAnswer);
ask!(PartitionStates => PartitionStatesAnswer);
ask!(PriorityWeights => PriorityWeightsAnswer);
ask!(DeadlineReference => DeadlineReferenceAnswer);
ask!(Environment => EnvironmentAnswer);
ask!(ConnectionTest => ConnectionTestAnswer);
ask!(Secret => SecretAnswer);

/// An error in a plugin, as Python tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonError {
    /// Class and text.
    pub message: String,
    /// Where it was raised, as Python prints it; for the log.
    #[serde(default)]
    pub traceback: String,
    /// Whether the plugin was not asked at all, so that it is worth asking again later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_not_asked: bool,
}

impl fmt::Display for PythonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl PythonError {
    /// An error of a child that could not tell it.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), traceback: String::new(), was_not_asked: false }
    }
}

/// The reply to a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The answer; its shape depends on the question.
    Answer(Value),
    /// The plugin failed.
    Error(PythonError),
}

/// A run: one that exists, or one that a timetable wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// When it may start.
    pub run_after: DateTime<Utc>,
    /// Start and end of its data interval.
    pub data_interval: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Its partition's date.
    pub partition_date: Option<DateTime<Utc>>,
    /// Its partition's key.
    pub partition_key: Option<String>,
}

impl From<&DagRunInfo> for Run {
    fn from(info: &DagRunInfo) -> Self {
        Self {
            run_after: info.run_after,
            data_interval: info.data_interval.map(|interval| (interval.start, interval.end)),
            partition_date: info.partition_date,
            partition_key: info.partition_key.clone(),
        }
    }
}

impl From<&AutomatedRun> for Run {
    fn from(run: &AutomatedRun) -> Self {
        Self {
            run_after: run.run_after,
            data_interval: run.data_interval.map(|interval| (interval.start, interval.end)),
            partition_date: None,
            partition_key: run.partition_key.clone(),
        }
    }
}

impl From<Run> for DagRunInfo {
    fn from(run: Run) -> Self {
        Self {
            run_after: run.run_after,
            data_interval: run.data_interval.map(|(start, end)| DataInterval { start, end }),
            partition_date: run.partition_date,
            partition_key: run.partition_key,
        }
    }
}

/// The bounds that a Dag sets to its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restriction {
    /// No run before this time.
    pub earliest: Option<DateTime<Utc>>,
    /// No run after this time.
    pub latest: Option<DateTime<Utc>>,
    /// Whether missed runs are made up for.
    pub catchup: bool,
}

impl From<TimeRestriction> for Restriction {
    fn from(restriction: TimeRestriction) -> Self {
        Self { earliest: restriction.earliest, latest: restriction.latest, catchup: restriction.catchup }
    }
}

/// See [`Question::Schedule`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The serialized timetable.
    pub timetable: Value,
    /// The latest automated run.
    pub last: Option<Run>,
    /// The Dag's bounds.
    pub restriction: Restriction,
}

/// Columns of `dag`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleAnswer {
    /// `timetable_summary`.
    pub summary: String,
    /// `timetable_description`.
    pub description: String,
    /// `timetable_periodic`.
    pub periodic: bool,
    /// Whether anything but a person starts runs.
    pub can_be_scheduled: bool,
    /// `timetable_partitioned`.
    pub partitioned: bool,
    /// `partition_mapper_info`.
    pub partition_mapper_info: Vec<Value>,
    /// The run after the last one.
    pub next: NextRun,
}

/// The next run, as far as the timetable tells one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextRun {
    /// The run; none: there is none.
    pub run: Option<Run>,
    /// Why the timetable failed; then there is no next run, as in Airflow.
    pub error: Option<PythonError>,
}

/// See [`Question::CreateRun`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateRun {
    /// The serialized timetable.
    pub timetable: Value,
    /// The run that is due.
    pub due: Run,
    /// The Dag's bounds.
    pub restriction: Restriction,
}

/// How to go on with a run that is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateRunAnswer {
    /// The id of the run.
    pub run_id: String,
    /// The run after it.
    pub next: NextRun,
}

/// See [`Question::ManualRun`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManualRun {
    /// The serialized timetable.
    pub timetable: Value,
    /// `manual` or the like.
    pub run_type: String,
    /// When it may start.
    pub run_after: DateTime<Utc>,
    /// The data interval given.
    pub data_interval: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Where none is given: the moment whose data interval is wanted; none for a run without one.
    pub infer_for: Option<DateTime<Utc>>,
    /// The id given; none: one is generated.
    pub run_id: Option<String>,
    /// Its partition's key.
    pub partition_key: Option<String>,
}

/// What a run by hand is made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManualRunAnswer {
    /// Its data interval.
    pub data_interval: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Its id.
    pub run_id: String,
    /// Its partition's date.
    pub partition_date: Option<DateTime<Utc>>,
    /// Whether runs of this timetable may have a partition.
    pub takes_partition_keys: bool,
}

/// See [`Question::RunsBetween`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunsBetween {
    /// The serialized timetable.
    pub timetable: Value,
    /// The run before the first one; none: from the beginning.
    pub last: Option<Run>,
    /// The bounds.
    pub restriction: Restriction,
    /// Runs told at most.
    pub limit: usize,
}

/// Runs in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunsBetweenAnswer {
    /// The runs.
    pub runs: Vec<Run>,
    /// Why the timetable failed after them.
    pub error: Option<PythonError>,
}

/// See [`Question::BackfillRuns`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackfillRuns {
    /// The serialized timetable.
    pub timetable: Value,
    /// The first date, as it was given: timetables of partitions may read its clock instead of the instant.
    pub earliest: DateTime<FixedOffset>,
    /// The last date.
    pub latest: DateTime<FixedOffset>,
    /// Runs told at most.
    pub limit: usize,
}

/// Runs in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackfillRunsAnswer {
    /// Whether the timetable may have backfills at all.
    pub periodic: bool,
    /// Whether the runs are those of partitions.
    pub partitioned: bool,
    /// The runs.
    pub runs: Vec<Run>,
    /// Their ids, where the timetable names them: those of partitions.
    pub run_ids: Vec<String>,
    /// Why the timetable failed after them.
    pub error: Option<PythonError>,
}

/// See [`Question::MapPartition`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapPartition {
    /// The serialized mapper.
    pub mapper: Value,
    /// The partition of the event.
    pub partition_key: String,
    /// The date of the producing run's partition.
    pub partition_date: Option<DateTime<Utc>>,
}

/// What a mapper makes of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapPartitionAnswer {
    /// The partitions of the Dag.
    pub keys: Vec<String>,
    /// How many the mapper may name at most; none leaves it to the configuration.
    pub max_downstream_keys: Option<usize>,
    /// The date that the partitions take over (`carry_partition_date`).
    pub partition_date: Option<DateTime<Utc>>,
}

/// See [`Question::PartitionStates`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionStates {
    /// The partitions, each with one of its assets.
    pub partitions: Vec<PartitionState>,
}

/// A partition of a Dag that waits, and what it has received of an asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// The serialized mapper of the asset.
    pub mapper: Value,
    /// The Dag's key.
    pub partition_key: String,
    /// The partitions of the asset whose events arrived.
    pub received: BTreeSet<String>,
}

/// One answer per partition, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionStatesAnswer {
    /// The answers.
    pub states: Vec<PartitionStateAnswer>,
}

/// What a mapper says of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStateAnswer {
    /// Whether what was received is enough.
    pub satisfied: bool,
    /// Why it never can be.
    pub unreachable: Option<String>,
    /// Why that cannot be said.
    pub error: Option<PythonError>,
    /// The date that the mapper reads from the key.
    pub date: Option<DateTime<Utc>>,
    /// Why it reads none.
    pub date_error: Option<PythonError>,
}

/// See [`Question::PriorityWeights`]. All are of one version of one Dag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriorityWeights {
    /// The version.
    pub dag_version_id: Uuid,
    /// The serialized Dag; left out by who asks, filled in by who has it answered.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub dag: Value,
    /// The task instances.
    pub task_instances: Vec<Weighed>,
}

/// A task instance whose weight is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighed {
    /// `task_instance.task_id`.
    pub task_id: String,
    /// `task_instance.run_id`.
    pub run_id: String,
    /// `task_instance.map_index`.
    pub map_index: i32,
    /// `task_instance.try_number`.
    pub try_number: i32,
    /// `task_instance.dag_version_id`.
    pub dag_version_id: Option<Uuid>,
}

/// One answer per task instance, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriorityWeightsAnswer {
    /// The weights.
    pub weights: Vec<Weight>,
}

/// A priority weight, as far as the strategy gives one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Weight {
    /// The weight.
    pub weight: Option<i64>,
    /// Why the strategy failed.
    pub error: Option<PythonError>,
}

/// See [`Question::DeadlineReference`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadlineReference {
    /// The reference as it is stored.
    pub reference: Value,
    /// The Dag of the run that has the deadline.
    pub dag_id: String,
    /// The run's id.
    pub run_id: String,
    /// Rows of `dag_run`: the run, and others of its Dag. No other rows are seen by the plugin.
    pub dag_runs: Vec<Value>,
}

/// The answer to [`DeadlineReference`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlineReferenceAnswer {
    /// The moment; none: the run has no such deadline.
    pub moment: Option<DateTime<Utc>>,
}

/// See [`Question::Environment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {}

/// What is installed, in the form of Airflow's APIs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentAnswer {
    /// `PluginResponse` of every plugin, by name.
    pub plugins: Value,
    /// `PluginImportErrorResponse` of every file that cannot be loaded.
    pub plugin_import_errors: Value,
    /// `ConnectionHookMetaData` of every connection type.
    pub connection_types: Value,
    /// What packages of providers add to the configuration.
    pub configuration: Vec<ProvidedSection>,
}

/// See [`Question::ConnectionTest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionTest {
    /// The connection as JSON, encrypted with the deployment's Fernet key, for the way through the database.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sealed: String,
    /// The connection; left out by who asks, filled in by who has it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<TestedConnection>,
    /// How many seconds the test may take.
    pub timeout: u64,
}

/// What is tested: the fields of a connection in the clear.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestedConnection {
    /// The kind of outside system.
    pub conn_type: String,
    /// Host name.
    pub host: Option<String>,
    /// User name.
    pub login: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Schema, database or path.
    pub schema: Option<String>,
    /// Port.
    pub port: Option<i32>,
    /// More settings, as JSON text.
    pub extra: Option<String>,
}

impl fmt::Debug for TestedConnection {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestedConnection").field("conn_type", &self.conn_type).finish_non_exhaustive()
    }
}

/// What the hook says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionTestAnswer {
    /// Whether it works.
    pub status: bool,
    /// How, or why not.
    pub message: String,
}

/// What may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// A Connection, by its id.
    Connection,
    /// A Variable, by its key.
    Variable,
}

/// See [`Question::Secret`]: the backend is that of `[secrets] backend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// What it is.
    pub kind: SecretKind,
    /// Its id or key.
    pub name: String,
}

/// What a secrets backend has.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretAnswer {
    /// Nothing.
    Nothing,
    /// It refuses (`AirflowSecretsBackendAccessDenied`), which is final: nobody else is to be asked.
    Denied(String),
    /// A Connection, as the execution API describes one.
    Connection(Value),
    /// The value of a Variable.
    Variable(String),
}

impl fmt::Debug for SecretAnswer {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Denied(_) => "Denied",
            Self::Connection(_) => "Connection",
            Self::Variable(_) => "Variable",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn moment(day: u32) -> DateTime<Utc> {
        format!("2026-01-{day:02}T00:00:00Z").parse().expect("a date")
    }

    #[test]
    fn questions_are_written_as_python_reads_them() {
        let restriction = Restriction { earliest: Some(moment(1)), latest: None, catchup: true };
        let timetable = json!({"__type": "plugin.T", "__var": {}});
        let question = Question::from(RunsBetween { timetable, last: None, restriction, limit: 3 });
        assert_eq!(
            json!(question),
            json!({
                "type": "runs_between",
                "timetable": {"__type": "plugin.T", "__var": {}},
                "last": null,
                "restriction": {"earliest": "2026-01-01T00:00:00Z", "latest": null, "catchup": true},
                "limit": 3,
            })
        );
        let read: Question = serde_json::from_value(json!(question)).expect("the same question");
        assert_eq!(read, question);
    }

    #[test]
    fn a_serialized_dag_is_left_out_until_it_is_filled_in() {
        let asked = PriorityWeights { dag_version_id: Uuid::nil(), dag: Value::Null, task_instances: Vec::new() };
        assert_eq!(json!(Question::from(asked)).get("dag"), None);
    }

    #[test]
    fn replies_are_read() {
        let reply: Reply = serde_json::from_value(json!({"error": {"message": "ValueError: no"}})).expect("a reply");
        assert_eq!(reply, Reply::Error(PythonError::new("ValueError: no")));
        let run = json!({"run_after": "2026-01-03T00:00:00+00:00", "partition_date": null, "partition_key": null,
            "data_interval": ["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"]});
        let read: Run = serde_json::from_value(run).expect("a run");
        assert_eq!(DagRunInfo::from(read), DagRunInfo::interval(moment(2), moment(3)));
    }
}
