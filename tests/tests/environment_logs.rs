//! What pip and the start-up script say, in streams of CloudWatch.
#![forbid(unsafe_code)]

use std::path::Path;

use aws_sdk_cloudwatchlogs::Client;
use nix::sys::signal::Signal;
use serde_json::json;
use tradewind_tests::aws::AwsEmulator;
use tradewind_tests::deployment::{Deployment, Standalone};
use tradewind_tests::patience::eventually;
use tradewind_tests::s3::TestBucket;

const BUCKET: &str = "my-bucket";

const SCHEDULER: &str = "airflow-MyAirflowEnvironment-Scheduler";
const WORKER: &str = "airflow-MyAirflowEnvironment-Worker";

const REQUIREMENTS: &str = "requirements_install";
const SCRIPT: &str = "startup_script_execution";

const GOOD_SCRIPT: &str = "echo said by the script of a $MWAA_AIRFLOW_COMPONENT
echo
echo '{\"timestamp\": \"2026-01-01T00:00:00Z\", \"level\": \"debug\", \"event\": \"looks like an event\"}'
echo an error >&2
echo with $WORD_PASSWORD
";

const PASSWORD: &str = "hide-and-seek";

const GOOD_REQUIREMENTS: &str = "--no-index\nrequests\n";

#[tokio::test]
async fn what_builds_say_is_in_streams_whatever_the_level_and_however_they_end() {
    let aws = AwsEmulator::start();
    let client = Client::new(aws.account().await.config());
    let bucket = TestBucket::create(&aws, BUCKET).await;
    bucket.put("requirements.txt", GOOD_REQUIREMENTS).await;
    bucket.put("startup.sh", GOOD_SCRIPT).await;
    let deployment = deployment(&aws).await;
    let standalone = deployment.start().await;

    let word = "the start-up script took ";
    let stream = stream_with(&client, SCHEDULER, SCRIPT, &["said by the script of a scheduler", word]).await;
    assert_eq!(
        stream[1..4],
        [
            r#"{"timestamp": "2026-01-01T00:00:00Z", "level": "debug", "event": "looks like an event"}"#,
            "an error",
            "with ***"
        ]
    );
    stream_with(&client, SCHEDULER, REQUIREMENTS, &["the installation of the requirements took "]).await;

    // Nothing is sent while it is refused, and all of it afterwards.
    let refusal = json!({
        "path": "/", "target": "Logs_20140328.PutLogEvents", "status": 400, "code": "AccessDeniedException"
    });
    aws.set_faults(&json!([refusal])).await;
    bucket.put("requirements.txt", "--no-index\nnowhere-to-be-found==9\n").await;
    said(&standalone, "the last good one stays").await;
    aws.set_faults(&json!([])).await;
    let failed = "the installation of the requirements failed (exit status: ";
    let failure = stream_with(&client, SCHEDULER, REQUIREMENTS, &["nowhere-to-be-found", failed]).await;
    assert!(failure.iter().any(|line| line.contains("nowhere-to-be-found")), "{failure:?}");

    bucket.put("requirements.txt", "-c /usr/local/airflow/dags/none.txt\n").await;
    stream_with(&client, SCHEDULER, REQUIREMENTS, &["s3://my-bucket/requirements.txt cannot be used: ", "none.txt"])
        .await;
    bucket.put("requirements.txt", GOOD_REQUIREMENTS).await;
    bucket.put("startup.sh", "echo on purpose\nprintf 'and no more'\nexit 3\n").await;
    let failed = "the start-up script failed (exit status: 3) after ";
    let failure = stream_with(&client, SCHEDULER, SCRIPT, &["on purpose", failed]).await;
    assert_eq!(failure[..2], ["on purpose", "and no more"]);

    // A part of it is there before it ends.
    let waits = "echo begun\nwhile [ ! -e \"$AIRFLOW_HOME/release\" ]; do sleep 0.1; done\necho released\nsleep 1000\n";
    bucket.put("startup.sh", waits).await;
    let begun = stream_with(&client, SCHEDULER, SCRIPT, &["begun"]).await;
    assert_eq!(begun, ["begun"]);
    std::fs::write(deployment.home().join("release"), "").expect("a file");
    let stopped = "the start-up script did not end within 8s and was stopped";
    let timed_out = stream_with(&client, SCHEDULER, SCRIPT, &["begun", stopped]).await;
    assert_eq!(timed_out, ["begun", "released", stopped]);
    standalone.end(Signal::SIGTERM);

    // Each holds what a file holds. What the worker did is in files alone: its group is switched off.
    for what in [REQUIREMENTS, SCRIPT] {
        let files = files(&deployment.home().join("logs/python_environments"), what);
        let streams = streams(&client, SCHEDULER, what).await;
        assert!(streams.iter().all(|stream| files.contains(stream)), "{streams:?}\n{files:?}");
        assert!(streams.len() < files.len(), "{streams:?}\n{files:?}");
    }
    assert!(streams(&client, WORKER, "").await.is_empty());
}

