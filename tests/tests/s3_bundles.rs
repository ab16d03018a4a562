//! Dags that come from a bucket.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tradewind_tests::aws::AwsEmulator;
use tradewind_tests::deployment::{Deployment, Standalone};
use tradewind_tests::patience::eventually;
use tradewind_tests::program::workspace;
use tradewind_tests::rest::Rest;
use tradewind_tests::s3::TestBucket;

/// How soon an uploaded Dag must be seen.
const SOON: Duration = Duration::from_secs(10);

const BUCKET: &str = "my-bucket";

#[tokio::test]
async fn an_uploaded_dag_is_seen_soon_and_runs() {
    let aws = AwsEmulator::start();
    let bucket = TestBucket::create(&aws, BUCKET).await.with_versions().await;
    let deployment = reading_from(&aws).await;
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;

    upload_held(&bucket, 1).await;
    let uploaded = Instant::now();
    rest.dag_is_known("held").await;
    assert!(uploaded.elapsed() < SOON, "the Dag was seen after {:?}", uploaded.elapsed());

    release(&deployment);
    rest.unpause("held").await;
    rest.trigger("held", "run").await;
    assert_eq!(rest.final_state("held", "run").await, "success");
    let version = rest.get("dags/held/dagRuns/run").await["bundle_version"].as_str().expect("a version").to_owned();
    let file = format!("dag_bundles/dags-folder/versions/{version}/held.py");
    assert_eq!(seen(&rest, "run").await, json!([1, 1, file]));
    let versions = rest.get("dags/held/dagVersions").await;
    assert_eq!(versions["dag_versions"][0]["bundle_version"], json!(version), "{versions}");

    bucket.delete("dags/held.py").await;
    let is_gone = |dags: &Value| dags["total_entries"] == 0;
    rest.get_until("dags?dag_id_pattern=held", is_gone).await;
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn a_run_keeps_its_code_while_newer_code_arrives() {
    let aws = AwsEmulator::start();
    let bucket = TestBucket::create(&aws, BUCKET).await.with_versions().await;
    let running = Running::start(&aws, &bucket).await;
    running.replace_module(&bucket).await;
    bucket.put("dags/moved/held.py", held()).await;
    bucket.delete("dags/held.py").await;
    running.rest.get_until("dags/held", |dag| dag["relative_fileloc"] == "moved/held.py").await;
    // As on a machine that has never had it.
    running.remove_snapshot();
    release(&running.deployment);
    assert_eq!(running.rest.final_state("held", "old").await, "success");
    let file = format!("dag_bundles/dags-folder/versions/{}/held.py", running.version);
    assert_eq!(seen(&running.rest, "old").await, json!([1, 1, file]));
    running.rest.trigger("held", "new").await;
    assert_eq!(running.rest.final_state("held", "new").await, "success");
    assert_eq!(numbers(&seen(&running.rest, "new").await), [2, 2]);
    running.standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn without_versions_a_changed_object_fails_the_attempt_that_needs_it() {
    let aws = AwsEmulator::start();
    let bucket = TestBucket::create(&aws, BUCKET).await;
    let running = Running::start(&aws, &bucket).await;
    running.replace_module(&bucket).await;
    running.remove_snapshot();
    release(&running.deployment);
    assert_eq!(running.rest.final_state("held", "old").await, "failed");
    let log = running.rest.get("dags/held/dagRuns/old/taskInstances/second/logs/1").await.to_string();
    for words in ["dags/release.py", "was changed or deleted", "enable versioning of the bucket"] {
        assert!(log.contains(words), "{log}");
    }
    running.rest.trigger("held", "new").await;
    assert_eq!(running.rest.final_state("held", "new").await, "success");
    running.standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn what_cannot_be_used_is_told_and_changes_nothing() {
    let aws = AwsEmulator::start();
    let bucket = TestBucket::create(&aws, BUCKET).await;
    upload_held(&bucket, 1).await;
    let deployment = reading_from(&aws).await;
    release(&deployment);
    let standalone = deployment.start().await;
    let broken = Broken { rest: standalone.log_in().await, health: standalone.monitor("dag-processor") };
    broken.rest.unpause("held").await;

    bucket.begin_upload("dags/begun.py", "import airflow").await;
    bucket.put("dags/../escaping.py", "").await;
    broken.is_told("dags/../escaping.py\\\" has a part \\\".\\\" or \\\"..\\\"").await;
    bucket.delete("dags/../escaping.py").await;
    broken.is_cured().await;

    bucket.put("dags//absolute.py", "").await;
    broken.is_told("dags//absolute.py\\\" is an absolute path").await;
    bucket.delete("dags//absolute.py").await;
    broken.is_cured().await;

    bucket.put("dags/held.py/inner.py", "").await;
    broken.is_told("dags/held.py\\\" lies where others").await;
    bucket.delete("dags/held.py/inner.py").await;
    broken.is_cured().await;

    bucket.put("dags/packed.zip", &b"PK\x03\x04 and no more"[..]).await;
    broken.is_told("the zip archive \\\"dags/packed.zip\\\" cannot be read").await;
    bucket.delete("dags/packed.zip").await;
    broken.is_cured().await;

    aws.set_faults(&json!([{"path": format!("/{BUCKET}/dags/new.py"), "method": "GET", "bytes": 5}])).await;
    bucket.put("dags/new.py", "# ten bytes").await;
    broken.is_told("object \\\"dags/new.py\\\" broke off while it was fetched").await;
    aws.set_faults(&json!([])).await;
    broken.is_cured().await;

    let fails = |status: u16, code: &str| json!([{"path": format!("/{BUCKET}"), "status": status, "code": code}]);
    aws.set_faults(&fails(403, "AccessDenied")).await;
    broken.is_told("s3:ListBucket on bucket \\\"my-bucket\\\" was refused (AccessDenied)").await;
    aws.set_faults(&fails(404, "NoSuchBucket")).await;
    broken.is_told("bucket \\\"my-bucket\\\" does not exist").await;

    // Nothing of this concerns what was there before.
    broken.rest.trigger("held", "meanwhile").await;
    assert_eq!(broken.rest.final_state("held", "meanwhile").await, "success");
    standalone.end(Signal::SIGTERM);

    // Nor when everything starts anew while the bucket is away.
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    rest.trigger("held", "afterwards").await;
    assert_eq!(rest.final_state("held", "afterwards").await, "success");
    standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn airflows_own_bundle_of_s3_is_understood() {
    let aws = AwsEmulator::start();
    let bucket = TestBucket::create(&aws, BUCKET).await;
    upload_held(&bucket, 7).await;
    let bundles = json!([{
        "name": "from-s3",
        "classpath": "airflow.providers.amazon.aws.bundles.s3.S3DagBundle",
        "kwargs": {"bucket_name": BUCKET, "prefix": "dags", "aws_conn_id": "aws_default"},
    }]);
    let deployment = with_emulator(Deployment::new(&[]).await, &aws)
        .with("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", bundles.to_string());
    release(&deployment);
    let standalone = deployment.start().await;
    let rest = standalone.log_in().await;
    rest.unpause("held").await;
    assert_eq!(rest.get("dags/held").await["bundle_name"], "from-s3");
    rest.trigger("held", "run").await;
    assert_eq!(rest.final_state("held", "run").await, "success");
    assert_eq!(numbers(&seen(&rest, "run").await), [7, 7]);
    standalone.end(Signal::SIGTERM);
}

/// A run whose first task waits.
struct Running {
    // Ended before its folder is removed.
    standalone: Standalone,
    deployment: Deployment,
    rest: Rest,
    version: String,
}

impl Running {
    async fn start(aws: &AwsEmulator, bucket: &TestBucket) -> Self {
        upload_held(bucket, 1).await;
        let deployment = reading_from(aws).await;
        let standalone = deployment.start().await;
        let rest = standalone.log_in().await;
        rest.unpause("held").await;
        rest.trigger("held", "old").await;
        let is_running = |task: &Value| task["state"] == "running" && !task["pid"].is_null();
        rest.get_until("dags/held/dagRuns/old/taskInstances/first", is_running).await;
        let version = rest.get("dags/held").await["bundle_version"].as_str().expect("a version").to_owned();
        Self { standalone, deployment, rest, version }
    }

    /// Uploads another version of a module, and waits until new runs will take it.
    async fn replace_module(&self, bucket: &TestBucket) {
        bucket.put("dags/release.py", module(2)).await;
        let is_new = |dag: &Value| dag["bundle_version"] != json!(self.version);
        self.rest.get_until("dags/held", is_new).await;
        // The Dag itself has not changed.
        assert_eq!(self.rest.get("dags/held/dagVersions").await["total_entries"], 1);
    }

    fn remove_snapshot(&self) {
        let versions = self.deployment.home().join("dag_bundles/dags-folder/versions");
        std::fs::remove_dir_all(versions.join(&self.version)).expect("the snapshot of the run");
    }
}

/// A deployment whose bucket cannot be used, now and then.
struct Broken {
    rest: Rest,
    health: String,
}

impl Broken {
    /// Waits until the failure is shown; the last good Dags stay.
    async fn is_told(&self, words: &str) {
        let shows = |errors: &Value| {
            errors["import_errors"]
                .as_array()
                .is_some_and(|errors| errors.iter().any(|error| error.to_string().contains(words)))
        };
        let errors = self.rest.get_until("importErrors", shows).await;
        assert_eq!(errors["total_entries"], 1, "{errors}");
        let error = &errors["import_errors"][0];
        assert_eq!(
            (&error["filename"], &error["bundle_name"]),
            (&json!("s3://my-bucket/dags/"), &json!("dags-folder"))
        );
        assert!(error.to_string().contains("of its Dags stays in use"), "{error}");
        let health = self.bundle().await;
        assert!(health["error"].to_string().contains(words), "{health}");
        assert_eq!(self.rest.get("dags?dag_id_pattern=held").await["total_entries"], 1);
    }

    async fn is_cured(&self) {
        self.rest.get_until("importErrors", |errors| errors["total_entries"] == 0).await;
        eventually("a healthy bundle", async || self.bundle().await["error"].is_null().then_some(())).await;
    }

    async fn bundle(&self) -> Value {
        let answer = reqwest::get(format!("{}/health", self.health)).await.expect("an answer");
        assert!(answer.status().is_success());
        let health: Value = answer.json().await.expect("JSON");
        health["bundles"][0].clone()
    }
}

/// A deployment whose Dags come from the bucket.
async fn reading_from(aws: &AwsEmulator) -> Deployment {
    let arn = format!("arn:aws:s3:::{BUCKET}");
    with_emulator(Deployment::new(&[]).await, aws).with("AIRFLOW__TRADEWIND__SOURCE_BUCKET_ARN", arn)
}

fn with_emulator(deployment: Deployment, aws: &AwsEmulator) -> Deployment {
    aws.variables().into_iter().fold(deployment, |deployment, (name, value)| deployment.with(name, value))
}

async fn upload_held(bucket: &TestBucket, number: u32) {
    bucket.put("dags/release.py", module(number)).await;
    bucket.put("dags/held.py", held()).await;
}

fn held() -> Vec<u8> {
    std::fs::read(workspace().join("tests/aws/dags/held.py")).expect("the Dag file")
}

fn module(number: u32) -> String {
    format!("NUMBER = {number}\n")
}

/// Lets the first task end.
fn release(deployment: &Deployment) {
    std::fs::write(deployment.home().join("release"), "").expect("a file");
}

/// What the second task of a run has seen.
async fn seen(rest: &Rest, run_id: &str) -> Value {
    rest.get(&format!("dags/held/dagRuns/{run_id}/taskInstances/second/xcomEntries/return_value")).await["value"]
        .clone()
}

fn numbers(seen: &Value) -> Vec<u64> {
    seen.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}
