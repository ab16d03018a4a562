//! The supervisor protocol of the installed Airflow has no message that we do not know.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tradewind_airflow::supervisor_protocol::dag_processor::ToManager;
use tradewind_airflow::supervisor_protocol::to_supervisor::ToSupervisor;

/// What a supervisor sends to a task child.
const TO_TASK: &str = "ToTask";

/// Messages that only triggers' supervisors know, or that are parts of other messages and bear a `type` as well.
const NO_REQUEST: &[&str] = &["DagCallbackRequest", "EmailRequest", "TaskCallbackRequest"];

fn installed_airflow() -> PathBuf {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/lib");
    let versions = std::fs::read_dir(&lib).expect("a virtual environment .venv in the workspace; `make test` makes it");
    let mut found = versions.filter_map(Result::ok).map(|version| version.path().join("site-packages/airflow"));
    found.find(|package| package.is_dir()).expect("Airflow in .venv; `make test` installs it")
}

fn read(package: &Path, file: &str) -> String {
    let path = package.join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The members of `name = Annotated[A | B | …, Field(…)]`.
fn union<'a>(source: &'a str, name: &str) -> BTreeSet<&'a str> {
    let start = format!("\n{name} = Annotated[");
    let (_, rest) = source.split_once(&start).unwrap_or_else(|| panic!("no union {name}"));
    let (members, _) = rest.split_once(',').expect("an annotation after the union");
    members.split('|').map(str::trim).collect()
}

fn known(names: &'static [&'static str]) -> BTreeSet<&'static str> {
    names.iter().copied().collect()
}

#[test]
fn every_request_of_the_task_channel_is_known() {
    let comms = read(&installed_airflow(), "sdk/execution_time/comms.py");
    assert_eq!(union(&comms, "ToSupervisor"), known(ToSupervisor::NAMES));
}

#[test]
fn every_message_of_the_dag_processors_channel_is_known() {
    let processor = read(&installed_airflow(), "dag_processing/processor.py");
    let mut ours = known(ToManager::REQUESTS);
    ours.insert(ToManager::RESULT);
    assert_eq!(union(&processor, "ToManager"), ours);
}

#[test]
fn every_message_of_the_schema_belongs_to_a_known_channel() {
    let package = installed_airflow();
    let comms = read(&package, "sdk/execution_time/comms.py");
    let processor = read(&package, "dag_processing/processor.py");
    let schema: Value = serde_json::from_str(&read(&package, "sdk/execution_time/schema/schema.json")).expect("JSON");
    let definitions = schema["$defs"].as_object().expect("definitions");
    let messages: BTreeSet<&str> = definitions
        .iter()
        .filter(|(name, shape)| shape["properties"]["type"]["const"] == **name)
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(messages.len() > 80, "{} messages", messages.len());
    let mut ours = known(ToSupervisor::NAMES);
    ours.extend(known(ToManager::REQUESTS));
    ours.extend([ToManager::RESULT]);
    ours.extend(union(&comms, TO_TASK));
    ours.extend(union(&processor, "ToDagProcessor"));
    ours.extend(NO_REQUEST);
    let unknown: Vec<_> = messages.difference(&ours).collect();
    assert!(unknown.is_empty(), "the installed Airflow has messages that we do not know: {unknown:?}");
}
