//! Deletion of a Dag with everything that belongs to it, the audit log excepted (`airflow/api/common/delete_dag.py`).

use crate::audit::Change;
use crate::auth::{Resource, User};
use crate::error::{ApiError, ApiResult};
use crate::query::Params;
use crate::state::App;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use sqlx::{AssertSqlSafe, PgConnection};

/// Tables with a column `dag_id`; those that others refer to come last.
const TABLES: [&str; 23] = [
    "task_instance_history",
    "rendered_task_instance_fields",
    "task_map",
    "xcom",
    "task_instance",
    "dag_run",
    "backfill",
    "dag_code",
    "serialized_dag",
    "dag_version",
    "dag_favorite",
    "dag_owner_attributes",
    "dag_schedule_asset_alias_reference",
    "dag_schedule_asset_name_reference",
    "dag_schedule_asset_reference",
    "dag_schedule_asset_uri_reference",
    "dag_tag",
    "dag_warning",
    "job",
    "task_inlet_asset_reference",
    "task_outlet_asset_reference",
    "task_state_store",
    "dag",
];

pub(super) async fn delete(
    State(app): State<App>,
    user: User,
    params: Params,
    Path(dag_id): Path<String>,
) -> ApiResult<StatusCode> {
    user.may_write(Resource::Dag)?;
    Change { event: "delete_dag", method: "DELETE", path: &[("dag_id", &dag_id)], body: None }
        .record(&app, &user, &params)
        .await?;
    let mut transaction = app.pool.begin().await?;
    let running: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM task_instance WHERE dag_id = $1 AND state = 'running')")
            .bind(&dag_id)
            .fetch_one(&mut *transaction)
            .await?;
    if running {
        return Err(ApiError::conflict(format!("Task instances of dag with id: '{dag_id}' are still running")));
    }
    let file: Option<(Option<String>, String)> =
        sqlx::query_as("SELECT relative_fileloc, bundle_name FROM dag WHERE dag_id = $1 FOR UPDATE")
            .bind(&dag_id)
            .fetch_optional(&mut *transaction)
            .await?;
    let (path, bundle) = file.ok_or_else(|| ApiError::not_found(format!("Dag with id: {dag_id} was not found")))?;
    delete_rows(&mut transaction, &dag_id).await?;
    sqlx::query("DELETE FROM import_error WHERE filename = $1 AND bundle_name = $2")
        .bind(path)
        .bind(bundle)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_rows(connection: &mut PgConnection, dag_id: &str) -> ApiResult<()> {
    for table in TABLES {
        // The names are this program's own.
        let statement = AssertSqlSafe(format!("DELETE FROM {table} WHERE dag_id = $1"));
        sqlx::query(statement).bind(dag_id).execute(&mut *connection).await?;
    }
    Ok(())
}
