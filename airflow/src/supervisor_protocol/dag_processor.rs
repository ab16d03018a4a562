//! Messages between the Dag processor and a child that parses one file.
//!
//! Source: `DagFileParseRequest`, `DagFileParsingResult`, `ToManager` and `ToDagProcessor` in
//! `airflow/dag_processing/processor.py`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::to_supervisor::ToSupervisor;

/// The first frame of a child: what to parse, or which callbacks of the file to run instead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub struct DagFileParseRequest {
    /// Path of the file.
    pub file: String,
    /// Path of its bundle.
    pub bundle_path: String,
    /// Name of its bundle.
    pub bundle_name: String,
    /// `DagCallbackRequest`, `TaskCallbackRequest` and `EmailRequest` messages.
    pub callback_requests: Vec<Value>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DagFileParsingResult {
    /// Path of the file.
    pub fileloc: String,
    /// Its Dags.
    pub serialized_dags: Vec<ParsedDag>,
    /// What the stability check found.
    #[serde(default)]
    pub warnings: Option<Vec<Value>>,
    /// Tracebacks by path.
    #[serde(default)]
    pub import_errors: Option<BTreeMap<String, String>>,
}

/// One serialised Dag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParsedDag {
    /// The Dag in Airflow's serialisation format, `{"__version": 3, "dag": …}`.
    pub data: Value,
    /// When the file was read.
    #[serde(default)]
    pub last_loaded: Option<DateTime<Utc>>,
}

/// What a parsing child sends.
#[derive(Debug, Clone, PartialEq)]
pub enum ToManager {
    /// The result, its last message.
    Result(Box<DagFileParsingResult>),
    /// A request which task children have too.
    Request(Box<ToSupervisor>),
}

impl ToManager {
    /// Requests of task children that a parsing child may send too.
    pub const REQUESTS: &'static [&'static str] = &[
        "GetConnection",
        "GetVariable",
        "GetVariableKeys",
        "PutVariable",
        "GetTaskStates",
        "GetTICount",
        "DeleteVariable",
        "GetPrevSuccessfulDagRun",
        "GetPreviousDagRun",
        "GetPreviousTI",
        "GetXCom",
        "GetXComCount",
        "GetXComSequenceItem",
        "GetXComSequenceSlice",
        "MaskSecret",
    ];

    /// The name of the result message.
    pub const RESULT: &'static str = "DagFileParsingResult";

    /// Reads the body of a request frame.
    ///
    /// # Errors
    /// It is no message of this channel, or not of its shape.
    pub fn from_body(body: Value) -> Result<Self, serde_json::Error> {
        let name = body.get("type").and_then(Value::as_str).unwrap_or_default();
        if name == Self::RESULT {
            return serde_json::from_value(body).map(Box::new).map(Self::Result);
        }
        if !Self::REQUESTS.contains(&name) {
            let unknown = format!("{name:?} is no message of the Dag processor's channel");
            return Err(serde::de::Error::custom(unknown));
        }
        serde_json::from_value(body).map(Box::new).map(Self::Request)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_parsing_child_may_ask_for_less_than_a_task() {
        let variable = ToManager::from_body(json!({"type": "GetVariable", "key": "x"})).expect("a request");
        assert!(matches!(variable, ToManager::Request(request) if request.name() == "GetVariable"));
        let refused = ToManager::from_body(json!({"type": "TaskState", "state": "failed"})).expect_err("not here");
        assert!(refused.to_string().contains("TaskState"), "{refused}");
    }

    #[test]
    fn results_are_read() {
        let body = json!({"type": "DagFileParsingResult", "fileloc": "f.py", "warnings": null, "import_errors": {"f.py": "boom"},
            "serialized_dags": [{"data": {"__version": 3, "dag": {}}, "last_loaded": "2026-01-01T00:00:00.000001+00:00"}]});
        let ToManager::Result(result) = ToManager::from_body(body).expect("a result") else { panic!("no result") };
        assert_eq!(result.serialized_dags.len(), 1);
        assert_eq!(result.import_errors.expect("errors")["f.py"], "boom");
    }
}
