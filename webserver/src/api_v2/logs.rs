//! `/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{try_number}`.

use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult, Problem};
use crate::kept::{SharedWork, Snapshot};
use crate::kept_logs::{Form, Told};
use crate::log_parts::{LogFiles, Parts};
use crate::query::{Params, PathInt};
use crate::served_logs::{Fetched, Kind, Served};
use crate::signed_token;
use crate::state::App;
use crate::task_log::{Message, TaskLog};
use crate::timestamp::Timestamp;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use sqlx::FromRow;
use std::path::PathBuf;
use std::sync::Arc;
use std::{io, iter};
use tradewind_airflow::log_path::{Attempt, LogPaths};
use tradewind_remote_log::Reader;

/// Carries the token to go on reading when the log is sent as lines.
const CONTINUATION: &str = "airflow-continuation-token";

pub(super) fn routes() -> Router<App> {
    const INSTANCE: &str = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}";
    Router::new()
        .route(&format!("{INSTANCE}/logs/{{try_number}}"), get(read))
        .route(&format!("{INSTANCE}/externalLogUrl/{{try_number}}"), get(external_url))
}

/// Attempts that have ended, or rest in between. Their logs are asked of workers where nothing else is found.
const ENDED: [&str; 7] =
    ["success", "failed", "skipped", "upstream_failed", "removed", "up_for_retry", "up_for_reschedule"];

/// Which attempt: Dag, run, task, map index, number of the attempt.
type AttemptKey = (String, String, String, i32, i32);

/// Attempts whose logs are asked for; the same one every second, while somebody looks at it.
pub(crate) type LoggedAttempts = SharedWork<AttemptKey, Option<Arc<LoggedAttempt>>>;

/// What the database says of an attempt, and where its log lies.
#[derive(Debug)]
pub(crate) struct LoggedAttempt {
    row: AttemptRow,
    /// The folder of all logs.
    base: PathBuf,
    /// The log within it.
    relative: PathBuf,
}

#[derive(Debug, FromRow)]
struct AttemptRow {
    state: Option<String>,
    /// The number of the latest attempt known of this row.
    try_number: i32,
    updated_at: Option<Timestamp>,
    logical_date: Option<Timestamp>,
    /// The machine whose worker has it.
    hostname: Option<String>,
    /// The job of the triggerer that waits for it.
    triggerer_id: Option<i32>,
    triggerer_hostname: Option<String>,
}

impl LoggedAttempt {
    async fn find(app: &App, key: &AttemptKey) -> ApiResult<Option<Arc<Self>>> {
        let (dag_id, run_id, task_id, map_index, try_number) = key;
        let row: Option<AttemptRow> = sqlx::query_as(ATTEMPT)
            .bind(dag_id)
            .bind(run_id)
            .bind(task_id)
            .bind(map_index)
            .bind(try_number)
            .fetch_optional(&app.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let name = Attempt {
            dag_id: dag_id.clone(),
            run_id: run_id.clone(),
            task_id: task_id.clone(),
            map_index: *map_index,
            try_number: *try_number,
            logical_date: row.logical_date.map(|date| date.0),
        };
        let paths = LogPaths::from_config(&app.config).map_err(|error| ApiError::internal(&error))?;
        let relative = paths.relative(&name).map_err(|error| ApiError::internal(&error))?;
        Ok(Some(Arc::new(Self { row, base: paths.base().to_owned(), relative })))
    }

    fn is_in(&self, states: &[&str]) -> bool {
        self.row.state.as_deref().is_some_and(|state| states.contains(&state))
    }

    /// Files of the log that are not here, and that official Airflow would ask other machines for (`FileTaskHandler._read`); this asks
    /// the file system.
    fn elsewhere(&self, sent: Sent) -> Vec<Served> {
        let path = self.relative.to_string_lossy();
        let (row, mut files) = (&self.row, Vec::new());
        let mut add = |kind, host: &Option<String>, file: String| {
            files.push(Served { kind, host: host.clone().unwrap_or_default(), file });
        };
        if self.is_in(&["running", "deferred"]) {
            if sent != Sent::All && !self.base.join(&self.relative).exists() {
                add(Kind::Worker, &row.hostname, path.to_string());
            }
            let of_trigger = row.triggerer_id.map(|id| format!("{path}.trigger.{id}.log"));
            if let Some(file) = of_trigger.filter(|file| !self.base.join(file).exists()) {
                add(Kind::Trigger, &row.triggerer_hostname, file);
            }
        } else if self.is_in(&ENDED) && sent == Sent::Nothing && !LogFiles::exist(&self.base, &self.relative) {
            add(Kind::Worker, &row.hostname, path.to_string());
        }
        files
    }
}

/// What of a log was found where logs are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// Nothing, or logs are not sent.
    Nothing,
    /// What the attempt had written before it paused.
    Parts,
    /// Whatever it has written.
    All,
}

