//! Rendered template fields of task instances.
//!
//! Source: `airflow/models/renderedtifields.py`.

use serde_json::Value;
use sqlx::{PgConnection, query};
use uuid::Uuid;

use crate::Result;

/// Stores the rendered fields of a task instance and forgets those of older runs of the same task: only the newest
/// `runs_to_keep` runs of the Dag (`[core] num_dag_runs_to_retain_rendered_fields`, 0 for all) keep theirs.
///
/// Returns false when the task instance is gone, because it was retried or cleared meanwhile.
pub async fn set(connection: &mut PgConnection, ti_id: Uuid, fields: &Value, runs_to_keep: i64) -> Result<bool> {
    let written: Option<(String, String)> = sqlx::query_as(include_str!("../queries/rendered_fields/set.sql"))
        .bind(ti_id)
        .bind(sqlx::types::Json(fields))
        .fetch_optional(&mut *connection)
        .await?;
    let Some((dag_id, task_id)) = written else { return Ok(false) };
    if runs_to_keep > 0 {
        query(include_str!("../queries/rendered_fields/delete_old.sql"))
            .bind(dag_id)
            .bind(task_id)
            .bind(runs_to_keep)
            .execute(connection)
            .await?;
    }
    Ok(true)
}

/// Stores the label of a mapped task instance; false when the task instance is gone.
pub async fn set_map_index_label(connection: &mut PgConnection, ti_id: Uuid, label: &str) -> Result<bool> {
    let written = query("UPDATE task_instance SET rendered_map_index = $2, updated_at = now() WHERE id = $1")
        .bind(ti_id)
        .bind(label)
        .execute(connection)
        .await?;
    Ok(written.rows_affected() > 0)
}
