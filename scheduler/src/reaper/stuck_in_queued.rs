//! Task instances that no worker takes.
//!
//! Airflow's scheduler cannot see whether what it handed to its executor waits for a free slot or got lost, and takes
//! everything for stuck that stays `queued` too long. Here the queue is in the database: as long as something of a queue
//! runs, its workers are alive and busy, and what waits has its turn to come. Stuck is what waits in a queue of which
//! nothing runs.
//!
//! Source: `_handle_tasks_stuck_in_queued` in `airflow/jobs/scheduler_job_runner.py`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, query_as};
use tradewind_metadata::audit_log::{self, Entry};
use tradewind_metadata::task_callback::{self, Ended, Outcome};
use tradewind_metadata::task_instance::{Transition, transition};
use tradewind_metadata::{Result, failpoint, queue, serialized_dag};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use super::{Reaper, before};

/// The entry of the audit log by which both schedulers count.
const RESCHEDULED: &str = "stuck in queued reschedule";

impl Reaper {
    /// Sets task instances that no worker takes back to `scheduled`; those that were set back often enough fail.
    pub(super) async fn handle_stuck_in_queued(&self, now: DateTime<Utc>) -> Result<()> {
        let timeouts = &self.options.timeouts;
        let mut transaction = self.database.pool().begin().await?;
        let stuck: Vec<Stuck> = query_as(include_str!("../../queries/reaper/stuck_in_queued.sql"))
            .bind(before(now, timeouts.queued_timeout))
            .bind(self.job_id)
            .bind(self.oldest_sign_of_life(now))
            .fetch_all(&mut *transaction)
            .await?;
        if stuck.is_empty() {
            return Ok(());
        }
        failpoint::reach("handle_stuck_in_queued: held").await?;
        let (again, failed): (Vec<&Stuck>, Vec<&Stuck>) =
            stuck.iter().partition(|stuck| stuck.reschedules < timeouts.stuck_in_queued_retries);
        let seconds = timeouts.queued_timeout.as_secs();
        let because = format!(
            "queued for longer than {seconds} seconds ([scheduler] task_queued_timeout) in a queue that no worker serves: \
             set back to scheduled"
        );
        let gives_up = format!(
            "no worker took the task instance, though it was queued anew {} times: it fails",
            timeouts.stuck_in_queued_retries
        );
        let entries: Vec<Entry<'_>> = again
            .iter()
            .map(|stuck| stuck.entry(RESCHEDULED, &because))
            .chain(failed.iter().map(|stuck| stuck.entry("stuck in queued tries exceeded", &gives_up)))
            .collect();
        audit_log::write(&mut transaction, &entries).await?;
        request_callbacks(&mut transaction, &self.dags, &failed, &gives_up, now).await?;
        let transitions: Vec<Transition> =
            again.iter().map(|stuck| stuck.set_back(now)).chain(failed.iter().map(|stuck| stuck.fail(now))).collect();
        transition(&mut transaction, &transitions).await?;
        let ids: Vec<Uuid> = stuck.iter().map(|stuck| stuck.id).collect();
        queue::revoke(&mut transaction, &ids).await?;
        failpoint::reach("handle_stuck_in_queued: written").await?;
        transaction.commit().await?;
        for stuck in &stuck {
            let (dag_id, task_id, run_id, queue) = (&stuck.dag_id, &stuck.task_id, &stuck.run_id, &stuck.queue);
            tracing::warn!(
                dag_id,
                task_id,
                run_id,
                queue,
                "no worker takes the task instance: does one serve its queue?"
            );
        }
        Ok(())
    }
}

async fn request_callbacks(
    connection: &mut PgConnection,
    dags: &serialized_dag::Cache,
    failed: &[&Stuck],
    message: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    for stuck in failed {
        let ended = Ended { id: stuck.id, message, outcome: Outcome::NeverStarted };
        task_callback::request(&mut *connection, dags, ended, now).await?;
    }
    Ok(())
}

#[derive(FromRow)]
struct Stuck {
    id: Uuid,
    dag_id: String,
    task_id: String,
    run_id: String,
    map_index: i32,
    try_number: i32,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
    queue: String,
    reschedules: i64,
}

impl Stuck {
    fn set_back(&self, now: DateTime<Utc>) -> Transition {
        Transition::new(self.id, &[Some(TaskInstanceState::Queued)], Some(TaskInstanceState::Scheduled))
            .with("queued_dttm", Value::Null)
            .with("queued_by_job_id", Value::Null)
            .with("scheduled_dttm", json!(now))
    }

    /// As in Airflow it fails for good, whatever attempts are left.
    fn fail(&self, now: DateTime<Utc>) -> Transition {
        Transition::new(self.id, &[Some(TaskInstanceState::Queued)], Some(TaskInstanceState::Failed))
            .with("start_date", json!(self.start_date.unwrap_or(now)))
            .with("end_date", json!(self.end_date.unwrap_or(now)))
    }

    fn entry(&self, event: &'static str, extra: &str) -> Entry<'_> {
        Entry {
            event,
            dag_id: &self.dag_id,
            run_id: &self.run_id,
            task_id: &self.task_id,
            map_index: self.map_index,
            try_number: self.try_number,
            logical_date: None,
            owner: None,
            extra: Some(extra.to_owned()),
        }
    }
}
