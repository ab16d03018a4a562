//! Human in the loop: questions that task instances put to people, and the answers.
//!
//! Source: `airflow/models/hitl.py` and `airflow/api_fastapi/execution_api/routes/hitl.py`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, query, query_as, query_scalar};
use tradewind_airflow::encoded_value::sdk_datetime;
use tradewind_airflow::supervisor_protocol::to_supervisor::{CreateHITLDetailPayload, HitlUser};
use tradewind_model::state::TaskInstanceState;
use uuid::Uuid;

use crate::task_instance::{Transition, transition};
use crate::{MetadataError, Result};

/// A question with its answer so far.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct HitlDetail {
    /// The asking task instance.
    pub ti_id: Uuid,
    /// What can be answered.
    pub options: Json<Vec<String>>,
    /// The question.
    pub subject: String,
    /// More about it.
    pub body: Option<String>,
    /// Answer when nobody answers in time.
    pub defaults: Option<Json<Option<Vec<String>>>>,
    /// Whether several options may be chosen.
    pub multiple: Option<bool>,
    /// Params to fill in.
    pub params: Json<Value>,
    /// Who may answer.
    pub assignees: Option<Json<Option<Vec<HitlUser>>>>,
    /// When it was answered.
    pub responded_at: Option<DateTime<Utc>>,
    /// Who answered; none when the time was up.
    pub responded_by: Option<Json<Option<HitlUser>>>,
    /// Chosen options.
    pub chosen_options: Option<Json<Option<Vec<String>>>>,
    /// Params filled in.
    pub params_input: Json<Value>,
}

impl HitlDetail {
    /// Whether somebody, or the passing of time, has answered.
    pub fn is_answered(&self) -> bool {
        self.responded_at.is_some()
    }

    /// The chosen options; none before the answer.
    pub fn chosen_options(&self) -> &[String] {
        self.chosen_options.as_ref().and_then(|options| options.0.as_deref()).unwrap_or_default()
    }

    /// Who answered.
    pub fn responded_by(&self) -> Option<&HitlUser> {
        self.responded_by.as_ref().and_then(|user| user.0.as_ref())
    }

    /// Who may answer; everybody when empty.
    pub fn assigned_users(&self) -> &[HitlUser] {
        self.assignees.as_ref().and_then(|users| users.0.as_deref()).unwrap_or_default()
    }

    /// The event with which the asking operator goes on, serialised as the Task SDK does it
    /// (`airflow/sdk/serde/serializers/datetime.py` for the date).
    pub(crate) fn resume_event(&self, is_timed_out: bool) -> Value {
        json!({
            "chosen_options": self.chosen_options(),
            "params_input": self.params_input.0,
            "responded_at": self.responded_at.map(sdk_datetime),
            "responded_by_user": self.responded_by(),
            "timedout": is_timed_out,
        })
    }

    /// The answer, or the defaults as the answer, and whether it is these; `None` when there is neither.
    fn or_defaults(mut self, now: DateTime<Utc>) -> Option<(Self, bool)> {
        if self.is_answered() {
            return Some((self, false));
        }
        let defaults = self.defaults.as_ref()?.0.clone()?;
        let params = self.params.0.as_object().into_iter().flatten();
        self.params_input =
            Json(params.map(|(key, param)| (key.clone(), param.get("value").unwrap_or(param).clone())).collect());
        self.chosen_options = Some(Json(Some(defaults)));
        self.responded_by = None;
        self.responded_at = Some(now);
        Some((self, true))
    }
}

/// The question of a task instance.
pub async fn get(connection: &mut PgConnection, ti_id: Uuid) -> Result<Option<HitlDetail>> {
    let detail = query_as(include_str!("../queries/hitl/get.sql")).bind(ti_id).fetch_optional(connection).await?;
    Ok(detail)
}

/// The question of a task instance, locked until the transaction ends. Lock the task instance first, as all do.
pub(crate) async fn lock(connection: &mut PgConnection, ti_id: Uuid) -> Result<Option<HitlDetail>> {
    query("SELECT FROM hitl_detail WHERE ti_id = $1 FOR UPDATE").bind(ti_id).execute(&mut *connection).await?;
    get(connection, ti_id).await
}

/// The task instance and its question, both locked until the transaction ends; for [`respond`].
pub async fn hold(connection: &mut PgConnection, ti_id: Uuid) -> Result<Option<HitlDetail>> {
    query("SELECT FROM task_instance WHERE id = $1 FOR UPDATE").bind(ti_id).execute(&mut *connection).await?;
    lock(connection, ti_id).await
}

/// Writes what a person answers to a question that [`hold`] returned, and lets the task instance go on when it waits.
pub async fn respond(
    connection: &mut PgConnection,
    ti_id: Uuid,
    person: &HitlUser,
    chosen_options: &[String],
    params_input: &Value,
) -> Result<HitlDetail> {
    query(
        "UPDATE hitl_detail SET responded_at = now(), responded_by = $2, chosen_options = $3, params_input = $4 \
         WHERE ti_id = $1",
    )
    .bind(ti_id)
    .bind(Json(person))
    .bind(Json(chosen_options))
    .bind(Json(params_input))
    .execute(&mut *connection)
    .await?;
    let detail = get(connection, ti_id).await?.ok_or_else(missing)?;
    resume(connection, &detail).await?;
    Ok(detail)
}

