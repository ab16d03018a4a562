//! What a parsed Dag file holds, ready to be written.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tradewind_model::timetable::{AutomatedRun, DagRunInfo, TimeRestriction, Timetable};

/// The result of parsing one file.
#[derive(Debug, Clone)]
pub struct ParsedFile {
    /// The bundle the file belongs to.
    pub bundle_name: String,
    /// The version of the bundle; `None` where the bundle has no versions.
    pub bundle_version: Option<String>,
    /// The file, relative to its bundle.
    pub relative_fileloc: String,
    /// How long parsing took.
    pub duration: Duration,
    /// The Dags in it.
    pub dags: Vec<ParsedDag>,
    /// File relative to the bundle (the same one, or a member of an archive) and the text of its error.
    pub import_errors: BTreeMap<String, String>,
    /// Warnings about its Dags.
    pub warnings: Vec<DagWarning>,
}

/// One Dag: the columns of its rows, and its serialisation.
#[derive(Debug, Clone)]
pub struct ParsedDag {
    /// Its id, and when it runs.
    pub schedule: Schedule,
    /// The serialized Dag (`{"__version": 3, "dag": {…}}`).
    pub data: Value,
    /// Where its code lies; may point into an archive.
    pub fileloc: String,
    /// The same relative to the bundle.
    pub relative_fileloc: Option<String>,
    /// The code of the file, or why it cannot be read.
    pub source_code: Result<String, String>,
    /// `dag.owners`: the owners of its tasks, comma-separated.
    pub owners: String,
    /// `dag.dag_display_name`.
    pub display_name: Option<String>,
    /// `dag.description`.
    pub description: Option<String>,
    /// `dag.max_active_tasks`.
    pub max_active_tasks: i32,
    /// `dag.max_consecutive_failed_dag_runs`.
    pub max_consecutive_failed_dag_runs: i32,
    /// Whether a task limits its own concurrency.
    pub has_task_concurrency_limits: bool,
    /// `dag.fail_fast`.
    pub fail_fast: bool,
    /// `dag.allowed_run_types`, sorted.
    pub allowed_run_types: Option<Vec<String>>,
    /// What the Dag itself says about starting paused.
    pub is_paused_upon_creation: Option<bool>,
    /// `dag.deadline`: the Dag's deadline alerts as serialized.
    pub deadline: Option<Vec<Value>>,
    /// `dag.partition_mapper_info`.
    pub partition_mapper_info: Vec<Value>,
    /// Tags.
    pub tags: Vec<String>,
    /// Owner and link.
    pub owner_links: BTreeMap<String, String>,
    /// The expression of assets that triggers the Dag, without the assets' ids.
    pub asset_expression: Option<Value>,
    /// Assets in the schedule.
    pub schedule_assets: Vec<Asset>,
    /// Aliases in the schedule.
    pub schedule_aliases: Vec<AssetAlias>,
    /// Assets that the schedule refers to by name alone.
    pub schedule_asset_names: Vec<String>,
    /// Assets that the schedule refers to by URI alone.
    pub schedule_asset_uris: Vec<String>,
    /// Assets that tasks read.
    pub inlets: Vec<AssetUse>,
    /// Assets that tasks write.
    pub outlets: Vec<AssetUse>,
    /// Aliases that tasks read or write.
    pub task_aliases: Vec<AssetAlias>,
}

/// What the next run of a Dag follows from.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// `dag.dag_id`.
    pub dag_id: String,
    /// When the Dag runs.
    pub timetable: Timetable,
    /// The bounds of its runs.
    pub restriction: TimeRestriction,
    /// `dag.max_active_runs`.
    pub max_active_runs: i32,
    /// What a timetable of a plugin was asked, in Python.
    pub custom_next_run: Option<CustomNextRun>,
}

/// The next run that a timetable of a plugin wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomNextRun {
    /// The automated run that it follows.
    pub after: Option<AutomatedRun>,
    /// The run; none when there is none, or the plugin failed.
    pub next: Option<DagRunInfo>,
}

/// An asset as a Dag declares it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asset {
    /// `asset.name`.
    pub name: String,
    /// `asset.uri`.
    pub uri: String,
    /// `asset.group`.
    pub group: String,
    /// `asset.extra`.
    pub extra: Value,
    /// Triggers that watch the asset.
    pub watchers: Vec<AssetWatcher>,
    /// Who may produce and consume it (`access_control`).
    pub access_control: Value,
}

/// A trigger that makes events of an asset.
#[derive(Debug, Clone, PartialEq)]
pub struct AssetWatcher {
    /// `asset_watcher.name`.
    pub name: String,
    /// `trigger.classpath`.
    pub classpath: String,
    /// The trigger's arguments as serialized in the Dag.
    pub kwargs: Value,
}

/// An alias as a Dag declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetAlias {
    /// `asset_alias.name`.
    pub name: String,
    /// `asset_alias.group`.
    pub group: String,
}

/// An asset that a task reads or writes.
#[derive(Debug, Clone, PartialEq)]
pub struct AssetUse {
    /// The task.
    pub task_id: String,
    /// The asset.
    pub asset: Asset,
}

/// A warning about a Dag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DagWarning {
    /// The Dag.
    pub dag_id: String,
    /// `non-existent pool` or `runtime varying value`.
    pub warning_type: String,
    /// The text.
    pub message: String,
}

impl ParsedDag {
    /// `dag.dag_id`.
    #[must_use]
    pub fn dag_id(&self) -> &str {
        &self.schedule.dag_id
    }

    /// Every asset that the Dag schedules on, reads or writes.
    pub fn assets(&self) -> impl Iterator<Item = &Asset> {
        self.schedule_assets.iter().chain(self.inlets.iter().chain(&self.outlets).map(|used| &used.asset))
    }

    /// Every alias that the Dag schedules on, reads or writes.
    pub fn aliases(&self) -> impl Iterator<Item = &AssetAlias> {
        self.schedule_aliases.iter().chain(&self.task_aliases)
    }
}
