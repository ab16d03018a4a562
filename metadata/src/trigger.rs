//! Triggers: what deferred task instances wait for.
//!
//! Source: `airflow/models/trigger.py`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, query, query_scalar};
use tradewind_airflow::python_json;
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use crate::Result;
use crate::task_instance::{Transition, transition};

/// The method with which the Task SDK resumes a task that cannot go on (`TRIGGER_FAIL_REPR`).
const FAIL: &str = "__fail__";

/// A trigger to wait for.
#[derive(Debug, Clone)]
pub struct NewTrigger<'a> {
    /// Import path of the trigger's class.
    pub classpath: &'a str,
    /// Arguments: an object, or a text which the client encrypted. As in Airflow an object is stored as plain JSON: the
    /// triggerer tells the two apart by the first character.
    pub kwargs: Option<&'a Value>,
    /// Queue of the triggerers that may run it.
    pub queue: Option<&'a str>,
}

/// Stores a trigger and returns its id.
pub async fn create(connection: &mut PgConnection, trigger: &NewTrigger<'_>) -> Result<i32> {
    let kwargs = match trigger.kwargs {
        Some(Value::String(encrypted)) => encrypted.clone(),
        Some(Value::Null) | None => python_json::dumps(&json!({})),
        Some(plain) => python_json::dumps(plain),
    };
    let id = query_scalar(
        "INSERT INTO trigger (classpath, kwargs, queue, created_date) VALUES ($1, $2, $3, now()) RETURNING id",
    )
    .bind(trigger.classpath)
    .bind(kwargs)
    .bind(trigger.queue)
    .fetch_one(connection)
    .await?;
    Ok(id)
}

/// Lets deferred task instances go on whose trigger did not fire in time, up to `limit`: a worker starts them only to
/// have them fail, because the task may have callbacks. Returns how many.
pub async fn time_out(connection: &mut PgConnection, limit: i64, now: DateTime<Utc>) -> Result<usize> {
    let overdue: Vec<Uuid> = query_scalar(include_str!("../queries/trigger/overdue.sql"))
        .bind(now)
        .bind(limit)
        .fetch_all(&mut *connection)
        .await?;
    let from = [Some(TaskInstanceState::Deferred)];
    let transitions: Vec<Transition> = overdue
        .into_iter()
        .map(|id| {
            Transition::new(id, &from, Some(TaskInstanceState::Scheduled))
                .with("next_method", FAIL)
                .with("next_kwargs", json!({"error": "Trigger timeout"}))
                .with("scheduled_dttm", json!(now))
                .with("trigger_id", Value::Null)
        })
        .collect();
    Ok(transition(connection, &transitions).await?.len())
}

/// Removes triggers that no task instance, asset watcher or callback waits for, up to `limit`. Returns how many.
pub async fn remove_unreferenced(connection: &mut PgConnection, limit: i64) -> Result<u64> {
    let removed =
        query(include_str!("../queries/trigger/remove_unreferenced.sql")).bind(limit).execute(connection).await?;
    Ok(removed.rows_affected())
}
