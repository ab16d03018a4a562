//! Python environments that a bucket describes: `requirements.txt`, `plugins.zip`, and a start-up script.
#![forbid(unsafe_code)]

use std::io::{Cursor, Write as _};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tradewind_tests::aws::AwsEmulator;
use tradewind_tests::deployment::{Deployment, Standalone};
use tradewind_tests::patience::eventually;
use tradewind_tests::rest::Rest;
use tradewind_tests::s3::TestBucket;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const BUCKET: &str = "my-bucket";

/// A package that is nowhere but in the bucket, in a Dag whose first task waits.
const DAG: &str = r#"
import os
import pathlib
import subprocess
import sys
import time

import greeting
from airflow.sdk import dag, task


@dag(schedule=None)
def greets():
    @task
    def waits():
        while not pathlib.Path(os.environ["AIRFLOW_HOME"], "release").exists():
            time.sleep(0.1)
        # A program of the environment, too.
        said = subprocess.check_output([sys.executable, "-c", "import greeting; print(greeting.NUMBER)"], text=True)
        return [greeting.NUMBER, int(said)]

    @task
    def tells():
        return [os.environ.get("STAGE"), os.environ["AIRFLOW_HOME"], os.environ["MWAA_AIRFLOW_COMPONENT"]]

    waits() >> tells()


greets()
"#;

const PLUGIN: &str = "
from airflow.plugins_manager import AirflowPlugin


class FromBucket(AirflowPlugin):
    name = 'from_bucket'
";

const SCRIPT: &str = "#!/bin/sh\nexport STAGE=$MWAA_AIRFLOW_COMPONENT-stage AIRFLOW_HOME=/nowhere\n";

/// The wheels are among the plugins, where an Amazon MWAA environment unpacks them.
const WHEELS: &str = "--find-links /usr/local/airflow/plugins\n--no-index\n";

