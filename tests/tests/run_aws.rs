//! What `make run-aws` starts, and the commands that it tells its user.
#![forbid(unsafe_code)]

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Metric, MetricDataQuery, MetricStat};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tradewind_aws::Account;
use tradewind_tests::patience::eventually;
use tradewind_tests::process;
use tradewind_tests::program::{tradewind, without_configuration, workspace};
use tradewind_tests::rest::Rest;

/// What comes before the commands.
const NEXT: &str = "In another shell:\n";

#[tokio::test]
async fn what_make_run_aws_says_next_works() {
    let running = RunAws::start().await;
    assert_eq!(running.workers(), 0, "nothing is to be done");
    let [set_up, upload, trigger, log] = running.commands();

    running.shell(&[&set_up, &upload]);
    let rest = running.log_in().await;
    rest.dag_is_known("sales_pipeline").await;
    let answer = running.shell(&[&set_up, &trigger]);
    assert!(answer.contains(r#""dag_run_id":"first""#), "{answer}");
    eventually("a worker", async || (running.workers() > 0).then_some(())).await;
    assert_eq!(rest.final_state("sales_pipeline", "first").await, "success");
    running.logs_are_in_cloudwatch(&set_up).await;
    // Nobody else has them now.
    std::fs::remove_dir_all(running.home().join("logs")).expect("the logs are removed");
    let log = running.shell(&[&set_up, &log]);
    assert!(log.contains("All shops: 530.50"), "{log}");

    running.metrics_are_there(&set_up).await;
    eventually("an empty fleet", async || (running.workers() == 0).then_some(())).await;
    running.end();
}

/// The program, and what it has said.
struct RunAws {
    process: Child,
    folder: TempDir,
}

impl RunAws {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The database server of a test that runs as root is another user, who has to reach its data.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("permissions");
        let output = File::create(folder.path().join("said")).expect("a file");
        let mut command = Command::new(workspace().join(".venv-emulator/bin/python"));
        let process = without_configuration(&mut command)
            .arg("deploy/emulator/run.py")
            .arg("--home")
            .arg(folder.path().join("home"))
            .arg("--")
            .arg(tradewind())
            .args(["standalone", "--port", "0"])
            .env("VIRTUAL_ENV", workspace().join(".venv"))
            .env("AIRFLOW__TRADEWIND__CLOUDWATCH_METRICS_INTERVAL", "1")
            .env("AIRFLOW__TRADEWIND__FLEET_INTERVAL", "1")
            .env("AIRFLOW__TRADEWIND__FLEET_SCALE_IN_DELAY", "2")
            .env("AIRFLOW__TRADEWIND__FLEET_DRAIN_WAIT", "2")
            .current_dir(workspace())
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("another descriptor"))
            .stderr(output)
            .spawn()
            .expect("run.py starts");
        let mut running = Self { process, folder };
        eventually("the start", async || {
            let ended = running.process.try_wait().expect("a state");
            assert!(ended.is_none(), "it ended with {ended:?}: {}", running.said());
            running.said().contains(NEXT).then_some(())
        })
        .await;
        running
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// What follows some words on their line.
    fn told(&self, words: &str) -> String {
        let said = self.said();
        let line = said.lines().find_map(|line| line.strip_prefix(words));
        line.unwrap_or_else(|| panic!("{words:?} is not in {said}")).to_owned()
    }

    /// The commands that it tells its user to type next.
    fn commands(&self) -> [String; 4] {
        let said = self.said();
        let (_, next) = said.split_once(NEXT).expect("the commands");
        let commands: Vec<String> = next.lines().take(4).map(|line| line.trim().to_owned()).collect();
        commands.try_into().unwrap_or_else(|commands| panic!("four commands, not {commands:?}"))
    }

    /// Runs commands as its user would.
    fn shell(&self, commands: &[&str]) -> String {
        let mut shell = Command::new("sh");
        let shell = without_configuration(&mut shell).arg("-c").arg(commands.join(" && ")).current_dir(workspace());
        let output = shell.output().expect("a shell");
        let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said)).concat();
        assert!(output.status.success(), "{commands:?} ended with {}: {said}\n{}", output.status, self.said());
        said
    }

    async fn log_in(&self) -> Rest {
        let login = self.told("  user ");
        let (user, password) = login.split_once(", password ").expect("a password");
        Rest::log_in(&self.told("Tradewind is ready: "), user, password).await
    }

    /// Worker processes.
    fn workers(&self) -> usize {
        let processes = process::started_for(&self.home());
        processes.into_iter().filter(|pid| process::title(*pid).contains(" worker ")).count()
    }

    /// Waits until CloudWatch has what the task said, and a group for each kind of process.
    async fn logs_are_in_cloudwatch(&self, set_up: &str) {
        // The group may not be there yet.
        let events = "(aws logs filter-log-events --log-group-name airflow-MyAirflowEnvironment-Task || true)";
        eventually("the log of a task", async || {
            self.shell(&[set_up, events]).contains("All shops: 530.50").then_some(())
        })
        .await;
        let groups = "aws logs describe-log-groups --query 'logGroups[].logGroupName' --output text";
        let wanted = ["Task", "Scheduler", "Worker", "WebServer", "DAGProcessing"];
        eventually("five log groups", async || {
            let groups = self.shell(&[set_up, groups]);
            let group = |name| format!("airflow-MyAirflowEnvironment-{name}");
            wanted.iter().all(|name| groups.split_whitespace().any(|found| found == group(name))).then_some(())
        })
        .await;
    }

    /// Waits until CloudWatch lists the metric of started tasks, and has values of it.
    async fn metrics_are_there(&self, set_up: &str) {
        let list = "aws cloudwatch list-metrics --namespace AmazonMWAA --metric-name StartedTaskInstances";
        eventually("a metric", async || self.shell(&[set_up, list]).contains("StartedTaskInstances").then_some(()))
            .await;
        let client = Client::new(Account::of_emulator(&self.told("AWS emulator: ")).await.config());
        let request = client.list_metrics().namespace("AmazonMWAA").metric_name("StartedTaskInstances");
        let metrics = request.send().await.expect("a list").metrics.unwrap_or_default();
        let queries: Vec<_> = metrics.into_iter().enumerate().map(|(number, metric)| query(number, metric)).collect();
        let (hour, now) = (3600.0, DateTime::from(std::time::SystemTime::now()).as_secs_f64());
        let request = client
            .get_metric_data()
            .set_metric_data_queries(Some(queries))
            .start_time(DateTime::from_secs_f64(now - hour))
            .end_time(DateTime::from_secs_f64(now + hour));
        let data = request.send().await.expect("data").metric_data_results.unwrap_or_default();
        let started: f64 = data.iter().flat_map(|result| result.values()).sum();
        assert!(started >= 5.0, "{data:?}");
    }

    /// Ends everything, and asserts that nothing is left.
    fn end(mut self) {
        let mut started = process::descendants(self.process.id());
        process::send(self.process.id(), Signal::SIGINT);
        let status = self.process.wait().expect("an exit status");
        assert!(status.success(), "it ended with {status}: {}", self.said());
        started.extend(process::started_for(&self.home()));
        started.retain(|pid| process::is_running(*pid));
        assert!(started.is_empty(), "left behind: {started:?}");
    }
}

fn query(number: usize, metric: Metric) -> MetricDataQuery {
    let stat = MetricStat::builder().metric(metric).period(60).stat("Sum").build();
    MetricDataQuery::builder().id(format!("m{number}")).metric_stat(stat).build()
}

impl Drop for RunAws {
    /// A test that fails leaves no process behind either.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            process::send(self.process.id(), Signal::SIGTERM);
            drop(self.process.wait());
        }
    }
}
