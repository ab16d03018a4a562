//! Deadlines that have passed: their callbacks are handed to whom they are for.
//!
//! Source: `Deadline.handle_miss` in `airflow/models/deadline.py`, `TriggererCallback.queue` in
//! `airflow/models/callback.py`.

use chrono::{DateTime, Utc};
use metrics::counter;
use serde_json::{Value, json};
use sqlx::{Connection, FromRow, PgConnection, query, query_as};
use tradewind_airflow::encoded_value::{extended_datetime, extended_to_sdk, plain_to_extended};
use uuid::Uuid;

use super::callback;
use crate::trigger::{self, NewTrigger};
use crate::{MetadataError, Result};

/// The trigger that runs a callback (`airflow/triggers/callback.py`).
const CALLBACK_TRIGGER: &str = "airflow.triggers.callback.CallbackTrigger";

/// Fields of a run and of its versions that are dates.
const DATES: [&str; 10] = [
    "logical_date",
    "queued_at",
    "start_date",
    "end_date",
    "data_interval_start",
    "data_interval_end",
    "run_after",
    "last_scheduling_decision",
    "partition_date",
    "created_at",
];

#[derive(FromRow)]
struct Missed {
    id: Uuid,
    deadline_time: DateTime<Utc>,
    dag_run_id: i32,
    dag_id: String,
    run_id: String,
    callback_id: Uuid,
    callback_type: String,
    data: Value,
    dag_run: Value,
}

/// Marks up to `limit` deadlines as missed that have passed, and hands over their callbacks: to the triggerer as a
/// trigger, or to a Dag processor. Returns how many were missed. What another scheduler handles is passed over.
pub async fn handle_missed(connection: &mut PgConnection, limit: i64, now: DateTime<Utc>) -> Result<usize> {
    let mut transaction = connection.begin().await?;
    let missed: Vec<Missed> = query_as(include_str!("../../queries/deadline/missed.sql"))
        .bind(now)
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
    if missed.is_empty() {
        return Ok(0);
    }
    for missed in &missed {
        match missed.hand_over(&mut transaction).await {
            Err(error @ MetadataError::Database(_)) => return Err(error),
            // What cannot be read now will not be readable later: the deadline is missed without a callback.
            Err(error) => tracing::error!(%error, dag_id = missed.dag_id, "the callback of a deadline is not called"),
            Ok(()) => {}
        }
    }
    let ids: Vec<Uuid> = missed.iter().map(|missed| missed.id).collect();
    query("UPDATE deadline SET missed = true, last_updated_at = $2 WHERE id = ANY ($1)")
        .bind(ids)
        .bind(now)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    for Missed { dag_id, run_id, deadline_time, .. } in &missed {
        tracing::info!(dag_id, run_id, %deadline_time, "the run missed a deadline");
        counter!("deadline_alerts.deadline_missed", "dag_id" => dag_id.clone(), "dagrun_id" => run_id.clone())
            .increment(1);
    }
    Ok(missed.len())
}

impl Missed {
    async fn hand_over(&self, connection: &mut PgConnection) -> Result<()> {
        let mut data = self.data.clone();
        let context = self.context();
        let fields = data.get_mut("__var").ok_or_else(|| self.unreadable())?;
        let kwargs = fields.pointer_mut("/kwargs/__var").and_then(Value::as_object_mut);
        match kwargs {
            Some(kwargs) => drop(kwargs.insert("context".to_owned(), context)),
            None => fields["kwargs"] = json!({"__type": "dict", "__var": {"context": context}}),
        }
        if self.callback_type == "executor" {
            fields["deadline_id"] = json!(self.id);
            fields["dag_run_id"] = json!(self.dag_run_id.to_string());
            fields["dag_id"] = json!(self.dag_id);
            self.store(connection, &data, "queued", None).await?;
            return callback::enqueue(connection, self.callback_id).await;
        }
        let kwargs = json!({"callback_path": fields["path"], "callback_kwargs": extended_to_sdk(&fields["kwargs"])});
        let new = NewTrigger { classpath: CALLBACK_TRIGGER, kwargs: Some(&kwargs), queue: None };
        let trigger_id = trigger::create(&mut *connection, &new).await?;
        self.store(connection, &data, "queued", Some(trigger_id)).await
    }

    /// What the callback is told, in the encoding of its column.
    fn context(&self) -> Value {
        let deadline = json!({"id": self.id, "deadline_time": extended_datetime(self.deadline_time)});
        let deadline = json!({"__type": "dict", "__var": deadline});
        let mut dag_run = self.dag_run.clone();
        respell_dates(&mut dag_run);
        json!({"__type": "dict", "__var": {"dag_run": plain_to_extended(&dag_run), "deadline": deadline}})
    }

    async fn store(
        &self,
        connection: &mut PgConnection,
        data: &Value,
        state: &str,
        trigger_id: Option<i32>,
    ) -> Result<()> {
        query("UPDATE callback SET data = $2, state = $3, trigger_id = $4 WHERE id = $1")
            .bind(self.callback_id)
            .bind(data)
            .bind(state)
            .bind(trigger_id)
            .execute(connection)
            .await?;
        Ok(())
    }

    fn unreadable(&self) -> MetadataError {
        MetadataError::Corrupt(format!("data of callback {} of a deadline of {}", self.callback_id, self.dag_id))
    }
}

/// Spells the dates of a run as the REST API does.
fn respell_dates(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (_, value) in map.iter_mut().filter(|(key, _)| DATES.contains(&key.as_str())) {
                if let Some(date) = value.as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok()) {
                    let pattern = if date.timestamp_subsec_micros() == 0 { "%FT%TZ" } else { "%FT%T%.6fZ" };
                    *value = json!(date.format(pattern).to_string());
                }
            }
            map.get_mut("dag_versions").map(respell_dates);
        }
        Value::Array(items) => items.iter_mut().for_each(respell_dates),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_spelled_as_in_the_rest_api() {
        let mut run = json!({
            "logical_date": "2026-01-01T00:00:00+00:00", "end_date": "2026-01-01T02:00:00.5+01:00", "start_date": null,
            "note": "2026-01-01T00:00:00+00:00", "dag_versions": [{"created_at": "2026-01-01T00:00:00+00:00"}],
        });
        respell_dates(&mut run);
        let expected = json!({
            "logical_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-01T01:00:00.500000Z", "start_date": null,
            "note": "2026-01-01T00:00:00+00:00", "dag_versions": [{"created_at": "2026-01-01T00:00:00Z"}],
        });
        assert_eq!(run, expected);
    }
}
