//! Serialized Dags: the JSON document of a Dag file that Airflow keeps in `serialized_dag.data`.
//!
//! Format version 3 (`airflow/serialization/schema.json`), and version 2, which differs from it in nothing that
//! is read here. [`parse`] makes a [`Dag`] of a document; [`dag_hash`] names its content as Airflow does.

mod decode;
mod expand_input;
mod hash;
mod operator;
mod reader;
mod settings;
mod task_group;
mod text;

use serde_json::Value;
use tradewind_model::dag::{Dag, DagError};

pub use hash::dag_hash;

use reader::Reader;

/// Why a document cannot be read as a serialized Dag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SerializedDagError {
    /// The text is not JSON.
    #[error("serialized Dag: {detail}")]
    Json {
        /// What is wrong, and where.
        detail: String,
    },
    /// The document is of a version that is not known.
    #[error(
        "serialized Dag of format version {found}, but versions 2 and 3 are known; \
         `airflow dags reserialize` writes it anew"
    )]
    Version {
        /// What `__version` says.
        found: String,
    },
    /// Some value is not what the format says.
    #[error("serialized Dag: {path}: expected {expected}, found {found}")]
    Malformed {
        /// Where in the document, for example `$.dag.tasks[3].__var.retries`.
        path: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Tasks and groups do not fit together.
    #[error("serialized Dag {dag_id:?}: {error}")]
    Structure {
        /// The Dag.
        dag_id: String,
        /// What does not fit.
        error: DagError,
    },
}

/// Reads a serialized Dag: the whole document, with `__version`, `dag` and perhaps `client_defaults`.
///
/// # Errors
/// The version, the place of a value that is not what the format says, or names that lead nowhere.
pub fn parse(document: &Value) -> Result<Dag, SerializedDagError> {
    read(&Reader::root(document), 0, |dag, add| dag.require("tasks")?.items()?.try_for_each(|task| add(&task)))
}

/// Reads the text of a serialized Dag: as [`parse`] does, in a fraction of the memory.
///
/// # Errors
/// Those of [`parse`], or what is no JSON.
pub fn parse_text(text: &str) -> Result<Dag, SerializedDagError> {
    let document = text::Document::split(text)?;
    read(&Reader::root(&document.rest), document.task_count(), |dag, add| document.each_task(dag, add))
}

/// What takes the tasks in, one after the other.
type AddTask<'a> = dyn FnMut(&Reader<'_>) -> Result<(), SerializedDagError> + 'a;

fn read(
    root: &Reader<'_>,
    task_count: usize,
    each_task: impl FnOnce(&Reader<'_>, &mut AddTask<'_>) -> Result<(), SerializedDagError>,
) -> Result<Dag, SerializedDagError> {
    let version = root.require("__version")?;
    if !matches!(version.value().as_u64(), Some(2 | 3)) {
        return Err(SerializedDagError::Version { found: version.value().to_string() });
    }
    let defaults = root.get("client_defaults");
    let task_defaults = defaults.as_ref().and_then(|defaults| defaults.get("tasks"));
    let dag = root.require("dag")?;
    let dag_id = dag.require("dag_id")?.text()?.to_owned();
    let settings = settings::read(&dag)?;
    let groups = task_group::read(&dag)?;
    let mut tasks = Vec::with_capacity(task_count);
    each_task(&dag, &mut |encoded| {
        let mut task = operator::read(&encoded.require("__var")?, task_defaults.as_ref())?;
        if let Some(group) = groups.of_task(&task.task_id) {
            task.group = group;
        }
        tasks.push(task);
        Ok(())
    })?;
    Dag::new(dag_id.clone(), settings, tasks, groups.groups)
        .map_err(|error| SerializedDagError::Structure { dag_id, error })
}

#[cfg(test)]
mod tests;
