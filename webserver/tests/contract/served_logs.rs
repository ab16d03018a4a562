//! Logs that are asked of the machines that write them.

use crate::server::{Server, json_of, text_of};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tradewind_airflow::config::{Config, Environment};
use tradewind_airflow::log_token::LogTokens;

const ATTEMPT: &str = "/api/v2/dags/example_xcom/dagRuns/one/taskInstances/push/logs/1";

const FILE: &str = "dag_id=example_xcom/run_id=one/task_id=push/attempt=1.log";

/// What a machine answers.
#[derive(Clone)]
enum Answer {
    Text(Bytes),
    Status(StatusCode),
    /// It takes the request, and says nothing.
    Silence,
    /// It begins to answer, and then says nothing more.
    Stop,
}

/// A machine that is asked for logs.
#[derive(Clone)]
struct Machine {
    answer: Arc<Mutex<Answer>>,
    /// Files that it was asked for with a right token.
    asked: Arc<Mutex<Vec<String>>>,
    tokens: LogTokens,
}

impl Machine {
    async fn start() -> (Self, SocketAddr) {
        let config = Config::from_environment(&Environment::default().with("AIRFLOW_HOME", "/nowhere"));
        let tokens = LogTokens::new(&config.expect("a configuration"), Server::SECRET).expect("tokens");
        let answer = Arc::new(Mutex::new(Answer::Silence));
        let machine = Self { answer, asked: Arc::default(), tokens };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/log/{*file}", get(answer_with)).with_state(machine.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        (machine, address)
    }

