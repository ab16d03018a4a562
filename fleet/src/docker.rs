//! Workers as containers beside that of the scheduler, by the Engine API of Docker.
//!
//! Source: the Engine API's reference, version 1.41 (Docker 20.10), which newer engines speak too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Map, Value, json};
use tradewind_aws::reasons;
use uuid::Uuid;

use crate::driver::{Driver, DriverError, Result};

/// Where the version of the API is in addresses. The engine listens on a socket, so that the host says nothing.
const API: &str = "http://docker/v1.41";

/// How long a request may take: an image is there already, since the scheduler runs it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A label of workers, with the container that they were made like.
const LABEL: &str = "tradewind.worker";

/// Labels by which Compose knows what belongs together.
const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";

/// Starts a worker in a container like the one that this process runs in: with its image, variables, volumes and networks.
#[derive(Debug)]
pub struct DockerDriver {
    client: Client,
    socket: PathBuf,
    container: String,
}

impl DockerDriver {
    /// A driver of the engine at a socket, for which a container is the pattern: its name or id.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new(socket: &Path, container: String) -> Result<Self> {
        let client = Client::builder().unix_socket(socket).timeout(REQUEST_TIMEOUT).build();
        let client = client.map_err(|error| failed(socket, "no client", &reasons(&error)))?;
        Ok(Self { client, socket: socket.to_owned(), container })
    }

    /// Asks for something; the answer and its status.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let what = format!("{method} {}", path.split('?').next().unwrap_or(path));
        let mut request = self.client.request(method, format!("{API}{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| failed(&self.socket, &what, &reasons(&error)))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| failed(&self.socket, &what, &reasons(&error)))?;
        let answer = serde_json::from_str(&text).unwrap_or_default();
        Ok((status, answer))
    }

    /// The same, where other answers than these are errors.
    async fn expect(&self, method: Method, path: &str, body: Option<&Value>, fine: &[u16]) -> Result<Value> {
        let what = format!("{method} {}", path.split('?').next().unwrap_or(path));
        let (status, answer) = self.ask(method, path, body).await?;
        if fine.contains(&status.as_u16()) {
            return Ok(answer);
        }
        let said = answer["message"].as_str().unwrap_or("no reason is given");
        Err(failed(&self.socket, &what, &format!("{status}: {said}")))
    }

    async fn try_launch(&self, id: Uuid, queue: &str) -> Result<String> {
        let own = self.expect(Method::GET, &format!("/containers/{}/json", self.container), None, &[200]).await?;
        let worker = worker_like(&own, id, queue, &self.socket);
        let path = format!("/containers/create?name=tradewind-worker-{id}");
        let made = self.expect(Method::POST, &path, Some(&worker), &[201]).await?;
        let Some(handle) = made["Id"].as_str() else {
            return Err(failed(&self.socket, "POST /containers/create", "the answer names no container"));
        };
        let started = self.expect(Method::POST, &format!("/containers/{handle}/start"), None, &[204, 304]).await;
        if let Err(error) = started {
            // What does not run is in nobody's way for long.
            let _ = self.ask(Method::DELETE, &format!("/containers/{handle}?force=true"), None).await;
            return Err(error);
        }
        Ok(handle.to_owned())
    }

    async fn try_end(&self, handle: &str) -> Result<()> {
        // One that has ended is gone, or does not run any more.
        let path = format!("/containers/{handle}/kill?signal=SIGTERM");
        self.expect(Method::POST, &path, None, &[204, 404, 409]).await.map(drop)
    }

    async fn try_ended(&self, handles: &[String]) -> Result<Vec<String>> {
        if handles.is_empty() {
            return Ok(Vec::new());
        }
        let running: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("filters", &json!({ "label": [LABEL] }).to_string())
            .finish();
        // Those that run; what has ended is removed.
        let listed = self.expect(Method::GET, &format!("/containers/json?{running}"), None, &[200]).await?;
        let is_gone = |handle: &&String| {
            let mut ids = listed.as_array().into_iter().flatten().filter_map(|container| container["Id"].as_str());
            !ids.any(|id| id == handle.as_str())
        };
        Ok(handles.iter().filter(is_gone).cloned().collect())
    }
}

/// The container of a worker, from what the engine says of that of the scheduler. The socket of the engine stays with the latter.
fn worker_like(own: &Value, id: Uuid, queue: &str, socket: &Path) -> Value {
    let socket = socket.to_string_lossy();
    let config = &own["Config"];
    let variable = |name: &str, value: &str| format!("{name}={value}");
    let mut environment: Vec<String> =
        config["Env"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    environment.retain(|known| !known.starts_with("TRADEWIND_WORKER_ID="));
    environment.push(variable("TRADEWIND_WORKER_ID", &id.to_string()));
    let host = &own["HostConfig"];
    let binds: Vec<&Value> =
        host["Binds"].as_array().into_iter().flatten().filter(|bind| !names(bind, &socket)).collect();
    let mounts: Vec<&Value> =
        host["Mounts"].as_array().into_iter().flatten().filter(|mount| !names(&mount["Source"], &socket)).collect();
    let networks = own["NetworkSettings"]["Networks"].as_object();
    let networks: Map<String, Value> =
        networks.into_iter().flatten().map(|(name, _)| (name.clone(), json!({}))).collect();
    let mut labels = json!({ LABEL: own["Id"] });
    if let Some(project) = config["Labels"][PROJECT].as_str() {
        labels[PROJECT] = json!(project);
        labels[SERVICE] = json!("worker");
    }
    json!({
        "Image": config["Image"],
        "Cmd": ["tradewind", "worker", "--queues", queue],
        "Env": environment,
        "Labels": labels,
        "HostConfig": {
            "AutoRemove": true,
            "Init": host["Init"],
            "Binds": binds,
            "Mounts": mounts,
            "NetworkMode": host["NetworkMode"],
        },
        "NetworkingConfig": { "EndpointsConfig": networks },
    })
}

/// Whether a bind (`/from:/to`) or a path is about the socket.
fn names(source: &Value, socket: &str) -> bool {
    source.as_str().is_some_and(|source| source.split(':').any(|path| path == socket))
}

fn failed(socket: &Path, what: &str, detail: &str) -> DriverError {
    DriverError {
        message: format!("Docker at {}, {what}: {detail}", socket.display()),
        hint:
            "mount the socket of the engine into the scheduler's container, let its user read and write it, and check \
               [tradewind] docker_socket and docker_container"
                .to_owned(),
    }
}

impl Driver for DockerDriver {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn launch<'a>(&'a self, id: Uuid, queue: &'a str) -> BoxFuture<'a, Result<String>> {
        self.try_launch(id, queue).boxed()
    }

    fn end<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<()>> {
        self.try_end(handle).boxed()
    }

    fn ended<'a>(&'a self, handles: &'a [String]) -> BoxFuture<'a, Result<Vec<String>>> {
        self.try_ended(handles).boxed()
    }

    /// They live on.
    fn release(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}