#[tokio::test]
async fn what_a_worker_builds_is_in_the_group_of_workers() {
    let aws = AwsEmulator::start();
    let client = Client::new(aws.account().await.config());
    let bucket = TestBucket::create(&aws, BUCKET).await;
    bucket.put("requirements.txt", GOOD_REQUIREMENTS).await;
    bucket.put("startup.sh", GOOD_SCRIPT).await;
    let deployment = deployment(&aws)
        .await
        .with("AIRFLOW__TRADEWIND__SCHEDULER_LOGS_ENABLED", "False")
        .with("AIRFLOW__TRADEWIND__WORKER_LOGS_ENABLED", "True");
    let standalone = deployment.start().await;
    stream_with(&client, WORKER, SCRIPT, &["said by the script of a worker", "the start-up script took "]).await;
    stream_with(&client, WORKER, REQUIREMENTS, &["importing Airflow after the installation took "]).await;
    standalone.end(Signal::SIGTERM);
    assert!(streams(&client, SCHEDULER, "").await.is_empty());
}

/// The group of schedulers takes nothing of what they say of themselves.
async fn deployment(aws: &AwsEmulator) -> Deployment {
    let deployment = Deployment::new(&[])
        .await
        .with("AIRFLOW__TRADEWIND__SOURCE_BUCKET_ARN", format!("arn:aws:s3:::{BUCKET}"))
        .with("AIRFLOW__TRADEWIND__S3_REFRESH_INTERVAL", "1")
        .with("AIRFLOW__TRADEWIND__REQUIREMENTS_S3_PATH", "requirements.txt")
        .with("AIRFLOW__TRADEWIND__STARTUP_SCRIPT_S3_PATH", "startup.sh")
        .with("AIRFLOW__TRADEWIND__STARTUP_SCRIPT_TIMEOUT", "8")
        .with("AIRFLOW__TRADEWIND__ENVIRONMENT_NAME", "MyAirflowEnvironment")
        .with("AIRFLOW__TRADEWIND__SCHEDULER_LOGS_ENABLED", "True")
        .with("AIRFLOW__TRADEWIND__SCHEDULER_LOGS_LEVEL", "CRITICAL")
        .with("WORD_PASSWORD", PASSWORD);
    aws.variables().into_iter().fold(deployment, |deployment, (name, value)| deployment.with(name, value))
}

/// Waits for a stream that has lines with all of these words, and answers its lines.
async fn stream_with(client: &Client, group: &str, what: &str, words: &[&str]) -> Vec<String> {
    eventually(&format!("{words:?} in {group}"), async || {
        let has = |stream: &Vec<String>| words.iter().all(|words| stream.iter().any(|line| line.contains(words)));
        streams(client, group, what).await.into_iter().find(has)
    })
    .await
}

/// The lines of each stream of a kind, whose name says when it began and where.
async fn streams(client: &Client, group: &str, what: &str) -> Vec<Vec<String>> {
    let Ok(answer) = client.describe_log_streams().log_group_name(group).send().await else { return Vec::new() };
    let names = answer.log_streams().iter().filter_map(|stream| stream.log_stream_name());
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let begin = format!("{what}_{}_", machine.trim_end());
    let mut streams = Vec::new();
    for name in names.filter(|name| name.starts_with(what)) {
        let epoch = name.strip_prefix(&begin).and_then(|rest| rest.strip_suffix(".log"));
        assert!(what.is_empty() || epoch.is_some_and(|epoch| epoch.parse::<u64>().is_ok()), "{name}");
        let request = client.get_log_events().log_group_name(group).log_stream_name(name).start_from_head(true);
        let events = request.send().await.expect("events");
        streams.push(events.events().iter().filter_map(|event| event.message()).map(str::to_owned).collect());
    }
    streams
}

/// The lines of each file of a kind, but for what no stream holds.
fn files(folder: &Path, what: &str) -> Vec<Vec<String>> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path());
    let paths = entries.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(what)));
    let texts = paths.map(|path| std::fs::read_to_string(path).expect("a log").replace(PASSWORD, "***"));
    texts.map(|text| text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()).collect()
}

/// Waits until the Dag processor has said something.
async fn said(standalone: &Standalone, words: &str) {
    eventually(words, async || standalone.log("dag-processor").contains(words).then_some(())).await;
}
