//! `/ui/connections/hook_meta`: what the form of a connection asks for, by connection type.

use crate::auth::{Resource, User};
use crate::error::ApiResult;
use crate::state::App;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tradewind_metadata::python_environment;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/connections/hook_meta", get(hook_meta))
}

/// The Python packages of the providers know their forms; a Dag processor publishes them. Until it has, the form shows the
/// standard fields for any type.
async fn hook_meta(State(app): State<App>, user: User) -> ApiResult<Json<Value>> {
    user.may_read(Resource::Connection)?;
    let forms = python_environment::connection_types(&app.pool).await?;
    Ok(Json(forms.unwrap_or_else(|| json!([]))))
}
