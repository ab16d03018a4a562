//! Triggers: what deferred task instances wait for.
//!
//! Source: `airflow/models/trigger.py`.

use serde_json::{Value, json};
use sqlx::{PgConnection, query_scalar};
use tradewind_airflow::python_json;

use crate::Result;

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
