//! `POST /assets/{asset_id}/materialize`: a run of the Dag that makes an asset.

use crate::api_v2::dag_runs::{DagRun, trigger::Wanted};
use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::body::Body;
use crate::error::{ApiError, ApiResult};
use crate::query::{Params, PathInt};
use crate::request_body::RequestBody;
use crate::state::App;
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Map, Value};
use tradewind_model::state::{DagRunTriggeredBy, DagRunType};

pub(super) async fn materialize(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(asset_id): Path<String>,
    bytes: RequestBody,
) -> ApiResult<Json<DagRun>> {
    user.may_write(Resource::Asset)?;
    let mut body = match &*bytes {
        b"" | b"null" => Body::from_fields(Map::new()),
        _ => Body::from_bytes(&bytes)?,
    };
    Change { event: "materialize_asset", method: "POST", path: &[("asset_id", &asset_id)], body: Some(body.fields()) }
        .record(&app, &user, &params)
        .await?;
    let asset_id = PathInt::parse("asset_id", &asset_id)?;
    let wanted = Wanted::read(&mut body, DagRunType::AssetMaterialization)?;
    let dag_id = producer(&app, asset_id).await?;
    user.may_write_dag(&dag_id)?;
    let dag = app.dags.latest(&app.pool, &dag_id).await?;
    let allowed = dag.field("allowed_run_types").and_then(Value::as_array);
    if allowed.is_some_and(|allowed| !allowed.contains(&DagRunType::AssetMaterialization.as_str().into())) {
        let detail = format!("Dag with dag_id: '{dag_id}' does not allow asset materialization runs");
        return Err(ApiError::bad_request(detail));
    }
    wanted.create(&app, &dag, DagRunTriggeredBy::RestApi, &user).await.map(Json)
}

/// The only Dag with a task that makes the asset.
async fn producer(app: &App, asset_id: i32) -> ApiResult<String> {
    let statement = "SELECT DISTINCT dag_id FROM task_outlet_asset_reference WHERE asset_id = $1 LIMIT 2";
    let mut dag_ids: Vec<String> = sqlx::query_scalar(statement).bind(asset_id).fetch_all(&app.pool).await?;
    match (dag_ids.pop(), dag_ids.pop()) {
        (None, _) => Err(ApiError::not_found(format!("No Dag materializes asset with ID: {asset_id}"))),
        (Some(dag_id), None) => Ok(dag_id),
        _ => Err(ApiError::conflict(format!("More than one Dag materializes asset with ID: {asset_id}"))),
    }
}
