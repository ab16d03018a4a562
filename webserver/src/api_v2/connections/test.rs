//! `/connections/test` and `/connections/enqueue-test`: whether what a connection names can be reached.

use super::ConnectionFields;
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult, Problem};
use crate::query::Params;
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use tradewind_airflow::config::Config;
use uuid::Uuid;

/// The header that names a test.
const TOKEN: &str = "Airflow-Connection-Test-Token";
/// Executors of Airflow that `[core] executor` may name without their class.
const CORE_EXECUTORS: [&str; 3] = ["LocalExecutor", "CeleryExecutor", "KubernetesExecutor"];

/// A test that waits for a worker.
#[derive(Serialize)]
pub(super) struct Queued {
    token: String,
    connection_id: String,
    state: &'static str,
}

/// How far a test is.
#[derive(Serialize, FromRow)]
pub(super) struct Progress {
    token: String,
    connection_id: String,
    state: String,
    result_message: Option<String>,
    created_at: Timestamp,
}

/// Testing runs the hook's Python code, which this process never does.
pub(super) async fn test(user: User) -> ApiResult<StatusCode> {
    user.may_write(Resource::Connection)?;
    Err(disabled())
}

/// Stores a test for whoever runs tests; there is one at a time for a connection.
pub(super) async fn enqueue(
    State(app): State<App>,
    user: User,
    params: Params,
    bytes: Bytes,
) -> ApiResult<(StatusCode, Json<Queued>)> {
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "enqueue_connection_test", method: "POST", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let (fields, broken_rule) = ConnectionFields::take(&mut body);
    let commit_on_success = body.optional_bool("commit_on_success").unwrap_or_default();
    let executor = body.optional_text("executor");
    let queue = body.optional_text("queue");
    body.finish_with(broken_rule)?;
    require_enabled(&app)?;
    require_executor(&app.config, executor.as_deref())?;
    if user.may_write(Resource::Connection).is_err() {
        let id = &fields.id;
        return Err(ApiError::forbidden(format!("You are not authorized to test connection `{id}`.")));
    }
    let encrypt = |text: &Option<Option<String>>| {
        text.as_ref().and_then(Option::as_ref).filter(|text| !text.is_empty()).map(|text| app.fernet.encrypt(text))
    };
    let (password, extra) = (encrypt(&fields.password), encrypt(&fields.extra));
    let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let stored = sqlx::query(include_str!("enqueue_test.sql"))
        .bind(Uuid::now_v7())
        .bind(&token)
        .bind(&fields.id)
        .bind(&fields.conn_type)
        .bind(fields.host.flatten())
        .bind(fields.login.flatten())
        .bind(&password)
        .bind(fields.schema.flatten())
        .bind(fields.port.flatten())
        .bind(&extra)
        .bind(commit_on_success)
        .bind(executor)
        .bind(queue)
        .bind(password.is_some() && app.fernet.is_encrypted())
        .bind(extra.is_some() && app.fernet.is_encrypted())
        .execute(&app.pool)
        .await;
    match stored {
        Ok(_) => {}
        Err(error) if error.as_database_error().is_some_and(|error| error.is_unique_violation()) => {
            let id = &fields.id;
            return Err(ApiError::conflict(format!(
                "An active connection test already exists for connection_id `{id}`."
            )));
        }
        Err(error) => return Err(error.into()),
    }
    Ok((StatusCode::ACCEPTED, Json(Queued { token, connection_id: fields.id, state: "pending" })))
}

pub(super) async fn poll(State(app): State<App>, user: User, headers: HeaderMap) -> ApiResult<Json<Progress>> {
    let Some(token) = headers.get(TOKEN) else {
        let problem = Problem::new("missing", &["header", TOKEN], "Field required", Value::Null);
        return Err(ApiError::validation(vec![problem]));
    };
    let token = String::from_utf8_lossy(token.as_bytes()).into_owned();
    let statement = "SELECT token, connection_id, state, result_message, created_at FROM connection_test_request \
                     WHERE token = $1";
    let progress = sqlx::query_as(statement).bind(&token).fetch_optional(&app.pool).await?;
    // Who may not read the connection shall not learn that there is a test of it.
    let progress = progress.filter(|_| user.may_read(Resource::Connection).is_ok());
    progress.map(Json).ok_or_else(|| ApiError::not_found(format!("No connection test found for token: `{token}`")))
}

fn disabled() -> ApiError {
    ApiError::forbidden(
        "Testing connections is disabled in Airflow configuration. Contact your deployment admin to enable it.",
    )
}

fn require_enabled(app: &App) -> ApiResult<()> {
    let option = app.config.string("core", "test_connection").map_err(|error| ApiError::internal(&error))?;
    if option.trim().eq_ignore_ascii_case("enabled") { Ok(()) } else { Err(disabled()) }
}

/// Refuses an executor that `[core] executor` does not name, by its alias, class or path.
fn require_executor(config: &Config, wanted: Option<&str>) -> ApiResult<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let entries = config.list_of("core", "executor").map_err(|error| ApiError::internal(&error))?;
    let mut names = Vec::new();
    for entry in &entries {
        // `team=executor;executor` belongs to a team; what follows the sign is the executor.
        let entry = entry.rsplit('=').next().unwrap_or(entry);
        let (alias, path) = match entry.split_once(':') {
            Some((alias, path)) => (Some(alias), path),
            None if CORE_EXECUTORS.contains(&entry) => (Some(entry), entry),
            None => (None, entry),
        };
        if alias == Some(wanted) || path == wanted || path.rsplit('.').next() == Some(wanted) {
            return Ok(());
        }
        names.push(alias.unwrap_or(path));
    }
    let configured = crate::python::repr_list(&names);
    Err(ApiError::unprocessable(format!("Executor '{wanted}' is not configured. Configured executors: {configured}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_airflow::config::Environment;

    #[test]
    fn an_executor_is_known_by_alias_class_and_path() {
        let environment = Environment::default()
            .with("AIRFLOW__CORE__EXECUTOR", "LocalExecutor,mine:a.b.MineExecutor,c.OtherExecutor");
        let config = Config::from_environment(&environment).expect("a valid configuration");
        for known in ["LocalExecutor", "mine", "MineExecutor", "a.b.MineExecutor", "OtherExecutor", "c.OtherExecutor"] {
            assert!(require_executor(&config, Some(known)).is_ok(), "{known}");
        }
        assert!(require_executor(&config, None).is_ok());
        let refused = require_executor(&config, Some("CeleryExecutor")).expect_err("not configured");
        let detail = "Executor 'CeleryExecutor' is not configured. Configured executors: \
                      ['LocalExecutor', 'mine', 'c.OtherExecutor']";
        assert_eq!((refused.status(), refused.detail()), (StatusCode::UNPROCESSABLE_ENTITY, &Value::from(detail)));
    }
}