/// Schedules the waiting task instance with the answer as the event it waited for.
async fn resume(connection: &mut PgConnection, answered: &HitlDetail) -> Result<()> {
    let kwargs: Option<Value> = query_scalar("SELECT next_kwargs FROM task_instance WHERE id = $1")
        .bind(answered.ti_id)
        .fetch_optional(&mut *connection)
        .await?
        .flatten();
    let mut kwargs = kwargs.filter(Value::is_object).unwrap_or_else(|| json!({}));
    kwargs["event"] = answered.resume_event(false);
    let waiting = [Some(TaskInstanceState::AwaitingInput), Some(TaskInstanceState::Deferred)];
    let resumed = Transition::new(answered.ti_id, &waiting, Some(TaskInstanceState::Scheduled))
        .with("next_kwargs", kwargs)
        .with("trigger_id", Value::Null)
        .with("scheduled_dttm", json!(Utc::now()));
    transition(connection, &[resumed]).await?;
    Ok(())
}

/// Lets task instances go on whose question was not answered in time, up to `limit`: with an answer that came at the
/// last moment, else with the defaults as the answer, else with the error that fails them. Returns how many.
///
/// Source: `check_awaiting_input_timeouts` in `airflow/jobs/scheduler_job_runner.py`.
pub async fn time_out(connection: &mut PgConnection, limit: i64, now: DateTime<Utc>) -> Result<usize> {
    let waiting: Vec<(Uuid, Option<Value>)> =
        query_as(include_str!("../queries/hitl/overdue.sql")).bind(now).bind(limit).fetch_all(&mut *connection).await?;
    if waiting.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = waiting.iter().map(|(id, _)| *id).collect();
    let answers = answer_with_defaults(&mut *connection, &ids, now).await?;
    let from = [Some(TaskInstanceState::AwaitingInput)];
    let transitions: Vec<Transition> = waiting
        .into_iter()
        .map(|(id, kwargs)| {
            let mut kwargs = kwargs.filter(Value::is_object).unwrap_or_else(|| json!({}));
            kwargs["event"] = match answers.iter().find(|(answer, _)| answer.ti_id == id) {
                Some((answer, is_timed_out)) => answer.resume_event(*is_timed_out),
                None => json!({
                    "error": "nobody answered within the response timeout, and the question has no defaults",
                    "error_type": "timeout",
                }),
            };
            Transition::new(id, &from, Some(TaskInstanceState::Scheduled))
                .with("next_kwargs", kwargs)
                .with("trigger_id", Value::Null)
                .with("scheduled_dttm", json!(now))
        })
        .collect();
    Ok(transition(connection, &transitions).await?.len())
}

/// Answers what is still open of the questions of task instances with the defaults, where there are any. Gives every
/// answer, and whether it is one of these.
async fn answer_with_defaults(
    connection: &mut PgConnection,
    ids: &[Uuid],
    now: DateTime<Utc>,
) -> Result<Vec<(HitlDetail, bool)>> {
    let details: Vec<HitlDetail> =
        query_as(include_str!("../queries/hitl/get_all.sql")).bind(ids).fetch_all(&mut *connection).await?;
    let answers: Vec<(HitlDetail, bool)> = details.into_iter().filter_map(|detail| detail.or_defaults(now)).collect();
    let by_default = answers.iter().filter(|(_, is_timed_out)| *is_timed_out);
    let (ids, params): (Vec<Uuid>, Vec<Value>) =
        by_default.map(|(answer, _)| (answer.ti_id, answer.params_input.0.clone())).unzip();
    query(include_str!("../queries/hitl/answer_with_defaults.sql"))
        .bind(ids)
        .bind(params)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(answers)
}

/// Puts a question. A task instance has one question: when it asked before (it was cleared), the first question stays
/// and loses its answer.
pub async fn ask(connection: &mut PgConnection, asked: &CreateHITLDetailPayload) -> Result<HitlDetail> {
    query(include_str!("../queries/hitl/ask.sql"))
        .bind(asked.ti_id)
        .bind(Json(&asked.options))
        .bind(&asked.subject)
        .bind(&asked.body)
        .bind(asked.defaults.as_ref().map(Json))
        .bind(asked.multiple.unwrap_or(false))
        .bind(Json(asked.params.clone().unwrap_or_default()))
        .bind(Json(asked.assigned_users.as_deref().unwrap_or_default()))
        .execute(&mut *connection)
        .await?;
    get(connection, asked.ti_id).await?.ok_or_else(missing)
}

/// Answers in place of a person, for example when the time is up.
///
/// # Errors
/// [`MetadataError::NotFound`] without a question, [`MetadataError::Conflict`] when it is answered already.
pub async fn answer(
    connection: &mut PgConnection,
    ti_id: Uuid,
    chosen_options: &[String],
    params_input: &Value,
) -> Result<HitlDetail> {
    let answered = query(
        "UPDATE hitl_detail SET responded_at = now(), responded_by = NULL, chosen_options = $2, params_input = $3 \
         WHERE ti_id = $1 AND responded_at IS NULL",
    )
    .bind(ti_id)
    .bind(Json(chosen_options))
    .bind(Json(params_input))
    .execute(&mut *connection)
    .await?;
    let detail = get(connection, ti_id).await?.ok_or_else(missing)?;
    if answered.rows_affected() == 0 {
        return Err(MetadataError::Conflict(format!(
            "Human-in-the-loop detail for Task Instance with id {ti_id} already exists."
        )));
    }
    Ok(detail)
}

/// The error for a task instance without a question.
pub fn missing() -> MetadataError {
    MetadataError::NotFound(
        "HITLDetail not found. This happens most likely due to clearing task instance before receiving response."
            .to_owned(),
    )
}
