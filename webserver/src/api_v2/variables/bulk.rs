//! `PATCH /variables`: many variables at once.

use super::VariableFields;
use crate::api_v2::bulk::BulkEntity;
use crate::auth::Resource;
use crate::body::Body;
use crate::error::ApiResult;
use crate::state::App;
use serde_json::Value;
use sqlx::PgConnection;

/// Variables, by key.
pub(super) struct Variables;

impl BulkEntity for Variables {
    const RESOURCE: Resource = Resource::Variable;
    const EVENT: &'static str = "bulk_variables";
    const NAMES: &'static str = "variables with these keys";
    const EXISTING: &'static str = "SELECT key FROM variable WHERE key = ANY($1)";
    const KEY: &'static str = "key";

    async fn create(app: &App, connection: &mut PgConnection, entity: Value) -> ApiResult<()> {
        read(entity)?.insert(app, connection).await
    }

    async fn overwrite(app: &App, connection: &mut PgConnection, _key: &str, entity: Value) -> ApiResult<()> {
        read(entity)?.update(app, connection).await
    }

    async fn update(
        app: &App,
        connection: &mut PgConnection,
        _key: &str,
        entity: Value,
        mask: &[String],
    ) -> ApiResult<()> {
        read(entity)?.masked(mask).update(app, connection).await
    }

    async fn delete(connection: &mut PgConnection, key: &str) -> ApiResult<bool> {
        sqlx::query("DELETE FROM variable WHERE key = $1").bind(key).execute(connection).await?;
        Ok(true)
    }
}

fn read(entity: Value) -> ApiResult<VariableFields> {
    VariableFields::read(&mut Body::from_value(entity, &["body"])?)
}
