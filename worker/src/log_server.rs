//! Serves the log folder of this machine to web servers on others, as official workers do (`airflow/utils/serve_logs`).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use nix::fcntl::OFlag;
use serde::Serialize;
use serde_json::json;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::log_path::LogPaths;
use tradewind_airflow::log_token::LogTokens;
use uuid::Uuid;

/// How often it is looked whether a port has become free.
const RETRY: Duration = Duration::from_secs(2);

/// Bytes of a file that are in memory for each that is read.
const BUFFER: usize = 64 << 10;

/// How a log server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LogServing {
    /// Its port.
    pub port: u16,
    /// Whether it has the port. Another worker of this machine may, which serves the same folder as a rule.
    pub serves: bool,
}

/// Gives out files below the log folder, to who has a token for them.
#[derive(Debug)]
pub struct LogServer {
    folder: PathBuf,
    tokens: LogTokens,
    state: watch::Sender<LogServing>,
}

/// What a request needs.
#[derive(Debug)]
struct Served {
    folder: PathBuf,
    tokens: LogTokens,
}

impl LogServer {
    /// Of `[logging] base_log_folder`, on `worker_log_server_port`, for tokens under `[api] secret_key`.
    ///
    /// # Errors
    /// An option has a wrong value.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let port = u16::try_from(config.int("logging", "worker_log_server_port")?).unwrap_or_default();
        if port == 0 {
            return Err(config.invalid("logging", "worker_log_server_port", "a port number"));
        }
        let mut secret = config.string("api", "secret_key")?;
        if secret.is_empty() {
            tracing::warn!(
                "[api] secret_key is empty: nobody can read the logs of this machine\nhint: give web servers and workers the same"
            );
            secret = Uuid::new_v4().to_string();
        }
        let (state, _) = watch::channel(LogServing { port, serves: false });
        let folder = LogPaths::from_config(config)?.base().to_owned();
        Ok(Self { folder, tokens: LogTokens::new(config, &secret)?, state })
    }

    /// How it is, now and later.
    pub fn state(&self) -> watch::Receiver<LogServing> {
        self.state.subscribe()
    }

    /// Serves until the shutdown; waits for the port while somebody else has it.
    pub async fn run(self, shutdown: CancellationToken) {
        let port = self.state.borrow().port;
        let Some(Some(listener)) = shutdown.run_until_cancelled(listen(port)).await.map(Some) else { return };
        tracing::info!(port, folder = %self.folder.display(), "logs of this machine are served");
        self.state.send_modify(|state| state.serves = true);
        let served = Served { folder: self.folder, tokens: self.tokens };
        let serving = axum::serve(listener, routes(served)).into_future();
        if let Some(Err(error)) = shutdown.run_until_cancelled(serving).await {
            tracing::error!(port, %error, "logs of this machine are not served any more");
        }
        self.state.send_modify(|state| state.serves = false);
    }
}

/// Listens on all addresses, as soon as the port is free.
async fn listen(port: u16) -> TcpListener {
    let mut is_told = false;
    loop {
        let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            // Where there is no IPv6.
            Err(error) if !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
            }
            outcome => outcome,
        };
        match listener {
            Ok(listener) => return listener,
            Err(_) if is_told => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => tracing::info!(
                port,
                "the port for logs is taken: whoever has it serves those of this machine if it is a worker with the same log folder; \
                 this one waits for the port\nhint: give workers with other log folders an AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT of \
                 their own, also for the web server"
            ),
            Err(error) => tracing::warn!(
                port, %error,
                "logs of this machine cannot be served\nhint: set AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT to a port that this user may \
                 listen on"
            ),
        }
        is_told = true;
        sleep(RETRY).await;
    }
}

fn routes(served: Served) -> Router {
    Router::new().route("/log/{*file}", get(log)).with_state(Arc::new(served))
}

/// The answer where there is no file; the text is FastAPI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal(StatusCode, &'static str);

