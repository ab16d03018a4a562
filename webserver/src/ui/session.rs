//! `/ui/auth`: who is logged in and what they may see.

use crate::audit::Change;
use crate::auth::User;
use crate::auth::login;
use crate::body::Body;
use crate::error::ApiResult;
use crate::query::Params;
use crate::request_body::RequestBody;
use crate::state::App;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// Every item of the menu; the simple auth manager hides none.
const MENU: [&str; 14] = [
    "Required Actions",
    "Assets",
    "Audit Log",
    "Config",
    "Connections",
    "Dags",
    "Deadlines",
    "Docs",
    "Jobs",
    "Plugins",
    "Pools",
    "Providers",
    "Variables",
    "XComs",
];

pub(super) fn routes() -> Router<App> {
    Router::new().route("/auth/menus", get(menus)).route("/auth/me", get(me)).route("/auth/token", post(token))
}

async fn menus(_: User) -> Json<Value> {
    Json(json!({"authorized_menu_items": MENU, "extra_menu_items": []}))
}

async fn me(user: User) -> Json<Value> {
    Json(json!({"id": user.name, "username": user.name}))
}

/// A token for the user's own programs.
async fn token(State(app): State<App>, user: User, params: Params, bytes: RequestBody) -> ApiResult<Json<Value>> {
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "generate_token", method: "POST", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let kind = body.word_or("token_type", &["api", "cli"], "api");
    body.finish()?;
    let length = if kind == "cli" { app.options.cli_session_length } else { app.options.session_length };
    let token = login::issue(&app, &user, length)?;
    Ok(Json(json!({"access_token": token, "token_type": kind, "expires_in_seconds": length.as_secs()})))
}
