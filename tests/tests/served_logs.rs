//! Logs that lie on the machine of a worker, and that web servers on others show: ours and official Airflow's on either side.
#![forbid(unsafe_code)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use chrono::Utc;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tradewind_airflow::config::{Config, Environment};
use tradewind_airflow::log_token::LogTokens;
use tradewind_tests::component::Component;
use tradewind_tests::deployment::{Deployment, PASSWORD, USER};
use tradewind_tests::patience::eventually;
use tradewind_tests::program::workspace;
use tradewind_tests::rest::Rest;

const SECRET: &str = "of these tests, and of nothing else: long enough that nobody warns of its length";

const FILE: &str = "dag_id=talkative/run_id=run:1/task_id=waits/attempt=1.log";

#[tokio::test]
async fn logs_are_shown_from_the_machine_that_has_them() {
    let port = free_port();
    let deployment = deployment(port).await;
    let mut scheduler = Component::new(&deployment, "scheduler", &["scheduler"]);
    let mut dag_processor = Component::new(&deployment, "dag-processor", &["dag-processor"]);
    let mut worker = worker(&deployment, "worker");
    [&mut scheduler, &mut dag_processor, &mut worker].into_iter().for_each(Component::start);
    let (mut webserver, rest) = webserver(&deployment, "webserver", &[]).await;
    said(&worker, "logs of this machine are served").await;

    // A task that is at work, and another one after it.
    rest.unpause("talkative").await;
    rest.trigger("talkative", "run:1").await;
    let waits = "dags/talkative/dagRuns/run:1/taskInstances/waits";
    rest.get_until(waits, |waits| waits["state"] == "running").await;
    let first = rest.get_until(&log_path("waits"), |log| has(log, "before the wait")).await;
    assert_eq!(first["content"][1], json!({"event": format!("http://127.0.0.1:{port}/log/{FILE}")}));
    let token = first["continuation_token"].as_str().expect("more may come").to_owned();
    std::fs::write(deployment.home().join("release"), "").expect("a file");
    assert_eq!(rest.final_state("talkative", "run:1").await, "success");
    let rest_of_it = rest.get(&format!("{}?token={token}", log_path("waits"))).await;
    assert!(has(&rest_of_it, "after the wait") && !has(&rest_of_it, "before the wait"), "{rest_of_it}");
    let log = rest.get(&log_path("says")).await;
    assert!(has(&log, "printed ü"), "{log}");
    let lines = rest.get_lines(&log_path("waits")).await;
    assert!(lines.iter().any(|line| line["event"] == "after the wait"), "{lines:?}");
    assert!(!deployment.path().join("web-logs").join(FILE).exists());

    official_airflow_reads(&deployment, &lines);
    nobody_else_reads(&deployment, port).await;

    // The next worker of the machine has to wait for the port, and has it when the first one ends.
    let mut second = self::worker(&deployment, "second-worker");
    second.start();
    said(&second, "the port for logs is taken").await;
    assert_eq!(serving(&second).await, json!({"port": port, "serves": false}));
    assert_eq!(serving(&worker).await, json!({"port": port, "serves": true}));
    worker.end();
    let log = rest.get_until(&log_path("waits"), |log| has(log, "after the wait")).await;
    assert_eq!(log["content"], rest.get(&log_path("waits")).await["content"]);
    said(&second, "logs of this machine are served").await;
    second.end();
    let log = rest.get(&log_path("waits")).await;
    assert!(log.to_string().contains("Connection refused"), "{log}");

    let mut silent = Component::new(&deployment, "silent-worker", &["worker", "--skip-serve-logs"]);
    silent.start();
    said(&silent, "tradewind worker: healthy").await;
    assert_eq!(serving(&silent).await, Value::Null);
    assert!(!silent.said().contains("logs of this machine"), "{}", silent.said());
    [&mut silent, &mut webserver, &mut scheduler, &mut dag_processor].into_iter().for_each(Component::end);
}

