//! Partitions: how far those are that wait, and runs that leave theirs.

use crate::Document;
use crate::server::Server;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn partitions_tell_how_much_of_what_they_need_has_arrived() {
    let server = Server::start_with(&["partitions.sql"]).await;
    let list = server.read("/ui/partitioned_dag_runs").await;
    let totals = |list: &Value| -> Vec<Value> {
        let partitions = list["partitioned_dag_runs"].as_array().expect("a list").iter();
        partitions
            .map(|it| json!([it["partition_key"], it["total_received"], it["total_required"], it["state"]]))
            .collect()
    };
    // Of the hours two of 24 have come; a third is of another day. Of the other asset any event will do. A key that is no
    // date has no hours: as the scheduler will make no run, none counts.
    let expected = [
        json!(["no date", 1, 2, "pending"]),
        json!(["2026-03-02", 3, 25, "pending"]),
        json!(["2026-03-01", 0, 25, "success"]),
    ];
    assert_eq!(totals(&list), expected);
    assert_eq!(list["partitioned_dag_runs"][2]["created_dag_run_id"], "done");
    assert_eq!(list["partitioned_dag_runs"][1]["created_at"], "2026-03-02T12:00:00+00:00");
    assert_eq!((&list["total"], &list["asset_expressions"]), (&json!(3), &json!({"gathers": {"all": []}})));

    let pending = server.read("/ui/partitioned_dag_runs?dag_id=gathers&has_created_dag_run_id=false").await;
    assert_eq!((totals(&pending), &pending["asset_expressions"]), (expected[..2].to_vec(), &Value::Null));
    let done = server.read("/ui/partitioned_dag_runs?dag_id=gathers&has_created_dag_run_id=true").await;
    assert_eq!(totals(&done), expected[2..]);
    let none = server.read("/ui/partitioned_dag_runs?dag_id=example_xcom").await;
    assert_eq!(none, json!({"partitioned_dag_runs": [], "total": 0, "asset_expressions": null}));
    let unknown = server.read("/ui/partitioned_dag_runs?dag_id=nope").await;
    assert_eq!(unknown, json!({"detail": "Dag with id nope was not found"}));

    let document = Document::load("_private_ui.yaml");
    document.validate("/ui/partitioned_dag_runs", &list);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_partition_shows_each_asset() {
    let server = Server::start_with(&["partitions.sql"]).await;
    let path = "/ui/pending_partitioned_dag_run/gathers";
    let partition = server.read(&format!("{path}?partition_key=2026-03-02")).await;
    Document::load("_private_ui.yaml").validate("/ui/pending_partitioned_dag_run/{dag_id}", &partition);
    let shown = |index: usize, fields: &[&str]| -> Vec<Value> {
        fields.iter().map(|field| partition["assets"][index][*field].clone()).collect()
    };
    let fields = ["asset_name", "received", "received_count", "required_count", "is_rollup", "asset_inactive"];
    // As in Airflow a key of another day counts here.
    assert_eq!(shown(0, &fields), [json!("hours"), json!(false), json!(3), json!(24), json!(true), json!(false)]);
    assert_eq!(shown(1, &fields), [json!("other"), json!(true), json!(1), json!(1), json!(false), json!(true)]);
    assert_eq!(partition["assets"][0]["required_keys"][23], "2026-03-02T23");
    assert_eq!(partition["assets"][1]["received_keys"], json!(["a", "b"]));
    assert_eq!((&partition["total_received"], &partition["total_required"]), (&json!(4), &json!(25)));
    assert_eq!(partition["updated_at"], "2026-03-02T12:00:01+00:00");

    let broken = server.read(&format!("{path}?partition_key=no%20date")).await;
    let hours = &broken["assets"][0];
    assert_eq!((&hours["mapper_error"], &hours["received_keys"]), (&json!(true), &json!([])));
    assert_eq!((&hours["received_count"], &hours["required_count"]), (&json!(0), &json!(1)));

    let gone = server.read(&format!("{path}?partition_key=2026-03-01")).await;
    assert_eq!(gone, json!({"detail": "No PartitionedDagRun for dag=gathers partition=2026-03-01"}));
    let problem = json!({"type": "missing", "loc": ["query", "partition_key"], "msg": "Field required", "input": null});
    assert_eq!(server.read(path).await, json!({"detail": [problem]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_of_a_partitioned_dag_is_that_of_the_oldest_partition() {
    let server = Server::start_with(&["partitions.sql"]).await;
    sqlx::query(
        "INSERT INTO asset_event (asset_id, extra, source_map_index, timestamp) \
         SELECT id, '{}', -1, now() FROM asset WHERE id > 900",
    )
    .execute(server.pool())
    .await
    .expect("events");
    let next = server.read("/ui/next_run_assets/gathers").await;
    Document::load("_private_ui.yaml").validate("/ui/next_run_assets/{dag_id}", &next);
    assert_eq!(next["pending_partition_count"], 2);
    let [hours, other] = &next["events"].as_array().expect("a list")[..] else { panic!("two assets") };
    let counts = |event: &Value| [event["received_count"].clone(), event["required_count"].clone()];
    assert_eq!((counts(hours), &hours["is_rollup"]), ([json!(3), json!(24)], &json!(true)));
    // As in Airflow each key counts, also of an asset of which one is enough.
    assert_eq!((counts(other), &other["required_keys"]), ([json!(2), json!(1)], &json!(["2026-03-02"])));
    assert!(hours["last_update"].is_null() && other["last_update"].is_string());

    sqlx::query("UPDATE asset_partition_dag_run SET created_dag_run_id = 9001")
        .execute(server.pool())
        .await
        .expect("runs");
    let next = server.read("/ui/next_run_assets/gathers").await;
    assert_eq!(next["pending_partition_count"], 0);
    let hours = &next["events"][0];
    assert_eq!((counts(hours), &hours["is_rollup"]), ([json!(0), json!(1)], &json!(true)));
    assert!(hours["last_update"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_cannot_be_read_hides_no_other_reason() {
    let server = Server::start_with(&["partitions.sql"]).await;
    let hours = json!({"all": [{"asset": {"name": "hours", "uri": "x://hours", "group": "asset"}}]});
    sqlx::query("UPDATE dag SET asset_expression = $1 WHERE dag_id = 'gathers'")
        .bind(hours)
        .execute(server.pool())
        .await
        .expect("a condition");
    let codes = async || -> Vec<Value> {
        let told = server.read("/tradewind/v1/dags/gathers/explain").await;
        let reasons = told["reasons"].as_array().unwrap_or_else(|| panic!("{told}"));
        reasons.iter().map(|reason| reason["code"].clone()).collect()
    };
    let readable = codes().await;
    let others: Vec<Value> = readable.iter().filter(|code| **code != json!("partitions_awaited")).cloned().collect();
    assert!(others.contains(&json!("dag_paused")) && others.len() < readable.len(), "{readable:?}");
    for unreadable in [
        "UPDATE serialized_dag SET data = jsonb_set(data::jsonb, '{dag,timetable,__var,default_partition_mapper}', '7') \
         WHERE dag_id = 'gathers'",
        "UPDATE dag SET asset_expression = '{\"some\": 7}' WHERE dag_id = 'gathers'",
    ] {
        sqlx::query(unreadable).execute(server.pool()).await.expect("changed");
        assert_eq!(codes().await, others, "{unreadable}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_cleared_by_partition() {
    let server = Server::start_with(&["partitions.sql"]).await;
    let clear = async |dag_id: &str, body: Value| {
        server.write("POST", &format!("/api/v2/dags/{dag_id}/clearDagRuns"), body).await
    };
    let (status, would) = clear("by_day", json!({"partition_key": "b"})).await;
    assert_eq!((status, &would["total_entries"]), (200, &json!(2)));
    let window = json!({"partition_date_start": "2026-03-02T00:00:00", "partition_date_end": "2026-03-03T00:00:00"});
    let (_, would) = clear("by_day", window).await;
    let runs: Vec<_> = would["task_instances"].as_array().expect("a list").iter().map(|it| &it["dag_run_id"]).collect();
    assert_eq!(runs, ["first", "second"]);
    let (status, cleared) = clear("by_day", json!({"partition_key": "b", "dry_run": false})).await;
    assert_eq!(status, 200, "{cleared}");
    let shown = |run: &Value| json!([run["dag_run_id"], run["state"], run["partition_key"]]);
    let runs: Vec<Value> = cleared["dag_runs"].as_array().expect("a list").iter().map(shown).collect();
    assert_eq!(runs, [json!(["second", "queued", "b"]), json!(["third", "queued", "b"])]);

    let detail = "Partition selectors require a concrete dag_id; '~' is not supported.";
    assert_eq!(clear("~", json!({"partition_key": "b"})).await, (400, json!({"detail": detail})));
    let (status, refused) = clear("by_day", json!({})).await;
    let rule = "Value error, Exactly one of dag_runs (non-empty), partition_key, or a partition date window \
                (partition_date_start / partition_date_end) must be provided.";
    assert_eq!((status, &refused["detail"][0]["msg"]), (422, &json!(rule)));
    let both = json!({"partition_key": "b", "dag_runs": [{"dag_run_id": "first"}]});
    assert_eq!(clear("by_day", both).await.0, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_by_days_of_the_timetable_s_zone() {
    let server = Server::start_with(&["partitions.sql"]).await;
    let partitioned = "{\"__type\": \"airflow.timetables.trigger.CronPartitionTimetable\", \"__var\": {\"expression\": \
                       \"0 0 * * *\", \"timezone\": \"Europe/Berlin\", \"run_offset\": 0, \"run_immediately\": false, \
                       \"key_format\": \"%Y-%m-%d\"}}";
    sqlx::query(
        "UPDATE serialized_dag SET data = jsonb_set(data, '{dag,timetable}', $1::jsonb) WHERE dag_id = 'by_day'",
    )
    .bind(partitioned)
    .execute(server.pool())
    .await
    .expect("another timetable");
    let list = async |query: &str| {
        let runs = server.read(&format!("/api/v2/dags/by_day/dagRuns?order_by=run_id&{query}")).await;
        let runs = runs["dag_runs"].as_array().unwrap_or_else(|| panic!("{runs}")).clone();
        runs.iter().map(|run| run["dag_run_id"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    // 2026-03-02T23:00 UTC is the beginning of the third in Berlin.
    assert_eq!(list("partition_date_gte=2026-03-03&partition_date_lte=2026-03-03").await, ["second"]);
    assert_eq!(list("partition_date_lte=2026-03-03").await, ["first", "second"]);
    assert_eq!(list("partition_date_gte=2026-03-04").await, ["third"]);
    let other = server.read("/api/v2/dags/example_xcom/dagRuns?partition_date_gte=2026-03-04").await;
    let detail = "Dag with dag_id: 'example_xcom' is not partitioned; partition_date_gte and partition_date_lte are not \
                  supported.";
    assert_eq!(other, json!({"detail": detail}));
    let wrong = server.read("/api/v2/dags/by_day/dagRuns?partition_date_gte=x").await;
    let problem = json!({
        "type": "date_from_datetime_parsing", "loc": ["query", "partition_date_gte"], "input": "x",
        "msg": "Input should be a valid date or datetime, input is too short", "ctx": {"error": "input is too short"},
    });
    assert_eq!(wrong, json!({"detail": [problem]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_leave_their_partitions() {
    let server = Server::start_with(&["partitions.sql"]).await;
    let path = "/api/v2/dags/by_day/clearPartitions";
    let clear = async |body: Value| server.write("POST", path, body).await;
    let keys = async || {
        let runs = server.read("/api/v2/dags/by_day/dagRuns?order_by=run_id").await;
        let runs = runs["dag_runs"].as_array().expect("a list").clone();
        runs.iter().map(|run| json!([run["dag_run_id"], run["partition_key"], run["state"]])).collect::<Vec<_>>()
    };
    let before = keys().await;
    let counts = |runs: u32, instances: u32, dry_run: bool| json!({"dag_runs_cleared": runs, "task_instances_cleared": instances, "dry_run": dry_run});

    // Unless told otherwise nothing is changed.
    assert_eq!(clear(json!({"partition_key": "b"})).await, (200, counts(2, 0, true)));
    assert_eq!(clear(json!({"partition_key": "b", "clear_task_instances": true})).await, (200, counts(2, 2, true)));
    assert_eq!(keys().await, before);
    // The clock on the wall of the timetable's zone counts: midnight in Berlin.
    let window =
        json!({"partition_date_start": "2026-03-03T00:00:00", "partition_date_end": "2026-03-04T00:00:00+05:00"});
    assert_eq!(clear(window).await, (200, counts(2, 0, true)));

    assert_eq!(clear(json!({"run_id": "second", "dry_run": false})).await, (200, counts(1, 0, false)));
    assert_eq!(keys().await[2], json!(["second", null, "success"]));
    // A run without a partition has nothing to lose but what its tasks did.
    assert_eq!(clear(json!({"run_id": "plain", "dry_run": false})).await, (200, counts(0, 0, false)));
    let whole = json!({"partition_key": "b", "dry_run": false, "clear_task_instances": true});
    assert_eq!(clear(whole).await, (200, counts(1, 1, false)));
    assert_eq!(keys().await[3], json!(["third", null, "queued"]));
    assert_eq!(keys().await[0], before[0]);

    let events = server.read("/api/v2/eventLogs?dag_id=by_day&event=clear_dag_run_partitions").await;
    assert_eq!(events["total_entries"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_named_in_exactly_one_way() {
    let server = Server::start_with(&["partitions.sql"]).await;
    let path = "/api/v2/dags/by_day/clearPartitions";
    let rule = "Value error, Exactly one of run_id, partition_key, or a partition date window \
                (partition_date_start / partition_date_end) must be provided.";
    for body in [json!({}), json!({"run_id": "a", "partition_key": "b"})] {
        let (status, answer) = server.write("POST", path, body).await;
        assert_eq!((status, &answer["detail"][0]["msg"]), (422, &json!(rule)));
    }
    let reversed =
        json!({"partition_date_start": "2026-03-02T00:00:00Z", "partition_date_end": "2026-03-01T00:00:00Z"});
    let rule = "Value error, partition_date_start must be on or before partition_date_end.";
    assert_eq!(server.write("POST", path, reversed).await.1["detail"][0]["msg"], rule);
    let unknown = server.write("POST", "/api/v2/dags/nope/clearPartitions", json!({"run_id": "a"})).await;
    assert_eq!(unknown, (404, json!({"detail": "The Dag with ID: `nope` was not found"})));
}
