//! Versions, references, watchers, warnings and retirement: what changes when a Dag changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;
use tradewind_airflow::fernet::Fernet;
use tradewind_dag_processor::parsed_dag;
use tradewind_metadata::dag_bundle;
use tradewind_metadata::parse_result::request;
use tradewind_metadata::parse_result::{self, DagWarning, ParsedDag, ParsedFile, WriteOptions, WriteOutcome};
use tradewind_metadata::testing::TestDatabase;

use crate::persistence::{defaults, file, options};
use crate::support::TestResult;

/// A database with one bundle, and a folder for the code of Dags.
struct Fixture {
    database: TestDatabase,
    folder: TempDir,
    options: WriteOptions,
}

impl Fixture {
    async fn new() -> TestResult<Self> {
        let database = TestDatabase::migrated().await;
        dag_bundle::sync(database.pool(), &["b".to_owned()]).await?;
        Ok(Self { database, folder: TempDir::new()?, options: options()? })
    }

    fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    /// A Dag with a task, its serialisation changed by `fields`, its code saying `code`.
    fn dag(&self, dag_id: &str, code: &str, fields: Value) -> TestResult<ParsedDag> {
        let path = self.folder.path().join(format!("{dag_id}.py"));
        std::fs::write(&path, code)?;
        let mut dag = json!({
            "dag_id": dag_id,
            "fileloc": path,
            "relative_fileloc": format!("{dag_id}.py"),
            "timezone": "UTC",
            "timetable": {"__type": "airflow.timetables.simple.NullTimetable", "__var": {}},
            "task_group": {
                "_group_id": null, "group_display_name": "", "prefix_group_id": true, "tooltip": "",
                "ui_color": "CornflowerBlue", "ui_fgcolor": "#000", "children": {"work": ["operator", "work"]},
                "upstream_group_ids": [], "downstream_group_ids": [], "upstream_task_ids": [], "downstream_task_ids": [],
            },
            "tasks": [{"__type": "operator", "__var": {
                "task_id": "work", "task_type": "BashOperator", "_task_module": "airflow.providers.standard.operators.bash",
            }}],
            "edge_info": {},
            "params": [],
            "deadline": null,
        });
        for (name, value) in fields.as_object().into_iter().flatten() {
            dag[name] = value.clone();
        }
        Ok(parsed_dag::read(json!({"__version": 3, "dag": dag}), &defaults())?)
    }

    async fn write(&self, dags: Vec<ParsedDag>) -> TestResult<WriteOutcome> {
        let path = dags.first().and_then(|dag| dag.relative_fileloc.clone()).unwrap_or_default();
        let file = ParsedFile { dags, ..file("b", &path) };
        Ok(parse_result::write(self.pool(), &file, &self.options).await?)
    }

    async fn texts(&self, query: &'static str) -> TestResult<Vec<String>> {
        Ok(sqlx::query_scalar(query).fetch_all(self.pool()).await?)
    }

    /// Gives the newest version of `dag_id` a task instance.
    async fn run_once(&self, dag_id: &str) -> TestResult {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "INSERT INTO dag_run (dag_id, run_id, run_type, state, run_after, clear_number, span_status, log_template_id)
             VALUES ('{dag_id}', 'r' || random(), 'manual', 'success', now(), 0, 'not_started', NULL);
             INSERT INTO task_instance (id, task_id, dag_id, run_id, map_index, try_number, max_tries, pool, pool_slots,
                 span_status, dag_version_id)
             SELECT gen_random_uuid(), 'work', r.dag_id, r.run_id, -1, 1, 0, 'default_pool', 1, 'not_started', v.id
             FROM dag_run AS r JOIN dag_version AS v USING (dag_id)
             WHERE dag_id = '{dag_id}' ORDER BY v.version_number DESC, r.id DESC LIMIT 1;"
        )))
        .execute(self.pool())
        .await?;
        Ok(())
    }
}

const VERSIONS: &str = "SELECT v.version_number || ' ' || c.source_code FROM dag_version AS v \
    JOIN serialized_dag AS s ON s.dag_version_id = v.id JOIN dag_code AS c ON c.dag_version_id = v.id ORDER BY v.version_number";

