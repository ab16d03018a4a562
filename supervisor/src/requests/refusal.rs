//! Errors of the database layer as the child gets to see them.

use serde_json::json;
use tradewind_airflow::supervisor_protocol::response::{ErrorResponse, ErrorType};
use tradewind_metadata::MetadataError;
use tradewind_metadata::attempt::AttemptError;

/// The Execution API's status for an error of the database layer.
pub(super) fn of_metadata(error: MetadataError) -> ErrorResponse {
    match error {
        MetadataError::NotFound(message) => ErrorResponse::refused(404, "not_found", message),
        MetadataError::Conflict(message) => ErrorResponse::refused(409, "conflict", message),
        MetadataError::Invalid(message) => ErrorResponse::refused(400, "value_error", message),
        other => {
            tracing::error!(error = %other, "a request of a child failed");
            ErrorResponse::failed(other.to_string(), "DatabaseError")
        }
    }
}

/// The Execution API's status for a report that was not accepted.
pub(super) fn of_attempt(error: AttemptError) -> ErrorResponse {
    let (status, detail) = match error {
        AttemptError::Metadata(error) => return of_metadata(error),
        AttemptError::NotFound => (404, json!({"reason": "not_found", "message": AttemptError::NotFound.to_string()})),
        AttemptError::Archived => (410, json!({"reason": "not_found", "message": AttemptError::Archived.to_string()})),
        AttemptError::Invalid(message) => (422, json!({"reason": "invalid_partition_key", "message": message})),
        AttemptError::InvalidState { previous_state, .. } => (
            409,
            json!({
                "reason": "invalid_state",
                "message": "TI was not in the running state so it cannot be updated",
                "previous_state": previous_state,
            }),
        ),
        AttemptError::RunningElsewhere { hostname, pid } => (
            409,
            json!({
                "reason": "running_elsewhere",
                "message": "TI is already running elsewhere",
                "current_hostname": hostname,
                "current_pid": pid,
            }),
        ),
    };
    ErrorResponse::new(
        ErrorType::ApiServerError,
        json!({"status_code": status, "message": "Server returned error", "detail": {"detail": detail}}),
    )
}
