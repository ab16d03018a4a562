//! Deadlines that need Python: the callbacks of missed ones, and those of which a Variable or a plugin decides when they are.

use std::fs;

use serde_json::{Value, json};
use sqlx::{PgPool, query, query_as, query_scalar};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tradewind_dag_processor::DagProcessorError;
use uuid::Uuid;

use crate::parsing::{Fixture, bundles, eventually};
use crate::support::TestResult;

const FILE: &str = "\
import os, time
from pathlib import Path
from airflow.sdk import dag

def note(context, text):
    Path(os.environ['AIRFLOW_HOME'], text).write_text(context['dag_run']['dag_id'])

def sleep():
    Path(os.environ['AIRFLOW_HOME'], 'sleeps').touch()
    time.sleep(600)

@dag(schedule=None)
def late(): pass
late()
";

/// A Dag, `late`, which has one run, and a Dag processor that looks after it.
struct Deployment {
    fixture: Fixture,
    _dags: TempDir,
    run: i32,
    /// The name of the Dag file's module in callbacks.
    module: String,
    shutdown: CancellationToken,
}

impl Deployment {
    async fn prepare(settings: &[(&str, String)]) -> TestResult<Self> {
        let dags = TempDir::new()?;
        fs::write(dags.path().join("late.py"), FILE)?;
        let bundles = bundles(&[("live", dags.path())]);
        let fixture = Fixture::start(&[settings, &[bundles]].concat()).await?;
        fixture.parse_once().await?;
        let run = query_scalar(
            "INSERT INTO dag_run (dag_id, run_id, run_type, state, run_after, logical_date, queued_at, clear_number, \
                 span_status, updated_at, created_dag_version_id) \
             SELECT dag_id, 'r', 'manual', 'running', now(), '2026-01-01Z', now(), 0, 'not_started', now(), id \
             FROM dag_version WHERE dag_id = 'late' RETURNING id",
        )
        .fetch_one(fixture.pool())
        .await?;
        let module = format!("unusual_prefix_{}_late", "0".repeat(40));
        Ok(Self { fixture, _dags: dags, run, module, shutdown: CancellationToken::new() })
    }

    /// Sets the Dag processor to work.
    fn start(&self) -> TestResult<JoinHandle<Result<(), DagProcessorError>>> {
        let (processor, shutdown) = (self.fixture.processor()?, self.shutdown.clone());
        Ok(tokio::spawn(async move { processor.run(shutdown).await }))
    }

    fn pool(&self) -> &PgPool {
        self.fixture.pool()
    }

    /// Leaves a callback as a scheduler does that finds a missed deadline.
    async fn miss(&self, path: &str, kwargs: Value, state: &str) -> TestResult<Uuid> {
        let kwargs = json!({"__type": "dict", "__var": kwargs});
        let data = json!({"__type": "dict", "__var": {
            "path": path, "kwargs": kwargs, "dag_id": "late", "dag_run_id": self.run.to_string(), "prefix": "deadline_alerts",
        }});
        let id = Uuid::now_v7();
        query(
            "INSERT INTO callback (id, type, fetch_method, data, bundle_name, state, priority_weight, created_at) \
             VALUES ($1, 'executor', 'import_path', $2, 'live', $3, 1, now())",
        )
        .bind(id)
        .bind(data)
        .bind(state)
        .execute(self.pool())
        .await?;
        query(
            "INSERT INTO deadline (id, created_at, last_updated_at, dagrun_id, deadline_time, missed, callback_id) \
             VALUES ($1, now(), now() - interval '2 min', $2, now(), true, $1)",
        )
        .bind(id)
        .bind(self.run)
        .execute(self.pool())
        .await?;
        Ok(id)
    }

