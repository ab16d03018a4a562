//! The rows of parsed Dags as `tests/conformance/parsed.py` records them from official Airflow.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tradewind_bundle::configuration::airflow_folder;
use tradewind_model::partition::PartitionMappers;

/// Columns that depend on the moment of parsing.
const VOLATILE: [&str; 3] = ["last_parsed_time", "last_parse_duration", "last_expired"];

/// Columns of which is recorded whether they are set.
const OCCURRENCE: [&str; 6] = [
    "next_dagrun",
    "next_dagrun_data_interval_start",
    "next_dagrun_data_interval_end",
    "next_dagrun_create_after",
    "next_dagrun_partition_date",
    "next_dagrun_partition_key",
];

const PER_DAG: [(&str, &str); 9] = [
    ("tags", "select dag_id, name from dag_tag"),
    ("warnings", "select dag_id, warning_type, message from dag_warning"),
    ("owner_links", "select dag_id, owner, link from dag_owner_attributes"),
    (
        "schedule_assets",
        "select r.dag_id, a.name, a.uri, r.allow_producer_teams, r.allow_global_producers \
         from dag_schedule_asset_reference r join asset a on a.id = r.asset_id",
    ),
    ("schedule_asset_names", "select dag_id, name from dag_schedule_asset_name_reference"),
    ("schedule_asset_uris", "select dag_id, uri from dag_schedule_asset_uri_reference"),
    (
        "schedule_asset_aliases",
        "select r.dag_id, a.name from dag_schedule_asset_alias_reference r join asset_alias a on a.id = r.alias_id",
    ),
    (
        "outlets",
        "select r.dag_id, r.task_id, a.name, a.uri, r.allow_consumer_teams, r.allow_global_consumers \
         from task_outlet_asset_reference r join asset a on a.id = r.asset_id",
    ),
    (
        "inlets",
        "select r.dag_id, r.task_id, a.name, a.uri from task_inlet_asset_reference r join asset a on a.id = r.asset_id",
    ),
];

const VERSIONS: &str = "select v.dag_id, v.version_number, v.bundle_name, v.bundle_version, v.version_data, s.dag_hash, \
    s.data, c.fileloc, c.source_code_hash from dag_version v join serialized_dag s on s.dag_version_id = v.id \
    join dag_code c on c.dag_version_id = v.id";

type Rows = BTreeMap<String, Vec<Value>>;

pub(crate) type TestResult<T = ()> = Result<T, Box<dyn Error>>;

/// The folder of the repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Paths that differ between machines, and their names in recordings.
pub(crate) fn places() -> TestResult<Vec<(String, &'static str)>> {
    let repository = fs::canonicalize(repository())?;
    let venv = repository.join(".venv");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let airflow = airflow_folder(&venv.join("bin/python")).ok_or("Airflow is not installed in .venv")?;
    Ok(vec![
        (text(&airflow), "${AIRFLOW}"),
        (text(&repository.join("tests/conformance")), "${CONFORMANCE}"),
        (text(&venv.join("bin/python")), "${PYTHON}"),
    ])
}

/// What was recorded of every Dag, by its id; the names of places are replaced by the places.
pub(crate) fn recorded_dags() -> TestResult<BTreeMap<String, Value>> {
    let places = places()?;
    let mut dags = BTreeMap::new();
    for entry in fs::read_dir(repository().join("tests/conformance/recorded/serialized"))? {
        let path = entry?.path();
        let mut text = fs::read_to_string(&path)?;
        for (place, name) in &places {
            text = text.replace(name, place);
        }
        let dag_id = path.file_stem().ok_or("a file without a name")?.to_string_lossy().into_owned();
        dags.insert(dag_id, serde_json::from_str(&text)?);
    }
    Ok(dags)
}

