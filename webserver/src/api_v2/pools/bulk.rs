//! `PATCH /pools`: many pools at once.

use super::{DEFAULT_POOL, PoolFields, check_default_pool};
use crate::api_v2::bulk::BulkEntity;
use crate::auth::Resource;
use crate::body::Body;
use crate::error::ApiResult;
use crate::state::App;
use serde_json::Value;
use sqlx::PgConnection;

/// Pools, by name.
pub(super) struct Pools;

impl BulkEntity for Pools {
    const RESOURCE: Resource = Resource::Pool;
    const EVENT: &'static str = "bulk_pools";
    const NAMES: &'static str = "pools with these pool names";
    const EXISTING: &'static str = "SELECT pool FROM slot_pool WHERE pool = ANY($1)";
    const KEY: &'static str = "name";

    async fn create(_app: &App, connection: &mut PgConnection, entity: Value) -> ApiResult<()> {
        read(entity)?.insert(connection).await
    }

    async fn overwrite(_app: &App, connection: &mut PgConnection, key: &str, entity: Value) -> ApiResult<()> {
        read(entity)?.update(connection, key).await
    }

    async fn update(
        _app: &App,
        connection: &mut PgConnection,
        key: &str,
        entity: Value,
        mask: &[String],
    ) -> ApiResult<()> {
        check_default_pool(key, mask)?;
        read(entity)?.masked(mask).update(connection, key).await
    }

    async fn delete(connection: &mut PgConnection, key: &str) -> ApiResult<bool> {
        if key == DEFAULT_POOL {
            return Ok(false);
        }
        sqlx::query("DELETE FROM slot_pool WHERE pool = $1").bind(key).execute(connection).await?;
        Ok(true)
    }
}

fn read(entity: Value) -> ApiResult<PoolFields> {
    PoolFields::read(&mut Body::from_value(entity, &["body"])?, true)
}
