//! Who may ask what, and how a claimed attempt starts.

mod scenario;

use chrono::Utc;
use serde_json::{Value, json};
use sqlx::{PgConnection, query_as};
use tradewind_airflow::supervisor_protocol::to_supervisor::ToSupervisor;
use tradewind_metadata::attempt::{self, AttemptError, Start};
use tradewind_metadata::queue::{self, Claimant, Message};
use tradewind_metadata::testing::TestDatabase;
use tradewind_supervisor::requests::{Answers, Scope};

fn request(body: Value) -> ToSupervisor {
    serde_json::from_value(body).expect("a request")
}

#[tokio::test]
async fn a_dag_file_reads_variables_but_reports_nothing() {
    let database = TestDatabase::migrated().await;
    scenario::fill(&mut database.pool().acquire().await.expect("a connection")).await;
    let answers = Answers::new(database.database().clone(), &scenario::config()).expect("settings");
    let variable = request(json!({"type": "GetVariable", "key": "app_plain"}));
    let answer = answers.answer(Scope::DagFile, variable).await;
    assert_eq!(answer, Ok(Some(json!({"key": "app_plain", "value": "text", "type": "VariableResult"}))));
    let earlier = request(json!({"type": "GetPrevSuccessfulDagRun", "ti_id": scenario::attempt("101")}));
    let answer = answers.answer(Scope::DagFile, earlier).await;
    assert_eq!(answer, Ok(Some(json!({"type": "PrevSuccessfulDagRunResult"}))));
    for body in [
        json!({"type": "SucceedTask", "end_date": "2026-01-03T00:00:10Z"}),
        json!({"type": "SetRenderedFields", "rendered_fields": {}}),
        json!({"type": "ResendLoggingFD"}),
    ] {
        let refused = answers.answer(Scope::DagFile, request(body)).await.expect_err("a refusal");
        assert_eq!(json!(refused)["detail"]["message"], "Unhandled request");
    }
}

#[tokio::test]
async fn a_task_asks_only_about_itself() {
    let database = TestDatabase::migrated().await;
    scenario::fill(&mut database.pool().acquire().await.expect("a connection")).await;
    let answers = Answers::new(database.database().clone(), &scenario::config()).expect("settings");
    let foreign = json!({"type": "ClearTaskStateStore", "ti_id": scenario::attempt("110")});
    let refused = answers.answer(Scope::Attempt(scenario::attempt("101")), request(foreign)).await;
    assert_eq!(json!(refused.expect_err("a refusal"))["detail"]["status_code"], 403);
}

#[tokio::test]
async fn a_question_is_answered_once() {
    let database = TestDatabase::migrated().await;
    scenario::fill(&mut database.pool().acquire().await.expect("a connection")).await;
    let answers = Answers::new(database.database().clone(), &scenario::config()).expect("settings");
    let id = scenario::attempt("110");
    let answer = |body: Value| answers.answer(Scope::Attempt(id), request(body));
    let open = answer(json!({"type": "GetHITLDetailResponse", "ti_id": id})).await.expect("a question");
    let open = open.expect("a body");
    assert_eq!((&open["response_received"], &open["chosen_options"]), (&json!(false), &json!([])));

    let chosen = json!({"type": "UpdateHITLDetail", "ti_id": id, "chosen_options": ["Yes"], "params_input": {"n": 1}});
    answer(chosen.clone()).await.expect("the first answer");
    let closed = answer(json!({"type": "GetHITLDetailResponse", "ti_id": id})).await.expect("an answer");
    let closed = closed.expect("a body");
    assert_eq!(closed["type"], "HITLDetailResponseResult");
    assert_eq!((&closed["response_received"], &closed["params_input"]), (&json!(true), &json!({"n": 1})));
    let again = answer(chosen).await.expect_err("a refusal");
    assert_eq!(json!(again)["detail"]["status_code"], 409);
}

async fn claim(connection: &mut PgConnection, hostname: &str) -> usize {
    let claimant = Claimant { hostname: hostname.to_owned(), unixname: "airflow".to_owned() };
    let claims = queue::claim(connection, &["default".to_owned()], 10, &claimant, Utc::now()).await.expect("a claim");
    claims.len()
}

#[tokio::test]
async fn a_claimed_attempt_starts_in_the_process_of_its_worker() {
    let database = TestDatabase::migrated().await;
    let mut connection = database.pool().acquire().await.expect("a connection");
    scenario::fill(&mut connection).await;
    let id = scenario::attempt("102");
    let message = Message { ti_id: id, queue: "default".to_owned(), priority_weight: 1 };
    queue::send(&mut connection, &[message], queue::Carrier::Outbox).await.expect("a message");
    assert_eq!(claim(&mut connection, "worker-1").await, 1);

    let mut start =
        Start { id, hostname: "worker-2".to_owned(), unixname: "airflow".to_owned(), pid: 17, start_date: Utc::now() };
    let stolen = attempt::start(&mut connection, &start).await;
    assert!(matches!(stolen, Err(AttemptError::InvalidState { .. })), "{stolen:?}");

    start.hostname = "worker-1".to_owned();
    let context = attempt::start(&mut connection, &start).await.expect("a start");
    assert_eq!(context.xcom_keys_to_clear, ["from_before"]);
    assert!(context.should_retry && context.start_date.is_none());
    attempt::start(&mut connection, &start).await.expect("the same start again");
    attempt::heartbeat(&mut connection, id, "worker-1", 17).await.expect("a heartbeat");

    let logged: Vec<(String, Option<String>, Option<i32>)> =
        query_as("SELECT event, extra, try_number FROM log WHERE task_id = 'queued'")
            .fetch_all(&mut *connection)
            .await
            .expect("the audit log");
    assert_eq!(logged, [("running".to_owned(), Some(r#"{"host_name": "worker-1"}"#.to_owned()), Some(1))]);
}
