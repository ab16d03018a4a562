//! Attempts that pause: for a trigger, for a person, or until a sensor looks again.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use sqlx::{Connection, PgConnection, query};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use super::{Accepted, AttemptError, Held, patch};
use crate::hitl::{self, HitlDetail};
use crate::trigger::{self, NewTrigger};

/// A report that an attempt waits for a trigger.
#[derive(Debug, Clone)]
pub struct Deferral {
    /// `task_instance.id`.
    pub id: Uuid,
    /// Import path of the trigger's class.
    pub classpath: String,
    /// Arguments of the trigger: an object, or a text which the client encrypted.
    pub trigger_kwargs: Option<Value>,
    /// How long to wait at most.
    pub trigger_timeout: Option<TimeDelta>,
    /// Queue of the triggerer.
    pub queue: Option<String>,
    /// Method of the operator to go on with.
    pub next_method: String,
    /// Serialised arguments of that method.
    pub next_kwargs: Map<String, Value>,
}

/// Parks an attempt until its trigger fires or times out.
pub async fn defer(connection: &mut PgConnection, report: &Deferral) -> Result<Accepted, AttemptError> {
    let mut transaction = connection.begin().await?;
    let Some(held) = Held::reporting(&mut transaction, report.id, TaskInstanceState::Deferred).await? else {
        return Ok(Accepted::Duplicate);
    };
    let new = NewTrigger {
        classpath: &report.classpath,
        kwargs: report.trigger_kwargs.as_ref(),
        queue: report.queue.as_deref(),
    };
    let trigger_id = trigger::create(&mut transaction, &new).await?;
    let columns = patch(json!({
        "trigger_id": trigger_id,
        "trigger_timeout": deadline(report.trigger_timeout)?,
        "next_method": report.next_method,
        "next_kwargs": report.next_kwargs,
    }));
    held.leave_running(&mut transaction, TaskInstanceState::Deferred, columns).await?;
    transaction.commit().await?;
    Ok(Accepted::Written)
}

/// Parks a sensor's attempt until it shall look again.
pub async fn reschedule(
    connection: &mut PgConnection,
    id: Uuid,
    reschedule_date: DateTime<Utc>,
    end_date: DateTime<Utc>,
) -> Result<Accepted, AttemptError> {
    let mut transaction = connection.begin().await?;
    let Some(held) = Held::reporting(&mut transaction, id, TaskInstanceState::UpForReschedule).await? else {
        return Ok(Accepted::Duplicate);
    };
    // The start is the time of the report, as in Airflow; only the first start of an attempt is ever read.
    query(
        "INSERT INTO task_reschedule (ti_id, start_date, end_date, reschedule_date, duration) \
         VALUES ($1, now(), $2, $3, trunc(extract(epoch FROM $2 - now()))::int)",
    )
    .bind(id)
    .bind(end_date)
    .bind(reschedule_date)
    .execute(&mut *transaction)
    .await?;
    let columns = patch(json!({"end_date": end_date, "next_method": null, "next_kwargs": null}));
    held.leave_running(&mut transaction, TaskInstanceState::UpForReschedule, columns).await?;
    transaction.commit().await?;
    Ok(Accepted::Written)
}

/// A report that an attempt waits for a person.
#[derive(Debug, Clone)]
pub struct AwaitInput {
    /// `task_instance.id`.
    pub id: Uuid,
    /// How long to wait at most.
    pub timeout: Option<TimeDelta>,
    /// Method of the operator to go on with.
    pub next_method: String,
    /// Serialised arguments of that method.
    pub next_kwargs: Map<String, Value>,
}

/// Parks an attempt until a person answers. When the answer came before this report, the attempt goes on at once.
pub async fn await_input(connection: &mut PgConnection, report: &AwaitInput) -> Result<Accepted, AttemptError> {
    let mut transaction = connection.begin().await?;
    let Some(held) = Held::reporting(&mut transaction, report.id, TaskInstanceState::AwaitingInput).await? else {
        return Ok(Accepted::Duplicate);
    };
    let detail = hitl::lock(&mut transaction, report.id).await?;
    match detail.filter(HitlDetail::is_answered) {
        Some(answered) => resume(&mut transaction, &held, report, &answered).await?,
        None => park(&mut transaction, &held, report).await?,
    }
    transaction.commit().await?;
    Ok(Accepted::Written)
}

async fn park(connection: &mut PgConnection, held: &Held, report: &AwaitInput) -> Result<(), AttemptError> {
    let columns = patch(json!({
        "trigger_id": null,
        "trigger_timeout": deadline(report.timeout)?,
        "next_method": report.next_method,
        "next_kwargs": report.next_kwargs,
    }));
    held.leave_running(connection, TaskInstanceState::AwaitingInput, columns).await
}

async fn resume(
    connection: &mut PgConnection,
    held: &Held,
    report: &AwaitInput,
    answered: &HitlDetail,
) -> Result<(), AttemptError> {
    let mut next_kwargs = report.next_kwargs.clone();
    next_kwargs.insert("event".to_owned(), answered.resume_event(false));
    let columns = patch(json!({
        "trigger_id": null,
        "scheduled_dttm": Utc::now(),
        "next_method": report.next_method,
        "next_kwargs": next_kwargs,
    }));
    held.leave_running(connection, TaskInstanceState::Scheduled, columns).await
}

fn deadline(timeout: Option<TimeDelta>) -> Result<Option<DateTime<Utc>>, AttemptError> {
    let Some(timeout) = timeout else { return Ok(None) };
    let deadline = Utc::now().checked_add_signed(timeout);
    deadline.map(Some).ok_or_else(|| AttemptError::Invalid(format!("a timeout of {timeout} is too long")))
}
