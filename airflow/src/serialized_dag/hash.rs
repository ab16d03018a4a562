//! The name that Airflow gives to the content of a serialized Dag.
//!
//! Source: `SerializedDagModel.hash` and `_sort_serialized_dag_dict` in `airflow/models/serialized_dag.py`: the
//! MD5 of the document, sorted, without `dag.fileloc`, as Python's `json.dumps(sort_keys=True)` writes it.

use std::fmt::Write;

use md5::{Digest, Md5};
use serde_json::{Map, Value};

use crate::python_json;

/// Names the content of a serialized Dag: the whole document, with `__version` and `dag`.
///
/// Integers beyond 64 bits do not survive reading a document into a [`Value`]; a Dag with one has another hash
/// than official Airflow gives it.
pub fn dag_hash(document: &Value) -> String {
    let mut sorted = sorted(document);
    if let Some(Value::Object(dag)) = sorted.get_mut("dag") {
        dag.shift_remove("fileloc");
    }
    Md5::digest(python_json::dumps(&sorted)).iter().fold(String::with_capacity(32), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Sorts names in objects, lists of text, and lists of encoded tasks.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            names.into_iter().map(|name| (name.clone(), sorted(&fields[name]))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => {
            if let Some(mut tasks) = items.iter().map(|item| Some((task_id(item)?, item))).collect::<Option<Vec<_>>>() {
                tasks.sort_by_key(|(task_id, _)| *task_id);
                return tasks.into_iter().map(|(_, item)| sorted(item)).collect();
            }
            if let Some(mut texts) = items.iter().map(Value::as_str).collect::<Option<Vec<_>>>() {
                texts.sort_unstable();
                return texts.into_iter().map(Value::from).collect();
            }
            items.iter().map(sorted).collect()
        }
        other => other.clone(),
    }
}

fn task_id(item: &Value) -> Option<&str> {
    item.get("__var")?.as_object()?.get("task_id")?.as_str()
}
