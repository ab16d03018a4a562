//! Logs that go to CloudWatch and S3, and are read back from there.
#![forbid(unsafe_code)]

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::LogGroup;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tradewind_tests::aws::AwsEmulator;
use tradewind_tests::deployment::{Deployment, Standalone};
use tradewind_tests::patience::eventually;
use tradewind_tests::program::workspace;
use tradewind_tests::rest::Rest;
use tradewind_tests::s3::TestBucket;

const ENVIRONMENT: &str = "MyAirflowEnvironment";

const TASK_GROUP: &str = "airflow-MyAirflowEnvironment-Task";

const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/of-the-logs";

const BUCKET: &str = "my-logs";

#[tokio::test]
async fn logs_go_to_the_five_groups_and_tasks_logs_are_read_back() {
    let aws = AwsEmulator::start();
    let client = Client::new(aws.account().await.config());
    let mut deployment = talkative(&aws)
        .await
        .with("AIRFLOW__TRADEWIND__CLOUDWATCH_LOGS_RETENTION", "30")
        .with("AIRFLOW__TRADEWIND__CLOUDWATCH_LOGS_KMS_KEY", KEY);
    for group in ["TASK", "SCHEDULER", "WORKER", "WEBSERVER", "DAG_PROCESSING"] {
        deployment = deployment.with(&format!("AIRFLOW__TRADEWIND__{group}_LOGS_ENABLED"), "True");
    }
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    rest.unpause("talkative").await;
    rest.trigger("talkative", "run:1").await;

    // What is written while the task still runs is there already.
    let waiting = stream("run_1", "waits");
    eventually("a part of a log", async || {
        events(&client, &waiting).await.iter().any(|line| line.contains("before the wait")).then_some(())
    })
    .await;
    release(&deployment);
    assert_eq!(rest.final_state("talkative", "run:1").await, "success");

    for task in ["says", "waits", "paused"] {
        let file = log_file(&deployment, task);
        let sent = eventually("all lines", async || {
            let sent = events(&client, &stream("run_1", task)).await;
            (sent.len() == lines(&file).len()).then_some(sent)
        })
        .await;
        assert_eq!(sorted(sent), sorted(lines(&file)), "each line once, as it is in the file");
    }

    let before = messages(&rest, "says").await;
    assert!(before.iter().any(|line| line["event"] == "printed ü" && line["logger"] == "task.stdout"), "{before:?}");
    std::fs::remove_dir_all(deployment.home().join("logs/dag_id=talkative")).expect("the local logs");
    let log = rest.get(&log_path("says")).await;
    let source = format!(
        "Reading remote log from Cloudwatch log_group: {TASK_GROUP} log_stream: \
         dag_id=talkative/run_id=run:1/task_id=says/attempt=1.log"
    );
    assert_eq!(log["content"][1], json!({"event": source}));
    assert_eq!(messages(&rest, "says").await, before);
    let as_lines = rest.get_lines(&log_path("says")).await;
    assert_eq!(as_lines[as_lines.len() - before.len()..], before);

    for (group, process) in [
        ("Scheduler", "scheduler_"),
        ("Worker", "worker_"),
        ("WebServer", "webserver_"),
        ("DAGProcessing", "dag-processor-manager.log"),
        ("DAGProcessing", "scheduler_dag_processor_talkative.py.log"),
    ] {
        let group = format!("airflow-{ENVIRONMENT}-{group}");
        eventually(&format!("{process} in {group}"), async || {
            let streams = streams(&client, &group).await;
            streams.iter().any(|stream| stream.starts_with(process)).then_some(())
        })
        .await;
    }
    let groups = client.describe_log_groups().log_group_name_prefix("airflow-").send().await.expect("groups");
    let made = |group: &LogGroup| (group.retention_in_days(), group.kms_key_id().map(str::to_owned));
    let made: Vec<_> = groups.log_groups().iter().map(made).collect();
    assert_eq!(made, vec![(Some(30), Some(KEY.to_owned())); 5]);
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn what_cloudwatch_refuses_waits_and_harms_no_task() {
    let aws = AwsEmulator::start();
    let client = Client::new(aws.account().await.config());
    let group = "arn:aws:logs:us-east-1:123456789012:log-group:named-by-airflow";
    let deployment = talkative(&aws)
        .await
        .with("AIRFLOW__LOGGING__REMOTE_LOGGING", "True")
        .with("AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER", format!("cloudwatch://{group}"))
        .with("AIRFLOW__LOGGING__DELETE_LOCAL_LOGS", "True");
    release(&deployment);
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    rest.unpause("talkative").await;

    let refusal =
        |operation: &str| json!({"path": "/", "target": operation, "status": 400, "code": "AccessDeniedException"});
    aws.set_faults(&json!([refusal("Logs_20140328.PutLogEvents"), refusal("Logs_20140328.GetLogEvents")])).await;
    rest.trigger("talkative", "run:1").await;
    assert_eq!(rest.final_state("talkative", "run:1").await, "success");
    let refused = rest.get(&log_path("says")).await["content"].to_string();
    for words in ["printed ü", "logs:GetLogEvents on named-by-airflow", "AccessDeniedException"] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    said(&standalone, "logs:PutLogEvents on named-by-airflow: as the test wants it (AccessDeniedException)").await;
    assert!(log_file(&deployment, "says").exists());

    aws.set_faults(&json!([])).await;
    said(&standalone, "logs are sent to CloudWatch again").await;
    eventually("files that are deleted once they are sent", async || {
        let left = ["says", "waits", "paused"].iter().any(|task| log_file(&deployment, task).exists());
        (!left).then_some(())
    })
    .await;
    let log = standalone.log("worker");
    assert_eq!(log.matches("logs cannot be sent to CloudWatch").count(), 1, "{log}");
    let says = messages(&rest, "says").await;
    assert_eq!(says.iter().filter(|line| line["event"] == "printed ü").count(), 1, "{says:?}");
    // Of an attempt that paused, both parts.
    let paused = messages(&rest, "paused").await;
    let poked = |time: &str| paused.iter().any(|line| line["event"] == format!("poked, the second time: {time}"));
    assert!(poked("False") && poked("True"), "{paused:?}");

    client.delete_log_group().log_group_name("named-by-airflow").send().await.expect("a deleted group");
    rest.trigger("talkative", "run:2").await;
    assert_eq!(rest.final_state("talkative", "run:2").await, "success");
    eventually("a group that was made anew", async || {
        (!streams(&client, "named-by-airflow").await.is_empty()).then_some(())
    })
    .await;
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn logs_are_uploaded_to_s3_and_read_back() {
    let aws = AwsEmulator::start();
    let bucket = TestBucket::create(&aws, BUCKET).await;
    let deployment = talkative(&aws)
        .await
        .with("AIRFLOW__LOGGING__REMOTE_LOGGING", "True")
        .with("AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER", format!("s3://{BUCKET}/some/logs"))
        .with("AIRFLOW__LOGGING__ENCRYPT_S3_LOGS", "True");
    release(&deployment);
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    rest.unpause("talkative").await;
    aws.set_faults(
        &json!([{"path": format!("/{BUCKET}/some"), "method": "PUT", "status": 403, "code": "AccessDenied"}]),
    )
    .await;
    rest.trigger("talkative", "run:1").await;
    assert_eq!(rest.final_state("talkative", "run:1").await, "success");
    said(&standalone, "s3:PutObject on bucket \"my-logs\" was refused (AccessDenied)").await;
    let local = messages(&rest, "says").await;
    assert!(local.iter().any(|line| line["event"] == "printed ü"), "{local:?}");

    aws.set_faults(&json!([])).await;
    let folder = deployment.home().join("logs/dag_id=talkative/run_id=run:1");
    eventually("uploads of all files", async || {
        let files = ["says", "waits", "paused"].map(|task| folder.join(format!("task_id={task}")));
        let left = files.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().count();
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(messages(&rest, "says").await, local);
    let address = "s3://my-logs/some/logs/dag_id=talkative/run_id=run:1/task_id=says/attempt=1.log";
    let content = rest.get(&log_path("says")).await["content"].clone();
    assert_eq!(content[1], json!({"event": address}));
    assert!(bucket.is_encrypted(address.strip_prefix("s3://my-logs/").expect("a key")).await);
    let paused = messages(&rest, "paused").await;
    let poked = |time: &str| paused.iter().any(|line| line["event"] == format!("poked, the second time: {time}"));
    assert!(poked("False") && poked("True"), "{paused:?}");
    let log = standalone.log("worker");
    assert_eq!(log.matches("logs cannot be uploaded to S3").count(), 1, "{log}");
    standalone.end(Signal::SIGTERM);
}

/// A deployment whose Dag writes logs.
async fn talkative(aws: &AwsEmulator) -> Deployment {
    let deployment = Deployment::new(&[workspace().join("tests/aws/dags/talkative.py")]).await;
    let deployment = deployment.with("AIRFLOW__TRADEWIND__ENVIRONMENT_NAME", ENVIRONMENT);
    aws.variables().into_iter().fold(deployment, |deployment, (name, value)| deployment.with(name, value))
}

/// Lets the task that waits go on.
fn release(deployment: &Deployment) {
    std::fs::write(deployment.home().join("release"), "").expect("a file");
}

fn stream(run_id: &str, task: &str) -> String {
    format!("dag_id=talkative/run_id={run_id}/task_id={task}/attempt=1.log")
}

fn log_file(deployment: &Deployment, task: &str) -> std::path::PathBuf {
    deployment.home().join("logs").join(stream("run:1", task))
}

fn lines(file: &std::path::Path) -> Vec<String> {
    std::fs::read_to_string(file).expect("a log").lines().map(str::to_owned).collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn log_path(task: &str) -> String {
    format!("dags/talkative/dagRuns/run:1/taskInstances/{task}/logs/1")
}

/// The lines of a log, without its heading.
async fn messages(rest: &Rest, task: &str) -> Vec<Value> {
    let log = rest.get(&log_path(task)).await;
    let content = log["content"].as_array().expect("lines").clone();
    let heading = content.iter().position(|line| line["event"] == "::endgroup::").expect("the end of the heading");
    content[heading + 1..].to_vec()
}

/// What a stream of the group of tasks has, if there is one.
async fn events(client: &Client, stream: &str) -> Vec<String> {
    let request = client.get_log_events().log_group_name(TASK_GROUP).log_stream_name(stream).start_from_head(true);
    let Ok(answer) = request.send().await else { return Vec::new() };
    answer.events().iter().filter_map(|event| event.message()).map(str::to_owned).collect()
}

/// The streams of a group, if there is one.
async fn streams(client: &Client, group: &str) -> Vec<String> {
    let Ok(answer) = client.describe_log_streams().log_group_name(group).send().await else { return Vec::new() };
    answer.log_streams().iter().filter_map(|stream| stream.log_stream_name()).map(str::to_owned).collect()
}

/// Waits until the worker has said something.
async fn said(standalone: &Standalone, words: &str) {
    eventually(words, async || standalone.log("worker").contains(words).then_some(())).await;
}
