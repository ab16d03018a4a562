//! Requests that change something.

use crate::server::Server;
use futures::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::sleep;
use tradewind_airflow::evaluation::{Question, Reply};
use tradewind_metadata::evaluation;

#[tokio::test(flavor = "multi_thread")]
async fn triggers_and_marks_a_run_and_keeps_the_audit_log() {
    let server = Server::start().await;
    let runs = "/api/v2/dags/example_params_ui_tutorial/dagRuns";
    let (status, body) = server.write("POST", runs, json!({"logical_date": null})).await;
    let refusal = json!({"detail": "Invalid input for param required_field: No value passed"});
    assert_eq!((status, body), (400, refusal));

    let runs = "/api/v2/dags/example_xcom/dagRuns";
    let wanted =
        json!({"logical_date": "2026-11-05T00:00:00Z", "dag_run_id": "mine", "conf": {"a": 1}, "note": "hello"});
    let (status, run) = server.write("POST", runs, wanted.clone()).await;
    assert_eq!(status, 200, "{run}");
    assert_eq!(
        (&run["state"], &run["note"], &run["triggered_by"]),
        (&json!("queued"), &json!("hello"), &json!("rest_api"))
    );
    assert_eq!(server.write("POST", runs, wanted).await.0, 409);
    assert_eq!(server.read(&format!("{runs}/mine/taskInstances")).await["total_entries"], 6);

    let (status, run) = server.write("PATCH", &format!("{runs}/mine"), json!({"state": "failed"})).await;
    assert_eq!((status, &run["state"]), (200, &json!("failed")));
    let skipped = server.read(&format!("{runs}/mine/taskInstances?state=skipped")).await;
    assert_eq!(skipped["total_entries"], 6);
    let (status, cleared) = server.write("POST", &format!("{runs}/mine/clear"), json!({"dry_run": false})).await;
    assert_eq!((status, &cleared["state"]), (200, &json!("queued")));
    let events = server.read("/api/v2/eventLogs?run_id=mine&order_by=id").await;
    let events: Vec<&Value> =
        events["event_logs"].as_array().expect("a list").iter().map(|log| &log["event"]).collect();
    assert_eq!(events, ["trigger_dag_run", "trigger_dag_run", "patch_dag_run", "clear_dag_run"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_asked_for_at_once_are_made_together_and_refused_alone() {
    let server = Server::start().await;
    let runs = "/api/v2/dags/example_xcom/dagRuns";
    let too_long = "x".repeat(300);
    let ids: Vec<String> =
        (0..40).map(|number| format!("run-{number}")).chain(["twice", "twice", &too_long].map(str::to_owned)).collect();
    let ask = |id: &String| {
        server.write("POST", runs, json!({"logical_date": null, "dag_run_id": id, "note": format!("of {id}")}))
    };
    let answers = join_all(ids.iter().map(ask)).await;
    let mut statuses = BTreeMap::<&str, Vec<u16>>::new();
    for (id, (status, run)) in ids.iter().zip(&answers) {
        statuses.entry(id).or_default().push(*status);
        if *status == 200 {
            assert_eq!((&run["dag_run_id"], &run["note"]), (&json!(id), &json!(format!("of {id}"))));
            assert_eq!(run["dag_versions"].as_array().map(Vec::len), Some(1), "{run}");
            assert_eq!(server.read(&format!("{runs}/{id}/taskInstances")).await["total_entries"], 6);
        }
    }
    assert_eq!(statuses.remove(&*too_long), Some(vec![422]));
    let mut twice = statuses.remove("twice").unwrap_or_default();
    twice.sort_unstable();
    assert_eq!(twice, [200, 409]);
    assert!(statuses.values().all(|statuses| *statuses == [200]), "{statuses:?}");
    let records = server.read("/api/v2/eventLogs?event=trigger_dag_run&dag_id=example_xcom&limit=1").await;
    assert_eq!(records["total_entries"], 43);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_queued_while_its_run_is_ended_does_not_run() {
    let server = Server::start().await;
    let runs = "/api/v2/dags/example_xcom/dagRuns";
    let (status, run) = server.write("POST", runs, json!({"logical_date": null, "dag_run_id": "mine"})).await;
    assert_eq!(status, 200, "{run}");
    // A scheduler that queues a task instance and has not committed yet.
    let mut scheduler = server.pool().begin().await.expect("a transaction");
    let queue = "UPDATE task_instance SET state = 'queued' WHERE id = \
                 (SELECT id FROM task_instance WHERE dag_id = 'example_xcom' AND run_id = 'mine' ORDER BY id LIMIT 1)";
    assert_eq!(sqlx::query(queue).execute(&mut *scheduler).await.expect("queued").rows_affected(), 1);
    let path = format!("{runs}/mine");
    let commit = async {
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
        while !sqlx::query_scalar::<_, bool>(waits).fetch_one(server.pool()).await.expect("a truth value") {
            sleep(Duration::from_millis(20)).await;
        }
        scheduler.commit().await.expect("committed");
    };
    let ((status, ended), ()) = tokio::join!(server.write("PATCH", &path, json!({"state": "failed"})), commit);
    assert_eq!((status, &ended["state"]), (200, &json!("failed")));
    assert_eq!(server.read(&format!("{path}/taskInstances?state=skipped")).await["total_entries"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_instance_keeps_what_its_task_tells_the_executor() {
    let server = Server::start().await;
    let config = json!({"__type": "dict", "__var": {
        "KubernetesExecutor": {"__type": "dict", "__var": {"image": "it's", "n": [1, null, true, 2.5]}},
    }});
    let statement = "UPDATE serialized_dag SET data = jsonb_set(data, '{dag,tasks,0,__var,executor_config}', $1) \
                     WHERE dag_id = 'example_xcom' RETURNING data #>> '{dag,tasks,0,__var,task_id}'";
    let task_id: String = sqlx::query_scalar(statement).bind(config).fetch_one(server.pool()).await.expect("a task");
    let runs = "/api/v2/dags/example_xcom/dagRuns";
    let (status, run) = server.write("POST", runs, json!({"logical_date": null, "dag_run_id": "mine"})).await;
    assert_eq!(status, 200, "{run}");
    let instances = server.read(&format!("{runs}/mine/taskInstances")).await;
    for instance in instances["task_instances"].as_array().expect("a list") {
        let config = "{'KubernetesExecutor': {'n': [1, None, True, 2.5], 'image': \"it's\"}}";
        let expected = if instance["task_id"] == *task_id { config } else { "{}" };
        assert_eq!(instance["executor_config"], expected, "{instance}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_a_question_once_and_lets_the_task_go_on() {
    let server = Server::start().await;
    let instance = "/api/v2/dags/example_hitl_operator/dagRuns/one/taskInstances/wait_for_option";
    let path = format!("{instance}/-1/hitlDetails");
    let (status, body) = server.write("PATCH", &path, json!({"chosen_options": ["no such option"]})).await;
    let refusal = "Invalid options ['no such option']; allowed options are ['option 1', 'option 2', 'option 3'].";
    assert_eq!((status, body), (400, json!({"detail": refusal})));
    assert_eq!(server.read(instance).await["state"], "awaiting_input");

    let (status, answered) = server.write("PATCH", &path, json!({"chosen_options": ["option 1"]})).await;
    assert_eq!(status, 200, "{answered}");
    assert_eq!(answered["responded_by"], json!({"id": "admin", "name": "admin"}));
    assert_eq!(server.read(instance).await["state"], "scheduled");
    assert_eq!(server.write("PATCH", &path, json!({"chosen_options": ["option 2"]})).await.0, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn backfills_the_dates_that_have_no_run() {
    let server = Server::start().await;
    let wanted = json!({
        "dag_id": "example_bash_operator", "from_date": "2026-10-31T00:00:00Z", "to_date": "2026-11-02T00:00:00Z",
        "run_backwards": true, "dag_run_conf": {"a": 1},
    });
    let dates = |listed: &Value, list: &str| -> Vec<String> {
        let entries = listed[list].as_array().expect("a list");
        entries.iter().map(|entry| entry["logical_date"].as_str().expect("a date").to_owned()).collect()
    };
    // A run of 1 November exists.
    let missing = ["2026-11-02T00:00:00Z", "2026-10-31T00:00:00Z"];
    let (status, preview) = server.write("POST", "/api/v2/backfills/dry_run", wanted.clone()).await;
    assert_eq!((status, dates(&preview, "backfills")), (200, missing.map(str::to_owned).to_vec()));

    let (status, backfill) = server.write("POST", "/api/v2/backfills", wanted.clone()).await;
    assert_eq!(status, 200, "{backfill}");
    let runs = server.read("/api/v2/dags/example_bash_operator/dagRuns?run_type=backfill&order_by=-logical_date").await;
    assert_eq!(dates(&runs, "dag_runs"), missing);
    assert_eq!((&runs["dag_runs"][0]["conf"], &runs["dag_runs"][0]["state"]), (&json!({"a": 1}), &json!("queued")));
    let (status, refusal) = server.write("POST", "/api/v2/backfills", wanted).await;
    let detail = "There is already a running backfill for dag example_bash_operator";
    assert_eq!((status, refusal), (409, json!({"detail": detail})));

    let path = format!("/api/v2/backfills/{}", backfill["id"]);
    assert_eq!(server.write("PUT", &format!("{path}/pause"), Value::Null).await.1["is_paused"], true);
    let (_, cancelled) = server.write("PUT", &format!("{path}/cancel"), Value::Null).await;
    assert!(cancelled["completed_at"].is_string(), "{cancelled}");
    let failed = server.read("/api/v2/dags/example_bash_operator/dagRuns?run_type=backfill&state=failed").await;
    assert_eq!(failed["total_entries"], 2);
    assert_eq!(server.write("PUT", &format!("{path}/unpause"), Value::Null).await.0, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_waits_for_a_run_without_holding_the_dag() {
    let server = Server::start().await;
    let wanted = json!({
        "dag_id": "example_bash_operator", "from_date": "2026-10-31T00:00:00Z", "to_date": "2026-11-02T00:00:00Z",
    });
    // As a scheduler that ends a run.
    let mut ending = server.pool().begin().await.expect("a transaction");
    sqlx::query("SELECT FROM dag_run WHERE dag_id = 'example_bash_operator' FOR NO KEY UPDATE")
        .execute(&mut *ending)
        .await
        .expect("the runs are held");
    let (status, preview) = server.write("POST", "/api/v2/backfills/dry_run", wanted.clone()).await;
    assert_eq!((status, &preview["total_entries"]), (200, &json!(2)), "a preview waits for nobody");
    let backfill = server.write("POST", "/api/v2/backfills", wanted);
    let end = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(server.pool()).await.expect("a number") == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        sqlx::query("UPDATE dag SET exceeds_max_non_backfill = false WHERE dag_id = 'example_bash_operator'")
            .execute(&mut *ending)
            .await
            .expect("nobody holds the Dag");
        ending.commit().await.expect("committed");
    };
    let ((status, backfill), ()) = tokio::join!(backfill, end);
    assert_eq!(status, 200, "{backfill}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_s_backfill_of_too_many_runs_is_refused() {
    let server = Server::start_with(&["partitions.sql"]).await;
    sqlx::query(
        "UPDATE serialized_dag SET data = jsonb_set(data::jsonb, '{dag,timetable}', \
         '{\"__type\": \"my.plugin.Timetable\", \"__var\": {}}'::jsonb) WHERE dag_id = 'by_day'",
    )
    .execute(server.pool())
    .await
    .expect("a timetable of a plugin");
    let pool = server.pool().clone();
    // As a Dag processor, whose plugin has runs without end.
    let processor = tokio::spawn(async move {
        loop {
            for asked in evaluation::claim(&pool, None, Duration::ZERO).await.expect("questions") {
                let Question::BackfillRuns(question) = asked.question else { panic!("{:?}", asked.question) };
                let run = json!({"run_after": "2026-01-02T00:00:00Z", "partition_date": null, "partition_key": null,
                    "data_interval": ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]});
                let runs = vec![run; question.limit];
                let answer =
                    json!({"periodic": true, "partitioned": false, "runs": runs, "run_ids": [], "error": null});
                evaluation::answer(&pool, asked.id, &Reply::Answer(answer)).await.expect("answered");
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
    let wanted = json!({"dag_id": "by_day", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-02-01T00:00:00Z"});
    let detail = "A backfill of by_day cannot have more than 10000 runs.";
    for path in ["/api/v2/backfills/dry_run", "/api/v2/backfills"] {
        assert_eq!(server.write("POST", path, wanted.clone()).await, (422, json!({"detail": detail})));
    }
    processor.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_events_of_assets_and_makes_them() {
    let server = Server::start().await;
    let assets = server.read("/api/v2/assets?limit=100").await;
    let assets = assets["assets"].as_array().expect("a list");
    let makers = |asset: &Value| asset["producing_tasks"].as_array().expect("a list").len();
    let asset = assets.iter().find(|asset| makers(asset) == 1).expect("an asset with one maker");
    let (status, run) = server.write("POST", &format!("/api/v2/assets/{}/materialize", asset["id"]), Value::Null).await;
    assert_eq!(status, 200, "{run}");
    assert_eq!(
        (&run["run_type"], &run["dag_id"]),
        (&json!("asset_materialization"), &asset["producing_tasks"][0]["dag_id"])
    );
    let nobody = assets.iter().find(|asset| makers(asset) == 0).expect("an asset without maker");
    assert_eq!(server.write("POST", &format!("/api/v2/assets/{}/materialize", nobody["id"]), json!({})).await.0, 404);

    let (status, event) =
        server.write("POST", "/api/v2/assets/events", json!({"asset_id": asset["id"], "extra": {"rows": 3}})).await;
    assert_eq!(status, 200, "{event}");
    assert_eq!(event["extra"], json!({"rows": 3, "from_rest_api": true}));
    assert_eq!((&event["source_dag_id"], &event["source_map_index"]), (&Value::Null, &json!(-1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_values_of_tasks_and_assets() {
    let server = Server::start().await;
    for (store, of_task) in [
        ("/api/v2/assets/1/state-store", false),
        ("/api/v2/dags/example_xcom/dagRuns/one/taskInstances/push/state-store", true),
    ] {
        let path = format!("{store}/a/b");
        assert_eq!(server.write("PUT", &path, json!({"value": {"x": [1, null]}})).await.0, 204);
        let entry = server.read(&path).await;
        assert_eq!((&entry["key"], &entry["value"]), (&json!("a/b"), &json!({"x": [1, null]})));
        assert_eq!(entry["expires_at"].is_string(), of_task, "{entry}");
        assert_eq!(server.write("PUT", &path, json!({"value": null})).await.0, 422);
        let patched = server.write("PATCH", &path, json!({"value": 2})).await.0;
        assert_eq!(patched, if of_task { 200 } else { 405 });
        assert_eq!(server.write("DELETE", store, Value::Null).await.0, 204);
        assert_eq!(server.write("PUT", "/api/v2/assets/999/state-store/a", json!({"value": 1})).await.0, 404);
        assert_eq!(
            server.read(&path).await["detail"].as_str().map(|text| text.ends_with("key 'a/b' not found")),
            Some(true)
        );
    }
}