/// The task instance when it is in that attempt, else what history knows of it.
const ATTEMPT: &str = include_str!("task_instances/logged_attempt.sql");

fn no_instance() -> ApiError {
    ApiError::not_found("TaskInstance not found")
}

async fn read(
    State(app): State<App>,
    snapshot: Snapshot,
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
    let form = if wants_lines(&headers)? { Form::Lines } else { Form::Array };
    let mut metadata = read_token(&app, params.text("token"))?;
    let download = full_content || metadata.get("download_logs").and_then(Value::as_bool).unwrap_or_default();
    metadata.insert("download_logs".to_owned(), download.into());
    let map_index = i32::try_from(map_index).map_err(|_| no_instance())?;
    let key = (dag_id, run_id, task_id, map_index, try_number);
    let find = LoggedAttempt::find(&app, &key);
    let weight = |found: &Option<Arc<LoggedAttempt>>| found.is_some().then_some(size_of::<LoggedAttempt>());
    let attempt = app.logged_attempts.get(&app.pool, &key, snapshot, find, weight).await?;
    let attempt = attempt.ok_or_else(no_instance)?;
    let position = metadata.get("log_pos").and_then(Value::as_u64).filter(|_| form == Form::Array);
    let told = match position {
        _ if try_number == 0 => tell(&no_log(&attempt), 0, form).map_err(|error| ApiError::internal(&error))?,
        Some(position) => after(&app, &attempt, position, form).await?,
        None => whole(&app, &attempt, form).await?,
    };
    if form == Form::Lines {
        return Ok(lines(&app, told, metadata));
    }
    let is_open = attempt.row.try_number == try_number && attempt.is_in(&["running", "deferred"]);
    let next = json!({"end_of_log": false, "log_pos": told.messages});
    let token = is_open.then(|| signed_token::sign(&app.options.secret_key, &next));
    Ok(array(&told, token.as_deref()))
}

/// The log under a heading with its sources.
async fn whole(app: &App, attempt: &Arc<LoggedAttempt>, form: Form) -> ApiResult<Told> {
    if let Some(told) = kept(app, attempt, form).await? {
        return Ok(told);
    }
    let remote = remote(app, attempt).await;
    let served = served(app, attempt, remote.as_ref()).await?;
    let _turn = app.logs.turn().await;
    // Somebody else may have been faster.
    if let Some(told) = kept(app, attempt, form).await? {
        return Ok(told);
    }
    let (app, attempt) = (app.clone(), Arc::clone(attempt));
    // In one go: each step is short.
    blocking(move || {
        let is_all_in_files = remote.is_none() && served.parts.sources.is_empty();
        let (mut local, files) = LogFiles::read(&attempt.base, &attempt.relative)?;
        local.extend(served.parts);
        let remote = remote.unwrap_or_default();
        let is_missing = remote.is_empty() && local.is_empty();
        let log = TaskLog::merged(remote, local);
        let missing = (is_missing && !attempt.is_in(&["running", "deferred", "queued"]))
            .then(|| format!("Log file does not exist: {}", attempt.base.join(&attempt.relative).display()));
        let total = log.messages.len();
        let heading = iter::once("::group::Log message source details".to_owned()).chain(missing).chain(log.sources);
        let heading = heading.chain(iter::once("::endgroup::".to_owned())).map(Message::plain);
        let messages: Vec<Message> = heading.chain(log.messages).collect();
        let told = tell(&messages, total, form)?;
        if is_all_in_files && !is_missing {
            app.logs.put(attempt.relative.clone(), form, files, &told);
        }
        Ok(told)
    })
    .await
}