#[tokio::test]
async fn logs_are_shown_from_an_official_log_server() {
    let port = free_port();
    let deployment = deployment(port).await;
    let mut scheduler = Component::new(&deployment, "scheduler", &["scheduler"]);
    let mut dag_processor = Component::new(&deployment, "dag-processor", &["dag-processor"]);
    let mut worker = worker(&deployment, "worker").with("AIRFLOW__TRADEWIND__WORKER_SERVES_LOGS", "False");
    let serve = "from airflow.utils.serve_logs import serve_logs; serve_logs()";
    let mut official = Component::official(&deployment, "log-server", "python", &["-c", serve])
        .with("AIRFLOW__LOGGING__BASE_LOG_FOLDER", worker_logs(&deployment));
    std::fs::create_dir_all(worker_logs(&deployment)).expect("a folder");
    [&mut scheduler, &mut dag_processor, &mut worker, &mut official].into_iter().for_each(Component::start);
    let (mut webserver, rest) = webserver(&deployment, "webserver", &[]).await;
    rest.unpause("talkative").await;
    rest.trigger("talkative", "run:1").await;
    let waits = "dags/talkative/dagRuns/run:1/taskInstances/waits";
    rest.get_until(waits, |waits| waits["state"] == "running").await;
    let log = rest.get_until(&log_path("waits"), |log| has(log, "before the wait")).await;
    assert_eq!(log["content"][1], json!({"event": format!("http://127.0.0.1:{port}/log/{FILE}")}));

    let other = [("AIRFLOW__API__SECRET_KEY", "another one that the log server does not know of, and long enough")];
    let (mut stranger, elsewhere) = self::webserver(&deployment, "stranger", &other).await;
    let log = elsewhere.get(&log_path("waits")).await;
    assert!(log.to_string().contains("!!!! Please make sure that all your Airflow components"), "{log}");
    assert!(!has(&log, "before the wait"), "{log}");

    std::fs::write(deployment.home().join("release"), "").expect("a file");
    assert_eq!(rest.final_state("talkative", "run:1").await, "success");
    let log = rest.get(&log_path("waits")).await;
    assert!(has(&log, "after the wait"), "{log}");
    std::fs::remove_file(worker_logs(&deployment).join(FILE)).expect("the log");
    let log = rest.get(&log_path("waits")).await;
    assert!(log.to_string().contains("Log file not found on worker '127.0.0.1'."), "{log}");
    [&mut stranger, &mut webserver, &mut worker, &mut scheduler, &mut dag_processor]
        .into_iter()
        .for_each(Component::end);
    official.kill();
}

