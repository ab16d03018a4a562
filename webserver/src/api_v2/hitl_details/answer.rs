//! `PATCH …/hitlDetails`: the answer of a person.

use super::{instance, without_question};
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult, Problem};
use crate::python;
use crate::query::{Params, PathInt};
use crate::request_body::RequestBody;
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tradewind_airflow::supervisor_protocol::to_supervisor::HitlUser;
use tradewind_metadata::hitl::{self, HitlDetail};
use uuid::Uuid;

#[derive(Serialize)]
pub(super) struct Answered {
    responded_by: HitlUser,
    responded_at: Option<Timestamp>,
    chosen_options: Vec<String>,
    params_input: Value,
}

struct Answer {
    chosen_options: Vec<String>,
    params_input: Value,
}

pub(super) async fn answer(
    State(app): State<App>,
    user: User,
    params: Params,
    Path((dag_id, run_id, task_id, map_index)): Path<(String, String, String, String)>,
    bytes: RequestBody,
) -> ApiResult<Json<Answered>> {
    user.may_write(Resource::Dag)?;
    let mut body = Body::from_bytes(&bytes)?;
    let path = [("dag_id", dag_id.as_str()), ("dag_run_id", &run_id), ("task_id", &task_id), ("map_index", &map_index)];
    Change { event: "update_hitl_detail", method: "PATCH", path: &path, body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let map_index = PathInt::parse("map_index", &map_index)?;
    let answer = read(&mut body)?;
    let instance = instance(&app, &dag_id, &run_id, &task_id, map_index).await?;

    let mut transaction = app.pool.begin().await?;
    let question = hitl::hold(&mut transaction, instance).await?;
    let question = question.ok_or_else(|| without_question(instance))?;
    check(&app, &user, instance, &question, &answer)?;
    let person = HitlUser { id: user.name.clone(), name: user.name.clone() };
    let answered =
        hitl::respond(&mut transaction, instance, &person, &answer.chosen_options, &answer.params_input).await;
    let answered = answered?;
    transaction.commit().await?;
    Ok(Json(Answered {
        responded_by: person,
        responded_at: answered.responded_at.map(Timestamp),
        chosen_options: answer.chosen_options,
        params_input: answer.params_input,
    }))
}

fn read(body: &mut Body) -> ApiResult<Answer> {
    body.require("chosen_options");
    body.refuse_null("chosen_options", "list_type", "Input should be a valid list");
    let chosen_options = body.optional_texts("chosen_options").unwrap_or_default();
    body.refuse_null("params_input", "dict_type", "Input should be a valid dictionary");
    let params_input = body.optional_object("params_input").unwrap_or_default();
    body.finish_known()?;
    if chosen_options.is_empty() {
        let message = "List should have at least 1 item after validation, not 0";
        let problem = Problem::new("too_short", &["body", "chosen_options"], message, json!([]));
        let context = json!({"field_type": "List", "min_length": 1, "actual_length": 0});
        return Err(ApiError::validation(vec![problem.context(context)]));
    }
    Ok(Answer { chosen_options, params_input: Value::Object(params_input) })
}

/// Whether the question is open, the person may answer it and the answer is one of those offered.
fn check(app: &App, user: &User, instance: Uuid, question: &HitlDetail, answer: &Answer) -> ApiResult<()> {
    if question.is_answered() {
        return Err(ApiError::conflict(format!(
            "Human-in-the-loop detail has already been updated for Task Instance with id {instance} and is not \
             allowed to write again."
        )));
    }
    let assigned = question.assigned_users();
    let asked: BTreeSet<&str> = assigned.iter().map(|one| one.id.as_str()).collect();
    if !app.auth_manager.may_answer(user, &asked) {
        let name = &user.name;
        return Err(ApiError::forbidden(format!("User={name} (id={name}) is not a respondent for the task.")));
    }
    let offered: BTreeSet<&str> = question.options.iter().map(String::as_str).collect();
    let chosen: BTreeSet<&str> = answer.chosen_options.iter().map(String::as_str).collect();
    let invalid: Vec<&str> = chosen.difference(&offered).copied().collect();
    if !invalid.is_empty() {
        let offered: Vec<&str> = offered.into_iter().collect();
        return Err(ApiError::bad_request(format!(
            "Invalid options {}; allowed options are {}.",
            python::repr_list(&invalid),
            python::repr_list(&offered)
        )));
    }
    if question.multiple != Some(true) && answer.chosen_options.len() > 1 {
        let detail = "Multiple options chosen but this Human-in-the-loop task accepts only a single option.";
        return Err(ApiError::bad_request(detail));
    }
    Ok(())
}
