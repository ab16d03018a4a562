//! Dag files parsed by official Airflow in children of a real pyhost, and written to a real database.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tradewind_airflow::config::{Config, Environment};
use tradewind_dag_processor::{DagProcessor, Options, Summary};
use tradewind_metadata::testing::TestDatabase;
use tradewind_supervisor::pyhost::{self, PyHost};

use crate::support::{self, TestResult};

/// What `official.py` of the recorder sets; the folder of Dags goes into the hash of every Dag.
const RECORDED_DAGS_FOLDER: &str = "/opt/airflow/dags";

pub(crate) struct Fixture {
    database: TestDatabase,
    pub(crate) home: TempDir,
    host: PyHost,
    config: Config,
}

impl Fixture {
    pub(crate) async fn start(settings: &[(&str, String)]) -> TestResult<Self> {
        let database = TestDatabase::migrated().await;
        let home = TempDir::new()?;
        let own = [
            ("AIRFLOW_HOME", home.path().to_string_lossy().into_owned()),
            ("AIRFLOW__CORE__LOAD_EXAMPLES", "False".to_owned()),
            ("AIRFLOW__CORE__DAGS_FOLDER", RECORDED_DAGS_FOLDER.to_owned()),
            ("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0".to_owned()),
        ];
        let settings = own.iter().chain(settings).cloned();
        let mut environment = Environment::of_process();
        let mut host = pyhost::Options::from_config(&Config::from_environment(&environment)?)?;
        for (name, value) in settings {
            host = host.with_variable(name, &value);
            environment = environment.with(name, &value);
        }
        Ok(Self { database, home, host: PyHost::start(host).await?, config: Config::from_environment(&environment)? })
    }

    pub(crate) fn processor(&self) -> TestResult<DagProcessor> {
        let options = Options::from_config(&self.config, None)?;
        Ok(DagProcessor::new(self.database.database().clone(), self.host.clone(), &self.config, options)?)
    }

    pub(crate) async fn parse_once(&self) -> TestResult<Summary> {
        Ok(self.processor()?.parse_once().await?)
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.database.pool()
    }
}

pub(crate) fn bundles(folders: &[(&str, &Path)]) -> (&'static str, String) {
    let list: Value = folders
        .iter()
        .map(|(name, path)| {
            json!({
                "name": name,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": path},
            })
        })
        .collect();
    ("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", list.to_string())
}