#[tokio::test]
async fn a_change_makes_a_new_version_once_the_old_one_was_used() -> TestResult {
    let fixture = Fixture::new().await?;
    let dag = |code: &str, description: &str| fixture.dag("d", code, json!({"description": description}));
    let changed = WriteOutcome { changed: vec!["d".to_owned()], ..WriteOutcome::default() };
    assert_eq!(fixture.write(vec![dag("one", "1")?]).await?, changed);
    // Nothing new.
    assert_eq!(fixture.write(vec![dag("one", "1")?]).await?, WriteOutcome::default());
    // A comment changes the code, but not the Dag.
    assert_eq!(fixture.write(vec![dag("# two", "1")?]).await?, WriteOutcome::default());
    assert_eq!(fixture.texts(VERSIONS).await?, ["1 # two"]);
    // Nobody has run the version yet: it takes the change.
    assert_eq!(fixture.write(vec![dag("three", "3")?]).await?, changed);
    assert_eq!(fixture.texts(VERSIONS).await?, ["1 three"]);
    fixture.run_once("d").await?;
    assert_eq!(fixture.write(vec![dag("four", "4")?]).await?, changed);
    assert_eq!(fixture.texts(VERSIONS).await?, ["1 three", "2 four"]);
    // The new version has not been used.
    assert_eq!(fixture.write(vec![dag("five", "5")?]).await?, changed);
    assert_eq!(fixture.texts(VERSIONS).await?, ["1 three", "2 five"]);
    let hashes = fixture.texts("SELECT DISTINCT dag_hash FROM serialized_dag").await?;
    assert_eq!(hashes.len(), 2);
    Ok(())
}

#[tokio::test]
async fn an_unchanged_dag_writes_its_row_and_nothing_else() -> TestResult {
    let fixture = Fixture::new().await?;
    let asset = json!({"__type": "asset", "__var": {"name": "a", "uri": "s3://b/a", "group": "asset", "extra": {}}});
    let schedule = json!({
        "__type": "airflow.timetables.simple.AssetTriggeredTimetable",
        "__var": {"asset_condition": {"__type": "asset", "name": "c", "uri": "s3://b/c", "group": "asset", "extra": {}}},
    });
    let dag = || {
        let task = json!({"__type": "operator", "__var": {
            "task_id": "work", "task_type": "BashOperator", "_task_module": "m", "outlets": [asset],
        }});
        fixture.dag(
            "d",
            "code",
            json!({
                "tags": ["x"], "timetable": schedule, "tasks": [task], "owner_links": {"me": "https://example.com"},
            }),
        )
    };
    fixture.write(vec![dag()?]).await?;
    let before = writers(&fixture).await?;
    fixture.write(vec![dag()?]).await?;
    fixture.write(vec![dag()?]).await?;
    let after = writers(&fixture).await?;
    let changed: Vec<_> = after.iter().filter(|(table, rows)| before.get(*table) != Some(rows)).collect();
    assert_eq!(changed.iter().map(|(table, _)| table.as_str()).collect::<Vec<_>>(), ["dag"]);
    assert!(before.values().filter(|rows| !rows.is_empty()).count() > 8, "{before:?}");
    Ok(())
}

/// The transactions that wrote the rows, by table.
async fn writers(fixture: &Fixture) -> TestResult<BTreeMap<String, Vec<String>>> {
    let tables = fixture.texts("SELECT relname::text FROM pg_stat_user_tables WHERE schemaname = 'public'").await?;
    let mut writers = BTreeMap::new();
    for table in tables {
        let query = format!("SELECT ctid::text || xmin::text FROM {table} ORDER BY 1");
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(fixture.pool()).await?;
        writers.insert(table, rows);
    }
    Ok(writers)
}

#[tokio::test]
async fn a_dag_is_not_written_more_often_than_allowed() -> TestResult {
    let mut fixture = Fixture::new().await?;
    fixture.options.min_update_interval = chrono::Duration::seconds(30);
    fixture.write(vec![fixture.dag("d", "one", json!({}))?]).await?;
    let outcome = fixture.write(vec![fixture.dag("d", "two", json!({"description": "new"}))?]).await?;
    let wait = outcome.postponed.ok_or("not postponed")? - chrono::Utc::now();
    assert!(wait > chrono::Duration::seconds(20) && wait < chrono::Duration::seconds(31), "{wait}");
    // The code follows at once, as in Airflow.
    assert_eq!(fixture.texts(VERSIONS).await?, ["1 two"]);
    assert_eq!(
        fixture.texts("SELECT dag_id FROM serialized_dag WHERE data #>> '{dag,description}' = 'new'").await?,
        [""; 0]
    );
    Ok(())
}

