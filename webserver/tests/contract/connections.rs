//! Tests of connections, and the connections that Airflow proposes.

use crate::Document;
use crate::server::{Server, json_of, send};
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use std::time::Duration;
use tradewind_airflow::evaluation::{EnvironmentAnswer, Question, Reply, TestedConnection};
use tradewind_airflow::fernet::Fernet;
use tradewind_metadata::{connection_test, evaluation, python_environment};

const ENABLED: (&str, &str) = ("AIRFLOW__CORE__TEST_CONNECTION", "Enabled");
const PATH: &str = "/api/v2/connections/enqueue-test";

async fn poll(server: &Server, token: Option<&str>) -> (u16, Value) {
    let request = Request::get(PATH).header(header::AUTHORIZATION, format!("Bearer {}", server.token));
    let request =
        token.into_iter().fold(request, |request, token| request.header("airflow-connection-test-token", token));
    let answer = send(&server.router, request.body(Body::empty())).await;
    (answer.status().as_u16(), json_of(answer).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_is_refused_unless_it_is_enabled() {
    let server = Server::start().await;
    let detail =
        "Testing connections is disabled in Airflow configuration. Contact your deployment admin to enable it.";
    let body = json!({"connection_id": "c", "conn_type": "http"});
    assert_eq!(server.write("POST", PATH, body.clone()).await, (403, json!({"detail": detail})));
    assert_eq!(server.write("POST", "/api/v2/connections/test", body).await, (403, json!({"detail": detail})));
    // What is wrong with the body is told before that.
    assert_eq!(server.write("POST", PATH, json!({"connection_id": "c"})).await.0, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_waits_under_a_token_and_keeps_secrets_encrypted() {
    let server = Server::start_configured(&[], &[ENABLED]).await;
    let body = json!({
        "connection_id": "mine", "conn_type": "http", "host": "example.org", "password": "hidden", "port": 80,
        "extra": "{\"token\": \"hidden\"}", "commit_on_success": true, "queue": "q",
    });
    let (status, queued) = server.write("POST", PATH, body.clone()).await;
    assert_eq!(status, 202, "{queued}");
    assert_eq!((&queued["connection_id"], &queued["state"]), (&json!("mine"), &json!("pending")));
    let token = queued["token"].as_str().expect("a token");
    assert_eq!(token.len(), 43);

    let (status, progress) = poll(&server, Some(token)).await;
    assert_eq!(status, 200, "{progress}");
    assert!(progress["created_at"].is_string());
    let progress = (&progress["token"], &progress["state"], &progress["result_message"]);
    assert_eq!(progress, (&json!(token), &json!("pending"), &Value::Null));

    let stored: (String, String, bool, bool, bool, Option<String>, String, i32) = sqlx::query_as(
        "SELECT password, extra, is_encrypted, is_extra_encrypted, commit_on_success, executor, queue, port \
         FROM connection_test_request",
    )
    .fetch_one(server.pool())
    .await
    .expect("one test");
    assert!(!stored.0.contains("hidden") && !stored.1.contains("hidden"));
    assert_eq!((stored.2, stored.3, stored.4, stored.5, &*stored.6, stored.7), (true, true, true, None, "q", 80));
    let logged: String = sqlx::query_scalar("SELECT extra FROM log WHERE event = 'enqueue_connection_test'")
        .fetch_one(server.pool())
        .await
        .expect("one record");
    assert!(logged.contains("example.org") && !logged.contains("hidden"), "{logged}");

    // One at a time, until it has ended.
    let detail = "An active connection test already exists for connection_id `mine`.";
    assert_eq!(server.write("POST", PATH, body.clone()).await, (409, json!({"detail": detail})));
    sqlx::query("UPDATE connection_test_request SET state = 'success', active_connection_id = NULL")
        .execute(server.pool())
        .await
        .expect("an end");
    assert_eq!(server.write("POST", PATH, body).await.0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_test_asks_for_is_checked() {
    let server = Server::start_configured(&[], &[ENABLED]).await;
    let body = json!({"connection_id": "c", "conn_type": "http", "executor": "CeleryExecutor"});
    let detail = "Executor 'CeleryExecutor' is not configured. Configured executors: ['LocalExecutor']";
    assert_eq!(server.write("POST", PATH, body).await, (422, json!({"detail": detail})));
    let (status, body) = poll(&server, None).await;
    let problem = json!({
        "type": "missing", "loc": ["header", "Airflow-Connection-Test-Token"], "msg": "Field required", "input": null,
    });
    assert_eq!((status, body), (422, json!({"detail": [problem]})));
    let detail = "No connection test found for token: `nope`";
    assert_eq!(poll(&server, Some("nope")).await, (404, json!({"detail": detail})));
}

#[tokio::test(flavor = "multi_thread")]
async fn proposed_connections_leave_those_alone_that_exist() {
    let server = Server::start().await;
    let mine = json!({"connection_id": "http_default", "conn_type": "mine"});
    assert_eq!(server.write("POST", "/api/v2/connections", mine).await.0, 201);
    let before = server.read("/api/v2/connections?limit=1").await["total_entries"].as_i64().expect("a number");
    for _ in 0..2 {
        assert_eq!(server.write("POST", "/api/v2/connections/defaults", json!({})).await.0, 204);
    }
    let after = server.read("/api/v2/connections?limit=1").await["total_entries"].as_i64().expect("a number");
    assert_eq!(after - before, 61);
    assert_eq!(server.read("/api/v2/connections/http_default").await["conn_type"], "mine");
    let oracle = server.read("/api/v2/connections/oracle_default").await;
    assert_eq!(
        (&oracle["port"], &oracle["password"], &oracle["schema"]),
        (&json!(1521), &json!("***"), &json!("schema"))
    );
    let spark = server.read("/api/v2/connections/spark_default").await;
    assert_eq!(spark["extra"], json!("{\"queue\": \"root.default\"}"));
    let stored: (String, bool) =
        sqlx::query_as("SELECT password, is_encrypted FROM connection WHERE conn_id = 'oracle_default'")
            .fetch_one(server.pool())
            .await
            .expect("the connection");
    assert!(stored.0 != "password" && stored.1);
}

/// Answers the one test that is asked for, as a Dag processor would, and returns what was to be tested.
async fn answer_test(server: &Server) -> TestedConnection {
    let fernet = Fernet::new(Server::FERNET_KEY).expect("a key");
    for _ in 0..600 {
        let mut asked = evaluation::claim(server.pool(), Some(&fernet), Duration::ZERO).await.expect("questions");
        if let Some(asked) = asked.pop() {
            let Question::ConnectionTest(test) = asked.question else { panic!("another question: {asked:?}") };
            let reply = Reply::Answer(json!({"status": true, "message": "works"}));
            evaluation::answer(server.pool(), asked.id, &reply).await.expect("an answer");
            return test.connection.expect("what to test");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody asks for a test");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_takes_stored_secrets_to_their_own_place_alone() {
    let server = Server::start_configured(&[], &[ENABLED]).await;
    let path = "/api/v2/connections/test";
    let stored = json!({
        "connection_id": "c", "conn_type": "http", "host": "example.org", "port": 80, "password": "hidden",
        "extra": "{\"token\": \"deep\", \"plain\": 1}",
    });
    assert_eq!(server.write("POST", "/api/v2/connections", stored).await.0, 201);
    let works = (200, json!({"status": true, "message": "works"}));

    // The form sends masks for what it does not know.
    let masked = json!({
        "connection_id": "c", "conn_type": "http", "host": "example.org", "port": 80, "login": "me", "password": "***",
        "extra": "{\"token\": \"***\", \"plain\": 2}",
    });
    let (answer, tested) = tokio::join!(server.write("POST", path, masked.clone()), answer_test(&server));
    assert_eq!(answer, works);
    assert_eq!(
        (tested.password.as_deref(), tested.login.as_deref(), tested.port),
        (Some("hidden"), Some("me"), Some(80))
    );
    assert_eq!(tested.extra.as_deref(), Some("{\"token\": \"deep\", \"plain\": 2}"));

    // They go to no other host or port, lest they be stolen by testing.
    let detail = "The host or port to test differs from the stored connection. Include the credentials to test in the \
                  request body.";
    for (field, value) in [("host", json!("evil.example")), ("port", json!(81)), ("host", Value::Null)] {
        let mut elsewhere = masked.clone();
        elsewhere[field] = value;
        assert_eq!(server.write("POST", path, elsewhere).await, (400, json!({"detail": detail})));
    }
    let own = json!({"connection_id": "c", "conn_type": "http", "host": "other.example", "password": "own"});
    let (answer, tested) = tokio::join!(server.write("POST", path, own), answer_test(&server));
    assert_eq!(answer, works);
    assert_eq!((tested.password.as_deref(), tested.extra), (Some("own"), None));
    // Nothing is left of it, nor in the clear while it waits.
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM tradewind.evaluation")
        .fetch_one(server.pool())
        .await
        .expect("a count");
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_python_knows_is_shown_as_it_was_published() {
    let server = Server::start_configured(&[], &[("AIRFLOW__API__EXPOSE_CONFIG", "True")]).await;
    let missing = server.get("/api/v2/config?section=celery", "application/json").await;
    assert_eq!(missing.status().as_u16(), 404);
    assert_eq!(server.read("/ui/connections/hook_meta").await, json!([]));
    assert_eq!(server.read("/api/v2/plugins").await, json!({"plugins": [], "total_entries": 0}));
    let plugin = |name: &str| {
        json!({
            "name": name, "macros": [], "flask_blueprints": [], "fastapi_apps": [], "fastapi_root_middlewares": [],
            "external_views": [], "react_apps": [], "appbuilder_views": [], "appbuilder_menu_items": [],
            "global_operator_extra_links": [], "operator_extra_links": [], "source": "s", "listeners": [], "timetables": [],
        })
    };
    let form = json!({
        "connection_type": "http", "hook_class_name": "a.b", "default_conn_name": null, "hook_name": "HTTP",
        "standard_fields": null, "extra_fields": null,
    });
    let environment = EnvironmentAnswer {
        plugins: json!([plugin("a"), plugin("b"), plugin("c")]),
        plugin_import_errors: json!([{"source": "p.py", "error": "E"}]),
        connection_types: json!([form]),
        configuration: serde_json::from_value(json!([
            {"name": "celery", "options": [{"key": "broker_url", "default": "redis:", "sensitive": true}]},
        ]))
        .expect("sections"),
    };
    python_environment::publish(server.pool(), "first", &environment).await.expect("published");
    python_environment::publish(server.pool(), "second", &environment).await.expect("published in its place");
    let fingerprint = python_environment::fingerprint(server.pool()).await.expect("a fingerprint");
    assert_eq!(fingerprint.as_deref(), Some("second"));

    let page = server.read("/api/v2/plugins?limit=1&offset=1").await;
    assert_eq!((&page["total_entries"], &page["plugins"][0]["name"]), (&json!(3), &json!("b")));
    Document::load("v2-rest-api-generated.yaml").validate("/api/v2/plugins", &page);
    let errors = server.read("/api/v2/plugins/importErrors").await;
    assert_eq!(errors, json!({"import_errors": [{"source": "p.py", "error": "E"}], "total_entries": 1}));
    let forms = server.read("/ui/connections/hook_meta").await;
    assert_eq!(forms, environment.connection_types);
    Document::load("_private_ui.yaml").validate("/ui/connections/hook_meta", &forms);
    let sections = server.read("/api/v2/config?section=celery").await;
    let hidden = json!({"key": "broker_url", "value": "< hidden >"});
    assert_eq!(sections, json!({"sections": [{"name": "celery", "options": [hidden]}]}));
    assert_eq!(server.read("/api/v2/config/section/celery/option/broker_url").await, sections);
}

/// The test that [`PATH`] stores, as the Dag processor ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_works_is_stored_where_that_was_asked_for() {
    let server = Server::start_configured(&[], &[ENABLED]).await;
    let fernet = Fernet::new(Server::FERNET_KEY).expect("a key");
    let enqueue = async |id: &str, commit: bool| {
        let body = json!({
            "connection_id": id, "conn_type": "http", "host": "h", "password": "hidden", "commit_on_success": commit,
        });
        let (status, queued) = server.write("POST", PATH, body).await;
        assert_eq!(status, 202, "{queued}");
        queued["token"].as_str().expect("a token").to_owned()
    };
    let tokens = [enqueue("a", true).await, enqueue("b", true).await, enqueue("c", false).await];
    let claimed = connection_test::claim(server.pool(), &fernet, 2).await.expect("tests");
    assert_eq!(claimed.iter().map(|test| &*test.connection_id).collect::<Vec<_>>(), ["a", "b"]);
    assert!(
        claimed.iter().all(|test| test.connection.as_ref().is_some_and(|it| it.password.as_deref() == Some("hidden")))
    );
    assert!(connection_test::claim(server.pool(), &fernet, 2).await.expect("tests").is_empty(), "two are under way");
    connection_test::finish(server.pool(), claimed[0].id, true, "works").await.expect("an end");
    connection_test::finish(server.pool(), claimed[1].id, false, &"x".repeat(3000)).await.expect("an end");
    let last = connection_test::claim(server.pool(), &fernet, 2).await.expect("tests");
    connection_test::finish(server.pool(), last[0].id, true, "works").await.expect("an end");
    // Who comes late changes nothing.
    connection_test::finish(server.pool(), claimed[0].id, false, "late").await.expect("nothing");

    let state = async |token: &str| poll(&server, Some(token)).await.1;
    let first = state(&tokens[0]).await;
    assert_eq!((&first["state"], &first["result_message"]), (&json!("success"), &json!("works")));
    let second = state(&tokens[1]).await;
    assert_eq!(second["state"], "failed");
    assert_eq!(second["result_message"].as_str().map(str::len), Some(2000));
    let stored = server.read("/api/v2/connections/a").await;
    assert_eq!((&stored["host"], &stored["password"]), (&json!("h"), &json!("***")));
    for id in ["b", "c"] {
        assert!(server.read(&format!("/api/v2/connections/{id}")).await.get("detail").is_some(), "{id}");
    }

    // One that nobody takes is given up.
    let token = enqueue("d", false).await;
    assert_eq!(connection_test::reap(server.pool(), 60).await.expect("none"), 0);
    sqlx::query("UPDATE connection_test_request SET updated_at = now() - interval '91 s' WHERE state = 'pending'")
        .execute(server.pool())
        .await
        .expect("an old test");
    assert_eq!(connection_test::reap(server.pool(), 60).await.expect("one"), 1);
    let message = "Connection test expired in PENDING before any executor picked it up (exceeded 60s + 30s grace)";
    assert_eq!(state(&token).await["result_message"], message);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_holds_no_secret_of_a_connection_that_is_refused() {
    let server = Server::start().await;
    let path = "/api/v2/connections";
    let mut refused = Vec::new();
    for extra in [json!({"key": "hunter2"}), json!(["hunter2"]), json!("hunter2"), json!("[\"hunter2\"]")] {
        let entity = json!({"connection_id": "c", "conn_type": "http", "port": "none", "extra": extra});
        refused.push(server.write("POST", path, entity.clone()).await.0);
        let many = json!({"actions": [{"action": "create", "entities": [entity]}]});
        refused.push(server.write("PATCH", path, many).await.0);
    }
    assert_eq!(refused, [422; 8]);
    let records = server.read("/api/v2/eventLogs?order_by=-id&limit=8").await;
    let extra: Vec<&str> =
        records["event_logs"].as_array().expect("a list").iter().filter_map(|log| log["extra"].as_str()).collect();
    assert!(
        extra.len() == 8 && extra.iter().all(|extra| extra.contains("`extra` field") && !extra.contains("hunter2")),
        "{extra:?}"
    );
}
