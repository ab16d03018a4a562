//! Plugins in children of a real pyhost: good ones, and ones that hang, raise, exit or print too much.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tradewind_airflow::config::{Config, Environment};
use tradewind_airflow::evaluation::{
    BackfillRuns, ConnectionTest, ConnectionTestAnswer, CreateRun, Environment as Installed, ManualRun, MapPartition,
    PriorityWeights, Restriction, Run, RunsBetween, Schedule, TestedConnection, Weighed,
};
use tradewind_airflow::fernet::Fernet;
use tradewind_metadata::evaluation::{self as questions, AskError};
use tradewind_metadata::testing::TestDatabase;
use tradewind_supervisor::evaluator::{EvaluationError, Evaluator, Options, service};
use tradewind_supervisor::pyhost::{self, PyHost};
use uuid::Uuid;

const FERNET_KEY: &str = "cFuF9mKqkzGm2JPQTlzrC9LvvS4oGvRAIpZ2R0oBbJ0=";
const OTHER_KEY: &str = "aFuF9mKqkzGm2JPQTlzrC9LvvS4oGvRAIpZ2R0oBbJ0=";

const PATIENCE: Duration = Duration::from_secs(120);

const PLUGIN: &str = r#"
import os, sys, time
from datetime import datetime, timedelta, timezone

from airflow.partition_mappers.base import PartitionMapper
from airflow.plugins_manager import AirflowPlugin
from airflow.task.priority_strategy import PriorityWeightStrategy
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable


class EverySixHours(Timetable):
    """Runs of six hours whose ids name their hour."""

    description = "Four times a day"
    periodic = False

    def __init__(self, mood="good"):
        self.mood = mood

    @property
    def summary(self):
        return f"6h, {self.mood}"

    def serialize(self):
        return {"mood": self.mood}

    @classmethod
    def deserialize(cls, data):
        return cls(**data)

    def infer_manual_data_interval(self, *, run_after):
        end = run_after.replace(hour=run_after.hour // 6 * 6, minute=0, second=0, microsecond=0)
        return DataInterval(end - timedelta(hours=6), end)

    def generate_run_id(self, *, run_type, run_after, data_interval, **extra):
        suffix = " " if self.mood == "blank" else "-".join(sorted(extra))
        return f"{run_type.value}-{run_after.strftime('%Y%m%dT%H')}-{suffix}"

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        if self.mood == "hangs":
            time.sleep(600)
        if self.mood == "ignores signals":
            import signal
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
            while True:
                pass
        if self.mood == "raises":
            raise LookupError("no calendar")
        if self.mood == "exits":
            sys.exit(3)
        if self.mood == "dies":
            os._exit(7)
        if self.mood == "floods":
            for _ in range(2000):
                print("x" * 1023)
                print("y" * 1023, file=sys.stderr)
        if self.mood == "reads":
            assert sys.stdin.fileno() == 0 and os.read(0, 1) == b""
        if self.mood == "naive":
            return DagRunInfo.interval(datetime(2026, 1, 1), datetime(2026, 1, 2))
        if self.mood == "stands still" and last_automated_data_interval:
            return DagRunInfo.interval(*last_automated_data_interval)
        start = last_automated_data_interval.end if last_automated_data_interval else restriction.earliest
        if restriction.latest is not None and start > restriction.latest:
            return None
        return DagRunInfo.interval(start, start + timedelta(hours=6))


class ByAttempt(PriorityWeightStrategy):
    def get_weight(self, ti):
        if ti.task_id == "raises":
            raise LookupError("no weight")
        if ti.task_id == "half":
            return 1.5
        return 100 * (ti.map_index + 2) + (ti.try_number or 0)


class Moody(PartitionMapper):
    def to_downstream(self, key):
        self.max_downstream_keys = {"negative": -1, "fraction": 2.5, "truth": True}.get(key)
        if key == "raises":
            raise LookupError("no \0 and no \udc80")
        return {"long": "k" * 251, "longest": ["k" * 250], "nul": "a\0b", "half": "\udc80", "number": 3}.get(key, key)


class Plugin(AirflowPlugin):
    name = "test_plugin"
    timetables = [EverySixHours]
    priority_weight_strategies = [ByAttempt]
    partition_mappers = [Moody]
"#;

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).expect("a folder");
        std::fs::write(plugins.join("moody.py"), PLUGIN).expect("written");
        Self { folder }
    }

    fn host(&self) -> pyhost::Options {
        let config = Config::from_environment(&Environment::of_process()).expect("a configuration");
        pyhost::Options::from_config(&config)
            .expect("tradewind-pyhost and the virtual environment; `make test` makes both")
            .with_variable("AIRFLOW_HOME", self.folder.path())
            .with_variable("AIRFLOW__CORE__PLUGINS_FOLDER", self.folder.path().join("plugins"))
            .with_variable("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    }

    async fn evaluator(&self, timeout: Duration) -> Evaluator {
        let host = PyHost::start(self.host()).await.expect("a pyhost");
        Evaluator::sharing(host, Options { timeout, idle: PATIENCE })
    }
}

fn timetable(mood: &str) -> Value {
    json!({"__type": "moody.EverySixHours", "__var": {"mood": mood}})
}

fn moment(text: &str) -> chrono::DateTime<chrono::Utc> {
    text.parse().expect("a date")
}

fn run(start: &str, end: &str) -> Run {
    Run {
        run_after: moment(end),
        data_interval: Some((moment(start), moment(end))),
        partition_date: None,
        partition_key: None,
    }
}

fn from_new_year() -> Restriction {
    Restriction { earliest: Some(moment("2026-01-01T00:00:00Z")), latest: None, catchup: true }
}

fn schedule(mood: &str) -> Schedule {
    Schedule { timetable: timetable(mood), last: None, restriction: from_new_year() }
}

fn is_alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Pids of the children of the evaluator's interpreter that still run.
async fn gone(pid: i32) -> bool {
    timeout(PATIENCE, async {
        while is_alive(pid) {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .is_ok()
}

#[tokio::test]
async fn a_timetable_of_a_plugin_answers_like_one_of_airflows_own() {
    let fixture = Fixture::new();
    let evaluator = fixture.evaluator(PATIENCE).await;
    let described = evaluator.ask("d", schedule("good")).await.expect("an answer");
    assert_eq!((described.summary.as_str(), described.description.as_str()), ("6h, good", "Four times a day"));
    assert!(!described.periodic && described.can_be_scheduled && !described.partitioned);
    assert_eq!(described.next.run, Some(run("2026-01-01T00:00:00Z", "2026-01-01T06:00:00Z")));

    let due = run("2026-01-01T00:00:00Z", "2026-01-01T06:00:00Z");
    let question = CreateRun { timetable: timetable("good"), due, restriction: from_new_year() };
    let created = evaluator.ask("d", question).await.expect("an answer");
    assert_eq!(created.run_id, "scheduled-20260101T06-partition_key");
    assert_eq!(created.next.run, Some(run("2026-01-01T06:00:00Z", "2026-01-01T12:00:00Z")));

    let due = run("2026-01-01T00:00:00Z", "2026-01-01T06:00:00Z");
    let question = CreateRun { timetable: timetable("blank"), due, restriction: from_new_year() };
    let refused = evaluator.ask("d", question).await;
    assert!(
        matches!(&refused, Err(EvaluationError::Raised(error)) if error.message.contains("allowed_run_id_pattern")),
        "{refused:?}"
    );

    let question = ManualRun {
        timetable: timetable("good"),
        run_type: "manual".to_owned(),
        run_after: moment("2026-03-01T09:30:00Z"),
        data_interval: None,
        infer_for: Some(moment("2026-02-01T15:00:00Z")),
        run_id: None,
        partition_key: None,
    };
    let manual = evaluator.ask("d", question).await.expect("an answer");
    assert_eq!(manual.run_id, "manual-20260301T09-");
    assert_eq!(manual.data_interval, Some((moment("2026-02-01T06:00:00Z"), moment("2026-02-01T12:00:00Z"))));

    let bounds = Restriction { latest: Some(moment("2026-01-01T11:00:00Z")), ..from_new_year() };
    let question = RunsBetween { timetable: timetable("good"), last: None, restriction: bounds, limit: 9 };
    let between = evaluator.ask("d", question).await.expect("an answer");
    let starts: Vec<_> = between.runs.iter().filter_map(|run| run.data_interval).map(|(start, _)| start).collect();
    assert_eq!(starts, [moment("2026-01-01T00:00:00Z"), moment("2026-01-01T06:00:00Z")]);

    let (earliest, latest) = (moment("2026-01-01T00:00:00Z"), moment("2026-01-01T11:00:00Z"));
    let (earliest, latest) = (earliest.fixed_offset(), latest.fixed_offset());
    let question = BackfillRuns { timetable: timetable("good"), earliest, latest, limit: 9 };
    let backfill = evaluator.ask("d", question).await.expect("an answer");
    assert_eq!((backfill.periodic, backfill.partitioned), (false, false));
    assert_eq!((backfill.runs, backfill.run_ids), (between.runs, Vec::new()));

    let question =
        RunsBetween { timetable: timetable("stands still"), last: None, restriction: from_new_year(), limit: 9 };
    assert_eq!(evaluator.ask("d", question).await.expect("an answer").runs.len(), 1);
    assert_eq!(evaluator.idle_children().len(), 1, "one child answered everything");
}

#[tokio::test]
async fn a_plugin_that_fails_costs_its_own_dag_alone() {
    let fixture = Fixture::new();
    // The first question also loads the plugins, which takes its time on a busy machine.
    let evaluator = fixture.evaluator(PATIENCE).await;
    let good = || async { evaluator.ask("good", schedule("good")).await.map(|answer| answer.next.run.is_some()) };
    assert!(good().await.expect("an answer"));
    let [child] = evaluator.idle_children()[..] else { panic!("one child") };

    for (mood, message) in
        [("raises", "LookupError: no calendar"), ("exits", "SystemExit: 3"), ("naive", "ValueError: naive datetime")]
    {
        let answer = evaluator.ask(mood, schedule(mood)).await.expect("an answer");
        let error = answer.next.error.expect("an error in place of the next run");
        assert!(error.message.starts_with(message), "{mood}: {error}");
        assert_eq!(answer.next.run, None);
    }
    for mood in ["floods", "reads"] {
        let answer = evaluator.ask(mood, schedule(mood)).await.expect("an answer");
        assert!(answer.next.run.is_some(), "{mood}: {:?}", answer.next.error);
    }
    let unknown = Schedule { timetable: json!({"__type": "no.Such", "__var": {}}), ..schedule("") };
    let refused = evaluator.ask("unknown", unknown).await;
    assert!(
        matches!(&refused, Err(EvaluationError::Raised(error)) if error.message.contains("is not registered")),
        "{refused:?}"
    );
    assert_eq!(evaluator.idle_children(), [child], "no process was lost");

    let died = evaluator.ask("dies", schedule("dies")).await;
    assert!(matches!(&died, Err(EvaluationError::Died(status)) if status.code() == 7), "{died:?}");
    let resting = evaluator.ask("dies", schedule("good")).await;
    assert!(matches!(resting, Err(EvaluationError::Resting { .. })), "{resting:?}");
    assert!(good().await.expect("an answer"));
}

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_while_others_are_answered() {
    let fixture = Fixture::new();
    let limit = Duration::from_secs(20);
    let evaluator = fixture.evaluator(limit).await;
    evaluator.ask("good", schedule("good")).await.expect("an answer");
    let [child] = evaluator.idle_children()[..] else { panic!("one child") };
    let hanging = {
        let evaluator = evaluator.clone();
        tokio::spawn(async move { evaluator.ask("stuck", schedule("ignores signals")).await })
    };
    sleep(Duration::from_millis(200)).await;
    let asked = Instant::now();
    evaluator.ask("good", schedule("good")).await.expect("an answer");
    assert!(asked.elapsed() < limit, "another Dag waited {:?}", asked.elapsed());
    let outcome = timeout(PATIENCE, hanging).await.expect("in time").expect("no panic");
    assert!(matches!(outcome, Err(EvaluationError::TimedOut(_))), "{outcome:?}");
    assert!(gone(child).await, "the process that hung is gone");

    // A question that nobody waits for any more leaves no process behind either.
    let [child] = evaluator.idle_children()[..] else { panic!("one child") };
    assert!(timeout(Duration::from_millis(500), evaluator.ask("other", schedule("hangs"))).await.is_err());
    assert!(gone(child).await, "the process of the question that was given up is gone");
}

#[tokio::test]
async fn weights_are_worked_out_with_real_task_instances() {
    let fixture = Fixture::new();
    let evaluator = fixture.evaluator(PATIENCE).await;
    let task = |task_id: &str| {
        json!({"__type": "operator", "__var": {"task_id": task_id, "task_type": "EmptyOperator",
            "_task_module": "airflow.providers.standard.operators.empty", "weight_rule": "moody.ByAttempt"}})
    };
    let children: Value =
        ["t", "half", "raises"].iter().map(|task_id| ((*task_id).to_owned(), json!(["operator", task_id]))).collect();
    let dag = json!({"__version": 3, "dag": {
        "dag_id": "weighed", "fileloc": "/dags/weighed.py", "timezone": "UTC",
        "timetable": {"__type": "airflow.timetables.simple.NullTimetable", "__var": {}},
        "tasks": [task("t"), task("half"), task("raises")],
        "task_group": {"_group_id": null, "prefix_group_id": true, "children": children, "tooltip": "",
            "ui_color": "CornflowerBlue", "ui_fgcolor": "#000", "upstream_group_ids": [], "downstream_group_ids": [],
            "upstream_task_ids": [], "downstream_task_ids": [], "group_display_name": ""},
        "dag_dependencies": [], "edge_info": {}, "params": [],
    }});
    let weighed = |task_id: &str, map_index, try_number| Weighed {
        task_id: task_id.to_owned(),
        run_id: "r".to_owned(),
        map_index,
        try_number,
        dag_version_id: None,
    };
    let task_instances =
        vec![weighed("t", -1, 0), weighed("t", 3, 2), weighed("half", -1, 0), weighed("raises", -1, 0)];
    let question = PriorityWeights { dag_version_id: Uuid::nil(), dag, task_instances };
    let answer = evaluator.ask("weighed", question).await.expect("an answer");
    let given: Vec<Option<i64>> = answer.weights.iter().map(|weight| weight.weight).collect();
    assert_eq!(given, [Some(100), Some(502), None, None], "{answer:?}");
    let error = answer.weights[3].error.as_ref().expect("an error");
    assert_eq!(error.message, "LookupError: no weight");
}

#[tokio::test]
async fn keys_that_the_database_does_not_store_are_errors_of_the_mapper() {
    let fixture = Fixture::new();
    let evaluator = fixture.evaluator(PATIENCE).await;
    let map = async |key: &str| {
        let mapper = json!({"__type": "moody.Moody", "__var": {}});
        let question = MapPartition { mapper, partition_key: key.to_owned(), partition_date: None };
        evaluator.ask("d", question).await
    };
    assert_eq!(map("good").await.expect("an answer").keys, ["good"]);
    assert_eq!(map("longest").await.expect("an answer").keys, ["k".repeat(250)]);
    for (key, message) in [
        ("long", "ValueError: to_downstream gave a key of 251 characters; 250 are allowed"),
        ("nul", r"ValueError: to_downstream gave 'a\x00b', a key with a NUL character"),
        (
            "half",
            r"UnicodeEncodeError: 'utf-8' codec can't encode character '\udc80' in position 0: surrogates not allowed",
        ),
        ("number", "TypeError: to_downstream gave 3, not a text"),
        ("negative", "ValueError: max_downstream_keys is -1, not a number of keys"),
        ("fraction", "ValueError: max_downstream_keys is 2.5, not a number of keys"),
        ("truth", "ValueError: max_downstream_keys is True, not a number of keys"),
        ("raises", r"LookupError: no \x00 and no \udc80"),
    ] {
        let refused = map(key).await;
        assert!(
            matches!(&refused, Err(EvaluationError::Raised(error)) if error.message == message),
            "{key}: {refused:?}"
        );
    }
    assert_eq!(evaluator.idle_children().len(), 1, "no process was lost");
}

#[tokio::test]
async fn an_interpreter_of_its_own_is_there_only_while_it_is_needed() {
    let fixture = Fixture::new();
    let options = Options { timeout: PATIENCE, idle: Duration::from_millis(400) };
    let evaluator = Evaluator::on_demand(fixture.host(), options);
    evaluator.ask("d", schedule("good")).await.expect("an answer");
    let [first] = evaluator.idle_children()[..] else { panic!("one child") };
    assert!(gone(first).await, "the child ends when it has no work");
    evaluator.ask("d", schedule("good")).await.expect("an answer from a new one");
    assert_ne!(evaluator.idle_children(), [first]);
}

fn connection(conn_type: &str, extra: Option<Value>) -> TestedConnection {
    TestedConnection {
        conn_type: conn_type.to_owned(),
        host: None,
        login: None,
        password: None,
        schema: None,
        port: None,
        extra: extra.map(|extra| extra.to_string()),
    }
}

#[tokio::test]
async fn connections_are_tested_by_their_hooks() {
    let fixture = Fixture::new();
    let evaluator = fixture.evaluator(PATIENCE).await;
    let ask = async |connection, timeout| {
        evaluator.ask("c", ConnectionTest { sealed: String::new(), connection: Some(connection), timeout }).await
    };
    let works = ask(connection("fs", Some(json!({"path": "/etc"}))), 60).await.expect("an answer");
    assert_eq!(works, ConnectionTestAnswer { status: true, message: "Path /etc is existing.".to_owned() });
    assert!(evaluator.idle_children().is_empty(), "a child that knows secrets answers nothing else");
    let missing = ask(connection("fs", Some(json!({"path": "/no/such"}))), 60).await.expect("an answer");
    assert_eq!((missing.status, &*missing.message), (false, "Path /no/such does not exist."));
    let unknown = ask(connection("no_such_type", None), 60).await.expect("an answer");
    assert!(!unknown.status && unknown.message.contains("no_such_type"), "{unknown:?}");
    // Tests that hang are ended, and hold nothing else back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port that accepts and says nothing");
    let port = i32::from(listener.local_addr().expect("an address").port());
    let silent = TestedConnection {
        host: Some("127.0.0.1".to_owned()),
        port: Some(port),
        login: Some("u".to_owned()),
        ..connection("postgres", None)
    };
    let hanging = futures::future::join_all((0..4).map(|_| ask(silent.clone(), 6)));
    let plugin = async {
        let started = Instant::now();
        let described = evaluator.ask("d", schedule("good")).await.expect("an answer");
        assert_eq!(described.summary, "6h, good");
        started.elapsed()
    };
    let (late, waited) = tokio::join!(hanging, plugin);
    assert!(late.iter().all(|late| matches!(late, Err(EvaluationError::ConnectionTestTimedOut(6)))), "{late:?}");
    assert!(waited < Duration::from_secs(6), "no plugin waits for a test: {waited:?}");
    assert!(ask(connection("fs", Some(json!({"path": "/etc"}))), 60).await.is_ok_and(|answer| answer.status));
}

#[tokio::test]
async fn plugins_and_forms_of_connections_are_listed() {
    let fixture = Fixture::new();
    let plugins = fixture.folder.path().join("plugins");
    std::fs::write(plugins.join("broken.py"), "import nothing_there").expect("written");
    let shown = "from airflow.plugins_manager import AirflowPlugin\n\n\nclass Shown(AirflowPlugin):\n    name = 'a'\n    \
                 external_views = [{'name': 'Docs', 'href': 'https://example.org', 'more': 1}]\n";
    std::fs::write(plugins.join("shown.py"), shown).expect("written");
    let invalid = shown.replace("'href'", "'no_href'").replace("'a'", "'b'").replace("Shown", "Invalid");
    std::fs::write(plugins.join("invalid.py"), invalid).expect("written");
    let evaluator = fixture.evaluator(PATIENCE).await;
    let listed = evaluator.ask("e", Installed {}).await.expect("an answer");
    let names: Vec<&Value> = listed.plugins.as_array().expect("a list").iter().map(|plugin| &plugin["name"]).collect();
    assert!(names.starts_with(&[&json!("a")]) && names.contains(&&json!("test_plugin")), "{names:?}");
    assert!(!names.contains(&&json!("b")), "one that makes no sense is left out");
    let view = json!({
        "name": "Docs", "icon": null, "icon_dark_mode": null, "url_route": null, "category": null, "nav_top_level": false,
        "href": "https://example.org", "destination": "nav", "more": 1,
    });
    assert_eq!(listed.plugins[0]["external_views"], json!([view]));
    let errors = listed.plugin_import_errors.as_array().expect("a list");
    assert_eq!(errors.len(), 1);
    assert!(errors[0]["source"].as_str().is_some_and(|source| source.ends_with("broken.py")), "{errors:?}");
    let forms = listed.connection_types.as_array().expect("a list");
    let postgres = forms.iter().find(|form| form["connection_type"] == "postgres").expect("the form of Postgres");
    assert_eq!(postgres["standard_fields"]["url_schema"]["title"], "Database");
}

#[tokio::test]
async fn questions_in_the_database_are_answered() {
    let fixture = Fixture::new();
    let database = TestDatabase::migrated().await;
    let nobody = questions::ask(database.pool(), "d", schedule("good"), Duration::from_millis(100)).await;
    assert!(matches!(nobody, Err(AskError::Nobody { .. })), "{nobody:?}");

    let evaluator = fixture.evaluator(PATIENCE).await;
    let shutdown = tokio_util::sync::CancellationToken::new();
    let fernet = Arc::new(Fernet::new(FERNET_KEY).expect("a key"));
    let serving = service::serve(database.database().clone(), evaluator, Arc::clone(&fernet), shutdown.clone());
    let serving = tokio::spawn(serving);
    let answer = questions::ask(database.pool(), "d", schedule("good"), PATIENCE).await.expect("an answer");
    assert_eq!(answer.summary, "6h, good");
    let unknown = Schedule { timetable: json!({"__type": "no.Such", "__var": {}}), ..schedule("") };
    let refused = questions::ask(database.pool(), "d", unknown, PATIENCE).await;
    assert!(matches!(refused, Err(AskError::Python(_))), "{refused:?}");
    let missing = PriorityWeights { dag_version_id: Uuid::nil(), dag: Value::Null, task_instances: Vec::new() };
    let refused = questions::ask(database.pool(), "d", missing, PATIENCE).await;
    assert!(matches!(&refused, Err(AskError::Python(error)) if error.message.contains("is not in the database")));
    // A connection goes through the database encrypted.
    let seal = |fernet: &Fernet, path: &str| {
        let connection = json!(connection("fs", Some(json!({"path": path}))));
        ConnectionTest { sealed: fernet.encrypt(&connection.to_string()), connection: None, timeout: 60 }
    };
    let test = seal(&fernet, "/etc");
    let works = questions::ask(database.pool(), "d", test, PATIENCE).await.expect("an answer");
    assert_eq!(works, ConnectionTestAnswer { status: true, message: "Path /etc is existing.".to_owned() });
    let foreign = seal(&Fernet::new(OTHER_KEY).expect("a key"), "/etc");
    let refused = questions::ask(database.pool(), "d", foreign, PATIENCE).await;
    assert!(matches!(&refused, Err(AskError::Python(error)) if error.message.contains("another key")), "{refused:?}");
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM tradewind.evaluation")
        .fetch_one(database.pool())
        .await
        .expect("a count");
    assert_eq!(left, 0, "who asked has taken the question away");
    shutdown.cancel();
    timeout(PATIENCE, serving).await.expect("in time").expect("no panic");
}
