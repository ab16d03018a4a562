//! A document as text. Most of it are the tasks, which are decoded one at a time: all together they would take many times
//! the memory of the Dag that is made of them.

use indexmap::IndexMap;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::reader::Reader;
use super::{AddTask, SerializedDagError};

/// The fields of an object, not decoded yet.
type Fields<'a> = IndexMap<String, &'a RawValue>;

/// A document whose tasks are not decoded yet.
pub(super) struct Document<'a> {
    /// All else; also what stands in the place of the tasks, if it is no list.
    pub(super) rest: Value,
    tasks: Option<Vec<&'a RawValue>>,
}

impl<'a> Document<'a> {
    pub(super) fn split(text: &'a str) -> Result<Self, SerializedDagError> {
        // What is no object is for the reader to complain about.
        let Ok(mut fields) = serde_json::from_str::<Fields<'a>>(text) else {
            return Ok(Self { rest: serde_json::from_str(text).map_err(no_json)?, tasks: None });
        };
        let mut dag: Option<Fields<'a>> = fields.get("dag").and_then(|dag| serde_json::from_str(dag.get()).ok());
        let tasks = dag.as_mut().and_then(|dag| {
            let tasks = serde_json::from_str(dag.get("tasks")?.get()).ok()?;
            dag.shift_remove("tasks");
            Some(tasks)
        });
        if dag.is_some() {
            fields.shift_remove("dag");
        }
        let mut rest = decoded(&fields)?;
        if let Some(dag) = dag {
            rest.insert("dag".to_owned(), Value::Object(decoded(&dag)?));
        }
        Ok(Self { rest: Value::Object(rest), tasks })
    }

    /// How many tasks there are, if that is known before they are decoded.
    pub(super) fn task_count(&self) -> usize {
        self.tasks.as_ref().map_or(0, Vec::len)
    }

    /// Decodes the tasks, one after the other.
    pub(super) fn each_task(&self, dag: &Reader<'_>, add: &mut AddTask<'_>) -> Result<(), SerializedDagError> {
        let Some(tasks) = &self.tasks else {
            return dag.require("tasks")?.items()?.try_for_each(|task| add(&task));
        };
        let list = dag.field("tasks", &Value::Null);
        for (index, text) in tasks.iter().enumerate() {
            let task: Value = serde_json::from_str(text.get()).map_err(no_json)?;
            add(&list.item(index, &task))?;
        }
        Ok(())
    }
}

fn decoded(fields: &Fields<'_>) -> Result<Map<String, Value>, SerializedDagError> {
    fields.iter().map(|(name, text)| Ok((name.clone(), serde_json::from_str(text.get()).map_err(no_json)?))).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err passes")]
fn no_json(error: serde_json::Error) -> SerializedDagError {
    SerializedDagError::Json { detail: error.to_string() }
}
