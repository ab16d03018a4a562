//! `/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{try_number}`.

use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult, Problem};
use crate::query::{Params, PathInt};
use crate::signed_token;
use crate::state::App;
use crate::task_log::{Message, MessageJson, Parts, TaskLog};
use crate::timestamp::Timestamp;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::FromRow;
use tradewind_airflow::log_path::{Attempt, LogPaths};

/// Carries the token to go on reading when the log is sent as lines.
const CONTINUATION: &str = "airflow-continuation-token";

pub(super) fn routes() -> Router<App> {
    const INSTANCE: &str = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}";
    Router::new()
        .route(&format!("{INSTANCE}/logs/{{try_number}}"), get(read))
        .route(&format!("{INSTANCE}/externalLogUrl/{{try_number}}"), get(external_url))
}

#[derive(Debug, FromRow)]
struct LoggedAttempt {
    state: Option<String>,
    /// The number of the latest attempt known of this row.
    try_number: i32,
    updated_at: Option<Timestamp>,
    logical_date: Option<Timestamp>,
}

#[derive(Serialize)]
struct LogAnswer<'a> {
    content: Vec<MessageJson<'a>>,
    continuation_token: Option<String>,
}

/// The task instance when it is in that attempt, else what history knows of it.
const ATTEMPT: &str = include_str!("task_instances/logged_attempt.sql");

async fn read(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, run_id, task_id, try_number)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    user.may_read(Resource::Dag)?;
    let try_number = PathInt::parse("try_number", &try_number)?;
    let map_index = params.int("map_index").unwrap_or(-1);
    let full_content = params.bool("full_content").unwrap_or(false);
    params.check()?;
    if try_number < 0 {
        let message = "Input should be greater than or equal to 0";
        let problem = Problem::new("greater_than_equal", &["path", "try_number"], message, try_number.to_string());
        return Err(ApiError::validation(vec![problem.context(json!({"ge": 0}))]));
    }
    let as_lines = wants_lines(&headers)?;
    let mut metadata = read_token(&app, params.text("token"))?;
    let download = full_content || metadata.get("download_logs").and_then(Value::as_bool).unwrap_or_default();
    metadata.insert("download_logs".to_owned(), download.into());
    let map_index = i32::try_from(map_index).unwrap_or(-1);
    let attempt: Option<LoggedAttempt> = sqlx::query_as(ATTEMPT)
        .bind(&dag_id)
        .bind(&run_id)
        .bind(&task_id)
        .bind(map_index)
        .bind(try_number)
        .fetch_optional(&app.pool)
        .await?;
    let attempt = attempt.ok_or_else(|| ApiError::not_found("TaskInstance not found"))?;
    let name = Attempt {
        dag_id,
        run_id,
        task_id,
        map_index,
        try_number,
        logical_date: attempt.logical_date.map(|date| date.0),
    };
    let position = if as_lines { None } else { metadata.get("log_pos").and_then(Value::as_u64) };
    let (messages, total) = messages(&app, &attempt, &name, position).await?;
    let is_open = attempt.try_number == try_number && matches!(attempt.state.as_deref(), Some("running" | "deferred"));
    if as_lines {
        return lines(&app, &messages, &metadata);
    }
    let token =
        is_open.then(|| signed_token::sign(&app.options.secret_key, &json!({"end_of_log": false, "log_pos": total})));
    let content = messages.iter().map(|message| message.as_json(false)).collect();
    Ok(Json(LogAnswer { content, continuation_token: token }).into_response())
}

/// The messages after a position (all, under a heading with their sources, when there is none) and their number.
async fn messages(
    app: &App,
    attempt: &LoggedAttempt,
    name: &Attempt,
    position: Option<u64>,
) -> ApiResult<(Vec<Message>, usize)> {
    if name.try_number == 0 {
        return Ok((no_log(attempt), 0));
    }
    let paths = LogPaths::from_config(&app.config).map_err(|error| ApiError::internal(&error))?;
    let relative = paths.relative(name).map_err(|error| ApiError::internal(&error))?;
    let remote = match &app.remote_logs {
        Some(reader) => Parts::from(reader.read(&relative).await),
        None => Parts::default(),
    };
    let local = Parts::of_files(paths.base(), &relative).await.map_err(|error| ApiError::internal(&error))?;
    let is_missing = remote.is_empty() && local.is_empty();
    let log = TaskLog::merged(remote, local);
    let total = log.messages.len();
    if let Some(position) = position {
        let skipped = usize::try_from(position).unwrap_or(usize::MAX);
        return Ok((log.messages.into_iter().skip(skipped).collect(), total));
    }
    let mut messages = vec![Message::plain("::group::Log message source details")];
    if is_missing && !matches!(attempt.state.as_deref(), Some("running" | "deferred" | "queued")) {
        let missing = paths.base().join(&relative);
        messages.push(Message::plain(format!("Log file does not exist: {}", missing.display())));
    }
    messages.extend(log.sources.iter().map(Message::plain));
    messages.push(Message::plain("::endgroup::"));
    messages.extend(log.messages);
    Ok((messages, total))
}

/// What is shown of a task instance that has not been tried.
fn no_log(attempt: &LoggedAttempt) -> Vec<Message> {
    let text = match attempt.state.as_deref() {
        Some("skipped") => "Task was skipped — no logs available.",
        Some("upstream_failed") => "Task did not run because upstream task(s) failed.",
        _ => "No logs available for this task.",
    };
    vec![
        Message::timeless("::group::Log message source details"),
        Message::timeless("::endgroup::"),
        Message::at(attempt.updated_at.unwrap_or_else(Timestamp::now), text),
    ]
}

fn lines(app: &App, messages: &[Message], metadata: &Map<String, Value>) -> ApiResult<Response> {
    let mut text = Vec::new();
    for message in messages {
        serde_json::to_writer(&mut text, &message.as_json(true)).map_err(|error| ApiError::internal(&error))?;
        text.push(b'\n');
    }
    let mut response = Body::from(text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let token = signed_token::sign(&app.options.secret_key, &Value::Object(metadata.clone()));
    if let Ok(token) = HeaderValue::from_str(&token) {
        headers.insert(CONTINUATION, token);
    }
    Ok(response)
}

fn wants_lines(headers: &HeaderMap) -> ApiResult<bool> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    if accept.starts_with("*/*") || accept.starts_with("application/json") {
        return Ok(false);
    }
    if accept.starts_with("application/x-ndjson") {
        return Ok(true);
    }
    let detail = "Only application/json or application/x-ndjson is supported";
    Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, detail))
}

fn read_token(app: &App, token: Option<String>) -> ApiResult<Map<String, Value>> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(Map::new()) };
    match signed_token::verify(&app.options.secret_key, &token) {
        Some(Value::Object(metadata)) => Ok(metadata),
        _ => Err(ApiError::bad_request("Bad Signature. Please use only the tokens provided by the API.")),
    }
}

/// Logs are files here; no external service shows them.
async fn external_url(
    user: User,
    mut params: Params,
    Path((_, _, _, try_number)): Path<(String, String, String, String)>,
) -> ApiResult<Json<Value>> {
    user.may_read(Resource::Dag)?;
    let attempt = PathInt::parse("try_number", &try_number)?;
    if attempt <= 0 {
        let problem =
            Problem::new("greater_than", &["path", "try_number"], "Input should be greater than 0", try_number);
        return Err(ApiError::validation(vec![problem.context(json!({"gt": 0}))]));
    }
    params.int("map_index");
    params.check()?;
    Err(ApiError::bad_request("Task log handler does not support external logs."))
}
