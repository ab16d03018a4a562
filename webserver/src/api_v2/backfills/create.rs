//! `POST /backfills` and `POST /backfills/dry_run`.

use super::{Backfill, find};
use crate::api_v2::task_instances::clear::rerun_on_latest_version;
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::request_body::RequestBody;
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use tradewind_metadata::MetadataError;
use tradewind_metadata::backfill::{self, NewBackfill, Reprocess};
use tradewind_model::dag::Dag;

/// What the body says.
struct Wanted {
    dag_id: String,
    run_on_latest_version: Option<bool>,
    backfill: NewBackfill,
}

#[derive(Serialize)]
pub(super) struct Preview {
    backfills: Vec<PreviewedRun>,
    total_entries: usize,
}

/// A run that the backfill would make.
#[derive(Serialize)]
struct PreviewedRun {
    logical_date: Option<Timestamp>,
    partition_key: Option<String>,
    partition_date: Option<Timestamp>,
}

pub(super) async fn create(
    State(app): State<App>,
    user: User,
    params: Params,
    bytes: RequestBody,
) -> ApiResult<Json<Backfill>> {
    let mut body = Body::from_bytes(&bytes)?;
    Change { event: "create_backfill", method: "POST", path: &[], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    require_text(&body)?;
    user.may_write(Resource::Dag)?;
    let mut wanted = Wanted::read(&mut body)?;
    user.may_write_dag(&wanted.dag_id)?;
    let dag = wanted.check(&app).await?;
    wanted.backfill.triggering_user_name = Some(user.name.clone());
    let id = backfill::create(&app.pool, &app.scheduled_dags, &dag, &wanted.backfill, Utc::now()).await;
    find(&app, id.map_err(refusal)?).await.map(Json)
}

pub(super) async fn preview(State(app): State<App>, user: User, bytes: RequestBody) -> ApiResult<Json<Preview>> {
    let mut body = Body::from_bytes(&bytes)?;
    require_text(&body)?;
    user.may_write(Resource::Dag)?;
    let mut wanted = Wanted::read(&mut body)?;
    user.may_write_dag(&wanted.dag_id)?;
    let dag = wanted.check(&app).await?;
    let infos = backfill::preview(&app.pool, &dag, &wanted.backfill, Utc::now()).await.map_err(refusal)?;
    let backfills: Vec<PreviewedRun> = infos
        .into_iter()
        .map(|info| PreviewedRun {
            logical_date: info.logical_date().map(Timestamp),
            partition_key: info.partition_key,
            partition_date: info.partition_date.map(Timestamp),
        })
        .collect();
    Ok(Json(Preview { total_entries: backfills.len(), backfills }))
}

impl Wanted {
    fn read(body: &mut Body) -> ApiResult<Self> {
        let dag_id = body.text("dag_id").unwrap_or_default();
        let mut date = |name: &str| {
            body.require(name);
            body.refuse_null(name, "datetime_type", "Input should be a valid datetime");
            body.optional_local_time(name).unwrap_or(DateTime::UNIX_EPOCH.fixed_offset())
        };
        let (from_date, to_date) = (date("from_date"), date("to_date"));
        let reverse = body.bool_or("run_backwards", false);
        let conf = body.optional_object("dag_run_conf").map(Value::Object);
        let reprocess = body.word_or("reprocess_behavior", &["failed", "completed", "none"], "none");
        let max_active_runs = body.int_or("max_active_runs", 10);
        let run_on_latest_version = body.optional_bool("run_on_latest_version");
        body.finish()?;
        let reprocess = match reprocess.as_str() {
            "failed" => Reprocess::Failed,
            "completed" => Reprocess::Completed,
            _ => Reprocess::None,
        };
        let backfill = NewBackfill {
            from_date,
            to_date,
            reverse,
            conf,
            reprocess,
            max_active_runs: i32::try_from(max_active_runs).unwrap_or(i32::MAX),
            triggering_user_name: None,
            run_on_latest_version: true,
        };
        Ok(Self { dag_id, run_on_latest_version, backfill })
    }

    /// The Dag, when it may have backfills with this configuration.
    async fn check(&mut self, app: &App) -> ApiResult<Arc<Dag>> {
        let dag_id = &self.dag_id;
        let shown = app.dags.find_latest(&app.pool, dag_id).await?;
        let shown = shown.ok_or_else(|| ApiError::not_found(format!("Could not find dag {dag_id}")))?;
        let allowed = shown.field("allowed_run_types").and_then(Value::as_array);
        if allowed.is_some_and(|allowed| !allowed.contains(&"backfill".into())) {
            return Err(ApiError::bad_request(format!("Dag with dag_id: '{dag_id}' does not allow backfill runs")));
        }
        if let Some(Value::Object(conf)) = &self.backfill.conf {
            shown.params().check(conf).map_err(ApiError::unprocessable)?;
        }
        self.backfill.run_on_latest_version =
            rerun_on_latest_version(app, &shown, self.run_on_latest_version)?.unwrap_or(true);
        let mut connection = app.pool.acquire().await?;
        Ok(app.scheduled_dags.version_of_hash(&mut connection, shown.dag_version_id, Some(&shown.hash)).await?)
    }
}

/// Airflow reads the Dag's id to check rights, before it checks the body.
fn require_text(body: &Body) -> ApiResult<()> {
    match body.fields().get("dag_id") {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(_) => Err(ApiError::bad_request("'dag_id' must be a string")),
    }
}

fn refusal(error: MetadataError) -> ApiError {
    match error {
        MetadataError::Conflict(detail) => ApiError::conflict(detail),
        MetadataError::Invalid(detail) => ApiError::unprocessable(detail),
        other => other.into(),
    }
}
