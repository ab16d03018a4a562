//! `/connections/test` and `/connections/enqueue-test`: whether what a connection names can be reached.

use super::{ConnectionFields, MASK, Stored, find_stored};
use crate::api_v2::teams;
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult, Problem};
use crate::query::Params;
use crate::request_body::RequestBody;
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use std::time::Duration;
use tradewind_airflow::config::Config;
use tradewind_airflow::evaluation::{ConnectionTest, ConnectionTestAnswer, TestedConnection};
use tradewind_metadata::evaluation::{self, AskError};
use uuid::Uuid;

/// What stands for a Dag in questions that are about none; no Dag can be called so.
const SUBJECT: &str = "<connection test>";
/// How long a Dag processor may take to begin.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);
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
    #[serde(skip)]
    team_name: Option<String>,
}

/// What a test found out.
#[derive(Serialize)]
pub(super) struct Outcome {
    status: bool,
    message: String,
}

/// Tests a connection now: a Dag processor runs the hook's Python code, which this process never does.
pub(super) async fn test(State(app): State<App>, user: User, bytes: RequestBody) -> ApiResult<Json<Outcome>> {
    user.may_write(Resource::Connection)?;
    let fields = ConnectionFields::read(&mut Body::from_bytes(&bytes)?, app.options.multi_team)?;
    teams::check_given(&app, &user, &[&fields.team]).await?;
    require_enabled(&app)?;
    let old = match user.may_read(Resource::Connection) {
        // As in Airflow what is another team's is as good as not there.
        Ok(()) => {
            let stored = find_stored(&app.pool, &fields.id).await?;
            stored.filter(|stored| user.may_deal_with(stored.team_name.as_deref()).is_ok())
        }
        Err(_) => None,
    };
    let tested = fields.to_test(&app, old.as_ref())?;
    let text = serde_json::to_string(&tested).map_err(|error| ApiError::internal(&error))?;
    let timeout = app.config.int("connection_test", "timeout").map_err(|error| ApiError::internal(&error))?;
    let timeout = u64::try_from(timeout).unwrap_or_default();
    let question = ConnectionTest { sealed: app.fernet.encrypt(&text), connection: None, timeout };
    let patience = Duration::from_secs(timeout) + ANSWER_PATIENCE;
    let outcome = match evaluation::ask(&app.pool, SUBJECT, question, patience).await {
        Ok(ConnectionTestAnswer { status, message }) => Outcome { status, message },
        Err(AskError::Python(error)) => Outcome { status: false, message: error.message },
        Err(AskError::Nobody { seconds, .. }) => {
            let message = format!("no Dag processor has tested the connection within {seconds} s; start one");
            Outcome { status: false, message }
        }
        Err(AskError::Metadata(error)) => return Err(error.into()),
    };
    Ok(Json(outcome))
}

impl ConnectionFields {
    /// The connection to test: what the request gives, on top of what is stored under its id.
    ///
    /// Stored secrets go to the stored host and port alone; who tests another place has to bring their own.
    fn to_test(&self, app: &App, old: Option<&Stored>) -> ApiResult<TestedConnection> {
        let given = |field: &Option<Option<String>>| field.clone().flatten();
        let port = |port: i64| i32::try_from(port).unwrap_or_default();
        let old = match old {
            Some(old) if self.is_elsewhere(old) && self.brings_password() => None,
            Some(old) if self.is_elsewhere(old) => {
                return Err(ApiError::bad_request(
                    "The host or port to test differs from the stored connection. Include the credentials to test in \
                     the request body.",
                ));
            }
            old => old,
        };
        let Some(old) = old else {
            return Ok(TestedConnection {
                conn_type: self.conn_type.clone(),
                host: given(&self.host),
                login: given(&self.login),
                password: given(&self.password),
                schema: given(&self.schema),
                port: self.port.flatten().map(port),
                extra: given(&self.extra),
            });
        };
        let or = |field: &Option<Option<String>>, stored: &Option<String>| field.clone().unwrap_or(stored.clone());
        let (password, extra) = self.unmasked(app, old)?;
        Ok(TestedConnection {
            conn_type: self.conn_type.clone(),
            host: or(&self.host, &old.host),
            login: or(&self.login, &old.login),
            password: password.map_or_else(|| old.password(app), Ok)?,
            schema: or(&self.schema, &old.schema),
            port: self.port.map_or(old.port, |given| given.map(port)),
            extra: extra.map_or_else(|| old.extra(app), Ok)?,
        })
    }

    /// Whether the request names another host or port than is stored; forms send empty texts for fields they hide.
    fn is_elsewhere(&self, old: &Stored) -> bool {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        self.host.as_ref().is_some_and(|host| given(host) != given(&old.host))
            || self.port.is_some_and(|port| port != old.port.map(i64::from))
    }

    fn brings_password(&self) -> bool {
        self.password.as_ref().and_then(Option::as_deref).is_some_and(|given| !given.is_empty() && given != MASK)
    }
}

/// Stores a test for whoever runs tests; there is one at a time for a connection.
pub(super) async fn enqueue(
    State(app): State<App>,
    user: User,
    params: Params,
    bytes: RequestBody,
) -> ApiResult<(StatusCode, Json<Queued>)> {
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "enqueue_connection_test", method: "POST", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let (fields, broken_rule) = ConnectionFields::take(&mut body, app.options.multi_team);
    let commit_on_success = body.bool_or("commit_on_success", false);
    let executor = body.optional_text("executor");
    let queue = body.optional_text("queue");
    body.finish_with(broken_rule)?;
    require_enabled(&app)?;
    require_executor(&app.config, executor.as_deref())?;
    let id = &fields.id;
    let team = team_of_test(&app, &fields).await?;
    if user.may_write(Resource::Connection).and_then(|()| user.may_deal_with(team.as_deref())).is_err() {
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
        .bind(team)
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

/// The team of the stored connection, which is the only one that a request may name; else the one that it names.
async fn team_of_test(app: &App, fields: &ConnectionFields) -> ApiResult<Option<String>> {
    let given = fields.team.clone().flatten();
    if !app.options.multi_team {
        return Ok(None);
    }
    let Some(stored) = find_stored(&app.pool, &fields.id).await? else { return Ok(given) };
    match given {
        Some(given) if stored.team_name.as_ref() != Some(&given) => Err(ApiError::forbidden(format!(
            "team_name `{given}` does not match the team of connection `{}`.",
            fields.id
        ))),
        _ => Ok(stored.team_name),
    }
}

pub(super) async fn poll(State(app): State<App>, user: User, headers: HeaderMap) -> ApiResult<Json<Progress>> {
    let Some(token) = headers.get(TOKEN) else {
        let problem = Problem::new("missing", &["header", TOKEN], "Field required", Value::Null);
        return Err(ApiError::validation(vec![problem]));
    };
    let token = String::from_utf8_lossy(token.as_bytes()).into_owned();
    let statement = "SELECT token, connection_id, state, result_message, created_at, team_name \
                     FROM connection_test_request WHERE token = $1";
    let progress: Option<Progress> = sqlx::query_as(statement).bind(&token).fetch_optional(&app.pool).await?;
    // Who may not read the connection shall not learn that there is a test of it.
    let progress = progress.filter(|progress| {
        user.may_read(Resource::Connection).and_then(|()| user.may_deal_with(progress.team_name.as_deref())).is_ok()
    });
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