const FORBIDDEN: Refusal = Refusal(StatusCode::FORBIDDEN, "Forbidden");

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"detail": self.1}))).into_response()
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound, PermissionDenied};
        match error.kind() {
            NotFound | NotADirectory | InvalidInput | InvalidFilename => Self(StatusCode::NOT_FOUND, "Not Found"),
            PermissionDenied => Self(StatusCode::UNAUTHORIZED, "Unauthorized"),
            _ => {
                tracing::warn!(%error, "a log cannot be read");
                Self(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
            }
        }
    }
}

async fn log(
    State(served): State<Arc<Served>>,
    UrlPath(name): UrlPath<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    served.admit(&headers, &name)?;
    let (file, length) = open(&served.folder, &name).await?;
    // A file that grows meanwhile is given as long as it was: official readers need to know the length.
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(length), BUFFER));
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()), (header::CONTENT_LENGTH, length.to_string())];
    Ok((headers, body).into_response())
}

impl Served {
    /// Whether the request has a token for the file, which is all that the header holds.
    fn admit(&self, headers: &HeaderMap, name: &str) -> Result<(), Refusal> {
        let Some(token) = headers.get(header::AUTHORIZATION) else {
            tracing::warn!(file = name, "a log was asked for without a token");
            return Err(Refusal(StatusCode::FORBIDDEN, "Authorization header missing"));
        };
        self.tokens.check(token.to_str().unwrap_or_default(), name).map_err(|error| {
            tracing::warn!(
                file = name, %error,
                "a log was asked for without right\nhint: all components need the same [api] secret_key and clocks that agree"
            );
            FORBIDDEN
        })
    }
}

/// A file below the folder, and its length; links may not lead out of it.
async fn open(folder: &Path, name: &str) -> io::Result<(File, u64)> {
    let name = Path::new(name);
    if !name.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let folder = fs::canonicalize(folder).await?;
    let path = fs::canonicalize(folder.join(name)).await?;
    if !path.starts_with(&folder) {
        return Err(io::ErrorKind::NotFound.into());
    }
    // Whatever came in its place meanwhile: no link is followed, and no pipe is waited for.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).await?;
    let found = file.metadata().await?;
    if found.is_file() { Ok((file, found.len())) } else { Err(io::ErrorKind::NotFound.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[tokio::test]
    async fn only_files_below_the_folder_are_opened() {
        let (folder, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let task = folder.path().join("task_id=a b");
        std::fs::create_dir(&task).expect("a folder");
        std::fs::write(task.join("attempt=1.log"), "text").expect("a file");
        std::fs::write(outside.path().join("secret"), "text").expect("a file");
        symlink(outside.path().join("secret"), task.join("out")).expect("a link");
        symlink(outside.path(), folder.path().join("folder")).expect("a link");
        symlink(task.join("attempt=1.log"), folder.path().join("within")).expect("a link");
        nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        for name in ["task_id=a b/attempt=1.log", "within"] {
            assert_eq!(open(folder.path(), name).await.expect("a file").1, 4, "{name}");
        }
        let absolute = task.join("attempt=1.log").to_string_lossy().into_owned();
        let outer = format!("../{}/within", folder.path().file_name().expect("a name").to_string_lossy());
        for name in
            ["", ".", "task_id=a b", "task_id=a b/out", "folder/secret", "pipe", "no\0name", "none", &absolute, &outer]
        {
            let error = open(folder.path(), name).await.expect_err(name);
            assert_eq!(Refusal::from(error).0, StatusCode::NOT_FOUND, "{name}");
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_waited_for() {
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.expect("a port");
        let port = taken.local_addr().expect("an address").port();
        let mut waiting = tokio::spawn(listen(port));
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err());
        drop(taken);
        assert_eq!(waiting.await.expect("a listener").local_addr().expect("an address").port(), port);
    }
}
