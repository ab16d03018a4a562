//! Asset events that wait for the others a Dag needs.

use crate::audit::Change;
use crate::auth::{BindDags as _, Dags, Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::no_content::NoContent;
use crate::query::{Params, PathInt};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::FromRow;

#[derive(Debug, Serialize, FromRow)]
pub(super) struct QueuedEvent {
    dag_id: String,
    asset_id: i32,
    created_at: Timestamp,
    dag_display_name: String,
}

#[derive(Serialize)]
pub(super) struct Collection {
    queued_events: Vec<QueuedEvent>,
    total_entries: usize,
}

/// Which queued events are meant.
#[derive(Default)]
struct Wanted {
    dag_id: Option<String>,
    asset_id: Option<i32>,
    before: Option<DateTime<Utc>>,
}

const CONDITION: &str = "($1::text IS NULL OR q.target_dag_id = $1) AND ($2::integer IS NULL OR q.asset_id = $2) \
     AND ($3::timestamptz IS NULL OR q.created_at < $3) /* of: q.target_dag_id */";

impl Wanted {
    fn new(params: &mut Params, dag_id: Option<String>, asset_id: Option<&str>) -> ApiResult<Self> {
        let asset_id = asset_id.map(|id| PathInt::parse("asset_id", id)).transpose()?;
        let before = params.lenient_time("before");
        params.check()?;
        Ok(Self { dag_id, asset_id, before })
    }

    async fn list(&self, app: &App, readable: &Dags) -> ApiResult<Vec<QueuedEvent>> {
        let statement = format!(
            "SELECT q.target_dag_id AS dag_id, q.asset_id, q.created_at, \
             COALESCE(d.dag_display_name, d.dag_id) AS dag_display_name \
             FROM asset_dag_run_queue q JOIN dag d ON d.dag_id = q.target_dag_id WHERE {CONDITION} \
             ORDER BY q.created_at"
        );
        let query = sqlx::query_as(readable.narrow(statement, 4)).bind(&self.dag_id).bind(self.asset_id);
        Ok(query.bind(self.before).bind_dags(readable).fetch_all(&app.pool).await?)
    }

    async fn delete(&self, app: &App, readable: &Dags) -> ApiResult<u64> {
        let statement = format!("DELETE FROM asset_dag_run_queue q WHERE {CONDITION}");
        let query = sqlx::query(readable.narrow(statement, 4)).bind(&self.dag_id).bind(self.asset_id);
        Ok(query.bind(self.before).bind_dags(readable).execute(&app.pool).await?.rows_affected())
    }
}

fn collection(queued_events: Vec<QueuedEvent>) -> Json<Collection> {
    Json(Collection { total_entries: queued_events.len(), queued_events })
}

pub(super) async fn of_asset(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(asset_id): Path<String>,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Asset)?;
    Ok(collection(Wanted::new(&mut params, None, Some(&asset_id))?.list(&app, user.readable()).await?))
}

pub(super) async fn of_dag(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<Json<Collection>> {
    user.may_read(Resource::Asset)?;
    Ok(collection(Wanted::new(&mut params, Some(dag_id), None)?.list(&app, user.readable()).await?))
}

pub(super) async fn one(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, asset_id)): Path<(String, String)>,
) -> ApiResult<Json<QueuedEvent>> {
    user.may_read(Resource::Asset)?;
    let events = Wanted::new(&mut params, Some(dag_id.clone()), Some(&asset_id))?.list(&app, user.readable()).await?;
    let event = events.into_iter().next();
    event.map(Json).ok_or_else(|| missing_one(&dag_id, &asset_id))
}

fn missing_one(dag_id: &str, asset_id: &str) -> ApiError {
    ApiError::not_found(format!("Queued event with dag_id: `{dag_id}` and asset_id: `{asset_id}` was not found"))
}

pub(super) async fn delete_of_asset(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(asset_id): Path<String>,
) -> ApiResult<NoContent> {
    user.may_write(Resource::Asset)?;
    let path = [("asset_id", asset_id.as_str())];
    Change { event: "delete_asset_queued_events", method: "DELETE", path: &path, body: None }
        .record(&app, &user, &params)
        .await?;
    match Wanted::new(&mut params, None, Some(&asset_id))?.delete(&app, user.readable()).await? {
        0 => Err(ApiError::not_found(format!("Queue event with asset_id: `{asset_id}` was not found"))),
        _ => Ok(NoContent),
    }
}

pub(super) async fn delete_of_dag(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<NoContent> {
    user.may_write(Resource::Asset)?;
    Change { event: "delete_dag_asset_queued_events", method: "DELETE", path: &[("dag_id", &dag_id)], body: None }
        .record(&app, &user, &params)
        .await?;
    match Wanted::new(&mut params, Some(dag_id.clone()), None)?.delete(&app, user.readable()).await? {
        0 => Err(ApiError::not_found(format!("Queue event with dag_id: `{dag_id}` was not found"))),
        _ => Ok(NoContent),
    }
}

pub(super) async fn delete_one(
    State(app): State<App>,
    user: User,
    mut params: Params,
    Path((dag_id, asset_id)): Path<(String, String)>,
) -> ApiResult<NoContent> {
    user.may_write(Resource::Asset)?;
    let path = [("dag_id", dag_id.as_str()), ("asset_id", asset_id.as_str())];
    Change { event: "delete_dag_asset_queued_event", method: "DELETE", path: &path, body: None }
        .record(&app, &user, &params)
        .await?;
    match Wanted::new(&mut params, Some(dag_id.clone()), Some(&asset_id))?.delete(&app, user.readable()).await? {
        0 => Err(missing_one(&dag_id, &asset_id)),
        _ => Ok(NoContent),
    }
}
