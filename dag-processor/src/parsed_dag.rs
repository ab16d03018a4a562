//! From a serialized Dag to the columns of its rows (`LazyDeserializedDAG` and `DagModelOperation.update_dags`).

use std::collections::BTreeMap;

use indexmap::IndexSet;
use serde_json::Value;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::serialized_dag;
use tradewind_metadata::parse_result::{ParsedDag, Schedule};
use tradewind_model::dag::Dag;
use tradewind_model::timetable::{DateRange, TimeRestriction, Timetable};

use crate::archive;
use crate::asset_condition::{self, AssetLike};

/// What holds for a Dag that does not say otherwise.
#[derive(Debug, Clone)]
pub struct DagDefaults {
    /// `[operators] default_owner`.
    pub owner: String,
    /// `[core] max_active_tasks_per_dag`.
    pub max_active_tasks: i32,
    /// `[core] max_active_runs_per_dag`.
    pub max_active_runs: i32,
    /// `[core] max_consecutive_failed_dag_runs_per_dag`.
    pub max_consecutive_failed_dag_runs: i32,
}

impl DagDefaults {
    /// Reads the configuration.
    ///
    /// # Errors
    /// When a value is not a number.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let number = |key: &str| {
            i32::try_from(config.int("core", key)?).map_err(|_| config.invalid("core", key, "a number of 32 bits"))
        };
        Ok(Self {
            owner: config.string("operators", "default_owner")?,
            max_active_tasks: number("max_active_tasks_per_dag")?,
            max_active_runs: number("max_active_runs_per_dag")?,
            max_consecutive_failed_dag_runs: number("max_consecutive_failed_dag_runs_per_dag")?,
        })
    }
}

/// Reads a serialized Dag.
///
/// # Errors
/// The text of the import error, when the Dag cannot be read.
pub fn read(data: Value, defaults: &DagDefaults) -> Result<ParsedDag, String> {
    let dag = serialized_dag::parse(&data).map_err(|error| format!("The serialized Dag cannot be read: {error}"))?;
    let fields = &data["dag"];
    let timetable = Timetable::from_serialized(&fields["timetable"]).map_err(|error| error.to_string())?;
    let condition = timetable.asset_condition().and_then(AssetLike::read);
    let tasks = fields["tasks"].as_array().map_or(&[][..], Vec::as_slice);
    let (inlets, mut task_aliases) = asset_condition::of_tasks(tasks, "inlets");
    let (outlets, outlet_aliases) = asset_condition::of_tasks(tasks, "outlets");
    task_aliases.extend(outlet_aliases);
    let number =
        |key: &str, default: i32| fields[key].as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or(default);
    let text = |key: &str| fields[key].as_str().map(str::to_owned);
    let fileloc = text("fileloc").unwrap_or_default();
    let mut parsed = ParsedDag {
        partition_mapper_info: condition
            .as_ref()
            .filter(|_| timetable.partitioned())
            .map(|condition| asset_condition::partition_mapper_info(&fields["timetable"], condition))
            .unwrap_or_default(),
        schedule: Schedule {
            dag_id: dag.dag_id.clone(),
            restriction: restriction(&dag),
            timetable,
            max_active_runs: number("max_active_runs", defaults.max_active_runs),
            custom_next_run: None,
        },
        source_code: archive::source_code(&fileloc)
            .map_err(|error| format!("The code of the Dag cannot be read from {fileloc}: {error}")),
        fileloc,
        relative_fileloc: text("relative_fileloc"),
        owners: owners(tasks).unwrap_or_else(|| defaults.owner.clone()),
        display_name: text("dag_display_name"),
        description: text("description"),
        max_active_tasks: number("max_active_tasks", defaults.max_active_tasks),
        max_consecutive_failed_dag_runs: number(
            "max_consecutive_failed_dag_runs",
            defaults.max_consecutive_failed_dag_runs,
        ),
        has_task_concurrency_limits: tasks.iter().any(limits_concurrency),
        fail_fast: fields["fail_fast"].as_bool().unwrap_or(false),
        allowed_run_types: allowed_run_types(&fields["allowed_run_types"]),
        is_paused_upon_creation: fields["is_paused_upon_creation"].as_bool(),
        deadline: fields["deadline"].as_array().cloned(),
        tags: strings(&fields["tags"]).collect(),
        owner_links: owner_links(&fields["owner_links"]),
        asset_expression: condition.as_ref().map(AssetLike::expression),
        schedule_assets: Vec::new(),
        schedule_aliases: Vec::new(),
        schedule_asset_names: Vec::new(),
        schedule_asset_uris: Vec::new(),
        inlets,
        outlets,
        task_aliases,
        data: Value::Null,
    };
    for leaf in condition.iter().flat_map(AssetLike::leaves) {
        match leaf {
            AssetLike::Asset(asset) => parsed.schedule_assets.push(asset.clone()),
            AssetLike::Alias(alias) => parsed.schedule_aliases.push(alias.clone()),
            AssetLike::NameRef(name) => parsed.schedule_asset_names.push(name.clone()),
            AssetLike::UriRef(uri) => parsed.schedule_asset_uris.push(uri.clone()),
            AssetLike::All(_) | AssetLike::Any(_) => {}
        }
    }
    parsed.data = data;
    Ok(parsed)
}

fn restriction(dag: &Dag) -> TimeRestriction {
    let own = DateRange { start: dag.settings.start_date, end: dag.settings.end_date };
    let tasks = dag.tasks().map(|(_, task)| DateRange { start: task.start_date, end: task.end_date });
    TimeRestriction::of_dag(own, dag.settings.catchup, tasks)
}

/// The values of a list, a set (`{"__type": "set", "__var": […]}`) or of nothing.
fn strings(encoded: &Value) -> impl Iterator<Item = String> {
    let list = encoded.get("__var").unwrap_or(encoded);
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

fn allowed_run_types(encoded: &Value) -> Option<Vec<String>> {
    let mut types: Vec<String> = strings(encoded).collect();
    types.sort();
    (!types.is_empty()).then_some(types)
}

fn owner_links(encoded: &Value) -> BTreeMap<String, String> {
    let links = encoded.get("__var").unwrap_or(encoded).as_object();
    links.into_iter().flatten().filter_map(|(owner, link)| Some((owner.clone(), link.as_str()?.to_owned()))).collect()
}

/// The owners that tasks name, each once; `None` when none names one.
fn owners(tasks: &[Value]) -> Option<String> {
    let owners: IndexSet<&str> =
        tasks.iter().filter_map(|task| task["__var"]["owner"].as_str()).filter(|owner| !owner.is_empty()).collect();
    (!owners.is_empty()).then(|| owners.into_iter().collect::<Vec<_>>().join(", "))
}

fn limits_concurrency(task: &Value) -> bool {
    let task = &task["__var"];
    ["max_active_tis_per_dag", "max_active_tis_per_dagrun"]
        .iter()
        .any(|limit| !task[*limit].is_null() || !task["partial_kwargs"][*limit].is_null())
}
