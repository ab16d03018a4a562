//! What is told to OpenTelemetry, beside what official Airflow tells it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use axum::http::StatusCode;
use metrics::{Label, counter, gauge, histogram};
use nix::sys::signal::Signal;
use serde_json::Value;
use tradewind_airflow::config::{Config, Environment};
use tradewind_telemetry::{Options, Telemetry};
use tradewind_tests::collector::{Collector, Told};
use tradewind_tests::deployment::{Deployment, Standalone};
use tradewind_tests::patience::eventually;
use tradewind_tests::program;

/// Options of both sides, besides the address.
const OPTIONS: [(&str, &str); 5] = [
    ("AIRFLOW__METRICS__OTEL_ON", "True"),
    ("AIRFLOW__METRICS__OTEL_SERVICE", "from the option"),
    ("AIRFLOW__METRICS__METRICS_BLOCK_LIST", "^blocked,^tradewind"),
    ("OTEL_SERVICE_NAME", "from the variable"),
    ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=a%20test,service.name=overruled"),
];

const ONE_CALL: &str = r#"[{"kind": "gauge", "name": "dagbag_size", "value": 7}]"#;

const DAG: &str = "
from datetime import datetime
from airflow.sdk import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1))
def measured():
    @task
    def succeeds():
        pass

    succeeds()


measured()
";

#[tokio::test]
async fn the_same_calls_are_told_as_official_airflow_tells_them() {
    let calls = std::fs::read_to_string(program::workspace().join("tests/otel/calls.json")).expect("the calls");
    let (official, ours) = (Collector::start().await, Collector::start().await);
    tokio::task::spawn_blocking({
        let (calls, address) = (calls.clone(), official.address().to_owned());
        move || make_official(&calls, &address)
    })
    .await
    .expect("official Airflow tells its collector");
    make_ours(&calls, &[("OTEL_EXPORTER_OTLP_ENDPOINT", ours.address())]).await;

    let (official_told, told) = (official.told(), ours.told());
    assert!(official_told.len() > 20, "{official_told:#?}");
    for (name, expected) in &official_told {
        assert_eq!(told.get(name), Some(expected), "{name}");
    }
    assert_eq!(told.keys().collect::<Vec<_>>(), official_told.keys().collect::<Vec<_>>());

    let resource = |collector: &Collector| {
        let mut resource = collector.resources().pop().expect("a resource");
        // They say which program it is.
        for name in ["telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version", "service.instance.id"] {
            assert!(resource.remove(name).is_some_and(|value| !value.is_empty()), "{name}");
        }
        resource
    };
    assert_eq!(resource(&ours), resource(&official));
}

#[tokio::test]
async fn every_process_tells_a_collector_and_what_was_refused_comes_later() {
    let collector = Collector::start().await;
    collector.refuse(Some(StatusCode::BAD_REQUEST));
    let deployment = Deployment::new(&[])
        .await
        .with("AIRFLOW__METRICS__OTEL_ON", "True")
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address())
        .with("OTEL_EXPORTER_OTLP_HEADERS", "x-token=s%3Dcret")
        .with("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .with("OTEL_METRIC_EXPORT_INTERVAL", "500");
    let file = deployment.path().join("measured.py");
    std::fs::write(&file, DAG).expect("a Dag file");
    deployment.add_dags(&file);
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    rest.unpause("measured").await;
    rest.trigger("measured", "first").await;
    assert_eq!(rest.final_state("measured", "first").await, "success");
    eventually("refused requests", async || (dropped(&standalone, "worker").await > 0.0).then_some(())).await;
    assert!(collector.told().is_empty());

    collector.refuse(None);
    let labels = [("dag_id", "measured"), ("task_id", "succeeds")];
    let started = point(&labels, "1");
    let told = eventually("what was refused", async || {
        let told = collector.told();
        let is_there = ["ti.start", "scheduler_heartbeat", "dag_processor_heartbeat", "tradewind.otel.dropped"];
        is_there.iter().all(|name| told.contains_key(&format!("airflow.{name}"))).then_some(told)
    })
    .await;
    assert_eq!(told["airflow.ti.start"], told_once("counter AGGREGATION_TEMPORALITY_CUMULATIVE \"\"", started));
    assert!(told["airflow.task.duration"].0.starts_with("exponential histogram"), "{told:#?}");
    assert!(told.contains_key("airflow.dag.measured.succeeds.duration"), "{told:#?}");
    assert!(told["airflow.pool.open_slots"].0.starts_with("gauge"), "{told:#?}");
    for component in ["scheduler", "worker", "dag-processor", "webserver"] {
        assert!(!standalone.log(component).contains("cret"), "the log of {component} has a secret");
        assert!(!standalone.log(component).contains("several threads"), "{component} forks beside a thread");
    }
    assert!(standalone.log("worker").contains("the collector answers 400"), "{}", standalone.log("worker"));
    assert!(collector.headers().iter().all(|headers| headers["x-token"] == "s=cret"));
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn a_collector_whose_authority_is_believed_is_told_by_tls() {
    let collector = Collector::start().await;
    let address = collector.listen_by_tls(&certificates()).await;
    let authority = certificates().join("certificate.pem");
    let authority = authority.to_str().expect("a path");
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()), ("OTEL_EXPORTER_OTLP_CERTIFICATE", authority)];
    make_ours(ONE_CALL, &variables).await;
    assert!(collector.told().contains_key("airflow.dagbag_size"), "{:?}", collector.told());
}

