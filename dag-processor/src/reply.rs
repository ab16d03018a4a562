//! What children of the Dag processor are told when they ask for something.

use serde_json::{Value, json};
use tradewind_airflow::frames::FrameError;
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_airflow::supervisor_protocol::response::{ErrorResponse, ErrorType};
use tradewind_supervisor::child::Requests;
use tradewind_supervisor::requests::Answer;

/// The answer to what is no request of the child's channel.
pub(crate) fn not_understood(error: &serde_json::Error) -> ErrorResponse {
    let message = format!("Unhandled request: {error}");
    ErrorResponse::new(ErrorType::ApiServerError, json!({"status_code": 400, "message": message}))
}

/// Answers or refuses a request. The secrets that the child is told are hidden in its log from here on.
///
/// # Errors
/// The answer is too large, or the socket fails.
pub(crate) async fn reply(
    requests: &mut Requests,
    id: u64,
    answer: Answer,
    masker: &SecretsMasker,
) -> Result<(), FrameError> {
    match answer {
        Ok(body) => {
            if let Some(body) = &body {
                hide_secrets(body, masker);
            }
            requests.answer(id, body.as_ref()).await
        }
        Err(error) => requests.refuse(id, &json!(error)).await,
    }
}

/// What the official supervisor hides in logs of what it hands out (`DagFileProcessorProcess._handle_request`).
fn hide_secrets(body: &Value, masker: &SecretsMasker) {
    match body["type"].as_str() {
        Some("ConnectionResult") => {
            masker.add(&body["password"], None);
            masker.add(&body["extra"], None);
        }
        Some("VariableResult") => masker.add(&body["value"], body["key"].as_str()),
        _ => {}
    }
}
