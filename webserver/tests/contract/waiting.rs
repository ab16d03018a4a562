//! Task instances that wait: what the dependency endpoint says of them, compared with official answers, and what our own
//! API says.

use crate::server::Server;
use crate::{differences, normalise, recorded_in};
use serde_json::{Value, json};

const RUN: &str = "/tradewind/v1/dags/waiting/dagRuns/now";

/// The moment at which official Airflow looked; and sets of tasks, which Python prints in an order of its own.
fn without_chance(mut body: Value) -> Value {
    for dependency in body["dependencies"].as_array_mut().into_iter().flatten() {
        let reason = dependency["reason"].as_str().unwrap_or_default();
        let (before_moment, moment) = reason.split_once("(the current date is ").unwrap_or((reason, ""));
        let after_moment = moment.split_once(')').map_or("", |(_, rest)| rest);
        let (before, set) = before_moment.split_once("_task_ids={").unwrap_or((before_moment, ""));
        let (set, after) = set.split_once('}').unwrap_or((set, ""));
        let mut members: Vec<&str> = set.split(", ").collect();
        members.sort_unstable();
        dependency["reason"] = json!([before, members, after, after_moment]);
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_are_told_in_the_words_of_the_official_api_server() {
    let server = Server::start_with(&["waiting.sql"]).await;
    let mut found = Vec::new();
    let expected = recorded_in("waiting.ndjson");
    assert!(expected.len() > 100, "every task instance of three runs");
    for expected in expected {
        let answer = without_chance(normalise(server.read(&expected.path).await));
        differences(&answer, &without_chance(normalise(expected.body)), &expected.path, &mut found);
    }
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_explained_as_our_document_says() {
    let server = Server::start_with(&["waiting.sql"]).await;
    let document = server.read("/tradewind/v1/openapi.json").await;
    let validator = |schema: &str| {
        let schema = json!({"$ref": format!("#/components/schemas/{schema}"), "components": document["components"]});
        jsonschema::options().should_validate_formats(true).build(&schema).expect("a valid schema")
    };
    let told = server.read(&format!("{RUN}/explain?limit=100")).await;
    let errors: Vec<String> = validator("Explanation")
        .iter_errors(&told)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    let codes = |reasons: &Value| -> Vec<Value> {
        reasons.as_array().into_iter().flatten().map(|reason| reason["code"].clone()).collect()
    };
    assert_eq!(codes(&told["reasons"]), ["dag_paused", "no_scheduler"]);
    let total = told["total_entries"].as_u64().expect("a number");
    assert!(total > 50, "{total}");
    let page = server.read(&format!("{RUN}/explain?limit=2&offset=1")).await;
    assert_eq!(page["task_instances"], json!(told["task_instances"].as_array().expect("a list")[1..3]));

    let told = server.read(&format!("{RUN}/taskInstances/lost/explain")).await;
    assert!(validator("TaskInstanceExplanation").is_valid(&told), "{told}");
    assert_eq!(codes(&told["reasons"]), ["dag_paused", "pool_missing", "max_active_tasks"]);
    assert_eq!(codes(&told["run_reasons"]), ["dag_paused", "no_scheduler"]);
    let past = server.read(&format!("{RUN}/taskInstances/past/explain")).await;
    assert_eq!(past["reasons"][1]["parameters"]["previous_run_id"], "before");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_explained_is_refused_as_airflow_refuses() {
    let server = Server::start_with(&["waiting.sql"]).await;
    let no_run = "The DagRun with dag_id: `waiting` and run_id: `never` was not found";
    let no_instance = "The Task Instance with dag_id: `waiting`, run_id: `now`, task_id: `lost` and map_index: `3` was not \
                       found";
    for (path, status, detail) in [
        ("/tradewind/v1/dags/waiting/dagRuns/never/explain", 404, json!(no_run)),
        ("/tradewind/v1/dags/waiting/dagRuns/now/taskInstances/lost/explain?map_index=3", 404, json!(no_instance)),
    ] {
        let answer = server.get(path, "*/*").await;
        assert_eq!((answer.status().as_u16(), server.read(path).await), (status, json!({"detail": detail})));
    }
    for path in [
        "/tradewind/v1/dags/waiting/dagRuns/now/explain?limit=many",
        "/tradewind/v1/dags/waiting/dagRuns/now/taskInstances/lost/explain?map_index=x",
    ] {
        assert_eq!(server.get(path, "*/*").await.status().as_u16(), 422);
    }
}
