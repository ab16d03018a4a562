//! Official Airflow code in children of a real pyhost, spoken to over the supervisor protocol. No database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;
use tradewind_airflow::config::{Config, Environment};
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_supervisor::child::{Child, ExitStatus};
use tradewind_supervisor::output::{DAG_PROCESSOR, Forwarder, Limits, TASK};
use tradewind_supervisor::pyhost::{ChildKind, Idle, Kept, Options, PyHost};

const PATIENCE: Duration = Duration::from_secs(120);

const DAG_FILE: &str = r#"
import os, signal, sys, time
from airflow.sdk import dag, task

@dag(schedule=None)
def shapes():
    @task
    def answer():
        print("on standard output")
        print("on standard error", file=sys.stderr)
        print("AIRFLOW__CORE__FERNET_KEY" in os.environ, "TRADEWIND_TEST_MARK" in os.environ)
        return 42

    @task
    def sleep():
        print("sleeping", flush=True)
        time.sleep(2)

    @task
    def sleep_long():
        print("sleeping", flush=True)
        time.sleep(600)

    @task
    def kill_itself():
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def ask_for_a_log_socket():
        from airflow.sdk.execution_time.task_runner import reinit_supervisor_comms
        reinit_supervisor_comms()
        print("after it")

    answer(), sleep(), sleep_long(), kill_itself(), ask_for_a_log_socket()

shapes()
"#;

struct Fixture {
    folder: TempDir,
    options: Options,
    host: PyHost,
}

impl Fixture {
    async fn start(idle: Idle) -> Self {
        Self::start_with(|options| options.with_idle(idle)).await
    }

    async fn start_with(adapt: impl FnOnce(Options) -> Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let dags = folder.path().join("dags");
        std::fs::create_dir(&dags).expect("a folder");
        std::fs::write(dags.join("shapes.py"), DAG_FILE).expect("written");
        let config = Config::from_environment(&Environment::of_process()).expect("a configuration");
        let options = Options::from_config(&config)
            .expect("tradewind-pyhost and the virtual environment; `make test` makes both");
        let options = adapt(options)
            .with_variable("AIRFLOW_HOME", folder.path())
            .with_variable("AIRFLOW__CORE__DAGS_FOLDER", &dags)
            .with_variable("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
            .with_variable("TRADEWIND_TEST_MARK", "1");
        let host = PyHost::start(options.clone()).await.expect("a pyhost");
        Self { folder, options, host }
    }

    fn dags(&self) -> std::path::PathBuf {
        self.folder.path().join("dags")
    }

    async fn spawn(&self, kind: ChildKind) -> Child {
        timeout(PATIENCE, self.host.spawn(kind)).await.expect("in time").expect("a child")
    }

    async fn run(&self, task_id: &str) -> Run {
        let child = self.spawn(ChildKind::Task).await;
        timeout(PATIENCE, attempt(child, task_id, self.folder.path())).await.expect("in time")
    }
}

struct Run {
    requests: Vec<Value>,
    status: ExitStatus,
    log: String,
}

impl Run {
    fn names(&self) -> Vec<&str> {
        self.requests.iter().filter_map(|request| request["type"].as_str()).collect()
    }