#[tokio::test]
async fn compressed_dags_are_read_back() -> TestResult {
    let mut fixture = Fixture::new().await?;
    fixture.options.compress = true;
    let dag = fixture.dag("d", "one", json!({}))?;
    let data = dag.data.clone();
    fixture.write(vec![dag]).await?;
    let (plain, compressed): (Option<Value>, Vec<u8>) =
        sqlx::query_as("SELECT data, data_compressed FROM serialized_dag").fetch_one(fixture.pool()).await?;
    assert_eq!(plain, None);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::ZlibDecoder::new(&*compressed), &mut text)?;
    assert_eq!(serde_json::from_str::<Value>(&text)?, data);
    Ok(())
}

#[tokio::test]
async fn what_a_dag_no_longer_says_goes() -> TestResult {
    let fixture = Fixture::new().await?;
    let asset = |name: &str| json!({"__type": "asset", "name": name, "uri": name, "group": "asset", "extra": {}});
    let timetable = json!({
        "__type": "airflow.timetables.simple.AssetTriggeredTimetable",
        "__var": {"asset_condition": {"__type": "asset_any", "objects": [
            asset("x"), {"__type": "asset_alias", "name": "al", "group": "asset"},
            {"__type": "asset_ref", "name": "by-name"}, {"__type": "asset_ref", "uri": "by-uri"},
        ]}},
    });
    let task = json!({"__type": "operator", "__var": {
        "task_id": "work", "task_type": "T", "_task_module": "m", "inlets": [asset("in")], "outlets": [asset("out")],
    }});
    let full = json!({"tags": ["a", "b"], "owner_links": {"me": "https://x"}, "timetable": timetable, "tasks": [task]});
    let mut file = ParsedFile { dags: vec![fixture.dag("d", "c", full)?], ..file("b", "d.py") };
    file.warnings.push(DagWarning {
        dag_id: "d".to_owned(),
        warning_type: "runtime varying value".to_owned(),
        message: "m".to_owned(),
    });
    parse_result::write(fixture.pool(), &file, &fixture.options).await?;
    const COUNTS: &str = "SELECT concat_ws(' ', (SELECT count(*) FROM dag_tag), (SELECT count(*) FROM dag_owner_attributes), \
        (SELECT count(*) FROM dag_schedule_asset_reference), (SELECT count(*) FROM dag_schedule_asset_alias_reference), \
        (SELECT count(*) FROM dag_schedule_asset_name_reference), (SELECT count(*) FROM dag_schedule_asset_uri_reference), \
        (SELECT count(*) FROM task_inlet_asset_reference), (SELECT count(*) FROM task_outlet_asset_reference), \
        (SELECT count(*) FROM dag_warning))";
    assert_eq!(fixture.texts(COUNTS).await?, ["2 1 1 1 1 1 1 1 1"]);
    fixture.write(vec![fixture.dag("d", "c", json!({}))?]).await?;
    assert_eq!(fixture.texts(COUNTS).await?, ["0 0 0 0 0 0 0 0 0"]);
    assert_eq!(fixture.texts("SELECT name FROM asset_active ORDER BY 1").await?, ["in", "out", "x"]);
    Ok(())
}

