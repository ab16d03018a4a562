//! The message that starts a task child.
//!
//! Source: `StartupDetails` in `airflow/sdk/execution_time/comms.py`; `TaskInstance`, `BundleInfo`, `TIRunContext` and
//! `DagRun` in `airflow/sdk/api/datamodels/_generated.py`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::to_supervisor::Object;

/// The first frame of a task child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub struct StartupDetails {
    /// What to run.
    pub ti: TaskInstance,
    /// Path of the Dag file, relative to its bundle.
    pub dag_rel_path: String,
    /// Bundle of the Dag file.
    pub bundle_info: BundleInfo,
    /// When the task instance first started.
    pub start_date: DateTime<Utc>,
    /// What the metadata database knows about the run.
    pub ti_context: TiRunContext,
    /// Import path of a callable that sets up Sentry; empty: none.
    pub sentry_integration: String,
}

/// The attempt to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskInstance {
    /// Id of the attempt: a new one after each retry.
    pub id: Uuid,
    /// Task.
    pub task_id: String,
    /// Dag.
    pub dag_id: String,
    /// Dag run.
    pub run_id: String,
    /// Number of the attempt, from 1.
    pub try_number: i32,
    /// Version of the Dag.
    pub dag_version_id: Uuid,
    /// Index of a mapped task instance; -1 when not mapped.
    pub map_index: i32,
    /// Host it runs on.
    pub hostname: Option<String>,
    /// Trace context.
    pub context_carrier: Option<Value>,
    /// Queue it came through.
    pub queue: String,
}

/// A Dag bundle at a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleInfo {
    /// Name in `[dag_processor] dag_bundle_config_list`.
    pub name: String,
    /// Version; none for bundles without versions.
    pub version: Option<String>,
}

/// What the metadata database knows when an attempt starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TiRunContext {
    /// The Dag run.
    pub dag_run: DagRun,
    /// How often the attempt was rescheduled.
    pub task_reschedule_count: i64,
    /// How many attempts there may be after the first.
    pub max_tries: i32,
    /// Method to go on with after a deferral; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_method: Option<String>,
    /// Arguments of that method; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_kwargs: Option<Value>,
    /// XComs of an earlier attempt, which the child deletes first.
    pub xcom_keys_to_clear: Vec<String>,
    /// Whether a failure may be followed by another attempt.
    pub should_retry: bool,
    /// When the task instance first started; only after a deferral.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<DateTime<Utc>>,
}

/// The Dag run of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DagRun {
    /// Dag.
    pub dag_id: String,
    /// Dag run.
    pub run_id: String,
    /// Logical date.
    pub logical_date: Option<DateTime<Utc>>,
    /// Start of the data interval.
    pub data_interval_start: Option<DateTime<Utc>>,
    /// End of the data interval.
    pub data_interval_end: Option<DateTime<Utc>>,
    /// When it may start.
    pub run_after: DateTime<Utc>,
    /// When it started.
    pub start_date: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_date: Option<DateTime<Utc>>,
    /// How often it was cleared.
    pub clear_number: i32,
    /// How it came about: `scheduled`, `manual` …
    pub run_type: String,
    /// Its state.
    pub state: String,
    /// What its user passed.
    pub conf: Option<Object>,
    /// Who triggered it.
    pub triggering_user_name: Option<String>,
    /// The asset events it consumes, each an `AssetEventDagRunReference`.
    pub consumed_asset_events: Vec<Value>,
    /// Partition.
    pub partition_key: Option<String>,
    /// Date of the partition.
    #[serde(default)]
    pub partition_date: Option<DateTime<Utc>>,
    /// Note of a user.
    #[serde(default)]
    pub note: Option<String>,
    /// Team of the Dag's bundle.
    #[serde(default)]
    pub team_name: Option<String>,
}
