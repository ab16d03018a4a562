use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use indexmap::IndexMap;
use serde_json::Value;

use crate::state::DagRunType;

/// A timetable as the Dag names it: not yet interpreted.
#[derive(Debug, Clone, PartialEq)]
pub struct TimetableSpec {
    /// Importable name of the timetable's class.
    pub type_name: String,
    /// What the class wrote about itself when it was serialized.
    pub vars: Value,
}

/// A parameter of a Dag and its default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Param {
    /// Value of a run that does not give its own.
    pub default: Value,
    /// Text for people.
    pub description: Option<String>,
    /// JSON schema that values must satisfy.
    pub schema: Value,
    /// `dag` or `task`, when known.
    pub source: Option<String>,
}

/// Everything a Dag has besides its tasks. Defaults are those of a serialized Dag that says nothing
/// (`airflow/serialization/definitions/dag.py`).
#[derive(Debug, Clone, PartialEq)]
pub struct DagSettings {
    /// Name shown to people.
    pub dag_display_name: Option<String>,
    /// One line about the Dag.
    pub description: Option<String>,
    /// Path of the Dag file when it was parsed.
    pub fileloc: String,
    /// The same, relative to its bundle.
    pub relative_fileloc: Option<String>,
    /// Name of the time zone in which the timetable thinks, or an offset such as `+02:00`.
    pub timezone: String,
    /// When runs happen.
    pub timetable: TimetableSpec,
    /// No run of the timetable is before this.
    pub start_date: Option<DateTime<Utc>>,
    /// No run of the timetable is after this.
    pub end_date: Option<DateTime<Utc>>,
    /// Whether missed intervals are made up for.
    pub catchup: bool,
    /// Task instances of the Dag that may be active at once, over all its runs.
    pub max_active_tasks: i32,
    /// Runs that may be active at once.
    pub max_active_runs: i32,
    /// Pause the Dag after so many failed runs in a row; 0 is never.
    pub max_consecutive_failed_dag_runs: i32,
    /// A run that takes longer fails.
    pub dagrun_timeout: Option<TimeDelta>,
    /// The first failed task ends the run.
    pub fail_fast: bool,
    /// The Dag file has something to call when a run succeeds.
    pub has_on_success_callback: bool,
    /// The Dag file has something to call when a run fails.
    pub has_on_failure_callback: bool,
    /// Whether a new Dag starts paused; `None` follows the configuration.
    pub is_paused_upon_creation: Option<bool>,
    /// Ways in which a run may come about; `None` is every way.
    pub allowed_run_types: Option<Vec<DagRunType>>,
    /// A run does not pin the version of its bundle.
    pub disable_bundle_versioning: bool,
    /// Whether cleared runs move to the newest version; `None` follows the configuration.
    pub rerun_with_latest_version: Option<bool>,
    /// Templates give Python objects, not text.
    pub render_template_as_native_obj: bool,
    /// Parameters in the order of the Dag file.
    pub params: IndexMap<String, Param>,
    /// Labels to find the Dag by.
    pub tags: BTreeSet<String>,
    /// Links of owners.
    pub owner_links: IndexMap<String, String>,
    /// Deadline alerts, not interpreted here.
    pub deadline: Option<Value>,
    /// Documentation.
    pub doc_md: Option<String>,
}

impl Default for DagSettings {
    fn default() -> Self {
        Self {
            dag_display_name: None,
            description: None,
            fileloc: String::new(),
            relative_fileloc: None,
            timezone: "UTC".to_owned(),
            timetable: TimetableSpec {
                type_name: "airflow.timetables.simple.NullTimetable".to_owned(),
                vars: Value::Object(serde_json::Map::new()),
            },
            start_date: None,
            end_date: None,
            catchup: false,
            max_active_tasks: 16,
            max_active_runs: 16,
            max_consecutive_failed_dag_runs: 0,
            dagrun_timeout: None,
            fail_fast: false,
            has_on_success_callback: false,
            has_on_failure_callback: false,
            is_paused_upon_creation: None,
            allowed_run_types: None,
            disable_bundle_versioning: false,
            rerun_with_latest_version: None,
            render_template_as_native_obj: false,
            params: IndexMap::new(),
            tags: BTreeSet::new(),
            owner_links: IndexMap::new(),
            deadline: None,
            doc_md: None,
        }
    }
}
