//! `…/state-store`: values that tasks and assets keep between runs.

mod asset;
mod task;

use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::state::App;
use axum::Router;
use serde_json::Value;
use tradewind_airflow::python_json;

pub(super) fn routes() -> Router<App> {
    asset::routes().merge(task::routes())
}

/// The `value` of a body as the text to store; null and what is too large are refused.
fn value(app: &App, body: &mut Body) -> ApiResult<String> {
    let value = body.value("value");
    let text = python_json::dumps(value.as_ref().unwrap_or(&Value::Null));
    let limit = app.config.int("state_store", "max_value_storage_bytes").map_err(|error| ApiError::internal(&error))?;
    if value == Some(Value::Null) {
        body.break_rule("value", "value cannot be null");
    } else if usize::try_from(limit).is_ok_and(|limit| limit > 0 && text.chars().count() > limit) {
        let rule = format!(
            "value exceeds max_value_storage_bytes ({limit}); raise [state_store] max_value_storage_bytes or set it to \
             0 to disable the limit"
        );
        body.break_rule("value", &rule);
    }
    Ok(text)
}

/// A stored text as the JSON that it is.
fn parsed(text: &str) -> sqlx::Result<Value> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
