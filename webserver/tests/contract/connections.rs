//! Tests of connections, and the connections that Airflow proposes.

use crate::server::{Server, json_of, send};
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};

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
