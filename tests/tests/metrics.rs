//! What is told to CloudWatch, by what the official names are, and `docs/metrics.md`, which says so.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aws_sdk_cloudwatch::Client;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::net::UdpSocket;
use tradewind_telemetry::mwaa::{AIRFLOW, Dimension, ROWS, Row, SERVICE, Source};
use tradewind_tests::aws::AwsEmulator;
use tradewind_tests::deployment::Deployment;
use tradewind_tests::patience::eventually;
use tradewind_tests::program;

const ENVIRONMENT: &str = "MyAirflowEnvironment";

const DAG: &str = "
from datetime import datetime
from airflow.sdk import Asset, dag, task


@dag(schedule='@daily', start_date=datetime(2026, 1, 1), catchup=False)
def measured():
    @task(outlets=[Asset('measured')])
    def succeeds():
        pass

    @task
    def fails():
        raise ValueError('as it should')

    succeeds() >> fails()


@dag(schedule=[Asset('measured')])
def follows():
    @task
    def ends():
        pass

    ends()


measured()
follows()
";

/// What this work makes happen. The rest needs a misfortune, or a queue at Amazon SQS.
const PUBLISHED: &[&str] = &[
    "CPUUtilization",
    "DAGDurationFailed",
    "DAGDurationSuccess",
    "DAGFileProcessingLastDuration",
    "DAGScheduleDelay",
    "DagBagSize",
    "FilePathQueueUpdateCount",
    "ImportErrors",
    "MemoryUtilization",
    "OpenSlots",
    "OperatorFailures",
    "OperatorSuccesses",
    "PoolDeferredSlots",
    "PoolFailures",
    "PoolOpenSlots",
    "PoolQueuedSlots",
    "PoolRunningSlots",
    "PoolScheduledSlots",
    "PoolStarvingTasks",
    "Processes",
    "SchedulerHeartbeat",
    "SchedulerLoopDuration",
    "StartedTaskInstances",
    "TaskInstanceDuration",
    "TaskInstanceFailures",
    "TaskInstanceFinished",
    "TaskInstanceQueuedDuration",
    "TaskInstanceScheduledDuration",
    "TaskInstanceSuccesses",
    "TasksExecutable",
    "TasksStarving",
    "TotalParseTime",
    "TriggeredDagRuns",
    "Updates",
];

#[tokio::test]
async fn cloudwatch_and_statsd_are_told_under_the_official_names() {
    let emulator = AwsEmulator::start();
    let statsd = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut deployment = Deployment::new(&[])
        .await
        .with("AIRFLOW__TRADEWIND__CLOUDWATCH_METRICS", "True")
        .with("AIRFLOW__TRADEWIND__CLOUDWATCH_METRICS_INTERVAL", "1")
        .with("AIRFLOW__TRADEWIND__ENVIRONMENT_NAME", ENVIRONMENT)
        .with("AIRFLOW__METRICS__STATSD_ON", "True")
        .with("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        .with("AIRFLOW__METRICS__STATSD_PORT", statsd.local_addr().expect("its address").port().to_string());
    for (name, value) in emulator.variables() {
        deployment = deployment.with(name, value);
    }
    let file = deployment.path().join("measured.py");
    std::fs::write(&file, DAG).expect("a Dag file");
    deployment.add_dags(&file);
    let standalone = deployment.start().await;
    let heard = tokio::spawn(hear(statsd));
    let rest = standalone.log_in().await;
    rest.unpause("follows").await;
    rest.unpause("measured").await;

    let client = Client::new(emulator.account().await.config());
    let declared: BTreeSet<String> = ROWS.iter().filter(|row| has_source(row)).map(key).collect();
    let expected: BTreeSet<String> = ROWS.iter().filter(|row| is_expected(row)).map(key).collect();
    eventually("every metric", async || {
        let published = published(&client).await;
        let unknown: Vec<_> = published.difference(&declared).collect();
        assert!(unknown.is_empty(), "not in the table: {unknown:?}");
        expected.is_subset(&published).then_some(())
    })
    .await;
    standalone.end(Signal::SIGTERM);

    let lines = heard.await.expect("no panic");
    for expected in ["airflow.scheduler_heartbeat:1|c", "airflow.ti.start.measured.succeeds:1|c"] {
        assert!(lines.contains(expected), "{expected} is not among {lines:?}");
    }
    check_document();
}

#[test]
fn the_dashboard_and_the_alarms_ask_for_what_is_published() {
    let emulator = AwsEmulator::start();
    let output = program::python(".venv-emulator", "tests/aws/template.py")
        .arg(program::workspace().join("deploy/cloudwatch.yaml"))
        .arg(emulator.endpoint())
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let asked: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list");
    assert!(asked.len() > 20, "{asked:?}");
    for metric in &asked {
        assert!(ROWS.iter().any(|row| has_source(row) && is_of(row, metric)), "nothing publishes {metric}");
    }
}

/// Whether a metric that is asked for is the row's.
fn is_of(row: &Row, metric: &Value) -> bool {
    let Some(dimensions) = metric["dimensions"].as_object() else { return false };
    let has = |(name, dimension): &(&str, Dimension)| match dimension {
        Dimension::Is(value) if *value != "*" => dimensions.get(*name).is_some_and(|it| it == value),
        _ => dimensions.contains_key(*name),
    };
    metric["namespace"] == row.namespace
        && metric["name"] == row.metric
        && dimensions.len() == row.dimensions.len() + 1
        && row.dimensions.iter().all(has)
        && dimensions["Environment"] == ENVIRONMENT
}

fn has_source(row: &Row) -> bool {
    !matches!(row.source, Source::None(_))
}

/// Whether the work of the test makes it happen. `AWS/MWAA` has some of the names again, for the queue.
fn is_expected(row: &Row) -> bool {
    PUBLISHED.contains(&row.metric) && has_source(row) && (row.namespace == AIRFLOW || row.source == Source::Container)
}

/// The namespace, the name and the names of the dimensions.
fn key(row: &Row) -> String {
    let names = row.dimensions.iter().map(|(name, _)| *name).chain(["Environment"]);
    format!("{} {} {:?}", row.namespace, row.metric, names.collect::<BTreeSet<_>>())
}

async fn published(client: &Client) -> BTreeSet<String> {
    let mut published = BTreeSet::new();
    for namespace in [AIRFLOW, SERVICE] {
        let mut pages = client.list_metrics().namespace(namespace).into_paginator().send();
        while let Some(page) = pages.next().await {
            for metric in page.expect("a list").metrics() {
                let dimensions = metric.dimensions();
                let environment = dimensions.iter().find(|dimension| dimension.name() == Some("Environment"));
                assert_eq!(environment.and_then(|dimension| dimension.value()), Some(ENVIRONMENT));
                let names: BTreeSet<&str> = dimensions.iter().filter_map(|dimension| dimension.name()).collect();
                published.insert(format!("{namespace} {} {names:?}", metric.metric_name().unwrap_or_default()));
            }
        }
    }
    published
}

/// The lines that come, until none has come for a while.
async fn hear(socket: UdpSocket) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let mut packet = vec![0; 65_536];
    let patience = std::time::Duration::from_secs(15);
    while let Ok(Ok(length)) = tokio::time::timeout(patience, socket.recv(&mut packet)).await {
        lines.extend(String::from_utf8_lossy(&packet[..length]).lines().map(str::to_owned));
    }
    lines
}