    fn says(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    fn writes(&self, text: impl Into<Bytes>) {
        self.says(Answer::Text(text.into()));
    }

    /// What it was asked for since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn answer_with(State(machine): State<Machine>, Path(file): Path<String>, headers: HeaderMap) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|token| token.to_str().ok()).expect("a token");
    machine.tokens.check(token, &file).expect("a token for the file");
    machine.asked.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    let answer = machine.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match answer {
        Answer::Text(text) => text.into_response(),
        Answer::Status(status) => status.into_response(),
        Answer::Silence => std::future::pending().await,
        Answer::Stop => {
            let begin = futures::stream::iter([Ok::<_, std::convert::Infallible>("a line\n")]);
            Body::from_stream(futures::StreamExt::chain(begin, futures::stream::pending())).into_response()
        }
    }
}

/// A web server whose log folder is empty, and whose attempts say that they are on a machine.
async fn asking(port: u16, host: Option<&str>, state: &str) -> (Server, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let port = port.to_string();
    let options = [
        ("AIRFLOW__LOGGING__BASE_LOG_FOLDER", &*folder.path().to_string_lossy()),
        ("AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT", &*port),
        ("AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT", &*port),
        ("AIRFLOW__API__LOG_FETCH_TIMEOUT_SEC", "1"),
    ];
    let server = Server::start_configured(&[], &options).await;
    let change = "UPDATE task_instance SET hostname = $1, state = $2, try_number = 1 \
                  WHERE dag_id = 'example_xcom' AND run_id = 'one' AND task_id = 'push'";
    sqlx::query(change).bind(host).bind(state).execute(server.pool()).await.expect("a change");
    let forget = "DELETE FROM task_instance_history WHERE dag_id = 'example_xcom' AND task_id = 'push'";
    sqlx::query(forget).execute(server.pool()).await.expect("a change");
    (server, folder)
}

/// The sources of a log and its lines.
fn parts(content: &Value) -> (Vec<String>, Vec<String>) {
    let events = content.as_array().expect("lines").iter().map(|line| line["event"].as_str().unwrap_or_default());
    let events: Vec<String> = events.map(str::to_owned).collect();
    let end = events.iter().position(|event| event == "::endgroup::").expect("the end of the heading");
    (events[1..end].to_vec(), events[end + 1..].to_vec())
}

async fn log(server: &Server) -> (Vec<String>, Vec<String>) {
    parts(&server.read(ATTEMPT).await["content"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_here_is_asked_of_its_machine() {
    let (machine, address) = Machine::start().await;
    let (server, folder) = asking(address.port(), Some("127.0.0.1"), "success").await;
    machine.writes(
        "[2026-11-01T00:00:01.000+0000] first\n{\"timestamp\":\"2026-11-01T00:00:02Z\",\"event\":\"second\"}\n",
    );
    let (sources, lines) = log(&server).await;
    assert_eq!(sources, [format!("http://{address}/log/{FILE}")]);
    assert_eq!(lines, ["[2026-11-01T00:00:01.000+0000] first", "second"]);
    assert_eq!(machine.asked(), [FILE]);
    let answer = text_of(server.get(ATTEMPT, "application/x-ndjson").await).await;
    assert_eq!(answer.lines().count(), 5, "{answer}");
    assert_eq!(machine.asked(), [FILE]);

    // Nobody is asked for what is here.
    let file = folder.path().join(FILE);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
    std::fs::write(&file, "a line of this machine\n").expect("a file");
    assert_eq!(log(&server).await, (vec![file.display().to_string()], vec!["a line of this machine".to_owned()]));
    assert!(machine.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_at_work_is_followed_on_its_machine() {
    let (machine, address) = Machine::start().await;
    let (server, _folder) = asking(address.port(), Some("127.0.0.1"), "running").await;
    machine.writes("one\ntwo\n");
    let answer = server.read(ATTEMPT).await;
    assert_eq!(parts(&answer["content"]).1, ["one", "two"]);
    let token = answer["continuation_token"].as_str().expect("more may come");
    machine.writes("one\ntwo\nthree\n");
    let next = server.read(&format!("{ATTEMPT}?token={token}")).await;
    assert_eq!(next["content"], json!([{"timestamp": null, "event": "three"}]));
    assert!(next["continuation_token"].is_string());
    assert_eq!(machine.asked(), [FILE, FILE]);

    // One that waits for a trigger has a part of its log where that runs.
    let job = "INSERT INTO job (id, job_type, state, hostname) VALUES (4711, 'TriggererJob', 'running', '127.0.0.1')";
    let trigger = "INSERT INTO trigger (id, classpath, kwargs, created_date, triggerer_id, queue) \
                   VALUES (815, 'a.Trigger', '{}', now(), 4711, NULL)";
    let defer = "UPDATE task_instance SET state = 'deferred', trigger_id = 815 \
                 WHERE dag_id = 'example_xcom' AND run_id = 'one' AND task_id = 'push'";
    for change in [job, trigger, defer] {
        sqlx::query(change).execute(server.pool()).await.expect("a change");
    }
    let of_trigger = format!("{FILE}.trigger.4711.log");
    let (sources, _) = log(&server).await;
    assert_eq!(sources, [FILE, &of_trigger].map(|file| format!("http://{address}/log/{file}")));
    let mut asked = machine.asked();
    asked.sort();
    assert_eq!(asked, [FILE, &of_trigger]);

    // Before an attempt has begun there is nobody to ask.
    sqlx::query("UPDATE task_instance SET state = 'queued', trigger_id = NULL WHERE task_id = 'push'")
        .execute(server.pool())
        .await
        .expect("a change");
    assert_eq!(log(&server).await, (vec![], vec![]));
    assert!(machine.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_in_the_log() {
    let (machine, address) = Machine::start().await;
    let (server, folder) = asking(address.port(), Some("127.0.0.1"), "failed").await;
    let missing = format!("Log file does not exist: {}", folder.path().join(FILE).display());
    let failure = async |answer: Answer| {
        machine.says(answer);
        let (sources, lines) = log(&server).await;
        assert!(lines.is_empty(), "{lines:?}");
        assert_eq!(sources[0], missing);
        sources[1..].join("\n")
    };
    let forbidden = failure(Answer::Status(StatusCode::FORBIDDEN)).await;
    assert!(forbidden.starts_with("!!!! Please make sure") && forbidden.contains("'secret_key'"), "{forbidden}");
    let not_found = failure(Answer::Status(StatusCode::NOT_FOUND)).await;
    assert!(not_found.starts_with("Log file not found on worker '127.0.0.1'."), "{not_found}");
    let broken = failure(Answer::Status(StatusCode::BAD_GATEWAY)).await;
    assert!(broken.starts_with("Could not read served logs: 502 Bad Gateway for url: http://127.0.0.1:"), "{broken}");
    for answer in [Answer::Silence, Answer::Stop] {
        let silent = failure(answer).await;
        assert!(silent.ends_with("does not answer within 1 s ([api] log_fetch_timeout_sec)"), "{silent}");
    }
    assert_eq!(failure(Answer::Text(Bytes::new())).await, "");

    // No more than so much of a log is taken, and whole lines.
    let line = "x".repeat((1 << 20) + 1) + "\n";
    machine.writes(line.repeat(40));
    let (sources, lines) = log(&server).await;
    assert_eq!(lines.len(), 31);
    assert_eq!(sources[1], "The log is longer than 32 MiB; its rest is on '127.0.0.1' alone.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_not_there_is_told_in_the_log() {
    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    for (host, words) in [
        (None, "Could not read served logs: Hostname not available for worker."),
        (Some(""), "Could not read served logs: Hostname not available for worker."),
        (Some("no host"), "Could not read served logs: 'no host' is no name of a machine"),
        (Some("127.0.0.1"), "Connection refused"),
        (Some("::1"), "Could not read served logs: http://[::1]:"),
    ] {
        let (server, _folder) = asking(port, host, "success").await;
        let (sources, _) = log(&server).await;
        assert!(sources[1].contains(words), "{words}: {sources:?}");
        let answer = json_of(server.get("/api/v2/monitor/health", "*/*").await).await;
        assert!(answer.is_object());
    }
}
