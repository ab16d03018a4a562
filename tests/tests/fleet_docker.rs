//! Workers as containers. There is no engine here: a server on a socket speaks the part of the Engine API that is needed, as its
//! reference describes it, and keeps containers without running them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::extract::{Path as InPath, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tradewind_fleet::{DockerDriver, Driver};
use uuid::Uuid;

/// The container of the scheduler, as an engine describes one that Compose has made.
fn scheduler(socket: &Path) -> Value {
    json!({
        "Id": "5ced",
        "Config": {
            "Image": "tradewind",
            "Env": ["PATH=/opt/venv/bin:/usr/bin", "AIRFLOW__TRADEWIND__QUEUE=sqs"],
            "Labels": {"com.docker.compose.project": "tradewind", "com.docker.compose.service": "scheduler"},
        },
        "HostConfig": {
            "Binds": ["tradewind_home:/usr/local/airflow:rw", format!("{0}:{0}", socket.display())],
            "NetworkMode": "tradewind_default",
            "Init": true,
        },
        "NetworkSettings": {"Networks": {"tradewind_default": {"IPAddress": "172.18.0.5"}}},
    })
}

#[tokio::test]
async fn a_worker_is_a_container_like_that_of_the_scheduler() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let engine = Engine::serve(&socket);
    let driver = DockerDriver::new(&socket, "scheduler-1".to_owned()).expect("a driver");

    let id = Uuid::now_v7();
    let handle = driver.launch(id, "default").await.expect("a worker");
    let made = engine.made(&handle);
    assert_eq!(made["Image"], "tradewind");
    assert_eq!(made["Cmd"], json!(["tradewind", "worker", "--queues", "default"]));
    let told = format!("TRADEWIND_WORKER_ID={id}");
    assert_eq!(made["Env"], json!(["PATH=/opt/venv/bin:/usr/bin", "AIRFLOW__TRADEWIND__QUEUE=sqs", told]));
    let host = &made["HostConfig"];
    assert_eq!(host["Binds"], json!(["tradewind_home:/usr/local/airflow:rw"]), "without the socket of the engine");
    assert_eq!((&host["AutoRemove"], &host["Init"]), (&json!(true), &json!(true)));
    assert_eq!(made["NetworkingConfig"]["EndpointsConfig"], json!({"tradewind_default": {}}));
    assert_eq!(made["Labels"]["com.docker.compose.project"], "tradewind");

    let handles = [handle.clone(), "forgotten".to_owned()];
    assert_eq!(driver.ended(&handles).await.expect("an answer"), ["forgotten"]);
    driver.end(&handle).await.expect("the end");
    assert_eq!(engine.signals(), ["SIGTERM"]);
    assert_eq!(driver.ended(&handles).await.expect("an answer"), handles);
    driver.end(&handle).await.expect("one that has ended is no error");
}

#[tokio::test]
async fn what_the_engine_refuses_is_told_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let driver = DockerDriver::new(&socket, "scheduler-1".to_owned()).expect("a driver");
    let error = driver.launch(Uuid::now_v7(), "default").await.expect_err("no engine").to_string();
    assert!(error.contains("GET /containers/scheduler-1/json: ") && error.contains("No such file"), "{error}");
    assert!(error.contains("hint: mount the socket") && error.contains("[tradewind] docker_socket"), "{error}");

    let engine = Engine::serve(&socket);
    let elsewhere = DockerDriver::new(&socket, "elsewhere".to_owned()).expect("a driver");
    let error = elsewhere.launch(Uuid::now_v7(), "default").await.expect_err("no pattern").to_string();
    assert!(error.contains("404 Not Found: No such container: elsewhere"), "{error}");
    engine.0.lock().expect("the engine").refuses_starts = true;
    let error = driver.launch(Uuid::now_v7(), "default").await.expect_err("no start").to_string();
    assert!(error.contains("/start: 500 Internal Server Error: driver failed programming"), "{error}");
    assert_eq!(engine.0.lock().expect("the engine").containers.len(), 0);
}