/// Per bundle and file: the Dag ids found, and the first and last line of an import error.
pub(crate) fn recorded_files() -> TestResult<BTreeMap<String, BTreeMap<String, Value>>> {
    let mut bundles = BTreeMap::new();
    for bundle in fs::read_dir(repository().join("tests/conformance/recorded/files"))? {
        let bundle = bundle?;
        let mut files = BTreeMap::new();
        for file in fs::read_dir(bundle.path())? {
            let path = file?.path();
            let name = path.file_stem().ok_or("a file without a name")?.to_string_lossy().into_owned();
            files.insert(name, serde_json::from_str(&fs::read_to_string(&path)?)?);
        }
        bundles.insert(bundle.file_name().to_string_lossy().into_owned(), files);
    }
    Ok(bundles)
}

/// The same facts from a database.
pub(crate) async fn stored_dags(pool: &PgPool) -> TestResult<BTreeMap<String, Value>> {
    let mut dags: BTreeMap<String, Value> = BTreeMap::new();
    for (dag_id, mut rows) in rows(pool, "select * from dag").await? {
        let mut dag = rows.remove(0);
        dag["dag_id"] = json!(dag_id);
        dags.insert(dag_id, json!({"dag": dag}));
    }
    for (name, query) in PER_DAG.into_iter().chain([("versions", VERSIONS)]) {
        let mut of_dags = rows(pool, query).await?;
        for (dag_id, dag) in &mut dags {
            dag[name] = Value::Array(of_dags.remove(dag_id).unwrap_or_default());
        }
    }
    Ok(dags)
}

async fn rows(pool: &PgPool, query: &str) -> Result<Rows, sqlx::Error> {
    let query = format!("select to_jsonb(facts) from ({query}) as facts");
    let mut rows = Rows::new();
    for mut row in sqlx::query_scalar::<_, Value>(AssertSqlSafe(query)).fetch_all(pool).await? {
        let dag_id = row["dag_id"].as_str().unwrap_or_default().to_owned();
        if let Some(row) = row.as_object_mut() {
            row.remove("dag_id");
        }
        rows.entry(dag_id).or_default().push(row);
    }
    Ok(rows)
}

/// Takes out of the facts about a Dag what may differ: the moment, the numbers of assets, the order of rows.
pub(crate) fn comparable(mut facts: Value) -> Value {
    if let Some(dag) = facts["dag"].as_object_mut() {
        VOLATILE.iter().for_each(|column| drop(dag.remove(*column)));
        for column in OCCURRENCE {
            if dag.get(column).is_some_and(|value| !value.is_null()) {
                dag.insert(column.to_owned(), json!("set"));
            }
        }
    }
    drop_ids(&mut facts["dag"]["asset_expression"]);
    for (name, _) in PER_DAG {
        if let Some(rows) = facts[name].as_array_mut() {
            rows.sort_by_key(|row| canonical(row).to_string());
        }
    }
    canonical(&facts)
}

/// Takes out the columns that follow from a timetable of a plugin.
pub(crate) fn drop_what_only_python_knows(facts: &mut Value) {
    let shown = ["timetable_summary", "timetable_description", "timetable_periodic"];
    if let Some(dag) = facts["dag"].as_object_mut() {
        OCCURRENCE.iter().chain(&shown).for_each(|column| drop(dag.remove(*column)));
    }
}

/// Takes out what is shown of partition mappers, where one of them is a plugin's own.
pub(crate) fn drop_what_plugins_map(facts: &mut Value) {
    let arguments = &facts["versions"][0]["data"]["dag"]["timetable"]["__var"];
    let is_foreign = PartitionMappers::from_serialized(arguments).is_ok_and(|mappers| mappers.has_foreign());
    if is_foreign && let Some(dag) = facts["dag"].as_object_mut() {
        dag.remove("partition_mapper_info");
    }
}

fn drop_ids(expression: &mut Value) {
    match expression {
        Value::Object(parts) => {
            parts.remove("id");
            parts.values_mut().for_each(drop_ids);
        }
        Value::Array(members) => members.iter_mut().for_each(drop_ids),
        _ => {}
    }
}

/// The same with sorted keys, and whole numbers without a fraction.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let sorted: BTreeMap<&String, Value> = entries.iter().map(|(key, value)| (key, canonical(value))).collect();
            json!(sorted)
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        Value::Number(number) => json!(number.as_f64()),
        other => other.clone(),
    }
}
