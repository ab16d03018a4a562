//! What a supervisor answers when a request cannot be served.
//!
//! Source: `ErrorResponse` in `airflow/sdk/execution_time/comms.py`, `ErrorType` in `airflow/sdk/exceptions.py`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Kinds of errors a task child knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorType {
    /// No such Connection.
    ConnectionNotFound,
    /// No such Variable.
    VariableNotFound,
    /// No such XCom.
    XcomNotFound,
    /// No such asset.
    AssetNotFound,
    /// No such value in the state store of a task.
    TaskStoreNotFound,
    /// No such value in the state store of an asset.
    AssetStoreNotFound,
    /// The Dag run exists already.
    DagrunAlreadyExists,
    /// Access refused.
    PermissionDenied,
    /// Anything else.
    GenericError,
    /// The request failed on the server's side, or was refused there.
    ApiServerError,
}

/// An error on the task channel: as the body of an answer, or in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub struct ErrorResponse {
    /// What kind.
    pub error: ErrorType,
    /// Facts about it.
    pub detail: Option<Value>,
}

impl ErrorResponse {
    /// An error with facts about it.
    pub fn new(error: ErrorType, detail: Value) -> Self {
        Self { error, detail: Some(detail) }
    }

    /// The error for a request that the server side refused, with the HTTP status the Execution API gives for it.
    pub fn refused(status: u16, reason: &str, message: impl Into<String>) -> Self {
        let detail = json!({"detail": {"reason": reason, "message": message.into()}});
        Self::new(
            ErrorType::ApiServerError,
            json!({"status_code": status, "message": "Server returned error", "detail": detail}),
        )
    }

    /// The error for a request that failed for an inner reason.
    pub fn failed(message: impl Into<String>, exception_type: &str) -> Self {
        Self::new(
            ErrorType::ApiServerError,
            json!({"status_code": null, "message": message.into(), "exception_type": exception_type}),
        )
    }
}
