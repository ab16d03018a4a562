use indexmap::IndexMap;
use serde_json::Value;
use tradewind_model::dag::{DagSettings, Param, TimetableSpec};

use super::SerializedDagError;
use super::decode::plain;
use super::reader::Reader;

/// Reads what a Dag has besides its tasks. Source: `DagSerialization._deserialize_dag_internal`.
pub(super) fn read(dag: &Reader<'_>) -> Result<DagSettings, SerializedDagError> {
    let text = |name| dag.get(name).map(|field| field.text().map(str::to_owned)).transpose();
    let truth = |name| dag.get(name).map_or(Ok(false), |field| field.truth());
    let optional_truth = |name| dag.get(name).map(|field| field.truth()).transpose();
    let integer = |name, default| dag.get(name).map_or(Ok(default), |field| field.integer());
    let date = |name| dag.get(name).map(|field| field.date()).transpose();
    let defaults = DagSettings::default();
    Ok(DagSettings {
        dag_display_name: text("dag_display_name")?,
        description: text("description")?,
        fileloc: text("fileloc")?.unwrap_or_default(),
        relative_fileloc: text("relative_fileloc")?,
        timezone: dag.get("timezone").map_or(Ok(defaults.timezone), |zone| timezone(&zone))?,
        timetable: dag.get("timetable").map_or(Ok(defaults.timetable), |spec| timetable(&spec))?,
        start_date: date("start_date")?,
        end_date: date("end_date")?,
        catchup: truth("catchup")?,
        max_active_tasks: integer("max_active_tasks", defaults.max_active_tasks)?,
        max_active_runs: integer("max_active_runs", defaults.max_active_runs)?,
        max_consecutive_failed_dag_runs: integer("max_consecutive_failed_dag_runs", 0)?,
        dagrun_timeout: dag.get("dagrun_timeout").map(|field| field.seconds()).transpose()?,
        fail_fast: truth("fail_fast")?,
        // Airflow takes the mere presence for yes.
        has_on_success_callback: dag.get("has_on_success_callback").is_some(),
        has_on_failure_callback: dag.get("has_on_failure_callback").is_some(),
        is_paused_upon_creation: optional_truth("is_paused_upon_creation")?,
        allowed_run_types: allowed_run_types(dag)?,
        disable_bundle_versioning: truth("disable_bundle_versioning")?,
        rerun_with_latest_version: optional_truth("rerun_with_latest_version")?,
        render_template_as_native_obj: truth("render_template_as_native_obj")?,
        params: dag.get("params").map_or(Ok(IndexMap::new()), |list| params(&list))?,
        tags: dag.get("tags").map_or(Ok(Vec::new()), |list| list.texts())?.into_iter().collect(),
        owner_links: owner_links(dag)?,
        deadline: dag.get("deadline").map(|field| field.value().clone()),
        doc_md: text("doc_md")?,
    })
}

/// A name, or an offset in seconds.
fn timezone(zone: &Reader<'_>) -> Result<String, SerializedDagError> {
    if zone.value().is_string() {
        return zone.text().map(str::to_owned);
    }
    let offset = zone.integer()?;
    let sign = if offset < 0 { '-' } else { '+' };
    let (minutes, seconds) = (offset.unsigned_abs() / 60, offset.unsigned_abs() % 60);
    let text = format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    Ok(if seconds == 0 { text } else { format!("{text}:{seconds:02}") })
}

fn timetable(spec: &Reader<'_>) -> Result<TimetableSpec, SerializedDagError> {
    Ok(TimetableSpec {
        type_name: spec.require("__type")?.text()?.to_owned(),
        vars: spec.get("__var").map_or(Value::Null, |vars| vars.value().clone()),
    })
}

fn allowed_run_types(dag: &Reader<'_>) -> Result<Option<Vec<tradewind_model::state::DagRunType>>, SerializedDagError> {
    let Some(list) = dag.get("allowed_run_types") else { return Ok(None) };
    let run_types = list
        .items()?
        .map(|item| item.text()?.parse().map_err(|_| item.expected("a type of Dag run")))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(run_types).filter(|run_types| !run_types.is_empty()))
}

fn owner_links(dag: &Reader<'_>) -> Result<IndexMap<String, String>, SerializedDagError> {
    let Some(links) = dag.get("owner_links") else { return Ok(IndexMap::new()) };
    links.fields()?.map(|(owner, link)| Ok((owner.to_owned(), link.text()?.to_owned()))).collect()
}

/// Pairs of name and parameter; an object in documents of older releases.
/// Source: `BaseSerialization._deserialize_params_dict`.
fn params(list: &Reader<'_>) -> Result<IndexMap<String, Param>, SerializedDagError> {
    if list.value().is_object() {
        return list.fields()?.map(|(name, value)| Ok((name.to_owned(), param(&value)?))).collect();
    }
    let mut params = IndexMap::new();
    for pair in list.items()? {
        let parts: Vec<Reader<'_>> = pair.items()?.collect();
        let [name, value] = parts.as_slice() else {
            return Err(pair.expected("a pair of name and parameter"));
        };
        params.insert(name.text()?.to_owned(), param(value)?);
    }
    Ok(params)
}

fn param(value: &Reader<'_>) -> Result<Param, SerializedDagError> {
    if value.get("__class").is_none() {
        return Ok(Param { default: plain(value.value()), ..Param::default() });
    }
    let text = |name| value.get(name).map(|field| field.text().map(str::to_owned)).transpose();
    Ok(Param {
        default: value.get("default").map_or(Value::Null, |default| plain(default.value())),
        description: text("description")?,
        schema: value
            .get("schema")
            .map_or_else(|| Value::Object(serde_json::Map::new()), |schema| plain(schema.value())),
        source: text("source")?,
    })
}