    async fn enqueue(&self, id: Uuid, attempts: i32) -> TestResult {
        query("INSERT INTO tradewind.deadline_callback (callback_id, claimed_until, attempts) VALUES ($1, now() - interval '1 s', $2)")
            .bind(id)
            .bind(attempts)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    async fn stop(self, processor: JoinHandle<Result<(), DagProcessorError>>) -> TestResult<Fixture> {
        self.shutdown.cancel();
        processor.await??;
        Ok(self.fixture)
    }
}

const UNENDED: &str =
    "SELECT state || coalesce(': ' || output, '') FROM callback WHERE state NOT IN ('success', 'failed')";

#[tokio::test]
async fn callbacks_of_missed_deadlines_end_in_one_way_or_another() -> TestResult {
    let limit = ("AIRFLOW__CALLBACKS__CALLBACK_EXECUTION_TIMEOUT", "2".to_owned());
    let deployment = Deployment::prepare(&[limit]).await?;
    let module = &deployment.module;
    let context = json!({"__type": "dict", "__var": {"dag_run": {"__type": "dict", "__var": {"dag_id": "late"}}}});
    let note = |text: &str| json!({"context": context.clone(), "text": text});
    let queued = deployment.miss(&format!("{module}.note"), note("queued"), "queued").await?;
    let left_behind = deployment.miss(&format!("{module}.note"), note("left behind"), "pending").await?;
    let slow = deployment.miss(&format!("{module}.sleep"), json!({}), "queued").await?;
    let lost = deployment.miss(&format!("{module}.note"), note("lost"), "running").await?;
    let orphan = deployment.miss(&format!("{module}.note"), note("orphan"), "queued").await?;
    query("UPDATE callback SET data = jsonb_set(data::jsonb, '{__var,dag_run_id}', '\"0\"') WHERE id = $1")
        .bind(orphan)
        .execute(deployment.pool())
        .await?;
    for (id, attempts) in [(queued, 0), (slow, 0), (lost, 3), (orphan, 0), (Uuid::nil(), 0)] {
        deployment.enqueue(id, attempts).await?;
    }
    let processor = deployment.start()?;
    eventually(deployment.pool(), UNENDED, &[]).await?;
    let ended: Vec<(Uuid, String, Option<String>)> =
        query_as("SELECT id, state, output FROM callback ORDER BY id").fetch_all(deployment.pool()).await?;
    let failed = |id, output: &str| (id, "failed".to_owned(), Some(output.to_owned()));
    let expected = [
        (queued, "success".to_owned(), None),
        (left_behind, "success".to_owned(), None),
        failed(slow, "Callback took longer than 2s ([callbacks] callback_execution_timeout) and was stopped"),
        failed(lost, "the process that called it was lost 3 times"),
        failed(orphan, "the run that missed its deadline was deleted"),
    ];
    assert_eq!(ended, expected);
    eventually(deployment.pool(), "SELECT callback_id::text FROM tradewind.deadline_callback", &[]).await?;
    let fixture = deployment.stop(processor).await?;
    for (text, is_there) in [("queued", true), ("left behind", true), ("lost", false), ("orphan", false)] {
        assert_eq!(fixture.home.path().join(text).exists(), is_there, "{text}");
    }
    let log = fixture.home.path().join(format!("logs/executor_callbacks/late/r/{queued}"));
    assert!(fs::read_to_string(log)?.contains("Callback executed successfully"));
    Ok(())
}

#[tokio::test]
async fn a_callback_outlives_the_dag_processor_that_calls_it() -> TestResult {
    let deployment = Deployment::prepare(&[]).await?;
    let id = deployment.miss(&format!("{}.sleep", deployment.module), json!({}), "queued").await?;
    deployment.enqueue(id, 0).await?;
    let processor = deployment.start()?;
    eventually(deployment.pool(), "SELECT state FROM callback", &["running"]).await?;
    for _ in 0..150 {
        if deployment.fixture.home.path().join("sleeps").exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let fixture = deployment.stop(processor).await?;
    let left: (String, i32, bool) = query_as(
        "SELECT state, attempts, claimed_until IS NULL FROM callback JOIN tradewind.deadline_callback ON callback_id = id",
    )
    .fetch_one(fixture.pool())
    .await?;
    assert_eq!(left, ("queued".to_owned(), 0, true));
    Ok(())
}

#[tokio::test]
async fn a_deadline_that_nobody_can_tell_is_given_up() -> TestResult {
    let deployment = Deployment::prepare(&[("AIRFLOW_VAR_WORDS", "soon".to_owned())]).await?;
    let variable =
        |key: &str| json!({"__classname__": "a.VariableInterval", "__version__": 0, "__data__": {"key": key}});
    let length = json!({"__classname__": "datetime.timedelta", "__version__": 2, "__data__": 60.0});
    let logical = json!({"reference_type": "DagRunLogicalDateDeadline"});
    let custom = json!({"reference_type": "Mine", "__class_path": "plugin.Mine"});
    let alerts =
        [(&logical, variable("missing")), (&logical, variable("words")), (&custom, length.clone()), (&logical, length)];
    for (reference, interval) in alerts {
        query(
            "WITH alert AS (\
                 INSERT INTO deadline_alert (id, created_at, serialized_dag_id, reference, \"interval\", callback_def) \
                 SELECT gen_random_uuid(), now(), id, $2, $3, $4 FROM serialized_dag WHERE dag_id = 'late' RETURNING id\
             ) \
             INSERT INTO tradewind.deadline_request (dag_run_id, deadline_alert_id, requested_at) SELECT $1, id, now() FROM alert",
        )
        .bind(deployment.run)
        .bind(reference)
        .bind(interval)
        .bind(json!({
            "__classname__": "airflow.sdk.definitions.callback.SyncCallback", "__version__": 0,
            "__data__": {"path": "m.f", "kwargs": {}},
        }))
        .execute(deployment.pool())
        .await?;
    }
    let processor = deployment.start()?;
    eventually(deployment.pool(), "SELECT deadline_alert_id::text FROM tradewind.deadline_request", &[]).await?;
    let made = "SELECT to_char(deadline_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM deadline";
    eventually(deployment.pool(), made, &["2026-01-01 00:01:00"]).await?;
    deployment.stop(processor).await?;
    Ok(())
}