#[tokio::test]
async fn every_example_dag_is_stored_as_official_airflow_stores_it() -> TestResult {
    let places = support::places()?;
    let airflow = Path::new(&places[0].0);
    let conformance = support::repository().canonicalize()?.join("tests/conformance");
    let fixture = Fixture::start(&[
        bundles(&[
            ("examples", &airflow.join("example_dags")),
            ("standard_examples", &airflow.join("providers/standard/example_dags")),
        ]),
        ("AIRFLOW__CORE__PLUGINS_FOLDER", conformance.join("plugins").to_string_lossy().into_owned()),
    ])
    .await?;
    let summary = fixture.parse_once().await?;
    let recorded = support::recorded_dags()?;
    let stored = support::stored_dags(fixture.pool()).await?;
    let errors: Vec<(String, String)> =
        sqlx::query_as("SELECT filename, stacktrace FROM import_error").fetch_all(fixture.pool()).await?;
    assert_eq!(errors, []);
    assert_eq!(summary.import_errors, 0);
    let mut expected = BTreeMap::new();
    for bundle in ["examples", "standard_examples"] {
        let files = support::recorded_files()?.remove(bundle).ok_or("bundle not recorded")?;
        expected.extend(files.into_values().flat_map(|facts| {
            let ids: Vec<String> = serde_json::from_value(facts["dag_ids"].clone()).unwrap_or_default();
            ids.into_iter().map(|dag_id| (dag_id.clone(), recorded[&dag_id].clone()))
        }));
    }
    assert_eq!(stored.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (dag_id, expected) in &expected {
        let expected = &expected["versions"][0];
        let found = &stored[dag_id]["versions"][0];
        assert_eq!(found["fileloc"], expected["fileloc"], "{dag_id}");
        // Dags that depend on the time of parsing have another hash each time; those that name the interpreter, or the
        // module that Airflow makes of their file, have one per folder.
        let document = expected["data"].to_string();
        let names_folder = document.contains("/bin/python") || document.contains("unusual_prefix_");
        if recorded[dag_id]["warnings"] == json!([]) && !names_folder {
            assert_eq!(found["dag_hash"], expected["dag_hash"], "{dag_id}");
        }
        assert_eq!(stored[dag_id]["warnings"], recorded[dag_id]["warnings"], "{dag_id}");
    }
    // The timetable of a plugin was asked; the next run depends on the day.
    let workday = "example_workday_timetable";
    let (found, expected) = (support::comparable(stored[workday].clone()), expected[workday].clone());
    for (column, value) in support::comparable(expected)["dag"].as_object().ok_or("no row")? {
        if column.starts_with("timetable") || column.starts_with("next_dagrun") {
            assert_eq!(found["dag"][column], *value, "{column}");
        }
    }
    // Parsed again, nothing has changed.
    fixture.parse_once().await?;
    let again = support::stored_dags(fixture.pool()).await?;
    for (dag_id, facts) in &stored {
        if facts["warnings"] == json!([]) {
            assert_eq!(again[dag_id]["versions"], facts["versions"], "{dag_id}");
        }
    }
    Ok(())
}

const PLUGIN: &str = "\
import os
from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.base import DagRunInfo, Timetable

class Moody(Timetable):
    description = 'As the mood is'
    def __init__(self, mood):
        self.mood = mood
    def serialize(self):
        return {'mood': self.mood}
    @classmethod
    def deserialize(cls, data):
        return cls(**data)
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        if self.mood == 'dies':
            os._exit(7)
        if self.mood == 'raises':
            raise LookupError('on purpose')
        return DagRunInfo.exact(restriction.earliest)

class Plugin(AirflowPlugin):
    name = 'moody'
    timetables = [Moody]
";

#[tokio::test]
async fn a_timetable_that_fails_costs_its_own_dag_the_next_run() -> TestResult {
    let (dags, plugins) = (TempDir::new()?, TempDir::new()?);
    fs::write(plugins.path().join("moody.py"), PLUGIN)?;
    let file = "import pendulum\nfrom airflow.sdk import DAG\nfrom moody import Moody\n\
        for mood in ('good', 'raises', 'dies'):\n    \
        with DAG(mood, schedule=Moody(mood), start_date=pendulum.datetime(2026, 1, 1)): pass\n";
    fs::write(dags.path().join("moods.py"), file)?;
    let fixture = Fixture::start(&[
        bundles(&[("moods", dags.path())]),
        ("AIRFLOW__CORE__PLUGINS_FOLDER", plugins.path().to_string_lossy().into_owned()),
    ])
    .await?;
    let summary = fixture.parse_once().await?;
    assert_eq!((summary.dags, summary.import_errors), (3, 0));
    let rows: Vec<(String, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT dag_id, timetable_description, to_char(next_dagrun AT TIME ZONE 'UTC', 'YYYY-MM-DD') FROM dag ORDER BY 1",
    )
    .fetch_all(fixture.pool())
    .await?;
    let row = |dag_id: &str, description: &str, next: Option<&str>| {
        (dag_id.to_owned(), Some(description.to_owned()), next.map(str::to_owned))
    };
    let expected = [
        row("dies", "", None),
        row("good", "As the mood is", Some("2026-01-01")),
        row("raises", "As the mood is", None),
    ];
    assert_eq!(rows, expected);
    Ok(())
}

const GOOD: &str = "from airflow.sdk import dag, task\n\
@dag(schedule=None)\n\
def good():\n    @task\n    def work(): pass\n    work()\n\
good()\n";

#[tokio::test]
async fn a_file_that_misbehaves_is_an_import_error() -> TestResult {
    let dags = TempDir::new()?;
    let header = "from airflow.sdk import dag\nimport os, signal, sys, time\n";
    let files = [
        ("good.py", GOOD.to_owned()),
        ("raises.py", format!("{header}raise ValueError('on purpose')\n")),
        ("exits.py", format!("{header}sys.exit(3)\n")),
        ("ends_process.py", format!("{header}os._exit(7)\n")),
        ("kills_process.py", format!("{header}os.kill(os.getpid(), signal.SIGKILL)\n")),
        ("loops.py", format!("{header}signal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True: pass\n")),
        ("prints.py", format!("{header}for _ in range(300): print('x' * 100_000)\n{GOOD}").replace("good", "prints")),
        ("prints_a_little.py", format!("{header}print('x' * 100_000)\n{GOOD}").replace("good", "prints_a_little")),
        ("syntax.py", "from airflow.sdk import dag\n)\n".to_owned()),
        ("no_dags.py", header.to_owned()),
    ];
    for (name, content) in &files {
        fs::write(dags.path().join(name), content)?;
    }
    let fixture = Fixture::start(&[
        bundles(&[("mixed", dags.path())]),
        ("AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT", "6".to_owned()),
        ("AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES", "4".to_owned()),
    ])
    .await?;
    let summary = fixture.parse_once().await?;
    assert_eq!(summary.files, files.len());
    let errors: BTreeMap<String, String> =
        sqlx::query_as("SELECT filename, stacktrace FROM import_error WHERE bundle_name = 'mixed'")
            .fetch_all(fixture.pool())
            .await?
            .into_iter()
            .collect();
    let says = |file: &str, words: &[&str]| {
        let text = errors.get(file).map_or("no error", String::as_str);
        assert!(words.iter().all(|word| text.contains(word)), "{file}: {text}");
    };
    says("raises.py", &["ValueError: on purpose", "Traceback"]);
    says("exits.py", &["SystemExit: 3"]);
    says("ends_process.py", &["exit code 7"]);
    says("kills_process.py", &["SIGKILL"]);
    says("loops.py", &["longer than 6 seconds", "dag_file_processor_timeout"]);
    says("prints.py", &["more than 16 MiB of output"]);
    says("syntax.py", &["SyntaxError"]);
    assert_eq!(errors.len(), 7, "{:?}", errors.keys());
    let dags: Vec<String> =
        sqlx::query_scalar("SELECT dag_id FROM dag WHERE NOT is_stale ORDER BY 1").fetch_all(fixture.pool()).await?;
    assert_eq!(dags, ["good", "prints_a_little"]);
    assert!(fixture.home.path().join("logs/dag_processor/latest/mixed/raises.py.log").is_file());
    Ok(())
}

/// Waits until a query gives `expected`.
pub(crate) async fn eventually(pool: &PgPool, query: &'static str, expected: &[&str]) -> TestResult {
    let mut found: Vec<String> = Vec::new();
    for _ in 0..150 {
        found = sqlx::query_scalar(query).fetch_all(pool).await?;
        if found == expected {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(format!("{query}: {found:?} instead of {expected:?}").into())
}

const ACTIVE: &str = "SELECT dag_id FROM dag WHERE NOT is_stale ORDER BY 1";

#[tokio::test]
async fn changes_show_at_once() -> TestResult {
    let dags = TempDir::new()?;
    let file = dags.path().join("one.py");
    fs::write(&file, GOOD)?;
    let fixture = Fixture::start(&[bundles(&[("live", dags.path())])]).await?;
    let shutdown = CancellationToken::new();
    let processor = fixture.processor()?;
    let running = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { processor.run(shutdown).await }
    });
    let pool = fixture.pool();
    eventually(pool, ACTIVE, &["good"]).await?;
    // A new file, in a new folder.
    fs::create_dir(dags.path().join("more"))?;
    fs::write(dags.path().join("more/two.py"), GOOD.replace("good", "better"))?;
    eventually(pool, ACTIVE, &["better", "good"]).await?;
    // A change that breaks the file, and one that mends it.
    fs::write(&file, "from airflow.sdk import dag\nraise ValueError('broken')\n")?;
    eventually(pool, ACTIVE, &["better"]).await?;
    eventually(pool, "SELECT filename FROM import_error", &["one.py"]).await?;
    fs::write(&file, GOOD.replace("work", "changed_work"))?;
    eventually(pool, ACTIVE, &["better", "good"]).await?;
    eventually(pool, "SELECT filename FROM import_error", &[]).await?;
    eventually(
        pool,
        "SELECT data #>> '{dag,tasks,0,__var,task_id}' FROM serialized_dag WHERE dag_id = 'good'",
        &["changed_work"],
    )
    .await?;
    // A file that goes takes its Dag along.
    fs::remove_file(dags.path().join("more/two.py"))?;
    eventually(pool, ACTIVE, &["good"]).await?;
    // A request to parse is taken, and a Dag that somebody deleted comes back with it.
    sqlx::query("DELETE FROM dag WHERE dag_id = 'good'").execute(pool).await?;
    sqlx::query("INSERT INTO dag_priority_parsing_request VALUES ('x', 'live', 'one.py')").execute(pool).await?;
    eventually(pool, ACTIVE, &["good"]).await?;
    eventually(pool, "SELECT id FROM dag_priority_parsing_request", &[]).await?;
    eventually(pool, "SELECT state FROM job WHERE job_type = 'DagProcessorJob'", &["running"]).await?;
    shutdown.cancel();
    running.await??;
    eventually(pool, "SELECT state FROM job WHERE job_type = 'DagProcessorJob'", &["success"]).await?;
    Ok(())
}

#[tokio::test]
async fn archives_variables_and_callbacks_work() -> TestResult {
    let dags = TempDir::new()?;
    let mut archive = zip::ZipWriter::new(fs::File::create(dags.path().join("packed.zip"))?);
    for (name, content) in [("zipped.py", GOOD.replace("good", "zipped")), ("helper.py", "x = 1\n".to_owned())] {
        archive.start_file(name, zip::write::SimpleFileOptions::default())?;
        archive.write_all(content.as_bytes())?;
    }
    archive.finish()?;
    let witness = dags.path().join("witness.txt");
    let content = format!(
        "from airflow.sdk import Variable, dag, task\n\
         def failed(context):\n    open({:?}, 'a').write(context['run_id'] + ' ' + context['reason'])\n\
         @dag(schedule=None, description=Variable.get('text'), on_failure_callback=failed)\n\
         def asks():\n    @task\n    def work(): pass\n    work()\n\
         asks()\n",
        witness.to_string_lossy()
    );
    fs::write(dags.path().join("asks.py"), content)?;
    fs::write(dags.path().join("ignored.py"), GOOD.replace("good", "ignored"))?;
    fs::write(dags.path().join(".airflowignore"), "ignored.py\n*.txt\n")?;
    let fixture = Fixture::start(&[bundles(&[("mixed", dags.path())])]).await?;
    let pool = fixture.pool();
    sqlx::query("INSERT INTO variable (key, val, is_encrypted) VALUES ('text', 'from the database', false)")
        .execute(pool)
        .await?;
    let shutdown = CancellationToken::new();
    let processor = fixture.processor()?;
    let running = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { processor.run(shutdown).await }
    });
    eventually(pool, ACTIVE, &["asks", "zipped"]).await?;
    eventually(pool, "SELECT description FROM dag WHERE dag_id = 'asks'", &["from the database"]).await?;
    eventually(
        pool,
        "SELECT d.relative_fileloc || ' ' || (c.source_code LIKE '%def zipped%') FROM dag AS d \
         JOIN dag_code AS c USING (dag_id) WHERE dag_id = 'zipped'",
        &["packed.zip/zipped.py true"],
    )
    .await?;
    let request = json!({
        "filepath": "asks.py", "bundle_name": "mixed", "bundle_version": null, "msg": "because", "dag_id": "asks",
        "run_id": "run-7", "is_failure_callback": true, "context_from_server": null, "type": "DagCallbackRequest",
    });
    sqlx::query(
        "INSERT INTO callback (id, type, fetch_method, data, bundle_name, priority_weight, created_at) \
         VALUES (gen_random_uuid(), 'dag_processor', 'dag_attribute', $1, 'mixed', 1, now())",
    )
    .bind(json!({"req_class": "DagCallbackRequest", "req_data": request.to_string()}))
    .execute(pool)
    .await?;
    for _ in 0..100 {
        if witness.is_file() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(fs::read_to_string(&witness)?, "run-7 because");
    eventually(pool, "SELECT id::text FROM callback", &[]).await?;
    eventually(pool, ACTIVE, &["asks", "zipped"]).await?;
    shutdown.cancel();
    running.await??;
    Ok(())
}
