//! State stores of tasks and assets: values that outlive an attempt, in the metadata database.
//!
//! Source: `airflow/state/metastore.py` and the `task_state_store` and `asset_state_store` routes of the Execution API.
//! Values are kept as JSON text.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, query, query_scalar};
use tradewind_airflow::python_json;
use uuid::Uuid;

use crate::{MetadataError, Result};

fn parsed(text: Option<String>) -> Result<Option<Value>> {
    let value = text.map(|text| serde_json::from_str(&text)).transpose();
    value.map_err(|error| MetadataError::Corrupt(format!("state store: {error}")))
}

/// Values of a task, shared by all its attempts in a Dag run. Every function names the task by an attempt and returns
/// false or `None` when that attempt is gone.
pub mod task {
    use super::{DateTime, PgConnection, Result, Utc, Uuid, Value, parsed, python_json, query, query_scalar};

    /// Whether the attempt exists.
    pub async fn exists(connection: &mut PgConnection, ti_id: Uuid) -> Result<bool> {
        let statement = "SELECT EXISTS (SELECT FROM task_instance WHERE id = $1)";
        Ok(query_scalar(statement).bind(ti_id).fetch_one(connection).await?)
    }

    /// A value.
    pub async fn get(connection: &mut PgConnection, ti_id: Uuid, key: &str) -> Result<Option<Value>> {
        let text = query_scalar(
            "SELECT store.value FROM task_state_store store JOIN task_instance ti USING (dag_id, run_id, task_id, map_index) \
             WHERE ti.id = $1 AND store.key = $2",
        )
        .bind(ti_id)
        .bind(key)
        .fetch_optional(connection)
        .await?;
        parsed(text)
    }

    /// Stores a value.
    pub async fn set(
        connection: &mut PgConnection,
        ti_id: Uuid,
        key: &str,
        value: &Value,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<bool> {
        let written = query(include_str!("../queries/state_store/set_of_task.sql"))
            .bind(ti_id)
            .bind(key)
            .bind(python_json::dumps(value))
            .bind(expires_at)
            .execute(connection)
            .await?;
        Ok(written.rows_affected() > 0)
    }

    /// Removes the value under a key, or all values.
    pub async fn delete(connection: &mut PgConnection, ti_id: Uuid, key: Option<&str>) -> Result<bool> {
        query(
            "DELETE FROM task_state_store store USING task_instance ti \
             WHERE ti.id = $1 AND store.dag_id = ti.dag_id AND store.run_id = ti.run_id \
             AND store.task_id = ti.task_id AND store.map_index = ti.map_index AND ($2::text IS NULL OR store.key = $2)",
        )
        .bind(ti_id)
        .bind(key)
        .execute(&mut *connection)
        .await?;
        exists(connection, ti_id).await
    }
}

/// Values of an asset.
pub mod asset {
    use super::{PgConnection, Result, Uuid, Value, parsed, python_json, query, query_scalar};

    /// A value.
    pub async fn get(connection: &mut PgConnection, asset_id: i32, key: &str) -> Result<Option<Value>> {
        let text = query_scalar("SELECT value FROM asset_state_store WHERE asset_id = $1 AND key = $2")
            .bind(asset_id)
            .bind(key)
            .fetch_optional(connection)
            .await?;
        parsed(text)
    }

    /// Stores a value and which task wrote it. False when the writing attempt is gone.
    pub async fn set(
        connection: &mut PgConnection,
        asset_id: i32,
        key: &str,
        value: &Value,
        writer: Uuid,
    ) -> Result<bool> {
        let written = query(include_str!("../queries/state_store/set_of_asset.sql"))
            .bind(asset_id)
            .bind(key)
            .bind(python_json::dumps(value))
            .bind(writer)
            .execute(connection)
            .await?;
        Ok(written.rows_affected() > 0)
    }

    /// Removes the value under a key, or all values.
    pub async fn delete(connection: &mut PgConnection, asset_id: i32, key: Option<&str>) -> Result<()> {
        query("DELETE FROM asset_state_store WHERE asset_id = $1 AND ($2::text IS NULL OR key = $2)")
            .bind(asset_id)
            .bind(key)
            .execute(connection)
            .await?;
        Ok(())
    }
}
