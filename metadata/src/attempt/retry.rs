//! Attempts that failed and are followed by another one.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{Connection, PgConnection, query};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use super::{AttemptError, Held, patch};

/// A report that an attempt failed and another one shall follow.
#[derive(Debug, Clone)]
pub struct Retry {
    /// `task_instance.id` of the failed attempt.
    pub id: Uuid,
    /// When it ended.
    pub end_date: DateTime<Utc>,
    /// Label of the mapped task instance; none removes an earlier one.
    pub rendered_map_index: Option<String>,
    /// Seconds to wait instead of the task's own delay.
    pub retry_delay_seconds: Option<f64>,
    /// Why a retry policy chose so; cut after 500 characters.
    pub retry_reason: Option<String>,
}

/// Width of the column `retry_reason`, in characters.
const RETRY_REASON_LENGTH: usize = 500;

/// Moves the attempt into the history and makes room for the next one under a new id. Returns that id, or `None` when
/// the task instance waits for its retry already.
pub async fn retry(connection: &mut PgConnection, report: &Retry) -> Result<Option<Uuid>, AttemptError> {
    let mut transaction = connection.begin().await?;
    let Some(held) = Held::reporting(&mut transaction, report.id, TaskInstanceState::UpForRetry).await? else {
        return Ok(None);
    };
    let reason: Option<String> =
        report.retry_reason.as_ref().map(|reason| reason.chars().take(RETRY_REASON_LENGTH).collect());
    archive(&mut transaction, report, reason.as_deref()).await?;
    let columns = patch(json!({
        "end_date": report.end_date,
        "rendered_map_index": report.rendered_map_index,
        "next_method": null,
        "next_kwargs": null,
        "retry_delay_override": report.retry_delay_seconds,
        "retry_reason": reason,
    }));
    held.leave_running(&mut transaction, TaskInstanceState::UpForRetry, columns).await?;
    let next = renew(&mut transaction, held.id).await?;
    transaction.commit().await?;
    Ok(Some(next))
}

/// Copies the attempt into the history as failed, together with what a person answered to it.
async fn archive(connection: &mut PgConnection, report: &Retry, reason: Option<&str>) -> Result<(), AttemptError> {
    let archived = query(include_str!("../../queries/attempt/archive.sql"))
        .bind(report.id)
        .bind(report.end_date)
        .bind(report.rendered_map_index.as_deref())
        .bind(report.retry_delay_seconds)
        .bind(reason)
        .execute(&mut *connection)
        .await?;
    if archived.rows_affected() == 0 {
        return Ok(());
    }
    query(include_str!("../../queries/attempt/archive_hitl_detail.sql")).bind(report.id).execute(connection).await?;
    Ok(())
}

/// Gives the task instance the id of its next attempt. Notes and questions to people follow the new id by foreign key;
/// reschedules belong to the old attempt and go.
async fn renew(connection: &mut PgConnection, id: Uuid) -> Result<Uuid, AttemptError> {
    let next = Uuid::now_v7();
    query("DELETE FROM task_reschedule WHERE ti_id = $1").bind(id).execute(&mut *connection).await?;
    query("UPDATE task_instance SET id = $2 WHERE id = $1").bind(id).bind(next).execute(connection).await?;
    Ok(next)
}
