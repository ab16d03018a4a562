//! `/ui/connections/hook_meta`: what the form of a connection asks for, by connection type.

use crate::auth::{Resource, User};
use crate::error::ApiResult;
use crate::state::App;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/connections/hook_meta", get(hook_meta))
}

/// Only the Python packages of the providers know their forms, and no process publishes them yet: none is told, and
/// the form then shows the standard fields for any type.
async fn hook_meta(user: User) -> ApiResult<Json<Vec<Value>>> {
    user.may_read(Resource::Connection)?;
    Ok(Json(Vec::new()))
}