#[tokio::test]
async fn a_collector_whose_authority_is_unknown_is_not_told() {
    let collector = Collector::start().await;
    let address = collector.listen_by_tls(&certificates()).await;
    make_ours(ONE_CALL, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &address)]).await;
    assert!(collector.told().is_empty(), "{:?}", collector.told());
}

#[tokio::test]
async fn a_collector_that_cannot_be_told_is_refused_at_the_start() {
    let deployment = Deployment::new(&[]).await.with("AIRFLOW__METRICS__OTEL_ON", "True");
    let output = deployment.command().args(["standalone", "--port", "0"]).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("hint: set OTEL_EXPORTER_OTLP_ENDPOINT"), "{said}");
}

/// A server's certificate and its key.
fn certificates() -> PathBuf {
    program::workspace().join("webserver/tests/fixtures/tls")
}

/// Points that could not be sent, as the process counts them.
async fn dropped(standalone: &Standalone, component: &str) -> f64 {
    let answer = reqwest::get(format!("{}/metrics", standalone.monitor(component))).await.expect("an answer");
    let text = answer.text().await.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("tradewind_otel_dropped "));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0.0)
}

fn point(labels: &[(&str, &str)], value: &str) -> (BTreeMap<String, String>, String) {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    (labels.collect(), value.to_owned())
}

fn told_once(kind: &str, point: (BTreeMap<String, String>, String)) -> Told {
    (kind.to_owned(), [point].into())
}

/// Official Airflow's logger makes the calls.
fn make_official(calls: &str, address: &str) {
    let home = tempfile::tempdir().expect("a folder");
    let mut python = program::python(".venv", "tests/otel/official.py")
        .env("AIRFLOW_HOME", home.path())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        .envs(OPTIONS)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    python.stdin.take().expect("its input").write_all(calls.as_bytes()).expect("it reads");
    let output = python.wait_with_output().expect("an exit status");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Ours records what the calls say, and sends it when it ends.
async fn make_ours(calls: &str, variables: &[(&str, &str)]) {
    let environment = Environment::default().with("AIRFLOW_HOME", "/nowhere");
    let variables = OPTIONS.iter().chain(variables);
    let environment = variables.fold(environment, |known, (name, value)| known.with(*name, *value));
    let config = Config::from_environment(&environment).expect("valid options");
    let options = Options::from_config(&config, &environment, "scheduler").expect("valid options");
    let telemetry = Telemetry::start(options).await.expect("nothing else records");
    let calls: Vec<Value> = serde_json::from_str(calls).expect("a list");
    calls.iter().for_each(record);
    telemetry.stop().await;
}

fn record(call: &Value) {
    let name = call["name"].as_str().expect("a name").to_owned();
    let labels: Vec<Label> = call["tags"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| Label::new(name.clone(), value.as_str().expect("text").to_owned()))
        .collect();
    let value = call["value"].as_f64().expect("a number");
    match call["kind"].as_str() {
        // What goes up and down is a gauge here.
        Some("incr") if name == "dag_processing.processes" => gauge!(name, labels).increment(value),
        // What is measured there is counted here.
        Some("gauge") if name == "scheduler.tasks.executable" => {
            counter!(name, labels).increment(call["value"].as_u64().expect("a whole number"));
        }
        Some("decr") => gauge!(name, labels).decrement(value),
        Some("incr") => counter!(name, labels).increment(call["value"].as_u64().expect("a whole number")),
        Some("gauge") => gauge!(name, labels).set(value),
        // In seconds.
        Some("timing") => histogram!(name, labels).record(value / 1000.0),
        other => panic!("{other:?} is no kind of call"),
    }
}