#[tokio::test]
async fn watchers_live_while_a_dag_that_runs_is_scheduled_by_their_asset() -> TestResult {
    let mut fixture = Fixture::new().await?;
    fixture.options.fernet = Arc::new(Fernet::new("81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=")?);
    let dag = |path: &str| {
        let watcher =
            json!({"name": "w", "trigger": {"classpath": "m.T", "kwargs": {"path": path, "poke_interval": 5.0}}});
        let asset =
            json!({"__type": "asset", "name": "x", "uri": "x", "group": "asset", "extra": {}, "watchers": [watcher]});
        let timetable = json!({
            "__type": "airflow.timetables.simple.AssetTriggeredTimetable", "__var": {"asset_condition": asset},
        });
        fixture.dag("d", "c", json!({"timetable": timetable}))
    };
    const WATCHERS: &str =
        "SELECT w.name || ' ' || t.classpath FROM asset_watcher w JOIN trigger t ON t.id = w.trigger_id";
    fixture.write(vec![dag("/a")?]).await?;
    assert_eq!(fixture.texts(WATCHERS).await?, [""; 0], "a paused Dag watches nothing");
    sqlx::query("UPDATE dag SET is_paused = false").execute(fixture.pool()).await?;
    fixture.write(vec![dag("/a")?]).await?;
    assert_eq!(fixture.texts(WATCHERS).await?, ["w m.T"]);
    let stored = fixture.texts("SELECT kwargs FROM trigger").await?;
    assert_eq!(fixture.options.fernet.decrypt(&stored[0])?, r#"{"path": "/a", "poke_interval": 5.0}"#);
    fixture.write(vec![dag("/a")?]).await?;
    assert_eq!(fixture.texts("SELECT kwargs FROM trigger").await?, stored, "the same trigger stays");
    fixture.write(vec![dag("/b")?]).await?;
    assert_eq!(fixture.texts(WATCHERS).await?.len(), 1);
    assert_eq!(fixture.texts("SELECT t.kwargs FROM asset_watcher w JOIN trigger t ON t.id = w.trigger_id WHERE t.kwargs = ANY(SELECT kwargs FROM trigger ORDER BY id LIMIT 1)").await?, [""; 0]);
    sqlx::query("UPDATE dag SET is_paused = true").execute(fixture.pool()).await?;
    fixture.write(vec![dag("/b")?]).await?;
    assert_eq!(fixture.texts(WATCHERS).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn deadline_alerts_keep_their_ids_until_they_change() -> TestResult {
    let fixture = Fixture::new().await?;
    let dag = |interval: f64, name: &str| {
        let alert = json!({"__type": "deadline_alert", "__var": {
            "name": name, "reference": {"reference_type": "DagRunQueuedAtDeadline"}, "interval": interval, "callback": {"path": "m.f"},
        }});
        fixture.dag("d", "c", json!({"deadline": [alert]}))
    };
    const ALERTS: &str = "SELECT a.id || ' ' || a.name || ' ' || (s.data #>> '{dag,deadline,0}' = a.id::text) \
        FROM deadline_alert AS a JOIN serialized_dag AS s ON s.id = a.serialized_dag_id JOIN dag_version AS v ON v.id = s.dag_version_id \
        ORDER BY v.version_number";
    fixture.write(vec![dag(60.0, "n")?]).await?;
    let first = fixture.texts(ALERTS).await?;
    assert!(first.len() == 1 && first[0].ends_with(" n true"), "{first:?}");
    assert_eq!(fixture.write(vec![dag(60.0, "n")?]).await?, WriteOutcome::default());
    assert_eq!(fixture.texts(ALERTS).await?, first);
    // Another name is no other alert.
    fixture.write(vec![dag(60.0, "m")?]).await?;
    assert_eq!(fixture.texts(ALERTS).await?, [first[0].replace(" n ", " m ")]);
    // Another interval is.
    assert_eq!(fixture.write(vec![dag(90.0, "m")?]).await?.changed, ["d"]);
    let third = fixture.texts(ALERTS).await?;
    assert!(third.len() == 1 && third[0][..36] != first[0][..36] && third[0].ends_with(" true"), "{third:?}");
    // A version that was used keeps its alerts.
    fixture.run_once("d").await?;
    fixture
        .write(vec![fixture.dag(
            "d",
            "c",
            json!({"description": "x", "deadline": [dag(90.0, "m")?.deadline.ok_or("none")?[0]]}),
        )?])
        .await?;
    let fourth = fixture.texts(ALERTS).await?;
    assert!(fourth.len() == 2 && fourth[0] == third[0] && fourth[1].ends_with(" true"), "{fourth:?}");
    Ok(())
}

#[tokio::test]
async fn dags_retire_with_their_file_or_bundle() -> TestResult {
    let fixture = Fixture::new().await?;
    for dag_id in ["a", "c", "zipped"] {
        let path = if dag_id == "zipped" { "all.zip/zipped.py".to_owned() } else { format!("{dag_id}.py") };
        fixture.write(vec![fixture.dag(dag_id, "c", json!({"relative_fileloc": path}))?]).await?;
    }
    let pool = fixture.pool();
    let present = ["a.py", "all.zip", "all.zip/zipped.py"].map(str::to_owned);
    assert_eq!(parse_result::retire_removed(pool, "b", &present).await?, ["c"]);
    assert_eq!(parse_result::retire_removed(pool, "b", &present).await?, [""; 0]);
    let threshold = chrono::Duration::seconds(50);
    let parsed =
        |seconds| ("b".to_owned(), "all.zip".to_owned(), chrono::Utc::now() + chrono::Duration::seconds(seconds));
    assert_eq!(parse_result::retire_unseen(pool, &[parsed(40)], threshold).await?, [""; 0]);
    assert_eq!(parse_result::retire_unseen(pool, &[parsed(60)], threshold).await?, ["zipped"]);
    // Parsed again, it is back.
    assert_eq!(fixture.write(vec![fixture.dag("c", "c", json!({}))?]).await?.changed, ["c"]);
    assert_eq!(dag_bundle::sync(pool, &["other".to_owned()]).await?, ["b"]);
    let mut gone = parse_result::retire_unseen(pool, &[], threshold).await?;
    gone.sort();
    assert_eq!(gone, ["a", "c"]);
    Ok(())
}

#[tokio::test]
async fn a_quiet_dag_is_kept_fresh_without_parsing() -> TestResult {
    let fixture = Fixture::new().await?;
    let timetable = json!({"__type": "airflow.timetables.trigger.CronTriggerTimetable", "__var": {
        "expression": "* * * * *", "timezone": "UTC", "interval": 0.0, "run_immediately": false,
    }});
    let dag =
        fixture.dag("d", "c", json!({"timetable": timetable, "start_date": 1_609_459_200.0, "catchup": false}))?;
    let schedule = dag.schedule.clone();
    fixture.write(vec![dag]).await?;
    sqlx::query("UPDATE dag SET last_parsed_time = 'epoch', next_dagrun = 'epoch', next_dagrun_create_after = 'epoch'")
        .execute(fixture.pool())
        .await?;
    let mut unknown = schedule.clone();
    unknown.dag_id = "unknown".to_owned();
    assert_eq!(parse_result::refresh(fixture.pool(), &[schedule, unknown]).await?, ["unknown"]);
    const FRESH: &str = "SELECT dag_id FROM dag WHERE last_parsed_time > now() - interval '1 minute' \
        AND next_dagrun > now() - interval '2 minutes' AND next_dagrun_create_after > now() - interval '2 minutes'";
    assert_eq!(fixture.texts(FRESH).await?, ["d"]);
    Ok(())
}

#[tokio::test]
async fn a_result_that_postgres_refuses_is_an_import_error() -> TestResult {
    let fixture = Fixture::new().await?;
    let outcome = fixture.write(vec![fixture.dag("d", "c", json!({"description": "a\u{0}b"}))?]).await?;
    assert_eq!(outcome, WriteOutcome { import_errors: 1, ..WriteOutcome::default() });
    let errors = fixture.texts("SELECT filename || ': ' || stacktrace FROM import_error").await?;
    assert!(errors[0].starts_with("d.py: The result of parsing this file cannot be stored"), "{errors:?}");
    // The next parse is right, and the error gone.
    fixture.write(vec![fixture.dag("d", "c", json!({}))?]).await?;
    assert_eq!(fixture.texts("SELECT filename FROM import_error").await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn requests_are_taken_once() -> TestResult {
    let fixture = Fixture::new().await?;
    let bundles = ["b".to_owned()];
    let pool = fixture.pool();
    assert_eq!(request::any(pool, &bundles).await?, (false, false));
    let callback =
        json!({"filepath": "d.py", "bundle_name": "b", "dag_id": "d", "run_id": "r", "type": "DagCallbackRequest"});
    sqlx::query(
        "INSERT INTO callback (id, type, fetch_method, data, bundle_name, priority_weight, created_at) \
         VALUES (gen_random_uuid(), 'dag_processor', 'dag_attribute', $1, 'b', 1, now())",
    )
    .bind(json!({"req_class": "DagCallbackRequest", "req_data": callback.to_string()}))
    .execute(pool)
    .await?;
    sqlx::query("INSERT INTO dag_priority_parsing_request VALUES ('1', 'b', 'd.py'), ('2', 'other', 'd.py')")
        .execute(pool)
        .await?;
    assert_eq!(request::any(pool, &bundles).await?, (true, true));
    let taken = request::take_parsing_requests(pool, &bundles).await?;
    assert_eq!(taken.iter().map(|asked| asked.relative_fileloc.as_str()).collect::<Vec<_>>(), ["d.py"]);
    let taken = request::take_callbacks(pool, &bundles, 20).await?;
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].request, callback);
    assert_eq!(request::any(pool, &bundles).await?, (false, false));
    Ok(())
}