/// `docs/metrics.md` says what the table says. `UPDATE_DOCS=1` writes it.
fn check_document() {
    let path = program::workspace().join("docs/metrics.md");
    let document = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &document).expect("docs/metrics.md can be written");
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(known == document, "docs/metrics.md is not what the table says; write it with UPDATE_DOCS=1");
}

fn document() -> String {
    let mut text = HEAD.to_owned();
    for namespace in [AIRFLOW, SERVICE] {
        let rows: Vec<&Row> = ROWS.iter().filter(|row| row.namespace == namespace).collect();
        let (there, absent): (Vec<&Row>, Vec<&Row>) = rows.into_iter().partition(|row| has_source(row));
        write!(text, "\n## `{namespace}`\n\n| metric | from | unit | dimensions | |\n|---|---|---|---|---|\n")
            .expect("a string takes everything");
        for row in there {
            let from = match row.source {
                Source::Recorded(name) => format!("`{name}`"),
                Source::Container => "the container".to_owned(),
                Source::None(_) => String::new(),
            };
            let seen = if is_expected(row) { "seen in the test" } else { "when it happens" };
            writeln!(text, "| `{}` | {from} | {:?} | {} | {seen} |", row.metric, row.unit, dimensions(row))
                .expect("a string takes everything");
        }
        writeln!(text, "\nNot published:\n\n| metric | why |\n|---|---|").expect("a string takes everything");
        for row in absent {
            let Source::None(why) = row.source else { continue };
            writeln!(text, "| `{}` {} | {why} |", row.metric, dimensions(row)).expect("a string takes everything");
        }
    }
    text
}

const HEAD: &str = "# Metrics in CloudWatch

With `[tradewind] cloudwatch_metrics` every process puts its metrics there once a minute, under the names that Amazon MWAA
has for them; each also has the dimension `Environment`. `tests/tests/metrics.rs` checks this list against what arrives, and
writes it.
";

fn dimensions(row: &Row) -> String {
    let value = |(name, dimension): &(&str, Dimension)| match dimension {
        Dimension::Is("*") => format!("`{name}`"),
        Dimension::Is(value) => format!("`{name}={value}`"),
        Dimension::Label(label) => format!("`{name}={{{label}}}`"),
    };
    row.dimensions.iter().map(value).collect::<Vec<_>>().join(", ")
}