/// What was told before, where nothing has changed since: nobody knows that of a log that is sent elsewhere, or that a trigger writes.
async fn kept(app: &App, attempt: &Arc<LoggedAttempt>, form: Form) -> ApiResult<Option<Told>> {
    if app.remote_logs.is_some() || attempt.row.triggerer_id.is_some() {
        return Ok(None);
    }
    let (app, attempt) = (app.clone(), Arc::clone(attempt));
    blocking(move || Ok(app.logs.get(&attempt.relative, form))).await
}

/// What has come to the log after so many messages.
async fn after(app: &App, attempt: &Arc<LoggedAttempt>, position: u64, form: Form) -> ApiResult<Told> {
    let remote = remote(app, attempt).await;
    let served = served(app, attempt, remote.as_ref()).await?;
    let _turn = app.logs.turn().await;
    let attempt = Arc::clone(attempt);
    let position = usize::try_from(position).unwrap_or(usize::MAX);
    blocking(move || {
        let (mut local, _) = LogFiles::read(&attempt.base, &attempt.relative)?;
        local.extend(served.parts);
        let messages = TaskLog::merged(remote.unwrap_or_default(), local).messages;
        tell(messages.get(position..).unwrap_or_default(), messages.len(), form)
    })
    .await
}

/// What was sent of the log, where logs are sent.
async fn remote(app: &App, attempt: &LoggedAttempt) -> Option<Parts> {
    match &app.remote_logs {
        Some(reader) => Some(reader.read(&attempt.relative).await.into()),
        None => None,
    }
}

/// What other machines have of the log, where they have to be asked. No turn is held meanwhile.
async fn served(app: &App, attempt: &Arc<LoggedAttempt>, remote: Option<&Parts>) -> ApiResult<Fetched> {
    let sent = match remote {
        Some(parts) if !parts.is_empty() => {
            if app.remote_logs.as_ref().is_some_and(Reader::is_live) {
                Sent::All
            } else {
                Sent::Parts
            }
        }
        _ => Sent::Nothing,
    };
    let attempt = Arc::clone(attempt);
    let files = blocking(move || Ok(attempt.elsewhere(sent))).await?;
    Ok(if files.is_empty() { Fetched::default() } else { app.served_logs.fetch(&files).await })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> ApiResult<T> {
    let outcome = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
    outcome.flatten().map_err(|error| ApiError::internal(&error))
}

/// What is shown of a task instance that has not been tried.
fn no_log(attempt: &LoggedAttempt) -> Vec<Message> {
    let text = match attempt.row.state.as_deref() {
        Some("skipped") => "Task was skipped — no logs available.",
        Some("upstream_failed") => "Task did not run because upstream task(s) failed.",
        _ => "No logs available for this task.",
    };
    vec![
        Message::timeless("::group::Log message source details"),
        Message::timeless("::endgroup::"),
        Message::at(attempt.row.updated_at.unwrap_or_else(Timestamp::now), text),
    ]
}

/// Messages in a form; the log has so many.
fn tell(messages: &[Message], total: usize, form: Form) -> io::Result<Told> {
    let mut text = Vec::new();
    match form {
        Form::Array => {
            let messages: Vec<_> = messages.iter().map(|message| message.as_json(false)).collect();
            serde_json::to_writer(&mut text, &messages)?;
        }
        Form::Lines => {
            for message in messages {
                serde_json::to_writer(&mut text, &message.as_json(true))?;
                text.push(b'\n');
            }
        }
    }
    Ok(Told { text: text.into(), messages: total })
}

/// The answer in one piece, with a token to go on reading if more may come.
fn array(told: &Told, token: Option<&str>) -> Response {
    let token = Value::from(token).to_string();
    let text = [&b"{\"content\":"[..], &told.text, b",\"continuation_token\":", token.as_bytes(), b"}"].concat();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// The answer as lines, with a token to go on reading.
fn lines(app: &App, told: Told, metadata: Map<String, Value>) -> Response {
    let mut response = Body::from(told.text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let token = signed_token::sign(&app.options.secret_key, &Value::Object(metadata));
    if let Ok(token) = HeaderValue::from_str(&token) {
        headers.insert(CONTINUATION, token);
    }
    response
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
