//! Callbacks and mails of attempts that cannot speak for themselves: their process is gone, or never was. The Dag
//! processor runs them, as rows of the table `callback`.
//!
//! Source: `process_executor_events`, `_purge_task_instances_without_heartbeats` and `_maybe_requeue_stuck_ti` in
//! `airflow/jobs/scheduler_job_runner.py`; the requests are those of `airflow/callbacks/callback_requests.py`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, Row, query, query_as};
use tradewind_model::dag::Task;
use uuid::Uuid;

use crate::serialized_dag::Cache;
use crate::{MetadataError, Result};

/// What became of an attempt that was ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Another attempt follows: `on_retry_callback`, and a mail where the task wants one.
    Retry,
    /// The task instance failed: `on_failure_callback`, and a mail where the task wants one.
    Failure,
    /// The task instance failed before it ever ran: `on_failure_callback` alone.
    NeverStarted,
}

/// An attempt that was ended from outside.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// `task_instance.id`. A retry gives the task instance a new id: ask for the callback before.
    pub id: Uuid,
    /// Why it was ended, for the log of the callback and the text of the mail.
    pub message: &'a str,
    /// What became of it.
    pub outcome: Outcome,
}

#[derive(FromRow)]
struct Subject {
    dag_id: String,
    task_id: String,
    max_tries: i32,
    dag_version_id: Uuid,
    bundle_name: String,
    filepath: String,
    bundle_version: Option<String>,
    bundle_version_of_attempt: Option<String>,
    ti: Value,
}

/// Asks the Dag processor for the callbacks and mails that the task has for such an end; for none, nothing is written.
/// Returns how many requests were made.
pub async fn request(
    connection: &mut PgConnection,
    dags: &Cache,
    ended: Ended<'_>,
    now: DateTime<Utc>,
) -> Result<usize> {
    let subject: Option<Subject> = query_as(include_str!("../queries/task_callback/subject.sql"))
        .bind(ended.id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(subject) = subject else {
        tracing::warn!(ti_id = %ended.id, "no callback is run: the task instance has no version of its Dag");
        return Ok(0);
    };
    let dag = match dags.version(&mut *connection, subject.dag_version_id).await {
        Ok(dag) => dag,
        Err(error @ MetadataError::Database(_)) => return Err(error),
        // The end of an attempt does not depend on what can be read of its Dag.
        Err(error) => {
            tracing::warn!(%error, ti_id = %ended.id, dag_id = subject.dag_id, "no callback is run: the Dag cannot be read");
            return Ok(0);
        }
    };
    let Some(task) = dag.index_of(&subject.task_id).map(|index| dag.at(index)) else { return Ok(0) };
    let (calls, mails) = (ended.outcome.calls(task), ended.outcome.mails(task));
    if !calls && !mails {
        return Ok(0);
    }
    let context = subject.context(&mut *connection, ended.id).await?;
    if calls {
        let callback = subject.callback(ended, &context);
        store(&mut *connection, "TaskCallbackRequest", &subject.bundle_name, &callback, now).await?;
    }
    if mails {
        let mail = subject.mail(ended, &context);
        store(connection, "EmailRequest", &subject.bundle_name, &mail, now).await?;
    }
    Ok(usize::from(calls) + usize::from(mails))
}

impl Outcome {
    /// Whether the task has a callback for it.
    fn calls(self, task: &Task) -> bool {
        match self {
            Self::Retry => task.has_on_retry_callback,
            Self::Failure | Self::NeverStarted => task.has_on_failure_callback,
        }
    }

    /// Whether the task has somebody told of it.
    fn mails(self, task: &Task) -> bool {
        let has_address = match task.email.as_deref() {
            Some(Value::String(address)) => !address.is_empty(),
            Some(Value::Array(addresses)) => !addresses.is_empty(),
            _ => false,
        };
        has_address
            && match self {
                Self::Retry => task.email_on_retry,
                Self::Failure => task.email_on_failure,
                Self::NeverStarted => false,
            }
    }

    /// `task_callback_type`, which Airflow leaves open for a task instance that never ran.
    fn callback_type(self) -> Option<&'static str> {
        match self {
            Self::Retry => Some("up_for_retry"),
            Self::Failure => Some("failed"),
            Self::NeverStarted => None,
        }
    }
}

impl Subject {
    /// What the callback is told of the run (`TIRunContext`).
    async fn context(&self, connection: &mut PgConnection, id: Uuid) -> Result<Value> {
        let row =
            query(include_str!("../queries/attempt/context.sql")).bind(id).bind(true).fetch_one(connection).await?;
        Ok(json!({
            "dag_run": row.try_get::<Value, _>("dag_run")?,
            "task_reschedule_count": 0,
            "max_tries": self.max_tries,
            "variables": [],
            "connections": [],
            "xcom_keys_to_clear": [],
        }))
    }

    fn callback(&self, ended: Ended<'_>, context: &Value) -> Value {
        json!({
            "type": "TaskCallbackRequest",
            "filepath": self.filepath,
            "bundle_name": self.bundle_name,
            "bundle_version": self.bundle_version,
            "msg": ended.message,
            "ti": self.ti,
            "task_callback_type": ended.outcome.callback_type(),
            "context_from_server": context,
        })
    }

    fn mail(&self, ended: Ended<'_>, context: &Value) -> Value {
        json!({
            "type": "EmailRequest",
            "filepath": self.filepath,
            "bundle_name": self.bundle_name,
            "bundle_version": self.bundle_version_of_attempt,
            "msg": ended.message,
            "ti": self.ti,
            "email_type": if ended.outcome == Outcome::Retry { "retry" } else { "failure" },
            "context_from_server": context,
        })
    }
}

async fn store(
    connection: &mut PgConnection,
    class: &str,
    bundle_name: &str,
    request: &Value,
    now: DateTime<Utc>,
) -> Result<()> {
    query(
        "INSERT INTO callback (id, type, fetch_method, data, bundle_name, state, priority_weight, created_at) \
         VALUES ($1, 'dag_processor', 'dag_attribute', $2, $3, NULL, 1, $4)",
    )
    .bind(Uuid::now_v7())
    .bind(json!({"__type": "dict", "__var": {"req_class": class, "req_data": request.to_string()}}))
    .bind(bundle_name)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}
