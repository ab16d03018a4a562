//! `PATCH /connections`: many connections at once.

use super::{ConnectionFields, find};
use crate::api_v2::bulk::BulkEntity;
use crate::auth::Resource;
use crate::body::Body;
use crate::error::ApiResult;
use crate::state::App;
use serde_json::Value;
use sqlx::PgConnection;

/// Connections, by id.
pub(super) struct Connections;

impl BulkEntity for Connections {
    const RESOURCE: Resource = Resource::Connection;
    const EVENT: &'static str = "bulk_connections";
    const NAMES: &'static str = "connections with these connection_ids";
    const EXISTING: &'static str = "SELECT conn_id FROM connection WHERE conn_id = ANY($1)";
    const KEY: &'static str = "connection_id";

    async fn create(app: &App, connection: &mut PgConnection, entity: Value) -> ApiResult<()> {
        read(entity)?.insert(app, connection).await
    }

    async fn overwrite(app: &App, connection: &mut PgConnection, key: &str, entity: Value) -> ApiResult<()> {
        Self::update(app, connection, key, entity, &[]).await
    }

    async fn update(
        app: &App,
        connection: &mut PgConnection,
        key: &str,
        entity: Value,
        mask: &[String],
    ) -> ApiResult<()> {
        let fields = read(entity)?;
        let old = find(&mut *connection, key).await?;
        fields.masked(mask).update(app, connection, &old).await
    }

    async fn delete(connection: &mut PgConnection, key: &str) -> ApiResult<bool> {
        sqlx::query("DELETE FROM connection WHERE conn_id = $1").bind(key).execute(connection).await?;
        Ok(true)
    }
}

fn read(entity: Value) -> ApiResult<ConnectionFields> {
    ConnectionFields::read(&mut Body::from_value(entity, &["body"])?)
}
