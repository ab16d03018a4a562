//! `…/hitlDetails/tries/{try_number}`: the question of one attempt.

use super::{QUESTION_COLUMNS, Question, without_question};
use crate::api_v2::task_instances::{attempts, missing};
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::PathInt;
use crate::state::App;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use sqlx::{Postgres, QueryBuilder};

/// A question and the attempt that asked it.
#[derive(Serialize)]
pub(super) struct PastDetail {
    #[serde(flatten)]
    question: Question,
    task_instance: attempts::TaskAttempt,
}

pub(super) async fn read(
    State(app): State<App>,
    user: User,
    Path((dag_id, run_id, task_id, map_index, try_number)): Path<(String, String, String, String, String)>,
) -> ApiResult<Json<PastDetail>> {
    user.may_read(Resource::Dag)?;
    let map_index = PathInt::parse("map_index", &map_index)?;
    let try_number = PathInt::parse("try_number", &try_number)?;
    // Past attempts come first and win.
    let attempts = attempts::all(&app, &dag_id, &run_id, &task_id, map_index).await?;
    let task_instance = attempts
        .into_iter()
        .find(|attempt| attempt.try_number == try_number)
        .ok_or_else(|| ApiError::not_found(missing(&dag_id, &run_id, &task_id, map_index)))?;
    let source = if task_instance.is_past {
        "hitl_detail_history h WHERE h.ti_history_id"
    } else {
        "hitl_detail h WHERE h.ti_id"
    };
    let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!("SELECT {QUESTION_COLUMNS} FROM {source} = "));
    let question = query.push_bind(task_instance.id).build_query_as().fetch_optional(&app.pool).await?;
    let question = question.ok_or_else(|| without_question(task_instance.id))?;
    Ok(Json(PastDetail { question, task_instance }))
}
