//! Attempts whose worker has gone silent.
//!
//! Source: `_find_and_purge_task_instances_without_heartbeats` in `airflow/jobs/scheduler_job_runner.py`, and what
//! `process_executor_events` there makes of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::counter;
use sqlx::{Connection, FromRow, PgConnection, query_as};
use tradewind_metadata::attempt::{self, AttemptError, Retry};
use tradewind_metadata::audit_log::{self, Entry};
use tradewind_metadata::task_callback::{self, Ended, Outcome};
use tradewind_metadata::{Result, failpoint, serialized_dag};
use uuid::Uuid;

use super::Reaper;

/// Seconds beyond which a time-out means never; the calendar of Postgres holds no moment so long ago.
const LONGEST_TIMEOUT: f64 = 3_000_000_000.0;

impl Reaper {
    /// Ends attempts that have not been heard of within the time-out: they fail, or wait for their retry, as Airflow
    /// decides, and their callbacks are called.
    pub(super) async fn end_silent_attempts(&self, now: DateTime<Utc>) -> Result<()> {
        let timeout = self.options.task_heartbeat_timeout;
        let mut transaction = self.database.pool().begin().await?;
        let silent: Vec<Silent> = query_as(include_str!("../../queries/reaper/silent_attempts.sql"))
            .bind(timeout.as_secs_f64().min(LONGEST_TIMEOUT))
            .fetch_all(&mut *transaction)
            .await?;
        failpoint::reach("end_silent_attempts: held").await?;
        for silent in &silent {
            match silent.end(&mut transaction, &self.dags, timeout, now).await {
                Ok(()) => {}
                Err(AttemptError::Metadata(error)) => return Err(error),
                Err(error) => tracing::warn!(id = %silent.id, %error, "a silent attempt could not be ended"),
            }
        }
        failpoint::reach("end_silent_attempts: written").await?;
        transaction.commit().await?;
        Ok(())
    }
}

#[derive(FromRow)]
struct Silent {
    id: Uuid,
    dag_id: String,
    task_id: String,
    run_id: String,
    map_index: i32,
    try_number: i32,
    max_tries: i32,
    hostname: Option<String>,
    external_executor_id: Option<String>,
    operator: Option<String>,
}

impl Silent {
    async fn end(
        &self,
        connection: &mut PgConnection,
        dags: &serialized_dag::Cache,
        timeout: Duration,
        now: DateTime<Utc>,
    ) -> Result<(), AttemptError> {
        let mut savepoint = connection.begin().await?;
        audit_log::write(&mut savepoint, &[self.entry(timeout)]).await?;
        let retries = self.max_tries > 0 && self.try_number <= self.max_tries;
        let outcome = if retries { Outcome::Retry } else { Outcome::Failure };
        let ended = Ended { id: self.id, message: &self.message(), outcome };
        task_callback::request(&mut savepoint, dags, ended, now).await?;
        if retries {
            let report = Retry {
                id: self.id,
                end_date: now,
                rendered_map_index: None,
                retry_delay_seconds: None,
                retry_reason: None,
            };
            attempt::retry(&mut savepoint, &report).await?;
        } else {
            attempt::fail(&mut savepoint, self.id, now).await?;
        }
        savepoint.commit().await?;
        tracing::error!(
            dag_id = self.dag_id,
            task_id = self.task_id,
            run_id = self.run_id,
            map_index = self.map_index,
            try_number = self.try_number,
            hostname = self.hostname,
            "an attempt was not heard of within [scheduler] task_instance_heartbeat_timeout"
        );
        self.count();
        Ok(())
    }

    fn count(&self) {
        let labels = [("dag_id", self.dag_id.clone()), ("task_id", self.task_id.clone())];
        counter!("task_instances_without_heartbeats_killed", &labels).increment(1);
        counter!("ti_failures", &labels).increment(1);
        let [dag, task] = labels;
        let operator = ("operator_name", self.operator.clone().unwrap_or_default());
        counter!("operator_failures", &[dag, task, operator]).increment(1);
    }

    /// The message of the callback: the text of a Python dictionary, which callbacks of users take apart.
    fn message(&self) -> String {
        let mut parts = vec![
            ("DAG Id", python_repr(&self.dag_id)),
            ("Task Id", python_repr(&self.task_id)),
            ("Run Id", python_repr(&self.run_id)),
        ];
        if self.map_index != -1 {
            parts.push(("Map Index", self.map_index.to_string()));
        }
        if let Some(hostname) = self.hostname.as_deref().filter(|hostname| !hostname.is_empty()) {
            parts.push(("Hostname", python_repr(hostname)));
        }
        if let Some(id) = self.external_executor_id.as_deref().filter(|id| !id.is_empty()) {
            parts.push(("External Executor Id", python_repr(id)));
        }
        let parts: Vec<String> = parts.into_iter().map(|(name, value)| format!("'{name}': {value}")).collect();
        format!("{{{}}}", parts.join(", "))
    }

    fn entry(&self, timeout: Duration) -> Entry<'_> {
        Entry {
            event: "heartbeat timeout",
            dag_id: &self.dag_id,
            run_id: &self.run_id,
            task_id: &self.task_id,
            map_index: self.map_index,
            try_number: self.try_number,
            logical_date: None,
            owner: None,
            extra: Some(format!(
                "no heartbeat within {} seconds ([scheduler] task_instance_heartbeat_timeout): the attempt was ended",
                timeout.as_secs()
            )),
        }
    }
}

/// A printable text as Python's `repr` writes it.
fn python_repr(text: &str) -> String {
    let text = text.replace('\\', "\\\\");
    if text.contains('\'') && !text.contains('"') {
        return format!("\"{text}\"");
    }
    format!("'{}'", text.replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_reads_like_pythons_dictionary() {
        let silent = Silent {
            id: Uuid::nil(),
            dag_id: "d".to_owned(),
            task_id: "t".to_owned(),
            run_id: "it's \\ one".to_owned(),
            map_index: 2,
            try_number: 1,
            max_tries: 0,
            hostname: Some("h".to_owned()),
            external_executor_id: None,
            operator: None,
        };
        let expected = r#"{'DAG Id': 'd', 'Task Id': 't', 'Run Id': "it's \\ one", 'Map Index': 2, 'Hostname': 'h'}"#;
        assert_eq!(silent.message(), expected);
        assert_eq!(python_repr(r#"a'b"c"#), r#"'a\'b"c'"#);
    }
}
