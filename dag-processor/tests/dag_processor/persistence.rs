//! What is written about a serialized Dag, against what official Airflow writes about the same one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tradewind_airflow::fernet::Fernet;
use tradewind_dag_processor::parsed_dag::{self, DagDefaults};
use tradewind_metadata::dag_bundle;
use tradewind_metadata::parse_result::{self, DagWarning, ParsedFile, WriteOptions};
use tradewind_metadata::testing::TestDatabase;

use crate::support::{self, TestResult};

pub(crate) fn defaults() -> DagDefaults {
    DagDefaults {
        owner: "airflow".to_owned(),
        max_active_tasks: 16,
        max_active_runs: 16,
        max_consecutive_failed_dag_runs: 0,
    }
}

pub(crate) fn options() -> TestResult<WriteOptions> {
    Ok(WriteOptions {
        paused_at_creation: true,
        compress: false,
        min_update_interval: chrono::Duration::zero(),
        fernet: Arc::new(Fernet::new("")?),
    })
}

pub(crate) fn file(bundle: &str, path: &str) -> ParsedFile {
    ParsedFile {
        bundle_name: bundle.to_owned(),
        bundle_version: None,
        relative_fileloc: path.to_owned(),
        duration: Duration::from_millis(80),
        dags: Vec::new(),
        import_errors: BTreeMap::new(),
        warnings: Vec::new(),
    }
}

/// The files that were recorded, as parsing them gave them.
fn recorded_files(dags: &BTreeMap<String, Value>) -> TestResult<Vec<ParsedFile>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut files = Vec::new();
    for (bundle, recorded) in support::recorded_files()? {
        for (path, facts) in recorded {
            let mut parsed = file(&bundle, &path);
            for dag_id in facts["dag_ids"].as_array().ok_or("no list of Dags")? {
                let Some(facts) = dags.get(dag_id.as_str().ok_or("no id")?) else { continue };
                let version = facts["versions"].as_array().and_then(|versions| versions.last()).ok_or("no version")?;
                parsed.dags.push(parsed_dag::read(version["data"].clone(), &defaults())?);
                parsed.warnings.extend(facts["warnings"].as_array().into_iter().flatten().map(|warning| DagWarning {
                    dag_id: text(dag_id),
                    warning_type: text(&warning["warning_type"]),
                    message: text(&warning["message"]),
                }));
            }
            if let Some(last) = facts["import_error"]["last"].as_str() {
                parsed.import_errors.insert(path, last.to_owned());
            }
            files.push(parsed);
        }
    }
    Ok(files)
}

#[tokio::test]
async fn rows_are_those_of_official_airflow() -> TestResult {
    let database = TestDatabase::migrated().await;
    let pool = database.pool();
    let mut recorded = support::recorded_dags()?;
    // A stored Dag names its deadline alerts by their ids; what its file declares cannot be had back from it.
    recorded.retain(|_, facts| facts["versions"][0]["data"]["dag"]["deadline"].is_null());
    let files = recorded_files(&recorded)?;
    let bundles: Vec<String> = support::recorded_files()?.into_keys().collect();
    dag_bundle::sync(pool, &bundles).await?;
    for file in &files {
        let outcome = parse_result::write(pool, file, &options()?).await?;
        assert_eq!(outcome.changed.len(), file.dags.len(), "{}", file.relative_fileloc);
    }
    let stored = support::stored_dags(pool).await?;
    assert_eq!(stored.keys().collect::<Vec<_>>(), recorded.keys().collect::<Vec<_>>());
    for (dag_id, expected) in recorded {
        // Two files gave this id while it was recorded, so its rows are of two files.
        if expected["dag"]["bundle_name"] != expected["versions"][0]["bundle_name"] {
            continue;
        }
        let mut expected = support::comparable(expected);
        let mut found = support::comparable(stored[&dag_id].clone());
        // The recorded hash is that of a file at its place on the machine, and on the day, of the recording.
        for facts in [&mut expected, &mut found] {
            let data = facts["versions"][0]["data"].to_string();
            if ["/.venv/bin/python", "${TODAY}"].iter().any(|name| data.contains(name)) {
                facts["versions"][0]["dag_hash"] = json!("elsewhere");
            }
        }
        if expected["dag"]["timetable_type"].as_str().is_some_and(|name| name.contains('.')) {
            support::drop_what_only_python_knows(&mut expected);
        }
        support::drop_what_plugins_map(&mut expected);
        pretty(&dag_id, &expected, &found);
    }
    Ok(())
}

/// Compares part by part, so that a failure names the part.
fn pretty(dag_id: &str, expected: &Value, found: &Value) {
    for (part, expected) in expected.as_object().into_iter().flatten() {
        match (expected.as_object(), found[part].as_object()) {
            (Some(expected), Some(_)) => {
                for (column, expected) in expected {
                    assert_eq!(found[part].get(column), Some(expected), "{dag_id}: {part}.{column}");
                }
            }
            _ => assert_eq!(&found[part], expected, "{dag_id}: {part}"),
        }
    }
}
