//! `PATCH /variables`: many variables at once.

use super::{TEAMS, VariableFields};
use crate::api_v2::bulk::BulkEntity;
use crate::api_v2::teams::GivenTeam;
use crate::auth::Resource;
use crate::body::Body;
use crate::error::ApiResult;
use crate::state::App;
use sqlx::PgConnection;

/// Variables, by key.
pub(super) struct Variables;

impl BulkEntity for Variables {
    const RESOURCE: Resource = Resource::Variable;
    const EVENT: &'static str = "bulk_variables";
    const LOGS_REFUSED: bool = true;
    const NAMES: &'static str = "variables with these keys";
    const EXISTING: &'static str = "SELECT key FROM variable WHERE key = ANY($1)";
    const TEAMS: &'static str = TEAMS;
    type Fields = VariableFields;

    fn read(body: &mut Body, multi_team: bool) -> ApiResult<VariableFields> {
        VariableFields::read(body, multi_team)
    }

    fn team(fields: &VariableFields) -> &GivenTeam {
        &fields.team
    }

    fn key(fields: &VariableFields) -> &str {
        &fields.key
    }

    async fn create(app: &App, connection: &mut PgConnection, fields: VariableFields) -> ApiResult<()> {
        fields.put(app, connection).await
    }

    async fn overwrite(app: &App, connection: &mut PgConnection, fields: VariableFields) -> ApiResult<()> {
        fields.put(app, connection).await
    }

    async fn update(
        app: &App,
        connection: &mut PgConnection,
        fields: VariableFields,
        mask: &[String],
    ) -> ApiResult<()> {
        fields.masked(mask).update(app, connection).await
    }

    async fn delete(connection: &mut PgConnection, key: &str) -> ApiResult<()> {
        sqlx::query("DELETE FROM variable WHERE key = $1").bind(key).execute(connection).await?;
        Ok(())
    }
}