/// What official Airflow's API server would show of the worker's log, with the right secret and with another one.
fn official_airflow_reads(deployment: &Deployment, lines: &[Value]) {
    let fetch = |file: &str, variables: &[(&str, &str)]| -> Value {
        let script = workspace().join("tests/served_logs/fetch.py");
        let mut command = std::process::Command::new(workspace().join(".venv/bin/python"));
        let ours = deployment.command();
        let output = command
            .env_clear()
            .envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .envs(variables.iter().copied())
            .arg(script)
            .args(["127.0.0.1", file])
            .arg(deployment.path().join("web-logs"))
            .output()
            .expect("Python runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer = said.lines().last().unwrap_or_default();
        serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {said}"))
    };
    let answer = fetch(FILE, &[]);
    let read: Vec<&str> = answer["lines"].as_array().expect("lines").iter().filter_map(Value::as_str).collect();
    let file = std::fs::read_to_string(worker_logs(deployment).join(FILE)).expect("the log");
    assert_eq!(read, file.lines().collect::<Vec<_>>());
    assert!(lines.len() >= read.len(), "{answer}");
    assert!(answer["sources"][0].as_str().is_some_and(|source| source.ends_with(FILE)), "{answer}");
    let refused =
        fetch(FILE, &[("AIRFLOW__API__SECRET_KEY", "another one, which is long enough that nobody warns of it")]);
    assert!(refused["sources"].to_string().contains("have the same 'secret_key' configured"), "{refused}");
    let missing = fetch(&FILE.replace("waits", "none"), &[]);
    assert!(missing["sources"].to_string().contains("Log file not found on worker"), "{missing}");
}

/// Whatever is not a file below the log folder, or is asked for without a token for it, stays closed.
async fn nobody_else_reads(deployment: &Deployment, port: u16) {
    let tokens = |secret: &str| {
        let config = Config::from_environment(&Environment::default().with("AIRFLOW_HOME", "/nowhere"));
        LogTokens::new(&config.expect("a configuration"), secret).expect("tokens")
    };
    let ask = async |path: &str, token: Option<String>| {
        let request = reqwest::Client::new().get(format!("http://127.0.0.1:{port}/log/{path}"));
        let request = match token {
            Some(token) => request.header("authorization", token),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("a text"))
    };
    let token = |file: &str| Some(tokens(SECRET).issue(file, Utc::now()).expect("a token"));
    let forbidden = |detail: &str| (StatusCode::FORBIDDEN, json!({ "detail": detail }).to_string());
    assert_eq!(ask(FILE, token(FILE)).await.0, StatusCode::OK);
    assert_eq!(ask(FILE, None).await, forbidden("Authorization header missing"));
    let foreign = tokens("another").issue(FILE, Utc::now()).expect("a token");
    assert_eq!(ask(FILE, Some(foreign)).await, forbidden("Forbidden"));
    assert_eq!(ask(FILE, token("attempt=1.log")).await, forbidden("Forbidden"));
    assert_eq!(ask(FILE, token(FILE).map(|token| format!("Bearer {token}"))).await, forbidden("Forbidden"));

    let (logs, outside) = (worker_logs(deployment), deployment.path().join("outside"));
    std::fs::write(&outside, "nobody may read this").expect("a file");
    std::os::unix::fs::symlink(&outside, logs.join("link")).expect("a link");
    let absolute = outside.to_string_lossy().into_owned();
    for (path, file) in [
        ("..%2Foutside", "../outside"),
        ("link", "link"),
        (&absolute, &absolute),
        (&absolute.replace('/', "%2F"), &absolute),
        ("dag_id=talkative", "dag_id=talkative"),
        ("none", "none"),
    ] {
        assert_eq!(ask(path, token(file)).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

/// A deployment in which web servers have another log folder than workers.
async fn deployment(port: u16) -> Deployment {
    let deployment = Deployment::new(&[workspace().join("tests/aws/dags/talkative.py")]).await;
    let web_logs = deployment.path().join("web-logs");
    deployment
        .with("AIRFLOW__API__SECRET_KEY", SECRET)
        .with("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        .with("AIRFLOW__CORE__HOSTNAME_CALLABLE", "machine.name")
        .with("PYTHONPATH", workspace().join("tests/served_logs"))
        .with("AIRFLOW__LOGGING__BASE_LOG_FOLDER", web_logs)
        // A test that fails waits for no task.
        .with("AIRFLOW__TRADEWIND__WORKER_DRAIN_TIMEOUT", "0")
        .with("AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT", port.to_string())
}

fn worker_logs(deployment: &Deployment) -> PathBuf {
    deployment.path().join("worker-logs")
}

fn worker(deployment: &Deployment, name: &str) -> Component {
    let logs: &Path = &worker_logs(deployment);
    Component::new(deployment, name, &["worker"]).with("AIRFLOW__LOGGING__BASE_LOG_FOLDER", logs)
}

/// A web server that runs, with further options, and a client of it.
async fn webserver(deployment: &Deployment, name: &str, options: &[(&str, &str)]) -> (Component, Rest) {
    let webserver = Component::new(deployment, name, &["webserver", "--host", "127.0.0.1", "--port", "0"]);
    let mut webserver = options.iter().fold(webserver, |webserver, (name, value)| webserver.with(name, value));
    webserver.start();
    let url = after(&webserver, "serving ").await;
    let rest = Rest::log_in(&url, USER, PASSWORD).await;
    (webserver, rest)
}

/// What `/health` of a worker tells of its log server.
async fn serving(worker: &Component) -> Value {
    let address = after(worker, "monitor at ").await;
    let health = reqwest::get(format!("{address}/health")).await.expect("an answer");
    health.json::<Value>().await.expect("JSON")["log_server"].clone()
}

/// Waits until a process has said an address after those words.
async fn after(component: &Component, words: &str) -> String {
    eventually(words, async || {
        let said = component.said();
        let (_, rest) = said.split_once(words)?;
        rest.split([',', '\n']).next().map(str::to_owned)
    })
    .await
}

async fn said(component: &Component, words: &str) {
    eventually(words, async || component.said().contains(words).then_some(())).await;
}

fn log_path(task: &str) -> String {
    format!("dags/talkative/dagRuns/run:1/taskInstances/{task}/logs/1")
}

/// Whether a log has a line.
fn has(log: &Value, event: &str) -> bool {
    log["content"].as_array().is_some_and(|lines| lines.iter().any(|line| line["event"] == event))
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("0.0.0.0", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}
