//! The container agent of Amazon ECS on this machine, for tasks that are plain processes: it says which task one is, and keeps its
//! protection from scale-in, as AWS describes it and as `amazon-ecs-agent` answers.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A running agent; it ends when it is dropped.
#[derive(Debug)]
pub struct EcsAgent {
    address: SocketAddr,
    kept: Shared,
    stop: CancellationToken,
}

type Shared = Arc<Mutex<Kept>>;
type Answer = (StatusCode, Json<Value>);

#[derive(Debug, Default)]
struct Kept {
    /// Tasks by the last part of their ARNs, by which their containers call.
    tasks: BTreeMap<String, Task>,
    /// What is answered first, in place of what was asked for.
    faults: VecDeque<(StatusCode, Value)>,
}

#[derive(Debug)]
struct Task {
    arn: String,
    asked: Vec<Value>,
    protected_until: Option<DateTime<Utc>>,
}

fn lock(kept: &Shared) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    (status, Json(json!({"error": {"Code": code, "Message": message}})))
}

impl EcsAgent {
    /// Starts it.
    ///
    /// # Panics
    /// When it has no port.
    pub async fn start() -> Self {
        let (kept, stop) = (Shared::default(), CancellationToken::new());
        let routes = Router::new()
            .route("/v4/{task}/task", get(metadata))
            .route("/api/{task}/task-protection/v1/state", put(protect))
            .with_state(Arc::clone(&kept));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(async move { serving.await });
        Self { address, kept, stop }
    }

    /// Gets to know a task. Returns the variables that its containers find.
    #[must_use]
    pub fn add(&self, arn: &str) -> [(&'static str, String); 2] {
        let id = arn.rsplit('/').next().unwrap_or(arn).to_owned();
        let addresses = [
            ("ECS_AGENT_URI", format!("http://{}/api/{id}", self.address)),
            ("ECS_CONTAINER_METADATA_URI_V4", format!("http://{}/v4/{id}", self.address)),
        ];
        let task = Task { arn: arn.to_owned(), asked: Vec::new(), protected_until: None };
        lock(&self.kept).tasks.insert(id, task);
        addresses
    }

    /// What a task has asked of its protection, the latest last.
    #[must_use]
    pub fn asked(&self, arn: &str) -> Vec<Value> {
        let kept = lock(&self.kept);
        kept.tasks.values().find(|task| task.arn == arn).map(|task| task.asked.clone()).unwrap_or_default()
    }

    /// Whether a task is protected now.
    #[must_use]
    pub fn protects(&self, arn: &str) -> bool {
        let kept = lock(&self.kept);
        kept.tasks.values().any(|task| task.arn == arn && task.protected_until.is_some_and(|until| until > Utc::now()))
    }

    /// Has the next request for a protection answered so.
    pub fn answer_next(&self, status: u16, body: Value) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        lock(&self.kept).faults.push_back((status, body));
    }
}

impl Drop for EcsAgent {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn metadata(State(kept): State<Shared>, Path(task): Path<String>) -> Answer {
    match lock(&kept).tasks.get(&task) {
        Some(task) => {
            (StatusCode::OK, Json(json!({"TaskARN": task.arn, "KnownStatus": "RUNNING", "LaunchType": "FARGATE"})))
        }
        None => error(StatusCode::NOT_FOUND, "ResourceNotFoundException", "Failed to find a task for the request"),
    }
}

async fn protect(State(kept): State<Shared>, Path(task): Path<String>, body: String) -> Answer {
    let mut kept = lock(&kept);
    let fault = kept.faults.pop_front();
    let Some(task) = kept.tasks.get_mut(&task) else {
        return error(StatusCode::NOT_FOUND, "ResourceNotFoundException", "Failed to find a task for the request");
    };
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    task.asked.push(body.clone());
    if let Some((status, answer)) = fault {
        return (status, Json(answer));
    }
    let refused = |message: &str| error(StatusCode::BAD_REQUEST, "InvalidParameterException", message);
    let is_known = |name: &String| ["ProtectionEnabled", "ExpiresInMinutes"].contains(&name.as_str());
    if !body.as_object().is_some_and(|fields| fields.keys().all(is_known)) {
        return refused("UpdateTaskProtection: failed to decode request");
    }
    let Some(enabled) = body["ProtectionEnabled"].as_bool() else {
        return refused("Invalid request: does not contain 'ProtectionEnabled' field");
    };
    let minutes = body.get("ExpiresInMinutes").map_or(Some(120), Value::as_i64);
    let Some(minutes) = minutes.filter(|minutes| (1..=2_880).contains(minutes)) else {
        return refused("expiresInMinutes must be between 1 and 2880");
    };
    task.protected_until = enabled.then(|| Utc::now() + TimeDelta::minutes(minutes));
    let protection = json!({"ExpirationDate": task.protected_until, "ProtectionEnabled": enabled, "TaskArn": task.arn});
    (StatusCode::OK, Json(json!({"protection": protection})))
}
