//! `PATCH /connections`: many connections at once.

use super::{ConnectionFields, TEAMS, find};
use crate::api_v2::bulk::BulkEntity;
use crate::api_v2::teams::GivenTeam;
use crate::auth::Resource;
use crate::body::Body;
use crate::error::ApiResult;
use crate::state::App;
use sqlx::PgConnection;

/// Connections, by id.
pub(super) struct Connections;

impl BulkEntity for Connections {
    const RESOURCE: Resource = Resource::Connection;
    const EVENT: &'static str = "bulk_connections";
    const LOGS_REFUSED: bool = false;
    const NAMES: &'static str = "connections with these connection_ids";
    const EXISTING: &'static str = "SELECT conn_id FROM connection WHERE conn_id = ANY($1)";
    const TEAMS: &'static str = TEAMS;
    type Fields = ConnectionFields;

    fn read(body: &mut Body, multi_team: bool) -> ApiResult<ConnectionFields> {
        ConnectionFields::read(body, multi_team)
    }

    fn team(fields: &ConnectionFields) -> &GivenTeam {
        &fields.team
    }

    fn key(fields: &ConnectionFields) -> &str {
        &fields.id
    }

    async fn create(app: &App, connection: &mut PgConnection, fields: ConnectionFields) -> ApiResult<()> {
        fields.insert(app, connection).await
    }

    async fn overwrite(app: &App, connection: &mut PgConnection, fields: ConnectionFields) -> ApiResult<()> {
        Self::update(app, connection, fields, &[]).await
    }

    async fn update(
        app: &App,
        connection: &mut PgConnection,
        fields: ConnectionFields,
        mask: &[String],
    ) -> ApiResult<()> {
        let old = find(&mut *connection, &fields.id).await?;
        fields.masked(mask).update(app, connection, &old).await
    }

    async fn delete(connection: &mut PgConnection, key: &str) -> ApiResult<()> {
        sqlx::query("DELETE FROM connection WHERE conn_id = $1").bind(key).execute(connection).await?;
        Ok(())
    }
}