/// What the server keeps.
#[derive(Debug, Default)]
struct Kept {
    pattern: Value,
    /// What each container was made of, and whether it runs.
    containers: BTreeMap<String, (Value, bool)>,
    signals: Vec<String>,
    refuses_starts: bool,
}

#[derive(Debug, Clone)]
struct Engine(Arc<Mutex<Kept>>);

type Answer = (StatusCode, Json<Value>);

fn refusal(status: StatusCode, message: &str) -> Answer {
    (status, Json(json!({ "message": message })))
}

impl Engine {
    fn serve(socket: &Path) -> Self {
        let kept = Kept { pattern: scheduler(socket), ..Kept::default() };
        let engine = Self(Arc::new(Mutex::new(kept)));
        let routes = Router::new()
            .route("/v1.41/containers/json", get(list))
            .route("/v1.41/containers/create", post(create))
            .route("/v1.41/containers/{id}/json", get(inspect))
            .route("/v1.41/containers/{id}/start", post(start))
            .route("/v1.41/containers/{id}/kill", post(kill))
            .route("/v1.41/containers/{id}", delete(remove))
            .with_state(engine.clone());
        let listener = UnixListener::bind(socket).expect("a socket");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        engine
    }

    fn made(&self, id: &str) -> Value {
        self.0.lock().expect("the engine").containers[id].0.clone()
    }

    fn signals(&self) -> Vec<String> {
        self.0.lock().expect("the engine").signals.clone()
    }
}

async fn inspect(State(engine): State<Engine>, InPath(id): InPath<String>) -> Answer {
    if id == "scheduler-1" {
        return (StatusCode::OK, Json(engine.0.lock().expect("the engine").pattern.clone()));
    }
    refusal(StatusCode::NOT_FOUND, &format!("No such container: {id}"))
}

async fn create(
    State(engine): State<Engine>,
    Query(query): Query<BTreeMap<String, String>>,
    Json(body): Json<Value>,
) -> Answer {
    let id = format!("id-of-{}", query["name"]);
    let before = engine.0.lock().expect("the engine").containers.insert(id.clone(), (body, false));
    assert!(before.is_none(), "the name is in use");
    (StatusCode::CREATED, Json(json!({"Id": id, "Warnings": []})))
}

async fn start(State(engine): State<Engine>, InPath(id): InPath<String>) -> axum::response::Response {
    let mut kept = engine.0.lock().expect("the engine");
    if kept.refuses_starts {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "driver failed programming external connectivity")
            .into_response();
    }
    kept.containers.get_mut(&id).expect("a container").1 = true;
    StatusCode::NO_CONTENT.into_response()
}

/// A worker ends when it is asked to, and its container is removed.
async fn kill(
    State(engine): State<Engine>,
    InPath(id): InPath<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> axum::response::Response {
    let mut kept = engine.0.lock().expect("the engine");
    if kept.containers.remove(&id).is_none() {
        return refusal(StatusCode::NOT_FOUND, &format!("No such container: {id}")).into_response();
    }
    kept.signals.push(query["signal"].clone());
    StatusCode::NO_CONTENT.into_response()
}

async fn remove(State(engine): State<Engine>, InPath(id): InPath<String>) -> StatusCode {
    engine.0.lock().expect("the engine").containers.remove(&id);
    StatusCode::NO_CONTENT
}

/// Those that run and have the label that is asked for.
async fn list(State(engine): State<Engine>, Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    let filters: Value = serde_json::from_str(&query["filters"]).expect("filters");
    let label = filters["label"][0].as_str().expect("a label").to_owned();
    let kept = engine.0.lock().expect("the engine");
    let running = kept.containers.iter().filter(|(_, (made, runs))| *runs && made["Labels"].get(&label).is_some());
    Json(running.map(|(id, _)| json!({"Id": id, "State": "running"})).collect())
}