    fn xcom(&self) -> &Value {
        self.requests
            .iter()
            .find(|request| request["type"] == "SetXCom")
            .map_or(&Value::Null, |request| &request["value"])
    }
}

fn masker() -> SecretsMasker {
    SecretsMasker::from_config(&Config::from_environment(&Environment::default()).expect("defaults")).expect("defaults")
}

fn startup_details(task_id: &str) -> Value {
    let now = "2026-01-01T00:00:00Z";
    json!({
        "type": "StartupDetails",
        "ti": {"id": "01a1fab2-ffea-776b-9de5-ccf9db3d8200", "task_id": task_id, "dag_id": "shapes", "run_id": "r", "try_number": 1,
            "dag_version_id": "01a1fab1-ce32-7a88-9073-caa4149d5505", "map_index": -1, "hostname": "h", "context_carrier": null, "queue": "default"},
        "dag_rel_path": "shapes.py",
        "bundle_info": {"name": "dags-folder", "version": null},
        "start_date": now,
        "sentry_integration": "",
        "ti_context": {
            "dag_run": {"dag_id": "shapes", "run_id": "r", "logical_date": now, "data_interval_start": now, "data_interval_end": now,
                "run_after": now, "start_date": now, "end_date": null, "run_type": "manual", "state": "running", "conf": {},
                "consumed_asset_events": [], "partition_key": null},
            "max_tries": 0, "task_reschedule_count": 0, "xcom_keys_to_clear": [], "should_retry": false
        }
    })
}

/// Supervises a child that runs the task; answers every request with nothing.
async fn attempt(child: Child, task_id: &str, folder: &Path) -> Run {
    let Child { process, mut requests, output } = child;
    let log = folder.join(format!("{task_id}-{}.log", process.pid()));
    let file = std::fs::File::create(&log).expect("a file");
    let mut forwarder = Forwarder::start(output, TASK, Some(file), masker(), Limits::default());
    requests.send_first(&startup_details(task_id)).await.expect("sent");
    let mut seen = Vec::new();
    while let Some(request) = requests.next().await.expect("a sound frame") {
        if request.body["type"] == "ResendLoggingFD" {
            forwarder.add_log_socket(requests.send_log_socket(request.id).await.expect("sent"));
        } else {
            requests.answer(request.id, None).await.expect("sent");
        }
        seen.push(request.body);
    }
    let status = process.wait().await;
    forwarder.finish(Duration::from_secs(10)).await;
    Run { requests: seen, status, log: std::fs::read_to_string(&log).expect("UTF-8") }
}

async fn is_gone(pid: i32) -> bool {
    let gone = async {
        while kill(Pid::from_raw(pid), None).is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(15), gone).await.is_ok()
}

/// A child that has begun to sleep.
async fn sleeping(fixture: &Fixture, task_id: &str) -> Child {
    let mut child = fixture.spawn(ChildKind::Task).await;
    child.requests.send_first(&startup_details(task_id)).await.expect("sent");
    let request = timeout(PATIENCE, child.requests.next()).await.expect("in time").expect("sound").expect("a request");
    assert_eq!(request.body["type"], "SetRenderedFields");
    child.requests.answer(request.id, None).await.expect("sent");
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_and_its_log_has_airflows_form() {
    let fixture = Fixture::start(Idle::default()).await;
    let run = fixture.run("answer").await;
    fixture.host.stop().await;
    assert_eq!(run.names(), ["SetRenderedFields", "SetXCom", "SucceedTask"], "{}", run.log);
    assert_eq!((run.xcom(), run.status), (&json!(42), ExitStatus::Exited(0)));
    let lines: Vec<Value> = run.log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(
        lines.iter().all(|line| line.as_object().is_some_and(|line| line.keys().take(3).eq([
            "timestamp",
            "level",
            "event"
        ]))),
        "{}",
        run.log
    );
    let has = |level: &str, event: &str, logger: &str| {
        lines.iter().any(|line| line["level"] == level && line["event"] == event && line["logger"] == logger)
    };
    assert!(has("info", "on standard output", "task.stdout"), "{}", run.log);
    assert!(has("error", "on standard error", "task.stderr"), "{}", run.log);
    assert!(has("info", "False True", "task.stdout"), "{}", run.log);
    assert!(has("info", "::group::Pre Execute", "task"), "{}", run.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_may_ask_for_another_log_socket() {
    let fixture = Fixture::start(Idle::default()).await;
    let run = fixture.run("ask_for_a_log_socket").await;
    fixture.host.stop().await;
    assert!(run.names().contains(&"ResendLoggingFD"), "{:?}", run.names());
    assert!(run.log.contains("::group::Post Execute"), "{}", run.log);
    assert_eq!(run.status, ExitStatus::Exited(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signal_that_ended_a_task_is_known() {
    let fixture = Fixture::start(Idle::default()).await;
    let run = fixture.run("kill_itself").await;
    fixture.host.stop().await;
    assert_eq!(run.status, ExitStatus::Signaled(9));
    assert_eq!(run.names(), ["SetRenderedFields"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stubborn_child_is_ended_by_stronger_signals() {
    let fixture = Fixture::start(Idle::default()).await;
    let child = sleeping(&fixture, "sleep_long").await;
    // Nobody answers what it asks after SIGTERM, so it hangs.
    let status = timeout(PATIENCE, child.process.terminate(Signal::SIGTERM, Duration::from_secs(1))).await;
    assert_eq!(status.expect("in time"), ExitStatus::Signaled(9));
    fixture.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_outlives_pyhost_and_new_ones_start() {
    let fixture = Fixture::start(Idle { tasks: 1, dag_files: 0 }).await;
    let child = fixture.spawn(ChildKind::Task).await;
    let running = tokio::spawn({
        let folder = fixture.folder.path().to_owned();
        async move { attempt(child, "sleep", &folder).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let pid = fixture.host.pid().await.expect("a process");
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("killed");
    let next = fixture.run("answer").await;
    assert_eq!((next.xcom(), next.status), (&json!(42), ExitStatus::Exited(0)));
    let run = running.await.expect("no panic");
    assert_eq!((run.names().last(), run.status), (Some(&"SucceedTask"), ExitStatus::Exited(0)), "{}", run.log);
    let started_again = async {
        while fixture.host.pid().await.is_none_or(|now| now == pid) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, started_again).await.expect("in time");
    for _ in 0..2 {
        assert_eq!(fixture.run("answer").await.status, ExitStatus::Exited(0));
    }
    fixture.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_in_the_pyhost_that_it_began_in_and_new_ones_start_in_another() {
    let fixture = Fixture::start(Idle { tasks: 1, dag_files: 0 }).await;
    let before = fixture.host.pid().await.expect("a process");
    let child = fixture.spawn(ChildKind::Task).await;
    let folder = fixture.folder.path().to_owned();
    let running = tokio::spawn(async move { attempt(child, "sleep", &folder).await });
    // One that cannot be started changes nothing.
    let broken = Options { python: fixture.folder.path().join("bin/python"), ..fixture.options.clone() };
    assert!(fixture.host.replace(broken).await.is_err());
    assert_eq!((fixture.host.pid().await, fixture.host.generation()), (Some(before), 0));

    let lock = Arc::new(());
    let kept = Some(Kept(lock.clone()));
    let other = Options { kept, ..fixture.options.clone() }.with_variable("AIRFLOW__CORE__FERNET_KEY", "seen");
    fixture.host.replace(other).await.expect("another one");
    assert_eq!(fixture.host.generation(), 1);
    let next = fixture.run("answer").await;
    assert!(next.log.contains("True True"), "its variables are others: {}", next.log);
    let run = running.await.expect("no panic");
    assert_eq!((run.names().last(), run.status), (Some(&"SucceedTask"), ExitStatus::Exited(0)), "{}", run.log);
    assert!(is_gone(i32::try_from(before).expect("a pid")).await, "the one before is still there");
    assert!(Arc::strong_count(&lock) > 1, "what it needs is kept");
    fixture.host.replace(fixture.options.clone()).await.expect("a third one");
    until(|| Arc::strong_count(&lock) == 1).await;
    fixture.host.stop().await;
    assert!(fixture.host.spawn(ChildKind::Task).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_leaves_no_process_behind() {
    let fixture = Fixture::start(Idle { tasks: 2, dag_files: 1 }).await;
    let child = sleeping(&fixture, "sleep_long").await;
    let host = i32::try_from(fixture.host.pid().await.expect("a process")).expect("a pid");
    fixture.host.stop().await;
    assert_eq!(child.process.status(), Some(ExitStatus::Signaled(9)));
    assert!(is_gone(child.process.pid()).await, "the task is still there");
    assert!(is_gone(host).await, "pyhost is still there");
    assert!(fixture.host.spawn(ChildKind::Task).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dag_file_is_parsed() {
    let fixture = Fixture::start(Idle { tasks: 0, dag_files: 1 }).await;
    let parsed = parse(&fixture, &fixture.dags().join("shapes.py")).await;
    assert_eq!(parsed["type"], "DagFileParsingResult");
    assert_eq!(parsed["serialized_dags"][0]["data"]["dag"]["dag_id"], "shapes");
    assert_eq!(parsed["import_errors"], json!({}));

    let broken = fixture.folder.path().join("broken.py");
    std::fs::write(&broken, "raise RuntimeError('this file is broken')  # airflow dag").expect("written");
    let parsed = parse(&fixture, &broken).await;
    let error =
        parsed["import_errors"].as_object().and_then(|errors| errors.values().next()).cloned().unwrap_or_default();
    assert!(error.as_str().is_some_and(|error| error.contains("this file is broken")), "{parsed}");
    fixture.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_of_a_dag_file_are_imported_before_children_are_forked() {
    let fixture = Fixture::start(Idle { tasks: 1, dag_files: 0 }).await;
    let imports = "import sys, airflow.providers.standard.sensors.filesystem\nfrom airflow.sdk import dag, task\n";
    let file = fixture.dags().join("shapes.py");
    let known = "airflow.providers.standard.sensors.filesystem";
    let dag = format!(
        "{imports}BEFORE = {known:?} in KNOWN\n@dag(schedule=None)\ndef shapes():\n    @task\n    def answer():\n        return BEFORE\n    answer()\nshapes()\n"
    );
    let dag = format!("import sys\nKNOWN = set(sys.modules)\n{dag}");
    std::fs::write(&file, dag).expect("written");
    assert_eq!(fixture.run("answer").await.xcom(), &json!(false));
    fixture.host.preload(&file).await;
    // The child in reserve is replaced once the import is done.
    let preloaded = async {
        while fixture.run("answer").await.xcom() != &json!(true) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, preloaded).await.expect("in time");
    fixture.host.stop().await;
}

async fn parse(fixture: &Fixture, file: &Path) -> Value {
    let Child { process, mut requests, output } = fixture.spawn(ChildKind::DagFile).await;
    let forwarder = Forwarder::start(output, DAG_PROCESSOR, None, masker(), Limits::default());
    let first = json!({"type": "DagFileParseRequest", "file": file, "bundle_path": fixture.dags(), "bundle_name": "dags-folder", "callback_requests": []});
    requests.send_first(&first).await.expect("sent");
    let request = timeout(PATIENCE, requests.next()).await.expect("in time").expect("sound").expect("a request");
    requests.answer(request.id, None).await.expect("sent");
    assert!(process.wait().await.success());
    forwarder.finish(Duration::from_secs(10)).await;
    request.body
}

#[tokio::test(flavor = "multi_thread")]
async fn children_wait_in_reserve_as_long_as_there_is_work() {
    let fixture = Fixture::start_with(|options| {
        let options = options.with_idle(Idle { tasks: 1, dag_files: 0 });
        Options { reserve_for: Duration::from_secs(2), ..options }
    })
    .await;
    let host = fixture.host.pid().await.expect("a process");
    for _ in 0..2 {
        assert!(fixture.run("answer").await.status.success());
        until(|| children_of(host) == 1).await;
        until(|| children_of(host) == 0).await;
    }
    fixture.host.stop().await;
}

/// How many children a process has.
fn children_of(pid: u32) -> usize {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("a process");
    children.split_whitespace().count()
}

async fn until(holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, held).await.expect("in time");
}