#[tokio::test]
async fn what_the_bucket_describes_is_used_and_an_attempt_ends_in_what_it_began_in() {
    let aws = AwsEmulator::start();
    let bucket = TestBucket::create(&aws, BUCKET).await.with_versions().await;
    bucket.put("dags/greets.py", DAG).await;
    bucket.put("plugins.zip", plugins()).await;
    bucket.put("requirements.txt", format!("{WHEELS}greeting==1.0\n")).await;
    bucket.put("startup.sh", SCRIPT).await;
    let deployment = deployment(&aws).await;
    let running = Running::start(&deployment).await;
    let first = running.version("dag-processor", None).await;
    running.version("worker", None).await;

    let plugins = |plugins: &Value| plugins.to_string().contains("from_bucket");
    running.rest.get_until("plugins", plugins).await;
    running.rest.unpause("greets").await;
    running.rest.trigger("greets", "old").await;
    let is_running = |task: &Value| task["state"] == "running" && !task["pid"].is_null();
    running.rest.get_until("dags/greets/dagRuns/old/taskInstances/waits", is_running).await;

    let worker = running.health("worker").await["version"].clone();
    bucket.put("dags/constraints.txt", "greeting==2.0\n").await;
    let constrained = format!("-c \"/usr/local/airflow/dags/constraints.txt\"\n{WHEELS}greeting\n");
    bucket.put("requirements.txt", constrained).await;
    running.version("dag-processor", Some(&first)).await;
    running.version("worker", Some(&worker)).await;
    std::fs::write(deployment.home().join("release"), "").expect("a file");
    assert_eq!(running.rest.final_state("greets", "old").await, "success");
    assert_eq!(running.returned("old", "waits").await, json!([1, 1]));
    running.rest.trigger("greets", "new").await;
    assert_eq!(running.rest.final_state("greets", "new").await, "success");
    assert_eq!(running.returned("new", "waits").await, json!([2, 2]));
    assert_eq!(running.returned("new", "tells").await, json!(["worker-stage", deployment.home(), "worker"]));
    let log = running.standalone.log("worker");
    assert!(log.contains("a tradewind-pyhost that was replaced has no children any more"), "{log}");
    assert!(log.contains("exports variables that are reserved") && log.contains("AIRFLOW_HOME"), "{log}");
    running.standalone.end(Signal::SIGTERM);

    // Nothing is built anew.
    let running = Running::start(&deployment).await;
    running.rest.trigger("greets", "again").await;
    assert_eq!(running.rest.final_state("greets", "again").await, "success");
    assert_eq!(running.returned("again", "waits").await, json!([2, 2]));
    running.standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn what_cannot_be_built_is_told_and_changes_nothing() {
    let aws = AwsEmulator::start();
    let bucket = TestBucket::create(&aws, BUCKET).await.with_versions().await;
    bucket.put("dags/greets.py", DAG).await;
    bucket.put("plugins.zip", plugins()).await;
    let requirements = format!("{WHEELS}greeting==1.0\n");
    bucket.put("requirements.txt", &requirements).await;
    bucket.put("startup.sh", SCRIPT).await;
    let deployment = deployment(&aws).await;
    std::fs::write(deployment.home().join("release"), "").expect("a file");
    let running = Running::start(&deployment).await;
    running.rest.unpause("greets").await;
    let version = running.version("dag-processor", None).await;

    for (text, words) in [
        (format!("{WHEELS}greeting==9\n"), "No matching distribution found for greeting==9"),
        (format!("{WHEELS}apache-airflow==2.11.0\n"), "apache-airflow==2.11.0"),
        (
            "-c /usr/local/airflow/dags/none.txt\n".to_owned(),
            "dags/none.txt\\\" of bucket \\\"my-bucket\\\" was changed or deleted",
        ),
        (format!("{WHEELS}lonely\n"), "No matching distribution found for company"),
    ] {
        bucket.put("requirements.txt", text).await;
        running.is_told("requirements.txt", words).await;
    }
    bucket.put("requirements.txt", &requirements).await;
    running.is_cured(&version).await;

    for (archive, words) in [
        (b"PK and no more".to_vec(), "it cannot be read"),
        (packed(&[("../escaped.py", b"")]), "\\\"../escaped.py\\\" lies outside of the plugins folder"),
    ] {
        bucket.put("plugins.zip", archive).await;
        running.is_told("plugins.zip", words).await;
    }
    bucket.put("plugins.zip", plugins()).await;
    running.is_cured(&version).await;

    for (script, words) in [
        ("echo on purpose >&2\nexit 3\n", "exit status: 3): on purpose"),
        ("echo for good\nsleep 1000\n", "did not end within 3s and was stopped; it had said: for good"),
    ] {
        bucket.put("startup.sh", script).await;
        running.is_told("startup.sh", words).await;
    }
    bucket.delete("startup.sh").await;
    running.is_told("startup.sh", "it is not in the bucket").await;

    // Nothing of this concerns what was there before.
    running.rest.trigger("greets", "meanwhile").await;
    assert_eq!(running.rest.final_state("greets", "meanwhile").await, "success");
    assert_eq!(running.returned("meanwhile", "waits").await, json!([1, 1]));
    running.standalone.end(Signal::SIGTERM);

    // Nor when everything starts anew.
    let running = Running::start(&deployment).await;
    running.rest.trigger("greets", "afterwards").await;
    assert_eq!(running.rest.final_state("greets", "afterwards").await, "success");
    bucket.put("startup.sh", SCRIPT).await;
    running.is_cured(&version).await;
    running.standalone.end(Signal::SIGTERM);
}

#[tokio::test]
async fn a_version_that_is_asked_for_counts_whatever_is_newer() {
    let aws = AwsEmulator::start();
    let bucket = TestBucket::create(&aws, BUCKET).await.with_versions().await;
    let version = bucket.put("plugins.zip", plugins()).await.expect("a version");
    bucket.put("plugins.zip", "no archive").await;
    let of = |version: &str| {
        let version = version.to_owned();
        async {
            let deployment = on_bucket(&aws).await.with("AIRFLOW__TRADEWIND__PLUGINS_S3_PATH", "plugins.zip");
            deployment.with("AIRFLOW__TRADEWIND__PLUGINS_S3_OBJECT_VERSION", version)
        }
    };
    let deployment = of(&version).await;
    let running = Running::start(&deployment).await;
    running.version("dag-processor", None).await;
    running.rest.get_until("plugins", |plugins| plugins.to_string().contains("from_bucket")).await;
    assert_eq!(running.rest.get("importErrors").await["total_entries"], 0);
    running.standalone.end(Signal::SIGTERM);

    let deployment = of("of-no-object").await;
    let running = Running::start(&deployment).await;
    let shows = |errors: &Value| errors.to_string().contains("version of-no-object of it is not in the bucket");
    let errors = running.rest.get_until("importErrors", shows).await.to_string();
    assert!(errors.contains("The installed packages stay in use.") && errors.contains("plugins_s3_path"), "{errors}");
    running.standalone.end(Signal::SIGTERM);
}

async fn deployment(aws: &AwsEmulator) -> Deployment {
    let deployment = on_bucket(aws).await;
    deployment
        .with("AIRFLOW__TRADEWIND__REQUIREMENTS_S3_PATH", "requirements.txt")
        .with("AIRFLOW__TRADEWIND__PLUGINS_S3_PATH", "plugins.zip")
        .with("AIRFLOW__TRADEWIND__STARTUP_SCRIPT_S3_PATH", "startup.sh")
        .with("AIRFLOW__TRADEWIND__STARTUP_SCRIPT_TIMEOUT", "3")
}

async fn on_bucket(aws: &AwsEmulator) -> Deployment {
    let deployment = Deployment::new(&[])
        .await
        .with("AIRFLOW__TRADEWIND__SOURCE_BUCKET_ARN", format!("arn:aws:s3:::{BUCKET}"))
        .with("AIRFLOW__TRADEWIND__S3_REFRESH_INTERVAL", "1");
    aws.variables().into_iter().fold(deployment, |deployment, (name, value)| deployment.with(name, value))
}

/// A deployment that runs.
struct Running {
    standalone: Standalone,
    rest: Rest,
}

impl Running {
    async fn start(deployment: &Deployment) -> Self {
        let standalone = deployment.start().await;
        let rest = standalone.log_in().await;
        Self { standalone, rest }
    }

    /// How the environment of a component is.
    async fn health(&self, component: &str) -> Value {
        let monitor = self.standalone.monitor(component);
        let answer = reqwest::get(format!("{monitor}/health")).await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        answer.json::<Value>().await.expect("JSON")["python_environment"].clone()
    }

    /// Waits until a component works in an environment, and in another than this one.
    async fn version(&self, component: &str, before: Option<&Value>) -> Value {
        eventually("another environment", async || {
            let version = self.health(component).await["version"].clone();
            (!version.is_null() && Some(&version) != before).then_some(version)
        })
        .await
    }

    async fn returned(&self, run_id: &str, task_id: &str) -> Value {
        let path = format!("dags/greets/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value");
        self.rest.get(&path).await["value"].clone()
    }

    /// Waits until the failure is shown, as an import error of the object, in the health of the Dag processor, and in its log.
    async fn is_told(&self, object: &str, words: &str) {
        let url = format!("s3://{BUCKET}/{object}");
        let shows = |errors: &Value| {
            let mut errors = errors["import_errors"].as_array().into_iter().flatten();
            errors.any(|error| error["filename"] == json!(url) && error.to_string().contains(words))
        };
        let errors = self.rest.get_until("importErrors", shows).await;
        assert_eq!(errors["total_entries"], 1, "{errors}");
        assert!(errors.to_string().contains("of the environment stays in use"), "{errors}");
        let health = self.health("dag-processor").await;
        assert!(health["error"].to_string().contains(words), "{health}");
        let log = self.standalone.log("dag-processor");
        assert!(log.contains("the last good one stays") && log.contains(&url), "{log}");
    }

    async fn is_cured(&self, version: &Value) {
        self.rest.get_until("importErrors", |errors| errors["total_entries"] == 0).await;
        let health = self.health("dag-processor").await;
        assert_eq!((&health["version"], &health["error"]), (version, &Value::Null));
    }
}

/// The plugins folder of the bucket: a plugin, and wheels.
fn plugins() -> Vec<u8> {
    let number = |number: u32| format!("NUMBER = {number}\n");
    packed(&[
        ("from_bucket.py", PLUGIN.as_bytes()),
        ("greeting-1.0-py3-none-any.whl", &wheel("greeting", "1.0", &number(1), "")),
        ("greeting-2.0-py3-none-any.whl", &wheel("greeting", "2.0", &number(2), "")),
        ("lonely-1.0-py3-none-any.whl", &wheel("lonely", "1.0", "", "Requires-Dist: company\n")),
    ])
}

fn wheel(name: &str, version: &str, module: &str, needs: &str) -> Vec<u8> {
    let info = format!("{name}-{version}.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}");
    packed(&[
        (&format!("{name}.py"), module.as_bytes()),
        (&format!("{info}/METADATA"), metadata.as_bytes()),
        (&format!("{info}/WHEEL"), b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
        (&format!("{info}/RECORD"), b""),
    ])
}

fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, SimpleFileOptions::default()).expect("a member");
        writer.write_all(content).expect("its content");
    }
    writer.finish().expect("an archive").into_inner()
}
