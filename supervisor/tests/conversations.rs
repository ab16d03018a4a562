//! Replays the conversations recorded from the official supervisor (`recorded/record.py`): the answers and the rows that
//! come and go must be the same.

mod scenario;

use std::fs;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, PgConnection, query_scalar};
use tradewind_airflow::supervisor_protocol::task::TiRunContext;
use tradewind_airflow::supervisor_protocol::to_supervisor::ToSupervisor;
use tradewind_metadata::attempt::{self, AttemptError, Finish, Start};
use tradewind_metadata::testing::TestDatabase;
use tradewind_model::state::TaskInstanceState;
use tradewind_supervisor::requests::{Answers, Scope};
use uuid::Uuid;

#[derive(Deserialize)]
struct Step {
    attempt: String,
    request: Option<Value>,
    start: Option<StartStep>,
    heartbeat: Option<HeartbeatStep>,
    finish: Option<FinishStep>,
    answer: Value,
    error: Value,
    changes: Map<String, Value>,
}

#[derive(Deserialize)]
struct StartStep {
    pid: i32,
    start_date: DateTime<Utc>,
}

#[derive(Deserialize)]
struct HeartbeatStep {
    pid: i32,
}

#[derive(Deserialize)]
struct FinishStep {
    state: TaskInstanceState,
    end_date: DateTime<Utc>,
    rendered_map_index: Option<String>,
}

impl Step {
    /// The context of a start goes through our own message, which leaves defaults out.
    fn recorded_answer(&self) -> Value {
        if self.start.is_none() || self.answer.is_null() {
            return self.answer.clone();
        }
        let context: TiRunContext = serde_json::from_value(self.answer.clone()).expect("a run context");
        json!(context)
    }
}

macro_rules! conversations {
    ($($name:ident),+) => {$(
        #[tokio::test]
        async fn $name() {
            replay(stringify!($name)).await;
        }
    )+};
}

conversations!(
    answered_before_parking,
    assets,
    dag_runs,
    hitl,
    reports,
    reset_dag_run,
    secrets,
    state_stores,
    task_instances,
    xcom
);

async fn replay(name: &str) {
    let steps = fs::read_to_string(scenario::recorded().join(format!("conversations/{name}.json")))
        .expect("a recorded conversation");
    let steps: Vec<Step> = serde_json::from_str(&steps).expect("steps");
    let database = TestDatabase::migrated().await;
    let mut connection = database.pool().acquire().await.expect("a connection");
    scenario::fill(&mut connection).await;
    let answers = Answers::new(database.database().clone(), &scenario::config()).expect("settings");
    let mut before = facts(&mut connection).await;
    for (number, step) in steps.iter().enumerate() {
        let id = scenario::attempt(&step.attempt);
        let (answer, error) = take(&answers, &mut connection, id, step).await;
        let after = facts(&mut connection).await;
        let about = format!("{name}, step {number}: {:?}", step.request);
        assert_eq!(normal(answer), normal(step.recorded_answer()), "answer of {about}");
        assert_eq!(essence(&error), essence(&step.error), "error of {about}");
        let changes = normal(Value::Object(changes(&before, &after)));
        let recorded = normal(Value::Object(step.changes.clone()));
        for table in after.keys() {
            assert_eq!(changes.get(table), recorded.get(table), "{table} after {about}");
        }
        before = after;
    }
}

async fn facts(connection: &mut PgConnection) -> Map<String, Value> {
    let statement = fs::read_to_string(scenario::recorded().join("facts.sql")).expect("the facts");
    let facts: Value = query_scalar(AssertSqlSafe(statement)).fetch_one(connection).await.expect("facts");
    facts.as_object().cloned().expect("an object")
}

/// Rows that went and came, by table; tables without a change are left out.
fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let rows = |facts: &Map<String, Value>, table: &str| facts[table].as_array().cloned().unwrap_or_default();
    let tables = after.keys().filter(|table| before[*table] != after[*table]);
    let changed = tables.map(|table| {
        let (old, new) = (rows(before, table), rows(after, table));
        let went: Vec<&Value> = old.iter().filter(|row| !new.contains(row)).collect();
        let came: Vec<&Value> = new.iter().filter(|row| !old.contains(row)).collect();
        (table.clone(), json!({"went": went, "came": came}))
    });
    changed.collect()
}

async fn take(answers: &Answers, connection: &mut PgConnection, id: Uuid, step: &Step) -> (Value, Value) {
    if let Some(request) = &step.request {
        let request = request.to_string().replace("@attempt@", &id.to_string());
        let message: ToSupervisor = serde_json::from_str(&request).expect("a request");
        return match answers.answer(Scope::Attempt(id), message).await {
            Ok(answer) => (json!(answer), Value::Null),
            Err(error) => (Value::Null, json!(error)),
        };
    }
    match call(connection, id, step).await {
        Ok(answer) => (answer, Value::Null),
        Err(error) => (Value::Null, json!({"status_code": status(&error)})),
    }
}

async fn call(connection: &mut PgConnection, id: Uuid, step: &Step) -> Result<Value, AttemptError> {
    if let Some(start) = &step.start {
        let start = Start {
            id,
            hostname: "worker-1".to_owned(),
            unixname: "airflow".to_owned(),
            pid: start.pid,
            start_date: start.start_date,
        };
        return attempt::start(connection, &start).await.map(|context| json!(context));
    }
    if let Some(heartbeat) = &step.heartbeat {
        return attempt::heartbeat(connection, id, "worker-1", heartbeat.pid).await.map(|()| Value::Null);
    }
    let finish = step.finish.as_ref().expect("a step");
    let (state, end_date) = (finish.state, finish.end_date);
    let report = Finish { id, state, end_date, rendered_map_index: finish.rendered_map_index.clone() };
    attempt::finish(connection, &report).await.map(|_| Value::Null)
}

fn status(error: &AttemptError) -> u16 {
    match error {
        AttemptError::NotFound => 404,
        AttemptError::Archived => 410,
        AttemptError::InvalidState { .. } | AttemptError::RunningElsewhere { .. } => 409,
        AttemptError::Invalid(_) => 422,
        AttemptError::Metadata(error) => panic!("{error}"),
    }
}

/// What of an error a child can act on: its kind and its status. A failure inside the server has no status here, since
/// there is no server.
fn essence(error: &Value) -> Value {
    if error.is_null() {
        return Value::Null;
    }
    let status = error.pointer("/detail/status_code").or_else(|| error.get("status_code"));
    let status = status.filter(|status| status.as_u64().is_some_and(|status| status < 500));
    json!({"error": error.get("error"), "status_code": status})
}

/// One spelling of dates and numbers.
fn normal(value: Value) -> Value {
    match value {
        Value::String(text) => match DateTime::parse_from_rfc3339(&text) {
            Ok(date) => json!(date.with_timezone(&Utc)),
            Err(_) => Value::String(text),
        },
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.into_iter().map(normal).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, field)| (name, normal(field))).collect(),
        other => other,
    }
}
