//! The server under test.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::{Router, response::Response};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tradewind_airflow::config::{Config, Environment};
use tradewind_metadata::testing::TestDatabase;
use tradewind_webserver::{AuthManager, WebServer};

/// The web server on a database of its own.
pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) token: String,
    /// Of the user `admin`.
    pub(crate) password: String,
    pub(crate) logs: PathBuf,
    database: TestDatabase,
    _home: tempfile::TempDir,
}

/// The `airflow` package of the virtual environment beside the workspace.
pub(crate) fn airflow_package() -> PathBuf {
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/lib");
    let versions = std::fs::read_dir(&libraries).expect("the virtual environment that `make` sets up");
    let package = |entry: io::Result<std::fs::DirEntry>| Some(entry.ok()?.path().join("site-packages/airflow"));
    versions.filter_map(package).find(|path| path.is_dir()).expect("the installed airflow package")
}

pub(crate) fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// A server that listens, on a database of its own.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<io::Result<()>>,
    _database: TestDatabase,
    _home: tempfile::TempDir,
}

impl Listening {
    /// Lets it come to an orderly end.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.expect("no panic").expect("an orderly end");
    }
}

/// A configured server that does not serve yet.
async fn configured(
    further: &[&str],
    options: &[(&str, &str)],
    manager: Option<Arc<dyn AuthManager>>,
) -> (WebServer, TestDatabase, tempfile::TempDir) {
    let database = TestDatabase::migrated().await;
    let read = |file: &str| std::fs::read_to_string(tests_folder().join("fixtures").join(file)).expect("a fixture");
    let fixture: String = ["airflow.sql"].iter().chain(further).map(|file| read(file)).collect();
    // A connection of its own: the fixture switches triggers off for its session.
    let url = database.sql_alchemy_conn().replace("+psycopg2", "");
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    sqlx::raw_sql(AssertSqlSafe(fixture)).execute(&mut connection).await.expect("a fixture that fits the schema");
    connection.close().await.expect("an end");

    let home = tempfile::tempdir().expect("a temporary folder");
    let environment = Environment::default()
        .with("AIRFLOW_HOME", home.path().to_string_lossy())
        .with("AIRFLOW__LOGGING__BASE_LOG_FOLDER", tests_folder().join("fixtures/logs").to_string_lossy())
        .with("AIRFLOW__CORE__FERNET_KEY", Server::FERNET_KEY)
        .with("AIRFLOW__API__SECRET_KEY", Server::SECRET)
        .with("AIRFLOW__API_AUTH__JWT_SECRET", Server::SECRET);
    let environment = options.iter().fold(environment, |environment, (name, value)| environment.with(*name, *value));
    let config = Config::from_environment(&environment).expect("a valid configuration");
    let (database_of, package) = (database.database(), airflow_package());
    let server = match manager {
        Some(manager) => WebServer::with_auth_manager(database_of, &config, &package, manager),
        None => WebServer::new(database_of, &config, &package),
    };
    let server = server.expect("a server");
    (server, database, home)
}

impl Server {
    /// Encrypts what it stores.
    pub(crate) const FERNET_KEY: &str = "cFuF9mKqkzGm2JPQTlzrC9LvvS4oGvRAIpZ2R0oBbJ0=";

    /// Signs its tokens.
    pub(crate) const SECRET: &str = "not-a-secret-not-a-secret-not-a-secret-not-a-secret-not-a-secret-";

    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts it with the rows of further fixtures.
    pub(crate) async fn start_with(further: &[&str]) -> Self {
        Self::start_configured(further, &[]).await
    }

    /// Starts it with the rows of further fixtures and with options, each a variable of the environment.
    pub(crate) async fn start_configured(further: &[&str], options: &[(&str, &str)]) -> Self {
        Self::prepared(configured(further, options, None).await).await
    }

    /// The same with an auth manager that is not the configured one.
    pub(crate) async fn start_managed(
        further: &[&str],
        options: &[(&str, &str)],
        manager: Arc<dyn AuthManager>,
    ) -> Self {
        Self::prepared(configured(further, options, Some(manager)).await).await
    }

    async fn prepared((server, database, home): (WebServer, TestDatabase, tempfile::TempDir)) -> Self {
        // Where everybody is an administrator there are no passwords, and any will do.
        let password = server.new_passwords().first().map_or("any", |made| &made.password).to_owned();
        let body = json!({"username": "admin", "password": password});
        let router = server.router();
        let answer = send(&router, Request::post("/auth/token").body(Body::from(body.to_string()))).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        let token = json_of(answer).await["access_token"].as_str().expect("a token").to_owned();
        Self { router, token, password, logs: tests_folder().join("fixtures/logs"), database, _home: home }
    }

    /// Lets one listen that is configured with options and believes proxies at these addresses.
    pub(crate) async fn listen(options: &[(&str, &str)], proxies: &[&str]) -> Listening {
        let (server, database, home) = configured(&[], options, None).await;
        let proxies = proxies.iter().map(|network| network.parse().expect("a network")).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.with_trusted_proxies(proxies).run(listener, shutdown.clone()));
        Listening { address, shutdown, running, _database: database, _home: home }
    }

    pub(crate) async fn get(&self, path: &str, accept: &str) -> Response {
        let request = Request::get(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::ACCEPT, accept);
        send(&self.router, request.body(Body::empty())).await
    }

    /// Asks for a change as the administrator; the status and the body of the answer.
    pub(crate) async fn write(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::CONTENT_TYPE, "application/json");
        let answer = send(&self.router, request.body(Body::from(body.to_string()))).await;
        (answer.status().as_u16(), json_of(answer).await)
    }

    /// The database behind it.
    pub(crate) fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    /// What a path holds.
    pub(crate) async fn read(&self, path: &str) -> Value {
        json_of(self.get(path, "*/*").await).await
    }
}

pub(crate) async fn send(router: &Router, request: axum::http::Result<Request<Body>>) -> Response {
    router.clone().oneshot(request.expect("a request")).await.expect("an answer")
}

pub(crate) async fn text_of(answer: Response) -> String {
    let bytes = to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
    String::from_utf8(bytes.into()).expect("text")
}

pub(crate) async fn json_of(answer: Response) -> Value {
    let text = text_of(answer).await;
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}
