//! `/dags/{dag_id}/details`: the stored Dag together with its serialized form.

use super::{Computed, DagRow, find};
use crate::api_v2::dag_versions::DagVersion;
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::python;
use crate::serialized_dag::{SerializedDag, decode, duration, timestamp};
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Serialize)]
pub(super) struct DagDetails {
    #[serde(flatten)]
    row: DagRow,
    catchup: bool,
    dag_run_timeout: Option<String>,
    asset_expression: Option<Value>,
    doc_md: Option<String>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    is_paused_upon_creation: Option<bool>,
    params: Value,
    render_template_as_native_obj: bool,
    template_search_path: Option<Value>,
    timezone: Option<String>,
    last_parsed: Timestamp,
    default_args: Option<Value>,
    rerun_with_latest_version: Option<bool>,
    owner_links: BTreeMap<String, String>,
    is_favorite: bool,
    active_runs_count: i64,
    #[serde(flatten)]
    computed: Computed,
    concurrency: i32,
    latest_dag_version: Option<DagVersion>,
}

pub(super) async fn read(
    State(app): State<App>,
    user: User,
    Path(dag_id): Path<String>,
) -> ApiResult<Json<DagDetails>> {
    user.may_read(Resource::Dag)?;
    let dag = app.dags.latest(&app.pool, &dag_id).await?;
    let row = find(&app.pool, &dag_id).await?;
    let row = row.ok_or_else(|| ApiError::not_found(format!("Unable to obtain dag with id {dag_id} from session")))?;
    let (is_favorite, active_runs_count): (bool, i64) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM dag_favorite WHERE dag_id = $1 AND user_id = $2), \
         (SELECT count(*) FROM dag_run WHERE dag_id = $1 AND state = 'running')",
    )
    .bind(&dag_id)
    .bind(&user.name)
    .fetch_one(&app.pool)
    .await?;
    let latest_dag_version = DagVersion::latest(&app.pool, &dag_id).await?;
    Ok(Json(details(&app, &dag, row, is_favorite, active_runs_count, latest_dag_version)))
}

fn details(
    app: &App,
    dag: &SerializedDag,
    row: DagRow,
    is_favorite: bool,
    active_runs_count: i64,
    latest_dag_version: Option<DagVersion>,
) -> DagDetails {
    let flag = |name: &str| dag.field(name).and_then(Value::as_bool);
    let text = |name: &str| dag.field(name).and_then(Value::as_str);
    let links = dag.field("owner_links").map(decode).unwrap_or_default();
    DagDetails {
        catchup: flag("catchup").unwrap_or_default(),
        dag_run_timeout: dag.field("dagrun_timeout").and_then(Value::as_f64).map(duration),
        asset_expression: row.asset_expression.clone(),
        doc_md: text("doc_md").map(python::cleandoc),
        start_date: dag.field("start_date").and_then(timestamp),
        end_date: dag.field("end_date").and_then(timestamp),
        is_paused_upon_creation: flag("is_paused_upon_creation"),
        params: dag.params().dump(),
        render_template_as_native_obj: flag("render_template_as_native_obj").unwrap_or_default(),
        template_search_path: dag.field("template_searchpath").map(decode),
        timezone: text("timezone").map(str::to_owned),
        last_parsed: Timestamp::now(),
        default_args: Some(dag.field("default_args").map_or_else(|| serde_json::json!({}), decode)),
        rerun_with_latest_version: flag("rerun_with_latest_version"),
        owner_links: serde_json::from_value(links).unwrap_or_default(),
        is_favorite,
        active_runs_count,
        computed: row.computed(app),
        concurrency: row.max_active_tasks,
        latest_dag_version,
        row,
    }
}
